"""A posed RGB-D sequence with ground truth, as a folder of images.

::

    rgb/0000.jpg     colour
    depth/0000.png   uint16, millimetres (meta.json: depth_scale units a metre), 0 invalid
    inst/0000.png    ids of instances, 0 for none
    lidar/0000.npz   optional: xyz (N, 3) in the sensor's frame, inst (N,)
    meta.json        K [fx, fy, cx, cy], width, height, depth_scale, poses (camera to map, 4x4),
                     instances {id: {cls, class_id}}, classes {name: id}
    lidar.json       optional: poses (sensor to map, 4x4)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ws3d_ros.sensors.frame import Frame, Pinhole, Scan

PERIOD_NS = 100_000_000
"""Images carry no time; they are taken to be 0.1 s apart, and so are the sweeps."""


@dataclass(frozen=True)
class LabelledFrame:
    """A frame and what is truly there.

    Attributes:
        frame: colour and depth.
        instance: (H, W) int32 ids, 0 for none.
    """

    frame: Frame
    instance: Tensor


@dataclass(frozen=True)
class LabelledScan:
    """A sweep and what is truly there: ``instance`` (N,) int32 ids, 0 for none."""

    scan: Scan
    instance: Tensor


class PosedFolder:
    """Reads such a folder, image by image.

    Attributes:
        classes: names of the classes; class ``i`` of the ground truth is ``classes[i - 1]``.
        class_of_instance: (I + 1,) int64, class of each instance id, 0 for none.

    Raises:
        FileNotFoundError: when the folder is not one of these; the message names the missing file.
        ValueError: when meta.json contradicts itself or lacks something.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        meta = self._read_json("meta.json")
        try:
            fx, fy, cx, cy = meta["K"]
            self.camera = Pinhole(meta["width"], meta["height"], fx, fy, cx, cy)
            self.poses = np.array(meta["poses"], np.float64)
            self._depth_scale = float(meta["depth_scale"])
            ids: dict[str, int] = meta["classes"]
            self.classes = sorted(ids, key=ids.__getitem__)
            instances = {int(key): value["class_id"] for key, value in meta["instances"].items()}
        except KeyError as missing:
            raise ValueError(f"{self.path / 'meta.json'} lacks {missing}") from None
        if sorted(ids.values()) != list(range(1, len(ids) + 1)):
            raise ValueError(f"{self.path / 'meta.json'}: class ids must be 1..{len(ids)}")
        self.class_of_instance = torch.zeros(max(instances, default=0) + 1, dtype=torch.int64)
        for instance, class_id in instances.items():
            self.class_of_instance[instance] = class_id

    def __len__(self) -> int:
        return len(self.poses)

    def frames(self, every: int = 1) -> Iterator[LabelledFrame]:
        """Every ``every``-th frame, from the first on."""
        for index in range(0, len(self), every):
            yield self.frame(index)

    def frame(self, index: int) -> LabelledFrame:
        """One frame.

        Raises:
            FileNotFoundError: when one of its images is missing or cannot be read.
        """
        color = cv2.cvtColor(self._read_image(f"rgb/{index:04d}.jpg", cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        depth = self._read_image(f"depth/{index:04d}.png", cv2.IMREAD_UNCHANGED)
        instance = self._read_image(f"inst/{index:04d}.png", cv2.IMREAD_UNCHANGED)
        return LabelledFrame(
            Frame(
                stamp_ns=index * PERIOD_NS,
                camera=self.camera,
                T_map_camera=self.poses[index],
                color=torch.from_numpy(color),
                depth_m=torch.from_numpy(depth.astype(np.float32) / np.float32(self._depth_scale)),
            ),
            torch.from_numpy(instance.astype(np.int32)),
        )

    def scans(self) -> Iterator[LabelledScan]:
        """All LiDAR sweeps, in order; none where the folder has no lidar.json."""
        if not (self.path / "lidar.json").exists():
            return
        for index, pose in enumerate(self._read_json("lidar.json")["poses"]):
            with np.load(self.path / f"lidar/{index:04d}.npz") as sweep:
                points = torch.from_numpy(sweep["xyz"].astype(np.float32))
                instance = torch.from_numpy(sweep["inst"].astype(np.int32))
            yield LabelledScan(Scan(index * PERIOD_NS, points, np.array(pose, np.float64)), instance)

    def _read_json(self, name: str) -> dict[str, Any]:
        file = self.path / name
        if not file.exists():
            raise FileNotFoundError(f"{file} does not exist; is this a folder of posed RGB-D images?")
        content: dict[str, Any] = json.loads(file.read_text())
        return content

    def _read_image(self, name: str, mode: int) -> np.ndarray:
        image = cv2.imread(str(self.path / name), mode)
        if image is None:
            raise FileNotFoundError(f"{self.path / name} is missing or no image")
        return image
