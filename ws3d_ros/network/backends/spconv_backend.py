"""spconv (github.com/traveller59/spconv) behind our protocol.

Its *native* algorithm (gather, multiply, scatter) serves CPU and CUDA alike. The CPU path was compared
with the torch engine; the CUDA path could not be tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ws3d_ros.network.backends.backend import BackendError
from ws3d_ros.network.kernel_map import unique_rows

HOW_TO_GET = (
    "spconv is not installed: pip install spconv==2.3.8 for CPUs, or the package of your CUDA, "
    "spconv-cu126 at the newest"
)
GRID_LIMIT = 1 << 31
"""spconv's CPU path numbers the cells of the bounding box in 32 bits."""


@dataclass(frozen=True)
class SpconvMap:
    """spconv's pairs of rows.

    Attributes:
        pairs: (2, K, N) int32.
        counts: (K,) int32 how many pairs each offset has.
        rows: (M,) int64 our row of each of its output rows. Input rows are in our order.
        n_inputs: how many input rows there are.
        submanifold: whether inputs and outputs are the same cells.
    """

    pairs: Tensor
    counts: Tensor
    rows: Tensor
    n_inputs: int
    submanifold: bool


class SpconvBackend:
    """See the module's text. Features narrower than float32 are computed in float32.

    Raises:
        BackendError: if spconv is not installed.
    """

    name = "spconv"

    def __init__(self) -> None:
        self._spconv = _import_engine()

    def kernel_map(self, inputs: Tensor, outputs: Tensor, kernel_size: int, stride: int) -> SpconvMap | None:
        """As :class:`ws3d_ros.network.backends.backend.Backend` says.

        Raises:
            BackendError: if the cells lie too far apart for spconv.
        """
        if len(inputs) == 0:
            return None
        submanifold = kernel_size % 2 == 1
        cells, grid = _from_zero(inputs, stride)
        batches = int(cells[:, 0].amax()) + 1
        if not inputs.is_cuda and batches * grid[0] * grid[1] * grid[2] >= GRID_LIMIT:
            raise BackendError(
                f"spconv cannot number {batches} grids of {' x '.join(map(str, grid))} cells: "
                "leave out far points, or choose another engine"
            )
        found, pairs, counts = self._spconv.ops.get_indice_pairs(
            cells[:, [0, 3, 2, 1]].int().contiguous(),
            batch_size=batches,
            spatial_shape=grid[::-1],
            algo=self._spconv.ConvAlgo.Native,
            ksize=[kernel_size] * 3,
            stride=[1 if submanifold else 2] * 3,
            padding=[0] * 3,
            dilation=[1] * 3,
            out_padding=[0] * 3,
            subm=submanifold,
        )
        _, rows = unique_rows(found[:, [0, 3, 2, 1]].long())
        return SpconvMap(pairs, counts, rows, len(inputs), submanifold)

    def convolve(
        self, features: Tensor, weight: Tensor, kernel_map: SpconvMap | None, transposed: bool = False
    ) -> Tensor:
        """As :class:`ws3d_ros.network.backends.backend.Backend` says.

        Raises:
            BackendError: on a CPU with more than one thread, where spconv's sums are wrong.
        """
        if not features.is_cuda and torch.get_num_threads() > 1:
            raise BackendError(
                "spconv's sums are wrong on a CPU with more than one thread: start with OMP_NUM_THREADS=1 "
                "in the environment, or choose another engine"
            )
        if kernel_map is None:
            return features @ weight[0]
        functional = self._spconv.functional
        if transposed:
            features, function = features.index_select(0, kernel_map.rows), functional.indice_inverse_conv
        elif kernel_map.submanifold:
            function = functional.indice_subm_conv
        else:
            function = functional.indice_conv
        size = round(weight.shape[0] ** (1 / 3))
        exact = torch.promote_types(features.dtype, torch.float32)
        cube = weight.view(size, size, size, *weight.shape[1:])
        out: Tensor = function(
            features.to(exact),
            cube.permute(4, 0, 1, 2, 3).to(exact).contiguous(),
            kernel_map.pairs,
            kernel_map.counts,
            kernel_map.n_inputs if transposed else len(kernel_map.rows),
            self._spconv.ConvAlgo.Native,
        )
        if not transposed:
            out = torch.empty_like(out).index_copy(0, kernel_map.rows, out)
        return out.to(features.dtype)


def _from_zero(coords: Tensor, stride: int) -> tuple[Tensor, list[int]]:
    """Cells (batch, x, y, z) counted from 0 in steps of ``stride``, and the size of their grid.

    Origin and size are even, so that the cells of twice the stride stay the same.
    """
    cells = torch.div(coords[:, 1:], stride, rounding_mode="floor")
    cells = cells - torch.div(cells.amin(dim=0), 2, rounding_mode="floor") * 2
    grid = [last // 2 * 2 + 2 for last in cells.amax(dim=0).tolist()]
    return torch.cat([coords[:, :1], cells], dim=1), grid


def _import_engine() -> Any:
    try:
        import spconv.pytorch
        from spconv.cppconstants import CPU_ONLY_BUILD
    except ImportError as error:
        raise BackendError(f"{HOW_TO_GET} ({error})") from error
    if CPU_ONLY_BUILD:
        # Its backward pass asks for a CUDA stream that it does not use on a CPU, and fails without CUDA.
        spconv.pytorch.ops.get_current_stream = lambda: 0
    return spconv.pytorch
