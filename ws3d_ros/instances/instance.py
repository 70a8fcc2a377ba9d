"""One object of the map, and how it is described from its voxels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


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


def describe_points(
    points_m: np.ndarray, label: np.ndarray, confidence: np.ndarray, instance: np.ndarray, voxel_size_m: float
) -> list[Instance]:
    """The objects of a cloud by ascending id.

    Args:
        points_m: (N, 3) centroids of voxels.
        label, confidence, instance: (N,) of each; instance 0 is no object.
        voxel_size_m: edge of a voxel.
    """
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
