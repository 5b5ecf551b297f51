"""Checkpoints in the format of ENet-SAD_Pytorch, filled by a formula, and its network's answers.

`data/enet_sad_pytorch.json` holds what that project's own network (model_ENET_SAD.py, in evaluation
mode) answers with the tensors of `state_dict` to the image of `image`; so the import is compared
with the original and not with another reading of it. Value k of a tensor is a number in [0, 1) made
of the tensor's name and k by whole-number arithmetic, the same everywhere, brought to a range that
suits the tensor (`_scaled`).
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ANSWERS = Path(__file__).with_name("data") / "enet_sad_pytorch.json"
# Segmentation logits are stored at every 40th row from 13 and every 90th column from 31.
SAMPLED = (slice(None), slice(None), slice(13, None, 40), slice(31, None, 90))
# Bring the answers to a few units, and make existence depend on the image.
GAINS = {"transposed_conv": 0.02, "exist": 0.1, "fc": 4.0}


def answers(input_size: tuple[int, int], shared: bool) -> tuple[Tensor, Tensor]:
    """Its segmentation logits at `SAMPLED`, and its existence probabilities."""
    stored = json.loads(ANSWERS.read_text())[key(input_size, shared)]
    return torch.tensor(stored["segmentation"]), torch.tensor(stored["existence"])


def key(input_size: tuple[int, int], shared: bool) -> str:
    return f"{input_size[0]}x{input_size[1]} {'shared' if shared else 'separate'}"


def image(input_size: tuple[int, int]) -> Tensor:
    """1×3×H×W in [-2, 2)."""
    width, height = input_size
    return torch.from_numpy(_numbers("image", (1, 3, height, width)) * 4 - 2).float()


def state_dict(input_size: tuple[int, int], shared: bool, lanes: int = 4) -> dict[str, Tensor]:
    """All tensors such a network saves, under its names."""
    return {
        name: _scaled(name, shape) for name, shape in _shapes(input_size, shared, lanes).items()
    }


def _numbers(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in [0, 1) (splitmix64 of the name's CRC and the position)."""
    mixed = np.arange(math.prod(shape), dtype=np.uint64)
    mixed += np.uint64(zlib.crc32(name.encode()) << 32)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return ((mixed >> np.uint64(11)) / 2.0**53).reshape(shape)


def _scaled(name: str, shape: tuple[int, ...]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    # A shared stage is saved three times with equal values; its names differ by the stage alone.
    numbers = _numbers(name.split(".", 1)[1] if name.startswith("encoder") else name, shape)
    if len(shape) > 1:
        gain = GAINS.get(name.split(".")[0], 1.0)
        numbers = (2 * numbers - 1) * gain * math.sqrt(3 / math.prod(shape[1:]))
    elif shape == (1,):  # a PReLU's slope
        numbers = 0.05 + 0.5 * numbers
    elif name.endswith(("running_mean", "bias")):
        numbers = numbers - 0.5
    else:
        numbers = 0.5 + numbers
    return torch.from_numpy(numbers).float()


def _shapes(input_size: tuple[int, int], shared: bool, lanes: int) -> dict[str, tuple[int, ...]]:
    width, height = input_size
    classes = 1 + lanes
    shapes: dict[str, tuple[int, ...]] = {"ce_loss.weight": (classes,)}

    def norm(name: str, channels: int) -> None:
        for tensor in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{tensor}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    def conv(name: str, out: int, into: int, *kernel: int, prelu: bool, first: int = 0) -> None:
        """Convolution, batch norm and activation, numbered from `first` in one container."""
        shapes[f"{name}.{first}.weight"] = (out, into, *kernel)
        norm(f"{name}.{first + 1}", out)
        if prelu:
            shapes[f"{name}.{first + 2}.weight"] = (1,)

    def regular(name: str, channels: int, asymmetric: bool = False, prelu: bool = True) -> None:
        inner = channels // 4
        conv(f"{name}.ext_conv1", inner, channels, 1, 1, prelu=prelu)
        if asymmetric:
            conv(f"{name}.ext_conv2", inner, inner, 5, 1, prelu=prelu)
            conv(f"{name}.ext_conv2", inner, inner, 1, 5, prelu=prelu, first=3)
        else:
            conv(f"{name}.ext_conv2", inner, inner, 3, 3, prelu=prelu)
        conv(f"{name}.ext_conv3", channels, inner, 1, 1, prelu=prelu)
        if prelu:
            shapes[f"{name}.out_activation.weight"] = (1,)

    def down(name: str, into: int, out: int) -> None:
        inner = into // 4
        conv(f"{name}.ext_conv1", inner, into, 2, 2, prelu=True)
        conv(f"{name}.ext_conv2", inner, inner, 3, 3, prelu=True)
        conv(f"{name}.ext_conv3", out, inner, 1, 1, prelu=True)
        shapes[f"{name}.out_activation.weight"] = (1,)

    def up(name: str, into: int, out: int) -> None:
        inner = into // 4
        conv(f"{name}.main_conv1", out, into, 1, 1, prelu=False)
        conv(f"{name}.ext_conv1", inner, into, 1, 1, prelu=False)
        shapes[f"{name}.ext_tconv1.weight"] = (inner, inner, 2, 2)
        norm(f"{name}.ext_tconv1_bnorm", inner)
        conv(f"{name}.ext_conv2", out, inner, 1, 1, prelu=False)

    shapes["initial_block.main_branch.weight"] = (13, 3, 3, 3)
    norm("initial_block.batch_norm", 16)
    shapes["initial_block.out_activation.weight"] = (1,)
    down("downsample1", 16, 64)
    for block in range(1, 5):
        regular(f"encoder1.regular1_{block}", 64)
    down("downsample2", 64, 128)
    kinds = ("regular", "dilated", "asymmetric", "dilated") * 2
    for stage in (2, 3, 4):
        for block, kind in enumerate(kinds, start=1):
            name = f"encoder{stage}.{kind}{2 if shared else stage}_{block}"
            regular(name, 128, asymmetric=kind == "asymmetric")
    up("upsample4_0", 256, 64)
    regular("regular4_1", 64, prelu=False)
    regular("regular4_2", 64, prelu=False)
    up("upsample5_0", 64, 16)
    regular("regular5_1", 16, prelu=False)
    shapes["transposed_conv.weight"] = (16, classes, 3, 3)
    shapes["exist.0.weight"] = (classes, 128, 1, 1)
    shapes["exist.0.bias"] = (classes,)
    shapes["fc.0.weight"] = (128, classes * (width // 16) * (height // 16))
    shapes["fc.0.bias"] = (128,)
    shapes["fc.2.weight"] = (lanes, 128)
    shapes["fc.2.bias"] = (lanes,)
    return shapes
