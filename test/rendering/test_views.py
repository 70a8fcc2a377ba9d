"""Pictures for people: everything is in them, the ceiling is not in the way, the legend says what is what."""

import cv2
import numpy as np
import pytest
import torch

from ws3d_ros.rendering.views import (
    BACKGROUND,
    HEIGHT,
    WIDTH,
    below_ceiling,
    draw_legend,
    draw_map,
    overview,
    save_png,
    surface_axes,
    tiled,
)

VOXEL_M = 0.1


def face(x: tuple, y: tuple, z: tuple) -> np.ndarray:
    """Grid of points over a box of which one side has no extent."""
    axes = [np.arange(low, max(high, low + VOXEL_M / 2), VOXEL_M) for low, high in (x, y, z)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)


FLOOR = face((0, 6), (0, 4), (0, 0))
TABLE = face((2, 3.5), (1, 2), (0.8, 0.8))
CEILING = face((0, 6), (0, 4), (2.6, 2.6))
WALL = face((0, 6), (4, 4), (0, 2.6))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [(640, 480), (300, 900)])
def test_the_overview_has_all_points_in_the_picture_and_fills_it(seed: int, size: tuple[int, int]) -> None:
    generator = np.random.default_rng(seed)
    points = torch.from_numpy(generator.normal(size=(400, 3)) * generator.uniform(0.3, 20, 3) + 50)
    camera, pose = overview(points, *size)
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3))
    assert np.linalg.det(pose[:3, :3]) > 0
    x, y, z = ((points.numpy() - pose[:3, 3]) @ pose[:3, :3]).T
    assert (z > 0).all()
    u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    assert (u >= 0).all()
    assert (u <= size[0] - 1).all()
    assert (v >= 0).all()
    assert (v <= size[1] - 1).all()
    assert max(np.ptp(u) / size[0], np.ptp(v) / size[1]) > 0.85
    assert pose[2, 2] < 0, "it looks down"
    assert abs(pose[2, 0]) < 1e-9, "the horizon is level"


@pytest.mark.parametrize("turn_deg", [0, 90, 200])
def test_the_overview_looks_from_the_open_side_at_the_wall(turn_deg: float) -> None:
    turn = np.radians(turn_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    room = np.concatenate([FLOOR, WALL]) @ rotation.T
    _, pose = overview(torch.from_numpy(room), 640, 480)
    towards_wall = rotation @ [0, 1, 0]
    assert pose[:3, 2] @ towards_wall > 0.4


def test_a_room_is_cut_open_and_a_street_is_not() -> None:
    room = np.concatenate([FLOOR, TABLE, CEILING, WALL])
    shown = room[below_ceiling(room)]
    assert shown[:, 2].max() < 2.2
    assert (shown[:, 2] == np.float32(0.8)).any()


def test_a_street_is_not_cut() -> None:
    slope = face((0, 30), (0, 8), (0, 0)) * np.float32([1, 1, 0])
    slope[:, 2] = 0.05 * slope[:, 0]
    house, tree = face((0, 12), (8, 8), (0, 9)), face((15, 19), (6, 9), (4, 4))
    crown = np.concatenate([tree + np.float32([0, 0, height]) for height in (0, 0.5, 1.1)])
    assert below_ceiling(np.concatenate([slope, house, crown])).all()


def test_the_picture_shows_the_colours_of_things_on_the_background() -> None:
    points = np.concatenate([FLOOR, TABLE])
    rgb = np.repeat(np.uint8([[40, 90, 200], [200, 60, 30]]), [len(FLOOR), len(TABLE)], axis=0)
    image = draw_map(points, rgb, VOXEL_M)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    assert tuple(image[0, 0]) == BACKGROUND
    pixels = image.reshape(-1, 3).astype(int)
    blue = pixels[:, 2] > 2 * pixels[:, 0]
    red = pixels[:, 0] > 2 * pixels[:, 2]
    background = (pixels == BACKGROUND).all(axis=1)
    assert blue.mean() > 0.15
    assert 0.02 < red.mean() < blue.mean()
    # Smooth edges mix colours; all the rest is one of the three.
    assert (blue | red | background).mean() > 0.97


def test_the_legend_stands_beside_the_picture() -> None:
    rgb = np.full((len(FLOOR), 3), 100, dtype=np.uint8)
    image = draw_map(FLOOR, rgb, VOXEL_M, [("floor", np.uint8([1, 200, 3]), len(FLOOR))])
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert (image == [1, 200, 3]).all(axis=2).sum() > 200


def test_the_legend_shows_swatches_and_sums_up_what_does_not_fit() -> None:
    entries = [(f"thing {i}", np.uint8([i, 255 - i, 77]), 100 - i) for i in range(60)]
    panel = draw_legend(entries)
    shown = [(panel == color).all(axis=2).any() for _, color, _ in entries]
    assert 20 < sum(shown) < 60
    assert shown == sorted(shown, reverse=True), "the first ones are shown"
    last = np.flatnonzero((panel[:, 58:200] < 128).any(axis=(1, 2))).max()
    swatches = np.flatnonzero((panel[:, 30] != 255).any(axis=1)).max()
    assert last > swatches, "a line of text without swatch at the end"
    few = draw_legend(entries[:3])
    assert np.array_equal(few[:100], draw_legend([(n, c, k) for n, c, k in entries[:3]])[:100])
    assert not (few[300:, 5:] != 255).any()


def test_names_with_accents_or_of_other_scripts_do_not_fail() -> None:
    panel = draw_legend([("Küche", np.uint8([9, 9, 9]), 1), ("椅子", np.uint8([8, 8, 8]), 1)])
    assert np.array_equal(
        panel, draw_legend([("Kuche", np.uint8([9, 9, 9]), 1), ("?", np.uint8([8, 8, 8]), 1)])
    )


def test_an_empty_map_says_so_and_a_tiny_one_works() -> None:
    empty = draw_map(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), VOXEL_M)
    assert empty.shape == (HEIGHT, WIDTH, 3)
    assert (empty < 128).any()
    for count in (1, 3):
        image = draw_map(FLOOR[:count], np.zeros((count, 3), np.uint8), VOXEL_M)
        assert (image < 128).any()


def test_surfaces_have_their_normals_towards_the_eye() -> None:
    axes = surface_axes(TABLE, np.array([2.0, 1.0, 9.0]))
    assert np.allclose(axes[:, 0], [0, 0, 1], atol=1e-4)
    assert np.allclose(np.einsum("nij,nkj->nik", axes, axes), np.eye(3), atol=1e-4)


def test_tiles_cover_a_square_along_the_surface() -> None:
    along = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    points, size = tiled(torch.tensor([[1.0, 2.0, 3.0]]), along, 0.3)
    assert len(points) == round(0.3 / size) ** 2
    assert torch.allclose(points.mean(dim=0), torch.tensor([1.0, 2.0, 3.0]))
    assert torch.allclose(points.amax(dim=0) - points.amin(dim=0) + size, torch.tensor([0.3, 0.3, size]))


def test_png_keeps_the_pixels_and_a_bad_path_is_an_error(tmp_path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    save_png(tmp_path / "picture.png", image)
    assert np.array_equal(cv2.imread(str(tmp_path / "picture.png"))[..., ::-1], image)
    with pytest.raises(OSError, match="nowhere"):
        save_png(tmp_path / "nowhere" / "picture.png", image)
