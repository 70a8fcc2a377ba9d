"""MinkowskiEngine (Choy et al., CVPR 2019) behind our protocol: the engine that published weights come from.

Its CPU build was compared with the torch engine; a CUDA build could not be tried.
"""

from __future__ import annotations

import collections
import collections.abc
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ws3d_ros.network.backends.backend import BackendError
from ws3d_ros.network.kernel_map import unique_rows

HOW_TO_GET = (
    "MinkowskiEngine is not installed. It has no wheels; for CPUs build it with torch, ninja and "
    "libopenblas-dev installed: pip wheel --use-pep517 --no-build-isolation --no-deps "
    '"--config-settings=--global-option=--blas=openblas" MinkowskiEngine==0.5.4 (about 6 minutes), then '
    "install the wheel. CUDA 12 and later need patches to its sources"
)


@dataclass(frozen=True)
class MinkowskiMap:
    """MinkowskiEngine's own handles of two sets of cells, and how its rows lie among ours.

    Attributes:
        manager: its coordinate manager; holds the kernel map once the first convolution made it.
        generator: its description of the kernel.
        inputs, outputs: its keys of the cells.
        input_rows, output_rows: (N,), (M,) int64 our row of each of its rows.
    """

    manager: Any
    generator: Any
    inputs: Any
    outputs: Any
    input_rows: Tensor
    output_rows: Tensor


class MinkowskiBackend:
    """See the module's text. Features narrower than float32 are computed in float32.

    Raises:
        BackendError: if MinkowskiEngine is not installed.
    """

    name = "minkowski"

    def __init__(self) -> None:
        self._engine, self._mode = _import_engine()

    def kernel_map(
        self, inputs: Tensor, outputs: Tensor, kernel_size: int, stride: int
    ) -> MinkowskiMap | None:
        """As :class:`ws3d_ros.network.backends.backend.Backend` says."""
        if len(inputs) == 0:
            return None
        engine = self._engine
        kinds = engine.CoordinateMapType
        step = 2 if kernel_size == 2 else 1
        manager = engine.CoordinateManager(
            D=3, coordinate_map_type=kinds.CUDA if inputs.is_cuda else kinds.CPU
        )
        fine, _ = manager.insert_and_map(inputs.int(), tensor_stride=[stride] * 3)
        coarse = manager.stride(fine, [step] * 3)
        generator = engine.KernelGenerator(kernel_size=kernel_size, stride=step, dilation=1, dimension=3)
        return MinkowskiMap(
            manager, generator, fine, coarse, _rows(manager, fine, inputs), _rows(manager, coarse, outputs)
        )

    def convolve(
        self, features: Tensor, weight: Tensor, kernel_map: MinkowskiMap | None, transposed: bool = False
    ) -> Tensor:
        """As :class:`ws3d_ros.network.backends.backend.Backend` says."""
        if kernel_map is None:
            return features @ weight[0]
        engine = self._engine
        function = engine.MinkowskiConvolutionFunction
        ends = [(kernel_map.inputs, kernel_map.input_rows), (kernel_map.outputs, kernel_map.output_rows)]
        if transposed:
            function = engine.MinkowskiConvolutionTransposeFunction
            ends.reverse()
        (source, source_rows), (target, target_rows) = ends
        exact = torch.promote_types(features.dtype, torch.float32)
        out = function.apply(
            features.to(exact).index_select(0, source_rows),
            weight.to(exact),
            kernel_map.generator,
            self._mode,
            source,
            target,
            kernel_map.manager,
        )
        return torch.empty_like(out).index_copy(0, target_rows, out).to(features.dtype)


def _rows(manager: Any, key: Any, cells: Tensor) -> Tensor:
    """Our row of each of the engine's."""
    found, rows = unique_rows(manager.get_coordinates(key).to(cells))
    assert torch.equal(found, cells), "MinkowskiEngine has other cells"
    return rows


def _import_engine() -> tuple[Any, Any]:
    """The package, and its default way to convolve."""
    # Python 3.10 took away the old name that MinkowskiEngine 0.5.4 imports.
    if not hasattr(collections, "Sequence"):
        collections.Sequence = collections.abc.Sequence  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The MinkowskiEngine was compiled with CPU_ONLY")
            import MinkowskiEngine
            from MinkowskiEngineBackend._C import ConvolutionMode
    except ImportError as error:
        raise BackendError(f"{HOW_TO_GET} ({error})") from error
    return MinkowskiEngine, ConvolutionMode.DEFAULT
