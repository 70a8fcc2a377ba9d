"""Measurements of which every pixel or point has a true class: what zero-shot naming is scored on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from house import SHARED
from scipy.spatial.transform import Rotation
from torch import Tensor

from ws3d_ros.evaluation.classes import SEMANTIC_KITTI19
from ws3d_ros.sensors.frame import Frame, Scan
from ws3d_ros.training.datasets.bag import Bag
from ws3d_ros.training.datasets.bag_topics import messages_of, open_bag, stamp_ns
from ws3d_ros.training.datasets.posed_folder import PosedFolder
from ws3d_ros.training.scenes.bag import INSTANCES

ROOT = Path(__file__).resolve().parents[1]
ROOM = ROOT / "samples/room"
HOUSE = SHARED / "data/small_house"
STREET, STREET_LABELS = SHARED / "data/kitti00_bag", SHARED / "data/kitti00_labels"


@dataclass(frozen=True)
class Labelled:
    """A frame and the class (H, W) of each pixel, or a sweep and that of each point (N,); 0 for none."""

    measurement: Frame | Scan
    truth: Tensor


def house_frames(every: int = 4) -> tuple[list[str], Iterator[Labelled]]:
    """Class names and images of small_house."""
    folder = PosedFolder(HOUSE)
    return folder.classes, (
        Labelled(item.frame, folder.class_of_instance[item.instance.long()]) for item in folder.frames(every)
    )


def house_scans() -> tuple[list[str], Iterator[Labelled]]:
    """Class names and sweeps of small_house."""
    folder = PosedFolder(HOUSE)
    return folder.classes, (
        Labelled(item.scan, folder.class_of_instance[item.instance.long()]) for item in folder.scans()
    )


def room_frames() -> tuple[list[str], Iterator[Labelled]]:
    """Class names and images of the sample that ships, with the true instances recorded beside them."""
    things = json.loads((ROOM / "ground_truth.json").read_text())["instances"]
    names = sorted({thing["class"] for thing in things.values()})
    class_of = torch.zeros(max(map(int, things)) + 1, dtype=torch.int64)
    for number, thing in things.items():
        class_of[int(number)] = names.index(thing["class"]) + 1
    with open_bag(ROOM) as reader:
        instances = {
            stamp_ns(message.header): np.asarray(
                cv2.imdecode(np.asarray(message.data), cv2.IMREAD_UNCHANGED), np.int64
            )
            for _, message in messages_of(reader, lambda c: c.topic.startswith(INSTANCES))
        }
    return names, (
        Labelled(frame, class_of[torch.from_numpy(instances[frame.stamp_ns])])
        for frame in Bag(ROOM).measurements()
        if isinstance(frame, Frame)
    )


def street_scans() -> tuple[list[str], Iterator[Labelled]]:
    """SemanticKITTI's class names and the sweeps of kitti00, of which the first one is labelled.

    The recording's map has y downwards, as its first camera; here it stands upright, as networks want it.
    """
    bag = Bag(STREET)
    upright = np.eye(4)
    upright[:3, :3] = Rotation.align_vectors([[0.0, 0.0, 1.0]], [bag.topics.up])[0].as_matrix()
    first = SEMANTIC_KITTI19.index(np.fromfile(STREET_LABELS / "000000.label", "<u4") & 0xFFFF) + 1
    scans = (each for each in bag.measurements() if isinstance(each, Scan))

    def labelled() -> Iterator[Labelled]:
        for index, scan in enumerate(scans):
            truth = torch.zeros(len(scan.points_m), dtype=torch.int64)
            if index == 0:
                truth = torch.from_numpy(first)
            yield Labelled(replace(scan, T_map_lidar=upright @ scan.T_map_lidar), truth)

    return list(SEMANTIC_KITTI19.names), labelled()
