"""How far a voxel's input can reach through a network, by its architecture alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ws3d_ros.network.sparse_tensor import SparseTensor
from ws3d_ros.network.stand_in import StandIn

COARSEST = 64
"""No stride is larger. Where a voxel lies in its coarsest cell decides how far it reaches to which side."""


def reach(network: Callable[[SparseTensor], SparseTensor]) -> int:
    """The largest distance along an axis, in voxels, at which an input can change an output.

    The network's own forward is run on intervals instead of features: kernels are boxes, so that one
    axis says all. Space is taken to be full, the worst case.

    Args:
        network: in evaluation mode.
    """
    place = torch.arange(COARSEST)
    start: Any = Interval(place, place)
    space: Any = _Space()
    end: Any = network(SparseTensor(start, 1, space)).features
    return int(torch.maximum(place - end.low, end.high - place).amax())


class Interval(StandIn):
    """Voxels along an axis that may have changed, for each place of the one that did.

    Attributes:
        low, high: (COARSEST,) int64, both included; whole cells of the stride.
    """

    def __init__(self, low: Tensor, high: Tensor) -> None:
        self.low, self.high = low, high

    @classmethod
    def combined(cls, parts: list[Interval], again: Callable[[list[Any]], Any]) -> Interval:
        """Wherever one of them may have changed."""
        low = reduce(torch.minimum, (part.low for part in parts))
        return cls(low, reduce(torch.maximum, (part.high for part in parts)))


class _Space:
    """Pyramid and engine for :class:`Interval`. A map is how far it reaches, and its outputs' stride."""

    @property
    def backend(self) -> _Space:
        return self

    def neighbours(self, stride: int, kernel_size: int) -> tuple[int, int]:
        return kernel_size // 2 * stride, stride

    def children(self, stride: int) -> tuple[int, int]:
        return 0, 2 * stride

    def convolve(
        self, features: Interval, weight: Tensor, kernel_map: tuple[int, int], transposed: bool = False
    ) -> Interval:
        steps, stride = kernel_map
        low, high = features.low - steps, features.high + steps
        # Up again, the children fill what their parents filled.
        return Interval(low - low % stride, high - high % stride + stride - 1)
