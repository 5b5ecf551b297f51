"""Ways to run the network on a device.

To add one: write a function that makes a `Forward` from a network on its device, and name it in
`ENGINES`. Everything before and after the network is the same for all engines.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Forward = Callable[[Tensor], tuple[Tensor, "Tensor | None"]]


class DeviceError(ValueError):
    """The device that was asked for is not there; the message says which are."""


def find_device(name: str) -> torch.device:
    """The device of a name: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".

    Raises DeviceError where it is unknown or not there.
    """
    available = ["cpu"]
    if torch.cuda.is_available():
        available = [f"cuda:{index}" for index in range(torch.cuda.device_count())] + available
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if name == "auto":
        return torch.device(available[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is not None:
        wanted = f"cuda:{device.index or 0}" if device.type == "cuda" else device.type
        if wanted in available:
            return torch.device(wanted)
    raise DeviceError(
        f"device {name!r} is not there; this machine has {', '.join(available)} (or say auto)"
    )


def _eager(network: nn.Module) -> Forward:
    return network


def _compiled(network: nn.Module) -> Forward:
    """torch.compile: faster, after a first call that takes about half a minute."""
    forward: Forward = torch.compile(network, dynamic=False)
    return forward


ENGINES: dict[str, Callable[[nn.Module], Forward]] = {"eager": _eager, "compiled": _compiled}


def make_engine(name: str, network: nn.Module) -> Forward:
    """The engine of that name for a network that is on its device and in evaluation mode."""
    if name not in ENGINES:
        raise ValueError(f"engine {name!r} is not one of {', '.join(ENGINES)}")
    return ENGINES[name](network)
