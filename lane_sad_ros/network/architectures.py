"""The lane networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from lane_sad_ros.network.base import LaneNetwork
from lane_sad_ros.network.enet import ENetSAD
from lane_sad_ros.network.resnet import ResNet

ARCHITECTURES: dict[str, Callable[..., LaneNetwork]] = {
    "enet_sad": ENetSAD,
    "resnet18": partial(ResNet, 18),
    "resnet34": partial(ResNet, 34),
    "resnet101": partial(ResNet, 101),
}


def build_network(
    arch: str, lanes: int, input_size: tuple[int, int], **options: bool
) -> LaneNetwork:
    """A new network with random weights, in training mode.

    arch: a name in `ARCHITECTURES`. lanes: number of lane slots. input_size: (width, height),
    multiples of 8. options: keywords of that network's class; `existence=False`, which all have,
    leaves out the existence head.
    Raises ValueError naming what is known for an unknown architecture or option.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"no architecture {arch!r}, known are {', '.join(ARCHITECTURES)}")
    parameters = inspect.signature(ARCHITECTURES[arch]).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"architecture {arch} has no option {', '.join(unknown)}, known are {', '.join(known)}"
        )
    return ARCHITECTURES[arch](lanes, input_size, **options)


def describe_network(network: LaneNetwork) -> dict[str, Any]:
    """What `build_network` needs to build it again, but for lanes and input size; JSON values."""
    return {
        "arch": network.arch,
        **network.options,
        "existence": network.existence is not None,
    }
