"""Pictures of the map: holes, shades, and what is lifted from them."""

import math

import torch

from ws3d_ros.alignment.virtual_views import CAMERA, TRUST, draw, fill, lift_views
from ws3d_ros.reconstruction.window import Window


def wall(color: float = math.nan) -> Window:
    """2 x 2 m at x = 2, facing the origin, 5 cm voxels; without colours, or all channels ``color``."""
    a, b = torch.meshgrid(torch.arange(-20, 20), torch.arange(-20, 20), indexing="ij")
    points = torch.stack([torch.full_like(a, 40), a, b], -1).view(-1, 3) * 0.05 + 0.025
    count = len(points)
    zero = torch.zeros(count)
    return Window(
        voxel_size_m=0.05,
        stamp_ns=1,
        keys=torch.arange(count),
        points_m=points,
        color=torch.full((count, 3), color),
        normal=torch.tensor([-1.0, 0, 0]).expand(count, 3),
        weight=zero + 1,
        feature=torch.zeros(count, 2).half(),
        feature_weight=zero,
        label=zero.to(torch.int16),
        confidence=zero.half(),
        instance=zero.int(),
    )


def looking(x: float) -> torch.Tensor:
    """A level camera at (x, 0, 0) that looks along +x, (1, 4, 4)."""
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    pose[0, 3] = x
    return pose[None]


def test_colours_where_known_and_shades_of_grey_elsewhere() -> None:
    middle = (slice(None), slice(None), CAMERA.height // 2, CAMERA.width // 2)
    assert torch.allclose(draw(wall(51.0), looking(0.0)).picture[middle], torch.tensor(0.2))
    frontal = draw(wall(), looking(0.0)).picture
    assert torch.allclose(frontal[middle], torch.tensor(220 / 255), atol=0.01)
    aslant = frontal[0, 0, CAMERA.height // 2, CAMERA.width // 4]
    assert float(aslant) < 219 / 255


def test_nothing_is_lifted_from_behind() -> None:
    turned = looking(4.0)
    turned[0, :3, :3] = turned[0, :3, :3] @ torch.diag(torch.tensor([-1.0, 1, -1]))
    assert (draw(wall(51.0), turned).views.id == -1).all()
    assert (draw(wall(51.0), looking(0.0)).views.id >= 0).any()


def test_features_are_lifted_with_less_weight_than_those_of_a_camera() -> None:
    window = wall(51.0)
    virtual = draw(window, torch.cat([looking(0.0), looking(0.5)]))
    dense = torch.zeros(2, 2, 4, 4)
    dense[:, 1] = 1.0
    patch = lift_views(virtual, dense, window, torch.eye(2), 100.0)
    assert patch.feature_sum is not None
    assert patch.feature_weight is not None
    assert torch.allclose(patch.feature_sum[:, 1], patch.feature_weight)
    assert torch.all(patch.feature_sum[:, 0] == 0)
    # Two views, each worth at most TRUST; seen from 2 m and 1.5 m they are worth more than half of that.
    assert 0.5 * 2 * TRUST < float(patch.feature_weight.max()) <= 2 * TRUST


def test_holes_are_filled_from_around_and_the_known_stays() -> None:
    known = torch.zeros(1, 1, 5, 7)
    known[0, 0, 2, 3] = 1
    color = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0)) * known
    filled = fill(color, known)
    assert torch.allclose(filled, color[:, :, 2, 3][:, :, None, None].expand_as(filled), atol=1e-6)
    known[0, 0, 0] = 1
    color = torch.rand(1, 3, 5, 7) * known
    filled = fill(color, known)
    assert torch.equal(filled[:, :, 0], color[:, :, 0])
    assert float(filled.min()) >= float(color[:, :, known[0, 0] > 0].min()) - 1e-6
    assert torch.allclose(fill(color * 0, known * 0), torch.tensor(0.5))
