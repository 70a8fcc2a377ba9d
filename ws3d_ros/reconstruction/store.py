"""Where the voxels live: rows of attributes in growing tensors, found through a directory of chunks.

A chunk is a cube of 8x8x8 places. The directory (a Python dict) names the chunks that exist; each
has a block of 512 row numbers. To find M voxels costs one dict look-up for each *distinct* chunk
among them and one gather, however large the map is.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 8
PLACES = CHUNK**3
AXIS_BITS = 21
OFFSET = 1 << (AXIS_BITS - 1)
"""Coordinates from -OFFSET to OFFSET - 1 can be packed: 52 km of 5 cm voxels either way."""
_MASK = (1 << AXIS_BITS) - 1


def pack_keys(coordinate: Tensor) -> Tensor:
    """(N, 3) integer voxel coordinates to (N,) int64 keys, ordered by x, then y, then z."""
    shifted = coordinate.to(torch.int64) + OFFSET
    return shifted[:, 0] << (2 * AXIS_BITS) | shifted[:, 1] << AXIS_BITS | shifted[:, 2]


def unpack_keys(key: Tensor) -> Tensor:
    """(N,) int64 keys to (N, 3) int64 voxel coordinates."""
    return torch.stack([key >> (2 * AXIS_BITS), key >> AXIS_BITS & _MASK, key & _MASK], dim=1) - OFFSET


class VoxelStore:
    """Rows of attributes by voxel key. New rows are zero.

    Attributes:
        rows: number of rows in use.
        column: name to (capacity, ...) tensor; only rows given out by :meth:`insert` mean anything.
    """

    def __init__(self, columns: dict[str, tuple[tuple[int, ...], torch.dtype]], device: torch.device) -> None:
        self.device = device
        columns = {"key": ((), torch.int64), **columns}
        self.column = {
            name: torch.zeros((0, *shape), dtype=dtype, device=device)
            for name, (shape, dtype) in columns.items()
        }
        self.row_bytes = sum(
            max(1, shape[0] if shape else 1) * dtype.itemsize for shape, dtype in columns.values()
        )
        self.chunk_bytes = PLACES * 4 + 8 + 4
        self.clear()

    def clear(self) -> None:
        """Forgets everything and gives the memory back."""
        self.directory: dict[int, int] = {}
        self.column = {name: tensor[:0].clone() for name, tensor in self.column.items()}
        self.block = torch.full((0, PLACES), -1, dtype=torch.int32, device=self.device)
        self.chunk_key = torch.zeros(0, dtype=torch.int64, device=self.device)
        self.chunk_voxels = torch.zeros(0, dtype=torch.int32, device=self.device)
        self.free_chunks: list[int] = []
        self.chunk_top = 0
        self.free_rows = torch.zeros(0, dtype=torch.int64, device=self.device)
        self.row_top = 0
        self.rows = 0

    @property
    def bytes(self) -> int:
        """Memory of all tensors, used or reserved."""
        tensors = [*self.column.values(), self.block, self.chunk_key, self.chunk_voxels, self.free_rows]
        return sum(tensor.nbytes for tensor in tensors)

    @property
    def used_bytes(self) -> int:
        """Memory of what is in use."""
        return self.rows * self.row_bytes + len(self.directory) * self.chunk_bytes

    def find(self, key: Tensor) -> Tensor:
        """(N,) int64 keys to (N,) int64 rows, -1 where there is no such voxel."""
        slot, place = self._address(key, create=False)
        found = self.block[slot.clamp(min=0), place].to(torch.int64) if len(self.block) else slot
        return torch.where(slot >= 0, found, -1)

    def insert(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of (N,) unique keys, made where they were missing; and which are new, (N,) bool."""
        slot, place = self._address(key, create=True)
        row = self.block[slot, place].to(torch.int64)
        new = row < 0
        count = int(new.sum())
        if count:
            given = self._take_rows(count)
            row[new] = given
            self.block[slot[new], place[new]] = given.to(torch.int32)
            self.column["key"][given] = key[new]
            self.chunk_voxels.index_add_(0, slot[new], torch.ones_like(slot[new], dtype=torch.int32))
            self.rows += count
        return row, new

    def remove(self, row: Tensor) -> None:
        """Forgets (N,) unique rows; chunks that became empty go, too."""
        if len(row) == 0:
            return
        slot, place = self._address(self.column["key"][row], create=False)
        self.block[slot, place] = -1
        self.chunk_voxels.index_add_(0, slot, torch.full_like(slot, -1, dtype=torch.int32))
        self.free_rows = torch.cat([self.free_rows, row])
        self.rows -= len(row)
        touched = torch.unique(slot)
        for empty in touched[self.chunk_voxels[touched] == 0].tolist():
            del self.directory[int(self.chunk_key[empty])]
            self.free_chunks.append(empty)

    def chunks(self) -> tuple[Tensor, Tensor]:
        """Slots of the chunks that exist, (C,) int64, and the voxel coordinates of their centres, (C, 3) float32."""
        slot = torch.nonzero(self.chunk_voxels[: self.chunk_top] > 0)[:, 0]
        corner = unpack_keys(self.chunk_key[slot]) * CHUNK
        return slot, corner.to(torch.float32) + CHUNK / 2

    def rows_of(self, slot: Tensor) -> Tensor:
        """All rows of some chunks, (R,) int64."""
        row = self.block[slot].flatten()
        return row[row >= 0].to(torch.int64)

    def _address(self, key: Tensor, *, create: bool) -> tuple[Tensor, Tensor]:
        """Chunk slot (-1 where there is none) and place in the chunk of (N,) keys."""
        coordinate = unpack_keys(key)
        chunk = pack_keys(coordinate >> 3)
        inside = coordinate & (CHUNK - 1)
        place = (inside[:, 0] * CHUNK + inside[:, 1]) * CHUNK + inside[:, 2]
        distinct, which = torch.unique(chunk, return_inverse=True)
        names = distinct.tolist()
        if create:
            self._make_chunks([name for name in names if name not in self.directory])
        slots = torch.tensor([self.directory.get(name, -1) for name in names], dtype=torch.int64)
        return slots.to(self.device)[which], place

    def _make_chunks(self, names: list[int]) -> None:
        if not names:
            return
        reused = [self.free_chunks.pop() for _ in range(min(len(names), len(self.free_chunks)))]
        fresh = list(range(self.chunk_top, self.chunk_top + len(names) - len(reused)))
        self.chunk_top += len(fresh)
        if self.chunk_top > len(self.block):
            extra = grown(len(self.block), self.chunk_top) - len(self.block)
            self.block = torch.cat([self.block, self.block.new_full((extra, PLACES), -1)])
            self.chunk_key = torch.cat([self.chunk_key, self.chunk_key.new_zeros(extra)])
            self.chunk_voxels = torch.cat([self.chunk_voxels, self.chunk_voxels.new_zeros(extra)])
        slots = reused + fresh
        self.chunk_key[torch.tensor(slots, device=self.device)] = torch.tensor(names, device=self.device)
        self.directory.update(zip(names, slots, strict=True))

    def _take_rows(self, count: int) -> Tensor:
        """Rows that nobody uses, zeroed; freed ones first."""
        reused = self.free_rows[len(self.free_rows) - min(count, len(self.free_rows)) :]
        self.free_rows = self.free_rows[: len(self.free_rows) - len(reused)]
        for tensor in self.column.values():
            tensor[reused] = 0
        fresh = torch.arange(self.row_top, self.row_top + count - len(reused), device=self.device)
        self.row_top += len(fresh)
        capacity = len(self.column["key"])
        if self.row_top > capacity:
            extra = grown(capacity, self.row_top) - capacity
            for name, tensor in self.column.items():
                self.column[name] = torch.cat([tensor, tensor.new_zeros((extra, *tensor.shape[1:]))])
        return torch.cat([reused, fresh])


def grown(capacity: int, needed: int) -> int:
    """The next capacity: half as much again, so that copying stays cheap and little lies idle."""
    return max(needed, capacity + capacity // 2, 1024)
