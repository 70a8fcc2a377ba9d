"""The tree of voxels, against a dict."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ws3d_ros.reconstruction.keys import pack_keys
from ws3d_ros.reconstruction.pool import Column, Pool
from ws3d_ros.reconstruction.store import CHUNK_VOXELS, VoxelStore

CPU = torch.device("cpu")
HERE = torch.zeros(3, dtype=torch.int64)


def cells(generator: np.random.Generator, count: int, reach: int) -> torch.Tensor:
    return torch.from_numpy(np.unique(generator.integers(-reach, reach, (count, 3)), axis=0))


def add_new(store: VoxelStore, coords: torch.Tensor, near: torch.Tensor = HERE, stamp_ns: int = 0) -> int:
    """Adds those that are not there; returns the number forgotten."""
    present = store.find(coords)
    store.mark_seen(present[present >= 0], stamp_ns)
    return store.add(coords[present < 0], near, stamp_ns)[1]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([5, 40, 5000]))
def test_adding_and_removing_is_that_of_a_dict(seed: int, reach: int) -> None:
    generator = np.random.default_rng(seed)
    store, present = VoxelStore(10**9, 2, CPU), set()
    for _ in range(6):
        fresh = cells(generator, 300, reach)
        add_new(store, fresh)
        present |= {tuple(cell) for cell in fresh.tolist()}
        gone = torch.tensor(sorted(present))[generator.random(len(present)) < 0.4]
        store.remove(store.find(gone))
        present -= {tuple(cell) for cell in gone.tolist()}

        assert len(store) == len(present)
        asked = torch.cat([torch.tensor(sorted(present)).view(-1, 3), cells(generator, 200, reach)])
        rows = store.find(asked)
        assert (rows >= 0).tolist() == [tuple(cell) in present for cell in asked.tolist()]
        found = rows >= 0
        assert torch.equal(store.rows["key"][rows[found]], pack_keys(asked[found]))


def test_chunks_in_a_box_hold_all_its_voxels_and_none_from_afar() -> None:
    store = VoxelStore(10**9, 0, CPU)
    coords = cells(np.random.default_rng(1), 4000, 300)
    add_new(store, coords)
    for low, high in (((-40, -300, 3), (70, 11, 60)), ((0, 0, 0), (0, 0, 0)), ((-999,) * 3, (999,) * 3)):
        low, high = torch.tensor(low), torch.tensor(high)
        chunks, corner = store.chunks_in_box(low, high)
        keys = set(store.rows["key"][store.rows_in(chunks)].tolist())
        inside = ((coords >= low) & (coords <= high)).all(1)
        assert set(pack_keys(coords[inside]).tolist()) <= keys
        reaches = ((coords // CHUNK_VOXELS) * CHUNK_VOXELS <= high) & (
            (coords // CHUNK_VOXELS) * CHUNK_VOXELS + CHUNK_VOXELS > low
        )
        assert keys == set(pack_keys(coords[reaches.all(1)]).tolist())
        assert ((corner <= high) & (corner + CHUNK_VOXELS > low)).all()


def test_an_emptied_store_has_room_for_as_many_again_without_growing() -> None:
    store = VoxelStore(10**9, 4, CPU)
    coords = cells(np.random.default_rng(2), 3000, 60)
    add_new(store, coords)
    before = store.bytes
    for _ in range(3):
        store.remove(store.find(coords))
        assert len(store) == 0
        assert (
            len(store.rows_in(store.chunks_in_box(-torch.tensor([99] * 3), torch.tensor([99] * 3))[0])) == 0
        )
        add_new(store, coords)
    assert store.bytes == before


def test_new_voxels_are_blank_even_where_old_ones_were() -> None:
    store = VoxelStore(10**9, 4, CPU)
    coords = cells(np.random.default_rng(3), 500, 20)
    add_new(store, coords)
    rows = store.find(coords)
    for name in ("state", "feature", "feature_weight", "label", "confidence", "instance"):
        store.rows[name][rows] = 3
    store.remove(rows)
    add_new(store, coords)
    for name in ("state", "feature", "feature_weight", "label", "confidence", "instance"):
        assert not store.rows[name][store.find(coords)].any(), name


def corridor(start: int) -> torch.Tensor:
    """Voxels of a stretch of 64 cells of a corridor along x."""
    axes = torch.arange(start, start + 64), torch.arange(0, 20), torch.arange(0, 2)
    return torch.cartesian_prod(*axes)


def test_the_budget_holds_and_the_farthest_are_forgotten_first() -> None:
    budget = 2_000_000
    store, forgotten = VoxelStore(budget, 16, CPU), 0
    for step in range(40):
        near = torch.tensor([64 * step, 10, 0])
        forgotten += add_new(store, corridor(64 * step), near, step)
        assert store.bytes <= budget
    assert forgotten > 0
    assert len(store) + forgotten == 40 * len(corridor(0))
    kept = [bool((store.find(corridor(64 * step)) >= 0).all()) for step in range(40)]
    gone = [bool((store.find(corridor(64 * step)) < 0).all()) for step in range(40)]
    assert kept[-1]
    assert gone[0]
    # A front runs along the corridor: all behind it is gone, all before it is kept.
    assert sum(not (k or g) for k, g in zip(kept, gone, strict=True)) <= 1
    assert kept == sorted(kept)
    assert gone == sorted(gone, reverse=True)
    # Forgetting should not be more than there was need for: most of the budget stays in use.
    assert len(store) * store.rows.item_bytes > 0.5 * budget


def test_of_equally_far_chunks_the_oldest_is_forgotten_first() -> None:
    store = VoxelStore(1_000_000, 16, CPU)
    add_new(store, corridor(-640), HERE, 2)
    add_new(store, corridor(640 - 56), HERE, 1)
    assert len(store) == 2 * len(corridor(0))
    stamp = 3
    while not add_new(store, corridor(0)[:128] + torch.tensor([0, 0, 2 * stamp]), HERE, stamp):
        stamp += 1
    left, right = (int((store.find(corridor(start)) >= 0).sum()) for start in (-640, 640 - 56))
    assert right < left


def test_what_never_fits_is_taken_from_the_nearest_on() -> None:
    store = VoxelStore(1_000_000, 64, CPU)
    coords = torch.cat([corridor(64 * step) for step in range(20)])
    rows, forgotten = store.add(coords, HERE, 7)
    assert forgotten == 0
    assert store.bytes <= 1_000_000
    taken = coords[rows >= 0][:, 0]
    assert 1000 < len(taken) == len(store) < len(coords)
    assert taken.max() < coords[rows < 0][:, 0].min() + CHUNK_VOXELS


def test_a_pool_refuses_to_give_more_than_it_has() -> None:
    pool = Pool({"value": Column((2,), torch.float32, fill=5)}, 4, CPU)
    items = pool.take(3)
    assert sorted(items.tolist()) == [0, 1, 2]
    assert (pool["value"][items] == 5).all()
    with pytest.raises(IndexError, match="2 items wanted, 1 are free"):
        pool.take(2)
    pool.give(items[:1])
    pool.grow(8)
    assert (pool.available, pool.used, pool.capacity) == (6, 2, 8)
    assert set(pool.take(6).tolist()) == set(range(8)) - set(items[1:].tolist())
