"""A small room of plain shapes cut into things; boxes of known places."""

import numpy as np
import pytest
import torch
from windows import VOXEL_M, box_cells, window

from ws3d_ros.instances.boxes import boxes, vote
from ws3d_ros.instances.merging import CUES, Graph, cues, merge
from ws3d_ros.instances.segmentation import (
    region_sums,
    renumbered,
    segment,
    structure_labels,
    superpoints,
    with_names,
)
from ws3d_ros.instances.superpoints import Regions
from ws3d_ros.reconstruction.voxel_map import unpack_keys
from ws3d_ros.reconstruction.window import Window

NAMES = ("floor", "wall", "chair", "sofa")
FLOOR, CHAIR, SOFA = 1, 3, 4
STRUCTURE = structure_labels(NAMES)
CENTER = np.array([3.0, 4.0, 1.0])


def shell(low: tuple[int, int, int], size: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Surface of a block of voxels, open below, and its outward normals."""
    x, y, z = low
    cells = box_cells(low, (x + size[0], y + size[1], z + size[2]))
    away = (cells - torch.tensor(low)).float()
    top = torch.tensor(size).float() - 1
    normal = (away == top).float() - (away == 0).float()
    normal[:, 2].clamp_(min=0.0)
    surface = normal.any(dim=1)
    return cells[surface], torch.nn.functional.normalize(normal[surface], dim=1)


def room(*things: tuple[tuple[int, int, int], tuple[int, int, int], int, int]) -> tuple[Window, torch.Tensor]:
    """A floor of 4 x 4 m with things (low, size, label, grey) on it; (N,) which thing a voxel is of."""
    floor = box_cells((0, 0, 0), (80, 80, 1))
    cells, normals = [floor], [torch.tensor([[0.0, 0.0, 1.0]]).expand(len(floor), 3)]
    labels, greys, truth = (
        [torch.full((len(floor),), FLOOR)],
        [torch.full((len(floor),), 90.0)],
        [floor[:, 0] * 0],
    )
    for number, (low, size, label, grey) in enumerate(things, start=1):
        surface, normal = shell(low, size)
        cells.append(surface)
        normals.append(normal)
        labels.append(torch.full((len(surface),), label))
        greys.append(torch.full((len(surface),), float(grey)))
        truth.append(torch.full((len(surface),), number))
    together = torch.cat(cells)
    win = window(
        together,
        normal=torch.cat(normals),
        label=torch.cat(labels).to(torch.int16),
        color=torch.cat(greys)[:, None].expand(-1, 3),
        instance=torch.cat(truth).int(),
    )
    return win, win.instance


def found(win: Window, **heads: torch.Tensor) -> torch.Tensor:
    regions = superpoints(win, heads.get("boundary"))
    return segment(win, regions, said(win, regions, 0.8), STRUCTURE, **heads)


def said(win: Window, regions: Regions, confidence: float) -> torch.Tensor:
    """What would be known if each voxel's label were so likely, and nothing else."""
    voxels = torch.zeros(len(win), len(NAMES) + 1)
    voxels[torch.arange(len(win)), win.label.long()] = confidence
    return torch.zeros(regions.count, len(NAMES) + 1).index_add(0, regions.of_voxel, voxels)[:, 1:]


def agree(instance: torch.Tensor, truth: torch.Tensor, number: int) -> float:
    """Best overlap of a true thing with a found one."""
    mine = truth == number
    return max(
        float((mine & (instance == other)).sum() / (mine | (instance == other)).sum())
        for other in [*instance[mine].unique().tolist(), -1]
        if other != 0
    )


def test_things_of_all_sizes_stand_on_a_floor_that_is_none() -> None:
    win, truth = room(((10, 10, 1), (40, 18, 14), SOFA, 30), ((60, 60, 1), (9, 9, 9), CHAIR, 200))
    instance = found(win)
    assert agree(instance, truth, 1) > 0.9
    assert agree(instance, truth, 2) > 0.9
    assert (instance[truth == 0] > 0).float().mean() < 0.05


def test_two_chairs_side_by_side_stay_two() -> None:
    win, truth = room(((10, 10, 1), (10, 10, 16), CHAIR, 120), ((21, 10, 1), (10, 10, 16), CHAIR, 120))
    instance = found(win)
    assert agree(instance, truth, 1) > 0.9
    assert agree(instance, truth, 2) > 0.9


def test_boundaries_and_votes_speak_against_joining() -> None:
    win, truth = room(((10, 10, 1), (10, 10, 16), CHAIR, 120), ((20, 10, 1), (10, 10, 16), CHAIR, 120))
    middle = torch.tensor([[0.0, 0.0, 0.0], [15.0, 15.0, 9.0], [25.0, 15.0, 9.0]])[truth.long()] * VOXEL_M
    x = unpack_keys(win.keys)[:, 0]
    edge = ((x == 19) | (x == 20)).float()
    regions = superpoints(win)
    graph = region_sums(win, regions, said(win, regions, 1.0), edge, middle - win.points_m)
    # Regions of one chair only: their votes are a chair's middle, so they meet or are half a metre apart.
    chair = graph.inside[:, 6] / graph.count / VOXEL_M
    a, b = chair[regions.edges].T
    one, two = (a - b).abs() < 0.1, (a - b).abs() > 9.9
    table = dict(zip(CUES, cues(graph).T, strict=True))
    assert bool(two.any())
    assert float(table["boundary"][two].mean()) > float(table["boundary"][one].mean())
    assert float(table["votes apart"][one].max()) < float(table["votes apart"][two].min())


def test_ids_are_fresh_and_the_same_again() -> None:
    win, _ = room(((10, 10, 1), (40, 18, 14), SOFA, 30), ((60, 60, 1), (9, 9, 9), CHAIR, 200))
    instance = found(win)
    assert instance.dtype == torch.int32
    assert instance.unique().tolist() == list(range(int(instance.amax()) + 1))
    assert torch.equal(instance, found(win))


def test_works_without_names_colours_and_normals() -> None:
    win, _ = room(((10, 10, 1), (40, 18, 14), SOFA, 30))
    bare = window(unpack_keys(win.keys), color=torch.full((len(win), 3), torch.nan))
    regions = superpoints(bare)
    nothing = torch.zeros(regions.count, len(NAMES))
    assert segment(bare, regions, nothing, STRUCTURE).shape == (len(win),)


def test_an_empty_window_has_no_things() -> None:
    win = window(torch.zeros(0, 3, dtype=torch.int64))
    regions = superpoints(win)
    assert len(segment(win, regions, torch.zeros(regions.count, len(NAMES)), STRUCTURE)) == 0


def test_small_parts_are_none() -> None:
    assert renumbered(torch.tensor([0, 5, 5, 2, 7, 7]), 2).tolist() == [0, 1, 1, 0, 2, 2]


def test_merging_joins_the_likeliest_pair_first() -> None:
    count = torch.full((3,), 10.0)
    inside = torch.zeros(3, 9)
    inside[:, 3] = 10 * torch.tensor([0.0, 0.1, 0.4])
    inside[:, 0] = 10 * torch.tensor([0.0, 1.0, 2.0])
    low = inside[:, :3] / 10
    edges = torch.tensor([[0, 1], [1, 2]])
    graph = Graph(
        count, inside, torch.zeros(3, 1), low, low + 1, edges, torch.ones(2), torch.zeros(2, 4), False
    )
    weight = torch.zeros(15)
    weight[2] = -1.0  # colour alone: 0.1 and 0.3 apart, then 0.35 from the mean of both
    assert merge(graph, weight, 0.34).tolist() == [0, 0, 1]
    assert len(merge(graph, weight, 0.36).unique()) == 1


def test_classes_are_voted_without_structure() -> None:
    label = torch.tensor([FLOOR, FLOOR, CHAIR, SOFA, FLOOR], dtype=torch.int16)
    named, score = vote(
        label, torch.tensor([0.9, 0.9, 0.5, 0.4, 0.9]), torch.tensor([1, 1, 1, 1, 2]).int(), STRUCTURE
    )
    assert named.tolist() == [0, CHAIR, 0]
    assert score.tolist() == pytest.approx([0.0, 0.125, 0.0])


@pytest.mark.parametrize("yaw", [-1.2, 0.0, 0.5, 1.4])
def test_box_of_a_turned_block_with_a_stray_voxel(yaw: float) -> None:
    rng = np.random.default_rng(1)
    body = rng.uniform(-0.5, 0.5, (40_000, 3)) * (2.0, 0.8, 0.6)
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    body[:, :2] = body[:, :2] @ turn.T
    cells = np.unique(np.floor((body + CENTER) / VOXEL_M).astype(np.int64), axis=0)
    stray = np.floor((np.array([[0.0, 0.0, 0.8]]) + CENTER) / VOXEL_M).astype(np.int64)
    win = window(torch.from_numpy(np.concatenate([cells, stray])))
    label = torch.full((len(win),), CHAIR, dtype=torch.int16)
    (box,) = boxes(win, label, torch.full((len(win),), 0.5), torch.ones(len(win)).int(), STRUCTURE)
    # Voxels swell a block by up to one, trimming takes off about one.
    assert box.box_center_m == pytest.approx(tuple(CENTER), abs=VOXEL_M)
    assert box.box_size_m == pytest.approx((2.0, 0.8, 0.6), abs=2.1 * VOXEL_M)
    assert abs(np.sin(box.box_yaw_rad - yaw)) < 0.06
    assert (box.label, box.confidence) == (CHAIR, pytest.approx(0.5))


def test_things_without_a_name_are_none() -> None:
    instance = torch.tensor([1, 1, 1, 2, 2, 0, 3], dtype=torch.int32)
    label = torch.tensor([0, 0, 4, 0, 4, 4, 0], dtype=torch.int16)
    assert with_names(instance, label).tolist() == [0, 0, 0, 2, 2, 0, 0]
    assert with_names(instance[:0], label[:0]).tolist() == []
