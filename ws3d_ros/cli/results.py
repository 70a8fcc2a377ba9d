"""The files that `ws3d demo` leaves: cloud, objects, pictures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from plyfile import PlyData, PlyElement
from scipy.spatial.transform import Rotation

from ws3d_ros.instances.instance import describe_points
from ws3d_ros.rendering.views import draw_map, save_png


def write_results(
    folder: Path,
    points: np.ndarray,
    names: list[str],
    colors: np.ndarray,
    voxel_size_m: float,
    up: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> dict[str, Any]:
    """Writes semantic_cloud.ply, instances.json, semantic.png and rgb.png.

    Args:
        points: the node's cloud as a structured array (x y z rgb label instance confidence rgb_camera).
        names, colors: name and (C, 3) uint8 colour of each label, ``unknown`` first.
        voxel_size_m: edge of the voxels that the points stand for.
        up: direction in the map that is up in the pictures; the files keep the map's own frame.

    Returns:
        ``labels`` (name to number of voxels) and ``instances`` (their number), for the report.
    """
    xyz = np.stack([points[axis] for axis in "xyz"], axis=1).astype(np.float32)
    label = points["label"].astype(np.int64)
    write_cloud(folder / "semantic_cloud.ply", xyz, colors[label], points)
    things = describe_points(
        xyz, label, points["confidence"], points["instance"].astype(np.int64), voxel_size_m
    )
    objects = [{"name": names[thing.label], **asdict(thing)} for thing in things]
    (folder / "instances.json").write_text(json.dumps(objects, indent=1) + "\n")
    counts = {names[i]: int(n) for i, n in enumerate(np.bincount(label, minlength=len(names))) if n}
    entries = legend(counts, names, colors)
    upright = xyz @ Rotation.align_vectors([(0.0, 0.0, 1.0)], [up])[0].as_matrix().T.astype(np.float32)
    save_png(folder / "semantic.png", draw_map(upright, colors[label], voxel_size_m, entries))
    save_png(folder / "rgb.png", draw_map(upright, camera_color(points["rgb_camera"]), voxel_size_m))
    return {"labels": counts, "instances": len(objects)}


def legend(counts: dict[str, int], names: list[str], colors: np.ndarray) -> list[tuple[str, np.ndarray, int]]:
    """Name, colour and voxels of each label that occurs, most frequent first."""
    entries = [(name, colors[names.index(name)], count) for name, count in counts.items()]
    return sorted(entries, key=lambda entry: -entry[2])


def camera_color(packed: np.ndarray) -> np.ndarray:
    """(N,) uint32 0xAARRGGBB to (N, 3) uint8, grey where no camera saw the point (A is 0)."""
    rgb = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)
    rgb[packed >> 24 == 0] = 150
    return rgb


def write_cloud(path: Path, xyz: np.ndarray, rgb: np.ndarray, points: np.ndarray) -> None:
    """A binary PLY that CloudCompare, MeshLab and Open3D open, coloured by label."""
    columns = [(axis, "f4") for axis in "xyz"] + [(channel, "u1") for channel in ("red", "green", "blue")]
    columns += [("label", "u4"), ("instance", "u4"), ("confidence", "f4")]
    rows = np.empty(len(xyz), dtype=columns)
    for i, axis in enumerate("xyz"):
        rows[axis] = xyz[:, i]
    for i, channel in enumerate(("red", "green", "blue")):
        rows[channel] = rgb[:, i]
    for name in ("label", "instance", "confidence"):
        rows[name] = points[name]
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(path))
