"""S3DIS (Armeni et al., CVPR 2016), ``Stanford3dDataset_v1.2_Aligned_Version`` as it unpacks.

::

    Area_1/office_1/office_1.txt               the room, which is not needed: the things make it up
    Area_1/office_1/Annotations/chair_3.txt    the points of one thing: x y z r g b a line
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ws3d_ros.evaluation.classes import S3DIS13
from ws3d_ros.training.datasets.files import DatasetError, read_numbers, require
from ws3d_ros.training.datasets.labelled_cloud import LabelledCloud

LAYOUT = "S3DIS is a folder with Area_*/ROOM/Annotations/CLASS_N.txt, each with lines 'x y z r g b'."
_THING = re.compile(r"(?P<name>[a-zA-Z]+)_\d+")  # so that 'wall_3 (1).txt' of Area_5/office_36 is left out


class S3dis:
    """Rooms, z up, in the building's frame.

    Attributes:
        names: all rooms, such as ``Area_5/office_3``. By custom Area_5 is for testing.
        class_names: the 13 classes; things under other names (``stairs``) are clutter.

    Raises:
        DatasetError: here and everywhere, when a file is missing or broken.
    """

    class_names = S3DIS13

    def __init__(self, path: str | Path) -> None:
        self._root = require(Path(path), LAYOUT)
        rooms = sorted(self._root.glob("Area_*/*/Annotations"))
        self.names = tuple(f"{room.parents[1].name}/{room.parent.name}" for room in rooms)
        if not self.names:
            raise DatasetError(f"{self._root} has no rooms. {LAYOUT}")

    def load(self, name: str) -> LabelledCloud:
        """One room; every thing is an instance, walls and floors too."""
        folder = require(self._root / name / "Annotations", LAYOUT)
        things = [file for file in sorted(folder.glob("*.txt")) if _THING.fullmatch(file.stem)]
        if not things:
            raise DatasetError(f"{folder} has no files such as chair_1.txt. {LAYOUT}")
        rows = [read_numbers(file, LAYOUT, columns=6) for file in things]
        points = np.concatenate(rows)
        color = points[:, 3:]
        if not (np.isfinite(points).all() and (color >= 0).all() and (color <= 255).all()):
            raise DatasetError(f"{folder}: places must be finite, colours 0..255. {LAYOUT}")
        counts = [len(row) for row in rows]
        return LabelledCloud(
            name,
            points[:, :3].astype(np.float32),
            color=color.astype(np.uint8),
            normal=None,
            label=np.repeat([_class_of(file.stem) for file in things], counts).astype(np.int64),
            instance=np.repeat(np.arange(len(things)), counts).astype(np.int64),
            class_names=self.class_names,
        )


def _class_of(stem: str) -> int:
    name = stem.rsplit("_", 1)[0]
    return S3DIS13.index(name if name in S3DIS13 else "clutter")
