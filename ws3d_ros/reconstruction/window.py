"""What the slow stages read from the map, and what they give back.

A :class:`Window` is a copy: its reader never blocks the map's writer. Results return as a
:class:`Patch`, addressed by voxel key, so that voxels that vanished meanwhile are simply
skipped and voxels that are new are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

UNKNOWN = 0
"""Label of a voxel that has no name. Label ``i`` > 0 is ``vocabulary.names[i - 1]``."""


@dataclass(frozen=True)
class Window:
    """An immutable copy of the occupied voxels around a place. N voxels, K feature channels.

    Attributes:
        voxel_size_m: edge of a voxel.
        stamp_ns: newest measurement in the map when the copy was made.
        keys: (N,) int64 packed voxel coordinates, ascending, see ``voxel_map.pack_keys``.
        points_m: (N, 3) float32 centroids in the map frame.
        color: (N, 3) float32 RGB in 0..255; NaN where no camera has seen the voxel.
        normal: (N, 3) float32 unit normals towards the sensor that saw them; 0 where unknown.
        weight: (N,) float32 evidence for the voxel's geometry.
        feature: (N, K) float16 mean compressed image feature; 0 where there is none. (N, 0) in a copy that
            was made without.
        feature_weight: (N,) float32 evidence for the feature; 0 where there is none.
        label: (N,) int16, UNKNOWN or an index into the vocabulary plus one.
        confidence: (N,) float16 in 0..1.
        instance: (N,) int32, 0 for none.
        embedding: (N, E) float16 unit vectors as the network read them last, compressed; 0 where it has not
            read. None for a window that is not out of a map, or a copy that was made without.
        moves: ``VoxelMap.moves`` when the copy was made: keys mean the same places as long as it is the same.
    """

    voxel_size_m: float
    stamp_ns: int
    keys: Tensor
    points_m: Tensor
    color: Tensor
    normal: Tensor
    weight: Tensor
    feature: Tensor
    feature_weight: Tensor
    label: Tensor
    confidence: Tensor
    instance: Tensor
    embedding: Tensor | None = None
    moves: int = 0

    def __len__(self) -> int:
        return int(self.keys.shape[0])


def nearest(window: Window, center_m: Tensor, most: int) -> Window:
    """The ``most`` voxels of a window that are nearest to a place (3,), in the window's order."""
    if len(window) <= most:
        return window
    away_m = (window.points_m - center_m.to(window.points_m)).norm(dim=1)
    rows = away_m.topk(most, largest=False).indices.sort().values
    columns: dict[str, Any] = {
        name: values[rows] for name, values in vars(window).items() if isinstance(values, Tensor)
    }
    return replace(window, **columns)


@dataclass(frozen=True)
class Patch:
    """What a slow stage learnt about M voxels. A field that is None leaves the map as it is.

    Attributes:
        keys: (M,) int64 packed voxel coordinates, unique.
        feature_sum: (M, K) float32 sum of weight times compressed feature, to be merged into
            the running mean. Comes with ``feature_weight``.
        feature_weight: (M,) float32 sum of weights.
        embedding, label, confidence, instance: as in :class:`Window`; they replace what was there.
    """

    keys: Tensor
    feature_sum: Tensor | None = None
    feature_weight: Tensor | None = None
    embedding: Tensor | None = None
    label: Tensor | None = None
    confidence: Tensor | None = None
    instance: Tensor | None = None


def with_features(window: Window, seen: Patch) -> Window:
    """The window with a patch's features merged in, as the map will have them; feature is float32.

    Args:
        window: N voxels.
        seen: features of some of them.
    """
    assert seen.feature_sum is not None
    assert seen.feature_weight is not None
    row = torch.searchsorted(window.keys, seen.keys)
    feature, weight = window.feature.float(), window.feature_weight.clone()
    total = feature[row] * weight[row, None] + seen.feature_sum
    weight[row] += seen.feature_weight
    feature[row] = total / weight[row, None]
    return replace(window, feature=feature, feature_weight=weight)
