"""Small windows for tests of what works on them."""

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.reconstruction.voxel_map import pack_keys, unpack_keys
from ws3d_ros.reconstruction.window import Window

VOXEL_M = 0.05


def window(
    cells: Tensor,
    *,
    color: Tensor | None = None,
    normal: Tensor | None = None,
    label: Tensor | None = None,
    instance: Tensor | None = None,
    channels: int = 4,
) -> Window:
    """A window of whole cells (N, 3), points at their centres; rows of all arguments are reordered
    to ascending keys."""
    keys, order = pack_keys(cells).sort()
    count = len(keys)

    def arranged(values: Tensor | None, default: Tensor) -> Tensor:
        return default if values is None else values[order]

    return Window(
        voxel_size_m=VOXEL_M,
        stamp_ns=0,
        keys=keys,
        points_m=(unpack_keys(keys).float() + 0.5) * VOXEL_M,
        color=arranged(color, torch.full((count, 3), 128.0)),
        normal=arranged(normal, torch.zeros(count, 3)),
        weight=torch.ones(count),
        feature=torch.zeros(count, channels, dtype=torch.float16),
        feature_weight=torch.zeros(count),
        label=arranged(label, torch.zeros(count, dtype=torch.int16)),
        confidence=torch.full((count,), 0.5, dtype=torch.float16),
        instance=arranged(instance, torch.zeros(count, dtype=torch.int32)),
    )


def random_cells(count: int, reach: int, seed: int) -> Tensor:
    """Distinct random cells, negative ones too."""
    cells = np.random.default_rng(seed).integers(-reach, reach, (count, 3))
    return torch.from_numpy(np.unique(cells, axis=0))


def box_cells(low: tuple[int, int, int], high: tuple[int, int, int]) -> Tensor:
    """All cells from low to high, high not included."""
    axes = [torch.arange(a, b) for a, b in zip(low, high, strict=True)]
    return torch.cartesian_prod(*axes)
