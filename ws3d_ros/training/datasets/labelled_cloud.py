"""A point cloud of which it is known what every point is: what all data sets give, and all training takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NONE = -1
"""Class and instance of a point of which nothing is known, or which belongs to nothing."""


@dataclass(frozen=True)
class LabelledCloud:
    """One scene, one sweep or one room with its ground truth.

    Attributes:
        name: what the data set calls it (``scene0011_00``, ``Area_5/office_3``, ``08/000120``).
        points_m: (N, 3) float32, z up; in the map's frame for a scene, in the sensor's for a sweep.
        color: (N, 3) uint8 RGB, or None where no camera saw the points.
        normal: (N, 3) float32, length one, 0 where unknown; or None.
        label: (N,) int64, index into ``class_names``, -1 where the class is unknown or is not scored.
        instance: (N,) int64, equal for points of one thing, -1 where there is none.
        class_names: names of the classes, usable as a vocabulary.
        region: (N,) int64 patch of surface, from 0 (``regions.cloud_regions``), where it was cut.
        told: (N, C) float16, what a teacher says (``teacher``): how likely each class is, times how far that
            is to be believed, 0 to 1; rows of zeros where it knows nothing. None without a teacher.

    Raises:
        ValueError: when lengths, shapes or types do not fit, or a label has no name.
    """

    name: str
    points_m: np.ndarray
    color: np.ndarray | None
    normal: np.ndarray | None
    label: np.ndarray
    instance: np.ndarray
    class_names: tuple[str, ...]
    region: np.ndarray | None = None
    told: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.points_m)
        expected: tuple[tuple[str, np.ndarray | None, tuple[int, ...], type], ...] = (
            ("points_m", self.points_m, (count, 3), np.float32),
            ("color", self.color, (count, 3), np.uint8),
            ("normal", self.normal, (count, 3), np.float32),
            ("label", self.label, (count,), np.int64),
            ("instance", self.instance, (count,), np.int64),
            ("region", self.region, (count,), np.int64),
            ("told", self.told, (count, len(self.class_names)), np.float16),
        )
        for name, array, shape, kind in expected:
            if array is not None and (array.shape != shape or array.dtype != kind):
                raise ValueError(
                    f"{self.name}: {name} must be {shape} {kind.__name__}, not {array.shape} {array.dtype}"
                )
        if count and not NONE <= int(self.label.min()) <= int(self.label.max()) < len(self.class_names):
            raise ValueError(f"{self.name}: labels must be -1..{len(self.class_names) - 1}")

    def __len__(self) -> int:
        return len(self.points_m)
