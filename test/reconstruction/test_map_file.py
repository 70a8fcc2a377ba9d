"""Maps in files: what is written comes back bit by bit, and what was not written is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_map import FOLDER, golden
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ws3d_ros.reconstruction import map_file
from ws3d_ros.reconstruction.map_file import MapFileError, SavedMap, load_map, map_path, save_map


def same(a: SavedMap, b: SavedMap) -> bool:
    groups = ("voxel", "basis", "instances", "adaptation")
    return a.header == b.header and all(
        getattr(a, group).keys() == getattr(b, group).keys()
        and all(
            tensor.dtype == getattr(b, group)[name].dtype and torch.equal(tensor, getattr(b, group)[name])
            for name, tensor in getattr(a, group).items()
        )
        for group in groups
    )


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("map") / "small.ws3d"
    save_map(golden(), path)
    return path.read_bytes()


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "small.ws3d"
    assert save_map(golden(), path) == path.stat().st_size
    assert same(load_map(path), golden())
    assert [file.name for file in path.parent.iterdir()] == ["small.ws3d"]
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@given(
    columns=st.dictionaries(
        st.from_regex(r"[a-z_]{1,12}", fullmatch=True).filter(lambda name: name != "key"),
        st.tuples(
            st.sampled_from(
                [torch.float32, torch.float16, torch.int64, torch.int16, torch.uint8, torch.bool]
            ),
            st.lists(st.integers(0, 3), max_size=2),
        ),
        max_size=4,
    ),
    count=st.integers(0, 20),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_columns(tmp_path: Path, columns: dict[str, tuple[torch.dtype, list[int]]], count: int) -> None:
    """A column that somebody adds to the map needs nothing here."""
    generator = torch.Generator().manual_seed(0)
    voxel = {"key": torch.arange(count)}
    for name, (dtype, shape) in columns.items():
        voxel[name] = torch.randint(0, 2, (count, *shape), generator=generator).to(dtype)
    saved = SavedMap(golden().header, voxel)
    save_map(saved, tmp_path / "any.ws3d")
    assert same(load_map(tmp_path / "any.ws3d"), saved)


def test_files_of_version_1_keep_loading() -> None:
    path = FOLDER / "golden_v1.ws3d"
    assert path.stat().st_size < 50_000
    assert same(load_map(path), golden())


@given(at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_is_refused(tmp_path: Path, content: bytes, at: float, flip: int) -> None:
    place = int(at * len(content))
    path = tmp_path / "changed.ws3d"
    path.write_bytes(content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])
    try:
        loaded = load_map(path)
    except MapFileError:
        return
    # Blanks that fill up the container's header mean nothing; all else is covered.
    assert content[place : place + 1] == b" "
    assert same(loaded, golden())


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_file_is_refused(tmp_path: Path, content: bytes, share: float) -> None:
    path = tmp_path / "short.ws3d"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(MapFileError, match=r"short\.ws3d"):
        load_map(path)


def test_bytes_at_the_end_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "long.ws3d"
    path.write_bytes(content + b"\0" * 8)
    with pytest.raises(MapFileError, match="damaged"):
        load_map(path)


@pytest.mark.parametrize(
    ("start", "match"),
    [
        (b"PK\x03\x04 a zip", "no map of ws3d"),
        (b"ply\nformat binary_little_endian 1.0\n", "no map of ws3d"),
        (b"", "no map of ws3d"),
        ((4 << 30).to_bytes(8, "little") + b"{}", "no map of ws3d"),
        ((1 << 20).to_bytes(8, "little") + b"{}", "cut off"),
        (
            # A header that promises 4 GB in a file of 100 bytes.
            (lambda head: len(head).to_bytes(8, "little") + head)(
                json.dumps(
                    {"voxel/key": {"dtype": "I64", "shape": [1 << 29], "data_offsets": [0, 1 << 32]}}
                ).encode()
            ),
            "cut off or damaged",
        ),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, start: bytes, match: str) -> None:
    path = tmp_path / "foreign.ws3d"
    path.write_bytes(start)
    with pytest.raises(MapFileError, match=match):
        load_map(path)


def test_a_header_that_promises_4_gb_allocates_nothing(tmp_path: Path) -> None:
    huge = {"dtype": "I64", "shape": [1 << 29], "data_offsets": [0, 1 << 32]}
    header = json.dumps({"voxel/key": huge}).encode()
    (tmp_path / "huge.ws3d").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(MapFileError, match="cut off or damaged"):
        load_map(tmp_path / "huge.ws3d")


def test_other_tensors_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "weights.ws3d")
    with pytest.raises(MapFileError, match="other tensors, such as weights"):
        load_map(tmp_path / "weights.ws3d")


def test_a_newer_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_file, "FORMAT_VERSION", 2)
    save_map(golden(), tmp_path / "newer.ws3d")
    monkeypatch.undo()
    with pytest.raises(MapFileError, match=r"version '2' .* install a newer"):
        load_map(tmp_path / "newer.ws3d")


def test_a_map_that_contradicts_itself_is_not_written(tmp_path: Path) -> None:
    good = golden()
    for voxel, match in (
        ({**good.voxel, "label": torch.zeros(3)}, "'voxel/label' has"),
        ({**good.voxel, "key": torch.zeros(60, dtype=torch.int64)}, "twice"),
        ({"state": torch.zeros(3, 12)}, "needs 'voxel/key'"),
    ):
        with pytest.raises(MapFileError, match=match):
            save_map(dataclasses.replace(good, voxel=voxel), tmp_path / "bad.ws3d")
    assert not list(tmp_path.iterdir())


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "map.ws3d"
    save_map(golden(), path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(map_file, "_sync", full)
    with pytest.raises(MapFileError, match="No space left"):
        save_map(dataclasses.replace(golden(), voxel={"key": torch.arange(3)}), path)
    assert same(load_map(path), golden())
    assert [file.name for file in tmp_path.iterdir()] == ["map.ws3d"]


def test_a_kill_in_the_middle_of_saving_loses_nothing(tmp_path: Path) -> None:
    path, rounds = tmp_path / "map.ws3d", 12
    done = subprocess.run(
        [sys.executable, FOLDER / "killed_savers.py", path, str(rounds), "1"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(FOLDER.parents[1])},
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    values = np.array([line.split() for line in done.stdout.splitlines()], dtype=np.int64)
    assert len(values) == rounds
    # What had been saved is there, or the one after it, whose rename was done when the kill came.
    assert set((values[:, 0] - values[:, 1]).tolist()) <= {0, 1}
    # What the last one left half written goes with the next save.
    save_map(golden(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["map.ws3d"]


@pytest.mark.parametrize("name", ["home", "home.ws3d", "floor2/kitchen", "Küche 1"])
def test_names_below_the_folder(tmp_path: Path, name: str) -> None:
    path = map_path(tmp_path, name)
    assert path.is_relative_to(tmp_path.resolve())
    assert path.suffix == ".ws3d"


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", ".hidden", "a/.b", "a\0b", ".."])
def test_names_that_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MapFileError, match="no name for a map"):
        map_path(tmp_path, name)


def test_symbolic_links_do_not_lead_out(tmp_path: Path) -> None:
    folder, outside = tmp_path / "maps", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "file.ws3d").symlink_to(outside / "file.ws3d")
    for name in ("link/x", "file"):
        with pytest.raises(MapFileError, match="symbolic link"):
            map_path(folder, name)
