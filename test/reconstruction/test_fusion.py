"""Points of a measurement to voxels, against plain numpy."""

import numpy as np
import pytest
import torch
from box_world import CAMERA, ROOM, depth_frame, look, sweep
from hypothesis import given, settings
from hypothesis import strategies as st

from ws3d_ros.reconstruction.fusion import (
    PIXELS_PER_SIDE,
    SCAN_HALF_TRUST_M,
    is_flying,
    normals,
    observe_frame,
    observe_scan,
    pick_pixels,
    reduce,
)
from ws3d_ros.reconstruction.keys import COORDINATE_LIMIT
from ws3d_ros.reconstruction.range_image import range_image
from ws3d_ros.sensors.frame import Frame

VOXEL_M = 0.05
POSE = look((-2.0, -1.5, 1.3), (1.0, 0.8, 0.6))


def voxel_means(points: np.ndarray, values: np.ndarray, weight: np.ndarray) -> dict:
    """Weight and weighted mean of the values by voxel, one point at a time."""
    sums: dict = {}
    for point, value, w in zip(points, values, weight, strict=True):
        cell = tuple(np.floor(point / np.float32(VOXEL_M)).astype(int))
        total, mean = sums.get(cell, (0.0, np.zeros(len(value))))
        sums[cell] = (total + w, mean + w * value)
    return {cell: (total, mean / total) for cell, (total, mean) in sums.items()}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.booleans())
def test_reduce_is_the_mean_by_voxel(seed: int, count: int, colored: bool) -> None:
    generator = np.random.default_rng(seed)
    point = generator.normal(0, 0.15, (count, 3)).astype(np.float32)
    normal = generator.normal(size=(count, 3)).astype(np.float32)
    color = generator.uniform(0, 255, (count, 3)).astype(np.float32)
    weight = generator.uniform(0.1, 2, count).astype(np.float32)
    tensors = [torch.from_numpy(x) for x in (point, normal, color, weight)]
    if not colored:
        tensors[2] = None
    seen = reduce(*tensors, POSE, VOXEL_M)

    rotation = POSE[:3, :3].astype(np.float32)
    in_map = point @ rotation.T + POSE[:3, 3].astype(np.float32)
    expected = voxel_means(in_map, np.hstack([in_map, normal @ rotation.T, color]), weight)
    # A point within rounding of a voxel's face may fall to either side: as good as never here.
    assert {tuple(cell) for cell in seen.coords.tolist()} == set(expected)
    assert (seen.points, seen.outside) == (count, 0)
    for i, cell in enumerate(map(tuple, seen.coords.tolist())):
        total, mean = expected[cell]
        # float32 sums of a few terms.
        assert seen.weight[i].item() == pytest.approx(total, rel=1e-5)
        assert np.allclose(seen.point_m[i], mean[:3], atol=1e-5)
        assert np.allclose(seen.normal[i], mean[3:6], atol=1e-4)
        assert np.allclose(seen.color[i], mean[6:] if colored else 0, atol=1e-2)
        assert seen.color_weight[i].item() == (seen.weight[i].item() if colored else 0)


def test_points_beyond_the_range_of_keys_are_counted_and_dropped() -> None:
    far = COORDINATE_LIMIT * VOXEL_M
    point = torch.tensor([[0.0, 0, 0], [far * 1.01, 0, 0], [0, -far * 1.01, 0], [far * 0.99, 0, 0]])
    seen = reduce(point, torch.zeros(4, 3), None, torch.ones(4), np.eye(4), VOXEL_M)
    assert (len(seen.coords), seen.points, seen.outside) == (2, 2, 2)


def test_means_keep_their_digits_a_kilometre_away() -> None:
    point = torch.tensor([[1000.0, 0.01, 0.01], [1000.0, 0.03, 0.03]])
    seen = reduce(point, torch.zeros(2, 3), None, torch.ones(2), np.eye(4), VOXEL_M)
    # float32 at 1 km has steps of 0.06 mm.
    assert torch.allclose(seen.point_m, torch.tensor([[1000.0, 0.02, 0.02]]), atol=1e-4)


@pytest.mark.parametrize("z", [0.3, 0.9, 1.6, 2.5, 4.9])
def test_pixels_are_as_dense_as_voxels_need(z: float) -> None:
    depth = torch.full((CAMERA.height, CAMERA.width), z)
    v, u = pick_pixels(depth, CAMERA, VOXEL_M, 0.2, 5.0)
    across = VOXEL_M * CAMERA.fx / z  # pixels on the side of a voxel
    spacing = float(u.unique().diff().float().mean())
    assert spacing == float(v.unique().diff().float().mean())
    assert len(u) == len(u.unique()) * len(v.unique())
    if across >= PIXELS_PER_SIDE:
        assert across / spacing >= PIXELS_PER_SIDE
        assert across / spacing < 2 * PIXELS_PER_SIDE or spacing == 16
    else:
        assert spacing == 1


def test_only_valid_depth_within_the_limits_is_picked() -> None:
    depth = torch.full((40, 40), 1.0)
    bad = {(0, 0): 0.0, (0, 8): torch.nan, (8, 0): torch.inf, (8, 8): -1.0, (16, 16): 0.19, (16, 24): 5.1}
    for place, value in bad.items():
        depth[place] = value
    v, u = pick_pixels(depth, CAMERA, VOXEL_M, 0.2, 5.0)
    picked = set(zip(v.tolist(), u.tolist(), strict=True))
    assert not picked & set(bad)
    assert (24, 24) in picked


def test_normals_of_planes_are_exact_and_face_the_camera() -> None:
    frame = depth_frame(POSE)
    v, u = (
        index.reshape(-1)
        for index in torch.meshgrid(torch.arange(20, 220), torch.arange(20, 300), indexing="ij")
    )
    step = torch.full_like(v, 3)
    normal = normals(frame.depth_m, CAMERA, v, u, step).numpy() @ POSE[:3, :3].T
    inward = np.array([[-1, 0, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1.0]])
    # Everything but pixels whose neighbours lie around a corner of the room.
    assert np.mean((normal @ inward.T).max(axis=1) > 0.9999) > 0.9


def test_a_pixel_between_two_surfaces_is_flying_and_a_thin_pole_is_not() -> None:
    depth = torch.full((9, 30), 3.0)
    depth[:, :10] = 1.0
    depth[:, 10] = 2.0  # the smear
    depth[:, 20] = 1.5  # the pole
    v, u = torch.meshgrid(torch.arange(9), torch.arange(30), indexing="ij")
    flying = is_flying(depth, CAMERA, v.reshape(-1), u.reshape(-1)).view(9, 30)
    assert flying[:, 10].all()
    assert not flying[:, [5, 8, 12, 15, 20, 25]].any()


def test_a_steep_wall_is_not_flying() -> None:
    # Seen at 82 degrees.
    frame = depth_frame(look((2.6, -2.3, 1.3), (2.98, 2.5, 1.3)))
    v, u = (
        index.reshape(-1) for index in torch.meshgrid(torch.arange(240), torch.arange(320), indexing="ij")
    )
    assert is_flying(frame.depth_m, CAMERA, v, u).float().mean() < 0.01


def test_a_frame_gives_surface_voxels_with_colour_and_weight() -> None:
    box = ((0.01, -0.51, 0.0), (1.0, 0.5, 0.8))
    frame = depth_frame(POSE, [box])
    seen = observe_frame(frame, VOXEL_M, 0.2, 5.0)
    point = seen.point_m.numpy()
    on_box = np.max(np.maximum(np.array(box[0]) - point, point - np.array(box[1])), axis=1)
    on_room = np.min(np.minimum(point - np.array(ROOM[0]), np.array(ROOM[1]) - point), axis=1)
    # Means over a voxel that holds a corner lie off both surfaces, by at most half of it.
    assert np.all(np.minimum(np.abs(on_box), np.abs(on_room)) < VOXEL_M / 2)
    assert np.all(seen.weight.numpy() > 0)
    assert np.array_equal(seen.weight, seen.color_weight)
    assert torch.allclose(seen.color[:, 2], torch.tensor(7.0))
    without = Frame(1, frame.camera, frame.T_map_camera, None, frame.depth_m)
    assert not observe_frame(without, VOXEL_M, 0.2, 5.0).color_weight.any()


def test_thinning_keeps_the_voxels_and_their_places() -> None:
    frame = depth_frame(POSE)
    seen = observe_frame(frame, VOXEL_M, 0.2, 5.0)
    # All pixels as points, plainly.
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    z = frame.depth_m.numpy()
    camera_points = np.stack([(u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z], -1)
    points = camera_points[(z > 0.2) & (z < 5.0)] @ POSE[:3, :3].T + POSE[:3, 3]
    cells, count = np.unique(np.floor(points / VOXEL_M).astype(int), axis=0, return_counts=True)
    solid = {tuple(cell) for cell in cells[count >= 4].tolist()}
    found = {tuple(cell) for cell in seen.coords.tolist()}
    assert len(found & solid) / len(solid) > 0.97


def test_a_scan_weighs_by_range_and_has_no_colour() -> None:
    pose = np.eye(4)
    pose[:3, 3] = [0.2, 0.1, 1.0]
    scan = sweep(pose)
    seen = observe_scan(scan, range_image(scan.points_m), VOXEL_M, 1.0, 3.0)
    distance = scan.points_m.norm(dim=1).numpy()
    used = (distance >= 1.0) & (distance <= 3.0)
    assert seen.points == used.sum()
    weight = 1 / (1 + (distance[used] / SCAN_HALF_TRUST_M) ** 2)
    assert float(seen.weight.sum()) == pytest.approx(weight.sum(), rel=1e-4)
    assert not seen.color_weight.any()
