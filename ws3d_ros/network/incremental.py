"""Reading a window again when only part of it changed: what can differ is computed, the rest is remembered.

Of each layer that looks at neighbours the input is kept. A change travels through the network as the
set of rows that it touched: a convolution passes it on to the cells that read them, all other layers
work row by row. Rows that come out as they were go no further: in theory a change reaches half a
room (``receptive_field.py``), in practice it fades long before (as INS-Conv found, Liu et al., CVPR
2022, which passes on differences; here rows are computed anew, which costs the same on surfaces).

A row counts as changed when it moved by more than a tolerance, times the usual length of the layer's
rows, from *what the layers behind it last saw*. So each kept input stays within the tolerance of what
the kept inputs before it give, however many reads there were: errors do not add up over time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ws3d_ros.network.backends.backend import Backend, BackendError
from ws3d_ros.network.heads import Reading
from ws3d_ros.network.inference import Reader, prepare
from ws3d_ros.network.kernel_map import KernelMap
from ws3d_ros.network.slots import NONE, Level, Links, grown, levels_of, move
from ws3d_ros.network.sparse_tensor import Pyramid, SparseTensor
from ws3d_ros.network.stand_in import StandIn
from ws3d_ros.network.student import Student

EXACT = 0.0
"""Tolerance with which only rows that come out with the same bits are let go."""
FAST = 0.05
"""Tolerance with which a trained network keeps 99 % of the labels along a drive, 99.9 % where a change
is in one place; random weights, which damp nothing, 95 % and 98 % (benchmarks/incremental.py)."""
MOST_CHANGED, MOST_CHANGED_EXACT = 0.25, 0.1
"""With a larger share of changed voxels than this, a full run costs no more (benchmarks/incremental.py)."""


class IncrementalReader(Reader):
    """A reader that remembers the last window, which the next one may differ from in any way.

    For one thread. Its memory is about that of all activations (docs/network.md); readings depend on
    what was read before, within the tolerance.
    """

    def __init__(
        self,
        student: Student,
        backend: Backend,
        device: torch.device,
        precision: str = "auto",
        tolerance: float = FAST,
    ) -> None:
        """As :class:`Reader`; ``tolerance`` is ``EXACT``, ``FAST`` or another share of a row's usual length.

        Raises:
            BackendError: for an engine other than ``torch``, whose maps cannot be taken in parts.
        """
        if backend.name != "torch":
            raise BackendError(f"incremental reading needs the engine 'torch', not '{backend.name}'")
        self._tolerance = tolerance
        super().__init__(student, backend, device, precision)

    def renew(self, student: Student) -> None:
        """As :meth:`Reader.renew`; the next reading computes everything."""
        self.student = student
        prepared = prepare(student, self.device, self.precision)
        self._network = self._incremental = IncrementalStudent(prepared, self._tolerance)

    @property
    def last(self) -> Recomputed:
        """What the last reading took."""
        return self._incremental.last

    def forget(self) -> None:
        """The next reading computes everything."""
        self._incremental.forget()


@dataclass(frozen=True)
class Recomputed:
    """What a reading took.

    Attributes:
        voxels: cells of the cloud.
        changed: of them, those that are new or have other inputs; and those that are gone.
        share: of a full run's multiplications in convolutions.
        full: whether everything was computed.
    """

    voxels: int
    changed: int
    share: float
    full: bool


class IncrementalStudent:
    """A prepared student that computes what changed since it was last called. Clouds of one batch."""

    def __init__(self, student: Student, tolerance: float) -> None:
        self._student, self._tolerance = student, tolerance
        self._most_changed = MOST_CHANGED_EXACT if tolerance == EXACT else MOST_CHANGED
        self._memory: Memory | None = None
        self.last = Recomputed(0, 0, 0.0, full=False)

    def forget(self) -> None:
        """The next call computes everything."""
        self._memory = None

    @torch.inference_mode()
    def __call__(self, x: SparseTensor) -> Reading:
        """As the student's forward, within the tolerance. ``x`` is not to be written to afterwards."""
        # Taken out while it is written to: an error on the way must not leave half of it behind.
        memory, self._memory = self._memory, None
        change = memory.compare(x, self._tolerance) if memory and len(x.coords) else None
        if memory is None or change is None or change.size > self._most_changed * len(x.coords):
            memory, features = remember(self._student.unet, x)
            self.last = Recomputed(len(x.coords), len(x.coords), 1.0, full=True)
        else:
            features, products = memory.recall(self._student.unet, x, change, self._tolerance)
            share = products / max(1, memory.products)
            self.last = Recomputed(len(x.coords), change.size, share, full=False)
        self._memory = memory
        reading: Reading = self._student.heads(x.replace(features))
        return reading


@dataclass(frozen=True)
class Change:
    """How a cloud of N cells differs from the one that is remembered.

    Attributes:
        slots: (N,) int64 of each cell; NONE where it is new.
        gone: (R,) int64 slots of cells that are no more.
        size: cells that are new, gone, or have other inputs.
    """

    slots: Tensor
    gone: Tensor
    size: int


@dataclass
class Memory:
    """What a run leaves behind.

    Attributes:
        levels: the cells, finest first.
        kept: inputs of the convolutions in the order of the forward, and the result.
        products: multiplications in a full run's convolutions.
    """

    levels: list[Level]
    kept: list[Kept]
    products: int

    def compare(self, x: SparseTensor, tolerance: float) -> Change:
        """What is different in ``x``."""
        finest = self.levels[0]
        slots = finest.find(x.coords[:, 1:])
        known = (slots != NONE).nonzero()[:, 0]
        gone = finest.alive.clone()
        gone[slots[known]] = False
        moved = self.kept[0].moved(slots[known], x.features[known], tolerance)
        size = len(slots) - len(known) + int(gone.sum()) + int(moved.sum())
        return Change(slots, gone.nonzero()[:, 0], size)

    def recall(
        self, unet: Callable[[SparseTensor], SparseTensor], x: SparseTensor, change: Change, tolerance: float
    ) -> tuple[Tensor, int]:
        """Result for the changed cloud (N, C), and the multiplications that it took."""
        new, slots = change.slots == NONE, change.slots.clone()
        slots[new] = move(self.levels, change.gone, x.coords[new, 1:])
        finest = self.levels[0]
        row = torch.empty_like(finest.parent)
        row[slots] = torch.arange(len(slots), device=slots.device)
        engine = Recomputer(x.pyramid.backend, self, tolerance)
        # To the layers, rows and the maps of slots pass for the tensors and maps that they know.
        y: Any = unet(SparseTensor(Rows(finest.alive, lambda some: x.features[row[some]]), 1, engine))  # type: ignore[arg-type]
        self.kept[-1].update(y.features, finest.fresh, tolerance)
        return self.kept[-1].features[slots], engine.products


def remember(unet: Callable[[SparseTensor], SparseTensor], x: SparseTensor) -> tuple[Memory, Tensor]:
    """A full run: what to remember, and the result (N, C)."""
    recorder = Recorder(x.pyramid.backend)
    result = unet(SparseTensor(x.features, 1, Pyramid(x.coords, recorder))).features
    levels = levels_of(recorder.maps, recorder.coords)
    return Memory(levels, [*recorder.kept, Kept.of(result)], recorder.products), result


@dataclass
class Kept:
    """Features (S, C) by slot, as the layer behind them last saw them. ``length``: a row's, usually."""

    features: Tensor
    length: float

    @classmethod
    def of(cls, features: Tensor) -> Kept:
        """What a full run computed: row i is that of slot i."""
        sample = features[:: max(1, len(features) // 4096)]
        return cls(features, float(sample.float().norm(dim=1).mean()))

    def moved(self, rows: Tensor, values: Tensor, tolerance: float) -> Tensor:
        """(R,) bool: which of the new values of some rows are no longer near what is kept."""
        distance = (values - self.features.index_select(0, rows)).float().norm(dim=1)
        return ~(distance <= tolerance * self.length)  # so that NaN has moved

    def update(self, new: Rows, fresh: Tensor, tolerance: float) -> None:
        """Takes over rows that moved or are fresh (S,); ``new`` is from now on what is kept."""
        self.features = grown(self.features, len(fresh))
        rows = new.changed.nonzero()[:, 0]
        values = new.at(rows)
        moved = self.moved(rows, values, tolerance) | fresh[rows]
        rows = rows[moved]
        self.features.index_copy_(0, rows, values[moved])
        new.changed = torch.zeros_like(fresh)
        new.changed[rows] = True
        new.at = self.features.__getitem__


class Rows(StandIn):
    """Features (S, C) of which some rows changed.

    Attributes:
        changed: (S,) bool.
        at: computes the features of (R,) slots, (R, C).
    """

    def __init__(self, changed: Tensor, at: Callable[[Tensor], Tensor]) -> None:
        self.changed, self.at, self.device = changed, at, changed.device

    @classmethod
    def combined(cls, parts: list[Rows], again: Callable[[list[Any]], Any]) -> Rows:
        """The function's result, computed for the rows that will be asked for."""
        changed = reduce(torch.logical_or, (part.changed for part in parts))
        return cls(changed, lambda slots: again([part.at(slots) for part in parts]))


class Recorder:
    """An engine that notes what goes through it in a full run."""

    def __init__(self, backend: Backend) -> None:
        self.name, self._backend = backend.name, backend
        self.kept: list[Kept] = []
        self.maps: dict[tuple[int, int], KernelMap] = {}
        self.coords: dict[int, Tensor] = {}
        self.products = 0

    def kernel_map(self, inputs: Tensor, outputs: Tensor, kernel_size: int, stride: int) -> KernelMap:
        """The engine's."""
        self.coords[stride] = inputs
        if kernel_size == 2:
            self.coords[2 * stride] = outputs
        made = self.maps[stride, kernel_size] = self._backend.kernel_map(inputs, outputs, kernel_size, stride)
        return made

    def convolve(
        self, features: Tensor, weight: Tensor, kernel_map: KernelMap, transposed: bool = False
    ) -> Tensor:
        """The engine's."""
        self.kept.append(Kept.of(features))
        self.products += len(kernel_map.inputs) * weight[0].numel()
        return self._backend.convolve(features, weight, kernel_map, transposed)


class Recomputer:
    """Pyramid and engine for :class:`Rows`: brings what is kept up to date, computes what is asked for."""

    def __init__(self, engine: Backend, memory: Memory, tolerance: float) -> None:
        self.backend, self._engine, self._tolerance = self, engine, tolerance
        self._levels = {level.stride: level for level in memory.levels}
        self._kept = iter(memory.kept)
        self.products = 0

    def neighbours(self, stride: int, kernel_size: int) -> Links:
        """As the pyramid's."""
        return Links(self._levels[stride], self._levels[stride], kernel_size)

    def children(self, stride: int) -> Links:
        """As the pyramid's."""
        return Links(self._levels[stride], self._levels[2 * stride], 2)

    def convolve(self, features: Rows, weight: Tensor, links: Links, transposed: bool = False) -> Rows:
        """As the engine's, when rows are asked for."""
        links = links.transposed if transposed else links
        kept = next(self._kept)
        kept.update(features, links.source.fresh, self._tolerance)

        def at(rows: Tensor) -> Tensor:
            kernel_map = links.kernel_map(rows)
            self.products += len(kernel_map.inputs) * weight[0].numel()
            return self._engine.convolve(kept.features, weight, kernel_map)

        return Rows(links.reached(features.changed), at)
