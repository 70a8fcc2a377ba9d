"""Lifting against a plain loop over pixels."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from windows import VOXEL_M, box_cells, window

from ws3d_ros.alignment.lifting import depth_edges, lift, paint, sample_grid, viewing_cosine, visible
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.rendering.splat import Views
from ws3d_ros.sensors.frame import Frame, Pinhole

CAMERA = Pinhole(24, 18, 20.0, 20.0, 11.5, 8.5)
# Looks along map x from 2 m before the wall x = 0: optical x -> -y, optical y -> -z.
POSE = np.array([[0, 0, 1, -2.0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
SCALE = 10.0


def wall() -> tuple[Window, Views, Frame, Tensor, Tensor]:
    """A wall of voxels before a camera, with views of random content, made without the renderer."""
    cells = box_cells((0, -20, -15), (1, 20, 15))
    win = window(cells, normal=torch.tensor([-1.0, 0, 0]).expand(len(cells), 3))
    source = torch.Generator().manual_seed(0)
    row = torch.randint(-1, len(win), (1, 9, 12), generator=source, dtype=torch.int32)
    depth = torch.where(row >= 0, 2.0 + 0.05 * torch.rand(row.shape, generator=source), 0.0)
    normal = torch.nn.functional.normalize(torch.randn(1, 9, 12, 3, generator=source), dim=-1)
    normal[0, 0] = 0.0
    views = Views(id=row, depth_m=depth, color=None, normal=normal)
    measured = 2.0 + 0.1 * torch.rand(18, 24, generator=source)
    measured[4:6] = 0.0
    frame = Frame(0, CAMERA, POSE, None, measured)
    dense = torch.randn(4, 5, 7, generator=source)
    words = torch.nn.functional.normalize(torch.randn(6, 4, generator=source), dim=1)
    return win, views, frame, dense, words


def bilinear(grid: np.ndarray, v: int, u: int, height: int, width: int) -> np.ndarray:
    """(K, h, w) at the centre of pixel (v, u) of a height x width image, edge to edge."""
    _, h, w = grid.shape
    y = min(max((v + 0.5) * h / height - 0.5, 0), h - 1)
    x = min(max((u + 0.5) * w / width - 0.5, 0), w - 1)
    y0, x0 = min(int(y), h - 2), min(int(x), w - 2)
    a, b = y - y0, x - x0
    top = (1 - b) * grid[:, y0, x0] + b * grid[:, y0, x0 + 1]
    low = (1 - b) * grid[:, y0 + 1, x0] + b * grid[:, y0 + 1, x0 + 1]
    return (1 - a) * top + a * low


def edge(depth: np.ndarray, v: int, u: int) -> bool:
    around = depth[max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2]
    around = around[around > 0]
    return len(around) > 0 and around.max() - around.min() > max(0.05 * around.min(), 2 * VOXEL_M)


def plain_lift(
    win: Window, views: Views, frame: Frame, dense: Tensor, words: Tensor
) -> dict[int, tuple[np.ndarray, float]]:
    """Key -> (feature sum, weight sum), divided by the number of pixels; pixel by pixel in float64."""
    grid = dense.double().numpy()
    logits = SCALE * np.einsum("kyx,ck->cyx", grid, words.double().numpy())
    p = np.exp(logits - logits.max(0))
    p /= p.sum(0)
    sure = 1 + (p * np.log(p)).sum(0, keepdims=True) / math.log(len(words))
    rendered = views.depth_m[0].double().numpy()
    height, width = rendered.shape
    small = frame.camera.scaled_to(width, height)
    result: dict[int, tuple[np.ndarray, float, int]] = {}
    for v in range(height):
        for u in range(width):
            row, z = int(views.id[0, v, u]), rendered[v, u]
            if row < 0 or edge(rendered, v, u):
                continue
            if frame.depth_m is not None:
                measured = frame.depth_m.double().numpy()
                y, x = int((v + 0.5) * measured.shape[0] / height), int((u + 0.5) * measured.shape[1] / width)
                allowed = max(0.03, 0.87 * VOXEL_M, 0.02 * z)
                if edge(measured, y, x) or (measured[y, x] > 0 and abs(z - measured[y, x]) > allowed):
                    continue
            ray = POSE[:3, :3] @ np.array([(u - small.cx) / small.fx, (v - small.cy) / small.fy, 1.0])
            normal = views.normal[0, v, u].double().numpy()
            cosine = max(-normal @ ray / np.linalg.norm(ray), 0.1) if normal.any() else 0.5
            weight = cosine * bilinear(sure, v, u, height, width)[0] / (1 + (z / 3.0) ** 2)
            feature, total, pixels = result.get(int(win.keys[row]), (np.zeros(len(grid)), 0.0, 0))
            feature = feature + weight * bilinear(grid, v, u, height, width)
            result[int(win.keys[row])] = (feature, total + weight, pixels + 1)
    return {key: (feature / pixels, total / pixels) for key, (feature, total, pixels) in result.items()}


@pytest.mark.parametrize("with_depth", [True, False])
def test_agrees_with_a_loop_over_pixels(with_depth: bool) -> None:
    win, views, frame, dense, words = wall()
    if not with_depth:
        frame = replace(frame, depth_m=None)
    patch = lift(dense, views, frame, win, words, SCALE)
    expected = plain_lift(win, views, frame, dense, words)
    assert len(expected) > 10  # the scene must test something
    assert patch.feature_sum is not None
    assert patch.feature_weight is not None
    assert set(patch.keys.tolist()) == set(expected)
    for key, total, weight in zip(patch.keys.tolist(), patch.feature_sum, patch.feature_weight, strict=True):
        # float32 against float64
        np.testing.assert_allclose(total.numpy(), expected[key][0], atol=1e-4)
        np.testing.assert_allclose(float(weight), expected[key][1], atol=1e-5)


def test_a_nearer_look_counts_once() -> None:
    """Twice the pixels, the same evidence."""
    win, _, frame, dense, words = wall()
    row = torch.full((1, 9, 12), 7, dtype=torch.int32)
    flat = Views(row, torch.full((1, 9, 12), 2.0), None, torch.tensor([-1.0, 0, 0]).expand(1, 9, 12, 3))
    half = replace(flat, id=torch.where(torch.arange(12) % 2 == 0, row, -1))
    grid = torch.ones_like(dense)
    weights = []
    for seen in (flat, half):
        weight = lift(grid, seen, replace(frame, depth_m=None), win, words, SCALE).feature_weight
        assert weight is not None
        weights.append(float(weight))
    # Cosines differ a little from one column to the next.
    assert weights[0] == pytest.approx(weights[1], rel=0.02)


def test_a_voxel_behind_something_gets_nothing() -> None:
    win, views, frame, dense, words = wall()
    in_front = replace(frame, depth_m=torch.full((18, 24), 1.0))
    assert len(lift(dense, views, in_front, win, words, SCALE).keys) == 0


def test_pixels_near_a_depth_edge_are_left_out() -> None:
    depth = torch.full((5, 8), 2.0)
    depth[:, 4:] = 3.0
    depth[2, 1] = 0.0  # a hole is no edge
    assert depth_edges(depth, VOXEL_M)[2].tolist() == [False, False, False, True, True, False, False, False]
    assert not visible(depth, None, VOXEL_M)[2, 3]


def test_a_floor_seen_at_a_slant_is_no_edge() -> None:
    # Camera 1.3 m above a floor, 320 x 240 pixels: depth grows by less than 5 % from row to row up to 4 m.
    rows = torch.arange(130, 240).float()
    depth = (1.3 * 262.0 / (rows - 119.5))[:, None].expand(-1, 6)
    assert not depth_edges(depth, VOXEL_M)[depth < 4.0].any()


def test_cosine_of_a_wall_met_squarely_and_from_its_back() -> None:
    normal = torch.tensor([-1.0, 0.0, 0.0]).expand(9, 12, 3)
    cosine = viewing_cosine(normal, CAMERA, POSE)
    assert cosine[4, 5] > 0.99
    assert (cosine > 0.7).all()
    torch.testing.assert_close(viewing_cosine(-normal, CAMERA, POSE), torch.full((9, 12), 0.1))


def test_a_grid_covers_the_image_edge_to_edge() -> None:
    # A ramp over the image stays a ramp: value at a pixel's centre is its place between the edges.
    grid = ((torch.arange(4) + 0.5) / 4).expand(1, 3, 4)
    sampled = sample_grid(grid, 6, 16)[0, 0]
    centres = (torch.arange(16) + 0.5) / 16
    torch.testing.assert_close(sampled[2:-2], centres[2:-2])  # beyond the outer cells' centres it is flat


def test_paint_agrees_with_a_loop_over_pixels() -> None:
    win, views, _, _, _ = wall()
    color = torch.randint(0, 256, (18, 24, 3), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)
    keys, shades, weight = paint(color, views, win)
    expected = []
    for v in range(9):
        for u in range(12):
            row = int(views.id[0, v, u])
            if row >= 0 and not edge(views.depth_m[0].numpy(), v, u):
                block = color[2 * v : 2 * v + 2, 2 * u : 2 * u + 2].double().numpy()
                share = 1 / (1 + (float(views.depth_m[0, v, u]) / 3.0) ** 2)
                expected.append((int(win.keys[row]), *block.mean((0, 1)), share))
    assert len(expected) > 10
    got = torch.cat([shades, weight[:, None]], dim=1).numpy()
    assert keys.tolist() == [line[0] for line in expected]
    np.testing.assert_allclose(got, [line[1:] for line in expected], atol=1e-3)  # float32 against float64
