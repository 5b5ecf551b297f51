"""Weights files: safetensors that say what they are, and checkpoints of other projects.

A weights file holds the tensors of one network and, in its metadata under `lane_sad`, one JSON
object: format (number of this format), network (arch and options of `architectures`), layout
(`LaneLayout`), training (how and on what it was trained) and figures (what it measured).
A reader needs no other file. Nothing here runs code out of a file: safetensors holds numbers
only, and checkpoints are opened with PyTorch's restricted reader.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from lane_sad_ros.files import replacing
from lane_sad_ros.lanes import CULANE, SLOTS_4, SLOTS_6, LaneLayout
from lane_sad_ros.network.architectures import build_network, describe_network
from lane_sad_ros.network.base import LaneNetwork
from lane_sad_ros.network.enet import ENetSAD
from lane_sad_ros.network.resnet import BACKBONE, ResNet

FORMAT = 1
SHIPPED_NAME = "enet_sad_tusimple.safetensors"
_KEY = "lane_sad"
_SECTIONS = ("network", "layout", "training", "figures")
# A zip archive (torch.save) and the first bytes of a binary pickle.
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class WeightsError(ValueError):
    """A weights file is missing or cannot be used; the message names file, fault and remedy."""


def default_weights_path() -> Path:
    """The weights that ship with the package, `weights/enet_sad_tusimple.safetensors`.

    Looked for in this order: `weights/` inside the package (pip), `weights/` beside the package
    (source tree), `share/lane_sad_ros/weights/` under any folder above the package (colcon,
    system install), the same under each entry of AMENT_PREFIX_PATH.
    Raises WeightsError where it is in none of them.
    """
    module = Path(__file__)
    installed = Path("share", "lane_sad_ros", "weights")
    folders = [module.parents[1] / "weights", module.parents[2] / "weights"]
    folders += [parent / installed for parent in module.parents]
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    folders += [Path(prefix) / installed for prefix in prefixes if prefix]
    for folder in folders:
        if (folder / SHIPPED_NAME).is_file():
            return folder / SHIPPED_NAME
    raise WeightsError(
        f"{SHIPPED_NAME}: the shipped weights are not installed with lane_sad_ros (looked in "
        f"{folders[0]}, {folders[1]} and share/lane_sad_ros/weights of the install prefixes); "
        "reinstall the package or name a weights file"
    )


def save_network(
    path: str | os.PathLike[str],
    network: LaneNetwork,
    layout: LaneLayout,
    training: Mapping[str, Any],
    figures: Mapping[str, Any],
) -> None:
    """Writes `network` with its layout, how it was trained and its measured figures (JSON values).

    The file is replaced when the new one is complete. Raises ValueError where the network has
    other lanes or another input size than the layout, or weights that are not finite.
    """
    if (network.lanes, network.input_size) != (len(layout.slots), layout.input_size):
        raise ValueError(
            f"a network of {network.lanes} lanes at {_size(network.input_size)} does not belong to "
            f"a layout of {len(layout.slots)} slots at {_size(layout.input_size)}"
        )
    stored = _stored(network)
    if not all(tensor.isfinite().all() for tensor in stored.values()):
        raise ValueError(f"{path}: not written, as weights of this network are not finite numbers")
    metadata = {
        "format": FORMAT,
        "network": describe_network(network),
        "layout": json.loads(layout.to_json()),
        "training": dict(training),
        "figures": dict(figures),
    }
    tensors = {name: tensor.cpu().contiguous() for name, tensor in stored.items()}
    content = safetensors.torch.save(tensors, {_KEY: json.dumps(metadata)})
    with replacing(path) as partial:
        partial.write_bytes(content)


def load_network(path: str | os.PathLike[str]) -> LaneNetwork:
    """The network of a weights file, on the CPU in evaluation mode. Raises WeightsError."""
    return load(path)[0]


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object of a weights file (see the module's text). Raises WeightsError."""
    with _open(Path(path)) as file:
        return _metadata(Path(path), file)


def load(path: str | os.PathLike[str]) -> tuple[LaneNetwork, LaneLayout, dict[str, Any]]:
    """The network (on the CPU, in evaluation mode), its layout and the file's metadata.

    Raises WeightsError where the file is missing, is no weights file, is incomplete, or its
    tensors are not those of its layout.
    """
    path = Path(path)
    with _open(path) as file:
        metadata = _metadata(path, file)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    try:
        layout = LaneLayout.from_json(json.dumps(metadata["layout"]))
        with torch.device("meta"):  # shapes without memory, which a damaged file could ask for
            described = _build(layout, metadata["network"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: its description cannot be used ({error}); get the file again or train it anew"
        ) from error
    what = f"layout {layout.name} at {_size(layout.input_size)}"
    _check_tensors(path, tensors, _stored(described), what)
    network = _build(layout, metadata["network"])
    _fill(path, network, tensors, what)
    return network, layout, metadata


def _build(layout: LaneLayout, description: Mapping[str, Any]) -> LaneNetwork:
    """A new network of a layout as a weights file describes it, in training mode."""
    wrong = [n for n, value in description.items() if n != "arch" and not isinstance(value, bool)]
    if wrong:
        raise ValueError(f"network whose {', '.join(wrong)} is neither true nor false")
    network = build_network(lanes=len(layout.slots), input_size=layout.input_size, **description)
    missing = sorted(describe_network(network).keys() - description.keys())
    if missing:
        raise ValueError(f"network without {', '.join(missing)}")
    return network


def average(
    paths: Sequence[str | os.PathLike[str]],
) -> tuple[LaneNetwork, LaneLayout, dict[str, Any]]:
    """The mean of the weights in several files, tensor by tensor: network, layout, training.

    Of runs that went on from one another, it often is better than each. What is no number with
    fractions, such as how many batches a norm has seen, is that of the last file. The last value
    says of what it is the mean, for `save_network`.
    Raises WeightsError where a file cannot be used or has another network or layout than the first.
    """
    loaded = [load(path) for path in paths]
    network, layout, metadata = loaded[-1]
    for path, (_, other_layout, other) in zip(paths, loaded, strict=True):
        if (other["network"], other_layout) != (metadata["network"], layout):
            raise WeightsError(
                f"{path}: its network or layout is not that of {paths[-1]}; only weights of one "
                "network and one layout have a mean"
            )
    states = [one.state_dict() for one, _, _ in loaded]
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in states[-1].items()
    }
    network.load_state_dict(mean)
    phases = [
        {"file": Path(path).name, "training": of["training"], "figures": of["figures"]}
        for path, (_, _, of) in zip(paths, loaded, strict=True)
    ]
    return network, layout, {"mean of": phases}


def import_checkpoint(
    path: str | os.PathLike[str], input_size: tuple[int, int], layout: LaneLayout = CULANE
) -> tuple[ENetSAD, LaneLayout]:
    """A network trained with ENet-SAD_Pytorch (InhwanBae) and the layout to run it with.

    path: its `.pth` checkpoint (the state under `net`) or a bare state_dict, from DataParallel or
    not, with shared or separate encoders. input_size: (width, height) it was trained at.
    layout: camera and decoding; the returned layout has the checkpoint's number of slots, the
    given input size and the whole image as crop, as that project trains.

    The network activates the branch before the addition, as that project's does, and gives
    existence logits where that project's gives their sigmoid. Raises WeightsError.
    """
    path = Path(path)
    tensors = _checkpoint_tensors(path)
    by_stage = [
        {name[len(stage) :]: tensor for name, tensor in tensors.items() if name.startswith(stage)}
        for stage in ("encoder2.", "encoder3.", "encoder4.")
    ]
    shared = all(
        not other
        or (
            other.keys() == by_stage[0].keys()
            and all(torch.equal(tensor, by_stage[0][name]) for name, tensor in other.items())
        )
        for other in by_stage[1:]
    )
    if shared:
        tensors = {n: t for n, t in tensors.items() if not n.startswith(("encoder3.", "encoder4."))}

    try:
        lanes = len(tensors["existence.output.weight"])
        classes = tensors["classify.weight"].shape[1]
        head_inputs = tensors["existence.hidden.weight"].shape[1]
    except KeyError as error:
        raise WeightsError(
            f"{path}: lacks the output layers of ENet-SAD_Pytorch ({error}); "
            "only its checkpoints can be imported"
        ) from error
    if classes != 1 + lanes:
        raise WeightsError(
            f"{path}: {classes} segmentation classes for {lanes} lanes; a checkpoint with "
            f"{1 + lanes} classes is needed (models for BDD100K tell no lanes apart)"
        )
    layout = dataclasses.replace(
        layout,
        slots=_slots(lanes),
        crop=(0, 0, *layout.image_size),
        input_size=input_size,
    )
    network = ENetSAD(lanes, input_size, shared_encoder=shared, activate_branch=True)
    if network.existence is not None and network.existence.hidden.in_features != head_inputs:
        raise WeightsError(
            f"{path}: its existence head has {head_inputs} inputs where the input size "
            f"{_size(input_size)} gives {network.existence.hidden.in_features}; "
            "name the size it was trained at"
        )
    _fill(path, network, tensors, f"ENet-SAD with {lanes} lanes at {_size(input_size)}")
    return network, layout


def load_backbone(network: LaneNetwork, path: str | os.PathLike[str]) -> None:
    """Gives a ResNet the weights of a ResNet that classifies images, such as ImageNet's.

    path: a state_dict with torchvision's names, as torch.save (`.pth`) or safetensors; its
    classifier `fc` is left out, the lane heads of `network` stay as they are.
    Raises ValueError for a network that is no ResNet, WeightsError for a file that does not fit.
    """
    path = Path(path)
    if not isinstance(network, ResNet):
        raise ValueError(f"{path}: a backbone for a ResNet, which {network.arch} is not")
    # How many batches a norm has seen is of no use here, and old checkpoints do not say it.
    found = {
        name: tensor
        for name, tensor in _state_dict(path).items()
        if not name.startswith("fc.") and not name.endswith(".num_batches_tracked")
    }
    wanted = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if name.startswith(BACKBONE) and not name.endswith(".num_batches_tracked")
    }
    _check_tensors(path, found, wanted, f"torchvision's {network.arch}")
    network.load_state_dict(found, strict=False)


def _state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch checkpoint that holds nothing else, or of a safetensors file."""
    _check_is_file(path)
    with path.open("rb") as stream:
        pickled = stream.read(4).startswith(_PICKLE_STARTS)
    if not pickled:
        with _open(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = _unpickled(path)
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise WeightsError(
            f"{path}: no state_dict; save that of the network alone, `torch.save(net.state_dict())`"
        )
    return state


def _unpickled(path: Path) -> Any:
    """What a PyTorch checkpoint holds, read by the restricted reader."""
    _check_is_file(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: holds more than tensors and plain values, or is no PyTorch checkpoint, and "
            "is not opened for safety; save its state_dict alone with torch.save"
        ) from error
    except Exception as error:  # a damaged pickle fails in any way
        raise WeightsError(
            f"{path}: not a complete PyTorch checkpoint; get or copy it again"
        ) from error


def _stored(network: LaneNetwork) -> dict[str, Tensor]:
    """The tensors a file holds: all, but shared ones once, under their first name."""
    named = (*network.named_parameters(), *network.named_buffers())  # which leave repetitions out
    first = {name for name, _ in named}
    return {name: tensor for name, tensor in network.state_dict().items() if name in first}


def _fill(path: Path, network: LaneNetwork, tensors: Mapping[str, Tensor], what: str) -> None:
    """Copies a file's tensors into a new network and sets it to evaluation mode."""
    _check_tensors(path, tensors, _stored(network), what)
    network.load_state_dict(dict(tensors), strict=False)  # shared tensors are stored once
    network.eval()


def _check_tensors(
    path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str
) -> None:
    """Raises WeightsError where a file's tensors are not those of `what`, or not finite."""
    faults = [f"{name} missing" for name in wanted if name not in tensors]
    faults += [f"{name} unknown" for name in tensors if name not in wanted]
    faults += [
        f"{name} is {_size(tensors[name].shape)} instead of {_size(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(
            f"{path}: its tensors are not those of {what}: {', '.join(faults[:3])}{more}; "
            "use weights made for it"
        )
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise WeightsError(
                f"{path}: {name} holds numbers that are not finite: no lanes come of it; use other "
                "weights"
            )


def _open(path: Path) -> Any:
    """The opened safetensors file."""
    _check_is_file(path)
    try:
        return safetensors.safe_open(path, framework="pt")
    except safetensors.SafetensorError as error:
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith(_PICKLE_STARTS):
            raise WeightsError(
                f"{path}: a PyTorch checkpoint, not safetensors; "
                f"convert it with `lane_sad weights import {path} OUT.safetensors`"
            ) from error
        raise WeightsError(
            f"{path}: not a complete safetensors file ({error}); get or copy it again"
        ) from error


def _check_is_file(path: Path) -> None:
    if not path.exists():
        raise WeightsError(f"{path}: no such weights file; check the path")
    if not path.is_file():
        raise WeightsError(f"{path}: a folder; name the weights file in it")
    if not os.access(path, os.R_OK):
        raise WeightsError(f"{path}: no permission to read it; change its mode or owner")


def _metadata(path: Path, file: Any) -> dict[str, Any]:
    text = (file.metadata() or {}).get(_KEY)
    if text is None:
        raise WeightsError(
            f"{path}: safetensors without the description `{_KEY}` in its metadata, so not weights "
            "of this project; use a file of `lane_sad weights import` or of `python -m training`"
        )
    try:
        metadata: dict[str, Any] = json.loads(text)
        version, _ = metadata["format"], metadata["network"]["arch"]
        complete = all(isinstance(metadata[section], dict) for section in _SECTIONS)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(
            f"{path}: its description `{_KEY}` cannot be read ({error}); get the file again"
        ) from error
    if version != FORMAT:
        raise WeightsError(
            f"{path}: weights of format {version}, this version reads format {FORMAT}; "
            "install the version of lane_sad_ros that wrote them"
        )
    if not complete:
        raise WeightsError(f"{path}: its description `{_KEY}` is damaged; get the file again")
    return metadata


def _size(numbers: Iterable[int]) -> str:
    return "x".join(str(number) for number in numbers)


def _slots(lanes: int) -> tuple[str, ...]:
    """Slot names of `lanes` lanes from left to right around the ego lane."""
    known = {2: SLOTS_6[2:4], 4: SLOTS_4, 6: SLOTS_6}
    return known.get(lanes) or tuple(f"lane_{number}" for number in range(1, lanes + 1))


# ENet-SAD_Pytorch's names of blocks and layers, and ours.
_BLOCKS = {
    "initial_block": "initial",
    "downsample1": "down1",
    "downsample2": "down2",
    "upsample4_0": "up2",
    "regular4_1": "decoder2.0",
    "regular4_2": "decoder2.1",
    "upsample5_0": "up1",
    "regular5_1": "decoder1",
    "transposed_conv": "classify",
    "exist.0": "existence.reduce",
    "fc.0": "existence.hidden",
    "fc.2": "existence.output",
}
_LAYERS = {
    "main_branch": "conv",
    "batch_norm": "norm",
    "out_activation": "activation",
    "main_conv1": "shortcut",
    "ext_conv1": "branch.0",
    "ext_tconv1": "branch.1.0",
    "ext_tconv1_bnorm": "branch.1.1",
}


def _our_name(name: str) -> str | None:
    """Our name of a tensor of ENet-SAD_Pytorch, None where it is none of the network's."""
    stage = re.fullmatch(r"encoder([1-4])\.[a-z]+\d_(\d)\.(.+)", name)
    if stage:
        block, rest = f"encoder{stage[1]}.{int(stage[2]) - 1}", stage[3]
    else:
        found = next((block for block in _BLOCKS if name.startswith(f"{block}.")), None)
        if found is None:
            return None
        block, rest = _BLOCKS[found], name[len(found) + 1 :]
    # Layers are counted on along the branch: an asymmetric middle is two, in one container there.
    asymmetric = "asymmetric" in name
    middle = re.fullmatch(r"ext_conv2\.(\d)\.(.+)", rest)
    if middle and not block.startswith("up"):
        position = int(middle[1])
        return f"{block}.branch.{1 + position // 3}.{position % 3}.{middle[2]}"
    layers = {
        **_LAYERS,
        "ext_conv2": "branch.2",
        "ext_conv3": "branch.3" if asymmetric else "branch.2",
    }
    layer, _, parameter = rest.partition(".")
    return ".".join(part for part in (block, layers.get(layer, layer), parameter) if part)


def _checkpoint_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of an ENet-SAD_Pytorch checkpoint under our names."""
    content = _unpickled(path)
    state = content.get("net", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise WeightsError(
            f"{path}: no state_dict, neither under `net` nor as the whole file; "
            "only checkpoints of ENet-SAD_Pytorch can be imported"
        )
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        name = name.removeprefix("module.")
        if name.startswith(("ce_loss.", "bce_loss.")):  # class weights of the loss
            continue
        ours = _our_name(name)
        if ours is None:
            raise WeightsError(
                f"{path}: tensor {name} is not one of ENet-SAD_Pytorch's network; "
                "only its checkpoints can be imported"
            )
        tensors[ours] = tensor
    return tensors
