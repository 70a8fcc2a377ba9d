"""The classes of public benchmarks: names that work as vocabularies, and the ids in their files.

Names are plain words: ``traffic sign`` for SemanticKITTI's ``traffic-sign``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ws3d_ros.evaluation import scannet200

STUFF = frozenset({"wall", "floor"})
"""Classes that are no objects: ScanNet's and ScanNet200's instance benchmarks leave them out."""


@dataclass(frozen=True)
class ClassTable:
    """Classes in the benchmark's order.

    Attributes:
        names: what they are called; class i of a metric, counted from 0, is ``names[i]``.
        index_of_id: what an id in the files means, as index into ``names``. Ids that are absent are
            not scored.
    """

    names: tuple[str, ...]
    index_of_id: Mapping[int, int]

    def index(self, ids: np.ndarray) -> np.ndarray:
        """(N,) ids of files to (N,) int64 indices into ``names``, -1 for what is not scored."""
        known = np.array(sorted(self.index_of_id), np.int64)
        meaning = np.array([self.index_of_id[id_] for id_ in known.tolist()], np.int64)
        place = np.searchsorted(known, ids).clip(max=len(known) - 1)
        return np.where(known[place] == ids, meaning[place], -1)


def _table(names: str, ids: list[int]) -> ClassTable:
    listed = tuple(name.strip() for name in names.split(","))
    return ClassTable(listed, dict(zip(ids, range(len(listed)), strict=True)))


SCANNET20 = _table(
    "wall, floor, cabinet, bed, chair, sofa, table, door, window, bookshelf, picture, counter, desk, "
    "curtain, refrigerator, shower curtain, toilet, sink, bathtub, other furniture",
    [*range(1, 13), 14, 16, 24, 28, 33, 34, 36, 39],
)
"""ScanNet (Dai et al., CVPR 2017). Ids: column ``nyu40id`` of scannetv2-labels.combined.tsv, and the
property ``label`` of ``*_vh_clean_2.labels.ply``."""


def _entries(text: str) -> dict[int, str]:
    """Ids and names out of one of scannet200.py's texts."""
    pairs = (" ".join(entry.split()).split(" ", 1) for entry in text.split(","))
    return {int(id_): name for id_, name in pairs}


_GROUPS = {group: _entries(getattr(scannet200, group.upper())) for group in ("head", "common", "tail")}
_NAMES200 = dict(sorted(entry for group in _GROUPS.values() for entry in group.items()))

SCANNET200 = ClassTable(tuple(_NAMES200.values()), {id_: place for place, id_ in enumerate(_NAMES200)})
"""ScanNet200, in the benchmark's order, which is that of ascending ids; source in scannet200.py."""

SCANNET200_GROUPS = {group: tuple(names.values()) for group, names in _GROUPS.items()}
"""Its names by ``head``, ``common`` and ``tail``: how often they occur."""

S3DIS13 = (
    *("ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa"),
    *("bookcase", "board", "clutter"),
)
"""S3DIS (Armeni et al., CVPR 2016). Its files have these names instead of ids."""


def _semantic_kitti() -> ClassTable:
    names = (
        "car, bicycle, motorcycle, truck, other vehicle, person, bicyclist, motorcyclist, road, parking, "
        "sidewalk, other ground, building, fence, vegetation, trunk, terrain, pole, traffic sign"
    )
    ids = [10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81]
    table = _table(names, ids)
    # Buses and trains are other vehicles, lane markings are road, and moving things are what they are.
    same = {13: 20, 16: 20, 60: 40, 252: 10, 253: 31, 254: 30, 255: 32, 256: 20, 257: 20, 258: 18, 259: 20}
    return ClassTable(
        table.names, {**table.index_of_id, **{id_: table.index_of_id[as_] for id_, as_ in same.items()}}
    )


SEMANTIC_KITTI19 = _semantic_kitti()
"""SemanticKITTI, single scans (Behley et al., ICCV 2019). Ids and which of them are one class:
``learning_map`` of config/semantic-kitti.yaml in github.com/PRBonn/semantic-kitti-api."""

NUSCENES16: dict[str, tuple[str, ...]] = {
    "barrier": ("movable_object.barrier",),
    "bicycle": ("vehicle.bicycle",),
    "bus": ("vehicle.bus.bendy", "vehicle.bus.rigid"),
    "car": ("vehicle.car",),
    "construction vehicle": ("vehicle.construction",),
    "motorcycle": ("vehicle.motorcycle",),
    "pedestrian": (
        "human.pedestrian.adult",
        "human.pedestrian.child",
        "human.pedestrian.construction_worker",
        "human.pedestrian.police_officer",
    ),
    "traffic cone": ("movable_object.trafficcone",),
    "trailer": ("vehicle.trailer",),
    "truck": ("vehicle.truck",),
    "driveable surface": ("flat.driveable_surface",),
    "other flat": ("flat.other",),
    "sidewalk": ("flat.sidewalk",),
    "terrain": ("flat.terrain",),
    "manmade": ("static.manmade",),
    "vegetation": ("static.vegetation",),
}
"""nuScenes-lidarseg (Fong et al., RA-L 2022): which categories of category.json make a class, from the
table in python-sdk/nuscenes/eval/lidarseg/README.md of github.com/nutonomy/nuscenes-devkit."""
