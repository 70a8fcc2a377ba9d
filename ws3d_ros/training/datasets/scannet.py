"""ScanNet (Dai et al., CVPR 2017), as its download script lays it out.

::

    scannetv2-labels.combined.tsv                                names of annotators to ids
    scans/scene0000_00/scene0000_00_vh_clean_2.ply               mesh; its vertices are the points
    scans/scene0000_00/scene0000_00_vh_clean_2.0.010000.segs.json    segment of each vertex
    scans/scene0000_00/scene0000_00.aggregation.json             segments of each thing, and its name

``*_vh_clean_2.labels.ply`` says nothing that these do not. Exported frames: see rgbd_folder.py.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Literal

import numpy as np
from plyfile import PlyData, PlyParseError

from ws3d_ros.evaluation.classes import SCANNET20, SCANNET200
from ws3d_ros.training.datasets.files import DatasetError, read_json, require
from ws3d_ros.training.datasets.labelled_cloud import NONE, LabelledCloud

LAYOUT = (
    "ScanNet is a folder with scannetv2-labels.combined.tsv and, in scans/sceneXXXX_XX/, "
    "sceneXXXX_XX_vh_clean_2.ply, sceneXXXX_XX_vh_clean_2.0.010000.segs.json and "
    "sceneXXXX_XX.aggregation.json. Scenes of the test set have no annotation."
)
_LABELS = "scannetv2-labels.combined.tsv"
_TABLES = {20: (SCANNET20, "nyu40id"), 200: (SCANNET200, "id")}


class ScanNet:
    """Reconstructed rooms, z up.

    Attributes:
        names: all scenes that are there, such as ``scene0011_00``.
        class_names: of ScanNet20 or ScanNet200.

    Raises:
        DatasetError: here and everywhere, when a file is missing or broken.
    """

    def __init__(self, path: str | Path, classes: Literal[20, 200] = 20) -> None:
        root = require(Path(path), LAYOUT)
        self._scans = root / "scans" if (root / "scans").is_dir() else root
        self.names = tuple(sorted(each.name for each in self._scans.glob("scene*_*") if each.is_dir()))
        if not self.names:
            raise DatasetError(f"{self._scans} has no folders such as scene0000_00. {LAYOUT}")
        table, column = _TABLES[classes]
        self.class_names = table.names
        words, ids = _read_labels(require(root / _LABELS, LAYOUT), column)
        self._class_of = dict(zip(words, table.index(np.array(ids, np.int64)).tolist(), strict=True))

    def load(self, name: str) -> LabelledCloud:
        """One scene; a thing of a class that is not scored has an instance, but the label -1."""
        folder = require(self._scans / name, LAYOUT)
        points, color, normal = _read_mesh(require(folder / f"{name}_vh_clean_2.ply", LAYOUT))
        segment = self._segments(folder / f"{name}_vh_clean_2.0.010000.segs.json", len(points))
        label = np.full(len(points), NONE, np.int64)
        instance = np.full(len(points), NONE, np.int64)
        for number, (word, segments) in enumerate(self._things(folder / f"{name}.aggregation.json")):
            inside = np.isin(segment, segments)
            label[inside] = self._class_of.get(word, NONE)
            instance[inside] = number
        return LabelledCloud(name, points, color, normal, label, instance, self.class_names)

    def _segments(self, file: Path, count: int) -> np.ndarray:
        segment = _integers(file, read_json(file, LAYOUT), "segIndices")
        if len(segment) != count:
            raise DatasetError(f"{file} has {len(segment)} 'segIndices', but the mesh {count} vertices")
        return segment

    def _things(self, file: Path) -> list[tuple[str, np.ndarray]]:
        content = read_json(file, LAYOUT)
        groups = content.get("segGroups") if isinstance(content, dict) else None
        if not isinstance(groups, list):
            raise DatasetError(f"{file} lacks the list 'segGroups'")
        if not all(isinstance(group, dict) and isinstance(group.get("label"), str) for group in groups):
            raise DatasetError(f"{file}: every one of 'segGroups' needs a 'label'")
        return [(group["label"], _integers(file, group, "segments")) for group in groups]


def _integers(file: Path, mapping: Any, key: str) -> np.ndarray:
    """(N,) int64 of ``mapping[key]``."""
    values = mapping.get(key) if isinstance(mapping, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, int) for value in values):
        raise DatasetError(f"{file}: '{key}' must be a list of integers")
    return np.array(values, np.int64)


def _read_labels(file: Path, column: str) -> tuple[list[str], list[int]]:
    """Annotators' words and their ids. Of a word that is listed twice the first counts."""
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    try:
        pairs = {row["raw_category"]: int(row[column] or 0) for row in reversed(rows)}
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"{file} must have the columns raw_category and {column}: {error}") from error
    return list(pairs), list(pairs.values())


def _read_mesh(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, 3) float32 places, (N, 3) uint8 colours and (N, 3) float32 normals of a mesh's vertices."""
    try:
        mesh = PlyData.read(str(file), known_list_len={"face": {"vertex_indices": 3}})
        vertex = mesh["vertex"].data
        points = np.stack([vertex[axis] for axis in "xyz"], axis=1).astype(np.float32)
        color = np.stack([vertex[part] for part in ("red", "green", "blue")], axis=1).astype(np.uint8)
        faces = np.array(mesh["face"].data["vertex_indices"].tolist(), np.int64).reshape(-1, 3)
    except (PlyParseError, KeyError, ValueError) as error:
        raise DatasetError(
            f"{file} is no mesh of triangles with coloured vertices, or cut short: {error}"
        ) from error
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(points)):
        raise DatasetError(f"{file} has triangles of vertices that it does not have")
    return points, color, vertex_normals(points, faces)


def vertex_normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(N, 3) float32: mean normal of each vertex' triangles (F, 3), by area; 0 where it has none."""
    corner = points.astype(np.float64)[faces]
    across = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])  # twice the area long
    total = np.zeros((len(points), 3))
    np.add.at(total, faces.reshape(-1), across.repeat(3, axis=0))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0).astype(np.float32)
