"""Makes golden_v1.ws3d, a map as version 1 of the format has it: run it once for each new version.

The committed file is never written anew, as it stands for the files that people have.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ws3d_ros.reconstruction.keys import pack_keys
from ws3d_ros.reconstruction.map_file import FORMAT_VERSION, MapHeader, SavedMap, save_map

FOLDER = Path(__file__).parent


def golden() -> SavedMap:
    """60 voxels with every part that a file can have."""
    count, channels = 60, 4
    cells = torch.cartesian_prod(torch.arange(-2, 3), torch.arange(4), torch.arange(3))
    number = torch.arange(count)
    state = torch.zeros(count, 12)
    state[:, :3] = (cells + 0.5) * 0.05
    state[:, 5] = 1.0
    state[:, 6:9] = number[:, None] * torch.tensor([1.0, 2.0, 3.0])
    state[:, 9], state[:, 10], state[:, 11] = 3.0, 2.0, 1.5
    voxel = {
        "key": pack_keys(cells),
        "state": state,
        "seen_ns": number * 100_000_000,
        "feature": (number[:, None] / 64 + torch.arange(channels) / 8).half(),
        "feature_weight": number / 10.0,
        "label": (number % 3).to(torch.int16),
        "confidence": (number / 64).half(),
        "instance": (number % 5).to(torch.int32),
    }
    header = MapHeader(
        voxel_size_m=0.05,
        stamp_ns=6_000_000_000,
        saved_at="2026-11-23T07:00:00+00:00",
        vocabulary={
            "entries": [
                {
                    "name": "floor",
                    "synonyms": ["ground"],
                    "color": [1, 2, 3],
                    "role": "traversable",
                    "cost": 0.0,
                },
                {"name": "Stühle", "synonyms": [], "color": [4, 5, 6], "role": "obstacle", "cost": 1.0},
            ],
            "background": ["sky"],
            "unknown_color": [128, 128, 128],
        },
        spaces={"feature": "colours"},
        encoder="colours",
        network="student.safetensors",
        checkpoint_sha256="0" * 64,
        settings={"map.voxel_size_m": 0.05},
    )
    tracks = {"id": torch.arange(5), "centroid_m": torch.ones(5, 3)}
    return SavedMap(header, voxel, {"feature": torch.eye(channels)}, tracks, {"step": torch.tensor(7)})


if __name__ == "__main__":
    save_map(golden(), FOLDER / f"golden_v{FORMAT_VERSION}.ws3d")
