"""Where voxels live: a shallow tree over rows of attributes.

Root: a dict of *regions* (64^3 voxels). A region is a table of 8^3 *chunks*, a chunk a table of
8^3 voxels, a voxel a row of attributes. (The shape of a VDB tree: Museth, ACM TOG 2013.) Finding,
adding and removing voxels costs as much as there are voxels in question, however large the map is.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from ws3d_ros.reconstruction.keys import pack_keys, unique_cells, unpack_keys
from ws3d_ros.reconstruction.pool import Column, Pool

CHUNK_VOXELS = 8
"""Voxels along the edge of a chunk, and chunks along the edge of a region."""

POINT, NORMAL, COLOR = slice(0, 3), slice(3, 6), slice(6, 9)
WEIGHT, COLOR_WEIGHT, LOG_ODDS = 9, 10, 11
"""Columns of ``state``: means of position, normal and colour, their weights, log-odds of occupancy.
They lie side by side so that updating a voxel touches one cache line."""

_LEVEL_BITS = 3
_CELLS = CHUNK_VOXELS**3
_ROOT_BYTES = 200  # of a dict entry: measured with tracemalloc, rounded up
_ROW_SCAN = 4  # cells of chunks that can be read in the time of looking at one row
_EVICTED_SHARE = 16  # evict at least 1/16 of the rows at once, so that it happens seldom


class VoxelStore:
    """Voxels by coordinate, within a byte budget. Not for several threads at once.

    Attributes:
        rows: pool of voxels; columns ``state`` (12) f32, ``key`` i64, ``chunk`` i32, ``seen_ns`` i64,
            ``way_m`` f32 (mean way of the robot that saw it, see ``anchors.py``; 0: it stays where it is),
            ``feature`` (K) f16, ``feature_weight`` f32, ``embedding`` (E) f16, ``label`` i16,
            ``confidence`` f16, ``instance`` i32.
    """

    def __init__(
        self, budget_bytes: int, feature_channels: int, device: torch.device, embedding_channels: int = 0
    ) -> None:
        self._budget = budget_bytes
        self._device = device
        self.rows = Pool(
            {
                "state": Column((12,), torch.float32),
                "key": Column((), torch.int64),
                "chunk": Column((), torch.int32, fill=-1),
                "seen_ns": Column((), torch.int64),
                "way_m": Column((), torch.float32),
                "feature": Column((feature_channels,), torch.float16),
                "feature_weight": Column((), torch.float32),
                "embedding": Column((embedding_channels,), torch.float16),
                "label": Column((), torch.int16),
                "confidence": Column((), torch.float16),
                "instance": Column((), torch.int32),
            },
            1024,
            device,
        )
        table = {
            "child": Column((_CELLS,), torch.int32, fill=-1),
            "coord": Column((3,), torch.int64),
            "children": Column((), torch.int32),
            "parent": Column((), torch.int32, fill=-1),
        }
        self._chunks = Pool({**table, "seen_ns": Column((), torch.int64)}, 128, device)
        self._regions = Pool(table, 16, device)
        self._root: dict[int, int] = {}

    def __len__(self) -> int:
        return self.rows.used

    @property
    def bytes(self) -> int:
        """Memory allocated for the map."""
        pools = self.rows.bytes + self._chunks.bytes + self._regions.bytes
        return pools + _ROOT_BYTES * len(self._root)

    def find(self, coords: Tensor) -> Tensor:
        """(N, 3) int64 voxel coordinates, in any order, to (N,) int64 rows; -1 where there is no voxel."""
        chunk_coords, inverse = unique_cells(coords >> _LEVEL_BITS)
        return self._children(self._chunks, self._find_chunks(chunk_coords)[inverse], coords)

    def add(self, coords: Tensor, near: Tensor, stamp_ns: int) -> tuple[Tensor, int]:
        """Makes rows for new voxels, zero but for their key and stamp.

        Where the budget has no room, the chunks farthest from ``near`` are forgotten (of equally far
        ones the oldest), but none seen at ``stamp_ns`` (see :meth:`mark_seen`). If that is not enough,
        only the nearest of the new chunks are kept.

        Args:
            coords: (N, 3) int64, unique, none of them present.
            near: (3,) voxel coordinates of the sensor.
            stamp_ns: of the measurement.

        Returns:
            (N,) rows, -1 where there was no room, and the number of voxels forgotten.
        """
        if len(coords) == 0:
            return torch.zeros(0, dtype=torch.int64, device=self._device), 0
        chunk_coords, inverse = unique_cells(coords >> _LEVEL_BITS)
        missing = self._find_chunks(chunk_coords) < 0
        evicted = self._make_room(coords, chunk_coords[missing], near, stamp_ns)
        chunks = self._find_chunks(chunk_coords)
        sizes = torch.bincount(inverse, minlength=len(chunk_coords))
        kept = self._that_fit(chunk_coords, chunks, sizes, near)
        self._add_chunks(chunk_coords, chunks, kept)
        self._chunks["seen_ns"][chunks[kept]] = stamp_ns

        rows = torch.full((len(coords),), -1, dtype=torch.int64, device=self._device)
        wanted = kept[inverse]
        coords, parents = coords[wanted], chunks[inverse[wanted]]
        fresh = self.rows.take(len(coords))
        rows[wanted] = fresh
        self.rows["key"][fresh] = pack_keys(coords)
        self.rows["chunk"][fresh] = parents.int()
        self._link(self._chunks, parents, coords, fresh)
        return rows, evicted

    def mark_seen(self, rows: Tensor, stamp_ns: int) -> None:
        """Sets the stamp of these voxels and their chunks."""
        self.rows["seen_ns"][rows] = stamp_ns
        self._chunks["seen_ns"][self.rows["chunk"][rows].long()] = stamp_ns

    def remove(self, rows: Tensor) -> None:
        """Forgets voxels, (n,) rows, each once; and the chunks and regions that become empty."""
        chunks = self.rows["chunk"][rows].long()
        self._unlink(self._chunks, chunks, _cell(unpack_keys(self.rows["key"][rows])))
        self.rows.give(rows)
        self._remove_empty_chunks(chunks.unique())

    def chunks_in_box(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Chunks that reach into the box of voxel coordinates from low to high, (3,) each, inclusive.

        Returns:
            (n,) chunks and (n, 3) int64 coordinates of their first voxels.
        """
        first = (low.long() >> (2 * _LEVEL_BITS)).tolist()
        last = (high.long() >> (2 * _LEVEL_BITS)).tolist()
        axes = [range(a, b + 1) for a, b in zip(first, last, strict=True)]
        in_box = len(axes[0]) * len(axes[1]) * len(axes[2])
        if in_box < len(self._root):
            cells = torch.tensor(list(itertools.product(*axes)), dtype=torch.int64)
            found = [self._root[key] for key in pack_keys(cells).tolist() if key in self._root]
        else:
            found = list(self._root.values())
        child = self._regions["child"][torch.tensor(found, dtype=torch.int64, device=self._device)]
        chunks = child[child >= 0].long()
        corner = self._chunks["coord"][chunks] << _LEVEL_BITS
        reaches = ((corner <= high) & (corner + (CHUNK_VOXELS - 1) >= low)).all(dim=-1)
        return chunks[reaches], corner[reaches]

    def rows_in(self, chunks: Tensor) -> Tensor:
        """(n,) rows of all voxels in these chunks."""
        if len(chunks) * _CELLS > _ROW_SCAN * self.rows.capacity:
            # Chunks as sparse as a LiDAR's cost more to read than all voxels.
            wanted = torch.zeros(self._chunks.capacity, dtype=torch.bool, device=self._device)
            wanted[chunks] = True
            chunk = self.rows["chunk"]
            return (wanted[chunk.clamp(min=0).long()] & (chunk >= 0)).nonzero()[:, 0]
        child = self._chunks["child"][chunks]
        return child[child >= 0].long()

    def every_row(self) -> Tensor:
        """(N,) rows of all voxels."""
        return (self.rows["chunk"] >= 0).nonzero()[:, 0]

    # Below: how the tree is kept.

    def _find_chunks(self, chunk_coords: Tensor) -> Tensor:
        region_coords, inverse = unique_cells(chunk_coords >> _LEVEL_BITS)
        found = [self._root.get(key, -1) for key in pack_keys(region_coords).tolist()]
        regions = torch.tensor(found, dtype=torch.int64, device=self._device)
        return self._children(self._regions, regions[inverse], chunk_coords)

    @staticmethod
    def _children(pool: Pool, parents: Tensor, coords: Tensor) -> Tensor:
        """Entry of each parent's table at each coordinate; -1 where there is none or no parent."""
        entry = pool["child"].view(-1)[parents.clamp(min=0) * _CELLS + _cell(coords)].long()
        return torch.where(parents >= 0, entry, -1)

    @staticmethod
    def _link(pool: Pool, parents: Tensor, coords: Tensor, children: Tensor) -> None:
        pool["child"].view(-1)[parents * _CELLS + _cell(coords)] = children.int()
        pool["children"].index_add_(0, parents, torch.ones_like(parents, dtype=torch.int32))

    @staticmethod
    def _unlink(pool: Pool, parents: Tensor, cells: Tensor) -> None:
        pool["child"].view(-1)[parents * _CELLS + cells] = -1
        pool["children"].index_add_(0, parents, torch.full_like(parents, -1, dtype=torch.int32))

    def _add_chunks(self, chunk_coords: Tensor, chunks: Tensor, kept: Tensor) -> None:
        """Fills in ``chunks`` where it is -1 and the chunk is kept."""
        missing = (kept & (chunks < 0)).nonzero()[:, 0]
        coords = chunk_coords[missing]
        region_coords, inverse = unique_cells(coords >> _LEVEL_BITS)
        regions = []
        for key, coord in zip(pack_keys(region_coords).tolist(), region_coords, strict=True):
            if key not in self._root:
                region = self._regions.take(1)
                self._regions["coord"][region] = coord
                self._root[key] = int(region)
            regions.append(self._root[key])
        parents = torch.tensor(regions, dtype=torch.int64, device=self._device)[inverse]
        fresh = self._chunks.take(len(missing))
        self._chunks["coord"][fresh] = coords
        self._chunks["parent"][fresh] = parents.int()
        self._link(self._regions, parents, coords, fresh)
        chunks[missing] = fresh

    def _remove_empty_chunks(self, chunks: Tensor) -> None:
        chunks = chunks[self._chunks["children"][chunks] == 0]
        regions = self._chunks["parent"][chunks].long()
        self._unlink(self._regions, regions, _cell(self._chunks["coord"][chunks]))
        self._chunks.give(chunks)
        regions = regions.unique()
        regions = regions[self._regions["children"][regions] == 0]
        for key in pack_keys(self._regions["coord"][regions]).tolist():
            del self._root[key]
        self._regions.give(regions)

    # Below: the budget.

    def _make_room(self, coords: Tensor, missing: Tensor, near: Tensor, stamp_ns: int) -> int:
        """Grows, or else forgets chunks, until the new voxels fit; returns the voxels forgotten.

        Args:
            coords: (N, 3) of the new voxels.
            missing: (m, 3) coordinates of the chunks that they need and that are not there.
        """
        region_keys = pack_keys(unique_cells(missing >> _LEVEL_BITS)[0]).tolist()
        regions = sum(key not in self._root for key in region_keys)
        needs = ((self._regions, regions), (self._chunks, len(missing)), (self.rows, len(coords)))
        grown = [self._grow(pool, count) for pool, count in needs]
        return 0 if all(grown) else self._evict(len(coords), len(missing), near, stamp_ns)

    def _grow(self, pool: Pool, count: int) -> bool:
        """Doubles the pool until ``count`` items are free. False if the budget does not allow it."""
        if pool.available >= count:
            return True
        left = (self._budget - self.bytes) // pool.item_bytes
        # Doubling; but of the last room only half, or what is needed, as other pools grow, too.
        needed = pool.used + count
        half = pool.capacity + left // 2
        capacity = min(max(2 * pool.capacity, needed), max(half, needed))
        if capacity > pool.capacity + left:
            capacity = half
        if capacity >= pool.capacity * 9 // 8:
            pool.grow(capacity)
        return pool.available >= count

    def _evict(self, rows: int, chunks: int, near: Tensor, stamp_ns: int) -> int:
        """Forgets the farthest chunks until there is room; returns how many voxels that were."""
        regions = torch.tensor(list(self._root.values()), dtype=torch.int64, device=self._device)
        tables = self._regions["child"][regions]
        old = tables[tables >= 0].long()
        old = old[self._chunks["seen_ns"][old] != stamp_ns]
        old = old[self._chunks["seen_ns"][old].argsort(stable=True)]
        distance = (self._chunks["coord"][old] - (near >> _LEVEL_BITS)).double().norm(dim=-1).floor()
        old = old[distance.argsort(stable=True, descending=True)]
        freed = self._chunks["children"][old].cumsum(0)
        short_of_rows = max(rows - self.rows.available, self.rows.used // _EVICTED_SHARE)
        short_of_chunks = max(chunks - self._chunks.available, 0)
        count = max(int((freed < short_of_rows).sum()) + 1, short_of_chunks)
        gone = self.rows_in(old[:count])
        self.remove(gone)
        return len(gone)

    def _that_fit(self, chunk_coords: Tensor, chunks: Tensor, sizes: Tensor, near: Tensor) -> Tensor:
        """(n,) bool: which chunks can take their new voxels, the nearest first.

        Args:
            chunk_coords: (n, 3); chunks: (n,) -1 where new; sizes: (n,) new voxels in each.
        """
        region_coords, region = unique_cells(chunk_coords >> _LEVEL_BITS)
        known = [key in self._root for key in pack_keys(region_coords).tolist()]
        new_region = ~torch.tensor(known, dtype=torch.bool, device=self._device)
        order = (chunk_coords - (near >> _LEVEL_BITS)).double().norm(dim=-1).argsort(stable=True)
        first = torch.full_like(new_region, len(order), dtype=torch.int64)
        first.scatter_reduce_(0, region[order], torch.arange(len(order), device=self._device), "amin")
        turn = first.argsort()
        fits = torch.empty_like(new_region)
        fits[turn] = ~new_region[turn] | (new_region[turn].cumsum(0) <= self._regions.available)
        fits = fits[region[order]]
        fits &= ((chunks[order] < 0) & fits).cumsum(0) <= self._chunks.available
        fits &= (sizes[order] * fits).cumsum(0) <= self.rows.available
        kept = torch.empty_like(fits)
        kept[order] = fits
        return kept


def _cell(coords: Tensor) -> Tensor:
    """(..., 3) coordinates to the index of the cell in the table of 8^3 that holds it."""
    x, y, z = (coords & (CHUNK_VOXELS - 1)).unbind(-1)
    return (x * CHUNK_VOXELS + y) * CHUNK_VOXELS + z
