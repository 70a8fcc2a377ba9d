"""Reading a window again when only part of it changed: what can differ is computed, the rest is remembered.

Of each layer that looks at neighbours the input is kept. A change travels through the network as the
set of rows that it touched: a convolution passes it on to the cells that read them, all other layers
work row by row. Rows that come out as they were go no further; in practice a change fades long before
it has crossed the receptive field, which on a room's map is everything
(after INS-Conv, Liu et al., CVPR 2022, which propagates differences through the layers).

A row counts as changed when it moved by more than ``tolerance`` times the usual length of the
layer's rows, from *what the layers behind it last saw*. Whatever the number of reads, each kept
input is so within the tolerance of what its own inputs give: errors do not add up over time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ws3d_ros.network.backends.backend import Backend
from ws3d_ros.network.heads import Reading
from ws3d_ros.network.kernel_map import KernelMap
from ws3d_ros.network.slots import NONE, Level, Links, grown, levels_of, move
from ws3d_ros.network.sparse_tensor import Pyramid, SparseTensor

EXACT = 1e-6
"""Tolerance that lets rounding noise go: results differ from a full run's as two full runs' orders of
summation would make them differ."""


class Rows:
    """Features (S, C) of which some rows changed; stands in for the tensor in layers that work row by row.

    Attributes:
        changed: (S,) bool.
        at: gives the features of (R,) rows, as (R, C).
    """

    def __init__(self, changed: Tensor, at: Callable[[Tensor], Tensor]) -> None:
        self.changed, self.at = changed, at

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Rows:
        """Any function of tensors, on the rows only, when they are asked for."""
        changed = reduce(torch.logical_or, (rows.changed for rows in _rows_in(args)))
        return cls(changed, lambda rows: function(*_at(args, rows), **(kwargs or {})))

    def __add__(self, other: Any) -> Rows:
        return torch.add(self, other)  # type: ignore[call-overload, no-any-return]

    def __matmul__(self, other: Any) -> Rows:
        return torch.matmul(self, other)  # type: ignore[call-overload, no-any-return]

    @property
    def device(self) -> torch.device:
        return self.changed.device

    def dim(self) -> int:
        return 2


def _rows_in(args: Any) -> list[Rows]:
    if isinstance(args, (tuple, list)):
        return [rows for arg in args for rows in _rows_in(arg)]
    return [args] if isinstance(args, Rows) else []


def _at(args: Any, rows: Tensor) -> Any:
    if isinstance(args, (tuple, list)):
        return type(args)(_at(arg, rows) for arg in args)
    return args.at(rows) if isinstance(args, Rows) else args


@dataclass
class Kept:
    """The input of one convolution, or the network's result: features (S, C) and the usual length of a row."""

    features: Tensor
    length: float

    @classmethod
    def of(cls, features: Tensor) -> Kept:
        some = features[:: max(1, len(features) // 4096)]
        return cls(features, float(some.float().norm(dim=1).mean()))

    def update(self, new: Rows, fresh: Tensor, tolerance: float) -> None:
        """Takes over rows that moved or are fresh; ``new`` is from now on what is kept."""
        self.features = grown(self.features, len(fresh))
        rows = new.changed.nonzero()[:, 0]
        values = new.at(rows)
        moved = (values - self.features[rows]).float().norm(dim=1) > tolerance * self.length
        moved |= fresh[rows]
        rows = rows[moved]
        self.features[rows] = values[moved]
        new.changed = torch.zeros_like(fresh)
        new.changed[rows] = True
        new.at = self.features.__getitem__


class Recorder:
    """An engine that notes what goes through it. Convolutions are numbered as they come."""

    def __init__(self, backend: Backend) -> None:
        self.name, self._backend = backend.name, backend
        self.kept: list[Kept] = []
        self.maps: dict[tuple[int, int], KernelMap] = {}
        self.coords: dict[int, Tensor] = {}
        self.products = 0

    def kernel_map(self, inputs: Tensor, outputs: Tensor, kernel_size: int, stride: int) -> KernelMap:
        self.coords[stride] = inputs
        if kernel_size == 2:
            self.coords[2 * stride] = outputs
        made = self.maps[stride, kernel_size] = self._backend.kernel_map(inputs, outputs, kernel_size, stride)
        return made

    def convolve(
        self, features: Tensor, weight: Tensor, kernel_map: KernelMap, transposed: bool = False
    ) -> Tensor:
        self.kept.append(Kept.of(features))
        self.products += len(kernel_map.inputs) * weight[0].numel()
        return self._backend.convolve(features, weight, kernel_map, transposed)


class Recomputer:
    """Pyramid and engine for :class:`Rows`: keeps inputs of convolutions up to date, computes what is asked."""

    def __init__(self, backend: Backend, levels: list[Level], kept: list[Kept], tolerance: float) -> None:
        self.backend, self.name = self, backend.name
        self._engine, self._tolerance = backend, tolerance
        self._levels = {level.stride: level for level in levels}
        self._kept = iter(kept)
        self.products = 0

    def neighbours(self, stride: int, kernel_size: int) -> Links:
        return Links(self._levels[stride], self._levels[stride], kernel_size)

    def children(self, stride: int) -> Links:
        return Links(self._levels[stride], self._levels[2 * stride], 2)

    def convolve(self, features: Rows, weight: Tensor, links: Links, transposed: bool = False) -> Rows:
        links = links.transposed if transposed else links
        kept = next(self._kept)
        kept.update(features, links.source.fresh, self._tolerance)

        def at(rows: Tensor) -> Tensor:
            kernel_map = links.kernel_map(rows)
            self.products += len(kernel_map.inputs) * weight[0].numel()
            return self._engine.convolve(kept.features, weight, kernel_map)

        return Rows(links.reached(features.changed), at)


@dataclass(frozen=True)
class Recomputed:
    """What a read took.

    Attributes:
        voxels: in the window.
        moved: voxels that came or whose colour or normal changed, and those that left.
        share: of a full run's multiplications.
        full: whether everything was computed.
    """

    voxels: int
    moved: int
    share: float
    full: bool


class IncrementalReader:
    """Reads windows one after the other; each may differ from the one before in any way.

    Attributes:
        last: what the last read took.
    """

    def __init__(self, student: nn.Module, backend: Backend, tolerance: float = EXACT) -> None:
        self._student, self._backend, self._tolerance = student, backend, tolerance
        self._memory: Memory | None = None
        self.last = Recomputed(0, 0, 0.0, False)

    def forget(self) -> None:
        """The next read computes everything."""
        self._memory = None

    @torch.inference_mode()
    def read(self, coords: Tensor, color: Tensor, normal: Tensor) -> Reading:
        from ws3d_ros.network.inputs import input_features
        from ws3d_ros.network.sparse_tensor import sparse_tensor

        features = input_features(self._student.spec.inputs, color, normal)
        x, cell = sparse_tensor(pad(coords, (1, 0)), features, self._backend)
        memory = self._memory
        slots = memory.match(x.coords[:, 1:]) if memory and len(x.coords) else None
        if slots is None:
            self._memory, result = remember(self._student.unet, x)
            self.last = Recomputed(len(x.coords), len(x.coords), 1.0, True)
        else:
            assert memory is not None
            y = memory.run(self._student.unet, x, slots, self._backend, self._tolerance)
            result, self.last = y
        return self._student.heads(x.replace(result[cell]))


MOST_CHANGED = 0.4


class Memory:
    def __init__(self, levels: list[Level], kept: list[Kept], full_products: int) -> None:
        self.levels, self.kept, self.full_products = levels, kept, full_products

    def match(self, cells: Tensor) -> Tensor | None:
        """Slots of cells or NONE where new; None if most differ."""
        slots = self.levels[0].find(cells)
        known = int((slots != NONE).sum())
        alive = int(self.levels[0].alive.sum())
        if max(len(cells), alive) - known > MOST_CHANGED * len(cells):
            return None
        return slots

    def run(self, unet, x, slots, backend, tolerance):
        level = self.levels[0]
        known = slots != NONE
        gone = level.alive.clone()
        gone[slots[known]] = False
        gone_slots = gone.nonzero()[:, 0]
        come = x.coords[~known, 1:]
        if len(gone_slots) or len(come):
            move(self.levels, gone_slots, come)
            slots = level.find(x.coords[:, 1:])
        else:
            for each in self.levels:
                each.settle()
        row = torch.empty(len(level), dtype=torch.int64, device=slots.device)
        row[slots] = torch.arange(len(slots), device=slots.device)
        recomputer = Recomputer(backend, self.levels, self.kept[:-1], tolerance)
        rows = Rows(level.alive, lambda some: x.features[row[some]])
        y = unet(SparseTensor(rows, 1, recomputer)).features
        self.kept[-1].update(y, level.fresh, tolerance)
        recomputed = Recomputed(
            len(x.coords), len(gone_slots) + len(come), recomputer.products / self.full_products, False
        )
        return self.kept[-1].features[slots], recomputed


def remember(unet: nn.Module, x: SparseTensor) -> tuple[Memory, Tensor]:
    recorder = Recorder(x.pyramid.backend)
    y = unet(SparseTensor(x.features, 1, Pyramid(x.coords, recorder))).features
    levels = levels_of(recorder.maps, recorder.coords)
    return Memory(levels, [*recorder.kept, Kept.of(y)], recorder.products), y
