"""Numbered items with attributes: growing tensors and a list of free numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Column:
    """One attribute: shape of one item's value, type, and the value of items that are free or new."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    fill: int = 0

    @property
    def item_bytes(self) -> int:
        return int(torch.Size(self.shape).numel()) * self.dtype.itemsize


class Pool:
    """Items 0 … capacity-1, each taken or free. ``pool["name"]`` is the (capacity, …) tensor of an attribute.

    The tensor of an attribute is replaced when the pool grows: do not keep it.
    """

    def __init__(self, columns: dict[str, Column], capacity: int, device: torch.device) -> None:
        self._columns = columns
        self._data = {
            name: torch.full((capacity, *column.shape), column.fill, dtype=column.dtype, device=device)
            for name, column in columns.items()
        }
        self._free = torch.arange(capacity - 1, -1, -1, device=device)
        self.available = capacity
        self.item_bytes = sum(column.item_bytes for column in columns.values()) + self._free.itemsize

    def __getitem__(self, name: str) -> Tensor:
        return self._data[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the attributes."""
        return tuple(self._columns)

    @property
    def capacity(self) -> int:
        return len(self._free)

    @property
    def used(self) -> int:
        return self.capacity - self.available

    @property
    def bytes(self) -> int:
        """Memory allocated."""
        return self.capacity * self.item_bytes

    def take(self, count: int) -> Tensor:
        """(count,) int64 numbers of items that were free; their attributes have the fill values.

        Raises:
            IndexError: if fewer than ``count`` are available.
        """
        if count > self.available:
            raise IndexError(f"{count} items wanted, {self.available} are free")
        self.available -= count
        return self._free[self.available : self.available + count].clone()

    def give(self, items: Tensor) -> None:
        """Takes back items, (n,) int64, each once."""
        self._free[self.available : self.available + len(items)] = items
        self.available += len(items)
        for name, column in self._columns.items():
            self._data[name][items] = column.fill

    def grow(self, capacity: int) -> None:
        """Makes room for more items; nothing else changes."""
        old = self.capacity
        for name, data in self._data.items():
            grown = torch.empty((capacity, *data.shape[1:]), dtype=data.dtype, device=data.device)
            grown[:old] = data
            grown[old:] = self._columns[name].fill
            self._data[name] = grown
        free = torch.empty(capacity, dtype=torch.int64, device=self._free.device)
        free[: self.available] = self._free[: self.available]
        fresh = capacity - old
        free[self.available : self.available + fresh] = torch.arange(capacity - 1, old - 1, -1)
        self._free = free
        self.available += fresh
