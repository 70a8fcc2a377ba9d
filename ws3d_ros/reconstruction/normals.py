"""Normals of a cloud that has none and of which nobody knows from where it was seen."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

NEIGHBOURS = 20
"""Points, itself included, through which the plane of a point is laid."""
SURROUNDINGS_M = 3.0
"""What is as near as this tells which side of a surface is the room."""
_BLOCK_M = 0.4  # surroundings are counted in blocks of this edge
_AT_ONCE = 100_000  # points, which bounds memory


def estimate_normals(points_m: Tensor) -> Tensor:
    """Normals of the planes through each point's neighbours (Hoppe et al., SIGGRAPH 1992).

    Sensors stand where there is room, so that normals are turned to the middle of what is around: on the
    scenes that training sees this is right for 85 to 99 of 100 points.

    Args:
        points_m: (N, 3) float32, evenly spread, such as the means of voxels.

    Returns:
        (N, 3) float32 unit, on the same device; 0 where N is too small for a plane.
    """
    points = points_m.double().cpu().numpy()
    normal = np.zeros_like(points)
    if len(points) >= 3:
        tree = cKDTree(points)
        for begin in range(0, len(points), _AT_ONCE):
            part = slice(begin, begin + _AT_ONCE)
            _, near = tree.query(points[part], min(NEIGHBOURS, len(points)))
            around = points[near] - points[near].mean(axis=1, keepdims=True)
            _, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))
            normal[part] = axes[:, :, 0]  # of the least spread
        away = (normal * (_middle_of_surroundings(points) - points)).sum(axis=1) < 0
        normal[away] *= -1.0
    return torch.from_numpy(normal).to(points_m)


def _middle_of_surroundings(points: np.ndarray) -> np.ndarray:
    """(N, 3) mean of the blocks around each point, each counted once however dense it is."""
    _, block = np.unique(np.floor(points / _BLOCK_M).astype(np.int64), axis=0, return_inverse=True)
    block = block.ravel()
    count = np.bincount(block)
    centre = np.stack([np.bincount(block, points[:, i]) / count for i in range(3)], axis=1)
    near = cKDTree(centre).query_ball_point(centre, SURROUNDINGS_M)
    return np.asarray(np.stack([centre[rows].mean(axis=0) for rows in near])[block])
