"""Single objects: connected voxels of one label, with ids that last.

Things that cannot be counted (floor, wall, road) are grouped like all others: they come out as a
few large pieces, which is also what a planner wants to know about them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ws3d_ros.reconstruction.window import UNKNOWN, Window


@dataclass(frozen=True)
class Instance:
    """One object of the map.

    Attributes:
        id: positive, stays with the object.
        label: index into the vocabulary plus one.
        voxels: how many.
        confidence: mean over its voxels, 0..1.
        centroid_m: (3,) mean of its voxels, map frame.
        low_m, high_m: (3,) corners of the axis-aligned box around its voxels.
        box_center_m: (3,) centre of the upright box of least footprint.
        box_size_m: (3,) its length, width (length >= width) and height.
        box_yaw_rad: turn of its length from the map's x axis about z, in [-pi/2, pi/2).
    """

    id: int
    label: int
    voxels: int
    confidence: float
    centroid_m: tuple[float, float, float]
    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]
    box_center_m: tuple[float, float, float]
    box_size_m: tuple[float, float, float]
    box_yaw_rad: float


def group(label: Tensor, before: Tensor, table: Tensor, min_voxels: int, next_id: int) -> Tensor:
    """Instance of each voxel: its connected component among voxels of the same label.

    A component keeps an id when it holds more of that id's voxels than any other component, and
    that id is also the one that most of its voxels had: when an object is split, its larger part
    keeps the name, and when two are joined, the larger one's name stays. All others are new.

    Args:
        label: (N,) integer, ``UNKNOWN`` for no object.
        before: (N,) int32 ids from the last time, 0 for none.
        table: (N, 26) from :func:`ws3d_ros.alignment.neighbours.neighbour_table`.
        min_voxels: smaller components are no object.
        next_id: first id that was never given.

    Returns:
        (N,) int32, 0 for none.
    """
    component = components(label.cpu().numpy(), table.cpu().numpy(), min_voxels)
    ids = inherit(component, before.cpu().numpy(), next_id)
    return torch.from_numpy(ids).to(label.device)


def components(label: np.ndarray, table: np.ndarray, min_voxels: int) -> np.ndarray:
    """(N,) int64: number of the component of each voxel from 1 on, 0 for unknown and small ones."""
    count = len(label)
    half = table[:, :13]  # each pair once
    row, side = np.nonzero(half >= 0)
    column = half[row, side]
    alike = (label[row] == label[column]) & (label[row] != UNKNOWN)
    edges = coo_matrix((np.ones(alike.sum(), np.int8), (row[alike], column[alike])), shape=(count, count))
    _, component = connected_components(edges, directed=False)
    size = np.bincount(component, minlength=1)
    keep = (size[component] >= min_voxels) & (label != UNKNOWN)
    number = np.zeros(count, np.int64)
    number[keep] = np.unique(component[keep], return_inverse=True)[1] + 1
    return number


def inherit(component: np.ndarray, before: np.ndarray, next_id: int) -> np.ndarray:
    """(N,) int32 ids for components 1.., see :func:`group`."""
    parts = int(component.max(initial=0))
    ids = np.zeros(parts + 1, np.int64)
    shared = (component > 0) & (before > 0)
    pairs, votes = np.unique(np.stack([component[shared], before[shared]]), axis=1, return_counts=True)
    # Most votes first; on a tie the smaller component and the older id.
    part, old = pairs[:, np.lexsort((pairs[1], pairs[0], -votes))]
    favourite_of_part = np.unique(part, return_index=True)[1]
    favourite_of_old = np.unique(old, return_index=True)[1]
    mutual = np.intersect1d(favourite_of_part, favourite_of_old)
    ids[part[mutual]] = old[mutual]
    new = np.nonzero(ids[1:] == 0)[0] + 1
    ids[new] = next_id + np.arange(len(new))
    return ids[component].astype(np.int32)


def describe(window: Window) -> list[Instance]:
    """The objects of a window by ascending id, from its ``instance``, ``label`` and ``confidence``."""
    return describe_points(
        window.points_m.cpu().numpy(),
        window.label.cpu().numpy(),
        window.confidence.float().cpu().numpy(),
        window.instance.cpu().numpy(),
        window.voxel_size_m,
    )


def describe_points(
    points_m: np.ndarray, label: np.ndarray, confidence: np.ndarray, instance: np.ndarray, voxel_size_m: float
) -> list[Instance]:
    """The same from plain arrays: (N, 3) centroids, and (N,) each; instance 0 is no object."""
    order = np.argsort(instance, kind="stable")
    order = order[instance[order] > 0]
    ids, start = np.unique(instance[order], return_index=True)
    return [
        describe_one(int(id_), points_m[rows], label[rows], confidence[rows], voxel_size_m)
        for id_, rows in zip(ids, np.split(order, start[1:]), strict=False)  # no ids: one empty part
    ]


def describe_one(
    id_: int, points_m: np.ndarray, label: np.ndarray, confidence: np.ndarray, voxel_size_m: float
) -> Instance:
    """One object from its voxels: (n, 3) centroids, (n,) labels and (n,) confidences."""
    low = points_m.min(0) - voxel_size_m / 2
    high = points_m.max(0) + voxel_size_m / 2
    (x, y), (length, width), degrees = cv2.minAreaRect(np.ascontiguousarray(points_m[:, :2], np.float32))
    if width > length:
        length, width, degrees = width, length, degrees + 90.0
    return Instance(
        id=id_,
        label=int(np.bincount(label).argmax()),
        voxels=len(points_m),
        confidence=float(confidence.mean()),
        centroid_m=triple(points_m.mean(0)),
        low_m=triple(low),
        high_m=triple(high),
        box_center_m=(float(x), float(y), float(low[2] + high[2]) / 2),
        box_size_m=(length + voxel_size_m, width + voxel_size_m, float(high[2] - low[2])),
        box_yaw_rad=float(np.radians((degrees + 90.0) % 180.0 - 90.0)),
    )


def triple(values: np.ndarray) -> tuple[float, float, float]:
    """(3,) array to plain floats."""
    return float(values[0]), float(values[1]), float(values[2])
