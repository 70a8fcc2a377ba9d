"""Students in files: what goes in comes out; what does not fit is named."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ws3d_ros.network.checkpoint import CheckpointError, load, read_extra, read_spec, save
from ws3d_ros.network.inputs import CHANNELS
from ws3d_ros.network.student import Spec, Student
from ws3d_ros.network.unet import ARCHITECTURES, Architecture

SPEC = Spec(
    "Tiny", ("color", "normal"), 0.05, "words", 8, ("wall", "floor"), True, True, ("lamp",), "CC0-1.0"
)


@pytest.fixture(autouse=True, scope="module")
def _tiny():
    """A network of a few kilobytes, so that files are quick to write."""
    ARCHITECTURES["Tiny"] = Architecture(4, (4, 6, 6, 8, 6, 6, 4, 4), (1,) * 8)
    yield
    del ARCHITECTURES["Tiny"]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "student.safetensors"
    save(Student(SPEC), path, {"recipe": "rooms"})
    return path


def rewritten(
    path: Path,
    tensors: Callable[[dict], Any] = lambda _: None,
    header: Callable[[dict], Any] = lambda _: None,
) -> Path:
    """The file with changed tensors or header."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    found = load_file(path)
    tensors(found)
    header(metadata)
    save_file(found, path, metadata)
    return path


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(1)
    student = Student(SPEC)
    student.heads.word_mean.normal_()
    student.heads.logit_scale.fill_(31.0)
    save(student, tmp_path / "new" / "a.safetensors", {"score": "0.5"})
    loaded = load(tmp_path / "new" / "a.safetensors")
    assert loaded.spec == SPEC
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert loaded.state_dict().keys() == student.state_dict().keys()
    for name, tensor in student.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert read_extra(tmp_path / "new" / "a.safetensors") == {"score": "0.5"}
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.safetensors"]


def test_half_is_smaller_and_comes_back_as_float32(tmp_path: Path) -> None:
    torch.manual_seed(2)
    student = Student(SPEC)
    student.unet.bn0.bn.running_var.fill_(1e6)  # beyond float16
    save(student, tmp_path / "whole.safetensors")
    save(student, tmp_path / "half.safetensors", half=True)
    loaded = load(tmp_path / "half.safetensors")
    stored = load_file(tmp_path / "half.safetensors")
    assert sum(tensor.dtype == torch.float16 for tensor in stored.values()) > 20
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.unet.bn0.bn.running_var, student.unet.bn0.bn.running_var)
    kernel = student.unet.conv0p1s1.kernel
    assert torch.equal(loaded.unet.conv0p1s1.kernel, kernel.half().float())
    assert os.path.getsize(tmp_path / "half.safetensors") < os.path.getsize(tmp_path / "whole.safetensors")


words = st.lists(st.text(max_size=12), max_size=5).map(tuple)
specs = st.builds(
    Spec,
    architecture=st.just("Tiny"),
    inputs=st.lists(st.sampled_from(sorted(CHANNELS)), min_size=1, unique=True).map(tuple),
    voxel_size_m=st.floats(1e-3, 10.0),
    space=st.text(max_size=30),
    dim=st.integers(1, 20),
    classes=words,
    boundary=st.booleans(),
    offset=st.booleans(),
    vocabulary=words,
    licence=st.text(max_size=30),
)
extras = st.dictionaries(st.text(max_size=10).map(lambda key: f"x {key}"), st.text(max_size=20), max_size=4)


@given(spec=specs, extra=extras)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_header_comes_back(tmp_path: Path, spec: Spec, extra: dict[str, str]) -> None:
    path = tmp_path / "any.safetensors"
    save(Student(spec), path, extra)
    assert read_spec(path) == load(path).spec == spec
    assert read_extra(path) == extra


@given(share=st.floats(0.0, 1.0, exclude_max=True))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_file_cut_anywhere_is_refused(saved: Path, share: float) -> None:
    whole = saved.read_bytes()
    header_end = 8 + int.from_bytes(whole[:8], "little")
    cut = saved.with_name("cut.safetensors")
    size = int(share * len(whole))
    cut.write_bytes(whole[:size])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors") as caught:
        load(cut)
    if size >= header_end:
        # The first tensor that ends beyond the cut, in the order of the file.
        header = json.loads(whole[8:header_end])
        header.pop("__metadata__")
        ends = sorted((entry["data_offsets"][1] + header_end, name) for name, entry in header.items())
        assert next(f"'{name}'" for end, name in ends if end > size) in str(caught.value)
    with pytest.raises(CheckpointError):
        read_spec(cut)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("unet.bn0.bn.weight"), r"'unet.bn0.bn.weight' is missing.*\(4,\)"),
        (lambda t: t.update({"unet.extra": torch.ones(1)}), r"'unet.extra' has no place"),
        (
            lambda t: t.update({"unet.conv0p1s1.kernel": torch.ones(125, 3, 4)}),
            r"'unet.conv0p1s1.kernel' has shape \(125, 3, 4\), Tiny needs \(125, 7, 4\)",
        ),
        (lambda t: t["heads.projector.bias"].fill_(torch.nan), r"'heads.projector.bias'.*not finite"),
        (
            lambda t: t["unet.bn1.bn.running_var"][:1].fill_(torch.inf),
            r"'unet.bn1.bn.running_var'.*not finite",
        ),
        # Of two that do not fit, the one that comes first in the network.
        (lambda t: [t.pop("unet.bn1.bn.bias"), t.pop("unet.bn0.bn.bias")], r"'unet.bn0.bn.bias' is missing"),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(saved: Path, change: Callable, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load(rewritten(saved, tensors=change))
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format_version", 2, "format version 2, this version of ws3d reads 1"),
        ("format_version", None, "'format_version'"),
        ("architecture", "Res16UNet99", "'architecture' should be one of"),
        ("architecture", ["Tiny"], "'architecture'"),
        ("inputs", ["color", "smell"], "'inputs' should be some of"),
        ("inputs", "color", "'inputs'"),
        ("inputs", [], "'inputs'"),
        ("voxel_size_m", -1, "'voxel_size_m'"),
        ("voxel_size_m", "wide", "'voxel_size_m'"),
        ("voxel_size_m", float("nan"), "'voxel_size_m'"),
        ("space", 3, "'space'"),
        ("dim", 0, "'dim'"),
        ("dim", 8.0, "'dim'"),
        ("dim", 10**12, "'heads.word_mean' has shape"),
        ("dim", 10**40, "no network can be that large"),
        ("classes", [1], "'classes'"),
        ("boundary", 1, "'boundary'"),
        ("offset", False, "'heads.offset.0.bias' has no place"),
        ("vocabulary", {"a": 1}, "'vocabulary'"),
        ("licence", None, "the header has no 'licence'"),
    ],
)
def test_a_header_field_that_does_not_fit_is_named(saved: Path, field: str, value: Any, message: str) -> None:
    def change(header: dict[str, str]) -> None:
        header.pop(field)
        header.update({} if value is None else {field: json.dumps(value)})

    with pytest.raises(CheckpointError, match=message) as caught:
        load(rewritten(saved, header=change))
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00"])
def test_a_header_field_that_is_not_json_is_named(saved: Path, text: str) -> None:
    with pytest.raises(CheckpointError, match="'space' is not JSON"):
        load(rewritten(saved, header=lambda header: header.update(space=text)))


def test_files_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match=r"gone\.safetensors: there is no such file"):
        load(tmp_path / "gone.safetensors")
    (tmp_path / "text").write_text("hello, this is a text of more than eight bytes")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load(tmp_path / "text")
    save_file({"a": torch.ones(2)}, tmp_path / "other")
    with pytest.raises(CheckpointError, match="not a student of ws3d"):
        load(tmp_path / "other")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    (tmp_path / "bomb").write_bytes(pickle.dumps(Bomb()))
    torch.save(Bomb(), tmp_path / "torch_bomb")
    for name in ("bomb", "torch_bomb"):
        with pytest.raises(CheckpointError, match="not a safetensors file"):
            load(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_what_could_not_be_loaded_is_not_written(saved: Path) -> None:
    before = saved.read_bytes()
    broken = Student(SPEC)
    with torch.no_grad():
        broken.heads.projector.weight[0, 0] = torch.nan
    unfit = Student(SPEC)
    unfit.unet.bn0 = torch.nn.Identity()
    misnamed = Student(SPEC)
    misnamed.spec = replace(SPEC, voxel_size_m=0.0)
    for student, message in ((broken, "not finite"), (unfit, "missing"), (misnamed, "voxel_size_m")):
        with pytest.raises(ValueError, match=message):
            save(student, saved)
    with pytest.raises(ValueError, match="its own 'licence'"):
        save(Student(SPEC), saved, {"licence": "other"})
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_write_that_fails_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        save(Student(SPEC), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_loaded_student_does_not_change_with_its_file(saved: Path) -> None:
    student = load(saved)
    before = student.unet.conv0p1s1.kernel.clone()
    with saved.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        size = file.tell()
        file.seek(0)
        file.write(bytes(size))
    assert torch.equal(student.unet.conv0p1s1.kernel, before)
