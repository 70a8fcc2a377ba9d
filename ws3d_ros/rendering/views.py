"""Pictures of a map for people: a bird's-eye view, cut open below the ceiling, with a legend."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import normalize

from ws3d_ros.rendering.splat import Views, render
from ws3d_ros.sensors.frame import FloatArray, Pinhole

LegendEntry = tuple[str, np.ndarray, int]
"""Name, (3,) uint8 RGB and number of voxels."""

WIDTH, HEIGHT = 1600, 1000
BACKGROUND = (247, 248, 250)

_OVERSAMPLE = 2  # pictures are drawn this much larger and averaged, which smooths edges
_FOCAL_WIDTHS = 1.6  # focal length in image widths: a long lens, so that walls stay upright
_PITCH_DEG = 55.0  # downwards; steep enough to look over walls
_YAW_DEG = 25.0  # from the long side of the map
_CUT_M = 2.1  # over the floor: where rooms are cut open
_LAYER_M, _COLUMN_M = 0.3, 0.5
_CEILING_SHARE = 0.25  # of the map's columns that a layer fills, from which on it is a ceiling
_MARGIN = 0.94  # of the picture is filled
_SWELL = 1.7  # points are drawn this much wider than voxels, which closes pinholes
_TILES = 3  # a point is drawn as 3 x 3 tiles along its surface, as squares that face the viewer look coarse
_LEGEND_WIDTH = 330


def draw_map(
    points_m: np.ndarray,
    rgb: np.ndarray,
    voxel_size_m: float,
    legend: Sequence[LegendEntry] = (),
) -> np.ndarray:
    """A picture of a whole map.

    Args:
        points_m: (N, 3) float32, z up.
        rgb: (N, 3) uint8.
        legend: what colours mean, the most important first; what does not fit is summed up.

    Returns:
        (HEIGHT, WIDTH, 3) uint8 RGB.
    """
    width = WIDTH - _LEGEND_WIDTH if legend else WIDTH
    if len(points_m) == 0:
        image = np.full((HEIGHT, width, 3), BACKGROUND, dtype=np.uint8)
        _write(image, "the map is empty", (width // 2 - 120, HEIGHT // 2), 1.0)
    else:
        below = below_ceiling(points_m)
        image = _draw(points_m[below], rgb[below], voxel_size_m, width)
    return np.hstack([image, draw_legend(legend)]) if legend else image


def save_png(path: Path, image: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 RGB.

    Raises:
        OSError: if the file cannot be written.
    """
    if not cv2.imwrite(str(path), image[..., ::-1]):
        raise OSError(f"cannot write {path}")


def overview(points_m: Tensor, width: int, height: int) -> tuple[Pinhole, FloatArray]:
    """A camera that sees all points, (N, 3), obliquely from above, from the side where less is in the way.

    Returns:
        camera of ``width`` x ``height`` and (4, 4) float64 T_map_camera.
    """
    points = points_m.double().cpu().numpy()
    middle = np.median(points, axis=0)
    yaw = _side_to_look_from(points - middle)
    pitch = math.radians(_PITCH_DEG)
    forward = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), -math.sin(pitch)])
    right = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)

    focal = _FOCAL_WIDTHS * width
    x, y, z = ((points - middle) @ rotation).T
    # |focal (x - cx) / (z + d)| must stay within the picture for each point, for the least d.
    slope_x, slope_y = _MARGIN * width / 2 / focal, _MARGIN * height / 2 / focal
    # Moving sideways by c: x - c <= s (z + d) and c - x <= s (z + d); both bind at the best c.
    d_x, c_x = _fit(x, z, slope_x)
    d_y, c_y = _fit(y, z, slope_y)
    distance = max(d_x, d_y, 1.0 - float(z.min()))
    T_map_camera = np.eye(4)
    T_map_camera[:3, :3] = rotation
    T_map_camera[:3, 3] = middle + rotation @ np.array([c_x, c_y, -distance])
    return Pinhole(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2), T_map_camera


def _side_to_look_from(points: np.ndarray) -> float:
    """Yaw of a view along, obliquely, the short axis of centred points, with what is high at the back."""
    if len(points) < 2:
        return math.radians(_YAW_DEG)
    short = np.linalg.eigh(np.cov(points[:, :2].T))[1][:, 0]
    yaws = math.atan2(short[1], short[0]) + np.radians([_YAW_DEG, -_YAW_DEG, 180 + _YAW_DEG, 180 - _YAW_DEG])
    height = points[:, 2] - points[:, 2].mean()
    high_at_the_back = [height @ (points[:, :2] @ [math.cos(yaw), math.sin(yaw)]) for yaw in yaws]
    return float(yaws[int(np.argmax(high_at_the_back))])


def _fit(across: np.ndarray, depth: np.ndarray, slope: float) -> tuple[float, float]:
    """Least distance, and the sideways shift that goes with it, so that all points are in the picture."""
    high, low = float((across - slope * depth).max()), float((across + slope * depth).min())
    return (high - low) / (2 * slope), (high + low) / 2


def below_ceiling(points_m: np.ndarray) -> np.ndarray:
    """(N,) bool: what to show of the map. Under a ceiling, what is below the cut; otherwise everything.

    A ceiling is a flat layer over much of the map. Houses, trees and slopes are not flat.
    """
    layer = np.floor((points_m[:, 2] - points_m[:, 2].min()) / _LAYER_M).astype(np.int64)
    column = np.floor(points_m[:, :2] / _COLUMN_M).astype(np.int64)
    column = np.unique(column, axis=0, return_inverse=True)[1].reshape(-1)
    filled = np.unique(np.stack([column, layer], axis=1), axis=0)
    extent = np.bincount(filled[:, 1])  # columns that reach into each layer
    floor = int(np.argmax(extent > extent.max() / 2))
    cut = floor + round(_CUT_M / _LAYER_M)
    has_ceiling = extent[cut:].max(initial=0) > _CEILING_SHARE * (column.max() + 1)
    return layer < cut if has_ceiling else np.ones(len(points_m), dtype=bool)


def _draw(points_m: np.ndarray, rgb: np.ndarray, voxel_size_m: float, width: int) -> np.ndarray:
    points = torch.from_numpy(np.ascontiguousarray(points_m, dtype=np.float32))
    camera, T_map_camera = overview(points, width * _OVERSAMPLE, HEIGHT * _OVERSAMPLE)
    axes = torch.from_numpy(surface_axes(points_m, T_map_camera[:3, 3]))
    color = lit(torch.from_numpy(rgb).float(), axes[:, 0], T_map_camera)
    points, tile_m = tiled(points, axes[:, 1:], _SWELL * voxel_size_m)
    color = color.repeat_interleave(_TILES * _TILES, dim=0)
    views = render(points, camera, torch.from_numpy(T_map_camera), tile_m, color)
    large = outlined(views, voxel_size_m)[0].clamp(0, 255).byte().numpy()
    return cv2.resize(large, (width, HEIGHT), interpolation=cv2.INTER_AREA)


def surface_axes(points_m: np.ndarray, eye_m: np.ndarray, neighbours: int = 16) -> np.ndarray:
    """(N, 3, 3) float32 unit vectors: normal of the surface, towards the eye, and two along the surface.

    They are the principal components of the nearest points.
    """
    count = min(neighbours, len(points_m))
    _, near = cKDTree(points_m).query(points_m, k=count)
    around = points_m[near.reshape(len(points_m), count)].astype(np.float32)
    around -= around.mean(axis=1, keepdims=True)
    covariance = np.einsum("nki,nkj->nij", around, around)
    axes = np.linalg.eigh(covariance)[1].transpose(0, 2, 1).astype(np.float32)
    away = ((eye_m - points_m) * axes[:, 0]).sum(axis=1) < 0
    axes[away, 0] *= -1
    return axes


def tiled(points_m: Tensor, along: Tensor, size_m: float) -> tuple[Tensor, float]:
    """Points as squares along their surfaces, (N, 2, 3): each becomes _TILES² smaller points.

    Returns:
        (N * _TILES², 3) points, those of a square in a row, and the size of a tile.
    """
    steps = (torch.arange(_TILES) - (_TILES - 1) / 2) * (size_m / _TILES)
    grid = torch.cartesian_prod(steps, steps)
    return (points_m[:, None] + grid @ along).view(-1, 3), size_m / _TILES


def lit(color: Tensor, normal: Tensor, T_map_camera: FloatArray) -> Tensor:
    """(N, 3) float32 colours of surfaces with these normals under soft light from the viewer's upper left."""
    toward_light = normalize(torch.tensor([-0.5, -0.7, -0.6]), dim=0)
    direction = torch.as_tensor(T_map_camera[:3, :3], dtype=torch.float32) @ toward_light
    return color * (0.66 + 0.44 * (normal @ direction).clamp(min=0))[:, None]


def outlined(views: Views, voxel_size_m: float) -> Tensor:
    """(B, H, W, 3) float32: the views' colours on the background, with depth edges darkened.

    Pixels lose light to nearer ones beside them (eye-dome lighting, Boucheny 2009), so that things
    stand out.
    """
    assert views.color is not None
    seen = views.id >= 0
    depth = torch.where(seen, views.depth_m / voxel_size_m, 1e6)
    nearer = torch.zeros_like(depth)
    for step in (2, 5):
        for axis in (1, 2):
            for shift in (step, -step):
                nearer += (depth - torch.roll(depth, shift, dims=axis) - 1).clamp_(0, 6)
    bright = torch.exp(-0.035 * nearer)[..., None]
    background = torch.tensor(BACKGROUND, dtype=torch.float32)
    return torch.where(seen[..., None], views.color * bright, background)


def draw_legend(entries: Sequence[LegendEntry]) -> np.ndarray:
    """(HEIGHT, _LEGEND_WIDTH, 3) uint8: swatches with names and shares of the voxels."""
    panel = np.full((HEIGHT, _LEGEND_WIDTH, 3), 255, dtype=np.uint8)
    panel[:, 0] = 225
    line, top = 34, 44
    room = (HEIGHT - 2 * top) // line
    total = max(1, sum(count for _, _, count in entries))
    shown = list(entries if len(entries) <= room else entries[: room - 1])
    for row, (name, color, count) in enumerate(shown):
        y = top + row * line
        swatch = ((24, y), (46, y + 20))
        cv2.rectangle(panel, *swatch, tuple(int(channel) for channel in color), -1, cv2.LINE_AA)
        cv2.rectangle(panel, *swatch, (120, 120, 120), 1, cv2.LINE_AA)
        _write(panel, name if len(name) <= 19 else name[:18] + ".", (58, y + 16), 0.55)
        _write(panel, f"{100 * count / total:.1f} %", (_LEGEND_WIDTH - 80, y + 16), 0.5)
    if len(shown) < len(entries):
        rest = sum(count for _, _, count in entries[len(shown) :])
        text = f"{len(entries) - len(shown)} more: {100 * rest / total:.1f} %"
        _write(panel, text, (58, top + len(shown) * line + 16), 0.55)
    return panel


def _write(image: np.ndarray, text: str, place: tuple[int, int], size: float) -> None:
    # OpenCV's fonts have ASCII only: accents are dropped rather than shown as question marks.
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode() or "?"
    cv2.putText(image, plain, place, cv2.FONT_HERSHEY_SIMPLEX, size, (45, 48, 54), 1, cv2.LINE_AA)
