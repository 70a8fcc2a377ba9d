"""The map: measurements in, windows out. One writer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.config import InputConfig, MapConfig
from ws3d_ros.reconstruction.carving import (
    HIT,
    MISS,
    MOST,
    chunks_in_view,
    seen_through_by_frame,
    seen_through_by_scan,
)
from ws3d_ros.reconstruction.fusion import frame_points, reduce, scan_points
from ws3d_ros.reconstruction.store import CHUNK, VoxelStore, pack_keys, unpack_keys
from ws3d_ros.reconstruction.window import Patch, Window
from ws3d_ros.sensors.frame import Frame, Scan

__all__ = ["Fused", "VoxelMap", "pack_keys", "unpack_keys"]

MOST_WEIGHT = 200.0
"""Running means forget beyond this much evidence, so that a surface that moved is followed."""
MOST_FEATURE_WEIGHT = 50.0
"""The same for image features."""
KEPT_SHARE = 0.9
"""Eviction goes down to this share of the budget, so that not every frame evicts."""


@dataclass(frozen=True)
class Fused:
    """What one measurement did to the map, in voxels (points: in points)."""

    points: int
    touched: int
    new: int
    removed: int
    evicted: int
    out_of_range: int


class VoxelMap:
    """Running means over voxels, in chunks, within a byte budget.

    Args:
        config: voxel size, budget, carving.
        inputs: nearest and farthest depth and range that count.
        feature_channels: K of the compressed image features.
        device: where the map lives.
    """

    def __init__(
        self, config: MapConfig, inputs: InputConfig, feature_channels: int, device: torch.device
    ) -> None:
        self.config, self.inputs, self.device = config, inputs, device
        self.stamp_ns = 0
        self.evicted = 0
        half, single = torch.float16, torch.float32
        self.store = VoxelStore(
            {
                "point": ((3,), single),
                "normal": ((3,), single),
                "weight": ((), single),
                "color": ((3,), single),
                "color_weight": ((), single),
                "log_odds": ((), single),
                "feature": ((feature_channels,), half),
                "feature_weight": ((), single),
                "label": ((), torch.int16),
                "confidence": ((), half),
                "instance": ((), torch.int32),
            },
            device,
        )

    def __len__(self) -> int:
        """Number of voxels."""
        return self.store.rows

    @property
    def bytes(self) -> int:
        """Memory that the map takes."""
        return self.store.bytes

    def clear(self) -> None:
        """Forgets everything."""
        self.store.clear()
        self.stamp_ns = 0

    def integrate(self, measurement: Frame | Scan) -> Fused:
        """Adds one measurement, carves what it looks through, and keeps to the budget.

        A frame without depth changes nothing here; see :meth:`paint`.

        Raises:
            ValueError: if the pose or the points are not finite. The map is as it was.
        """
        pose = measurement.T_map_camera if isinstance(measurement, Frame) else measurement.T_map_lidar
        if not np.isfinite(pose).all():
            raise ValueError(f"the pose of '{measurement.sensor}' is not finite")
        size = self.config.voxel_size_m
        if isinstance(measurement, Scan):
            if not measurement.points_m.isfinite().all():
                raise ValueError(f"a sweep of '{measurement.sensor}' has points that are not finite")
            points = scan_points(measurement, self.inputs.min_range_m, self.inputs.max_range_m)
        elif measurement.depth_m is not None:
            points = frame_points(measurement, self.inputs.min_depth_m, self.inputs.max_depth_m, size)
        else:
            return Fused(0, 0, 0, 0, 0, 0)
        self.stamp_ns = max(self.stamp_ns, measurement.stamp_ns)
        reduced, out_of_range = reduce(points, size)
        evicted = self._make_room(len(reduced.key), torch.as_tensor(pose[:3, 3], dtype=torch.float32))
        row, new = self.store.insert(reduced.key)
        column = self.store.column
        share = merge(column["weight"], row, reduced.weight, MOST_WEIGHT)
        blend(column["point"], row, reduced.position_m, share)
        blend(column["normal"], row, reduced.normal, share)
        if reduced.color is not None:
            blend(
                column["color"],
                row,
                reduced.color,
                merge(column["color_weight"], row, reduced.weight, MOST_WEIGHT),
            )
        column["log_odds"][row] = (column["log_odds"][row] + HIT).clamp(max=MOST)
        removed = self._carve(measurement, row) if self.config.carving else 0
        return Fused(len(points.weight), len(row), int(new.sum()), removed, evicted, out_of_range)

    def paint(self, keys: Tensor, color: Tensor) -> None:
        """Adds one look of colour to voxels: keys (M,) unique, color (M, 3) float32 RGB in 0..255."""
        row = self.store.find(keys)
        found = row >= 0
        row, color = row[found], color[found]
        share = merge(
            self.store.column["color_weight"], row, torch.ones(len(row), device=self.device), MOST_WEIGHT
        )
        blend(self.store.column["color"], row, color, share)

    def apply(self, patch: Patch) -> int:
        """Merges what a slow stage learnt; returns how many of its voxels still exist."""
        row = self.store.find(patch.keys)
        found = row >= 0
        row = row[found]
        column = self.store.column
        if patch.feature_sum is not None and patch.feature_weight is not None:
            weight = patch.feature_weight[found]
            mean = patch.feature_sum[found] / weight.clamp(min=1e-9)[:, None]
            share = merge(column["feature_weight"], row, weight, MOST_FEATURE_WEIGHT)
            blend(column["feature"], row, mean, share)
        for name in ("label", "confidence", "instance"):
            values = getattr(patch, name)
            if values is not None:
                column[name][row] = values[found].to(column[name].dtype)
        return len(row)

    def window(self, center_m: Tensor | np.ndarray, radius_m: float) -> Window:
        """A copy of the voxels within ``radius_m`` of (3,) ``center_m``."""
        center = torch.as_tensor(center_m, dtype=torch.float32, device=self.device)
        slot, middle_m = self._chunks()
        row = self.store.rows_of(slot[(middle_m - center).norm(dim=1) <= radius_m + self._half_diagonal_m])
        near = (self.store.column["point"][row] - center).norm(dim=1) <= radius_m
        return self._copy(row[near])

    def everything(self) -> Window:
        """A copy of all voxels."""
        return self._copy(self.store.rows_of(self._chunks()[0]))

    def _copy(self, row: Tensor) -> Window:
        column = self.store.column
        row = row[column["weight"][row] >= self.config.min_weight]
        row = row[torch.argsort(column["key"][row])]
        color = torch.where(column["color_weight"][row, None] > 0, column["color"][row], torch.nan)
        return Window(
            voxel_size_m=self.config.voxel_size_m,
            stamp_ns=self.stamp_ns,
            keys=column["key"][row],
            points_m=column["point"][row],
            color=color,
            normal=torch.nn.functional.normalize(column["normal"][row], dim=1),
            weight=column["weight"][row],
            feature=column["feature"][row],
            feature_weight=column["feature_weight"][row],
            label=column["label"][row],
            confidence=column["confidence"][row],
            instance=column["instance"][row],
        )

    @property
    def _half_diagonal_m(self) -> float:
        return CHUNK * self.config.voxel_size_m * 3**0.5 / 2

    def _chunks(self) -> tuple[Tensor, Tensor]:
        """Slots of all chunks and their centres (C, 3) in metres."""
        slot, middle = self.store.chunks()
        return slot, middle * self.config.voxel_size_m

    def _carve(self, measurement: Frame | Scan, hit: Tensor) -> int:
        """Takes log-odds from what the measurement looks through; returns how many voxels went."""
        size, column = self.config.voxel_size_m, self.store.column
        slot, middle_m = self._chunks()
        if isinstance(measurement, Frame):
            near = chunks_in_view(middle_m, self._half_diagonal_m, measurement, self.inputs.max_depth_m)
            row = self.store.rows_of(slot[near])
            through = seen_through_by_frame(column["point"][row], measurement, size, self.inputs.max_depth_m)
        else:
            origin = torch.as_tensor(measurement.T_map_lidar[:3, 3], dtype=torch.float32, device=self.device)
            near = (middle_m - origin).norm(dim=1) < self.inputs.max_range_m
            row = self.store.rows_of(slot[near])
            through = seen_through_by_scan(column["point"][row], measurement, size)
        row = row[through]
        loss = torch.full((len(row),), MISS, device=self.device)
        loss[torch.isin(row, hit)] = 0.0  # it was hit by this very measurement
        column["log_odds"][row] -= loss
        gone = row[column["log_odds"][row] < 0]
        self.store.remove(gone)
        return len(gone)

    def _make_room(self, wanted: int, center_m: Tensor) -> int:
        """Forgets the farthest chunks if ``wanted`` more voxels could break the budget."""
        budget = self.config.budget_mb * 2**20
        # Tensors grow by half, so this much of the budget may be in use.
        limit = budget / 1.5
        if self.store.used_bytes + wanted * self.store.row_bytes <= limit:
            return 0
        slot, middle_m = self._chunks()
        order = torch.argsort((middle_m - center_m.to(self.device)).norm(dim=1), descending=True)
        voxels = self.store.chunk_voxels[slot[order]].to(torch.int64)
        freed = (voxels * self.store.row_bytes + self.store.chunk_bytes).cumsum(0)
        target = self.store.used_bytes + wanted * self.store.row_bytes - KEPT_SHARE * limit
        row = self.store.rows_of(slot[order[: int((freed < target).sum()) + 1]])
        self.store.remove(row)
        self.evicted += len(row)
        return len(row)


def merge(total: Tensor, row: Tensor, weight: Tensor, most: float) -> Tensor:
    """Adds weights to ``total[row]``, up to ``most``; returns the share of the new in the mean, (N,)."""
    before = total[row]
    share = weight / (before + weight).clamp(min=1e-9)
    total[row] = (before + weight).clamp(max=most)
    return share


def blend(mean: Tensor, row: Tensor, value: Tensor, share: Tensor) -> None:
    """Moves ``mean[row]`` towards ``value`` by ``share``."""
    before = mean[row].float()
    mean[row] = (before + (value - before) * share[:, None]).to(mean.dtype)
