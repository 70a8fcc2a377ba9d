"""Named furniture from Debian's ``sweethome3d-furniture``: catalogues and meshes in real sizes.

The catalogues are zip files with a ``.properties`` list and OBJ models (y up, front towards
+z, arbitrary units); every model has its licence and its creator, which are kept for credits.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import cv2
import numpy as np
import trimesh
from trimesh.resolvers import ZipResolver

from ws3d_ros.training.scenes.classes import class_of
from ws3d_ros.training.scenes.mesh import Mesh, join, surface

FOLDER = Path("/usr/share/sweethome3d/furniture")
GLASS_COLOR, GLASS_GLOW = (0.80, 0.86, 0.90), 0.35
"""Panes are drawn closed and bright, as by day: a depth camera's infrared would often pass them."""

LARGEST_OBJ_BYTES = 3_000_000
"""Larger models (trees, mostly) take longer to draw than the rest of a room."""

_CATALOGUE = "PluginFurnitureCatalog.properties"
_LICENCE = {"KatorLegaz": "CC-BY-3.0-US", "Reallusion": "CC-BY-3.0-US", "BlendSwap-CC-0": "CC0-1.0"}
_LARGEST_M = (3.0, 2.6, 2.35)
_GLASS_OPACITY = 0.6
_LOW_TABLE_M = 0.55
_CREASE_COS = 0.6
"""Corners whose smooth normal is more than about 53 degrees off their triangle are drawn flat."""


class FurnitureMissingError(RuntimeError):
    """The Debian package with the models is not installed."""


@dataclass(frozen=True)
class Model:
    """One catalogue entry.

    Attributes:
        name: the catalogue's own name.
        word: the plain class name.
        archive, path: where its OBJ is.
        size_m: width (x), depth (y), height (z).
        elevation_m: usual height above the floor, 0 for most.
        top_m: height on which things can be put; negative where they cannot.
        turn: (3, 3) model rotation that the catalogue asks for, as rows.
        creator, licence: for the credits.
    """

    name: str
    word: str
    archive: str
    path: str
    size_m: tuple[float, float, float]
    elevation_m: float
    top_m: float
    turn: tuple[float, ...]
    creator: str
    licence: str


@lru_cache(maxsize=1)
def catalogue(folder: Path = FOLDER) -> tuple[Model, ...]:
    """All models that have a plain word, in a fixed order.

    Raises:
        FurnitureMissingError: if no catalogue is in ``folder``.
    """
    archives = sorted(folder.glob("*.sh3f"))
    if not archives:
        raise FurnitureMissingError(
            f"no furniture catalogues (*.sh3f) in {folder}: rendering rooms needs the Debian and Ubuntu "
            "package sweethome3d-furniture; install it with 'sudo apt-get install sweethome3d-furniture'"
        )
    return tuple(model for archive in archives for model in _read_catalogue(archive))


def by_word(models: Sequence[Model] | None = None) -> dict[str, list[Model]]:
    """The models of each plain word."""
    groups: dict[str, list[Model]] = defaultdict(list)
    for model in catalogue() if models is None else models:
        groups[model.word].append(model)
    return dict(groups)


@lru_cache(maxsize=1024)
def load_mesh(model: Model) -> Mesh:
    """The model in metres: z up, front towards -y, standing on z = 0, centred in x and y."""
    folder = model.path.rsplit("/", 1)[0] + "/"
    archive = _open(model.archive)
    files = {
        name: io.BytesIO(archive.read(name))
        for name in archive.namelist()
        if name.startswith(folder) and not name.endswith("/")
    }
    scene: Any = trimesh.load(
        files[model.path],
        file_type="obj",
        resolver=ZipResolver(files, namespace=folder),
        process=False,
        force="scene",
    )
    mesh = join([_part(geometry) for geometry in scene.geometry.values() if len(geometry.faces)])
    to_z_up = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    turn = to_z_up @ np.array(model.turn, np.float32).reshape(3, 3)
    turned = Mesh(
        mesh.position_m @ turn.T,
        mesh.normal @ turn.T,
        mesh.uv,
        mesh.color,
        mesh.texture,
        mesh.glow,
        mesh.textures,
    )
    return turned.scaled_to(model.size_m)


def credits(models: Sequence[Model]) -> list[str]:
    """One line for each model, sorted: name, creator, licence and where it is from."""
    return sorted(
        {f"{m.name} ({m.path}) by {m.creator}, {m.licence}, {Path(m.archive).stem} catalogue" for m in models}
    )


def _read_catalogue(archive: Path) -> list[Model]:
    entries: dict[int, dict[str, str]] = defaultdict(dict)
    text = _open(str(archive)).read(_CATALOGUE).decode("latin-1")
    for key, number, value in re.findall(r"^(\w+)#(\d+)=(.*)$", text, re.MULTILINE):
        entries[int(number)][key] = value.strip()
    sizes = {info.filename: info.file_size for info in _open(str(archive)).infolist()}
    models = []
    for entry in entries.values():
        word = class_of(entry["name"])
        path = entry["model"].lstrip("/")
        if word is None or sizes.get(path, LARGEST_OBJ_BYTES + 1) > LARGEST_OBJ_BYTES:
            continue
        width, depth, height, elevation, top = (
            float(entry.get(key, default)) / 100.0
            for key, default in (
                ("width", "0"),
                ("depth", "0"),
                ("height", "0"),
                ("elevation", "0"),
                ("dropOnTopElevation", entry["height"]),
            )
        )
        if width > _LARGEST_M[0] or depth > _LARGEST_M[1] or height > _LARGEST_M[2]:
            continue
        if word == "table" and height < _LOW_TABLE_M:
            word = "coffee table"
        if word == "lamp" and elevation > 1.0:
            word = "ceiling lamp"
        models.append(
            Model(
                name=entry["name"],
                word=word,
                archive=str(archive),
                path=path,
                size_m=(width, depth, height),
                elevation_m=elevation,
                top_m=top,
                turn=tuple(float(v) for v in entry.get("modelRotation", "1 0 0 0 1 0 0 0 1").split()),
                creator=entry["creator"],
                licence=_LICENCE.get(archive.stem, "CC-BY-3.0"),
            )
        )
    return models


@lru_cache(maxsize=8)
def _open(archive: str) -> ZipFile:
    return ZipFile(archive)


def _part(geometry: trimesh.Trimesh) -> Mesh:
    """One material's triangles, corner by corner."""
    faces = np.asarray(geometry.faces)
    position = np.asarray(geometry.vertices, np.float32)[faces].reshape(-1, 3)
    edge = np.diff(position.reshape(-1, 3, 3), axis=1)
    flat = np.repeat(_unit_or_up(np.cross(edge[:, 0], edge[:, 1])), 3, axis=0)
    smooth = np.asarray(geometry.vertex_normals, np.float32)[faces].reshape(-1, 3)
    crease = (flat * smooth).sum(1, keepdims=True) < _CREASE_COS
    material = getattr(geometry.visual, "material", None)
    if material is None:
        return surface(position, np.where(crease, flat, smooth))
    uv = getattr(geometry.visual, "uv", None)
    image = getattr(material, "image", None) if uv is not None else None
    color = np.ones(3) if image is not None else np.asarray(material.diffuse[:3]) / 255.0
    opacity = float(material.kwargs.get("d", ["1"])[0])
    if glass := opacity < _GLASS_OPACITY:
        color = np.array(GLASS_COLOR)
    return surface(
        position,
        np.where(crease, flat, smooth),
        color,
        None if uv is None else np.asarray(uv)[faces].reshape(-1, 2),
        None if image is None else _texture(np.asarray(image.convert("RGB"))),
        glow=GLASS_GLOW if glass else 0.0,
    )


def _unit_or_up(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 1e-12, vectors / np.maximum(length, 1e-12), [0.0, 0.0, 1.0])


def _texture(image: np.ndarray) -> np.ndarray:
    """The renderer's size, averaged; bottom row first, as OBJ's v axis points up."""
    return np.ascontiguousarray(cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)[::-1])
