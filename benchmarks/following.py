"""What following a jump of ``map -> odom`` gives: the recorded room, with drift added to its odometry.

The camera's way is turned a little with each metre, and put right again at nine tenths of it, as by a closed
loop. It is compared with the map without drift; so is one whose grid is shifted by a third of a voxel, to
see how much differs by the grid alone. Names are those of the 3D network that ships.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from common import save
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from ws3d_ros.config import Config
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network.choose import choose_network
from ws3d_ros.network.namer import Namer
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.sensors.corrections import motion_m
from ws3d_ros.sensors.frame import FloatArray, Frame
from ws3d_ros.training.datasets.bag import Bag

ROOM = Path(__file__).resolve().parents[1] / "samples/room"
CPU, CONFIG = torch.device("cpu"), Config()
DRIFTS = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Degrees a metre."""
NEAR_M = CONFIG.map.voxel_size_m


@dataclass(frozen=True)
class Map:
    """(N, 3) places, (N,) labels, and how long following took."""

    points_m: FloatArray
    label: np.ndarray
    follow_ms: float

    def compared(self, other: Map) -> dict[str, float]:
        """With a true one, there and back: share within a voxel's edge, mean distance, same names."""
        there, back = (
            cKDTree(other.points_m).query(self.points_m),
            cKDTree(self.points_m).query(other.points_m),
        )
        off_m = np.concatenate([there[0], back[0]])
        same = np.concatenate([other.label[there[1]] == self.label, self.label[back[1]] == other.label])
        return {
            "voxels": len(self.label),
            "within_a_voxel": round(float((off_m < NEAR_M).mean()), 3),
            "mean_cm": round(100 * float(off_m.mean()), 2),
            "same_name": round(float(same.mean()), 3),
        }


def main() -> None:
    frames = [frame for frame in Bag(ROOM).measurements() if isinstance(frame, Frame)]
    poses = [frame.T_map_camera for frame in frames]
    namer = choose_network(CONFIG.network, None, "", CPU).namer
    assert namer is not None
    true = drive(frames, poses, namer)
    grid = np.eye(4)
    grid[:3, 3] = NEAR_M / 3
    shifted = drive(frames, [grid @ pose for pose in poses], namer)
    shifted = dataclasses.replace(shifted, points_m=shifted.points_m - grid[:3, 3])
    rows = [{"drift_deg_per_m": 0.0, "what": "another grid", **shifted.compared(true)}]
    at = len(frames) * 9 // 10
    for drift in DRIFTS:
        drifted = drifting(poses, drift)
        T_new_old = poses[at] @ np.linalg.inv(drifted[at])
        size_m = round(motion_m(T_new_old, poses[at][:3, 3]), 3)
        believed = [*drifted[:at], *(T_new_old @ pose for pose in drifted[at:])]
        for follow in (False, True):
            got = drive(frames, believed, namer, T_new_old if follow else None, at)
            what = "followed" if follow else "not followed"
            row = {"drift_deg_per_m": drift, "jump_m": size_m, "what": what, **got.compared(true)}
            rows.append(row | ({"follow_ms": round(got.follow_ms, 1)} if follow else {}))
    table = Table(*rows[-1], title=f"{len(true.label)} voxels without drift")
    for row in rows:
        table.add_row(*(str(row.get(name, "")) for name in rows[-1]))
    Console().print(table)
    way_m = sum(float(np.linalg.norm((b - a)[:3, 3])) for a, b in pairwise(poses))
    print(save("following", {"way_m": round(way_m, 1), "voxels": len(true.label), "rows": rows}))


def drive(
    frames: list[Frame],
    believed: list[FloatArray],
    namer: Namer,
    T_new_old: FloatArray | None = None,
    at: int = 0,
) -> Map:
    """The map of frames at believed poses, which follows a jump before the frame ``at``, if there is one."""
    pipeline = Pipeline(CONFIG, None, Vocabulary.load("indoor"), CPU, namer)
    for index, (frame, pose) in enumerate(zip(frames, believed, strict=True)):
        if T_new_old is not None and index == at:
            pipeline.follow(T_new_old, pose[:3, 3])
        pipeline.integrate(dataclasses.replace(frame, T_map_camera=pose))
    pipeline.finish()
    window = pipeline.map.everything()
    follow_ms = pipeline.stopwatch.summary_ms().get("follow", {}).get("p50", 0.0)
    return Map(window.points_m.numpy(), window.label.numpy(), follow_ms)


def drifting(poses: list[FloatArray], deg_per_m: float) -> list[FloatArray]:
    """What odometry makes of the same motion, if it turns about the vertical with each metre."""
    result = [poses[0]]
    for before, after in pairwise(poses):
        way_m = float(np.linalg.norm((after - before)[:3, 3]))
        turned = result[-1] @ np.linalg.inv(before) @ after
        turned[:3, :3] = (
            Rotation.from_euler("z", deg_per_m * way_m, degrees=True).as_matrix() @ turned[:3, :3]
        )
        result.append(turned)
    return result


if __name__ == "__main__":
    main()
