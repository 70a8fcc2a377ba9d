"""Fusing depth frames of 640x480 into 5 cm voxels: time, growth with the map, and what thinning costs.

    python benchmarks/fusion.py [--sequence DIR] [--peer-python PYTHON]

The peer is Open3D's VoxelBlockGrid (truncated signed distance, 5 cm, colour), which runs in the
interpreter of another environment, frame by frame in turn with ours, on the same frames:

    python -m venv /tmp/o3d && /tmp/o3d/bin/pip install open3d-cpu==0.20.0
    apt-get install libusb-1.0-0

Ours does more in a frame: normals, weights, carving of all free space (the peer: only within its
truncation distance). Frames are those of ../shared/data/small_house where it is there, else of a
room that is computed here.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from common import save, summary, times_ms
from lifting import CAMERA, box_depth, look

from ws3d_ros.config import InputConfig, MapConfig
from ws3d_ros.reconstruction import fusion, keys
from ws3d_ros.reconstruction.voxel_map import VoxelMap
from ws3d_ros.sensors.frame import Frame, Scan
from ws3d_ros.training.datasets.posed_folder import PosedFolder

SEQUENCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "small_house"
VOXEL_M, MAX_DEPTH_M, CHANNELS = 0.05, 5.0, 64
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--sequence", type=Path, default=SEQUENCE)
    arguments.add_argument("--peer-python", default=os.environ.get("OPEN3D_PYTHON", "/tmp/o3d/bin/python"))
    options = arguments.parse_args()
    frames, scans, source = measurements(options.sequence)
    result: dict[str, Any] = {"frames": len(frames), "source": source, "voxel_m": VOXEL_M}
    result["frame"] = against_peer(frames, options.peer_python)
    result["growth"] = growth(frames)
    if scans:
        result["sweep"] = sweeps(scans)
    result["thinning"] = thinning(frames)
    result["unique_cells"] = look_up_or_sort(frames)
    report(result)
    print(save("fusion", result))


def measurements(sequence: Path) -> tuple[list[Frame], list[Scan], str]:
    """Frames and sweeps, on the device."""
    if sequence.is_dir():
        folder = PosedFolder(sequence)
        frames = [item.frame for item in folder.frames(every=2)]
        scans = [item.scan for item in folder.scans()]
        source = sequence.name
    else:
        color = torch.randint(
            0, 255, (480, 640, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
        )
        poses = [look(0.15 * i, (np.cos(0.1 * i), np.sin(0.1 * i), 1.2)) for i in range(80)]
        frames = [Frame(i + 1, CAMERA, pose, color, box_depth(pose)) for i, pose in enumerate(poses)]
        scans, source = [], "computed room"
    moved = [
        dataclasses.replace(frame, color=frame.color.to(DEVICE), depth_m=frame.depth_m.to(DEVICE))
        for frame in frames
        if frame.color is not None and frame.depth_m is not None
    ]
    return moved, scans, source


def new_map(min_weight: float = 0.5) -> VoxelMap:
    config = MapConfig(voxel_size_m=VOXEL_M, budget_mb=8000, min_weight=min_weight)
    return VoxelMap(config, InputConfig(), CHANNELS, DEVICE)


def timed_ms(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - begun) * 1e3


def against_peer(frames: list[Frame], peer_python: str) -> dict[str, Any]:
    """Both systems fuse the sequence three times, taking turns; the first time fills the maps."""
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer.start(frames, Path(folder), peer_python)
        ours_map = new_map()
        ours, theirs = [], []
        for lap in range(3):
            for i, frame in enumerate(frames):
                again = dataclasses.replace(frame, stamp_ns=frame.stamp_ns + lap * 10**12)
                taken = timed_ms(lambda again=again: ours_map.integrate(again))
                peers = peer.integrate(i) if peer else None
                if lap:
                    ours.append(taken)
                    theirs.append(peers)
        rows = {"ours": {**summary(ours), "voxels": len(ours_map), "map_mb": round(ours_map.bytes / 1e6, 1)}}
        if peer:
            rows["Open3D VoxelBlockGrid"] = {**summary(theirs), "version": peer.version}
            peer.stop()
        else:
            rows["Open3D VoxelBlockGrid"] = {"missing": f"'{peer_python}' cannot import open3d"}
    return rows


class Peer:
    """Open3D in a process of its own: told a frame's number, it answers with milliseconds."""

    def __init__(self, process: subprocess.Popen[str], version: str) -> None:
        self.process, self.version = process, version

    @classmethod
    def start(cls, frames: list[Frame], folder: Path, python: str) -> Peer | None:
        camera = frames[0].camera
        np.savez(
            folder / "frames.npz",
            depth=np.stack([frame.depth_m.cpu().numpy() for frame in frames]),
            color=np.stack([frame.color.cpu().numpy() for frame in frames]),
            pose=np.stack([frame.T_map_camera for frame in frames]),
            matrix=camera.matrix(),
        )
        script = folder / "peer.py"
        script.write_text(PEER)
        command = [python, str(script), str(folder / "frames.npz"), str(VOXEL_M), str(MAX_DEPTH_M)]
        with suppress(FileNotFoundError):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            version = process.stdout.readline().strip()
            if version:
                return cls(process, version)
        return None

    def integrate(self, frame: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{frame}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


PEER = """
import sys, time
import numpy as np
import open3d as o3d

data = np.load(sys.argv[1])
voxel_m, far_m = float(sys.argv[2]), float(sys.argv[3])
tensor, single = o3d.core.Tensor, o3d.core.float32
device = o3d.core.Device("CPU:0")
grid = o3d.t.geometry.VoxelBlockGrid(
    ("tsdf", "weight", "color"), (single, single, single), ((1), (1), (3)), voxel_m, 16, 50000, device
)
matrix = tensor(data["matrix"])
frames = [
    (
        o3d.t.geometry.Image(tensor(np.ascontiguousarray(depth))),
        o3d.t.geometry.Image(tensor(np.ascontiguousarray(color.astype(np.float32)))),
        tensor(np.linalg.inv(pose)),
    )
    for depth, color, pose in zip(data["depth"], data["color"], data["pose"])
]
print(o3d.__version__, flush=True)
for line in sys.stdin:
    depth, color, extrinsic = frames[int(line)]
    begun = time.perf_counter()
    blocks = grid.compute_unique_block_coordinates(depth, matrix, extrinsic, 1.0, far_m)
    grid.integrate(blocks, depth, color, matrix, matrix, extrinsic, 1.0, far_m)
    print((time.perf_counter() - begun) * 1e3, flush=True)
"""


def growth(frames: list[Frame]) -> dict[str, Any]:
    """The same frames into a map of the place and into one ten times as large, in turn."""
    small, large = new_map(), new_map()
    for copy in range(10):
        shift = np.eye(4)
        shift[:3, 3] = [0.0, 40.0 * copy, 0.0]
        for frame in frames:
            moved = dataclasses.replace(frame, T_map_camera=shift @ frame.T_map_camera)
            large.integrate(moved)
            if copy == 0:
                small.integrate(moved)
    times: dict[str, list[float]] = {"small": [], "large": []}
    for lap in range(1, 4):
        for frame in frames:
            again = dataclasses.replace(frame, stamp_ns=frame.stamp_ns + lap * 10**12)
            for name, voxel_map in (("small", small), ("large", large)):
                times[name].append(timed_ms(lambda again=again, m=voxel_map: m.integrate(again)))
    ratio = float(np.median(times["large"]) / np.median(times["small"]))
    return {
        "small": {**summary(times["small"]), "voxels": len(small)},
        "large": {**summary(times["large"]), "voxels": len(large)},
        "ratio_of_medians": round(ratio, 3),
    }


def sweeps(scans: list[Scan]) -> dict[str, Any]:
    voxel_map = new_map()
    times = [timed_ms(lambda scan=scan: voxel_map.integrate(scan)) for scan in scans]
    points = int(np.mean([len(scan.points_m) for scan in scans]))
    return {**summary(times[3:]), "points": points, "voxels": len(voxel_map)}


def thinning(frames: list[Frame]) -> list[dict[str, Any]]:
    """Maps from thinned noisy frames against the map from all pixels without noise.

    Solid are voxels of which much was seen, rather than a corner or a sliver.
    """
    generator = torch.Generator().manual_seed(0)
    noisy = []
    for frame in frames[::4]:
        assert frame.depth_m is not None
        noise = torch.randn(frame.depth_m.shape, generator=generator).to(DEVICE)
        noisy.append(
            dataclasses.replace(
                frame, depth_m=frame.depth_m + 1.4e-3 * frame.depth_m**2 * noise * (frame.depth_m > 0)
            )
        )
    truth = fused(frames[::4], 10**6)[0].everything()
    solid = truth.keys[truth.weight > 4]
    rows = []
    for side in (1, 2, 3, 4, 10**6):
        voxel_map, times, points = fused(noisy, side)
        window = voxel_map.everything()
        place = torch.searchsorted(truth.keys, window.keys).clamp(max=len(truth) - 1)
        known = truth.keys[place] == window.keys
        off = (window.points_m[known] - truth.points_m[place[known]]).norm(dim=-1)
        normal = (window.normal[known] * truth.normal[place[known]]).sum(-1).clamp(-1, 1)
        rows.append(
            {
                "pixels_per_side": side if side < 10**6 else "all",
                **summary(times),
                "points": points,
                "recall": round(float(torch.isin(truth.keys, window.keys).float().mean()), 4),
                "recall_solid": round(float(torch.isin(solid, window.keys).float().mean()), 4),
                "precision": round(float(known.float().mean()), 4),
                "off_mm": round(float(off.mean()) * 1e3, 2),
                "normal_off_deg": round(float(torch.rad2deg(normal.arccos()).median()), 2),
            }
        )
    return rows


def fused(frames: list[Frame], side: int) -> tuple[VoxelMap, list[float], int]:
    voxel_map, points, times = new_map(min_weight=0.0), [], []
    with mock.patch.object(fusion, "PIXELS_PER_SIDE", side):
        for frame in frames:
            begun = time.perf_counter()
            points.append(voxel_map.integrate(frame).points)
            times.append((time.perf_counter() - begun) * 1e3)
    return voxel_map, times, int(np.mean(points))


def look_up_or_sort(frames: list[Frame]) -> dict[str, Any]:
    """Finding the voxels of a frame's points: a table over their bounding box, or a sort."""
    frame = frames[len(frames) // 2]
    assert frame.depth_m is not None
    pixel, _ = fusion.pick_pixels(frame.depth_m, frame.camera, VOXEL_M, 0.2, MAX_DEPTH_M)
    z = frame.depth_m.flatten()[pixel]
    x = (pixel % frame.camera.width - frame.camera.cx) / frame.camera.fx * z
    y = (pixel // frame.camera.width - frame.camera.cy) / frame.camera.fy * z
    coords = (torch.stack([x, y, z]) / VOXEL_M).floor().long().T
    table = times_ms(lambda: keys.unique_cells(coords))
    with mock.patch.object(keys, "_DENSE_CELLS", 0):
        sort = times_ms(lambda: keys.unique_cells(coords))
    return {"points": len(coords), "table": summary(table), "sort": summary(sort)}


def report(result: dict[str, Any]) -> None:
    def line(name: str, row: dict[str, Any], rest: str = "") -> None:
        print(f"{name:38} p50 {row['p50_ms']:7.1f} ms   p95 {row['p95_ms']:7.1f} ms   {rest}")

    print(f"{result['frames']} frames of {result['source']} at {VOXEL_M * 100:g} cm")
    for name, row in result["frame"].items():
        if "missing" in row:
            print(f"{name:38} not measured: {row['missing']}")
        else:
            line(
                name,
                row,
                f"{row['voxels']} voxels, {row['map_mb']} MB" if "voxels" in row else row["version"],
            )
    for name in ("small", "large"):
        line(
            f"a frame into a {name} map", result["growth"][name], f"{result['growth'][name]['voxels']} voxels"
        )
    print(f"{'  large / small':38} {result['growth']['ratio_of_medians']:.3f}")
    if "sweep" in result:
        line("a LiDAR sweep", result["sweep"], f"{result['sweep']['points']} points")
    for row in result["thinning"]:
        rest = f"{row['points']:6} points, recall {row['recall']:.3f} (solid {row['recall_solid']:.3f}), "
        rest += f"precision {row['precision']:.3f}, "
        rest += f"off {row['off_mm']:.1f} mm and {row['normal_off_deg']:.1f} deg"
        line(f"thinned to {row['pixels_per_side']} pixels a side", row, rest)
    line("voxels of points by table", result["unique_cells"]["table"])
    line("voxels of points by sort", result["unique_cells"]["sort"])


if __name__ == "__main__":
    sys.exit(main())
