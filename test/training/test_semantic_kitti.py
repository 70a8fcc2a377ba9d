"""SemanticKITTI, on files written here byte by byte, and on a real label file where there is one."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from broken_files import check_broken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ws3d_ros.training.datasets.files import DatasetError
from ws3d_ros.training.datasets.semantic_kitti import SemanticKitti

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
POINTS = [(1.0, 2.0, -1.5, 0.25), (10.5, -3.0, 0.0, 0.5), (4.0, 4.0, 4.0, 0.0), (-7.0, 0.5, 1.0, 1.0)]
WORDS = [(40, 0), (252, 7), (10, 7), (52, 0)]  # road, moving car 7, car 7, other structure
TR = "0 -1 0 0.1 0 0 -1 -0.2 1 0 0 -0.3"  # the axes of a camera


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences; 00 has two sweeps."""
    root = tmp_path_factory.mktemp("semantic_kitti")
    for sequence, count in (("00", 2), ("08", 1)):
        folder = root / "sequences" / sequence
        (folder / "velodyne").mkdir(parents=True)
        (folder / "labels").mkdir()
        for sweep in range(count):
            raw = b"".join(struct.pack("<4f", x + sweep, y, z, r) for x, y, z, r in POINTS)
            (folder / f"velodyne/{sweep:06d}.bin").write_bytes(raw)
            labels = b"".join(struct.pack("<HH", word, thing) for word, thing in WORDS)
            (folder / f"labels/{sweep:06d}.label").write_bytes(labels)
        (folder / "calib.txt").write_text(f"P0: {'1 ' * 12}\nTr: {TR}\n")
        still, ahead = "1 0 0 0 0 1 0 0 0 0 1 0", "1 0 0 0 0 1 0 0 0 0 1 2.5"
        (folder / "poses.txt").write_text(f"{still}\n{ahead}\n")
    return root


def test_a_sweep_is_read_as_it_was_written(root: Path) -> None:
    data = SemanticKitti(root)
    assert data.names == ("00/000000", "00/000001", "08/000000")
    cloud = data.load("00/000001")
    np.testing.assert_array_equal(cloud.points_m, np.array(POINTS, np.float32)[:, :3] + [1, 0, 0])
    words = [cloud.class_names[i] if i >= 0 else None for i in cloud.label]
    assert words == ["road", "car", "car", None]
    assert (cloud.instance == -1).tolist() == [True, False, False, True]
    assert cloud.instance[1] != cloud.instance[2], "numbers are given class by class"


def test_poses_are_of_the_sensor_and_not_of_the_camera(root: Path) -> None:
    """The camera went 2.5 m along its z, which is forward: along x of the sensor."""
    first, second = SemanticKitti(root).scans("00")
    np.testing.assert_allclose(first.T_map_lidar, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(second.T_map_lidar[:3, 3], [2.5, 0, 0], atol=1e-12)
    assert first.intensity is not None
    assert first.intensity.tolist() == [0.25, 0.5, 0.0, 1.0]
    assert second.stamp_ns - first.stamp_ns == 100_000_000


def test_sequences_can_be_chosen(root: Path) -> None:
    assert SemanticKitti(root, ("08",)).names == ("08/000000",)
    with pytest.raises(DatasetError, match=r"09/velodyne does not exist. SemanticKITTI is a folder with"):
        SemanticKitti(root, ("09",))


def test_another_folder_is_no_semantic_kitti(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="sequences does not exist"):
        SemanticKitti(tmp_path)
    (tmp_path / "sequences").mkdir()
    with pytest.raises(DatasetError, match="has no sweeps"):
        SemanticKitti(tmp_path)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 0.99), st.sampled_from(["labels/000000.label", "velodyne/000000.bin"]))
def test_broken_files_are_named(root: Path, keep: float, file: str) -> None:
    check_broken(root, f"sequences/08/{file}", keep, lambda path: SemanticKitti(path).load("08/000000"))


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("file", ["calib.txt", "poses.txt"])
def test_broken_poses_are_named(root: Path, file: str, keep: float) -> None:
    check_broken(root, f"sequences/00/{file}", keep, lambda path: list(SemanticKitti(path).scans("00")))


@pytest.mark.skipif(not (SHARED / "data/kitti00_labels").is_dir(), reason="../shared is not here")
def test_a_real_label_file(tmp_path: Path) -> None:
    labels = (SHARED / "data/kitti00_labels/000000.label").read_bytes()
    for folder, name, data in (
        ("velodyne", "000000.bin", bytes(len(labels) * 4)),
        ("labels", "000000.label", labels),
    ):
        (tmp_path / "sequences/00" / folder).mkdir(parents=True)
        (tmp_path / "sequences/00" / folder / name).write_bytes(data)
    cloud = SemanticKitti(tmp_path).load("00/000000")
    seen = {cloud.class_names[i] for i in np.unique(cloud.label) if i >= 0}
    assert {"road", "car", "building", "vegetation"} <= seen
    assert (cloud.label >= 0).mean() > 0.9
