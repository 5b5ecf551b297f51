"""Weights files, and the import of ENet-SAD_Pytorch checkpoints."""

import contextlib
import json
import pickle
from collections import OrderedDict
from pathlib import Path
from random import Random

import port_checkpoint
import pytest
import safetensors.torch
import torch

from lane_sad_ros.cli import main
from lane_sad_ros.lanes import SLOTS_4, SLOTS_6, TUSIMPLE
from lane_sad_ros.network import weights
from lane_sad_ros.network.architectures import ARCHITECTURES, build_network
from lane_sad_ros.network.base import LaneNetwork
from lane_sad_ros.network.enet import ENetSAD
from lane_sad_ros.network.weights import (
    SHIPPED_NAME,
    WeightsError,
    default_weights_path,
    import_checkpoint,
    load,
    load_backbone,
    load_network,
    read_metadata,
    save_network,
)

SMALL = (64, 48)


def outputs(network: LaneNetwork, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        return network(images)


def rewrite(path: Path, change) -> Path:
    """Writes the file again with its description changed by `change(metadata, tensors)`."""
    with safetensors.safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["lane_sad"])
    tensors = safetensors.torch.load_file(path)
    change(metadata, tensors)
    safetensors.torch.save_file(tensors, path, {"lane_sad": json.dumps(metadata)})
    return path


# --- round trips


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("activate_branch", [True, False])
def test_a_loaded_network_answers_as_the_saved_one(
    tmp_path, tiny_layout, shared, activate_branch
) -> None:
    network = ENetSAD(4, (64, 48), shared_encoder=shared, activate_branch=activate_branch)
    network.train()
    network(torch.randn(2, 3, 48, 64))  # moves the batch norms from their first values
    network.eval()
    path = tmp_path / "network.safetensors"
    training, figures = {"data": "rendered", "steps": 3}, {"accuracy": 0.5}
    save_network(path, network, tiny_layout, training, figures)

    loaded, layout, metadata = load(path)
    assert layout == tiny_layout
    assert (metadata["training"], metadata["figures"]) == (training, figures)
    assert not any(module.training for module in loaded.modules())
    images = torch.randn(1, 3, 48, 64)
    for found, expected in zip(outputs(loaded, images), outputs(network, images), strict=True):
        assert torch.equal(found, expected)
    assert loaded.options == {"shared_encoder": shared, "activate_branch": activate_branch}


@pytest.mark.parametrize("existence", [True, False])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_network_can_be_saved_and_loaded(tmp_path, tiny_layout, arch, existence) -> None:
    network = build_network(arch, 4, tiny_layout.input_size, existence=existence).eval()
    path = tmp_path / "network.safetensors"
    save_network(path, network, tiny_layout, {}, {})
    loaded = load_network(path)
    assert loaded.arch == arch
    assert (loaded.existence is not None) is existence
    images = torch.randn(1, 3, 48, 64)
    found, expected = outputs(loaded, images), outputs(network, images)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1]) if existence else found[1] is None


def test_metadata_says_what_the_file_is(make_weights, tiny_layout) -> None:
    metadata = read_metadata(make_weights(seed=7, shared_encoder=True))
    assert metadata["format"] == 1
    assert metadata["network"] == {
        "arch": "enet_sad",
        "shared_encoder": True,
        "activate_branch": False,
        "existence": True,
    }
    assert metadata["layout"] == json.loads(tiny_layout.to_json())
    assert metadata["training"] == {"seed": 7}


def test_a_shared_encoder_is_stored_once(make_weights) -> None:
    names = safetensors.torch.load_file(make_weights(shared_encoder=True)).keys()
    assert any(name.startswith("encoder2.") for name in names)
    assert not any(name.startswith(("encoder3.", "encoder4.")) for name in names)


def test_saving_refuses_another_layout(tmp_path, tiny_layout) -> None:
    with pytest.raises(ValueError, match=r"2 lanes at 64x48 .* 4 slots at 64x48"):
        save_network(tmp_path / "w", ENetSAD(2, (64, 48)), tiny_layout, {}, {})
    assert not list(tmp_path.iterdir())


def test_failed_saving_leaves_the_old_file(make_weights, tiny_layout, monkeypatch) -> None:
    path = make_weights()
    before = path.read_bytes()

    def disk_full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", disk_full)
    with pytest.raises(OSError, match="No space left"):
        save_network(path, ENetSAD(4, (64, 48)), tiny_layout, {}, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# --- files that cannot be used


def refused(path: Path, message: str) -> None:
    """Loading fails in one line that names the file."""
    with pytest.raises(WeightsError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path) -> None:
    refused(tmp_path / "none.safetensors", "no such weights file")
    refused(tmp_path, "a folder")


@pytest.mark.parametrize("content", [b"", b"text that is no weights file", bytes(64)])
def test_not_safetensors(tmp_path, content) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    refused(path, "not a complete safetensors file")


@pytest.mark.parametrize("kept", [5, 200, 100_000, -1])
def test_truncated(make_weights, kept) -> None:
    path = make_weights()
    path.write_bytes(path.read_bytes()[:kept])
    refused(path, "not a complete safetensors file .* copy it again")


def test_a_pytorch_checkpoint_points_to_the_import(tmp_path) -> None:
    for name, new_format in (("new.pth", True), ("old.pth", False)):
        path = tmp_path / name
        torch.save({"net": {}}, path, _use_new_zipfile_serialization=new_format)
        refused(path, f"lane_sad weights import .*{name}")


def test_safetensors_of_another_program(tmp_path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path)
    refused(path, "without the description `lane_sad`")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, t: m.update(format=2), "weights of format 2, this version reads format 1"),
        (
            lambda m, t: m["network"].update(arch="scnn"),
            "no architecture 'scnn', known are enet_sad, ",
        ),
        (lambda m, t: m["network"].pop("arch"), "cannot be read .'arch'"),
        (lambda m, t: m["network"].update(depth=True), "enet_sad has no option depth, known are"),
        (lambda m, t: m["network"].update(lanes=3), "cannot be used .*lanes is neither true nor"),
        (lambda m, t: m.pop("network"), "cannot be read .'network'"),
        (lambda m, t: m.update(layout=3), "is damaged"),
        (lambda m, t: m["network"].pop("shared_encoder"), "network without shared_encoder"),
        (lambda m, t: m["layout"].pop("crop"), "cannot be used .not a lane layout"),
        (lambda m, t: m["layout"].update(gamma=2), "cannot be used .not a lane layout.*gamma"),
        (lambda m, t: m["layout"].update(input_size=[64, 50]), "cannot be used .input_size"),
        (
            lambda m, t: m["layout"].update(slots=list(SLOTS_6)),
            r"classify.weight is 16x5x3x3 instead of 16x7x3x3.* and \d+ more",
        ),
        (lambda m, t: m["layout"].update(input_size=[80, 48]), "hidden.weight is 128x60 instead"),
        (
            lambda m, t: m["network"].update(activate_branch=True),
            "encoder1.0.branch.2.2.weight missing",
        ),
        (lambda m, t: t.update(extra=torch.zeros(1)), "extra unknown"),
    ],
)
def test_a_description_that_does_not_fit(make_weights, change, message) -> None:
    refused(rewrite(make_weights(), change), message)


# --- the shipped weights


def place(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / SHIPPED_NAME).touch()
    return folder / SHIPPED_NAME


@pytest.mark.parametrize(
    ("module", "shipped"),
    [
        ("src/lane_sad_ros/network", "src/weights"),
        ("py/site-packages/lane_sad_ros/network", "py/site-packages/lane_sad_ros/weights"),
        (
            "ws/install/lane_sad_ros/lib/python3.12/site-packages/lane_sad_ros/network",
            "ws/install/lane_sad_ros/share/lane_sad_ros/weights",
        ),
    ],
)
def test_shipped_weights_are_found_beside_the_module(
    tmp_path, monkeypatch, module, shipped
) -> None:
    monkeypatch.setattr(weights, "__file__", str(tmp_path / module / "weights.py"))
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    with pytest.raises(WeightsError, match="not installed"):
        default_weights_path()
    expected = place(tmp_path / shipped)
    assert default_weights_path() == expected


def test_shipped_weights_are_found_through_ament(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "a/b/lane_sad_ros/network/weights.py"))
    expected = place(tmp_path / "overlay/share/lane_sad_ros/weights")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'empty'}:{tmp_path / 'overlay'}")
    assert default_weights_path() == expected


def test_the_shipped_weights_load() -> None:
    network, layout, metadata = load(default_weights_path())
    assert (network.arch, layout.name, metadata["format"]) == ("enet_sad", "tusimple", 1)


# --- backbones of networks that classify images


def torchvision_resnet(blocks: tuple[int, ...] = (2, 2, 2, 2)) -> dict[str, torch.Tensor]:
    """A state_dict with the names and shapes of torchvision's ResNets of basic blocks."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}

    def norm(name: str, channels: int) -> None:
        for tensor in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{tensor}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("bn1", 64)
    before = 64
    for stage, count in enumerate(blocks):
        channels = 64 * 2**stage
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            shapes[f"{name}.conv1.weight"] = (channels, before, 3, 3)
            norm(f"{name}.bn1", channels)
            shapes[f"{name}.conv2.weight"] = (channels, channels, 3, 3)
            norm(f"{name}.bn2", channels)
            if before != channels:
                shapes[f"{name}.downsample.0.weight"] = (channels, before, 1, 1)
                norm(f"{name}.downsample.1", channels)
            before = channels
    shapes |= {"fc.weight": (1000, 512), "fc.bias": (1000,)}
    return {name: torch.rand(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("form", ["new.pth", "old.pth", "safetensors"])
def test_a_classifiers_weights_become_the_backbones(tmp_path, form) -> None:
    state = torchvision_resnet()
    path = tmp_path / form
    if form == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "new.pth")
    network = build_network("resnet18", 4, SMALL)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_backbone(network, path)
    heads = set()
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        elif name in state:
            assert torch.equal(tensor, state[name])
        else:
            assert torch.equal(tensor, before[name])
            heads.add(name.partition(".")[0])
    assert heads == {"reduce", "classify", "existence"}


def test_a_checkpoint_may_leave_out_how_many_batches_its_norms_saw(tmp_path) -> None:
    state = torchvision_resnet((3, 4, 6, 3))
    state = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "resnet34.pth")
    network = build_network("resnet34", 4, SMALL)
    load_backbone(network, tmp_path / "resnet34.pth")
    assert torch.equal(network.layer3[5].conv2.weight, state["layer3.5.conv2.weight"])


def backbone_refused(path: Path, message: str, arch: str = "resnet18") -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_backbone(build_network(arch, 4, SMALL), path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_backbones_that_do_not_fit(tmp_path) -> None:
    path = tmp_path / "a.pth"
    backbone_refused(path, "no such weights file")
    torch.save(torchvision_resnet((3, 4, 6, 3)), path)
    backbone_refused(path, r"not those of torchvision's resnet18: layer1.2.conv1.weight unknown")
    backbone_refused(path, "a backbone for a ResNet, which enet_sad is not", "enet_sad")
    state = torchvision_resnet()
    torch.save({n: t for n, t in state.items() if n != "layer4.1.bn2.bias"}, path)
    backbone_refused(path, r"layer4.1.bn2.bias missing")
    torch.save({**state, "conv1.weight": torch.zeros(64, 3, 3, 3)}, path)
    backbone_refused(path, r"conv1.weight is 64x3x3x3 instead of 64x3x7x7")
    torch.save({"epoch": 3, "net": state}, path)
    backbone_refused(path, "no state_dict; save that of the network alone")
    path.write_bytes(b"PK\x03\x04 cut off")
    backbone_refused(path, "not a complete PyTorch checkpoint")
    path.write_bytes(b"text")
    backbone_refused(path, "not a complete safetensors file")


# --- import of ENet-SAD_Pytorch checkpoints


def save_checkpoint(path: Path, state: dict, prefix: str = "") -> Path:
    state = OrderedDict((prefix + name, tensor) for name, tensor in state.items())
    torch.save({"epoch": 3, "net": state, "optim": {"lr": 0.01}, "best_val_loss": 1e6}, path)
    return path


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("input_size", [(800, 288), (640, 368)])
def test_imported_network_answers_as_the_original(tmp_path, input_size, shared) -> None:
    state = port_checkpoint.state_dict(input_size, shared)
    network, layout = import_checkpoint(save_checkpoint(tmp_path / "exp.pth", state), input_size)
    assert network.options["shared_encoder"] is shared
    assert layout.slots == SLOTS_4
    assert (layout.input_size, layout.crop) == (input_size, (0, 0, 1640, 590))

    segmentation, existence = outputs(network, port_checkpoint.image(input_size))
    expected_segmentation, expected_existence = port_checkpoint.answers(input_size, shared)
    torch.testing.assert_close(
        segmentation[port_checkpoint.SAMPLED], expected_segmentation, atol=1e-4, rtol=0
    )
    torch.testing.assert_close(existence.sigmoid(), expected_existence, atol=1e-4, rtol=0)


def test_every_form_of_a_checkpoint_gives_the_same_network(tmp_path) -> None:
    state = port_checkpoint.state_dict(SMALL, shared=True)
    once = {n: t for n, t in state.items() if not n.startswith(("encoder3", "encoder4"))}
    torch.save(state, tmp_path / "bare.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    paths = [
        save_checkpoint(tmp_path / "plain.pth", state),
        save_checkpoint(tmp_path / "parallel.pth", state, prefix="module."),
        save_checkpoint(tmp_path / "once.pth", once),
        tmp_path / "bare.pth",
        tmp_path / "old.pth",
    ]
    images = port_checkpoint.image(SMALL)
    found = [outputs(import_checkpoint(path, SMALL)[0], images)[0] for path in paths]
    for other in found[1:]:
        assert torch.equal(other, found[0])


def test_an_imported_network_can_be_saved_and_loaded(tmp_path) -> None:
    state = port_checkpoint.state_dict(SMALL, shared=False)
    network, layout = import_checkpoint(save_checkpoint(tmp_path / "a.pth", state), SMALL, TUSIMPLE)
    assert (layout.name, layout.image_size) == ("tusimple", (1280, 720))
    save_network(tmp_path / "a.safetensors", network, layout, {}, {})
    loaded = load_network(tmp_path / "a.safetensors")
    images = port_checkpoint.image(SMALL)
    assert torch.equal(outputs(loaded, images)[0], outputs(network, images)[0])


@pytest.mark.parametrize("lanes", [1, 2, 3, 6])
def test_the_checkpoint_says_how_many_lanes_there_are(tmp_path, lanes) -> None:
    state = port_checkpoint.state_dict(SMALL, shared=True, lanes=lanes)
    network, layout = import_checkpoint(save_checkpoint(tmp_path / "a.pth", state), SMALL)
    assert network.lanes == len(layout.slots) == lanes
    assert len(set(layout.slots)) == lanes


def import_refused(path: Path, message: str, input_size: tuple[int, int] = SMALL) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        import_checkpoint(path, input_size)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_import_at_another_input_size(tmp_path) -> None:
    path = save_checkpoint(tmp_path / "a.pth", port_checkpoint.state_dict(SMALL, shared=True))
    import_refused(path, "60 inputs where the input size 80x48 gives 75", (80, 48))


def test_import_of_a_model_that_tells_no_lanes_apart(tmp_path) -> None:
    state = port_checkpoint.state_dict(SMALL, shared=True)
    state["transposed_conv.weight"] = state["transposed_conv.weight"][:, :1]
    import_refused(save_checkpoint(tmp_path / "bdd.pth", state), "1 segmentation classes for 4")


def test_import_names_tensors_that_are_missing_or_strange(tmp_path) -> None:
    state = port_checkpoint.state_dict(SMALL, shared=False)
    part = {n: t for n, t in state.items() if not n.startswith("encoder3.dilated3_8")}
    path = save_checkpoint(tmp_path / "part.pth", part)
    import_refused(path, r"encoder3.7.branch.0.0.weight missing.* and \d+ more")
    path = save_checkpoint(tmp_path / "more.pth", {**state, "backbone.0.weight": torch.zeros(1)})
    import_refused(path, "backbone.0.weight is not one of ENet-SAD_Pytorch's")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off"])
def test_import_of_a_damaged_file(tmp_path, content) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    import_refused(path, "no.* PyTorch checkpoint")


def test_import_of_other_things(tmp_path) -> None:
    import_refused(tmp_path / "none.pth", "no such weights file")
    torch.save([1, 2], tmp_path / "list.pth")
    import_refused(tmp_path / "list.pth", "no state_dict")
    torch.save({}, tmp_path / "empty.pth")
    import_refused(tmp_path / "empty.pth", "lacks the output layers")


class Trap:
    """Writes a file when it is unpickled by a reader that runs what it reads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))])
def test_import_runs_no_code_out_of_a_file(tmp_path, write) -> None:
    path = tmp_path / "trap.pth"
    write({"net": Trap(tmp_path / "sprung")}, path)
    import_refused(path, "no.* PyTorch checkpoint")
    backbone_refused(path, "no.* PyTorch checkpoint")
    assert not (tmp_path / "sprung").exists()


# --- hostile files


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, t: m["layout"].update(input_size=[16384, 16384]), "hidden.weight is 128x60 ins"),
        (lambda m, t: m["network"].update(shared_encoder=[]), "shared_encoder is neither true nor"),
        (lambda m, t: m["network"].update(existence=1), "existence is neither true nor"),
        (lambda m, t: m["network"].update(arch=[]), "cannot be used"),
        (lambda m, t: m["layout"].update(mean=None), "mean must be 3 numbers"),
        (lambda m, t: m["layout"].update(decoding=[]), "cannot be used"),
        (lambda m, t: m["layout"]["decoding"].update(rows=[0, 10**15, 1]), "rows must be 3"),
        (lambda m, t: t["initial.conv.weight"].fill_(float("nan")), "initial.conv.* not finite"),
    ],
)
def test_hostile_metadata_is_refused(make_weights, change, message) -> None:
    refused(rewrite(make_weights(), change), message)


def test_deep_metadata_is_refused(make_weights) -> None:
    path = make_weights()
    tensors = safetensors.torch.load_file(path)
    safetensors.torch.save_file(tensors, path, {"lane_sad": '{"format":' * 20_000})
    refused(path, "cannot be read")


JUNK = [None, True, -1, 0, 1.5, 1e308, 10**30, float("nan"), "", "x" * 1000, [], [[]], {}, {"a": 1}]


def mutated(value: object, random: Random) -> object:
    """A JSON value with one place in it replaced, repeated or taken out."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        key = random.choice(sorted(value))
        if random.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: mutated(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.8:
        place = random.randrange(len(value))
        if random.random() < 0.2:
            return value * random.choice([2, 50])
        return [*value[:place], mutated(value[place], random), *value[place + 1 :]]
    if isinstance(value, int) and random.random() < 0.5:
        return value * random.choice([-1, 8, 1000, 10**9]) + random.choice([0, 1])
    return random.choice(JUNK)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_load_or_are_refused_by_name(make_weights, seed: int) -> None:
    """40 files for each seed; more seeds make a longer run."""
    path, random = make_weights(), Random(seed)
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    description = json.loads(header["__metadata__"]["lane_sad"])
    for _ in range(40):
        text = json.dumps(mutated(description, random))
        if random.random() < 0.3:
            place = random.randrange(len(text))
            text = text[:place] + chr(random.randrange(32, 127)) + text[place + 1 :]
        changed = json.dumps({**header, "__metadata__": {"lane_sad": text}}).encode()
        path.write_bytes(len(changed).to_bytes(8, "little") + changed + whole[8 + length :])
        with contextlib.suppress(WeightsError):
            load(path)
            continue
        refused(path, "")


def test_weights_that_are_not_finite_are_not_written(tmp_path, tiny_layout) -> None:
    network = build_network("enet_sad", 4, tiny_layout.input_size)
    next(network.parameters()).data[0] = float("inf")
    with pytest.raises(ValueError, match="x.safetensors: not written, .* not finite"):
        save_network(tmp_path / "x.safetensors", network, tiny_layout, {}, {})
    assert list(tmp_path.iterdir()) == []


# --- means


@pytest.fixture
def three(tmp_path, tiny_layout) -> list[Path]:
    """Three files of networks that differ."""
    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for number, path in enumerate(paths):
        torch.manual_seed(number)
        network = build_network("enet_sad", 4, tiny_layout.input_size)
        network(torch.randn(2, 3, 48, 64))
        save_network(path, network, tiny_layout, {"steps": number}, {"set": {"f1": 0.1 * number}})
    return paths


def test_average_is_the_mean_tensor_by_tensor(three, tmp_path, capsys) -> None:
    out = tmp_path / "mean.safetensors"
    assert main(["weights", "average", *map(str, three), str(out)]) == 0
    assert capsys.readouterr().out == f"mean of 3 files -> {out}\n"
    states = [load_network(path).state_dict() for path in three]
    mean = load_network(out).state_dict()
    for name, tensor in mean.items():
        if tensor.is_floating_point():
            expected = sum(state[name] for state in states) / 3
            torch.testing.assert_close(tensor, expected, msg=name)
        else:
            assert torch.equal(tensor, states[-1][name])
    metadata = read_metadata(out)
    assert [phase["file"] for phase in metadata["training"]["mean of"]] == [p.name for p in three]
    assert [phase["training"]["steps"] for phase in metadata["training"]["mean of"]] == [0, 1, 2]
    assert metadata["figures"] == {}


def test_weights_that_do_not_belong_together_have_no_mean(three, tmp_path, capsys) -> None:
    out = tmp_path / "mean.safetensors"
    rewrite(three[1], lambda m, t: m["layout"].update(name="other"))
    assert main(["weights", "average", *map(str, three), str(out)]) == 1
    assert f"{three[1]}: its network or layout is not that of {three[2]}" in capsys.readouterr().err
    assert not out.exists()
    for words, message in (
        ([three[0], out], "at least two weights files"),
        ([three[0], three[2], three[0]], "one of the files to average"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["weights", "average", *map(str, words)])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
