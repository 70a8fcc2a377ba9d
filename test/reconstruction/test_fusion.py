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
    STEPS,
    observe_frame,
    observe_scan,
    pick_pixels,
    read_surface,
    reduce,
)
from ws3d_ros.reconstruction.keys import COORDINATE_LIMIT
from ws3d_ros.reconstruction.range_image import range_image
from ws3d_ros.sensors.frame import Frame, Pinhole

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


@pytest.mark.parametrize("z", [0.21, 0.3, 0.9, 1.6, 2.5, 3.3, 5.0])
def test_pixels_are_as_dense_as_voxels_need(z: float) -> None:
    depth = torch.full((CAMERA.height, CAMERA.width), z)
    pixel, step = pick_pixels(depth, CAMERA, VOXEL_M, 0.2, 5.0)
    assert len(step.unique()) == 1
    spacing = int(step[0])
    rows, columns = pixel // CAMERA.width, pixel % CAMERA.width
    assert rows.unique().tolist() == list(range(spacing, CAMERA.height - spacing, spacing))
    assert columns.unique().tolist() == list(range(spacing, CAMERA.width - spacing, spacing))
    assert len(pixel) == len(rows.unique()) * len(columns.unique()) == len(pixel.unique())
    side = VOXEL_M * CAMERA.fx / z / PIXELS_PER_SIDE  # the widest spacing that would do
    assert spacing == max([1] + [step for step in STEPS if step <= side])


def test_every_depth_belongs_to_one_grid() -> None:
    depth = torch.from_numpy(np.random.default_rng(0).uniform(0.1, 6, (480, 640)).astype(np.float32))
    pixel, step = pick_pixels(depth, CAMERA, VOXEL_M, 0.2, 5.0)
    assert len(pixel) == len(pixel.unique())
    assert len(step.unique()) >= 4
    z = depth.flatten()[pixel]
    assert z.min() >= 0.2
    assert z.max() <= 5.0


def test_only_valid_depth_within_the_limits_is_picked() -> None:
    depth = torch.full((60, 60), 1.0)
    bad = {
        (18, 18): 0.0,
        (18, 24): torch.nan,
        (24, 18): torch.inf,
        (24, 24): -1.0,
        (30, 30): 0.19,
        (36, 36): 5.1,
    }
    for place, value in bad.items():
        depth[place] = value
    pixel, _ = pick_pixels(depth, CAMERA, VOXEL_M, 0.2, 5.0)
    picked = {(i // 60, i % 60) for i in pixel.tolist()}
    assert not picked & set(bad)
    assert (30, 24) in picked
    assert len(pick_pixels(torch.zeros(60, 60), CAMERA, VOXEL_M, 0.2, 5.0)[0]) == 0


def inner_pixels(height: int, width: int, step: int) -> torch.Tensor:
    """Numbers of the pixels that have neighbours ``step`` pixels away."""
    pixels = torch.arange(height * width).view(height, width)
    return pixels[step:-step, step:-step].flatten()


def test_normals_of_planes_are_exact_and_face_the_camera() -> None:
    frame = depth_frame(POSE)
    pixel = inner_pixels(CAMERA.height, CAMERA.width, 3)
    z, slope_x, slope_y, _ = read_surface(frame.depth_m, CAMERA, pixel, torch.full_like(pixel, 3))
    assert torch.equal(z, frame.depth_m.flatten()[pixel])
    x = (pixel % CAMERA.width - CAMERA.cx) / CAMERA.fx
    y = (pixel // CAMERA.width - CAMERA.cy) / CAMERA.fy
    normal = torch.stack([slope_x, slope_y, -(1 + x * slope_x + y * slope_y)], dim=1)
    normal = torch.nn.functional.normalize(normal).numpy() @ POSE[:3, :3].T
    inward = np.array([[-1, 0, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1.0]])
    # Everything but pixels whose neighbours lie around a corner of the room.
    assert np.mean((normal @ inward.T).max(axis=1) > 0.9999) > 0.9


@settings(max_examples=30, deadline=None)
@given(st.floats(-1.2, 1.2), st.floats(-1.2, 1.2), st.integers(1, 4), st.booleans(), st.booleans())
def test_slopes_are_those_of_a_tilted_plane_even_beside_an_edge(
    a: float, b: float, step: int, edge_right: bool, hole_below: bool
) -> None:
    # The plane z = 2 + a X + b Y, of which X = x z and Y = y z are seen at the middle of the image.
    v, u = np.mgrid[:40, :40]
    x, y = (u - 20) / CAMERA.fx, (v - 20) / CAMERA.fy
    camera = Pinhole(40, 40, CAMERA.fx, CAMERA.fy, 20, 20)
    depth = torch.from_numpy((2 / (1 - a * x - b * y)).astype(np.float32))
    if edge_right:
        depth[:, 21:] += 1.5
    if hole_below:
        depth[21:] = 0
    pixel = torch.tensor([20 * 40 + 20])
    _, slope_x, slope_y, flying = read_surface(depth, camera, pixel, torch.tensor([step]))
    # Differences of float32 depths over a few millimetres.
    assert slope_x.item() == pytest.approx(a, abs=2e-3)
    assert slope_y.item() == pytest.approx(b, abs=2e-3)
    assert not flying


def test_a_speck_has_no_slope() -> None:
    depth = torch.full((9, 9), 3.0)
    depth[4, 4] = 1.0
    _, slope_x, slope_y, _ = read_surface(
        depth, Pinhole(9, 9, 100, 100, 4, 4), torch.tensor([40]), torch.tensor([1])
    )
    assert slope_x.isnan()
    assert slope_y.isnan()


def test_a_pixel_between_two_surfaces_is_flying_and_a_thin_pole_is_not() -> None:
    depth = torch.full((9, 30), 3.0)
    depth[:, :10] = 1.0
    depth[:, 10] = 2.0  # the smear
    depth[:, 20] = 1.5  # the pole
    depth[:, 26] = 0.0  # nothing measured
    pixel = inner_pixels(9, 30, 1)
    flying = read_surface(depth, Pinhole(30, 9, 500, 500, 15, 4), pixel, torch.ones_like(pixel))[3].view(
        7, 28
    )
    assert flying[:, 9].all()
    assert flying.sum() == 7


def test_a_steep_wall_is_not_flying() -> None:
    # Seen at 82 degrees.
    frame = depth_frame(look((2.6, -2.3, 1.3), (2.98, 2.5, 1.3)))
    pixel = inner_pixels(CAMERA.height, CAMERA.width, 2)
    assert read_surface(frame.depth_m, CAMERA, pixel, torch.full_like(pixel, 2))[3].float().mean() < 0.01


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
