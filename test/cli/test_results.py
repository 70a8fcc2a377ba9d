"""The files that the demo leaves, from a small cloud made here."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from plyfile import PlyData

from ws3d_ros.cli.results import camera_color, write_results

NAMES = ["unknown", "floor", "chair"]
COLORS = np.array([[90, 90, 90], [10, 200, 10], [200, 10, 10]], np.uint8)


def cloud() -> np.ndarray:
    """A floor of 40 x 40 voxels and a chair of 4 x 4 x 8 on it, with 0.1 m voxels."""
    floor = np.stack([axis.ravel() for axis in np.mgrid[0:40, 0:40, 0:1]], 1)
    chair = np.stack([axis.ravel() for axis in np.mgrid[10:14, 20:24, 1:9]], 1)
    xyz = (np.concatenate([floor, chair]) * 0.1 + 0.05).astype(np.float32)
    columns = [*((axis, "<f4") for axis in "xyz"), ("label", "<u4"), ("instance", "<u4")]
    points = np.zeros(len(xyz), [*columns, ("confidence", "<f4"), ("rgb_camera", "<u4")])
    for i, axis in enumerate("xyz"):
        points[axis] = xyz[:, i]
    points["label"][: len(floor)], points["label"][len(floor) :] = 1, 2
    points["instance"][len(floor) :] = 7
    points["confidence"] = 0.5
    points["rgb_camera"][len(floor) :] = 0xFF102030
    return points


def test_every_file_says_the_same(tmp_path: Path) -> None:
    points = cloud()
    summary = write_results(tmp_path, points, NAMES, COLORS, 0.1)
    assert summary == {"labels": {"floor": 1600, "chair": 128}, "instances": 1}

    vertices = PlyData.read(str(tmp_path / "semantic_cloud.ply"))["vertex"]
    assert np.array_equal(vertices["x"], points["x"])
    assert np.array_equal(vertices["label"], points["label"])
    rgb = np.stack([vertices[channel] for channel in ("red", "green", "blue")], 1)
    assert np.array_equal(rgb, COLORS[points["label"]])

    (chair,) = json.loads((tmp_path / "instances.json").read_text())
    assert (chair["id"], chair["name"], chair["voxels"]) == (7, "chair", 128)
    assert np.allclose(chair["centroid_m"], (1.2, 2.2, 0.5), atol=1e-5)
    assert np.allclose(sorted(chair["box_size_m"]), (0.4, 0.4, 0.8), atol=1e-5)

    for name in ("semantic.png", "rgb.png"):
        image = cv2.imread(str(tmp_path / name))
        assert image.shape == (1000, 1600, 3)


def test_the_chair_is_in_the_picture_in_its_colour(tmp_path: Path) -> None:
    write_results(tmp_path, cloud(), NAMES, COLORS, 0.1)
    image = cv2.imread(str(tmp_path / "semantic.png"))[:, :1200, ::-1].astype(int)  # without the legend
    reddish = (image[..., 0] > 100) & (image[..., 1] < 60) & (image[..., 2] < 60)
    greenish = (image[..., 1] > 100) & (image[..., 0] < 60)
    assert reddish.sum() > 1000
    assert greenish.sum() > 10 * reddish.sum() / 4


def test_up_turns_the_picture_and_not_the_files(tmp_path: Path) -> None:
    points = cloud()
    turned = points.copy()
    turned["y"], turned["z"] = -points["z"], points["y"]  # as if the map were a camera's frame
    write_results(tmp_path, points, NAMES, COLORS, 0.1)
    upright = cv2.imread(str(tmp_path / "semantic.png"))
    write_results(tmp_path, turned, NAMES, COLORS, 0.1, up=(0.0, -1.0, 0.0))
    vertices = PlyData.read(str(tmp_path / "semantic_cloud.ply"))["vertex"]
    assert np.array_equal(vertices["y"], turned["y"])
    # The turn about up is free, so only what is seen is compared: the same things in the same colours.
    again = cv2.imread(str(tmp_path / "semantic.png"))
    for color in COLORS[1:, ::-1]:
        share = [(np.abs(image.astype(int) - color).sum(-1) < 120).mean() for image in (upright, again)]
        assert share[0] > 0
        assert abs(share[0] - share[1]) < 0.35 * share[0]


def test_points_that_no_camera_saw_are_grey() -> None:
    rgb = camera_color(np.array([0xFF010203, 0x00000000], np.uint32))
    assert rgb.tolist() == [[1, 2, 3], [150, 150, 150]]
