"""Triangles with all that the renderer wants to know of each corner, and materials made by us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

PLAIN = -1
"""Texture number of a surface of one colour."""


@dataclass(frozen=True)
class Mesh:
    """T triangles; every field has one row for each of the 3T corners.

    Attributes:
        position_m: (3T, 3) float32.
        normal: (3T, 3) float32 unit vectors; the renderer turns them to the viewer.
        uv: (3T, 2) float32 texture coordinates, repeating.
        color: (3T, 3) float32 RGB in 0..1, multiplied with the texture.
        texture: (3T,) int32 index into ``textures``, or PLAIN.
        glow: (3T,) float32 light that the surface gives off itself, 0 for most.
        textures: images (h, w, 3) uint8.
    """

    position_m: np.ndarray
    normal: np.ndarray
    uv: np.ndarray
    color: np.ndarray
    texture: np.ndarray
    glow: np.ndarray
    textures: tuple[np.ndarray, ...] = ()

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, 3) lowest and highest corner."""
        return np.stack([self.position_m.min(0), self.position_m.max(0)])

    def moved(self, yaw: float, offset_m: Sequence[float] | np.ndarray) -> Mesh:
        """Turned about z (radians, counter-clockwise), then shifted."""
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)
        position = self.position_m @ turn.T + np.asarray(offset_m, np.float32)
        return replace(self, position_m=position, normal=self.normal @ turn.T)

    def scaled_to(self, size_m: Sequence[float] | np.ndarray) -> Mesh:
        """Stretched to a size, standing on z = 0, centred in x and y."""
        low, high = self.bounds
        factor = np.asarray(size_m, np.float32) / np.maximum(high - low, 1e-6)
        base = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], np.float32)
        normal = self.normal / np.maximum(factor, 1e-6)
        return replace(
            self, position_m=((self.position_m - base) * factor).astype(np.float32), normal=unit(normal)
        )

    def tinted(self, gain: np.ndarray) -> Mesh:
        """With every colour multiplied by ``gain`` (3,), clipped to 0..1."""
        return replace(self, color=np.clip(self.color * gain, 0, 1).astype(np.float32))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length one (zero rows stay zero), float32."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


def join(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several; equal texture objects are kept once."""
    number: dict[int, int] = {}
    textures: list[np.ndarray] = []
    columns = []
    for mesh in meshes:
        lookup = np.empty(len(mesh.textures) + 1, np.int32)
        lookup[PLAIN] = PLAIN
        for index, image in enumerate(mesh.textures):
            if id(image) not in number:
                number[id(image)] = len(textures)
                textures.append(image)
            lookup[index] = number[id(image)]
        columns.append(lookup[mesh.texture])
    return Mesh(
        np.concatenate([mesh.position_m for mesh in meshes]),
        np.concatenate([mesh.normal for mesh in meshes]),
        np.concatenate([mesh.uv for mesh in meshes]),
        np.concatenate([mesh.color for mesh in meshes]),
        np.concatenate(columns),
        np.concatenate([mesh.glow for mesh in meshes]),
        tuple(textures),
    )


def surface(
    corners_m: np.ndarray,
    normal: np.ndarray,
    color: Sequence[float] | np.ndarray = (0.8, 0.8, 0.8),
    uv: np.ndarray | None = None,
    image: np.ndarray | None = None,
    glow: float = 0.0,
) -> Mesh:
    """A mesh of one material. ``corners_m`` and ``normal`` (3T, 3), ``uv`` (3T, 2) or None."""
    rows = len(corners_m)
    return Mesh(
        np.asarray(corners_m, np.float32),
        unit(np.asarray(normal)),
        np.zeros((rows, 2), np.float32) if uv is None else np.asarray(uv, np.float32),
        np.tile(np.asarray(color, np.float32), (rows, 1)),
        np.full(rows, PLAIN if image is None else 0, np.int32),
        np.full(rows, glow, np.float32),
        () if image is None else (image,),
    )


_QUADS = np.array(  # the six sides of the unit cube: corners as bits zyx
    [[0, 2, 6, 4], [1, 5, 7, 3], [0, 4, 5, 1], [2, 3, 7, 6], [0, 1, 3, 2], [4, 6, 7, 5]]
)


def box(
    low_m: Sequence[float] | np.ndarray,
    high_m: Sequence[float] | np.ndarray,
    color: Sequence[float] | np.ndarray = (0.8, 0.8, 0.8),
    image: np.ndarray | None = None,
    image_size_m: float = 1.0,
    glow: float = 0.0,
) -> Mesh:
    """A box with sides along the axes. The texture repeats every ``image_size_m``, upright on walls."""
    low, high = np.asarray(low_m, float), np.asarray(high_m, float)
    bits = (_QUADS[:, [0, 1, 2, 0, 2, 3]].reshape(-1)[:, None] >> np.arange(3)) & 1
    corners = low + bits * (high - low)
    axis = np.repeat([0, 0, 1, 1, 2, 2], 6)
    normal = np.zeros((36, 3))
    normal[np.arange(36), axis] = np.repeat([-1, 1, -1, 1, -1, 1], 6)
    u_axis = np.array([1, 0, 0])[axis]
    v_axis = np.array([2, 2, 1])[axis]
    rows = np.arange(36)
    uv = np.stack([corners[rows, u_axis], corners[rows, v_axis]], 1) / image_size_m
    return surface(corners, normal, color, uv, image, glow)
