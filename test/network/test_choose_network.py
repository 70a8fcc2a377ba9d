"""Which network is used, and what people are told when it is none."""

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_world import ColourEncoder
from students import SurfaceReader, random_student, surface_namer

from ws3d_ros.config import NetworkConfig
from ws3d_ros.network import choose as module
from ws3d_ros.network.choose import NetworkChoice, NetworkError, choose_network, voxel_size_warning
from ws3d_ros.network.incremental import IncrementalReader
from ws3d_ros.network.inference import Reader

CPU = torch.device("cpu")


def choose(checkpoint: object, backend: str = "torch", precision: str = "float32") -> NetworkChoice:
    settings = NetworkConfig(str(checkpoint), backend, precision)
    return choose_network(settings, ColourEncoder(), "", CPU)


def test_one_that_was_asked_for(tmp_path: Path) -> None:
    choice = choose(random_student(tmp_path / "mine.safetensors"))
    assert choice.namer is not None
    for part in ("mine.safetensors", "Res16UNet14S", "torch", "float32", "cpu"):
        assert part in choice.namer.name
    assert choice.namer.name in choice.why


def test_none_as_asked() -> None:
    choice = choose("none")
    assert choice.namer is None
    assert "as asked" in choice.why


def test_auto_is_the_one_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "student.safetensors")
    without = choose("auto")
    assert without.namer is None
    assert "student.safetensors is missing" in without.why
    random_student(tmp_path / "student.safetensors")
    there = choose("auto")
    assert there.namer is not None
    assert "furniture" in there.why


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"no\.safetensors"):
        choose(tmp_path / "no.safetensors")


def test_the_first_wrong_tensor_is_named(tmp_path: Path) -> None:
    path = random_student(tmp_path / "bent.safetensors")
    header = _metadata(path)
    tensors = load_file(path)
    tensors["heads.projector.weight"] = tensors["heads.projector.weight"][:, :-1].contiguous()
    save_file(tensors, path, header)
    with pytest.raises(NetworkError, match=r"bent\.safetensors.*'heads\.projector\.weight'"):
        choose(path)


def test_a_language_space_without_words(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"'elvish'.*'colours'"):
        choose(random_student(tmp_path / "a.safetensors", space="elvish"))


def test_vectors_of_another_length_than_the_words(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"a\.safetensors: vectors of 7 values.*have 4"):
        choose(random_student(tmp_path / "a.safetensors", dim=7))


@pytest.mark.skipif(
    importlib.util.find_spec("MinkowskiEngine") is not None, reason="MinkowskiEngine is installed"
)
def test_an_engine_that_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="MinkowskiEngine"):
        choose(random_student(tmp_path / "a.safetensors"), backend="minkowski")


def test_only_coarser_voxels_are_warned_of() -> None:
    namer = surface_namer(SurfaceReader(voxel_size_m=0.05))
    assert voxel_size_warning(namer, 0.05) is None
    assert voxel_size_warning(namer, 0.02) is None
    warning = voxel_size_warning(namer, 0.2)
    assert warning is not None
    assert "0.05" in warning
    assert "0.2" in warning


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


@pytest.mark.parametrize(
    ("reuse", "kind"), [("fast", IncrementalReader), ("exact", IncrementalReader), ("off", Reader)]
)
def test_what_is_kept_between_readings_is_a_setting(tmp_path: Path, reuse: str, kind: type) -> None:
    settings = NetworkConfig(str(random_student(tmp_path / "mine.safetensors")), reuse=reuse)
    namer = choose_network(settings, ColourEncoder(), "", CPU).namer
    assert namer is not None
    assert type(namer.reader) is kind
