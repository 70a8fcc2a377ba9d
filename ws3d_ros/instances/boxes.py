"""Upright boxes around things, with a class and a score."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from ws3d_ros.instances.instance import Instance
from ws3d_ros.reconstruction.window import UNKNOWN, Window

TRIM = 0.01
"""Share of a thing's voxels that may stick out of its box on each side."""


def boxes(
    window: Window, label: Tensor, confidence: Tensor, instance: Tensor, structure: Tensor
) -> list[Instance]:
    """The things of a window by ascending id, each with the class that most of its confidence is in.

    Their ``confidence`` is a score: the mean confidence of the voxels of that class times their share in
    the thing. Names of structure count for nothing, and a thing without any other name has label UNKNOWN.

    Args:
        window: N voxels, for their places.
        label, confidence, instance: (N,) each; instance 0 is no thing.
        structure: (S,) labels of walls, floors and ceilings.
    """
    named, score = vote(label, confidence, instance, structure)
    points, of_voxel = window.points_m.cpu().numpy(), instance.cpu().numpy()
    order = np.argsort(of_voxel, kind="stable")
    ids, start = np.unique(of_voxel[order], return_index=True)
    parts = np.split(order, start[1:]) if len(ids) else []
    return [
        box_around(int(id_), points[rows], int(named[id_]), float(score[id_]), window.voxel_size_m)
        for id_, rows in zip(ids, parts, strict=True)
        if id_ > 0
    ]


def vote(label: Tensor, confidence: Tensor, instance: Tensor, structure: Tensor) -> tuple[Tensor, Tensor]:
    """(M + 1,) int64 class and float32 score of each instance 0..M, as :func:`boxes` says; 0 has neither."""
    count = int(instance.amax()) + 1 if len(instance) else 1
    names = int(label.amax()) + 1 if len(label) else 1
    says = (label != UNKNOWN) & ~torch.isin(label, structure.to(label.device))
    place = instance.long() * names + label.long()
    total = torch.zeros(count * names, device=label.device)
    total = total.index_add(0, place, torch.where(says, confidence.float(), 0.0)).view(count, names)
    most = total.max(dim=1)
    size = torch.bincount(instance.long(), minlength=count).clamp(min=1)
    named = torch.where(most.values > 0, most.indices, UNKNOWN)
    score = most.values / size
    named[0], score[0] = UNKNOWN, 0.0
    return named, score


def box_around(id_: int, points_m: np.ndarray, label: int, score: float, voxel_size_m: float) -> Instance:
    """The upright box of least footprint around (n, 3) voxel centroids, but for the few that stick out.

    Its sides are those of the smallest rectangle around the footprint (rotating calipers, Toussaint 1983),
    moved inwards past the share ``TRIM`` of the voxels.
    """
    half = voxel_size_m / 2
    (_, (length, width), degrees) = cv2.minAreaRect(np.ascontiguousarray(points_m[:, :2], np.float32))
    if width > length:
        degrees += 90.0
    yaw = float(np.radians((degrees + 90.0) % 180.0 - 90.0))
    axes = np.array([[np.cos(yaw), np.sin(yaw), 0.0], [-np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
    low, high = np.quantile(points_m @ axes.T, [TRIM, 1.0 - TRIM], axis=0)
    center = axes.T @ ((low + high) / 2)
    x, y, z = (float(edge) for edge in high - low + voxel_size_m)
    if y > x:  # trimming may swap them
        x, y, yaw = y, x, (yaw + np.pi) % np.pi - np.pi / 2
    return Instance(
        id=id_,
        label=label,
        voxels=len(points_m),
        confidence=score,
        centroid_m=_triple(points_m.mean(0)),
        low_m=_triple(points_m.min(0) - half),
        high_m=_triple(points_m.max(0) + half),
        box_center_m=_triple(center),
        box_size_m=(x, y, z),
        box_yaw_rad=yaw,
    )


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
