import contextlib
import sqlite3

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from lane_sad_ros.lanes import Lane, Lanes
from lane_sad_ros.names import IMAGE_TYPES
from lane_sad_ros.recordings import bags, writing
from lane_sad_ros.recordings.message_types import MESSAGES, BagError, message_folder, typestore
from lane_sad_ros.road.camera import CameraModel
from lane_sad_ros.road.ego import EgoLane

ROS1 = get_typestore(Stores.ROS1_NOETIC)


def header(stamp_ns, frame_id="cam", store=None):
    types = (store or typestore()).types
    stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    extra = {"seq": 0} if store is ROS1 else {}
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id, **extra)


def image_message(pixels, stamp_ns, store=None):
    height, width = pixels.shape[:2]
    return (store or typestore()).types["sensor_msgs/msg/Image"](
        header=header(stamp_ns, store=store),
        height=height,
        width=width,
        encoding="bgr8",
        is_bigendian=0,
        step=3 * width,
        data=pixels.reshape(-1),
    )


def pictures(count=3):
    return [np.full((4, 6, 3), 10 * index, np.uint8) for index in range(count)]


def write_images(path, topics=("/camera/image",), count=3):
    with writing.writing_bag(path) as writer:
        for index, pixels in enumerate(pictures(count)):
            for topic in topics:
                stamp = 10**18 + index * 50_000_000
                writer.write(topic, image_message(pixels, stamp), stamp + 5)
    return path


def write_rosbag1(path, count=3):
    with Writer1(path) as writer:
        connection = writer.add_connection("/camera/image", "sensor_msgs/msg/Image", typestore=ROS1)
        for index, pixels in enumerate(pictures(count)):
            stamp = 10**18 + index * 50_000_000
            data = ROS1.serialize_ros1(image_message(pixels, stamp, ROS1), connection.msgtype)
            writer.write(connection, stamp + 5, data)
    return path


def write_folder(path, plugin):
    with Writer(path, version=8, storage_plugin=plugin) as writer:
        kind = "sensor_msgs/msg/Image"
        connection = writer.add_connection("/camera/image", kind, typestore=typestore())
        for index, pixels in enumerate(pictures()):
            stamp = 10**18 + index * 50_000_000
            data = typestore().serialize_cdr(image_message(pixels, stamp), kind)
            writer.write(connection, stamp + 5, data)
    return path


@pytest.fixture(params=["mcap", "db3", "bag", "folder of mcap", "folder of db3"])
def bag(request, tmp_path):
    if request.param == "bag":
        return write_rosbag1(tmp_path / "a.bag")
    if request.param.startswith("folder"):
        plugin = StoragePlugin.MCAP if "mcap" in request.param else StoragePlugin.SQLITE3
        return write_folder(tmp_path / "a", plugin)
    return write_images(tmp_path / f"a.{request.param}")


def test_images_come_back_as_they_were_written(bag):
    assert bags.is_bag(bag)
    topic = bags.ImageTopic(bag)
    assert (topic.topic, topic.type, topic.count) == ("/camera/image", IMAGE_TYPES[0], 3)
    assert topic.rate == pytest.approx(20, rel=0.01)
    for _ in range(2):
        for index, (time, message) in enumerate(topic):
            stamp = message.header.stamp
            assert stamp.sec * 10**9 + stamp.nanosec == 10**18 + index * 50_000_000 == time - 5
            assert message.header.frame_id == "cam"
            assert (message.width, message.height, message.step) == (6, 4, 18)
            np.testing.assert_array_equal(message.data.reshape(4, 6, 3), pictures()[index])
        assert index == 2


def test_the_rate_is_that_of_the_images_whatever_else_a_bag_holds(tmp_path):
    """Such as a message from before the clock was set."""
    path = tmp_path / "a.mcap"
    with writing.writing_bag(path) as writer:
        writer.write("/log", header(0), 10**18 - 365 * 86_400 * 10**9)
        for index in (0, 1, 2, 3, 9):
            stamp = 10**18 + index * 50_000_000
            # What is late on its way was seen in time.
            writer.write("/camera/image", image_message(pictures()[0], stamp), stamp + index**3)
    assert bags.ImageTopic(path).rate == pytest.approx(20)


def test_a_camera_whose_stamps_stand_still_has_the_rate_of_the_recording(tmp_path):
    with writing.writing_bag(tmp_path / "a.mcap") as writer:
        for index in range(5):
            time = 10**18 + index * 50_000_000
            writer.write("/camera/image", image_message(pictures()[0], 10**18), time)
    assert bags.ImageTopic(tmp_path / "a.mcap").rate == pytest.approx(20)


def test_one_image_has_a_rate_too(tmp_path):
    assert bags.ImageTopic(write_images(tmp_path / "a.mcap", count=1)).rate == 1


def lane_array():
    types = typestore().types
    lanes = [
        types["lane_sad_ros/msg/Lane"](
            id=slot,
            name=name,
            exists=bool(slot),
            probability=0.25 + slot / 2,
            u=np.arange(3 * slot, dtype=np.float32),
            v=np.arange(3 * slot, dtype=np.float32) + 1,
            score=np.ones(3 * slot, np.float32),
            ground=[],
        )
        for slot, name in enumerate(("left_1", "right_1"))
    ]
    return types["lane_sad_ros/msg/LaneArray"](
        header=header(7), image_width=6, image_height=4, ground_frame="", lanes=lanes
    )


@pytest.mark.parametrize("ending", ["mcap", "db3"])
def test_our_messages_come_back_by_the_definitions_inside_the_bag(tmp_path, ending):
    path = tmp_path / f"lanes.{ending}"
    with writing.writing_bag(path) as writer:
        writer.write("/lane_detector/lanes", lane_array(), 7)
    # AnyReader knows nothing of this package, only what the bag itself says.
    with AnyReader([path]) as reader:
        ((connection, time, data),) = reader.messages()
        message = reader.deserialize(data, connection.msgtype)
    assert (connection.topic, connection.msgtype, time) == (
        "/lane_detector/lanes",
        "lane_sad_ros/msg/LaneArray",
        7,
    )
    assert [lane.name for lane in message.lanes] == ["left_1", "right_1"]
    assert [lane.exists for lane in message.lanes] == [False, True]
    np.testing.assert_array_equal(message.lanes[1].u, [0, 1, 2])


def test_every_message_file_of_the_package_is_known():
    names = {file.stem for file in message_folder().glob("*.msg")}
    assert {"Lane", "LaneArray", "LaneExistence"} <= names
    assert {f"lane_sad_ros/msg/{name}" for name in names} <= set(typestore().types)


def test_a_bag_that_could_not_be_finished_leaves_the_old_one(tmp_path):
    path = write_images(tmp_path / "a.mcap")
    before = path.read_bytes()
    with contextlib.suppress(RuntimeError), writing.writing_bag(path) as writer:
        writer.write("/camera/image", image_message(pictures()[0], 1), 1)
        raise RuntimeError
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.mcap"]


def test_several_topics_must_be_named(tmp_path):
    path = write_images(tmp_path / "a.mcap", topics=("/front/image", "/rear/image"))
    with pytest.raises(BagError, match=r"name one .*/front/image \(Image, 3 .*/rear/image"):
        bags.ImageTopic(path)
    assert bags.ImageTopic(path, "/rear/image").topic == "/rear/image"
    with pytest.raises(BagError, match="no image topic /left; the bag has /front/image"):
        bags.ImageTopic(path, "/left")


def test_a_bag_without_images_says_what_it_has(tmp_path):
    path = tmp_path / "a.mcap"
    with writing.writing_bag(path) as writer:
        writer.write("/lanes", lane_array(), 7)
    with pytest.raises(BagError, match=r"no image topic in this bag; its topics are /lanes"):
        bags.ImageTopic(path)


@pytest.mark.parametrize("ending", ["MCAP", "Db3"])
def test_the_ending_of_a_bag_to_write_may_be_in_capitals(tmp_path, ending):
    path = tmp_path / f"lanes.{ending}"
    with writing.writing_bag(path) as writer:
        writer.write("/lanes", lane_array(), 7)
    with pytest.raises(BagError, match=r"its topics are /lanes"):
        bags.ImageTopic(path)


def test_a_bag_to_write_needs_a_known_ending(tmp_path):
    refused = pytest.raises(BagError, match=r"must end in \.mcap or \.db3")
    with refused, writing.writing_bag(tmp_path / "a.bag"):
        pass


@pytest.mark.parametrize("ending", ["mcap", "db3", "bag"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.95])
def test_a_bag_cut_short_is_one_line_that_names_it(tmp_path, ending, share):
    path = tmp_path / f"cut.{ending}"
    (write_rosbag1 if ending == "bag" else write_images)(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BagError, match=r"^[^\n]*cut\.[^\n]*$"):
        for _ in bags.ImageTopic(path):
            pass


def test_what_is_no_bag_is_one_line_that_names_it(tmp_path):
    with pytest.raises(BagError, match="missing.mcap: no such bag"):
        bags.ImageTopic(tmp_path / "missing.mcap")
    (tmp_path / "text.db3").write_text("hello, I am no database " * 100)
    with pytest.raises(BagError, match="text.db3: not a whole bag"):
        bags.ImageTopic(tmp_path / "text.db3")
    sqlite3.connect(tmp_path / "other.db3").execute("create table t (a)")
    with pytest.raises(BagError, match="other.db3"):
        bags.ImageTopic(tmp_path / "other.db3")


def test_a_folder_whose_metadata_is_broken_is_one_line(tmp_path):
    folder = write_folder(tmp_path / "a", StoragePlugin.MCAP)
    (folder / "metadata.yaml").write_text("a: [")
    with pytest.raises(BagError, match=r"^[^\n]*not a whole bag[^\n]*$"):
        bags.ImageTopic(folder)


def test_existence_is_told_in_the_order_of_the_slots():
    none = np.zeros((0, 3), np.float32)
    lanes = tuple(Lane(slot, slot == 2, 0.125 * slot, none) for slot in range(4))
    told = MESSAGES.lane_existence(Lanes((128, 96), lanes), MESSAGES.header(0, "front"))
    assert list(told.exists) == [False, False, True, False]
    assert list(told.probability) == [0.0, 0.125, 0.25, 0.375]


# rosidl imports its parser, which imports a deprecated module of the standard library.
@pytest.mark.filterwarnings("ignore:module 'sre:DeprecationWarning")
def test_lane_messages_are_those_that_the_node_publishes():
    pytest.importorskip("rclpy", exc_type=ImportError)
    from rclpy.serialization import serialize_message
    from std_msgs.msg import Header

    from lane_sad_ros.ros import message_classes as ros_types

    points = np.array([[1.5, 90, 0.9], [2.5, 80, 0.8], [3.5, 70, 0.7]], np.float32)
    ground = np.array([[5.0, 1.5, 0], [np.nan, np.nan, np.nan], [9.0, 1.5, 0]], np.float32)
    absent = Lane(1, False, 0.25, np.zeros((0, 3), np.float32))
    lanes = Lanes((128, 96), (Lane(0, True, 0.75, points, ground), absent))
    camera = CameraModel(128, 96, np.array([[90, 0, 64], [0, 91, 48], [0, 0, 1]]), "equidistant")
    ego = EgoLane(True, True, False, 3.5, -0.25, 0.01, 0.002)
    slots = ("left_1", "right_1")
    theirs = Header(frame_id="front")
    theirs.stamp.sec, theirs.stamp.nanosec = 12, 34
    ours = MESSAGES.header(12 * 10**9 + 34, "front")
    picture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    pairs = {
        "lane_sad_ros/msg/LaneArray": (
            ros_types.MESSAGES.lane_array(lanes, slots, theirs, "base_link"),
            MESSAGES.lane_array(lanes, slots, ours, "base_link"),
        ),
        "lane_sad_ros/msg/LaneExistence": (
            ros_types.MESSAGES.lane_existence(lanes, theirs),
            MESSAGES.lane_existence(lanes, ours),
        ),
        "sensor_msgs/msg/CompressedImage": (
            ros_types.MESSAGES.jpeg(picture, theirs, 85),
            MESSAGES.jpeg(picture, ours),
        ),
        "lane_sad_ros/msg/EgoLane": (
            ros_types.MESSAGES.ego_lane(ego, theirs),
            MESSAGES.ego_lane(ego, ours),
        ),
        "visualization_msgs/msg/MarkerArray": (
            ros_types.MESSAGES.markers(lanes, ego, theirs, 0.75, "front"),
            MESSAGES.markers(lanes, ego, ours, 0.75, "front"),
        ),
        "sensor_msgs/msg/CameraInfo": (
            ros_types.MESSAGES.camera_info(camera, theirs),
            MESSAGES.camera_info(camera, ours),
        ),
        "sensor_msgs/msg/PointCloud2": (
            ros_types.MESSAGES.point_cloud(lanes, theirs),
            MESSAGES.point_cloud(lanes, ours),
        ),
    }
    for name, (ros_message, bag_message) in pairs.items():
        store = typestore()
        # Both through the same serializer: only the contents count, not the padding.
        arrived = store.deserialize_cdr(serialize_message(ros_message), name)
        assert store.serialize_cdr(arrived, name) == store.serialize_cdr(bag_message, name)


def test_topics_and_raw_messages_of_every_kind_of_bag(bag):
    (topic,) = bags.topics(bag)
    assert topic == bags.TopicInfo("/camera/image", "sensor_msgs/msg/Image", 3, latched=False)
    messages = list(bags.recorded(bag, [topic.name]))
    assert list(bags.recorded(bag, ["/other"])) == []
    for index, (message, pixels) in enumerate(zip(messages, pictures(), strict=True)):
        stamp_ns = 10**18 + index * 50_000_000
        assert (message.topic, message.time_ns) == ("/camera/image", stamp_ns + 5)
        assert message.stamp_ns == stamp_ns
        image = typestore().deserialize_cdr(message.data, topic.type)
        np.testing.assert_array_equal(image.data, pixels.reshape(-1))
        assert image.header.frame_id == "cam"


def test_a_raw_message_without_a_stamp_gets_that_of_its_recording(tmp_path):
    with writing.writing_bag(tmp_path / "a.mcap") as writer:
        writer.write("/camera/image", image_message(pictures()[0], 0), 7 * 10**9 + 3)
    (message,) = bags.recorded(tmp_path / "a.mcap", ["/camera/image"])
    assert message.stamp_ns == 7 * 10**9 + 3
    image = typestore().deserialize_cdr(message.stamped().data, "sensor_msgs/msg/Image")
    assert (image.header.stamp.sec, image.header.stamp.nanosec) == (7, 3)
    assert image.header.frame_id == "cam"


def test_a_latched_topic_is_told_apart(tmp_path):
    latched = Qos(
        QosHistory.KEEP_LAST,
        1,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL,
        *(QosTime(0, 0),) * 2,
        QosLiveliness.AUTOMATIC,
        QosTime(0, 0),
        False,
    )
    with Writer(tmp_path / "bag", version=8) as writer:
        for name, profiles in (("/map", [latched]), ("/scan", [])):
            connection = writer.add_connection(
                name,
                "std_msgs/msg/Header",
                typestore=typestore(),
                offered_qos_profiles=profiles,
            )
            data = typestore().serialize_cdr(header(1), "std_msgs/msg/Header")
            writer.write(connection, 1, data)
    assert {topic.name: topic.latched for topic in bags.topics(tmp_path / "bag")} == {
        "/map": True,
        "/scan": False,
    }
