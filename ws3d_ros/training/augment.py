"""The same cloud as another robot might have seen it: turned, cropped, noisy, without colour."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ws3d_ros.reconstruction.keys import pack_keys
from ws3d_ros.training.datasets.labelled_cloud import NONE, LabelledCloud


@dataclass(frozen=True)
class Augmentation:
    """How much clouds are changed. Probabilities are per cloud.

    Attributes:
        aligned: chance of a yaw that is a multiple of 90°, as maps of robots that start along a wall have.
        scale: largest relative change of size.
        tilt_deg: largest roll and pitch.
        jitter_m: largest standard deviation of points.
        repaint: largest standard deviation of what is added to the RGB (0..255) of each thing.
        no_color: chance that all colours are unknown (LiDAR).
        no_normal: chance that all normals are unknown.
        keep: smallest share of points that is kept.
    """

    aligned: float = 0.4
    scale: float = 0.1
    tilt_deg: float = 2.0
    jitter_m: float = 0.01
    repaint: float = 40.0
    no_color: float = 0.3
    no_normal: float = 0.1
    keep: float = 0.7


def augment(cloud: LabelledCloud, how: Augmentation, rng: np.random.Generator) -> LabelledCloud:
    """A changed copy; labels go with their points."""
    cloud = _move(cloud, how, rng)
    cloud = _thin(cloud, rng.uniform(how.keep, 1.0), rng)
    return _recolor(cloud, how, rng)


def crop(
    cloud: LabelledCloud, voxels: int, voxel_size_m: float, rng: np.random.Generator, label: int = NONE
) -> LabelledCloud:
    """The points around a random place, out to the distance (seen from above) that holds ``voxels``.

    Seen from above, so that rooms keep floor and ceiling. The place is one of ``label``, if that is given
    and there is one.
    """
    if len(cloud) <= voxels:
        return cloud
    cells = np.floor(cloud.points_m / voxel_size_m).astype(np.int64)
    _, first = np.unique(pack_keys(torch.from_numpy(cells)).numpy(), return_index=True)
    if len(first) <= voxels:
        return cloud
    places = first[cloud.label[first] == label] if label != NONE else first
    centre = cells[rng.choice(places if len(places) else first), :2]
    distance = np.abs(cells[:, :2] - centre).max(1)
    reach = np.partition(distance[first], voxels)[voxels]
    return take(cloud, distance < max(reach, 1))


def overlay(cloud: LabelledCloud, other: LabelledCloud) -> LabelledCloud:
    """Both clouds in one place, floor on floor: things are told by their shape, not only by what is around.

    After Mix3D (Nekrasov et al., 3DV 2021). Colours, normals and what is told are kept if both have them.
    """

    def low(points_m: np.ndarray) -> np.ndarray:
        return np.array([*np.median(points_m[:, :2], axis=0), np.percentile(points_m[:, 2], 1.0)])

    def joined(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
        return None if a is None or b is None else np.concatenate([a, b])

    moved = other.points_m + (low(cloud.points_m) - low(other.points_m)).astype(np.float32)
    after = cloud.instance.max(initial=NONE) + 1
    things = np.where(other.instance >= 0, other.instance + after, other.instance)
    return replace(
        cloud,
        points_m=np.concatenate([cloud.points_m, moved]),
        color=joined(cloud.color, other.color),
        normal=joined(cloud.normal, other.normal),
        label=np.concatenate([cloud.label, other.label]),
        instance=np.concatenate([cloud.instance, things]),
        region=None,
        told=joined(cloud.told, other.told),
    )


def take(cloud: LabelledCloud, rows: np.ndarray) -> LabelledCloud:
    """The points of these rows (a mask or indices)."""
    return replace(
        cloud,
        points_m=cloud.points_m[rows],
        color=None if cloud.color is None else cloud.color[rows],
        normal=None if cloud.normal is None else cloud.normal[rows],
        label=cloud.label[rows],
        instance=cloud.instance[rows],
        region=None if cloud.region is None else cloud.region[rows],
        told=None if cloud.told is None else cloud.told[rows],
    )


def _move(cloud: LabelledCloud, how: Augmentation, rng: np.random.Generator) -> LabelledCloud:
    aligned = rng.random() < how.aligned
    yaw = rng.integers(4) * np.pi / 2 if aligned else rng.uniform(0.0, 2.0 * np.pi)
    roll, pitch = (0.0, 0.0) if aligned else np.radians(rng.uniform(-how.tilt_deg, how.tilt_deg, 2))
    turn = rotation(yaw, pitch, roll)
    if rng.random() < 0.5:
        turn = turn @ np.diag([1.0, -1.0, 1.0])  # a mirror image
    points = cloud.points_m @ turn.T * rng.uniform(1.0 - how.scale, 1.0 + how.scale)
    points += rng.normal(0.0, rng.uniform(0.0, how.jitter_m), points.shape)
    points += rng.uniform(-1.0, 1.0, 3)  # where the grid lies is chance, too
    normal = None if cloud.normal is None else (cloud.normal @ turn.T).astype(np.float32)
    return replace(cloud, points_m=points.astype(np.float32), normal=normal)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) rotation about z, then y, then x (REP-103: fixed axes roll, pitch, yaw), radians."""
    (cz, cy, cx), (sz, sy, sx) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    product: np.ndarray = about_z @ about_y @ about_x
    return product


def _thin(cloud: LabelledCloud, share: float, rng: np.random.Generator) -> LabelledCloud:
    return take(cloud, rng.random(len(cloud.points_m)) < share)


def _recolor(cloud: LabelledCloud, how: Augmentation, rng: np.random.Generator) -> LabelledCloud:
    color, normal = cloud.color, cloud.normal
    if color is None or rng.random() < how.no_color:
        color = None
    else:
        # Exposure and white balance of another camera, other paint on each thing, and pixel noise.
        gain = rng.uniform(0.7, 1.5) * rng.uniform(0.9, 1.1, 3)
        things, thing = np.unique(cloud.instance, return_inverse=True)
        paint = rng.normal(0.0, rng.uniform(0.0, how.repaint), (len(things), 3))
        noise = rng.normal(0.0, rng.uniform(0.0, 8.0), color.shape)
        color = np.clip(color * gain + paint[thing] + noise, 0.0, 255.0).astype(np.uint8)
    if normal is None or rng.random() < how.no_normal:
        normal = None
    else:
        normal = normal + rng.normal(0.0, rng.uniform(0.0, 0.15), normal.shape)
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        known = np.abs(cloud.normal).sum(1, keepdims=True) > 0  # type: ignore[arg-type]
        normal = np.where(known, normal / np.maximum(length, 1e-6), 0.0).astype(np.float32)
    return replace(cloud, color=color, normal=normal)
