"""The road as the node tells it: camera_info and mounting in, ground points and markers out.

The detector is a stand-in that sees what a test says, whatever the image: what is tested is what
becomes of lanes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from harness import bgr_image, wait_until
from lane_sad_ros.msg import EgoLane, LaneArray, LaneExistence
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from straight_road import CAMERA, HEIGHT, LINES, PITCH, SIZE, seen
from visualization_msgs.msg import Marker, MarkerArray

from lane_sad_ros.detection import Detection, LaneDetector
from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.messages.lanes import POINT, Messages
from lane_sad_ros.pictures.colours import slot_colour
from lane_sad_ros.road.ego import EgoLaneEstimator
from lane_sad_ros.road.ground import GroundProjector
from lane_sad_ros.ros.message_classes import MESSAGES

MOUNTED = {"camera_height": HEIGHT, "camera_pitch": PITCH}
LANES = "/lane_detector/lanes"


class Seen:
    """What the stand-in sees from now on."""

    def __init__(self) -> None:
        self.see(LINES)

    def see(self, sides: tuple[float | None, ...]) -> None:
        """Lines at these metres to the left in the middle slots of six; None: absent."""
        middle = seen(sides)
        empty = np.zeros((0, 3), np.float32)
        lanes = [Lane(0, False, 0.05, empty), *middle, Lane(5, False, 0.05, empty)]
        self.lanes = Lanes(
            SIZE,
            tuple(
                Lane(slot, lane.exists, lane.probability, lane.points)
                for slot, lane in enumerate(lanes)
            ),
        )


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Seen:
    eyes = Seen()

    def detect(_: Any, frames: Any, *, segmentation: bool = False) -> list[Detection]:
        return [Detection(eyes.lanes, None, {}) for _ in frames]

    monkeypatch.setattr(LaneDetector, "detect", detect)
    return eyes


def picture() -> Image:
    return bgr_image(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))


def camera_info(**changes: Any) -> CameraInfo:
    info = MESSAGES.camera_info(CAMERA, Header())
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def listen(client: Any, **kinds: Any) -> None:
    """Listens to these outputs and waits until the node publishes them."""
    for name, kind in kinds.items():
        topic = f"/lane_detector/{name}"
        wait_until(client.listen(kind, topic).get_publisher_count, topic)


@pytest.fixture
def drive(client: Any) -> Callable[..., dict[str, Any]]:
    """Publishes an image and returns the answers by topic."""
    camera: list[Any] = []

    def ask(*names: str, frame: str | None = None, stamp: tuple[int, int] | None = None) -> Any:
        if not camera:
            camera.append(client.publisher(Image, "/image"))
        image = picture()
        stamped = client.stamp(image)
        if stamp is not None:
            image.header.stamp.sec, image.header.stamp.nanosec = stamped = stamp
        if frame is not None:
            image.header.frame_id = frame
        camera[0].publish(image)
        return {name: client.answer(f"/lane_detector/{name}", stamped) for name in names}

    return ask


def calibrated(client: Any, info: CameraInfo, topic: str = "/camera_info") -> Any:
    """Publishes a calibration that the node surely has before the next image is looked at."""
    publisher = client.publisher(CameraInfo, topic)
    publisher.publish(info)
    return publisher


def ground(message: LaneArray, slot: int) -> Any:
    return np.array([(p.x, p.y, p.z) for p in message.lanes[slot].ground], np.float32)


def until_on_ground(drive: Any) -> LaneArray:
    """Lanes on the road, as soon as the calibration has arrived."""

    def try_it() -> LaneArray | None:
        message = drive("lanes")["lanes"]
        return message if message.ground_frame else None

    message: LaneArray = wait_until(try_it, "lanes on the ground")
    return message


def test_lanes_lie_on_the_road_as_camera_info_and_parameters_say(
    start_node, client, detector, drive
):
    start_node(base_frame="base_footprint", **MOUNTED)
    listen(client, lanes=LaneArray, ego_lane=EgoLane, points=PointCloud2, markers=MarkerArray)
    calibrated(client, camera_info())
    until_on_ground(drive)
    told = drive("lanes", "ego_lane", "points", "markers")
    lanes = told["lanes"]
    assert lanes.ground_frame == "base_footprint"
    assert lanes.header.frame_id == "camera_optical"
    for slot, side in enumerate(LINES, start=1):
        np.testing.assert_allclose(ground(lanes, slot)[:, 1], side, atol=0.03)
        assert len(lanes.lanes[slot].ground) == len(lanes.lanes[slot].u)
    assert not lanes.lanes[0].ground

    ego = told["ego_lane"]
    assert (ego.header.frame_id, ego.header.stamp) == ("base_footprint", lanes.header.stamp)
    assert ego.valid and ego.left_seen and ego.right_seen
    assert ego.width == pytest.approx(3.6, abs=0.05)
    assert ego.lateral_offset == pytest.approx(0.2, abs=0.05)

    cloud = told["points"]
    assert (cloud.header.frame_id, cloud.header.stamp) == ("base_footprint", lanes.header.stamp)
    points = np.frombuffer(cloud.data, POINT)
    assert len(points) == cloud.width == sum(len(lane.u) for lane in lanes.lanes)
    for slot in range(6):
        mine = points[points["lane"] == slot]
        xyz = np.stack([mine["x"], mine["y"], mine["z"]], axis=1)
        np.testing.assert_array_equal(xyz, ground(lanes, slot).reshape(-1, 3))
        np.testing.assert_array_equal(mine["score"], lanes.lanes[slot].score)

    for marker in told["markers"].markers:
        assert (marker.header.frame_id, marker.header.stamp) == ("base_footprint", ego.header.stamp)
        assert (marker.lifetime.sec, marker.lifetime.nanosec) == (0, 500_000_000)
    line = markers(told["markers"])["lanes", 2]
    assert line.type == Marker.LINE_STRIP
    np.testing.assert_allclose([p.y for p in line.points], LINES[1], atol=0.03)
    colour = line.color.b, line.color.g, line.color.r
    np.testing.assert_allclose(colour, np.array(slot_colour(2, 6)) / 255, atol=1e-6)
    middle = markers(told["markers"])["ego_lane", 0]
    np.testing.assert_allclose([p.y for p in middle.points[:5]], -0.2, atol=0.1)
    assert "width 3.6" in markers(told["markers"])["ego_lane", 1].text


def markers(message: MarkerArray) -> dict[tuple[str, int], Marker]:
    return {(marker.ns, marker.id): marker for marker in message.markers}


@pytest.mark.parametrize("topic", ["/cam/image_rect", "/cam/image_raw"])
def test_rectified_images_have_the_camera_of_p(start_node, client, detector, topic):
    start_node(arguments=["-r", f"image:={topic}"], **MOUNTED)
    listen(client, lanes=LaneArray)
    straight = np.hstack([CAMERA.k, np.zeros((3, 1))]).ravel()
    half = camera_info(k=[value / 2 for value in CAMERA.k.ravel()[:8]] + [1.0], p=straight)
    calibrated(client, half, "/cam/camera_info")
    images = client.publisher(Image, topic)

    def on_ground() -> LaneArray | None:
        message = client.ask(images, picture(), LANES)
        return message if message.ground_frame else None

    right = np.allclose(ground(wait_until(on_ground), 2)[:, 1], LINES[1], atol=0.03)
    assert right is (topic == "/cam/image_rect")


def test_a_calibration_that_changes_in_r_alone_is_noticed(start_node, client, detector, drive):
    start_node(**MOUNTED)
    listen(client, lanes=LaneArray)
    calibrations = calibrated(client, camera_info())
    before = ground(until_on_ground(drive), 2)
    turned = cv2.Rodrigues(np.array([0.0, 0.035, 0.0]))[0].ravel()
    calibrations.publish(camera_info(r=turned))
    wait_until(
        lambda: not np.allclose(ground(drive("lanes")["lanes"], 2), before, atol=0.1),
        "lanes by the new calibration",
    )


def test_a_calibration_that_was_published_before_the_node_began_is_heard_and_kept(
    start_node, client, detector, drive
):
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    client.node.create_publisher(CameraInfo, "/camera_info", latched).publish(camera_info())
    start_node(**MOUNTED)
    listen(client, lanes=LaneArray)
    until_on_ground(drive)
    assert client.change_state("deactivate")
    assert client.change_state("activate")
    camera = client.publisher(Image, "/image")
    assert client.ask(camera, picture(), LANES).ground_frame == "base_link"


def test_a_latched_calibration_takes_the_place_of_a_known_one(start_node, client, detector, drive):
    start_node(**MOUNTED)
    listen(client, lanes=LaneArray)
    calibrated(client, camera_info())
    before = ground(until_on_ground(drive), 2)
    assert client.change_state("deactivate")
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    wide = camera_info(k=[*(value / 2 for value in CAMERA.k.ravel()[:2]), *CAMERA.k.ravel()[2:]])
    client.node.create_publisher(CameraInfo, "/camera_info", latched).publish(wide)
    assert client.change_state("activate")
    wait_until(
        lambda: not np.allclose(ground(drive("lanes")["lanes"], 2), before, atol=0.1),
        "lanes by the new calibration",
    )


def test_what_was_seen_before_it_was_deactivated_is_forgotten(start_node, client, detector, drive):
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    client.node.create_publisher(CameraInfo, "/camera_info", latched).publish(camera_info())
    start_node(**MOUNTED)
    listen(client, lanes=LaneArray, ego_lane=EgoLane)
    until_on_ground(drive)
    detector.see((5.2, 1.6, None, -5.6))
    ego = drive("ego_lane")["ego_lane"]
    assert ego.valid and not ego.right_seen  # by the width that was seen before
    assert client.change_state("deactivate")
    assert client.change_state("activate")
    camera = client.publisher(Image, "/image")
    ego = client.ask(camera, picture(), "/lane_detector/ego_lane")
    assert ego.left_seen and not ego.valid


def test_the_marker_of_a_lane_that_goes_is_deleted(start_node, client, detector, drive):
    start_node(tracking=False, marker_lifetime=1.25, **MOUNTED)
    listen(client, lanes=LaneArray, markers=MarkerArray)
    calibrated(client, camera_info())
    until_on_ground(drive)
    before = markers(drive("markers")["markers"])
    assert {key for key, marker in before.items() if marker.action == Marker.ADD} == {
        *(("lanes", slot) for slot in range(1, 5)),
        ("ego_lane", 0),
        ("ego_lane", 1),
    }
    assert before["lanes", 3].lifetime.sec == 1
    detector.see((5.2, None, None, -5.6))
    after = markers(drive("markers")["markers"])
    assert set(after) == set(before)
    deleted = {key for key, marker in after.items() if marker.action == Marker.DELETE}
    assert deleted == {("lanes", s) for s in (0, 2, 3, 5)} | {("ego_lane", 0), ("ego_lane", 1)}


def test_a_lane_that_is_less_probable_is_fainter(start_node, client, detector, drive):
    start_node(tracking=False, **MOUNTED)
    listen(client, lanes=LaneArray, markers=MarkerArray)
    calibrated(client, camera_info())
    until_on_ground(drive)
    sure = markers(drive("markers")["markers"])["lanes", 2].color.a
    lanes = list(detector.lanes)
    lanes[2] = Lane(2, True, 0.5, lanes[2].points)
    detector.lanes = Lanes(SIZE, tuple(lanes))
    assert markers(drive("markers")["markers"])["lanes", 2].color.a < sure - 0.2


def test_every_camera_has_markers_of_its_own(start_node, client, detector):
    start_node(cameras=["front", "rear"])
    listen(client, **{"front/markers": MarkerArray, "rear/markers": MarkerArray})
    for name in ("front", "rear"):
        camera = client.publisher(Image, f"/{name}/image")
        told = client.ask(camera, picture(), f"/lane_detector/{name}/markers")
        assert {marker.ns for marker in told.markers} == {f"{name}/lanes", f"{name}/ego_lane"}


def test_the_cloud_is_what_sensor_msgs_py_makes_and_reads(start_node, client, detector, drive):
    point_cloud2 = pytest.importorskip("sensor_msgs_py.point_cloud2", exc_type=ImportError)
    start_node(**MOUNTED)
    listen(client, lanes=LaneArray, points=PointCloud2)
    calibrated(client, camera_info())
    until_on_ground(drive)
    ours = drive("points")["points"]
    read = point_cloud2.read_points(ours)
    assert read.dtype.names == ("x", "y", "z", "score", "lane")
    theirs = point_cloud2.create_cloud(ours.header, ours.fields, read)
    theirs.is_dense = True  # which it never says
    assert theirs == ours
    xyz = point_cloud2.read_points_numpy(ours, ["x", "y", "z"])
    assert xyz.shape == (ours.width, 3)


def test_without_a_calibration_lanes_stay_in_pixels_and_nobody_is_warned(
    start_node, client, detector, drive
):
    start_node(use_tf=False)
    listen(client, lanes=LaneArray, ego_lane=EgoLane, points=PointCloud2, markers=MarkerArray)
    told = drive("lanes", "ego_lane", "points", "markers")
    assert told["lanes"].ground_frame == ""
    assert [len(lane.ground) for lane in told["lanes"].lanes] == [0] * 6
    assert [lane.exists for lane in told["lanes"].lanes] == [False, *[True] * 4, False]
    assert not told["ego_lane"].valid
    assert math.isnan(told["ego_lane"].width)
    assert told["points"].width == 0
    assert {marker.action for marker in told["markers"].markers} == {Marker.DELETE}
    status = client.wait_for_status(
        lambda s: s.values.get("frames without ground: no_camera_info") == "1", "the reason"
    )
    assert status.level == "OK"
    assert "no camera_info on /camera_info" in status.values["ground"]
    # The usual driver publishes camera_info; that alone is no wish for the road either.
    calibrated(client, camera_info())

    def told_of_mounting() -> Any:
        drive("lanes")
        status = client.status()
        return status if status.values.get("frames without ground: no_mounting") else None

    status = wait_until(told_of_mounting, "the mounting that is missing")
    assert status.level == "OK"
    assert "camera_height" in status.values["ground"]


def test_where_the_road_was_asked_for_a_missing_camera_info_is_a_warning(
    start_node, client, detector, drive
):
    start_node(**MOUNTED)
    listen(client, lanes=LaneArray)
    drive("lanes")
    status = client.wait_for_status(lambda s: s.level == "WARN", "the warning")
    assert "without ground points: no camera_info on /camera_info" in status.message
    client.wait_for_log("no lanes on the road: no camera_info on /camera_info")


@pytest.mark.parametrize(
    ("changes", "parameters", "reason", "words"),
    [
        ({"k": [0.0] * 9}, {}, "bad_camera_info", "not calibrated"),
        ({"width": 0, "height": 0}, {}, "bad_camera_info", "no calibration"),
        ({"width": 640, "height": 480}, {}, "bad_camera_info", "1280x720"),
        ({"k": [math.nan] * 9}, {}, "bad_camera_info", "camera_info"),
        ({"distortion_model": "fov", "d": [0.9]}, {}, "bad_camera_info", "fov"),
        ({}, {"camera_pitch": -1.0}, "no_road", "looks above the horizon"),
    ],
)
def test_a_bad_calibration_is_counted_and_said_and_pixels_go_on(
    start_node, client, detector, drive, changes, parameters, reason, words
):
    start_node(**{**MOUNTED, **parameters})
    listen(client, lanes=LaneArray)
    calibrated(client, camera_info(**changes))

    def bad() -> Any:
        message = drive("lanes")["lanes"]
        assert not message.ground_frame
        assert message.lanes[2].exists
        status = client.status()
        return status is not None and status.values.get(f"frames without ground: {reason}")

    wait_until(bad, reason)
    client.wait_for_log("no lanes on the road:")
    status = client.wait_for_status(lambda s: s.level == "WARN", "the warning")
    assert words in status.message


def test_a_calibration_that_is_mended_is_taken_at_once(start_node, client, detector, drive):
    start_node(**MOUNTED)
    listen(client, lanes=LaneArray)
    info = calibrated(client, camera_info())
    np.testing.assert_allclose(ground(until_on_ground(drive), 2)[:, 1], LINES[1], atol=0.03)
    wider = CAMERA.k.copy()
    wider[0, 0] /= 2
    info.publish(camera_info(k=wider.ravel()))

    def changed() -> bool:
        return np.allclose(ground(drive("lanes")["lanes"], 2)[:, 1], 2 * LINES[1], atol=0.06)

    wait_until(changed, "the new camera")
    # And how it is mounted, while the node runs.
    assert client.set("camera_y", 1.0).successful
    assert np.allclose(ground(drive("lanes")["lanes"], 2)[:, 1], 2 * LINES[1] + 1.0, atol=0.06)
    assert client.set("ground_range", 20.0).successful
    far = ground(drive("lanes")["lanes"], 2)
    assert np.isnan(far).any()
    assert np.nanmax(far[:, 0]) < 20


def test_the_calibration_is_made_anew_only_when_it_changes(
    start_node, client, detector, drive, monkeypatch
):
    made: list[Any] = []
    begin = GroundProjector.__init__
    monkeypatch.setattr(
        GroundProjector, "__init__", lambda *a, **k: (made.append(a), begin(*a, **k))[1]
    )
    start_node(**MOUNTED)
    listen(client, lanes=LaneArray)
    info = calibrated(client, camera_info())
    until_on_ground(drive)
    for _ in range(3):
        info.publish(camera_info())
        assert drive("lanes")["lanes"].ground_frame
    assert len(made) == 1


@pytest.mark.parametrize(
    ("arguments", "topic"),
    [
        (["-r", "image:=/cam/image_raw"], "/cam/camera_info"),
        (
            ["-r", "image/compressed:=/cam/jpg/compressed", "-p", "image_transport:=compressed"],
            "/cam/camera_info",
        ),
        (["-r", "image:=/cam/image_raw", "-r", "camera_info:=/info"], "/info"),
        (["-r", "__ns:=/car"], "/car/camera_info"),
    ],
)
def test_camera_info_lies_beside_the_image_unless_it_is_remapped(
    start_node, client, arguments, topic
):
    start_node(arguments=arguments)
    client.publisher(CameraInfo, topic)  # waits for the node's subscription


def test_what_nobody_listens_to_is_not_computed(start_node, client, detector, drive, monkeypatch):
    done: list[str] = []

    def counted(owner: Any, name: str) -> None:
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: (done.append(name), original(*a, **k))[1])

    counted(EgoLaneEstimator, "update")
    counted(GroundProjector, "with_ground")
    counted(Messages, "markers")
    counted(Messages, "point_cloud")
    start_node(**MOUNTED)
    listen(client, existence=LaneExistence)
    calibrated(client, camera_info())
    drive("existence")
    assert done == []
    listen(client, lanes=LaneArray)
    until_on_ground(drive)
    assert set(done) == {"with_ground"}
    listen(client, markers=MarkerArray)
    drive("lanes", "markers")
    assert set(done) == {"with_ground", "update", "markers"}
    listen(client, points=PointCloud2)
    drive("points")
    assert "point_cloud" in done


def test_lanes_are_followed_over_time_unless_told_not_to(start_node, client, detector, drive):
    start_node()
    listen(client, lanes=LaneArray)
    stamps = ((2000, 40_000_000 * tick) for tick in range(22))
    for tracking in (True, False):
        assert client.set("tracking", tracking).successful
        detector.see(LINES)
        for _ in range(10):
            drive("lanes", stamp=next(stamps))
        detector.see((5.2, 1.6, None, -5.6))
        assert drive("lanes", stamp=next(stamps))["lanes"].lanes[3].exists is tracking


def test_parameters_cannot_mount_several_cameras(start_node, client):
    start_node(cameras=["front", "rear"], camera_height=1.5)
    status = client.wait_for_status(lambda s: s.level == "ERROR", "the refusal", ": detector")
    assert "camera_height is 1.5" in status.message
    assert "front and rear" in status.message


def test_only_tf_is_advised_for_several_cameras(start_node, client, detector):
    start_node(cameras=["front", "rear"], use_tf=False)
    listen(client, **{"front/lanes": LaneArray})
    calibrated(client, camera_info(), "/front/camera_info")
    camera = client.publisher(Image, "/front/image")

    def why() -> str:
        client.ask(camera, picture(), "/lane_detector/front/lanes")
        status = client.status(": camera front")
        said = "" if status is None else status.values.get("ground", "")
        return said if "use_tf is off" in said else ""

    said = wait_until(why, "the reason")
    assert "TF knows" in said
    assert "camera_height" not in said


def test_a_road_that_is_given_up_while_the_node_runs_is_no_problem(
    start_node, client, detector, drive
):
    start_node(**MOUNTED, use_tf=False)
    listen(client, lanes=LaneArray)
    calibrated(client, camera_info())
    until_on_ground(drive)
    assert client.set("camera_height", 0.0).successful

    def told() -> Any:
        assert not drive("lanes")["lanes"].ground_frame
        status = client.status()
        return status is not None and "use_tf is off" in status.values["ground"] and status

    assert wait_until(told, "why lanes stay in pixels").level == "OK"


# --- TF


def test_without_tf2_ros_it_is_said_what_is_missing(
    start_node, client, detector, drive, monkeypatch
):
    monkeypatch.setitem(__import__("sys").modules, "tf2_ros", None)
    start_node()
    listen(client, lanes=LaneArray)
    calibrated(client, camera_info())

    def reason() -> str:
        assert not drive("lanes")["lanes"].ground_frame
        status = client.status()
        return "" if status is None else status.values.get("ground", "")

    wait_until(lambda: "tf2_ros is not installed" in reason(), "what is missing")
    assert "camera_height" in reason()
    assert client.status().level == "OK"


class Tf:
    """Publishes the pose of the camera in base_link, optical frame and all."""

    def __init__(self, client: Any) -> None:
        from tf2_msgs.msg import TFMessage

        self._kind = TFMessage
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self._static = client.node.create_publisher(TFMessage, "/tf_static", latched)
        self._moving = client.node.create_publisher(TFMessage, "/tf", 10)

    @property
    def heard(self) -> bool:
        """Whether somebody listens to moving frames, which the node does once it needs them."""
        return bool(self._moving.get_subscription_count())

    def static(self, **mounting: Any) -> None:
        self._static.publish(self._message((0, 0), **mounting))

    def moving(self, stamp: tuple[int, int], **mounting: Any) -> None:
        self._moving.publish(self._message(stamp, **mounting))

    def _message(
        self, stamp: tuple[int, int], height: float = HEIGHT, pitch: float = PITCH, y: float = 0.0
    ) -> Any:
        from geometry_msgs.msg import TransformStamped

        transform = TransformStamped(child_frame_id="camera_optical")
        transform.header.frame_id = "base_link"
        transform.header.stamp.sec, transform.header.stamp.nanosec = stamp
        t, q = transform.transform.translation, transform.transform.rotation
        t.y, t.z = y, height
        # Ry(pitch) times the turn from the optical frame to one that looks along x.
        half = pitch / 2
        c, s = math.cos(half), math.sin(half)
        q.x, q.y, q.z, q.w = -(c + s) / 2, (c + s) / 2, -(c - s) / 2, (c - s) / 2
        return self._kind(transforms=[transform])


@pytest.fixture
def tf(client: Any) -> Tf:
    pytest.importorskip("tf2_ros", exc_type=ImportError)
    return Tf(client)


def test_a_static_transform_mounts_the_camera(start_node, client, detector, drive, tf):
    start_node()
    listen(client, lanes=LaneArray, ego_lane=EgoLane)
    calibrated(client, camera_info())
    tf.static()
    lanes = until_on_ground(drive)
    assert lanes.ground_frame == "base_link"
    for slot, side in enumerate(LINES, start=1):
        np.testing.assert_allclose(ground(lanes, slot)[:, 1], side, atol=0.03)
    assert drive("ego_lane")["ego_lane"].width == pytest.approx(3.6, abs=0.05)


def test_parameters_come_before_tf(start_node, client, detector, drive, tf):
    start_node(**MOUNTED, camera_y=1.0)
    listen(client, lanes=LaneArray)
    calibrated(client, camera_info())
    tf.static(y=5.0)
    np.testing.assert_allclose(ground(until_on_ground(drive), 2)[:, 1], LINES[1] + 1, atol=0.03)


def test_a_moving_camera_is_taken_where_it_was_at_the_image(
    start_node, client, detector, drive, tf
):
    start_node(tracking=False, stale_after=2.0)
    listen(client, lanes=LaneArray)
    calibrated(client, camera_info())
    wait_until(lambda: drive("lanes") and tf.heard, "the node to listen to /tf")
    tf.moving((3000, 0), y=0.0)
    tf.moving((3001, 0), y=1.0)

    def side(seconds: int, nanoseconds: int) -> float | None:
        lanes = drive("lanes", stamp=(seconds, nanoseconds))["lanes"]
        return float(np.median(ground(lanes, 2)[:, 1])) if lanes.ground_frame else None

    # Each image a stamp of its own, so that answers are told apart.
    nanoseconds = iter(range(500_000_000, 900_000_000))
    wait_until(lambda: side(3000, next(nanoseconds)) is not None, "the transforms")
    assert side(3000, next(nanoseconds)) == pytest.approx(LINES[1] + 0.5, abs=0.03)
    # TF is behind, by a little and by too much.
    assert side(3002, 0) == pytest.approx(LINES[1] + 1.0, abs=0.03)
    assert side(3009, 0) is None
    status = client.wait_for_status(
        lambda s: s.values.get("frames without ground: old_transform"), "the old transform"
    )
    assert status.level == "WARN"
    assert "8.0 s" in status.values["ground"]


@pytest.mark.parametrize(
    ("mounting", "reason", "words"),
    [
        ({"height": -0.5}, "bad_mounting", "above the road"),
        ({"height": math.nan}, "no_mounting", "camera_optical"),
        ({"pitch": -1.0}, "no_road", "optical"),
    ],
)
def test_a_transform_that_cannot_be_is_said(
    start_node, client, detector, drive, tf, mounting, reason, words
):
    start_node()
    listen(client, lanes=LaneArray)
    calibrated(client, camera_info())
    tf.static(**mounting)

    def said() -> Any:
        assert not drive("lanes")["lanes"].ground_frame
        status = client.status()
        found = status is not None and f"frames without ground: {reason}" in status.values
        return found and words in status.values["ground"]

    wait_until(said, reason)


def test_frames_that_tf_does_not_connect(start_node, client, detector, drive, tf):
    start_node()
    listen(client, lanes=LaneArray)
    calibrated(client, camera_info())
    tf.static()
    until_on_ground(drive)
    assert not drive("lanes", frame="elsewhere")["lanes"].ground_frame
    status = client.wait_for_status(
        lambda s: s.values.get("frames without ground: no_mounting"), "the frame"
    )
    assert "elsewhere" in status.values["ground"]
    assert not drive("lanes", frame="")["lanes"].ground_frame
