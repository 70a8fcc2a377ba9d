"""A scene as points, and views of them: what renders a scene many times a second without OpenGL."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ws3d_ros.rendering.splat import render
from ws3d_ros.sensors.frame import Pinhole
from ws3d_ros.training.scenes.made import SIDE
from ws3d_ros.training.scenes.mesh import PLAIN, Mesh, join
from ws3d_ros.training.scenes.scene import Scene
from ws3d_ros.training.scenes.view import View

SPACING_M = 0.025
_SWELL = 2.0  # points are drawn this much wider than their spacing, which closes pinholes
_MARGIN_M = (0.1, 0.1, 0.02)
_R2 = (0.7548776662466927, 0.5698402909980532)
"""Steps of a sequence that fills the unit square evenly (Roberts, "The unreasonable effectiveness of
quasirandom sequences", 2018)."""


@dataclass(frozen=True)
class Points:
    """N points on surfaces.

    Attributes:
        position_m: (N, 3) float32. normal: (N, 3) float32 unit vectors, of either side.
        color: (N, 3) float32 RGB in 0..1, unlit. glow: (N,) float32 as in :class:`Mesh`.
        triangle: (N,) int64, of the mesh.
    """

    position_m: np.ndarray
    normal: np.ndarray
    color: np.ndarray
    glow: np.ndarray
    triangle: np.ndarray

    def take(self, rows: np.ndarray) -> Points:
        """The points of these rows (a mask or indices)."""
        return Points(*(values[rows] for values in vars(self).values()))


def sample(mesh: Mesh, spacing_m: float, rng: np.random.Generator) -> Points:
    """Points spread evenly over all triangles, one for each square of ``spacing_m``.

    Along the list of triangles the area is cut into equal pieces (systematic sampling), so that small
    triangles get their share; within a triangle the points follow an even sequence.
    """
    corner = mesh.position_m.reshape(-1, 3, 3)
    edge, other = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    cross = np.cross(edge, other)
    area_m2 = np.linalg.norm(cross, axis=1) / 2
    until = np.floor(np.cumsum(area_m2, dtype=np.float64) / spacing_m**2 + rng.random()).astype(np.int64)
    count = np.diff(until, prepend=0)
    triangle = np.repeat(np.arange(len(corner)), count)
    number = np.arange(len(triangle)) - np.repeat(until - count, count) + rng.random(len(corner))[triangle]
    a, b = (number * _R2[0]) % 1.0, (number * _R2[1]) % 1.0
    outside = a + b > 1
    a, b = np.where(outside, 1 - a, a), np.where(outside, 1 - b, b)
    weight = np.stack([1 - a - b, a, b], axis=1).astype(np.float32)

    def blend(values: np.ndarray) -> np.ndarray:
        return np.einsum("nc,ncd->nd", weight, values.reshape(len(corner), 3, -1)[triangle])

    first = 3 * triangle
    color = mesh.color[first] * _textured(mesh, mesh.texture[first], blend(mesh.uv))
    normal = cross[triangle] / np.maximum(2 * area_m2[triangle, None], 1e-12)
    return Points(blend(mesh.position_m), normal, color, mesh.glow[first], triangle)


def lit(points: Points, scene: Scene, eye_m: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 RGB under the lights of the scene, of the side that the eye is on; as in ``render.py``."""
    toward = np.einsum("nd,nd->n", points.normal, eye_m - points.position_m) < 0
    normal = np.where(toward[:, None], -points.normal, points.normal)
    light = scene.ambient * (np.array([0.90, 0.89, 0.88]) + normal[:, 2:] * [0.10, 0.11, 0.12])
    light = light + 0.18 * np.maximum(normal @ scene.sun, 0.0)[:, None]
    for lamp in scene.lamps_m:
        way = lamp - points.position_m
        square = np.einsum("nd,nd->n", way, way)
        facing = np.maximum(np.einsum("nd,nd->n", normal, way), 0.0) / np.sqrt(np.maximum(square, 1e-6))
        light += (facing / (1.0 + 0.18 * square))[:, None] * scene.lamp_color
    shown = points.color * (light + points.glow[:, None])
    return (255.0 * np.clip(shown / (1.0 + 0.25 * shown), 0.0, 1.0)).astype(np.uint8)


class PointViewer:
    """Views of one scene, made of its points. Without reflections; a view takes some milliseconds.

    Attributes:
        points: of all things.
        instance: (N,) int64, the number of each point's thing: ``scene.things[i - 1]``.
    """

    def __init__(self, scene: Scene, rng: np.random.Generator, spacing_m: float = SPACING_M) -> None:
        mesh = join([thing.mesh for thing in scene.things])
        points = sample(mesh, spacing_m, rng)
        self.points = points.take(_within(scene, points.position_m))
        triangles = [len(thing.mesh.position_m) // 3 for thing in scene.things]
        self.instance = np.repeat(np.arange(1, len(triangles) + 1), triangles)[self.points.triangle]
        self._scene, self._size_m = scene, _SWELL * spacing_m
        self._position = torch.from_numpy(self.points.position_m)
        self._normal = torch.from_numpy(self.points.normal)

    def view(self, camera: Pinhole, T_map_camera: np.ndarray) -> View:
        """See ``view.Viewer``."""
        pose = torch.from_numpy(T_map_camera)
        drawn = render(self._position, camera, pose, self._size_m, normal=self._normal, near_m=0.05)
        point, depth = drawn.id[0].numpy(), drawn.depth_m[0].numpy()
        nothing = point < 0
        shown = self.points.take(point.reshape(-1))
        color = lit(shown, self._scene, T_map_camera[:3, 3]).reshape(*point.shape, 3)
        color[nothing] = 0
        instance = np.where(nothing, 0, self.instance[point]).astype(np.uint16)
        return View(color, depth, instance)


def _within(scene: Scene, position_m: np.ndarray) -> np.ndarray:
    """(N,) bool: inside the rooms or in the openings of their walls; nobody looks at a flat from outside."""
    inside = np.zeros(len(position_m), bool)
    for room in scene.rooms:
        low = np.array([*room.low_m, 0.0]) - _MARGIN_M
        high = np.array([*room.high_m, room.height_m]) + _MARGIN_M
        inside |= ((position_m > low) & (position_m < high)).all(1)
    return inside


def _textured(mesh: Mesh, texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """(N, 3) factor of each point's texture, 1 where it has none. Rows of images start at v = 0."""
    factor = np.ones((len(texture), 3), np.float32)
    if not mesh.textures:
        return factor
    images = np.stack(mesh.textures)
    has = texture != PLAIN
    column, row = (np.floor(uv[has].T * SIDE).astype(np.int64)) % SIDE
    factor[has] = images[texture[has], row, column] / np.float32(255.0)
    return factor
