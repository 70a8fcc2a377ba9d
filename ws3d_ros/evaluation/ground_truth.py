"""What each voxel truly is, by the vote of the labelled pixels that fall into it."""

from __future__ import annotations

import torch
from torch import Tensor

from ws3d_ros.reconstruction.voxel_map import pack_keys
from ws3d_ros.sensors.camera import back_project
from ws3d_ros.sensors.frame import FloatArray, Frame, Scan

STRIDE = 2
"""Every 2nd pixel of every 2nd row votes, which is plenty, and leaves out voxels that a single pixel
grazes."""


class VoxelVotes:
    """Counts, voxel by voxel, the classes (or the instances) of labelled pixels and LiDAR points.

    They become voxels exactly as in the map: back-projected, moved to the map frame, floored.
    """

    def __init__(self, voxel_size_m: float, min_depth_m: float, max_depth_m: float) -> None:
        self._voxel_size_m = voxel_size_m
        self._min_depth_m, self._max_depth_m = min_depth_m, max_depth_m
        self._cells = torch.empty(0, 2, dtype=torch.int64)
        self._counts = torch.empty(0, dtype=torch.int64)

    def add(self, frame: Frame, truth: Tensor) -> None:
        """Adds a frame with depth; ``truth`` is (H, W) integer classes, 0 for none."""
        assert frame.depth_m is not None
        points = back_project(frame.depth_m, frame.camera, STRIDE)
        truth = truth[::STRIDE, ::STRIDE]
        depth = points[..., 2]
        used = (depth >= self._min_depth_m) & (depth <= self._max_depth_m) & (truth > 0)
        self._vote(points[used], frame.T_map_camera, truth[used])

    def add_scan(self, scan: Scan, truth: Tensor) -> None:
        """Adds a sweep; ``truth`` is (N,) integer classes, 0 for none. The limits are those of its range."""
        distance = scan.points_m.norm(dim=1)
        used = (distance >= self._min_depth_m) & (distance <= self._max_depth_m) & (truth > 0)
        self._vote(scan.points_m[used], scan.T_map_lidar, truth[used])

    def _vote(self, points_m: Tensor, T_map_sensor: FloatArray, truth: Tensor) -> None:
        pose = torch.from_numpy(T_map_sensor)
        cells = ((points_m.double() @ pose[:3, :3].T + pose[:3, 3]) / self._voxel_size_m).floor().long()
        votes = torch.stack([pack_keys(cells), truth.long()], dim=1)
        new, counts = votes.unique(dim=0, return_counts=True)
        both, place = torch.cat([self._cells, new]).unique(dim=0, return_inverse=True)
        self._counts = torch.zeros(len(both), dtype=torch.int64).index_add_(
            0, place, torch.cat([self._counts, counts])
        )
        self._cells = both

    def majority(self) -> tuple[Tensor, Tensor]:
        """Keys (N,) int64, ascending, and the class with most votes (N,) int64; ties: the first class."""
        most_first = (-self._counts).argsort(stable=True)  # cells ascend by key, then by class
        by_key = most_first[self._cells[most_first, 0].argsort(stable=True)]
        cells = self._cells[by_key]
        first = torch.ones(len(cells), dtype=torch.bool)
        first[1:] = cells[1:, 0] != cells[:-1, 0]
        return cells[first, 0], cells[first, 1]


def look_up(keys: Tensor, wanted: Tensor, values: Tensor, absent: float) -> Tensor:
    """``values`` at ``wanted`` keys; ``absent`` where ``keys`` (ascending) lacks one."""
    if len(keys) == 0:
        return torch.full_like(wanted, absent, dtype=values.dtype)
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == wanted, values[place], absent)
