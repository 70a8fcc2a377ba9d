"""Regions: one surface each, crumbs absorbed, borders counted right."""

from __future__ import annotations

import itertools

import torch
from clouds import room
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.instances.superpoints import over_segment, region_graph
from ws3d_ros.training.regions import cloud_regions, spread_labels


def corner(size: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A floor and a wall that meet: cells, colours, normals."""
    floor = [(0, x, y, 0) for x in range(size) for y in range(size)]
    wall = [(0, x, 0, z) for x in range(size) for z in range(1, size)]
    cells = sorted([*floor, *wall])
    coords = torch.tensor(cells)
    is_wall = torch.tensor([cell in set(wall) for cell in cells])
    normal = torch.where(is_wall[:, None], torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
    return coords, torch.zeros(len(cells), 3), normal


def test_a_crease_parts_floor_and_wall() -> None:
    coords, color, normal = corner()
    regions = over_segment(coords, color, normal)
    assert regions.count == 2
    assert len(torch.unique(regions.of_voxel[normal[:, 1] > 0])) == 1
    assert regions.edges.tolist() == [[0, 1]]


def test_a_change_of_colour_parts_a_plane() -> None:
    coords, color, normal = corner()
    color[coords[:, 1] >= 6] = 1.0
    assert over_segment(coords, color, normal).count == 4


def test_a_boundary_parts_a_plane_of_one_colour() -> None:
    coords, color, normal = corner()
    floor = coords[:, 3] == 0
    edge = ((coords[:, 1] == 5) | (coords[:, 1] == 6)).float()
    region = over_segment(coords, color, normal, boundary=edge).of_voxel
    assert len(torch.unique(region[floor & (coords[:, 1] <= 5)])) == 1
    assert len(torch.unique(region[floor & (coords[:, 1] >= 6)])) == 1
    assert region[floor & (coords[:, 1] == 0)][0] != region[floor & (coords[:, 1] == 11)][0]
    whole = over_segment(coords, color, normal, boundary=torch.zeros(len(coords))).of_voxel
    assert torch.equal(whole, over_segment(coords, color, normal).of_voxel)


def test_crumbs_join_the_neighbour_that_they_are_most_like() -> None:
    coords, color, normal = corner()
    crumb = (coords[:, 1] == 5) & (coords[:, 2] == 5)
    color[crumb] = 0.5
    regions = over_segment(coords, color, normal)
    assert regions.count == 2
    floor = (coords[:, 3] == 0) & (coords[:, 2] == 8)
    assert set(regions.of_voxel[crumb].tolist()) == set(regions.of_voxel[floor].tolist())


def test_clouds_of_a_batch_are_never_joined() -> None:
    coords, color, normal = corner()
    both = torch.cat([coords, coords + torch.tensor([1, 0, 0, 0])])
    regions = over_segment(both, color.repeat(2, 1), normal.repeat(2, 1))
    assert regions.count == 4
    assert not set(regions.of_voxel[: len(coords)].tolist()) & set(regions.of_voxel[len(coords) :].tolist())


@given(seed=st.integers(0, 200))
def test_edges_and_means_along_them_against_loops(seed: int) -> None:
    torch.manual_seed(seed)
    coords = torch.unique(torch.cat([torch.zeros(80, 1).long(), torch.randint(0, 6, (80, 3))], 1), dim=0)
    color = torch.randint(0, 2, (len(coords), 3)).float()
    regions = over_segment(coords, color, torch.zeros(len(coords), 3), smallest=1)
    value = torch.rand(len(coords))
    expected: dict[tuple[int, int], list[float]] = {}
    for a, b in itertools.combinations(range(len(coords)), 2):
        if int((coords[a] - coords[b]).abs().max()) == 1:
            first, second = sorted((int(regions.of_voxel[a]), int(regions.of_voxel[b])))
            if first != second:
                expected.setdefault((first, second), []).append(float(value[a] + value[b]) / 2)
    assert [tuple(edge) for edge in regions.edges.tolist()] == sorted(expected)
    mean = torch.tensor([sum(expected[key]) / len(expected[key]) for key in sorted(expected)])
    torch.testing.assert_close(regions.across(value), mean)


def test_labels_spread_over_their_region_by_majority() -> None:
    region = torch.tensor([0, 0, 0, 1, 1, 2])
    label = torch.tensor([3, 1, 1, -1, 2, -1])
    assert spread_labels(region, 3, label).tolist() == [1, 2, -1]
    assert spread_labels(region, 3, torch.full((6,), -1)).tolist() == [-1, -1, -1]


def test_a_soft_crease_does_not_join_whole_surfaces() -> None:
    """Along one stretch of the crease normals turn softly, as those of a map do; single links leak there."""
    coords, color, normal = corner(40)
    soft = (coords[:, 1] < 3) & (coords[:, 2] + coords[:, 3] < 12)
    angle = (torch.pi / 2) * (0.5 + (coords[:, 3] - coords[:, 2]).float() / 24)
    turned = torch.stack([torch.zeros(len(coords)), torch.sin(angle), torch.cos(angle)], 1)
    normal = torch.where(soft[:, None], turned, normal)
    on_wall = (coords[:, 3] > 0).long()
    leaking = over_segment(coords, color, normal, patch=1000)
    regions = over_segment(coords, color, normal)

    def purity(of_voxel: torch.Tensor, count: int) -> float:
        return float((spread_labels(of_voxel, count, on_wall)[of_voxel] == on_wall).float().mean())

    assert leaking.count == 1
    assert regions.count < 40
    assert purity(regions.of_voxel, regions.count) > 0.95
    # A patch is one piece: its voxels touch each other.
    for number in range(regions.count):
        inside = regions.of_voxel == number
        alone = over_segment(coords[inside], color[inside], normal[inside] * 0, smallest=1, patch=1000)
        assert alone.count == 1


def test_regions_of_points_are_those_of_their_voxels_and_keep_their_borders() -> None:
    cloud = room(0, 3000)
    region = cloud_regions(cloud, 0.15)
    assert region.shape == (3000,)
    cells = [tuple(cell) for cell in (cloud.points_m / 0.15).astype(int).tolist()]
    assert len({*zip(cells, region.tolist(), strict=True)}) == len(set(cells))
    coords, color, normal = corner()
    cut = over_segment(coords, color, normal)
    again = region_graph(coords, cut.of_voxel * 7 + 3)
    assert torch.equal(again.of_voxel, cut.of_voxel)
    assert torch.equal(again.edges, cut.edges)
