"""The objects that a tracker remembers, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any

import numpy as np
from torch import Tensor

from ws3d_ros.instances.association import BINS, Kinds


class State(IntEnum):
    """Of an object. Missing: it was not where it should have been seen; gone: so again and again."""

    TENTATIVE = 0
    ACTIVE = 1
    OCCLUDED = 2
    MISSING = 3
    GONE = 4


@dataclass(frozen=True)
class Objects:
    """O objects by ascending number; the columns, (O,) int64 each, are written in place.

    Attributes:
        number: names the row for as long as the tracker lives; never given twice.
        id: what the world knows it by; 0 for a piece that may be split off.
        parent: number of the object that such a piece is still part of, 0 for none.
        state: a :class:`State`.
        hits: updates in which a segment was this object.
        misses: measurements in a row that should have seen it and did not.
        held: updates in a row in which it was part of another's segment, or in no segment.
        born_ns, sighted_ns: when it was first there, and when a sensor last saw its surface.
        explored_ns: when the place where it was born was first seen.
        kinds: what they look like, when they were last seen whole.
    """

    number: np.ndarray
    id: np.ndarray
    parent: np.ndarray
    state: np.ndarray
    hits: np.ndarray
    misses: np.ndarray
    held: np.ndarray
    born_ns: np.ndarray
    sighted_ns: np.ndarray
    explored_ns: np.ndarray
    kinds: Kinds

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: np.ndarray) -> Objects:
        """Those of these rows (a mask or indices)."""
        return Objects(**{name: values[rows] for name, values in self.columns()}, kinds=self.kinds.take(rows))

    def join(self, other: Objects) -> Objects:
        """Both, these first."""
        pairs = zip(self.columns(), other.columns(), strict=True)
        columns = {name: np.concatenate([a, b]) for (name, a), (_, b) in pairs}
        return Objects(**columns, kinds=self.kinds.join(other.kinds))

    def looking(self, rows: np.ndarray, kinds: Kinds) -> Objects:
        """With another look of these rows."""
        return replace(self, kinds=self.kinds.put(rows, kinds))

    def row_of(self, number: np.ndarray) -> np.ndarray:
        """Rows of numbers, -1 for those that are not here."""
        if len(self) == 0:
            return np.full(np.shape(number), -1)
        row = np.searchsorted(self.number, number).clip(max=len(self) - 1)
        return np.where(self.number[row] == number, row, -1)

    def columns(self) -> list[tuple[str, np.ndarray]]:
        """Names and values of all but the looks."""
        return [(field.name, getattr(self, field.name)) for field in fields(self) if field.name != "kinds"]

    def state_dict(self) -> dict[str, np.ndarray]:
        """All as plain arrays."""
        looks = {f"kinds.{name}": values for name, values in vars(self.kinds).items()}
        return {**{f"objects.{name}": values.copy() for name, values in self.columns()}, **looks}

    @classmethod
    def from_state_dict(cls, state: dict[str, np.ndarray]) -> Objects:
        """The inverse."""
        kinds = Kinds(**{name: state[f"kinds.{name}"] for name in Kinds.__dataclass_fields__})
        names = [field.name for field in fields(cls) if field.name != "kinds"]
        return cls(**{name: state[f"objects.{name}"].copy() for name in names}, kinds=kinds)

    @classmethod
    def new(cls, kinds: Kinds, **columns: Any) -> Objects:
        """As many as there are looks; columns that are not named are 0."""
        count = len(kinds.voxels)
        names = [field.name for field in fields(cls) if field.name != "kinds"]
        full = {name: np.broadcast_to(columns.get(name, 0), count).astype(np.int64) for name in names}
        return cls(**full, kinds=kinds)

    @classmethod
    def none(cls) -> Objects:
        """No objects."""
        empty = np.zeros((0, 3))
        wide = np.zeros((0, 3 * BINS))
        return cls.new(Kinds(np.zeros(0, np.int64), empty, empty, np.zeros((0, 1)), wide, np.zeros((0, 0))))


@dataclass(frozen=True)
class Event:
    """What happened to an object.

    Attributes:
        kind: born, split, merged, moved, lost, found or gone.
        id: of the object. other: split off which, or merged into which; the id that was given up when
            an object turned out to have moved; else 0.
        stamp_ns: of the update.
        from_m, to_m: (3,) centroids of a move, else None.
    """

    kind: str
    id: int
    stamp_ns: int
    other: int = 0
    from_m: tuple[float, ...] | None = None
    to_m: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Tracked:
    """The outcome of an update.

    Attributes:
        instance: (N,) int32 lasting ids of the window's voxels, 0 for none.
        states: state of each object that is known, by id; those that are remembered as gone included.
        events: what happened, in a fixed order.
    """

    instance: Tensor
    states: dict[int, State]
    events: tuple[Event, ...]
