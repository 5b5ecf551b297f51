"""The names of a camera's topics, and why nothing may come on them."""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode

from lane_sad_ros.names import IMAGE_TYPES, camera_info_topic

_RAW, _COMPRESSED = IMAGE_TYPES
_ENDING = "/compressed"
_SHOWN = 5  # topics that are named


@dataclass(frozen=True)
class Topic:
    """name: in full, as the graph knows it. asked: what to subscribe to. The rules of remapping
    lead from it to the name; from the name they could lead on, as where two cameras are swapped.
    """

    asked: str
    name: str


def image_topic(node: LifecycleNode, name: str, transport: str) -> Topic:
    """The input topic.

    The compressed topic follows where the raw one is remapped to, as with image_transport, unless
    it is remapped itself, or the raw one already to a compressed topic.
    """
    base = f"{name}/image" if name else "image"
    raw = str(node.resolve_topic_name(base))
    if transport == "raw":
        return Topic(base, raw)
    compressed = base + _ENDING
    resolved = str(node.resolve_topic_name(compressed))
    if resolved != node.resolve_topic_name(compressed, only_expand=True):
        return Topic(compressed, resolved)
    beside = raw.removesuffix(_ENDING) + _ENDING
    return Topic(beside, beside)


def info_topic(node: LifecycleNode, name: str, image_topic: str) -> Topic:
    """The calibration's topic. image_topic: the full name of that of the images.

    As everywhere in ROS it lies beside the images, unless it is remapped itself.
    """
    own = f"{name}/camera_info" if name else "camera_info"
    resolved = str(node.resolve_topic_name(own))
    if resolved != node.resolve_topic_name(own, only_expand=True):
        return Topic(own, resolved)
    beside = camera_info_topic(image_topic)
    return Topic(beside, beside)


def why_silent(node: LifecycleNode, subscribed: Topic, transport: str) -> str:
    """In words: why no image comes on a topic, and what to set, as the graph tells."""
    wanted, other = (_RAW, _COMPRESSED) if transport == "raw" else (_COMPRESSED, _RAW)
    topic = subscribed.name
    types = [info.topic_type for info in node.get_publishers_info_by_topic(subscribed.asked)]
    if wanted in types:
        return f"{types.count(wanted)} publisher(s) of {topic} send nothing that arrives"
    if other in types:
        return f"{topic} carries {other}: {_remedy(topic, other)}"
    if types:
        return f"{topic} carries {types[0]}, not images"
    images = {
        name: kind
        for name, kinds in node.get_topic_names_and_types()
        for kind in kinds
        if kind in IMAGE_TYPES and node.count_publishers(name)
    }
    sibling = topic + _ENDING if transport == "raw" else topic.removesuffix(_ENDING)
    if images.get(sibling) == other:
        return f"nobody publishes {topic}, but {sibling}: {_remedy(sibling, other)}"
    own = f"{node.get_fully_qualified_name()}/"
    there = sorted(name for name in images if not name.startswith(own))[:_SHOWN]
    return f"nobody publishes {topic}" + (f"; there are {', '.join(there)}" if there else "")


def _remedy(topic: str, kind: str) -> str:
    """What to set to hear images of this type on this topic."""
    if kind == _RAW:
        return "set image_transport to raw"
    return f"set image_transport to compressed, and image to {topic.removesuffix(_ENDING)}"
