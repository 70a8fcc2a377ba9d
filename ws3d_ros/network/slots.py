"""The cells of a changing cloud, in numbered slots, and who meets whom under a kernel.

A cell keeps its slot while it lives, so that what is stored by slot stays valid when others come
and go, and a change costs what the change is large. New cells take the slots of those that left.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from ws3d_ros.network.kernel_map import KernelMap, kernel_offsets
from ws3d_ros.reconstruction.keys import pack_keys, unique_cells

NONE = -1
"""In tables: nobody there. As an index it names the last row, which is therefore kept spare."""
SLACK = 8
"""When slots run out, this part of them is added, so that it does not happen often."""


class Level:
    """The cells of one stride. S slots.

    Attributes:
        stride: edge of a cell in finest voxels.
        coords: (S, 3) int64 in finest voxels.
        alive: (S,) bool, slots that hold a cell.
        fresh: (S,) bool, cells that came with the last change.
        bereft: (S,) bool, cells that lost a neighbour with the last change.
        neighbours: for each kernel size (K³, S) int32 slots.
        children: (8, S) int32 slots at half the stride; None at the finest.
        childless: (S,) bool, cells that lost a child with the last change.
        parent, octant: (S,) int64 slot at twice the stride, and which child of it this is.
    """

    children: Tensor | None = None

    def __init__(self, stride: int, coords: Tensor) -> None:
        """``coords``: (N, 4) int64 (0, x, y, z), ascending; slot i holds cell i."""
        self.stride = stride
        self.coords = coords[:, 1:].contiguous()
        self.alive = torch.ones(len(coords), dtype=torch.bool, device=coords.device)
        self.fresh, self.bereft, self.childless = (torch.zeros_like(self.alive) for _ in range(3))
        self.neighbours: dict[int, Tensor] = {}
        self.parent, self.octant = (coords.new_zeros(len(coords)) for _ in range(2))
        self._index: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        """How many slots there are."""
        return len(self.alive)

    def find(self, cells: Tensor) -> Tensor:
        """Slots of cells (..., 3), multiples of the stride; NONE where there is no such cell."""
        if self._index is None:
            slots = self.alive.nonzero()[:, 0]
            keys, order = pack_keys(self.coords[slots]).sort()
            self._index = keys, slots[order]
        keys, slots = self._index
        wanted = pack_keys(cells)
        if len(keys) == 0:
            return torch.full_like(wanted, NONE)
        place = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
        return torch.where(keys[place] == wanted, slots[place], NONE)

    def settle(self) -> None:
        """Nothing is new any more."""
        for mark in (self.fresh, self.bereft, self.childless):
            mark.zero_()

    def remove(self, slots: Tensor) -> None:
        """Cells that are gone."""
        for table in self.neighbours.values():
            around = table[:, slots]
            offset, which = (around != NONE).nonzero().unbind(1)
            there = around[offset, which].long()
            table[len(table) - 1 - offset, there] = NONE
            table[:, slots] = NONE
            self.bereft[there] = True
        self.alive[slots] = False
        for mark in (self.fresh, self.bereft, self.childless):
            mark[slots] = False
        self._index = None

    def add(self, cells: Tensor) -> Tensor:
        """New cells (A, 3); their (A,) slots."""
        slots = (~self.alive).nonzero()[: len(cells), 0]
        missing = len(cells) - len(slots)
        if missing > 0:
            slots = torch.cat([slots, torch.arange(len(self), len(self) + missing, device=cells.device)])
            self._grow(len(self) + missing + len(self) // SLACK)
        self.coords[slots] = cells
        self.alive[slots] = self.fresh[slots] = True
        self._index = None
        for size, table in self.neighbours.items():
            offsets = kernel_offsets(size).to(cells.device) * self.stride
            around = self.find(offsets[:, None] + cells)
            table[:, slots] = around.int()
            offset, which = (around != NONE).nonzero().unbind(1)
            table[len(table) - 1 - offset, around[offset, which]] = slots[which].int()
        return slots

    def _grow(self, slots: int) -> None:
        names = ("coords", "parent", "octant", "alive", "fresh", "bereft", "childless")
        for name in names:
            setattr(self, name, grown(getattr(self, name), slots))
        self.neighbours = {size: _wider(table, slots) for size, table in self.neighbours.items()}
        if self.children is not None:
            self.children = _wider(self.children, slots)


@dataclass(frozen=True)
class Links:
    """Which slots a convolution reads for which, as Pyramid's maps say it of rows.

    Attributes:
        source, target: the levels that it reads and writes: the same one, or neighbours in stride.
        kernel_size: odd for the same level, else 2.
    """

    source: Level
    target: Level
    kernel_size: int

    @property
    def transposed(self) -> Links:
        """The way back."""
        return Links(self.target, self.source, self.kernel_size)

    def reached(self, changed: Tensor) -> Tensor:
        """(S_target,) bool: cells whose result may differ if the ``changed`` (S_source,) bool do."""
        some = changed.nonzero()[:, 0]
        reached = torch.cat([self.target.fresh, changed.new_zeros(1)])
        if self.source is self.target:
            reached[self.source.neighbours[self.kernel_size][:, some].flatten()] = True
            reached[:-1] |= self.target.bereft
        elif self.source.stride < self.target.stride:
            reached[self.source.parent[some]] = True
            reached[:-1] |= self.target.childless
        else:
            assert self.source.children is not None
            reached[self.source.children[:, some].flatten()] = True
        return reached[:-1]

    def kernel_map(self, rows: Tensor) -> KernelMap:
        """Of the inputs of some (R,) target slots; output i is ``rows[i]``."""
        if self.source is self.target:
            table = self.source.neighbours[self.kernel_size][:, rows]
        elif self.source.stride < self.target.stride:
            assert self.target.children is not None
            table = self.target.children[:, rows]
        else:
            table = rows.new_full((8, len(rows)), NONE)
            table.scatter_(0, self.target.octant[None, rows], self.target.parent[None, rows])
        offset, output = (table != NONE).nonzero().unbind(1)
        starts = torch.bincount(offset, minlength=len(table)).cumsum(0).tolist()
        inputs = table[offset, output].long()
        return KernelMap(inputs, output.contiguous(), (0, *starts), len(self.source), len(rows))


def levels_of(maps: dict[tuple[int, int], KernelMap], coords: dict[int, Tensor]) -> list[Level]:
    """Levels with row i of each stride in slot i.

    Args:
        maps: by stride of the inputs and kernel size.
        coords: by stride, (N, 4) int64 ascending, one cloud.
    """
    levels = {stride: Level(stride, cells) for stride, cells in sorted(coords.items())}
    for (stride, kernel_size), kernel_map in maps.items():
        rows, volume = kernel_map.n_outputs, kernel_size**3
        table = kernel_map.inputs.new_full((volume, rows), NONE, dtype=torch.int32)
        counts = torch.tensor(kernel_map.starts).diff().to(table.device)
        offset = torch.arange(volume, device=table.device).repeat_interleave(counts)
        table.view(-1)[offset * rows + kernel_map.outputs] = kernel_map.inputs.int()
        if kernel_size == 2:
            levels[2 * stride].children = table
            levels[stride].parent[kernel_map.inputs] = kernel_map.outputs
            levels[stride].octant[kernel_map.inputs] = offset
        else:
            levels[stride].neighbours[kernel_size] = table
    return list(levels.values())


def move(levels: list[Level], gone: Tensor, come: Tensor) -> Tensor:
    """Takes cells out of all levels and puts others in; marks what that touched, and nothing else.

    Args:
        levels: the finest first, each of twice the stride of the one before.
        gone: (R,) slots at the finest.
        come: (A, 3) cells that the finest does not have.

    Returns:
        (A,) slots of the cells that came.
    """
    fine = levels[0]
    left, octant = fine.parent[gone], fine.octant[gone]
    fine.settle()
    fine.remove(gone)
    slots = fine.add(come)
    if len(levels) == 1:
        return slots
    coarse = levels[1]
    assert coarse.children is not None
    coarse.children[octant, left] = NONE
    cells = torch.div(come, coarse.stride, rounding_mode="floor") * coarse.stride
    parents, _ = unique_cells(cells)
    known = coarse.find(parents)
    empty = (coarse.children[:, left] == NONE).all(dim=0)
    empty &= ~torch.isin(left, known)
    move(levels[1:], left[empty].unique(), parents[known == NONE])
    coarse.childless[left] = coarse.alive[left]
    parent = coarse.find(cells)
    inside = torch.div(come - cells, fine.stride, rounding_mode="floor")
    fine.parent[slots] = parent
    fine.octant[slots] = inside[:, 0] + 2 * (inside[:, 1] + 2 * inside[:, 2])
    coarse.children[fine.octant[slots], parent] = slots.int()
    return slots


def grown(x: Tensor, rows: int, fill: int = 0) -> Tensor:
    """``x`` with rows of ``fill`` behind, if it has fewer than ``rows``."""
    if len(x) >= rows:
        return x
    return torch.cat([x, x.new_full((rows - len(x), *x.shape[1:]), fill)])


def _wider(table: Tensor, columns: int) -> Tensor:
    return pad(table, (0, columns - table.shape[1]), value=NONE)
