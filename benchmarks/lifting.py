"""Image features onto voxels: one keyframe of 640x480 over a room of 5 cm voxels.

    python benchmarks/lifting.py

Times rendering of the id map, lifting and naming as the pipeline does them, with a random encoder
grid of 65x65 and 64 channels, and a numpy version of the lifting's sums (np.add.at) as the peer.
"""

from __future__ import annotations

import numpy as np
import torch
from common import save, summary, times_ms

from ws3d_ros.alignment.labelling import word_probabilities
from ws3d_ros.alignment.lifting import lift
from ws3d_ros.alignment.regularise import agree
from ws3d_ros.config import InputConfig, MapConfig
from ws3d_ros.instances.segmentation import superpoints
from ws3d_ros.reconstruction.voxel_map import VoxelMap
from ws3d_ros.rendering.splat import render
from ws3d_ros.sensors.frame import Frame, Pinhole

CHANNELS, WORDS = 64, 64
CAMERA = Pinhole(640, 480, 525.0, 525.0, 319.5, 239.5)


def look(yaw: float, center: tuple[float, float, float] = (0.0, 0.0, 1.2)) -> np.ndarray:
    """(4, 4) T_map_camera of a level camera that looks along ``yaw``."""
    forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    down = np.array([0.0, 0.0, -1.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([np.cross(down, forward), down, forward], axis=1)
    pose[:3, 3] = center
    return pose


def box_depth(pose: np.ndarray, half: tuple[float, float, float] = (3.5, 3.0, 1.3)) -> torch.Tensor:
    """(480, 640) depth of the inside of a box around (0, 0, 1.3)."""
    u, v = np.meshgrid(np.arange(640), np.arange(480))
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones_like(u, float)], -1)
    rays = rays @ pose[:3, :3].T
    origin = pose[:3, 3] - np.array([0.0, 0.0, 1.3])
    with np.errstate(divide="ignore"):
        hits = (np.sign(rays) * np.array(half) - origin) / rays
    return torch.from_numpy(hits.min(-1).astype(np.float32))


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    room = VoxelMap(MapConfig(), InputConfig(), CHANNELS, device)
    generator = torch.Generator().manual_seed(0)
    color = torch.randint(0, 255, (480, 640, 3), generator=generator, dtype=torch.uint8).to(device)
    for i, yaw in enumerate(np.linspace(0, 2 * np.pi, 24, endpoint=False)):
        pose = look(float(yaw))
        frame = Frame(i + 1, CAMERA, pose, color, box_depth(pose).to(device))
        room.integrate(frame)
    window = room.everything()
    dense = torch.nn.functional.normalize(torch.randn(CHANNELS, 65, 65, generator=generator), dim=0).to(
        device
    )
    words = torch.nn.functional.normalize(torch.randn(WORDS, CHANNELS, generator=generator), dim=1).to(device)
    pose = torch.from_numpy(frame.T_map_camera[None])
    small = CAMERA.scaled_to(320, 240)
    views = render(window.points_m, small, pose, 0.05, normal=window.normal)
    patch = lift(dense, views, frame, window, words, 10.0)

    row = views.id[0].flatten().cpu().numpy()
    row = row[row >= 0]
    feature = np.random.default_rng(0).standard_normal((len(row), CHANNELS), dtype=np.float32)

    def numpy_sums() -> None:
        np.add.at(np.zeros((len(window), CHANNELS), np.float32), row, feature)

    def name() -> None:
        region = superpoints(window).of_voxel
        agree(word_probabilities(window.feature, words, 10.0), window.feature_weight, region, 0.8)

    rows = {
        "render 320x240 id map": summary(
            times_ms(lambda: render(window.points_m, small, pose, 0.05, normal=window.normal))
        ),
        "lift 64 channels": summary(times_ms(lambda: lift(dense, views, frame, window, words, 10.0))),
        "peer: the sums alone, np.add.at": summary(times_ms(numpy_sums)),
        "name all voxels (64 words)": summary(times_ms(name, runs=8)),
    }
    print(f"{len(window)} voxels, {len(row)} pixels, {len(patch.keys)} voxels lifted")
    for what, times in rows.items():
        print(f"{what:40} p50 {times['p50_ms']:7.1f} ms   p95 {times['p95_ms']:7.1f} ms")
    print(save("lifting", {"voxels": len(window), "lifted": len(patch.keys), "times": rows}))


if __name__ == "__main__":
    main()
