"""Which object a place was last part of, and when each part of the floor plan was first seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COLUMN_M = 0.4
MOST_PLACES = 4_000_000
"""Voxels of objects that are remembered, 17 bytes each; what is out of the window goes first."""
MOST_COLUMNS = 1_000_000


@dataclass(frozen=True)
class Places:
    """M voxels of objects, in the window and elsewhere, those that are no longer in the map included.

    Attributes:
        keys: (M,) int64 ascending.
        owner: (M,) int64 number of the object.
        freed: (M,) bool: a sensor looked through it since it was last part of its object.
    """

    keys: np.ndarray
    owner: np.ndarray
    freed: np.ndarray

    def owner_at(self, keys: np.ndarray) -> np.ndarray:
        """(N,) numbers of objects, 0 for none."""
        if len(self.keys) == 0:
            return np.zeros(len(keys), np.int64)
        at = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.owner[at], 0)

    def rewritten(self, keys: np.ndarray, owner: np.ndarray) -> Places:
        """With these voxels of the map (ascending) now of these objects, 0 for none."""
        elsewhere = ~np.isin(self.keys, keys)
        room = max(MOST_PLACES - int((owner > 0).sum()), 0)
        spare = np.flatnonzero(elsewhere)
        spare = spare[max(len(spare) - room, 0) :]
        all_keys = np.concatenate([self.keys[spare], keys[owner > 0]])
        order = np.argsort(all_keys, kind="stable")
        owners = np.concatenate([self.owner[spare], owner[owner > 0]])
        freed = np.concatenate([self.freed[spare], np.zeros(int((owner > 0).sum()), bool)])
        return Places(all_keys[order], owners[order], freed[order])

    def take(self, rows: np.ndarray) -> Places:
        """Those of these rows."""
        return Places(self.keys[rows], self.owner[rows], self.freed[rows])

    def renamed(self, keys: np.ndarray) -> Places:
        """With other keys (M,); of places that come together the first of those that moved stays."""
        order = np.lexsort((keys == self.keys, keys))
        first = order[np.append(True, np.diff(keys[order]) != 0)] if len(order) else order
        return Places(keys[first], self.owner[first], self.freed[first])

    @classmethod
    def none(cls) -> Places:
        """No places."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool))


@dataclass(frozen=True)
class Explored:
    """Columns of the floor plan: (C,) int64 ascending names, and when each was first seen."""

    column: np.ndarray
    first_ns: np.ndarray

    def first_seen(self, column: np.ndarray, now_ns: int) -> np.ndarray:
        """(N,) int64 stamps; now for those that were not seen before."""
        if len(self.column) == 0:
            return np.full(len(column), now_ns)
        at = np.searchsorted(self.column, column).clip(max=len(self.column) - 1)
        return np.where(self.column[at] == column, self.first_ns[at], now_ns)

    def extended(self, column: np.ndarray, now_ns: int) -> Explored:
        """With these columns (N,) seen now."""
        new = np.setdiff1d(column, self.column)[: max(MOST_COLUMNS - len(self.column), 0)]
        both = np.concatenate([self.column, new])
        first = np.concatenate([self.first_ns, np.full(len(new), now_ns)])
        order = np.argsort(both, kind="stable")
        return Explored(both[order], first[order])

    def carried(self, before: np.ndarray, after: np.ndarray) -> Explored:
        """What was seen in the columns ``before``, (M,), was seen in those ``after`` at the same time."""
        known = np.isin(before, self.column)
        column = np.concatenate([self.column, after[known]])
        first = np.concatenate([self.first_ns, self.first_seen(before[known], 0)])
        order = np.lexsort((first, column))
        column, first = column[order], first[order]
        oldest = np.append(True, np.diff(column) != 0)[: len(column)]
        return Explored(column[oldest], first[oldest])

    @classmethod
    def none(cls) -> Explored:
        """Nothing seen."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))


def columns_of(points_m: np.ndarray) -> np.ndarray:
    """(N,) int64 names of the columns of (N, 3) points."""
    cell = np.floor(points_m[:, :2] / COLUMN_M).astype(np.int64)
    names: np.ndarray = cell[:, 0] * (1 << 32) + cell[:, 1]
    return names
