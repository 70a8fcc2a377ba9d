"""What an engine must do. To add one, write a class with these members and name it in ``choose.py``."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class BackendError(RuntimeError):
    """An engine that is not there, or cannot do what is asked. The message says how to get it."""


class Backend(Protocol):
    """Sparse convolution. The order of rows is the caller's, whatever the engine does inside."""

    name: str

    def kernel_map(self, inputs: Tensor, outputs: Tensor, kernel_size: int, stride: int) -> Any:
        """Whatever this engine must know of the cells; made once, used by many convolutions.

        Args:
            inputs: (N, 4) int64 (batch, x, y, z) in finest voxels, ascending and unique.
            outputs: for an odd kernel the same tensor: neighbours on the same cells. For a kernel
                of 2 the (M, 4) cells of twice the stride.
            kernel_size: 2, or odd.
            stride: of the inputs.
        """
        ...

    def convolve(self, features: Tensor, weight: Tensor, kernel_map: Any, transposed: bool = False) -> Tensor:
        """``out[o] = Σ_k features[o + offset_k] @ weight[k]`` over the cells that are there.

        Args:
            features: (N, C_in).
            weight: (K³, C_in, C_out), offsets in the order of ``kernel_map.kernel_offsets``.
            kernel_map: of this engine.
            transposed: the way back, from outputs to inputs of the map.

        Returns:
            (M, C_out) in the dtype of the features; differentiable in features and weight.
        """
        ...
