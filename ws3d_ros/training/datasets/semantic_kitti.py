"""SemanticKITTI (Behley et al., ICCV 2019), as its archives unpack.

::

    sequences/00/velodyne/000000.bin   float32 x, y, z, remission
    sequences/00/labels/000000.label   uint32: class in the lower 16 bits, instance in the upper
    sequences/00/calib.txt             ``Tr:`` 3x4, sensor to left camera
    sequences/00/poses.txt             3x4 a line, left camera to its first place
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ws3d_ros.evaluation.classes import SEMANTIC_KITTI19
from ws3d_ros.sensors.frame import FloatArray, Scan
from ws3d_ros.training.datasets.files import (
    DatasetError,
    read_numbers,
    read_records,
    require,
    require_a_label_a_point,
)
from ws3d_ros.training.datasets.labelled_cloud import NONE, LabelledCloud

LAYOUT = (
    "SemanticKITTI is a folder with sequences/NN/velodyne/NNNNNN.bin, sequences/NN/labels/NNNNNN.label, "
    "sequences/NN/calib.txt and sequences/NN/poses.txt."
)
PERIOD_NS = 100_000_000
"""The sensor turns ten times a second."""


class SemanticKitti:
    """Single sweeps, in the sensor's frame.

    Attributes:
        names: all sweeps, such as ``08/000120``.
        class_names: the 19 classes of single scans.

    Raises:
        DatasetError: here and everywhere, when a file is missing or broken.
    """

    class_names = SEMANTIC_KITTI19.names

    def __init__(self, path: str | Path, sequences: tuple[str, ...] | None = None) -> None:
        """``sequences`` are those to use, such as ``("08",)``; default: all that are there."""
        self._root = require(Path(path) / "sequences", LAYOUT)
        folders = sorted(each.name for each in self._root.iterdir() if (each / "velodyne").is_dir())
        for wanted in sequences or ():
            require(self._root / wanted / "velodyne", LAYOUT)
        self.names = tuple(
            f"{sequence}/{sweep.stem}"
            for sequence in (sequences or folders)
            for sweep in sorted((self._root / sequence / "velodyne").glob("*.bin"))
        )
        if not self.names:
            raise DatasetError(f"{self._root} has no sweeps. {LAYOUT}")

    def load(self, name: str) -> LabelledCloud:
        """One sweep with its labels. Instances are numbered over a sequence; 0 in the file is none."""
        points = self._points(name)
        file = self._file(name, "labels", ".label")
        raw = read_records(file, "<u4", 1, f"Sequences 11 to 21 have none. {LAYOUT}")[:, 0]
        require_a_label_a_point(file, len(raw), self._file(name, "velodyne", ".bin"), len(points))
        return LabelledCloud(
            name,
            points[:, :3],
            color=None,
            normal=None,
            label=SEMANTIC_KITTI19.index(raw & 0xFFFF),
            # Numbers are given class by class: the whole word tells things apart.
            instance=np.where(raw >> 16 > 0, raw.astype(np.int64), NONE),
            class_names=self.class_names,
        )

    def scans(self, sequence: str) -> Iterator[Scan]:
        """The sweeps of a sequence in order, with poses in the frame of its first sweep."""
        poses = self.poses(sequence)
        sweeps = [name for name in self.names if name.startswith(f"{sequence}/")]
        for name in sweeps:
            index = int(name.split("/")[1])
            if index >= len(poses):
                raise DatasetError(f"{self._root / sequence / 'poses.txt'} has no pose for sweep {name}")
            points = torch.from_numpy(self._points(name))
            yield Scan(index * PERIOD_NS, points[:, :3].contiguous(), poses[index], points[:, 3].contiguous())

    def poses(self, sequence: str) -> FloatArray:
        """(S, 4, 4) float64: points of each sweep to the frame of the first."""
        T_camera_lidar = _with_last_row(self._calibration(sequence)[None])[0]
        rows = read_numbers(self._root / sequence / "poses.txt", LAYOUT, columns=12)
        T_first_camera = _with_last_row(rows.reshape(-1, 3, 4))
        return np.asarray(np.linalg.inv(T_camera_lidar) @ T_first_camera @ T_camera_lidar)

    def _calibration(self, sequence: str) -> FloatArray:
        """(3, 4) sensor to left camera."""
        file = require(self._root / sequence / "calib.txt", LAYOUT)
        for line in file.read_text(errors="replace").splitlines():
            key, _, values = line.partition(":")
            if key.strip() == "Tr":
                try:
                    return np.array([float(value) for value in values.split()]).reshape(3, 4)
                except ValueError as error:
                    raise DatasetError(f"{file}: 'Tr:' must be followed by 12 numbers") from error
        raise DatasetError(f"{file} has no line 'Tr:', which takes points of the sensor to the camera")

    def _points(self, name: str) -> np.ndarray:
        """(N, 4) float32: x, y, z and remission."""
        return read_records(self._file(name, "velodyne", ".bin"), "<f4", 4, LAYOUT).copy()

    def _file(self, name: str, folder: str, ending: str) -> Path:
        sequence, sweep = name.split("/")
        return self._root / sequence / folder / f"{sweep}{ending}"


def _with_last_row(matrices: np.ndarray) -> np.ndarray:
    """(S, 3, 4) to (S, 4, 4)."""
    last = np.broadcast_to([[[0.0, 0.0, 0.0, 1.0]]], (len(matrices), 1, 4))
    return np.concatenate([matrices, last], axis=1)
