"""Saving and loading a map of a million voxels: seconds, bytes a voxel, and how long mapping stands still."""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch
from common import save

from ws3d_ros.config import InputConfig, MapConfig
from ws3d_ros.reconstruction.keys import pack_keys
from ws3d_ros.reconstruction.map_file import MapHeader, SavedMap, load_map, save_map
from ws3d_ros.reconstruction.voxel_map import VoxelMap

VOXELS, CHANNELS, RUNS, AT_ONCE = 1_000_000, 64, 3, 50_000


def filled() -> VoxelMap:
    """Sheets of voxels, as walls and floors are: 1000 x 100 of them, ten above each other."""
    voxel_map = VoxelMap(MapConfig(budget_mb=2000.0), InputConfig(), CHANNELS)
    cells = torch.cartesian_prod(torch.arange(1000), torch.arange(100), torch.arange(0, 100, 10))[:VOXELS]
    state = torch.rand(len(cells), 12)
    state[:, :3] = (cells + 0.5) * 0.05
    feature = torch.randn(len(cells), CHANNELS).half()
    columns = {"key": pack_keys(cells), "state": state, "feature": feature}
    voxel_map.restore(columns, (0.0, 0.0, 0.0))
    return voxel_map


def main() -> None:
    voxel_map = filled()
    rows = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        path = Path(folder) / "map.ws3d"
        for _ in range(RUNS):
            at = [time.perf_counter()]
            columns = voxel_map.columns()
            at.append(time.perf_counter())
            size = save_map(SavedMap(MapHeader(0.05), columns, {"feature": torch.eye(CHANNELS)}), path)
            at.append(time.perf_counter())
            loaded = load_map(path)
            at.append(time.perf_counter())
            fresh = VoxelMap(MapConfig(budget_mb=2000.0), InputConfig(), CHANNELS)
            longest = 0.0
            for part in torch.arange(len(loaded)).split(AT_ONCE):
                begun = time.perf_counter()
                fresh.restore({name: values[part] for name, values in loaded.voxel.items()}, (0.0, 0.0, 0.0))
                longest = max(longest, time.perf_counter() - begun)
            at.append(time.perf_counter())
            copy, write, read, restore = (round(b - a, 3) for a, b in pairwise(at))
            rows.append({"copy_s": copy, "write_s": write, "read_s": read, "restore_s": restore})
            rows[-1]["longest_restore_of_50000_s"] = round(longest, 3)
            sys.stdout.write(f"{rows[-1]}\n")
    best = {name: min(row[name] for row in rows) for name in rows[0]}
    result = {
        "voxels": len(voxel_map),
        "feature_channels": CHANNELS,
        "bytes_a_voxel": round(size / len(loaded), 1),
    }
    print(save("map_file", {**result, "best": best, "runs": rows}))


if __name__ == "__main__":
    main()
