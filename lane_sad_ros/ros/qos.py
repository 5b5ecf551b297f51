"""Quality of service of the topics, and what to do where two ends do not agree."""

from __future__ import annotations

import os
from typing import Any

from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_policy_name_from_kind,
)

_TRANSPORT_VARIABLES = (
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
    "FASTDDS_BUILTIN_TRANSPORTS",  # which the profile would cancel
)


def image_qos(reliability: str, depth: int) -> QoSProfile:
    """For image subscriptions; `reliability` is "best_effort" or "reliable"."""
    policies = {
        "best_effort": QoSReliabilityPolicy.BEST_EFFORT,
        "reliable": QoSReliabilityPolicy.RELIABLE,
    }
    return _volatile(policies[reliability], depth)


def output_qos(depth: int) -> QoSProfile:
    """For publishers: reliable, which best-effort subscribers can receive too."""
    return _volatile(QoSReliabilityPolicy.RELIABLE, depth)


def latched_qos() -> QoSProfile:
    """For what was published once and is kept for late comers."""
    return QoSProfile(
        depth=1,
        reliability=QoSReliabilityPolicy.RELIABLE,
        durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
    )


def is_latched(publisher: Any) -> bool:
    """Whether a publisher, as the graph knows it, keeps what it published for late comers."""
    profile = publisher.qos_profile
    return (
        profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
        and profile.reliability == QoSReliabilityPolicy.RELIABLE
    )


def input_mismatch(topic: str, event: Any) -> str:
    """In words: a publisher of `topic` offers less than the image subscription asks for."""
    policy = _policy_name(event)
    if policy == "RELIABILITY":
        return (
            f"a publisher of {topic} is best effort, the subscription is reliable: its frames do "
            "not arrive; set image_reliability to best_effort or make the publisher reliable"
        )
    return (
        f"a publisher of {topic} has another {policy} policy: its frames do not arrive; compare "
        f"with ros2 topic info --verbose {topic}"
    )


def output_mismatch(topic: str, event: Any, offered: str = "reliable") -> str:
    """In words: a subscriber of `topic` asks for more than is offered; `offered`: reliability."""
    policy = _policy_name(event)
    if policy == "DURABILITY":
        remedy = "set its durability to volatile"
    else:
        remedy = f"compare with ros2 topic info --verbose {topic}"
    return (
        f"a subscriber of {topic} asks for a {policy} policy that is not offered (offered: "
        f"{offered.replace('_', ' ')}, volatile): it receives nothing; {remedy}"
    )


def listener_mismatch(topic: str, event: Any) -> str:
    """In words: a publisher of `topic` offers less than is asked for here."""
    return (
        f"a publisher of {topic} has another {_policy_name(event)} policy (asked for: reliable, "
        f"volatile): nothing of it arrives; compare with ros2 topic info --verbose {topic}"
    )


def transport_hint(middleware: str) -> str:
    """What helps against frames that get lost on the way from the camera."""
    if "fastrtps" in middleware and not any(os.environ.get(name) for name in _TRANSPORT_VARIABLES):
        return (
            "Fast DDS has too little memory for images by default; let "
            "FASTRTPS_DEFAULT_PROFILES_FILE (FASTDDS_DEFAULT_PROFILES_FILE from Kilted on) name "
            "the config/fastdds.xml of lane_sad_ros for node and camera, as detect.launch.py does "
            "for the node, or make both ends reliable (image_reliability)"
        )
    return "use compressed images, a lower rate, or make both ends reliable (image_reliability)"


def _volatile(reliability: QoSReliabilityPolicy, depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=reliability, durability=QoSDurabilityPolicy.VOLATILE)


def _policy_name(event: Any) -> str:
    return str(qos_policy_name_from_kind(event.last_policy_kind))
