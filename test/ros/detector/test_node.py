"""The node from outside: images in, lanes out, and everything that can go wrong between."""

from __future__ import annotations

import array
import os
import shutil
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from harness import SPARE_SECONDS, TINY, bgr_image, scene, wait_until
from lane_sad_ros.msg import LaneArray, LaneExistence
from rclpy.context import Context
from rclpy.event_handler import QoSSubscriptionEventType
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from lane_sad_ros.detection import Frame, LaneDetector, segmentation_to_image
from lane_sad_ros.lanes import SLOTS_6
from lane_sad_ros.messages.lanes import lanes_from_message
from lane_sad_ros.network.weights import WeightsError, default_weights_path
from lane_sad_ros.pictures.overlay import draw_lanes
from lane_sad_ros.ros.message_classes import MESSAGES
from training.scenes import Drive, drive_camera

RELIABLE = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)


def points(message: LaneArray) -> list[tuple[bool, list[float], list[float]]]:
    return [(lane.exists, list(lane.u), list(lane.v)) for lane in message.lanes]


def test_the_node_process_answers_an_image_with_lanes_under_its_header(start_process, client):
    node = start_process()
    topic = client.lanes()
    client.listen(LaneExistence, "/lane_detector/existence")
    camera = client.publisher(Image, "/image")
    image = bgr_image(scene())
    lanes = client.ask(camera, image, topic)
    assert lanes.header == image.header
    assert lanes.header.frame_id == "camera_optical"
    assert (lanes.image_width, lanes.image_height) == (128, 64)
    assert [lane.id for lane in lanes.lanes] == list(range(6))
    assert tuple(lane.name for lane in lanes.lanes) == TINY.slots
    assert any(lane.exists for lane in lanes.lanes)
    for lane in lanes.lanes:
        assert len(lane.u) == len(lane.v) == len(lane.score)
        assert all(below > above for below, above in pairwise(lane.v))
        assert lane.exists == bool(lane.u)
    existence = client.ask(camera, image, "/lane_detector/existence")
    assert existence.header == image.header
    lanes = client.answer(topic, (image.header.stamp.sec, image.header.stamp.nanosec))
    assert list(existence.exists) == [lane.exists for lane in lanes.lanes]
    assert list(existence.probability) == [lane.probability for lane in lanes.lanes]
    assert node.end(signal.SIGINT) == 0


def test_the_node_says_what_the_detector_says(start_node, client, tiny_weights):
    start_node()
    topic = client.lanes()
    camera = client.publisher(Image, "/image")
    detector = LaneDetector.from_weights(tiny_weights, device="cpu")
    expected = detector.detect([Frame(scene())])[0].lanes
    lanes = lanes_from_message(client.ask(camera, bgr_image(scene()), topic))
    assert lanes.image_size == expected.image_size
    for lane, wanted in zip(lanes, expected, strict=True):
        assert (lane.slot, lane.exists) == (wanted.slot, wanted.exists)
        np.testing.assert_allclose(lane.points, wanted.points, atol=1e-3)


def test_the_shipped_weights_find_the_ego_lane_of_a_rendered_road(start_node, client):
    try:
        default_weights_path()
    except WeightsError as error:
        pytest.skip(str(error))
    truth = Drive(camera=drive_camera()).frame(1.2)  # with a dash near by on either side
    start_node(weights="")
    topic = client.lanes()
    camera = client.publisher(Image, "/image", RELIABLE)
    answer = client.ask(camera, bgr_image(truth.image), topic)
    labels = dict(zip(SLOTS_6, truth.lanes, strict=True))
    for lane in answer.lanes:
        if lane.name not in ("left_1", "right_1"):
            continue
        assert lane.exists, lane.name
        # Labels run from the bottom up; np.interp wants rows that grow.
        u, v = labels[lane.name][::-1].T
        rows = np.array(lane.v)
        known = (rows >= v.min()) & (rows <= v.max())
        errors = np.abs(np.array(lane.u)[known] - np.interp(rows[known], v, u))
        assert known.sum() >= 10
        assert np.median(errors) < 6.0, lane.name


def test_every_lossless_encoding_gives_the_same_lanes(start_node, client):
    start_node()
    topic = client.lanes()
    camera = client.publisher(Image, "/image")
    bgr = scene()
    expected = points(client.ask(camera, bgr_image(bgr), topic))
    rgb = np.ascontiguousarray(bgr[:, :, ::-1])
    opaque = np.full((*bgr.shape[:2], 1), 255, np.uint8)
    header = Image().header
    variants = [
        MESSAGES.image(rgb, "rgb8", header),
        MESSAGES.image(np.dstack([bgr, opaque]), "bgra8", header),
        MESSAGES.image(np.dstack([rgb, opaque]), "rgba8", header),
        MESSAGES.image(bgr, "8UC3", header),
    ]
    padded = MESSAGES.image(np.pad(bgr, ((0, 0), (0, 5), (0, 0))), "bgr8", header)
    padded.width = bgr.shape[1]
    high = np.repeat(bgr, 2, axis=2)
    big = MESSAGES.image(high, "bgr16", header)
    big.is_bigendian = 1
    for message in [*variants, padded, big]:
        assert points(client.ask(camera, message, topic)) == expected, message.encoding

    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    mono = points(client.ask(camera, MESSAGES.image(grey, "mono8", header), topic))
    high = np.repeat(grey[:, :, None], 2, axis=2)
    mono16 = MESSAGES.image(high, "mono16", header)
    assert points(client.ask(camera, mono16, topic)) == mono
    assert mono != expected


def test_images_may_change_in_size(start_node, client):
    start_node()
    topic = client.lanes()
    camera = client.publisher(Image, "/image")
    for width, height in ((128, 64), (320, 180), (64, 64), (128, 64)):
        lanes = client.ask(camera, bgr_image(scene(width, height)), topic)
        assert (lanes.image_width, lanes.image_height) == (width, height)
        assert all(max(lane.u, default=0) < width for lane in lanes.lanes)


def test_compressed_images_follow_the_remapping_of_the_raw_topic(start_node, client):
    start_node(arguments=["-r", "image:=/front/image_raw"], image_transport="compressed")
    topic = client.lanes()
    camera = client.publisher(CompressedImage, "/front/image_raw/compressed")
    data = array.array("B", cv2.imencode(".png", scene())[1].tobytes())
    whole = CompressedImage(format="png", data=data)
    assert client.ask(camera, whole, topic).image_width == 128

    jpeg = cv2.imencode(".jpg", scene())[1].tobytes()
    camera.publish(CompressedImage(format="jpeg", data=array.array("B", jpeg[: len(jpeg) // 2])))
    status = client.wait_for_status(lambda s: s.count("bad: corrupt_data"), "a corrupt JPEG")
    assert status.level == "WARN"
    assert "lacks its end" in status.message
    assert client.ask(camera, whole, topic).image_width == 128


def test_compressed_images_of_more_pixels_than_allowed_are_refused(start_node, client):
    start_node(image_transport="compressed", max_pixels=8000)
    topic = client.lanes()
    camera = client.publisher(CompressedImage, "/image/compressed", RELIABLE)
    large, small = (
        CompressedImage(
            format="png", data=array.array("B", cv2.imencode(".png", made)[1].tobytes())
        )
        for made in (scene(), scene(100, 80))
    )
    camera.publish(large)
    status = client.wait_for_status(lambda s: s.count("bad: too_large") == 1, "the large image")
    assert "an image of 128x64 pixels; at most 0.008 million" in status.message
    assert client.ask(camera, small, topic).image_width == 100


def test_the_compressed_topic_can_be_remapped_itself(start_node, client):
    start_node(arguments=["-r", "image/compressed:=/jpegs"], image_transport="compressed")
    client.publisher(CompressedImage, "/jpegs")


def test_bad_frames_are_counted_by_reason_and_the_node_goes_on(start_node, client):
    start_node()
    topic = client.lanes()
    camera = client.publisher(Image, "/image", RELIABLE)
    spoiled = {
        "unknown_encoding": {"encoding": "32FC1"},
        "short_data": {"data": array.array("B", bytes(100))},
        "short_step": {"step": 10},
        "empty_image": {"width": 0},
        "odd_size": {"encoding": "uyvy", "width": 127},
    }
    for number, (reason, changes) in enumerate(spoiled.items(), 1):
        message = bgr_image(scene())
        for name, value in changes.items():
            setattr(message, name, value)
        camera.publish(message)
        client.wait_for_status(
            lambda s, number=number, reason=reason: (
                s.count("bad") == number and s.count(f"bad: {reason}") == 1
            ),
            f"one {reason}",
        )
        assert reason in client.wait_for_log(reason)
    assert client.ask(camera, bgr_image(scene()), topic).lanes
    status = client.wait_for_status(lambda s: s.count("processed") == 1, "a good frame")
    assert status.level == "WARN"
    assert status.count("received") == 6


def test_one_bad_warning_is_not_repeated_for_every_frame(start_node, client):
    start_node()
    client.lanes()
    camera = client.publisher(Image, "/image", RELIABLE)
    for number in range(1, 6):
        message = bgr_image(scene())
        message.encoding = "nonsense"
        camera.publish(message)
        client.wait_for_status(lambda s, n=number: s.count("bad") == n, f"{number} bad frames")
    assert sum("nonsense" in line for line in client.log) == 1


def test_lifecycle_by_hand(start_node, client):
    start_node(autostart=False)
    assert client.state() == "unconfigured"
    assert client.change_state("configure")
    assert client.state() == "inactive"
    topic = client.lanes()
    assert client.node.count_subscribers("/image") == 0
    assert client.change_state("activate")
    camera = client.publisher(Image, "/image")
    assert client.ask(camera, bgr_image(scene()), topic).lanes
    assert client.change_state("deactivate")
    wait_until(lambda: client.node.count_subscribers("/image") == 0, "no subscription")
    assert client.change_state("activate")
    wait_until(camera.get_subscription_count, "the subscription again")
    assert client.ask(camera, bgr_image(scene()), topic).lanes
    assert client.change_state("deactivate")
    assert client.change_state("cleanup")
    assert client.state() == "unconfigured"
    wait_until(lambda: client.node.count_publishers(topic) == 0, "no outputs")
    assert client.change_state("shutdown")
    assert client.state() == "finalized"


def test_shutdown_while_active(start_node, client):
    start_node()
    client.wait_for_state("active")
    assert client.change_state("shutdown")
    assert client.state() == "finalized"
    wait_until(lambda: client.node.count_subscribers("/image") == 0, "no subscription")


def test_impossible_transitions_are_refused_in_words(start_node, client):
    start_node(autostart=False)
    assert not client.change_state("activate")
    assert "possible: configure, shutdown" in client.wait_for_log("activate is impossible")
    assert not client.change_state("no_such_transition")
    assert client.change_state("configure")
    assert not client.change_state("configure")
    assert client.state() == "inactive"


def test_configuring_without_weights_says_why_and_can_be_repaired(
    start_node, client, tiny_weights, tmp_path
):
    start_node(weights="/no/such/weights.safetensors")
    status = client.wait_for_status(lambda s: s.level == "ERROR", "the failure", ": detector")
    assert "/no/such/weights.safetensors" in status.message
    assert status.values["state"] == "unconfigured"
    assert "/no/such/weights.safetensors" in client.wait_for_log("cannot configure")

    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(tiny_weights.read_bytes()[:1000])
    assert client.set("weights", str(truncated)).successful
    assert not client.change_state("configure")
    assert client.state() == "unconfigured"
    client.wait_for_log("truncated.safetensors")

    copy = tmp_path / "good.safetensors"
    shutil.copy(tiny_weights, copy)
    assert client.set("weights", str(copy)).successful
    assert client.change_state("configure")
    assert client.change_state("activate")
    status = client.wait_for_status(lambda s: "weights" in s.values, "the weights", ": detector")
    assert status.level == "OK"
    assert status.values["weights"] == str(copy)
    topic = client.lanes()
    camera = client.publisher(Image, "/image")
    assert client.ask(camera, bgr_image(scene()), topic).lanes


def test_what_is_set_while_it_configures_counts(start_node, client, monkeypatch):
    warm_up, begun, may_end = LaneDetector.warm_up, threading.Event(), threading.Event()

    def slow(self, batch):
        begun.set()
        assert may_end.wait(SPARE_SECONDS)
        warm_up(self, batch)

    monkeypatch.setattr(LaneDetector, "warm_up", slow)
    start_node()
    assert begun.wait(SPARE_SECONDS)
    assert client.set("existence_threshold", 0.75).successful
    may_end.set()
    status = client.wait_for_status(lambda s: "weights" in s.values, "the weights", ": detector")
    assert status.values["existence_threshold"] == "0.75"


@pytest.mark.parametrize(
    ("parameter", "value", "words"),
    [
        ("device", "cuda:77", "cuda:77"),
        ("device", "abacus", "abacus"),
        ("engine", "steam", "eager"),
    ],
)
def test_what_is_not_there_is_said(start_node, client, parameter, value, words):
    start_node(**{parameter: value})
    status = client.wait_for_status(lambda s: s.level == "ERROR", "the failure", ": detector")
    assert words in status.message
    assert client.state() == "unconfigured"


def test_cameras_that_are_ready_together_run_as_one_batch(start_node, client):
    start_node(cameras=["front", "rear"])
    topics = {name: client.lanes(f"/lane_detector/{name}/lanes") for name in ("front", "rear")}
    publishers = {
        name: client.publisher(Image, f"/{name}/image", RELIABLE) for name in ("front", "rear")
    }
    images = {"front": bgr_image(scene(seed=1)), "rear": bgr_image(scene(200, 100, seed=2))}
    alone = {}
    for name, publisher in publishers.items():
        alone[name] = points(client.ask(publisher, images[name], topics[name]))
    assert alone["front"] != alone["rear"]

    def together() -> bool:
        stamps = {}
        for name, publisher in publishers.items():
            stamps[name] = client.stamp(images[name])
            publisher.publish(images[name])
        for name, stamp in stamps.items():
            answer = client.answer(topics[name], stamp)
            for (_, u, _), (_, wanted, _) in zip(points(answer), alone[name], strict=True):
                np.testing.assert_allclose(u, wanted, atol=0.05)
        status = client.status(": camera rear")
        return status is not None and float(status.values.get("batch mean", 0.0)) > 1.0

    wait_until(together, "a batch of two")
    status = client.status(": camera front")
    assert status is not None
    assert status.values["topic"] == "/front/image"


def test_cameras_that_are_remapped_to_each_other_are_swapped(start_node, client):
    swap = {"left": "right", "right": "left"}
    rules = [
        f"{camera}/{name}:={other}/{name}"
        for camera, other in swap.items()
        for name in ("image", "camera_info")
    ]
    start_node(cameras=list(swap), arguments=[part for rule in rules for part in ("-r", rule)])
    topics = {camera: client.lanes(f"/lane_detector/{camera}/lanes") for camera in swap}
    widths = {"left": 128, "right": 200}
    images = {name: client.publisher(Image, f"/{name}/image", RELIABLE) for name in swap}

    def answered() -> bool:
        for name, publisher in images.items():
            publisher.publish(bgr_image(scene(widths[name], 64)))
        return all(client.received[topic] for topic in topics.values())

    wait_until(answered, "lanes of both cameras")
    for camera, other in swap.items():
        assert {each.image_width for each in client.received[topics[camera]]} == {widths[other]}

    client.publisher(CameraInfo, "/right/camera_info").publish(CameraInfo())

    def refused(camera: str) -> bool:
        status = client.status(f": camera {camera}")
        return status is not None and bool(status.count("without ground: bad_camera_info"))

    wait_until(lambda: answered() and refused("left"), "the left camera's calibration")
    assert not refused("right")


def test_a_frame_that_cannot_be_used_does_not_spoil_the_batch(start_node, client):
    start_node(cameras=["front", "rear"], crop=[0.45, 0.5, 0.5, 1.0])
    topic = client.lanes("/lane_detector/front/lanes")
    client.lanes("/lane_detector/rear/lanes")
    front = client.publisher(Image, "/front/image", RELIABLE)
    rear = client.publisher(Image, "/rear/image", RELIABLE)
    tiny = bgr_image(scene(2, 2))  # too few columns for the crop
    for _ in range(20):
        rear.publish(tiny)
        assert client.ask(front, bgr_image(scene()), topic).lanes
    client.wait_for_status(
        lambda s: s.count("bad: unusable_frame") > 0, "the frame that is too small", ": camera rear"
    )
    status = client.wait_for_status(lambda s: s.count("processed") == 20, "20", ": camera front")
    assert status.count("bad") == 0


def test_a_negative_stamp_fails_alone(start_node, client):
    start_node(cameras=["front", "rear"])
    topic = client.lanes("/lane_detector/front/lanes")
    client.lanes("/lane_detector/rear/lanes")
    front = client.publisher(Image, "/front/image", RELIABLE)
    rear = client.publisher(Image, "/rear/image", RELIABLE)
    early = bgr_image(scene())
    early.header.stamp.sec = -5
    for _ in range(10):
        rear.publish(early)
        assert client.ask(front, bgr_image(scene()), topic).lanes
    status = client.wait_for_status(
        lambda s: s.count("bad: bad_stamp") > 0, "the negative stamp", ": camera rear"
    )
    assert "-5 s is negative" in status.message
    status = client.wait_for_status(lambda s: s.count("processed") == 10, "10", ": camera front")
    assert status.count("bad") == status.count("failed") == 0


def test_an_engine_that_fails_on_a_batch_is_asked_frame_by_frame(start_node, client, monkeypatch):
    """As one without memory enough for the batch."""
    start_node(cameras=["front", "rear"])
    client.wait_for_state("active")
    detect = LaneDetector.detect
    most = []

    def detect_one(self, frames, **options):
        most.append(len(frames))
        if len(frames) > 1:
            raise RuntimeError("out of memory")
        return detect(self, frames, **options)

    monkeypatch.setattr(LaneDetector, "detect", detect_one)
    topics = [client.lanes(f"/lane_detector/{name}/lanes") for name in ("front", "rear")]
    cameras = [client.publisher(Image, f"/{name}/image", RELIABLE) for name in ("front", "rear")]
    while max(most, default=0) < 2:
        cameras[1].publish(bgr_image(scene()))
        assert client.ask(cameras[0], bgr_image(scene()), topics[0]).lanes
    assert client.ask(cameras[1], bgr_image(scene()), topics[1]).lanes
    for name in ("front", "rear"):
        camera = f": camera {name}"
        status = client.wait_for_status(lambda s: s.count("processed"), "an answer", camera)
        assert status.count("failed") == 0
        assert status.values["batch mean"] == "1.00"
    client.wait_for_log("2 frames at once failed, one by one is tried: RuntimeError: out of memory")


@pytest.mark.parametrize("lost", [False, True])
def test_a_device_that_is_lost_ends_the_process(start_node, client, monkeypatch, lost):
    """CUDA, once failed, fails until the process ends; a frame that failed alone does not."""
    stopped, failed = threading.Event(), threading.Event()
    node = start_node(stop=stopped.set)
    client.lanes()

    def failing(*_, **__):
        failed.set()
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(LaneDetector, "detect", failing)
    monkeypatch.setattr(LaneDetector, "answers", lambda _: not lost)
    camera = client.publisher(Image, "/image")
    while not failed.wait(0.1):  # a frame that comes before its listener is left out
        camera.publish(bgr_image(scene()))
    client.wait_for_status(lambda s: s.count("failed"), "a failed frame")
    if lost:
        client.wait_for_log("the device has failed, which only a new process can mend")
        assert stopped.wait(SPARE_SECONDS)
    assert (stopped.is_set(), node.exit_code) == (lost, int(lost))


def test_without_memory_for_a_batch_at_the_start_frames_go_one_by_one(
    start_node, client, monkeypatch
):
    warm_up, detect, most = LaneDetector.warm_up, LaneDetector.detect, []

    def warm_up_one(self, batch):
        if batch > 1:
            raise RuntimeError("out of memory")
        warm_up(self, batch)

    def counted(self, frames, **options):
        most.append(len(frames))
        return detect(self, frames, **options)

    monkeypatch.setattr(LaneDetector, "warm_up", warm_up_one)
    monkeypatch.setattr(LaneDetector, "detect", counted)
    start_node(cameras=["front", "rear"])
    topics = [client.lanes(f"/lane_detector/{name}/lanes") for name in ("front", "rear")]
    cameras = [client.publisher(Image, f"/{name}/image", RELIABLE) for name in ("front", "rear")]
    for _ in range(5):
        cameras[1].publish(bgr_image(scene()))
        assert client.ask(cameras[0], bgr_image(scene()), topics[0]).lanes
    assert client.ask(cameras[1], bgr_image(scene()), topics[1]).lanes
    assert max(most) == 1
    client.wait_for_log("2 frames at once failed, one by one is tried: RuntimeError: out of memory")


def test_under_load_the_newest_frame_wins_and_drops_are_counted(start_node, client):
    start_node(image_reliability="reliable", image_depth=100)
    topic = client.lanes()
    client.listen(Image, "/lane_detector/overlay")  # makes every frame dear
    camera = client.publisher(Image, "/image", QoSProfile(depth=100))
    image = bgr_image(scene(960, 540))
    for _ in range(60):
        last = client.stamp(image)
        camera.publish(image)
    client.answer(topic, last)
    status = client.wait_for_status(
        lambda s: s.count("processed") + s.count("dropped") == 60, "all frames accounted for"
    )
    assert status.count("received") == 60
    assert status.count("dropped") > 0
    most = status.count("dropped") > 30
    assert ("frames dropped lately" in status.message) is most
    assert status.level == ("WARN" if most else "OK")
    stamps = [message.header.stamp.sec for message in client.received[topic]]
    assert stamps == sorted(stamps)
    assert len(stamps) == status.count("processed")


def test_queues_are_as_long_as_the_parameters_say(start_node, client):
    node = start_node(image_depth=23, output_depth=17)
    client.wait_for_state("active")
    depths = {p.topic_name: p.qos_profile.depth for p in node.publishers}
    assert depths["/lane_detector/lanes"] == depths["/lane_detector/overlay"] == 17
    (image,) = [s for s in node.subscriptions if s.topic_name == "/image"]
    assert image.qos_profile.depth == 23


def test_frames_that_the_middleware_lost_are_counted(start_node, client):
    node = start_node()
    client.wait_for_state("active")
    (image,) = [s for s in node.subscriptions if s.topic_name == "/image"]
    lost = QoSSubscriptionEventType.RCL_SUBSCRIPTION_MESSAGE_LOST
    (event,) = [handler for handler in image.event_handlers if handler.event_type == lost]
    event.callback(SimpleNamespace(total_count=3, total_count_change=3))
    status = client.wait_for_status(lambda s: s.count("lost on the way") == 3, "lost frames")
    assert status.level == "WARN"
    assert "3 frame(s) lost on the way lately" in status.message


def test_services_answer_while_frames_are_processed(start_node, client):
    start_node()
    client.lanes()
    camera = client.publisher(Image, "/image")
    image = bgr_image(scene(960, 540))
    for _ in range(20):
        camera.publish(image)
        assert client.state() == "active"
        assert client.set("overlay_quality", 50).successful


def test_what_nobody_listens_to_is_not_computed(start_node, client):
    start_node()
    client.wait_for_state("active")
    camera = client.publisher(Image, "/image", RELIABLE)
    camera.publish(bgr_image(scene()))
    status = client.wait_for_status(lambda s: s.count("without subscriber") == 1, "an idle frame")
    assert status.level == "OK"
    assert "nobody subscribed" in status.message
    assert status.count("processed") == 0
    assert "network median [ms]" not in status.values

    listening = client.listen(LaneExistence, "/lane_detector/existence")
    wait_until(listening.get_publisher_count, "the output")
    client.ask(camera, bgr_image(scene()), "/lane_detector/existence")
    status = client.wait_for_status(lambda s: s.count("processed") == 1, "a processed frame")
    assert status.values["subscribers of lanes"] == "0"
    for stage in ("wait", "convert", "preprocess", "network", "decode", "publish", "total"):
        assert float(status.values[f"{stage} median [ms]"]) >= 0
        assert float(status.values[f"{stage} median [ms]"]) <= float(
            status.values[f"{stage} 99th [ms]"]
        )
    assert float(status.values["rate in [Hz]"]) > 0
    assert float(status.values["rate out [Hz]"]) > 0


def test_pictures(start_node, client, tiny_weights):
    start_node(overlay_quality=100, tracking=False)
    overlay, jpeg = "/lane_detector/overlay", "/lane_detector/overlay/compressed"
    segmentation = "/lane_detector/segmentation"
    for kind, topic in ((Image, overlay), (CompressedImage, jpeg), (Image, segmentation)):
        wait_until(client.listen(kind, topic).get_publisher_count, topic)
    camera = client.publisher(Image, "/image")
    image = bgr_image(scene())
    rgb = MESSAGES.image(np.ascontiguousarray(scene()[:, :, ::-1]), "rgb8", image.header)
    drawn = client.ask(camera, rgb, overlay)
    stamp = rgb.header.stamp.sec, rgb.header.stamp.nanosec
    detector = LaneDetector.from_weights(tiny_weights, device="cpu")
    found = detector.detect([Frame(scene())], segmentation=True)[0]

    assert (drawn.header, drawn.encoding, drawn.step) == (rgb.header, "bgr8", 128 * 3)
    picture = np.frombuffer(drawn.data, np.uint8).reshape(64, 128, 3)
    np.testing.assert_array_equal(picture, draw_lanes(scene(), found.lanes))

    compressed = client.answer(jpeg, stamp)
    assert (compressed.header, compressed.format) == (rgb.header, "bgr8; jpeg compressed bgr8")
    decoded = cv2.imdecode(np.frombuffer(compressed.data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded.astype(int) - picture).mean() < 10
    best = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
    assert bytes(compressed.data) == best.tobytes()

    ids = client.answer(segmentation, stamp)
    assert (ids.header, ids.encoding, ids.width, ids.height) == (rgb.header, "mono8", 128, 64)
    np.testing.assert_array_equal(
        np.frombuffer(ids.data, np.uint8).reshape(64, 128),
        segmentation_to_image(found.segmentation, detector.layout, (128, 64)),
    )


def test_the_crop_is_taken_from_the_parameter(start_node, client, tiny_weights):
    start_node(crop=[0.0, 0.5, 1.0, 1.0])
    topic = client.lanes()
    camera = client.publisher(Image, "/image")
    lanes = client.ask(camera, bgr_image(scene()), topic)
    detector = LaneDetector.from_weights(tiny_weights, device="cpu", crop=(0.0, 0.5, 1.0, 1.0))
    expected = detector.detect([Frame(scene())])[0].lanes
    assert min(min(lane.v) for lane in lanes.lanes if lane.exists) >= 31
    for lane, wanted in zip(lanes.lanes, expected, strict=True):
        np.testing.assert_allclose(lane.u, wanted.points[:, 0], atol=1e-3)


def test_a_best_effort_camera_and_a_reliable_subscription_are_told_apart(start_node, client):
    start_node(image_reliability="reliable")
    client.wait_for_state("active")
    publisher = client.node.create_publisher(Image, "/image", BEST_EFFORT)
    assert "image_reliability to best_effort" in client.wait_for_log("best effort")
    status = client.wait_for_status(lambda s: "best effort" in s.message, "the mismatch")
    assert status.level == "ERROR"
    client.node.destroy_publisher(publisher)
    client.publisher(Image, "/image", RELIABLE)
    client.wait_for_status(lambda s: "best effort" not in s.message, "the mended driver")


def test_every_camera_that_cannot_be_heard_is_named(start_node, client):
    start_node(image_reliability="reliable", cameras=["front", "rear"])
    client.wait_for_state("active")
    for name in ("front", "rear"):
        client.node.create_publisher(Image, f"/{name}/image", BEST_EFFORT)
    for name in ("front", "rear"):
        client.wait_for_log(f"/{name}/image is best effort")


def test_a_listener_that_asks_for_too_much_is_told(start_node, client):
    start_node()
    client.wait_for_state("active")
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    client.listen(LaneArray, "/lane_detector/lanes", latched)
    assert "/lane_detector/lanes" in client.wait_for_log("DURABILITY")


@pytest.mark.parametrize("offered", [RELIABLE, BEST_EFFORT], ids=["reliable", "best_effort"])
def test_the_default_hears_every_camera(start_node, client, offered):
    start_node()
    topic = client.lanes()
    camera = client.publisher(Image, "/image", offered)
    assert client.ask(camera, bgr_image(scene()), topic).lanes


def test_a_camera_that_stops_is_reported_until_it_is_back(start_node, client):
    start_node(stale_after=0.5)
    topic = client.lanes()
    status = client.wait_for_status(lambda s: "no frame yet" in s.message, "no frame yet")
    assert status.level == "WARN"
    assert "nobody publishes /image" in status.message
    assert status.values["age of last frame [s]"] == "never"
    camera = client.publisher(Image, "/image")
    client.ask(camera, bgr_image(scene()), topic)
    status = client.wait_for_status(lambda s: "no frame for" in s.message, "the stopped camera")
    assert status.level == "WARN"
    assert "1 publisher(s) of /image" in status.message
    assert client.set("stale_after", 1000.0).successful
    status = client.wait_for_status(lambda s: s.level == "OK", "peace again")
    assert status.values["subscribers of lanes"] == "1"


def test_simulated_time(start_node, client):
    start_node(use_sim_time=True)
    topic = client.lanes()
    camera = client.publisher(Image, "/image")
    image = bgr_image(scene())
    # The clock stands at zero: lanes and diagnostics come all the same.
    assert client.ask(camera, image, topic).header == image.header
    client.wait_for_status(lambda s: s.count("processed") == 1, "diagnostics without a clock")
    assert client.received["/diagnostics"][-1].header.stamp.sec == 0

    clock = client.publisher(Clock, "/clock")

    def runs() -> bool:
        message = Clock()
        message.clock.sec = 5000
        clock.publish(message)
        return client.received["/diagnostics"][-1].header.stamp.sec == 5000

    wait_until(runs, "the simulated time in diagnostics")


@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM,),
        (signal.SIGINT, signal.SIGTERM),
    ],
    ids=lambda signals: "+".join(number.name for number in signals),
)
def test_signals_end_the_process_cleanly(start_process, client, signals):
    node = start_process()
    topic = client.lanes()
    camera = client.publisher(Image, "/image")
    client.ask(camera, bgr_image(scene()), topic)
    for _ in range(20):
        camera.publish(bgr_image(scene(960, 540)))
    assert node.end(*signals) == 0
    assert "Traceback" not in node.output
    assert "rror" not in node.output


def test_a_python_without_torch_is_named_and_the_node_stays_up(
    start_process, client, tmp_path, monkeypatch
):
    (tmp_path / "torch.py").write_text("raise ImportError('No module named torch')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    start_process()
    status = client.wait_for_status(lambda s: s.level == "ERROR", "the failure", ": detector")
    assert "No module named torch" in status.message
    assert sys.executable in status.message
    assert client.state() == "unconfigured"


@pytest.fixture
def stall(client, monkeypatch):
    """Keeps the next detection from coming back; what it returns lets it go on."""
    begun, resumed = threading.Event(), threading.Event()

    def detect(_, frames, **__):
        begun.set()
        resumed.wait()
        raise RuntimeError("stalled")

    def start():
        camera = client.publisher(Image, "/image")
        monkeypatch.setattr(LaneDetector, "detect", detect)
        while not begun.wait(0.1):  # a frame that comes before its listener is left out
            camera.publish(bgr_image(scene()))
        return resumed.set

    yield start
    resumed.set()


def test_work_that_hangs_is_an_error(start_node, client, stall):
    start_node(stale_after=0.1)
    client.lanes()
    stall()
    status = client.wait_for_status(lambda s: s.level == "ERROR", "the hang", ": detector")
    assert "busy with detection for" in status.message
    assert "respawn:=true" in status.message
    camera = client.wait_for_status(lambda s: s.level == "ERROR", "unanswered frames")
    assert "the detector is busy with detection" in camera.message
    assert client.set("stale_after", 1000.0).successful
    client.wait_for_status(lambda s: s.level == "OK", "patience", ": detector")


@pytest.mark.parametrize("stale_after", [0.1, 1000.0])
def test_a_node_whose_work_hangs_can_be_deactivated_and_made_anew(
    start_node, client, stall, monkeypatch, stale_after
):
    detect = LaneDetector.detect
    start_node(stale_after=stale_after)
    topic = client.lanes()
    stall()
    assert client.change_state("deactivate")
    assert "though the detector is busy" in client.wait_for_log("deactivated")
    assert not client.change_state("activate")
    refused = client.wait_for_log("cannot activate: the detector is still busy")
    assert "cannot go on by itself" in refused
    assert client.change_state("cleanup")
    monkeypatch.setattr(LaneDetector, "detect", detect)
    assert client.change_state("configure")
    assert client.change_state("activate")
    camera = client.publisher(Image, "/image")
    assert client.ask(camera, bgr_image(scene()), topic).lanes


def test_a_stall_does_not_keep_the_process_from_ending(start_node, client, stall):
    node = start_node()
    client.lanes()
    stall()
    assert not node.finish(0.1)


@pytest.fixture
def stranger():
    """A node of another process, as far as ROS can tell."""
    context = Context()
    context.init(args=[])
    yield Node("stranger", context=context)
    context.try_shutdown()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("/cam/compressed", "set image_transport to compressed, and image to /cam"),
        ("/cam", "nobody publishes /cam, but /cam/compressed: set image_transport to compressed"),
        ("/wrong", "nobody publishes /wrong; there are /cam/compressed"),
    ],
)
def test_a_wrong_topic_is_told_in_the_log_and_in_diagnostics(
    start_node, client, stranger, image, said
):
    stranger.create_publisher(CompressedImage, "/cam/compressed", 1)
    start_node(stale_after=0.5, arguments=["-r", f"image:={image}"])
    assert said in client.wait_for_log(said)
    status = client.wait_for_status(lambda s: said in s.message, said)
    assert status.level == "WARN"


def test_a_topic_that_is_compressed_already_is_heard_as_it_is(start_node, client):
    start_node(image_transport="compressed", arguments=["-r", "image:=/cam/compressed"])
    client.publisher(CompressedImage, "/cam/compressed")


def test_the_first_image_is_introduced(start_node, client):
    start_node()
    client.publisher(Image, "/image", RELIABLE).publish(bgr_image(scene()))
    line = client.wait_for_log("first image on /image")
    assert "128x64 (bgr8)" in line
    assert "no camera_info on /camera_info" in line


def test_a_signal_ends_a_process_that_is_loading_for_long():
    code = (
        "import os, signal, time\n"
        "from lane_sad_ros.ros import process\n"
        "def create(stop, arguments):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(20)\n"
        "    raise ValueError('it was not ended')\n"
        "process.run('slow', create, [])\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_signal_while_weights_are_loading_ends_the_process_cleanly(start_process, client):
    node = start_process()
    client.wait_for_state("configuring")
    assert node.end(signal.SIGINT) == 0
    assert "Traceback" not in node.output


def test_the_node_ends_with_its_parent_if_told_to(tmp_path, tiny_weights, client):
    code = (
        "import subprocess, sys; "
        "subprocess.Popen([sys.executable, '-m', 'lane_sad_ros.ros.detector.node', '--ros-args', "
        f"'-p', 'exit_with_parent:=true', '-p', 'weights:={tiny_weights}']).wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    client.wait_for_state("active")
    parent.kill()
    parent.wait()
    wait_until(lambda: "lane_detector" not in client.node.get_node_names(), "the end of the orphan")
