"""What the network reads of each voxel.

One network serves RGB-D and LiDAR: where a colour or a normal is missing, its channels are 0
and a flag says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

CHANNELS = {"one": 1, "color": 4, "normal": 3}
"""The inputs there are: a constant; RGB in -1..1 and whether it is known; the unit normal."""


def input_channels(inputs: Sequence[str]) -> int:
    """How many channels these inputs have together."""
    return sum(CHANNELS[name] for name in inputs)


def input_features(inputs: Sequence[str], color: Tensor, normal: Tensor) -> Tensor:
    """Channels of each point, in the order of ``inputs``.

    Args:
        inputs: names out of ``CHANNELS``.
        color: (N, 3) float32 RGB in 0..255; NaN where unknown.
        normal: (N, 3) float32; 0 where unknown.

    Returns:
        (N, C) float32.
    """
    known = ~color.isnan().any(dim=1, keepdim=True)
    rgb = torch.where(known, color / 127.5 - 1.0, 0.0)
    columns = {
        "one": torch.ones_like(color[:, :1]),
        "color": torch.cat([rgb, known.to(rgb.dtype)], dim=1),
        "normal": normal,
    }
    return torch.cat([columns[name] for name in inputs], dim=1)
