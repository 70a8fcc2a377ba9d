"""The splat renderer, against a renderer that draws pixel by pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ws3d_ros.rendering.splat import DEPTH_STEP_M, MAX_RADIUS, Views, render
from ws3d_ros.sensors.frame import Pinhole

VOXEL_M = 0.05
CAMERA = Pinhole(48, 36, 40.0, 42.0, 23.1, 17.6)
AHEAD = np.eye(4)


def turned(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    pose[:3, :3] *= np.linalg.det(pose[:3, :3])
    pose[:3, 3] = generator.uniform(-0.5, 0.5, 3)
    return pose


def oracle(points: np.ndarray, camera: Pinhole, pose: np.ndarray, near_m: float = 0.1) -> tuple:
    """Each point's square, pixel by pixel, with the arithmetic of float32."""
    ids = np.full((camera.height, camera.width), -1, dtype=np.int32)
    steps = np.full(ids.shape, np.iinfo(np.int64).max)
    # The same product of the same numbers: torch and numpy differ in the last bit of a sum.
    T = torch.as_tensor(pose, dtype=torch.float32)
    in_camera = ((torch.from_numpy(points) - T[:3, 3]) @ T[:3, :3]).numpy()
    f32 = np.float32
    for number, (x, y, z) in enumerate(in_camera):
        if not z >= near_m:
            continue
        column = int(np.round(x / z * f32(camera.fx) + f32(camera.cx)))
        row = int(np.round(y / z * f32(camera.fy) + f32(camera.cy)))
        step = int(np.round(z / f32(DEPTH_STEP_M)))
        radius = min(MAX_RADIUS, int(f32(0.5 * max(camera.fx, camera.fy) * VOXEL_M) / z + f32(0.5)))
        for v in range(max(0, row - radius), min(camera.height, row + radius + 1)):
            for u in range(max(0, column - radius), min(camera.width, column + radius + 1)):
                if step < steps[v, u]:
                    steps[v, u], ids[v, u] = step, number
    return ids, np.where(ids >= 0, steps * DEPTH_STEP_M, 0).astype(np.float32)


def cloud(seed: int, count: int, reach: float = 3.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-reach, reach, (count, 3)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 300), st.sampled_from([0.4, 3.0, 30.0]))
def test_every_pixel_sees_the_point_that_the_oracle_says(seed: int, count: int, reach: float) -> None:
    points, pose = cloud(seed, count, reach), turned(seed)
    views = render(torch.from_numpy(points), CAMERA, pose, VOXEL_M)
    ids, depth = oracle(points, CAMERA, pose)
    assert np.array_equal(views.id[0].numpy(), ids)
    assert np.array_equal(views.depth_m[0].numpy(), depth)


def test_of_equally_deep_points_the_first_is_seen() -> None:
    points = torch.tensor([[0.01, 0, 1.0], [0.0, 0, 1.0], [0.0, 0.0, 1.0]])
    assert render(points, CAMERA, AHEAD, VOXEL_M).id[0, 18, 23] == 0
    assert render(points.flip(0), CAMERA, AHEAD, VOXEL_M).id[0, 18, 23] == 0


def test_a_batch_is_its_views_one_by_one() -> None:
    points = torch.from_numpy(cloud(1, 400))
    poses = np.stack([turned(seed) for seed in range(4)])
    together = render(points, CAMERA, poses, VOXEL_M, points, torch.nn.functional.normalize(points))
    for i, pose in enumerate(poses):
        alone = render(points, CAMERA, pose, VOXEL_M, points, torch.nn.functional.normalize(points))
        # Sums of products come in another order, which the last bits show.
        assert torch.allclose(together.depth_m[i], alone.depth_m[0], atol=1e-6)
        for name in ("id", "color", "normal"):
            assert torch.equal(getattr(together, name)[i], getattr(alone, name)[0]), name


def test_colours_and_normals_are_those_of_the_points() -> None:
    points = torch.from_numpy(cloud(2, 300))
    color = torch.arange(900).view(300, 3)
    normal = torch.nn.functional.normalize(torch.from_numpy(cloud(3, 300)))
    views = render(points, CAMERA, AHEAD, VOXEL_M, color, normal)
    seen = views.id >= 0
    assert seen.any()
    assert not seen.all()
    assert torch.equal(views.color[seen], color[views.id[seen].long()])
    assert torch.equal(views.normal[seen], normal[views.id[seen].long()])
    assert not views.color[~seen].any()
    assert not views.normal[~seen].any()
    assert not views.depth_m[~seen].any()
    assert views.color.dtype == color.dtype


def test_nearer_than_the_near_plane_nothing_is_drawn() -> None:
    points = torch.tensor([[0.0, 0, 0.3], [0, 0, 0.7], [0, 0, -1.0], [0, 0, 0.0]])
    assert render(points, CAMERA, AHEAD, VOXEL_M, near_m=0.5).id.unique().tolist() == [-1, 1]
    assert render(points, CAMERA, AHEAD, VOXEL_M).id.unique().tolist() == [-1, 0]


def test_no_points_make_empty_views() -> None:
    none = torch.zeros(0, 3)
    views = render(none, CAMERA, np.stack([AHEAD, AHEAD]), VOXEL_M, none, none)
    assert views.id.shape == views.depth_m.shape == (2, 36, 48)
    assert (views.id == -1).all()
    assert views.color.shape == views.normal.shape == (2, 36, 48, 3)
    assert not views.color.any()


def plane(tilt_deg: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of voxels on a plane 2 m ahead, and its normal."""
    tilt = np.radians(tilt_deg)
    a, b = np.meshgrid(np.arange(-90, 91) * VOXEL_M, np.arange(-90, 91) * VOXEL_M)
    points = np.stack([a * np.cos(tilt), b, 2 + a * np.sin(tilt)], axis=-1).reshape(-1, 3)
    normal = torch.tensor([np.sin(tilt), 0, -np.cos(tilt)], dtype=torch.float32)
    return torch.from_numpy(points.astype(np.float32)), normal


@pytest.mark.parametrize("tilt_deg", [0.0, 30.0, 40.0])
def test_with_normals_depth_is_that_of_the_surface(tilt_deg: float) -> None:
    points, normal = plane(tilt_deg)
    views = render(points, CAMERA, AHEAD, VOXEL_M, normal=normal.expand(len(points), 3))
    u = (torch.arange(CAMERA.width) - CAMERA.cx) / CAMERA.fx
    expected = (2 * normal[2] / (normal[2] + u * normal[0])).expand(CAMERA.height, -1)
    inner = slice(6, -6), slice(6, -6)
    assert (views.id[0][inner] >= 0).all(), "a surface of voxels has no holes"
    # Depth is rounded to 0.12 mm, and planes through float32 points do as well as that.
    assert torch.allclose(views.depth_m[0][inner], expected[inner], atol=5e-4)


def test_a_plane_moves_depth_by_two_voxels_at_most_and_no_normal_leaves_it() -> None:
    points, _ = plane(0.0)
    edge_on = torch.nn.functional.normalize(torch.tensor([1.0, 0.2, 0.05]), dim=0)
    flat = render(points, CAMERA, AHEAD, VOXEL_M)
    moved = render(points, CAMERA, AHEAD, VOXEL_M, normal=edge_on.expand(len(points), 3))
    unknown = render(points, CAMERA, AHEAD, VOXEL_M, normal=torch.zeros_like(points))
    assert torch.equal(flat.id, moved.id)
    assert 0.01 < (flat.depth_m - moved.depth_m).abs().max() <= 2 * VOXEL_M + 1e-6
    assert torch.equal(flat.depth_m, unknown.depth_m)


def test_a_view_is_the_same_again() -> None:
    points = torch.from_numpy(cloud(4, 5000))
    first: Views = render(points, CAMERA, turned(4), VOXEL_M)
    assert all(torch.equal(first.id, render(points, CAMERA, turned(4), VOXEL_M).id) for _ in range(3))
