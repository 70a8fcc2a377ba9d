"""Sparse convolution by our own kernels on CPUs (``native/``): rows are multiplied where they lie.

The library is built with the package where there is a compiler. It has a plain C interface and is
called with pointers, so that it does not depend on the version of torch. Without it, or for what it
does not do, the torch engine uses torch.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import time
from collections.abc import Callable
from ctypes import c_bool, c_int, c_int64, c_void_p
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ws3d_ros.network.kernel_map import KernelMap, padded_keys

LIBRARY = "libws3d_native.so"
VERSION = 3
"""Of the C interface; a library of another version is not used."""
AVX512, AVX512_BF16 = 2, 3
BF16_AND_FP32 = (torch.bfloat16, torch.float32)

logger = logging.getLogger(__name__)


@cache
def library() -> ctypes.CDLL | None:
    """The kernels, or None where they were not built. Says so once."""
    # Beside this file once installed; a source tree uses what is installed in its environment.
    folders = [Path(__file__).parent, *(Path(path) / "ws3d_ros/network/backends" for path in sys.path)]
    for folder in folders:
        try:
            native = ctypes.CDLL(str(folder / LIBRARY))
        except OSError:
            continue
        if native.ws3d_version() == VERSION:
            return _declare(native)
    logger.info(
        "%s was not built (it takes cmake and a C++ compiler): sparse convolutions use torch", LIBRARY
    )
    return None


def instructions() -> int:
    """The best that this machine has: 0 portable, 1 AVX2, 2 AVX-512, 3 AVX-512 with bfloat16."""
    native = library()
    return int(native.ws3d_best_instructions()) if native else 0


@cache
def bf16_pays() -> bool:
    """Whether this CPU reads a network faster in bfloat16 than in float32: asked of it, once.

    CPUs with tiles (AMX) do, by torch. With AVX-512's bfloat16 products it depends on how many units
    there are for them, so a product is timed (a few milliseconds); others emulate it, slowly.
    """
    if has_tiles() or instructions() < AVX512_BF16:
        return has_tiles()
    rows = torch.arange(4096)
    same = KernelMap(rows, rows, (0, len(rows)), len(rows), len(rows))
    kinds = [(torch.zeros(len(rows), 96, dtype=d), torch.zeros(1, 96, 96, dtype=d)) for d in BF16_AND_FP32]
    seconds = [[_seconds(partial(convolve, *kind, same, threads=1)) for kind in kinds] for _ in range(8)]
    bf16, fp32 = (min(times) for times in zip(*seconds, strict=True))
    return bf16 < fp32 / 1.2  # less than that is not worth the lost digits


def has_tiles() -> bool:
    """Whether the CPU multiplies tiles of bfloat16 (AMX), which torch does faster than our kernels."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())  # older torch cannot be asked


def can_convolve(features: Tensor, weight: Tensor) -> bool:
    """Whether :func:`convolve` takes these: float32 on the CPU, or bfloat16 where it is at home."""
    if features.device.type != "cpu" or features.dtype != weight.dtype or library() is None:
        return False
    at_home = instructions() == AVX512_BF16 and not has_tiles()
    return features.dtype == torch.float32 or (features.dtype == torch.bfloat16 and at_home)


def can_sum_gradients(features: Tensor, grad: Tensor) -> bool:
    """Whether :func:`weight_gradient` takes these: float32 or bfloat16 on the CPU."""
    on_cpu = features.device.type == "cpu" and features.dtype == grad.dtype
    return on_cpu and features.dtype in BF16_AND_FP32 and library() is not None


def convolve(
    features: Tensor,
    weight: Tensor,
    kernel_map: KernelMap,
    use_instructions: int | None = None,
    threads: int | None = None,
) -> Tensor:
    """``out[o] = Σ_k features[i] @ weight[k]`` over the map's pairs; sums are float32.

    Args:
        features: (N, C_in) float32 or bfloat16, as :func:`can_convolve` says.
        weight: (K, C_in, C_out) of the same dtype.
        kernel_map: as its class says: within an offset, outputs ascend.
        use_instructions: up to :func:`instructions`, which is the default.
        threads: so many at most; torch's number by default.

    Returns:
        (M, C_out) in the dtype of the features; the same bits for any number of threads.
    """
    out = features.new_empty(kernel_map.n_outputs, weight.shape[2])
    chosen = instructions() if use_instructions is None else use_instructions
    if features.dtype == torch.bfloat16:
        features, weight = _paired(features, weight)
    elif chosen == AVX512_BF16:
        chosen = AVX512
    features, weight = features.contiguous(), weight.contiguous()
    done = _library().ws3d_convolve(
        *(chosen, threads or torch.get_num_threads(), *_pointers(kernel_map), kernel_map.n_outputs),
        *(features.data_ptr(), weight.data_ptr(), out.data_ptr(), features.shape[1], out.shape[1]),
    )
    if not done:
        raise MemoryError("no memory for a sparse convolution's working space")
    return out


def weight_gradient(
    features: Tensor,
    grad: Tensor,
    kernel_map: KernelMap,
    use_instructions: int | None = None,
    threads: int | None = None,
) -> Tensor:
    """(K, C_in, C_out): for each offset the sum over its pairs of input times gradient of output.

    Args:
        features: (N, C_in) float32 or bfloat16; sums are float32.
        grad: (M, C_out) of the same dtype.
        kernel_map: of the convolution.
        use_instructions: up to :func:`instructions`, which is the default.
        threads: so many at most; torch's number by default.
    """
    chosen = min(AVX512, instructions()) if use_instructions is None else use_instructions
    dtype = features.dtype
    features, grad = features.float().contiguous(), grad.float().contiguous()
    out = features.new_empty(len(kernel_map.starts) - 1, features.shape[1], grad.shape[1])
    done = _library().ws3d_weight_gradient(
        *(chosen, threads or torch.get_num_threads(), *_pointers(kernel_map), kernel_map.n_outputs),
        *(features.data_ptr(), grad.data_ptr(), out.data_ptr(), features.shape[1], grad.shape[1]),
    )
    if not done:
        raise MemoryError("no memory for a sparse convolution's working space")
    return out.to(dtype)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.thread_time()  # others may use the processor too
    work()
    return time.thread_time() - begin


def can_find_neighbours(coords: Tensor) -> bool:
    """Whether :func:`submanifold_map` takes these: on the CPU."""
    return coords.device.type == "cpu" and library() is not None


def submanifold_map(coords: Tensor, kernel_size: int, stride: int, threads: int | None = None) -> KernelMap:
    """As :func:`ws3d_ros.network.kernel_map.submanifold_map`, pair by pair.

    The columns of the kernel are walked beside the rows; first the pairs are counted, then written.
    """
    reach, rows, volume = kernel_size // 2, len(coords), kernel_size**3
    keys, step_x, step_y = padded_keys(coords, stride, reach)
    keys = keys.contiguous()
    columns = [(dx, dy) for dx in range(reach + 1) for dy in range(-reach if dx else 0, reach + 1)]
    lowest = torch.tensor([1 if column == (0, 0) else -reach for column in columns])
    dx, dy = torch.tensor(columns).unbind(1)
    steps, depths = dx * step_x + dy * step_y + lowest, reach + 1 - lowest
    native = _library()
    counts = torch.zeros(len(columns), kernel_size, native.ws3d_chunks(), dtype=torch.int64)
    job = (
        *(torch.get_num_threads() if threads is None else threads, keys.data_ptr(), rows),
        *(steps.data_ptr(), depths.data_ptr(), len(columns), kernel_size),
    )
    native.ws3d_count_neighbours(*job, counts.data_ptr())

    up = torch.arange(kernel_size)
    offset = (dx + reach)[:, None] + kernel_size * (
        (dy + reach)[:, None] + kernel_size * (lowest[:, None] + up + reach)
    )
    offset = offset.where(up < depths[:, None], volume)  # beyond the top of the own column
    pairs = torch.zeros(volume + 1, dtype=torch.int64)
    pairs[offset] = counts.sum(2)
    pairs[volume] = 0
    pairs[:volume] += pairs[:volume].flip(0)
    pairs[volume // 2] = rows
    starts = torch.nn.functional.pad(pairs[:volume].cumsum(0), (1, 1))
    before = counts.cumsum(2) - counts
    places = starts[offset][..., None] + before
    mirrored = starts[(volume - 1 - offset).clamp(min=0)][..., None] + before

    inputs, outputs = keys.new_empty(2, int(starts[volume])).unbind(0)
    centre = int(starts[volume // 2])
    inputs[centre : centre + rows] = outputs[centre : centre + rows] = torch.arange(rows)
    native.ws3d_write_neighbours(
        *job, places.data_ptr(), mirrored.data_ptr(), inputs.data_ptr(), outputs.data_ptr()
    )
    return KernelMap(inputs, outputs, tuple(starts[:-1].tolist()), rows, rows, volume // 2)


def _library() -> ctypes.CDLL:
    native = library()
    assert native is not None, "ask can_convolve first"
    return native


def _pointers(kernel_map: KernelMap) -> tuple[int, int, ctypes.Array[c_int64], int]:
    """Inputs, outputs, starts and the kernel's volume."""
    starts = (c_int64 * len(kernel_map.starts))(*kernel_map.starts)
    return kernel_map.inputs.data_ptr(), kernel_map.outputs.data_ptr(), starts, len(starts) - 1


def _paired(features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Neighbouring input channels side by side, as the CPU multiplies bfloat16 (int32 views).

    Returns:
        (N, C_in / 2) of the features and (K, C_in / 2, C_out) of the weight.
    """
    if features.shape[1] % 2:
        features = torch.nn.functional.pad(features, (0, 1))
        weight = torch.nn.functional.pad(weight, (0, 0, 0, 1))
    pairs = torch.stack([weight[:, 0::2], weight[:, 1::2]], dim=-1)
    return features.contiguous().view(torch.int32), pairs.view(torch.int32)[..., 0]


def _declare(native: ctypes.CDLL) -> ctypes.CDLL:
    threads, pairs, tensors, channels = [c_int] * 2, [c_void_p] * 3, [c_void_p] * 3, [c_int64] * 2
    native.ws3d_convolve.argtypes = [*threads, *pairs, c_int64, c_int64, *tensors, *channels]
    native.ws3d_weight_gradient.argtypes = [*threads, *pairs, c_int64, c_int64, *tensors, *channels]
    native.ws3d_convolve.restype = native.ws3d_weight_gradient.restype = c_bool
    cells: list[Any] = [c_int, c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_int64]
    native.ws3d_count_neighbours.argtypes = [*cells, c_void_p]
    native.ws3d_write_neighbours.argtypes = [*cells, *[c_void_p] * 4]
    native.ws3d_count_neighbours.restype = native.ws3d_write_neighbours.restype = None
    native.ws3d_chunks.restype = c_int64
    return native
