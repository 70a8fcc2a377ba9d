"""The default engine: torch on any device, with kernels of our own where the CPU and the build have them.

Three ways to do the same sum:

- *native*: our kernels on a CPU (``native.py``), the fastest for every layer there. Otherwise by how
  much multiplication is wasted:
- *pairs*: for each kernel offset gather the rows that have a partner, multiply, add to their
  outputs. No multiplication is wasted, but every row is moved once an offset.
- *im2col*: blocks of output rows with all their neighbours side by side (zero where none) times
  one tall weight. One big product and little moving, but the zeros are multiplied too: for few
  input channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from ws3d_ros.network.backends import native
from ws3d_ros.network.kernel_map import KernelMap, down_map, submanifold_map

IM2COL_CHANNELS = 32
"""Up to this many input channels im2col is the faster way on a CPU (benchmarks/network.py)."""
BLOCK_VALUES = 1 << 21
"""Values in a buffer of gathered rows: 8 MiB of float32, so that it stays in cache between its two uses."""


class TorchBackend:
    """See the module's text."""

    name = "torch"

    def __init__(self, use_native: bool = True) -> None:
        """``use_native=False``: torch alone, to compare with."""
        self.use_native = use_native

    def kernel_map(self, inputs: Tensor, outputs: Tensor, kernel_size: int, stride: int) -> KernelMap:
        """As :class:`ws3d_ros.network.backends.backend.Backend` says."""
        if kernel_size == 2:
            return down_map(inputs, outputs, stride)
        if self.use_native and native.can_find_neighbours(inputs):
            return native.submanifold_map(inputs, kernel_size, stride)
        return submanifold_map(inputs, kernel_size, stride)

    def convolve(
        self, features: Tensor, weight: Tensor, kernel_map: KernelMap, transposed: bool = False
    ) -> Tensor:
        """As :class:`ws3d_ros.network.backends.backend.Backend` says."""
        if transposed:
            kernel_map = kernel_map.transposed
        return _Convolution.apply(features, weight, kernel_map, self.use_native)


class _Convolution(torch.autograd.Function):
    """The gradient to the features is the convolution back with turned weights; that to the weights
    gathers again, so that no gathered rows are kept."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx, features: Tensor, weight: Tensor, kernel_map: KernelMap, use_native: bool
    ) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.kernel_map, ctx.use_native = kernel_map, use_native
        return _best_way(features, weight, use_native)(features, weight, kernel_map)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        features, weight = ctx.saved_tensors
        to_features = to_weight = None
        if ctx.needs_input_grad[0]:
            turned = weight.transpose(1, 2)
            way = _best_way(grad, turned, ctx.use_native)
            to_features = way(grad, turned, ctx.kernel_map.transposed)
        if ctx.needs_input_grad[1]:
            own = ctx.use_native and native.can_sum_gradients(features, grad)
            to_weight = (native.weight_gradient if own else weight_gradient)(features, grad, ctx.kernel_map)
        return to_features, to_weight, None, None


def _best_way(features: Tensor, weight: Tensor, use_native: bool) -> Callable[..., Tensor]:
    return native.convolve if use_native and native.can_convolve(features, weight) else convolve


def convolve(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """The sum of the protocol by torch, without gradients: the way that fits the layer."""
    wasteful = len(kernel_map.inputs) * 8 < kernel_map.n_outputs * weight.shape[0]
    if weight.shape[1] <= IM2COL_CHANNELS and not wasteful and weight.shape[0] > 8:
        return convolve_im2col(features, weight, kernel_map)
    return convolve_pairs(features, weight, kernel_map)


def convolve_pairs(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """Gather, multiply, add, one kernel offset after the other. Sums are float32 at least."""
    exact = torch.promote_types(features.dtype, torch.float32)
    if kernel_map.identity is None:
        out = features.new_zeros(kernel_map.n_outputs, weight.shape[2], dtype=exact)
    else:
        out = multiply(features, weight[kernel_map.identity]).to(exact)
    block = max(1, BLOCK_VALUES // max(weight.shape[1:])) if features.device.type == "cpu" else None
    for k, inputs, outputs in _pairs(kernel_map, block):
        if k != kernel_map.identity:
            product = multiply(features.index_select(0, inputs), weight[k])
            out.index_add_(0, outputs, product.to(exact))
    return out.to(features.dtype)


def convolve_im2col(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """Blocks of outputs, all neighbours side by side, times one tall weight."""
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    tall = weight.reshape(-1, weight.shape[2])
    out = features.new_empty(kernel_map.n_outputs, weight.shape[2])
    block = max(1, BLOCK_VALUES // len(tall))
    for start in range(0, kernel_map.n_outputs, block):
        rows = kernel_map.table[start : start + block]
        columns = padded.index_select(0, rows.flatten()).view(len(rows), -1)
        out[start : start + len(rows)] = multiply(columns, tall)
    return out


def multiply(rows: Tensor, weight: Tensor) -> Tensor:
    """(N, C_in) @ (C_in, C_out).

    On CPUs float32 goes to oneDNN, as a convolution of 1 over a line of pixels: ``torch.mm`` would take
    MKL, which has half the speed on AMD and the same on Intel (benchmarks/network.py measures both).
    With one thread torch does not hand convolutions on to oneDNN.
    """
    fits = rows.device.type == "cpu" and rows.dtype == torch.float32 and len(rows) > 0
    if not (fits and torch.backends.mkldnn.is_available() and torch.get_num_threads() > 1):
        return rows @ weight
    pixels = rows.view(1, 1, *rows.shape).permute(0, 3, 1, 2)
    out = conv2d(pixels, weight.T[:, :, None, None])
    return out.permute(0, 2, 3, 1).reshape(len(rows), weight.shape[1])


def weight_gradient(features: Tensor, grad: Tensor, kernel_map: KernelMap) -> Tensor:
    """(K³, C_in, C_out): for each offset the sum over its pairs of input times gradient of output."""
    volume = len(kernel_map.starts) - 1
    out = features.new_zeros(volume, features.shape[1], grad.shape[1])
    for k, inputs, outputs in _pairs(kernel_map):
        torch.mm(features.index_select(0, inputs).T, grad.index_select(0, outputs), out=out[k])
    return out


def _pairs(kernel_map: KernelMap, block: int | None = None) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Offsets that have pairs, with the rows of their inputs and outputs, so many at a time."""
    starts = kernel_map.starts
    for k, (begin, end) in enumerate(pairwise(starts)):
        for at in range(begin, end, block or max(1, end - begin)):
            stop = end if block is None else min(end, at + block)
            yield k, kernel_map.inputs[at:stop], kernel_map.outputs[at:stop]
