"""nuScenes with nuScenes-lidarseg (Caesar et al., CVPR 2020; Fong et al., RA-L 2022), as they unpack.

::

    v1.0-trainval/*.json                 tables, of which category, scene, sample, sample_data, lidarseg,
                                         ego_pose and calibrated_sensor are read
    samples/LIDAR_TOP/*.pcd.bin          float32 x, y, z, intensity, ring
    lidarseg/v1.0-trainval/*_lidarseg.bin    uint8: index of the category

The tables are described in docs/schema_nuscenes.md of github.com/nutonomy/nuscenes-devkit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ws3d_ros.evaluation.classes import NUSCENES16
from ws3d_ros.sensors.frame import FloatArray, Scan
from ws3d_ros.sensors.rigid import pose_matrix
from ws3d_ros.training.datasets.files import (
    DatasetError,
    read_json,
    read_records,
    require,
    require_a_label_a_point,
)
from ws3d_ros.training.datasets.labelled_cloud import NONE, LabelledCloud

LAYOUT = (
    "nuScenes is a folder with v1.0-*/ (tables: category.json, scene.json, sample.json, sample_data.json, "
    "ego_pose.json, calibrated_sensor.json, and lidarseg.json of the lidarseg package), samples/LIDAR_TOP/ "
    "and lidarseg/."
)

Row = dict[str, Any]


class NuScenes:
    """Annotated sweeps of the roof's LiDAR, two a second, in the sensor's frame.

    Attributes:
        names: all of them by scene and time, such as ``scene-0061/000``.
        class_names: the 16 classes of the lidarseg benchmark. Instances are not read.

    Raises:
        DatasetError: here and everywhere, when a file is missing or broken.
    """

    class_names = tuple(NUSCENES16)

    def __init__(self, path: str | Path, version: str = "v1.0-trainval") -> None:
        """``version`` is the folder of the tables, such as ``v1.0-mini``."""
        self._root = require(Path(path), LAYOUT)
        self._tables = require(self._root / version, LAYOUT)
        index_of = {category: i for i, group in enumerate(NUSCENES16.values()) for category in group}
        self._class_of = np.full(256, NONE, np.int64)
        for row in self._table("category", "name", "index"):
            self._class_of[int(row["index"])] = index_of.get(row["name"], NONE)
        labelled = {
            row["sample_data_token"]: row["filename"]
            for row in self._table("lidarseg", "sample_data_token", "filename")
        }
        self._labels: dict[str, str] = {}
        self._sweeps: dict[str, Row] = {}
        for name, sweep in self._by_scene(labelled):
            self._sweeps[name], self._labels[name] = sweep, labelled[sweep["token"]]
        self.names = tuple(self._sweeps)
        poses = {row["ego_pose_token"] for row in self._sweeps.values()}
        self._ego_pose = self._poses("ego_pose", poses)
        sensors = {row["calibrated_sensor_token"] for row in self._sweeps.values()}
        self._sensor_pose = self._poses("calibrated_sensor", sensors)

    def load(self, name: str) -> LabelledCloud:
        """One sweep with its labels."""
        points = self._points(name)
        file = self._root / self._labels[name]
        raw = read_records(file, np.uint8, 1, LAYOUT)[:, 0]
        require_a_label_a_point(file, len(raw), self._file(name), len(points))
        nothing = np.full(len(points), NONE, np.int64)
        return LabelledCloud(
            name, points[:, :3].copy(), None, None, self._class_of[raw], nothing, self.class_names
        )

    def scans(self, scene: str) -> Iterator[Scan]:
        """The annotated sweeps of a scene in order, with poses in the frame of its city's map."""
        for name in self.names:
            if name.split("/")[0] == scene:
                points = torch.from_numpy(self._points(name))
                stamp_ns = int(self._sweeps[name]["timestamp"]) * 1000
                yield Scan(
                    stamp_ns,
                    points[:, :3].contiguous(),
                    self.pose(name),
                    points[:, 3].contiguous(),
                    "LIDAR_TOP",
                )

    def pose(self, name: str) -> FloatArray:
        """(4, 4) float64: points of a sweep to the map of the city."""
        row = self._sweeps[name]
        T_map_ego = self._ego_pose[row["ego_pose_token"]]
        return np.asarray(T_map_ego @ self._sensor_pose[row["calibrated_sensor_token"]])

    def _points(self, name: str) -> np.ndarray:
        """(N, 5) float32: x, y, z, intensity and ring."""
        return read_records(self._file(name), "<f4", 5, LAYOUT).copy()

    def _file(self, name: str) -> Path:
        return self._root / str(self._sweeps[name]["filename"])

    def _by_scene(self, labelled: dict[str, str]) -> Iterator[tuple[str, Row]]:
        """Names and rows of sample_data of all sweeps that have labels, by scene and time."""
        scene_of = {row["token"]: row["name"] for row in self._table("scene", "token", "name")}
        scene_token = {
            row["token"]: row["scene_token"] for row in self._table("sample", "token", "scene_token")
        }
        wanted = (
            "token",
            "sample_token",
            "ego_pose_token",
            "calibrated_sensor_token",
            "filename",
            "timestamp",
        )
        groups: dict[str, list[Row]] = {}
        for row in self._table("sample_data", *wanted):
            if row["token"] in labelled:
                try:
                    scene = scene_of[scene_token[row["sample_token"]]]
                except KeyError as token:
                    raise DatasetError(f"{self._tables}: no sample or scene has the token {token}") from None
                groups.setdefault(scene, []).append(row)
        for scene in sorted(groups):
            in_time = sorted(groups[scene], key=lambda row: int(row["timestamp"]))
            yield from ((f"{scene}/{place:03d}", row) for place, row in enumerate(in_time))

    def _poses(self, table: str, tokens: set[str]) -> dict[str, FloatArray]:
        """(4, 4) of each row that is wanted. Quaternions in the files are w, x, y, z."""
        poses = {}
        for row in self._table(table, "token", "translation", "rotation"):
            if row["token"] in tokens:
                try:
                    w, x, y, z = row["rotation"]
                    poses[row["token"]] = pose_matrix(row["translation"], (x, y, z, w))
                except (ValueError, TypeError, ZeroDivisionError) as error:
                    raise DatasetError(f"{self._tables / table}.json: row {row['token']}: {error}") from error
        missing = tokens - set(poses)
        if missing:
            raise DatasetError(f"{self._tables / table}.json lacks {len(missing)} rows that sweeps refer to")
        return poses

    def _table(self, name: str, *columns: str) -> list[Row]:
        file = self._tables / f"{name}.json"
        rows = read_json(file, LAYOUT)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DatasetError(f"{file} must be a list of rows")
        for column in columns:
            if rows and not all(column in row for row in rows):
                hint = " It comes with the lidarseg package." if column == "index" else ""
                raise DatasetError(f"{file} has rows without '{column}'.{hint}")
        return rows
