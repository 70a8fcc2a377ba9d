"""Batches against plain dictionaries."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import torch
from clouds import room
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.training.batch import boundaries, majority, make_batch, offsets


def test_voxels_carry_the_majority_of_their_points() -> None:
    clouds = [room(0, 500), room(1, 700)]
    batch = make_batch(clouds, ("color", "normal"), 0.3, TorchBackend())
    votes: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for index, cloud in enumerate(clouds):
        for cell, label in zip(np.floor(cloud.points_m / 0.3).astype(int), cloud.label, strict=True):
            votes[(index, *cell.tolist())][int(label)] += 1
    cells = [tuple(row) for row in batch.voxels.coords.tolist()]
    assert cells == sorted(votes)
    for cell, name in zip(cells, batch.name.tolist(), strict=True):
        most = max(votes[cell].values())
        assert name == min(label for label, count in votes[cell].items() if count == most)
    assert batch.batch.tolist() == [cell[0] for cell in cells]


def test_things_of_different_clouds_stay_different() -> None:
    batch = make_batch([room(0, 500), room(0, 500)], ("color",), 0.1, TorchBackend())
    first, second = (set(batch.instance[batch.batch == index].tolist()) for index in (0, 1))
    assert not first & second
    assert len(first) == len(second) == 3


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 3)), min_size=1, max_size=60))
def test_majority(pairs: list[tuple[int, int]]) -> None:
    cell, value = (torch.tensor(side) for side in zip(*pairs, strict=True))
    cells, cell = torch.unique(cell, return_inverse=True)
    got = majority(value, cell, len(cells) + 1).tolist()
    assert got.pop() == -1  # a cell without points
    for index in range(len(cells)):
        counts = Counter(value[cell == index].tolist())
        most = max(counts.values())
        assert got[index] == min(v for v, count in counts.items() if count == most)


def test_boundaries_lie_where_neighbours_differ() -> None:
    coords = torch.tensor([[0, x, 0, 0] for x in range(6)] + [[1, 0, 0, 0]])
    name = torch.tensor([0, 0, 0, 1, 1, -1, 0])
    thing = torch.tensor([0, 0, 1, 2, 2, -1, 3])
    got = boundaries(coords, name, thing)
    assert got[:5].tolist() == [[0, 0], [0, 1], [1, 1], [1, 1], [0, 0]]
    assert bool(got[5].isnan().all())  # of no class
    assert got[6].tolist() == [0, 0]  # another cloud


def test_offsets_lead_to_the_middle_of_the_box() -> None:
    coords = torch.tensor([[0, 0, 0, 0], [0, 4, 0, 0], [0, 1, 2, 0], [0, 9, 9, 9]])
    thing = torch.tensor([0, 0, 0, -1])
    got = offsets(coords, thing, 0.5)
    middle = torch.tensor([2.0, 1.0, 0.0]) * 0.5
    torch.testing.assert_close(got[:3] + coords[:3, 1:] * 0.5, middle.expand(3, 3))
    assert bool(got[3].isnan().all())


def test_a_few_labels_are_not_outvoted_by_points_without_one() -> None:
    cloud = room(0, 800)
    few = np.full(800, -1)
    few[::100] = cloud.label[::100]
    cloud = replace(cloud, label=few, region=np.arange(800) // 400)
    batch = make_batch([cloud, cloud], ("color",), 0.3, TorchBackend(), sparse=True)
    named = {tuple(cell) for cell in batch.voxels.coords[batch.name >= 0].tolist()}
    cells = np.floor(cloud.points_m[::100] / 0.3).astype(int).tolist()
    assert named == {(scene, *cell) for scene in (0, 1) for cell in cells}
    assert set(batch.region.tolist()) == {0, 1, 2, 3}
