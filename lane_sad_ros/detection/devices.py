"""The devices a network can run on."""

from __future__ import annotations

import torch


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
    why = ""
    if name.startswith("cuda") and not torch.cuda.is_available():
        why = f"; PyTorch {torch.__version__} is " + (
            f"for CUDA {torch.version.cuda} and finds no card with a driver for it (see nvidia-smi)"
            if torch.version.cuda
            else "built without CUDA"
        )
    raise DeviceError(
        f"device {name!r} is not there; this machine has {', '.join(available)} (or say auto){why}"
    )


def release_memory() -> None:
    """Gives the GPU memory that nothing uses any more back, which PyTorch would keep."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def device_name(device: torch.device) -> str:
    """The device with its card's name, for people."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)
