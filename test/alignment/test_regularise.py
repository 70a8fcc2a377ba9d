"""Sweeps spread words along surfaces and stop at creases and changes of colour."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from windows import box_cells, random_cells, window

from ws3d_ros.alignment.neighbours import neighbour_table
from ws3d_ros.alignment.regularise import (
    COLOR_SPREAD,
    HALF_TRUST,
    NORMAL_SPREAD,
    REGION_SHARE,
    affinity,
    agree,
    smooth,
    trust_in,
)
from ws3d_ros.reconstruction.voxel_map import unpack_keys
from ws3d_ros.reconstruction.window import Window


def plain_affinity(window: Window) -> np.ndarray:
    """(N, N) by a double loop over all pairs."""
    cells, normal = unpack_keys(window.keys).numpy(), window.normal.numpy()
    color = window.color.numpy()
    likeness = np.zeros((len(cells), len(cells)))
    for i in range(len(cells)):
        for j in range(len(cells)):
            if i == j or np.abs(cells[i] - cells[j]).max() > 1:
                continue
            bent = 1 - abs(normal[i] @ normal[j]) if normal[i].any() and normal[j].any() else 0.0
            changed = np.linalg.norm(color[i] - color[j])
            changed = 0.0 if np.isnan(changed) else changed
            likeness[i, j] = np.exp(-bent / NORMAL_SPREAD - changed / COLOR_SPREAD)
    total = likeness.sum(1, keepdims=True)
    return np.divide(likeness, total, out=np.zeros_like(likeness), where=total > 0)


def scene(count: int, seed: int) -> Window:
    """Random cells with random colours and normals, some of them missing."""
    cells = random_cells(count, 3, seed)
    source = torch.Generator().manual_seed(seed)
    normal = torch.nn.functional.normalize(torch.randn(len(cells), 3, generator=source), dim=1)
    normal[torch.rand(len(cells), generator=source) < 0.3] = 0.0
    color = torch.rand(len(cells), 3, generator=source) * 255
    color[torch.rand(len(cells), generator=source) < 0.3] = torch.nan
    return window(cells, color=color, normal=normal)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60), st.integers(0, 1000), st.integers(0, 4))
def test_agrees_with_plain_loops(count: int, seed: int, sweeps: int) -> None:
    win = scene(count, seed)
    source = torch.Generator().manual_seed(seed)
    probability = torch.softmax(torch.randn(len(win), 5, generator=source), dim=1)
    trust = torch.rand(len(win), generator=source) * (torch.rand(len(win), generator=source) < 0.7)
    neighbours = affinity(win, neighbour_table(win.keys))
    matrix = plain_affinity(win)
    # float32 against float64: a few roundings a sweep.
    np.testing.assert_allclose(neighbours.to_dense().numpy(), matrix, atol=1e-5)

    now = np.where(trust.numpy()[:, None] > 0, probability.double().numpy(), 0.0)
    for _ in range(sweeps):
        own = trust.numpy()[:, None] * probability.double().numpy()
        now = own + (1 - trust.numpy()[:, None]) * (matrix @ now)
        total = now.sum(1, keepdims=True)
        now = np.divide(now, total, out=np.zeros_like(now), where=total > 1e-12)
    np.testing.assert_allclose(smooth(probability, trust, neighbours, sweeps).numpy(), now, atol=1e-4)


def test_a_wrong_voxel_is_outvoted_and_an_unseen_one_filled() -> None:
    win = window(box_cells((0, 0, 0), (5, 5, 1)))
    probability = torch.tensor([0.9, 0.1]).repeat(25, 1)
    probability[12] = torch.tensor([0.3, 0.7])
    trust = torch.full((25,), 0.5)
    trust[[0, 24]] = 0.0
    result = smooth(probability, trust, affinity(win, neighbour_table(win.keys)), sweeps=3)
    assert (result.argmax(1) == 0).all()
    torch.testing.assert_close(result.sum(1), torch.ones(25))


def test_a_crease_and_a_change_of_colour_hold_words_back() -> None:
    cells = box_cells((0, 0, 0), (2, 1, 1))
    same = affinity_of_two(cells, normals=((0, 0, 1), (0, 0, 1)), greys=(100.0, 100.0))
    bent = affinity_of_two(cells, normals=((0, 0, 1), (1, 0, 0)), greys=(100.0, 100.0))
    other = affinity_of_two(cells, normals=((0, 0, 1), (0, 0, 1)), greys=(20.0, 220.0))
    assert bent < 0.1 * same
    assert other < 0.1 * same


def affinity_of_two(
    cells: torch.Tensor, normals: tuple[tuple[int, int, int], ...], greys: tuple[float, float]
) -> float:
    """Share of the middle voxel's attention that the last gets, in a row with an identical first."""
    row = torch.cat([cells, torch.tensor([[-1, 0, 0]])])
    normal = torch.tensor([*normals, normals[0]], dtype=torch.float32)
    color = torch.tensor([*greys, greys[0]])[:, None].expand(3, 3)
    win = window(row, normal=normal, color=color)
    return float(affinity(win, neighbour_table(win.keys)).to_dense()[1, 2])


def test_far_from_everything_seen_nothing_is_said() -> None:
    win = window(box_cells((0, 0, 0), (10, 1, 1)))
    trust = torch.zeros(10)
    trust[0] = 0.9
    probability = torch.full((10, 2), 0.5)
    result = smooth(probability, trust, affinity(win, neighbour_table(win.keys)), sweeps=3)
    assert (result.sum(1) > 0).tolist() == [True] * 4 + [False] * 6


def test_no_sweeps_change_nothing_that_was_seen() -> None:
    win = scene(20, 1)
    probability = torch.softmax(torch.randn(len(win), 3, generator=torch.Generator().manual_seed(3)), dim=1)
    neighbours = affinity(win, neighbour_table(win.keys))
    torch.testing.assert_close(smooth(probability, torch.ones(len(win)), neighbours, 0), probability)


def test_trust_grows_with_evidence_and_never_closes_the_ears() -> None:
    trust = trust_in(torch.tensor([0.0, 1.0, HALF_TRUST, 1e6]))
    assert trust[0] == 0
    assert trust[2] == 0.5
    assert (trust.diff() > 0).all()
    assert trust[3] < 1


@given(st.integers(0, 40), st.integers(1, 6), st.integers(0, 1000))
def test_regions_agree_as_plain_loops_say(count: int, regions: int, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    probability = torch.softmax(2.0 * torch.randn(count, 3, generator=source), dim=1)
    probability[torch.rand(count, generator=source) < 0.3] = 0.0
    region = torch.randint(0, regions, (count,), generator=source)
    found = agree(probability, region)
    for row in range(count):
        there = probability[(region == region[row]) & (probability.sum(1) > 0)]
        mean = there.mean(0) if len(there) else torch.zeros(3)
        share = REGION_SHARE if probability[row].any() else 1.0
        # float32 sums of at most 40 numbers in 0..1.
        torch.testing.assert_close(
            found[row], (1 - share) * probability[row] + share * mean, atol=1e-5, rtol=0
        )


def test_nothing_passes_between_regions() -> None:
    region = torch.tensor([0, 0, 1, 1])
    before = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.0, 0.0]])
    other = before.clone()
    other[:2] = torch.tensor([0.5, 0.5])
    assert torch.equal(agree(before, region)[2:], agree(other, region)[2:])
    torch.testing.assert_close(agree(before, region)[3], before[2])
