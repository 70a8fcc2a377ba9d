"""Replay: bounded, fair, the same after a restart, small in the package."""

from pathlib import Path

import numpy as np
import torch

from ws3d_ros.adaptation.replay import Reservoir, Voxels, around, pack, unpack
from ws3d_ros.adaptation.shipped import load_scenes, save_scenes


def voxels(count: int, seed: int) -> Voxels:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(-50, 50, (count, 3), generator=generator).int()
    normal = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    return Voxels(cells, 255 * torch.rand(count, 3, generator=generator), normal)


def test_a_reservoir_is_bounded_and_gives_each_window_the_same_chance() -> None:
    kept = np.zeros(20)
    for seed in range(300):
        reservoir = Reservoir(4, 10, seed)
        for number in range(20):
            cells = torch.full((30, 3), number, dtype=torch.int32)
            reservoir.offer(Voxels(cells, torch.zeros(30, 3), torch.zeros(30, 3)))
        assert len(reservoir.parts) == 4
        assert all(len(part) == 10 for part in reservoir.parts)
        for part in reservoir.parts:
            kept[int(part.cells[0, 0])] += 1
    # Of 300 each is expected 60 times, with a deviation of sqrt(300 * .2 * .8) = 7.
    assert np.abs(kept - 60).max() < 4 * 7


def test_a_reservoir_goes_on_after_a_restart() -> None:
    first = Reservoir(3, 8, 0)
    for seed in range(5):
        first.offer(voxels(20, seed))
    second = Reservoir(3, 8, 0)
    second.take_state(first.state())
    for reservoir in (first, second):
        reservoir.offer(voxels(20, 9))
    for ours, theirs in zip(first.parts, second.parts, strict=True):
        assert torch.equal(ours.cells, theirs.cells)


def test_around_takes_the_nearest_from_above() -> None:
    cells = torch.tensor([[0, 0, 0], [5, 0, 0], [1, 1, 90], [0, 9, 0]])
    assert around(cells, 0, 2).tolist() == [0, 2]
    assert around(cells, 0, 9).tolist() == [0, 1, 2, 3]


def test_packing_keeps_parts() -> None:
    parts = [voxels(5, 0), voxels(3, 1)]
    for ours, theirs in zip(parts, unpack(pack(parts)), strict=True):
        for name in ("cells", "color", "normal"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))


def test_shipped_scenes_are_small_and_near_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "replay.safetensors"
    part = voxels(1000, 0)
    save_scenes([part], path)
    assert path.stat().st_size < 13_000
    (loaded,) = load_scenes(path)
    assert torch.equal(loaded.cells, part.cells - part.cells.amin(0))
    assert float((loaded.color - part.color).abs().max()) <= 0.5
    assert float((loaded.normal - part.normal).abs().max()) < 0.005
    bare = Voxels(part.cells, torch.full((1000, 3), torch.nan), part.normal)
    save_scenes([part, bare], path)
    assert [bool(each.color.isnan().all()) for each in load_scenes(path)] == [False, True]
    assert load_scenes(tmp_path / "none") == []
    shipped = load_scenes()
    assert len(shipped) > 0
    assert sum(map(len, shipped)) > 20_000
