"""nuScenes with lidarseg, on tables and sweeps written here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_files import check_broken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ws3d_ros.training.datasets.files import DatasetError
from ws3d_ros.training.datasets.nuscenes import NuScenes

Tables = dict[str, list[dict[str, Any]]]
# Indices as in the lidarseg package: 0 is noise, 17 car, 24 driveable surface, 31 the car itself.
CATEGORIES = {"noise": 0, "vehicle.car": 17, "flat.driveable_surface": 24, "vehicle.ego": 31}
POINTS = np.array([[1, 2, 3, 40, 0], [4, 5, 6, 50, 1], [7, 8, 9, 60, 31], [0, 0, 1, 0, 2]], "<f4")
LABELS = np.array([24, 17, 0, 31], np.uint8)
QUARTER = [0.5**0.5, 0.0, 0.0, 0.5**0.5]  # w, x, y, z: to the left by 90 degrees


def tables() -> Tables:
    """Two scenes, the first of two sweeps in the wrong order, and one sweep that has no labels."""
    sweeps = {
        "a1": ("s1", 2_000_000),
        "a0": ("s0", 1_500_000),
        "b0": ("t0", 9_000_000),
        "x": ("s0", 1_600_000),
    }
    return {
        "category": [{"token": f"c{i}", "name": name, "index": i} for name, i in CATEGORIES.items()],
        "scene": [{"token": "A", "name": "scene-0061"}, {"token": "B", "name": "scene-0103"}],
        "sample": [
            {"token": "s0", "scene_token": "A", "timestamp": 0},
            {"token": "s1", "scene_token": "A", "timestamp": 0},
            {"token": "t0", "scene_token": "B", "timestamp": 0},
        ],
        "sample_data": [
            {
                "token": token,
                "sample_token": sample,
                "ego_pose_token": f"e{token}",
                "calibrated_sensor_token": "roof",
                "filename": f"samples/LIDAR_TOP/{token}.pcd.bin",
                "timestamp": stamp,
            }
            for token, (sample, stamp) in sweeps.items()
        ],
        "lidarseg": [
            {
                "token": token,
                "sample_data_token": token,
                "filename": f"lidarseg/v1.0-mini/{token}_lidarseg.bin",
            }
            for token in ("a0", "a1", "b0")
        ],
        "ego_pose": [
            {"token": f"e{token}", "translation": [10.0 * i, 0, 0], "rotation": QUARTER}
            for i, token in enumerate(sweeps)
        ],
        "calibrated_sensor": [{"token": "roof", "translation": [1.0, 0, 2.0], "rotation": [1, 0, 0, 0]}],
    }


def write(root: Path, content: Tables) -> Path:
    for folder in ("v1.0-mini", "samples/LIDAR_TOP", "lidarseg/v1.0-mini"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, rows in content.items():
        (root / f"v1.0-mini/{name}.json").write_text(json.dumps(rows))
    for token in ("a0", "a1", "b0"):
        (root / f"samples/LIDAR_TOP/{token}.pcd.bin").write_bytes(POINTS.tobytes())
        (root / f"lidarseg/v1.0-mini/{token}_lidarseg.bin").write_bytes(LABELS.tobytes())
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("nuscenes"), tables())


def test_a_sweep_is_read_as_it_was_written(root: Path) -> None:
    data = NuScenes(root, "v1.0-mini")
    assert data.names == ("scene-0061/000", "scene-0061/001", "scene-0103/000")
    cloud = data.load("scene-0061/000")
    np.testing.assert_array_equal(cloud.points_m, POINTS[:, :3])
    words = [cloud.class_names[i] if i >= 0 else None for i in cloud.label]
    assert words == ["driveable surface", "car", None, None]
    assert (cloud.instance == -1).all()


def test_poses_go_from_the_sensor_over_the_car_to_the_city(root: Path) -> None:
    first, second = NuScenes(root, "v1.0-mini").scans("scene-0061")
    assert (first.stamp_ns, second.stamp_ns) == (1_500_000_000, 2_000_000_000)
    # The sensor is 1 m ahead of the car's middle; the car faces y of the city, at x = 10 and x = 0.
    np.testing.assert_allclose(first.T_map_lidar @ [0, 0, 0, 1], [10, 1, 2, 1], atol=1e-12)
    np.testing.assert_allclose(second.T_map_lidar @ [1, 0, 0, 1], [0, 2, 2, 1], atol=1e-12)
    assert first.intensity is not None
    assert first.intensity.tolist() == [40, 50, 60, 0]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.floats(0, 0.99),
    st.sampled_from(
        [f"v1.0-mini/{name}.json" for name in tables()]
        + ["samples/LIDAR_TOP/a0.pcd.bin", "lidarseg/v1.0-mini/a0_lidarseg.bin"]
    ),
)
def test_broken_files_are_named(root: Path, keep: float, file: str) -> None:
    check_broken(root, file, keep, lambda path: NuScenes(path, "v1.0-mini").load("scene-0061/000"))


def without_index(content: Tables) -> None:
    del content["category"][0]["index"]


def without_pose(content: Tables) -> None:
    content["ego_pose"] = content["ego_pose"][1:]


def bad_pose(content: Tables) -> None:
    content["ego_pose"][0]["rotation"] = [1, 2, 3]


def bad_token(content: Tables) -> None:
    content["sample"][0]["scene_token"] = "nowhere"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (without_index, "category.json has rows without 'index'. It comes with the lidarseg package"),
        (without_pose, "ego_pose.json lacks 1 rows"),
        (bad_pose, "ego_pose.json: row ea1"),
        (bad_token, "no sample or scene has the token 'nowhere'"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    tmp_path: Path, spoil: Callable[[Tables], None], complaint: str
) -> None:
    content = tables()
    spoil(content)
    with pytest.raises(DatasetError, match=complaint):
        NuScenes(write(tmp_path, content), "v1.0-mini")


def test_too_few_labels_and_another_version_are_refused(tmp_path: Path) -> None:
    write(tmp_path, tables())
    (tmp_path / "lidarseg/v1.0-mini/a0_lidarseg.bin").write_bytes(LABELS[:3].tobytes())
    with pytest.raises(DatasetError, match=r"a0_lidarseg\.bin has 3 labels, but .*a0\.pcd\.bin has 4 points"):
        NuScenes(tmp_path, "v1.0-mini").load("scene-0061/000")
    with pytest.raises(DatasetError, match=r"v1\.0-trainval does not exist. nuScenes is a folder with"):
        NuScenes(tmp_path)
