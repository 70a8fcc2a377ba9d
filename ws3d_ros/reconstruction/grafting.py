"""Voxels taken out of a store as columns, and put in where others may be already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ws3d_ros.reconstruction import store as column
from ws3d_ros.reconstruction.anchors import START_M, Bend
from ws3d_ros.reconstruction.carving import MOST
from ws3d_ros.reconstruction.keys import unpack_keys
from ws3d_ros.reconstruction.store import VoxelStore
from ws3d_ros.reconstruction.transplant import grouped, placed

MOST_WEIGHT = 200.0
"""Weights end here, so that means keep following what changes."""
_EDGE = 1e-3  # of a voxel: rounding to float32 shall not push a centroid over the edge
_HERE = ("chunk", "way_m")  # mean nothing elsewhere


@dataclass(frozen=True)
class Restored:
    """What became of voxels that were given back to a map.

    Attributes:
        voxels: of these that the map has now.
        met: of these, how many it had already.
        evicted: voxels forgotten, or not taken in, for want of room.
    """

    voxels: int
    met: int
    evicted: int


@dataclass(frozen=True)
class Moved:
    """What became of the keys of voxels that were moved, M of them.

    Attributes:
        before: (M,) int64 ascending.
        after: (M,) int64; several may have come together.
        number: ``VoxelMap.moves`` from then on.
    """

    before: Tensor
    after: Tensor
    number: int

    def __len__(self) -> int:
        return len(self.before)

    def renamed(self, keys: Tensor) -> Tensor:
        """(N,) keys from before as they are now; those of voxels that did not move stay."""
        if len(self) == 0:
            return keys
        at = torch.searchsorted(self.before, keys).clamp(max=len(self) - 1)
        return torch.where(self.before[at] == keys, self.after[at], keys)


def column_names(store: VoxelStore) -> tuple[str, ...]:
    """Of :func:`columns`."""
    return tuple(name for name in store.rows.names if name not in _HERE)


def columns(store: VoxelStore, rows: Tensor) -> dict[str, Tensor]:
    """A copy of voxels as they are stored, (n, …) each, but for what means nothing elsewhere."""
    return {name: store.rows[name][rows] for name in column_names(store)}


def take_in(store: VoxelStore, columns: Mapping[str, Tensor], near: Tensor, stamp_ns: int) -> Restored:
    """See :meth:`VoxelMap.restore`; ``near`` (3,) is the robot's voxel, ``stamp_ns`` the map's newest."""
    data = store.rows
    count = len(columns["key"])
    taken = {}
    for name in column_names(store):
        values, ours = columns.get(name), data[name]
        if values is None:
            values = ours.new_zeros((count, *ours.shape[1:]))
        if values.shape[1:] != ours.shape[1:]:
            raise ValueError(
                f"'{name}' has {tuple(values.shape[1:])} values a voxel, not {tuple(ours.shape[1:])}"
            )
        taken[name] = values.to(ours)
    rows = store.find(unpack_keys(taken["key"]))
    here = rows[rows >= 0]
    if len(here):
        taken = grouped({name: torch.cat([data[name][here], taken[name]]) for name in taken})
        rows = store.find(unpack_keys(taken["key"]))
    state = taken["state"]
    for weight in (column.WEIGHT, column.COLOR_WEIGHT):
        state[:, weight].clamp_(max=MOST_WEIGHT)
    state[:, column.LOG_ODDS].clamp_(max=MOST)
    store.mark_seen(here, stamp_ns)
    absent = (rows < 0).nonzero()[:, 0]
    added, evicted = store.add(unpack_keys(taken["key"][absent]), near, stamp_ns)
    rows[absent] = added
    kept = rows >= 0
    for name, values in taken.items():
        data[name][rows[kept]] = values[kept]
    lost = int((added < 0).sum())
    return Restored(count - lost, len(here), evicted + lost)


def bend(
    store: VoxelStore, by: Bend | None, voxel_size_m: float, near: Tensor, stamp_ns: int, number: int
) -> Moved:
    """See :meth:`VoxelMap.follow`. Afterwards all voxels stay where they are: a new stretch begins."""
    way_m = store.rows["way_m"]
    rows = (way_m >= START_M / 2).nonzero()[:, 0]
    before = after = store.rows["key"][rows]
    if by is not None and len(rows):
        taken = columns(store, rows)
        taken = placed(
            {**taken, "before": before}, *_carried(by, way_m[rows], taken, voxel_size_m), voxel_size_m
        )
        before, after = taken.pop("before"), taken["key"]
        store.remove(rows)
        taken = grouped(taken)  # the same name: two copies of a large map are enough
        take_in(store, taken, near, stamp_ns)
    store.rows["way_m"].zero_()
    changed = (before != after).nonzero()[:, 0]
    before, order = before[changed].sort()
    return Moved(before, after[changed][order], number)


def _carried(
    by: Bend, way_m: Tensor, columns: Mapping[str, Tensor], voxel_size_m: float
) -> tuple[Tensor, Tensor]:
    """Centroids and normals (N, 3) of voxels after a correction.

    A voxel goes to the cell that its middle comes to lie in, with its centroid held inside: neighbours then
    stay neighbours. By centroids alone more of them would meet, and leave holes (benchmarks/following.py).
    """
    state = columns["state"]
    middle = (unpack_keys(columns["key"]) + 0.5) * voxel_size_m
    offset = state[:, column.POINT] - middle
    middle, offset, normal = by.carry(way_m, middle, offset, state[:, column.NORMAL])
    low = (middle / voxel_size_m).floor() * voxel_size_m
    inside = _EDGE * voxel_size_m
    return torch.clamp(middle + offset, low + inside, low + voxel_size_m - inside), normal
