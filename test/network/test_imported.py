"""Weights with MinkowskiEngine's names and shapes, put together here by hand, as students."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import pad
from torch.torch_version import TorchVersion
from trained import corner
from typer.testing import CliRunner

from ws3d_ros.cli.main import app
from ws3d_ros.network import checkpoint
from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.checkpoint import CheckpointError
from ws3d_ros.network.imported import import_minkowski, language_dim, read_state_dict
from ws3d_ros.network.sparse_tensor import sparse_tensor
from ws3d_ros.network.student import Spec, Student

DIM = 12
SPEC = Spec("Res16UNet14A", ("one",), 0.02, "openseg", DIM)


def minkowski_state(prefix: str = "", channels: int = 3) -> dict[str, Tensor]:
    """A MinkUNet14A as MinkowskiEngine 0.5 names and shapes it, of random weights."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def convolution(name: str, *shape: int) -> None:
        scale = (2.0 / np.prod(shape[:-1])) ** 0.5
        state[f"{name}.kernel"] = torch.randn(shape, generator=generator) * scale

    def norm(name: str, width: int) -> None:
        state[f"{name}.bn.weight"] = torch.rand(width, generator=generator) + 0.5
        state[f"{name}.bn.bias"] = torch.randn(width, generator=generator) * 0.2
        state[f"{name}.bn.running_mean"] = torch.randn(width, generator=generator) * 0.2
        state[f"{name}.bn.running_var"] = torch.rand(width, generator=generator) + 0.5
        state[f"{name}.bn.num_batches_tracked"] = torch.tensor(7)

    def block(name: str, inputs: int, outputs: int) -> None:
        convolution(f"{name}.0.conv1", 27, inputs, outputs)
        norm(f"{name}.0.norm1", outputs)
        convolution(f"{name}.0.conv2", 27, outputs, outputs)
        norm(f"{name}.0.norm2", outputs)
        if inputs != outputs:
            convolution(f"{name}.0.downsample.0", inputs, outputs)
            norm(f"{name}.0.downsample.1", outputs)

    convolution("conv0p1s1", 125, channels, 32)
    norm("bn0", 32)
    for step, stride, inputs, outputs in ((1, 1, 32, 32), (2, 2, 32, 64), (3, 4, 64, 128), (4, 8, 128, 256)):
        convolution(f"conv{step}p{stride}s2", 8, inputs, inputs)
        norm(f"bn{step}", inputs)
        block(f"block{step}", inputs, outputs)
    for step, stride, inputs, outputs, skip in (
        (4, 16, 256, 128, 128),
        (5, 8, 128, 128, 64),
        (6, 4, 128, 96, 32),
        (7, 2, 96, 96, 32),
    ):
        convolution(f"convtr{step}p{stride}s2", 8, inputs, outputs)
        norm(f"bntr{step}", outputs)
        block(f"block{step + 1}", outputs + skip, outputs)
    convolution("final", 96, DIM)
    return {prefix + name: tensor for name, tensor in state.items()}


@torch.no_grad()
def embedding(student: Student, features: Tensor) -> Tensor:
    x, cell = sparse_tensor(pad(corner()[0], (1, 0)), features, TorchBackend())
    return student(x).embedding[cell]


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_every_tensor_finds_its_place() -> None:
    state = minkowski_state("module.net3d.")
    student = import_minkowski(state, SPEC)
    assert not student.training
    placed = student.state_dict()
    for name, tensor in state.items():
        ours = name.replace("module.net3d.", "unet.")
        if name.endswith("final.kernel"):
            assert torch.equal(placed["heads.projector.weight"], tensor.T)
        elif not name.endswith("conv0p1s1.kernel"):
            assert torch.equal(placed[ours], tensor), name
    assert not placed["heads.projector.bias"].any()
    assert not placed["heads.word_mean"].any()


def test_three_channels_of_one_become_one() -> None:
    """The same network before and after: fed with three channels by hand, and with our one."""
    state = minkowski_state()
    student = import_minkowski(state, SPEC)
    three = import_minkowski(state, Spec("Res16UNet14A", ("normal",), 0.02, "openseg", DIM))
    assert torch.equal(three.unet.conv0p1s1.kernel, state["conv0p1s1.kernel"])
    cells = len(corner()[0])
    expected = embedding(three, torch.ones(cells, 3))
    # The sum over channels is rounded elsewhere.
    assert relative_error(embedding(student, torch.ones(cells, 1)), expected) < 1e-5


def test_colour_is_read_as_rgb_and_its_flag_adds_nothing() -> None:
    state = minkowski_state()
    student = import_minkowski(state, Spec("Res16UNet14A", ("color",), 0.02, "openseg", DIM))
    three = import_minkowski(state, Spec("Res16UNet14A", ("normal",), 0.02, "openseg", DIM))
    rgb = torch.rand(len(corner()[0]), 3, generator=torch.Generator().manual_seed(3)) * 2 - 1
    flagged = torch.cat([rgb, torch.ones(len(rgb), 1)], dim=1)
    assert relative_error(embedding(student, flagged), embedding(three, rgb)) < 1e-5


def test_variants_of_other_versions_are_the_same_network() -> None:
    expected = import_minkowski(minkowski_state(), SPEC).state_dict()
    state = minkowski_state("model.")
    for name in list(state):
        if name.endswith("num_batches_tracked"):
            del state[name]  # as written by old versions of torch
        elif name.endswith("downsample.0.kernel") or name == "model.final.kernel":
            state[name] = state[name][None]  # as written by old versions of MinkowskiEngine
        else:
            state[name] = state[name].double()
    found = import_minkowski(state, SPEC).state_dict()
    for name, tensor in expected.items():
        if not name.endswith("num_batches_tracked"):
            # The first layer's channels were added up in float64 here.
            torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)


def test_the_last_layers_bias_is_the_projectors() -> None:
    state = minkowski_state() | {"final.bias": torch.linspace(-1, 1, DIM)[None]}
    with_bias, without = import_minkowski(state, SPEC), import_minkowski(minkowski_state(), SPEC)
    ones = torch.ones(len(corner()[0]), 1)
    difference = embedding(with_bias, ones) - embedding(without, ones)
    torch.testing.assert_close(difference, torch.linspace(-1, 1, DIM).expand_as(difference))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("final.kernel"), "weights: 'final.kernel' is missing"),
        (
            lambda s: s.update({"final.kernel": torch.ones(2, 96, 12)}),
            r"'final.kernel' has shape \(2, 96, 12\)",
        ),
        (lambda s: s.update({"final.bias": torch.ones(13)}), r"'heads.projector.bias' has shape \(13,\)"),
        (lambda s: s.pop("conv0p1s1.kernel"), "'unet.conv0p1s1.kernel' is missing"),
        (lambda s: s.pop("block3.0.norm1.bn.running_var"), "'unet.block3.0.norm1.bn.running_var' is missing"),
        (
            lambda s: s.update({"conv0p1s1.kernel": torch.ones(27, 3, 32)}),
            r"'unet.conv0p1s1.kernel' has shape \(27, 1, 32\), Res16UNet14A needs \(125, 1, 32\)",
        ),
        (
            lambda s: s.update({"conv0p1s1.kernel": torch.ones(5)}),
            r"'unet.conv0p1s1.kernel' has shape \(5,\)",
        ),
        (lambda s: s.update({"block1.1.conv1.kernel": torch.ones(1)}), "'unet.block1.1.conv1.kernel' has no"),
        (lambda s: s.update({"module.bn0.bn.bias": torch.ones(32)}), "'module.bn0.bn.bias' is there twice"),
        (lambda s: s["bn0.bn.bias"].fill_(torch.nan), "'unet.bn0.bn.bias' has values that are not finite"),
    ],
)
def test_what_does_not_fit_is_named(change: Callable[[dict], Any], message: str) -> None:
    state = minkowski_state()
    change(state)
    with pytest.raises(CheckpointError, match=message):
        import_minkowski(state, SPEC, "weights")


def test_another_dim_or_inputs_or_heads_do_not_fit() -> None:
    state = minkowski_state()
    assert language_dim(state) == DIM
    for spec, message in (
        (Spec("Res16UNet14A", ("one",), 0.02, "openseg", 13), "'heads.word_mean' has shape"),
        (Spec("Res16UNet14A", ("color", "normal"), 0.02, "openseg", DIM), r"needs \(125, 7, 32\)"),
        (Spec("Res16UNet14A", ("one",), 0.02, "openseg", DIM, ("a",)), "'heads.classes.weight' is missing"),
        (Spec("Res16UNet34C", ("one",), 0.02, "openseg", DIM), "Res16UNet34C needs"),
        (Spec("MinkUNet14A", ("one",), 0.02, "openseg", DIM), "'architecture' should be one of"),
    ):
        with pytest.raises(CheckpointError, match=message):
            import_minkowski(state, spec)


@pytest.mark.parametrize("nest", [(), ("state_dict",), ("model",), ("model", "state_dict")])
def test_torch_files_are_read_wherever_the_tensors_are(tmp_path: Path, nest: tuple[str, ...]) -> None:
    state = minkowski_state("module.")
    inside: Any = state
    for name in nest:
        inside = {name: inside, "epoch": 20, "best_iou": 0.5}
    torch.save(inside, tmp_path / "a.pth")
    found = read_state_dict(tmp_path / "a.pth")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_other_objects_are_not_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    bomb = {"state_dict": minkowski_state(), "args": Bomb()}
    torch.save(bomb, tmp_path / "zip.pth")
    torch.save(bomb, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(bomb, protocol=2))
    for name in ("zip.pth", "legacy.pt", "plain.pth"):
        with pytest.raises(CheckpointError, match=f"{name}.*holds more than tensors"):
            read_state_dict(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_old_torch_does_not_read_torch_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(minkowski_state(), tmp_path / "a.pth")
    save_file(minkowski_state(), tmp_path / "a.safetensors")
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.5.1+cpu"))
    with pytest.raises(CheckpointError, match=r"torch 2\.6 or newer"):
        read_state_dict(tmp_path / "a.pth")
    assert read_state_dict(tmp_path / "a.safetensors").keys() == minkowski_state().keys()
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.10.0+cpu"))
    assert read_state_dict(tmp_path / "a.pth").keys() == minkowski_state().keys()


@given(
    suffix=st.sampled_from(["pth", "pt", "safetensors"]),
    share=st.floats(0, 1, exclude_max=True),
    old=st.booleans(),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, suffix: str, share: float, old: bool) -> None:
    state = {"final.kernel": torch.ones(3, 4), "bn0.bn.bias": torch.ones(9)}
    path = tmp_path / f"cut.{suffix}"
    if suffix == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=not old)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=rf"cut\.{suffix}"):
        read_state_dict(path)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    for name in ("gone.pth", "gone.safetensors"):
        with pytest.raises(CheckpointError, match=f"{name}: there is no such file"):
            read_state_dict(tmp_path / name)
    (tmp_path / "folder.pth").mkdir()
    for path in (tmp_path / "folder.pth", tmp_path):
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_state_dict(path)
    for index, content in enumerate((5, [torch.ones(1)], {"epoch": 3}, {"state_dict": {}})):
        torch.save(content, tmp_path / f"{index}.pth")
        with pytest.raises(CheckpointError, match="there is no state dict"):
            read_state_dict(tmp_path / f"{index}.pth")


def test_the_command(tmp_path: Path) -> None:
    source, target = tmp_path / "openscene.pth", tmp_path / "student.safetensors"
    torch.save({"state_dict": minkowski_state("module.net3d."), "epoch": 3}, source)
    command = ["import-weights", str(source), str(target), "--space", "openseg", "--voxel-size", "0.02"]
    result = CliRunner().invoke(app, [*command, "--architecture", "Res16UNet14A", "--licence", "Apache-2.0"])
    assert result.exit_code == 0, result.output
    assert checkpoint.read_spec(target) == Spec(
        "Res16UNet14A", ("one",), 0.02, "openseg", DIM, licence="Apache-2.0"
    )
    assert checkpoint.read_extra(target) == {"imported_from": "openscene.pth"}
    expected = import_minkowski(minkowski_state(), SPEC).state_dict()
    found = checkpoint.load(target).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    target.unlink()
    result = CliRunner().invoke(app, [*command, "--architecture", "Res16UNet18A"])
    assert result.exit_code == 2
    assert "'unet.block1.1.conv1.kernel' is missing" in result.output
    assert not target.exists()
