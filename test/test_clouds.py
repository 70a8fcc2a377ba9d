"""Names of clouds, with a reader that knows floors from walls, and by the parts taken one by one."""

from __future__ import annotations

from dataclasses import replace

import torch
from small_world import ColourEncoder
from students import SurfaceReader, spec, surface_namer
from torch import Tensor

from ws3d_ros.alignment.labelling import decide
from ws3d_ros.clouds import name_cloud
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.inference import Reader
from ws3d_ros.network.namer import Namer
from ws3d_ros.network.student import Student
from ws3d_ros.reconstruction.voxelise import voxelise

WORDS = replace(Vocabulary.of(["floor", "wall", "box"]), synonyms=((), (), ()))


def corner() -> tuple[Tensor, Tensor]:
    """A floor and a wall of 2 m with four points a voxel, shuffled, and which of them is wall."""
    side = torch.arange(0.0125, 2.0, 0.025)
    u, v = (each.ravel() for each in torch.meshgrid(side, side, indexing="ij"))
    floor, wall = torch.stack([u, v, 0 * u + 0.01], 1), torch.stack([0 * u + 2.01, u, v + 0.05], 1)
    points, is_wall = torch.cat([floor, wall]), torch.arange(2 * len(u)) >= len(u)
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    return points[order], is_wall[order]


def test_points_get_the_names_of_their_voxels_in_their_order() -> None:
    points, is_wall = corner()
    normal = torch.where(is_wall[:, None], torch.tensor([-1.0, 0, 0]), torch.tensor([0, 0, 1.0]))
    named = name_cloud(surface_namer(SurfaceReader()), WORDS, points, None, normal, 0, 0.05)
    assert torch.equal(named.label.long(), torch.where(is_wall, 2, 1))
    assert named.voxels == 2 * 40 * 40
    assert named.warning == ""


def test_normals_are_estimated_where_there_are_none() -> None:
    points, is_wall = corner()
    named = name_cloud(surface_namer(SurfaceReader()), WORDS, points, None, None, 0, 0.05)
    right = named.label.long() == torch.where(is_wall, 2, 1)
    assert right.float().mean() > 0.95  # all but the edge, where a plane goes through both


def test_surfaces_agree_on_specks() -> None:
    points, is_wall = corner()
    normal = torch.where(is_wall[:, None], torch.tensor([-1.0, 0, 0]), torch.tensor([0, 0, 1.0]))
    speck = ((points[:, :2] - 1.0).abs().amax(1) < 0.05) & ~is_wall  # four voxels of the floor
    normal[speck] = torch.tensor([0.71, 0.0, 0.70])  # a wall, if anything, for this reader
    raw, agreed = (
        name_cloud(surface_namer(SurfaceReader()), WORDS, points, None, normal, share, 0.05)
        for share in (0.0, 0.8)
    )
    assert (raw.label[speck] == 2).all()
    assert (agreed.label[speck] == 1).all()


def test_the_network_reads_colours_and_given_normals() -> None:
    torch.manual_seed(0)
    student = Student(spec()).eval()
    namer = Namer(
        "random",
        Reader(student, choose_backend(), torch.device("cpu"), "float32"),
        student.heads,
        ColourEncoder(),
    )
    points, _ = corner()
    color, normal = (
        255 * torch.rand_like(points),
        torch.nn.functional.normalize(torch.randn_like(points), dim=1),
    )
    named = name_cloud(namer, WORDS, points, color, normal, 0, 0.0)
    window, row = voxelise(points, color, normal, 0.05)
    label, confidence = decide(namer.probabilities(window, namer.embed(WORDS)), 3, 0.0)
    assert torch.equal(named.label, label[row])
    assert torch.equal(named.confidence, confidence[row])


def test_clouds_that_are_no_metres_are_told() -> None:
    points, _ = corner()
    namer = surface_namer(SurfaceReader())
    assert "touch no other" in name_cloud(namer, WORDS, 1000 * points, None, None, 0, 0.05).warning
    assert "metres?" in name_cloud(namer, WORDS, points / 1000, None, None, 0, 0.05).warning
