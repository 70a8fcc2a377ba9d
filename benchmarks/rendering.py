"""Rendering the map: ours against a plain sort, and against what the memory allows.

    python benchmarks/rendering.py

The peer is how one renders points with numpy and no z-buffer: project, draw each square's pixels
into one list, sort the list from far to near, and let the last write win (np.lexsort). The floor is
the time to read every point and to write every pixel once: no renderer of all points is faster.
"""

from __future__ import annotations

import numpy as np
import torch
from common import save, summary, times_ms
from lifting import CAMERA, box_depth, look

from ws3d_ros.config import InputConfig, MapConfig
from ws3d_ros.reconstruction.voxel_map import VoxelMap
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.rendering.splat import MAX_RADIUS, render
from ws3d_ros.rendering.views import draw_map
from ws3d_ros.sensors.frame import FloatArray, Frame, Pinhole

VOXEL_M, NEAR_M = 0.05, 0.1
ROOMS = 3


def rooms(device: torch.device) -> Window:
    """Rooms of 7 x 6 m side by side, fused from computed frames: 130,000 voxels or so."""
    voxel_map = VoxelMap(MapConfig(voxel_size_m=VOXEL_M), InputConfig(max_depth_m=8.0), 0, device)
    color = torch.randint(
        0, 255, (480, 640, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    for room in range(ROOMS):
        for i in range(24):
            pose = look(2 * np.pi * i / 24)
            depth = box_depth(pose)
            pose[1, 3] += 6.5 * room
            voxel_map.integrate(Frame(24 * room + i + 1, CAMERA, pose, color, depth))
    return voxel_map.everything()


def plain_sort(points: np.ndarray, camera: Pinhole, pose: FloatArray) -> np.ndarray:
    """(H, W) int32 which point each pixel sees, -1 none."""
    x, y, z = ((points - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32).T
    number = np.flatnonzero(z >= NEAR_M)
    x, y, z = x[number], y[number], z[number]
    column = np.round(x / z * camera.fx + camera.cx).astype(np.int64)
    row = np.round(y / z * camera.fy + camera.cy).astype(np.int64)
    radius = (0.5 * camera.fx * VOXEL_M / z + 0.5).astype(np.int64).clip(max=MAX_RADIUS)
    seen = (
        (column > -radius)
        & (column < camera.width + radius)
        & (row > -radius)
        & (row < camera.height + radius)
    )
    number, z, column, row, radius = (values[seen] for values in (number, z, column, row, radius))
    pixel, depth, owner = [], [], []
    for size in np.unique(radius):
        group = np.flatnonzero(radius == size)
        steps = np.arange(-size, size + 1)
        v = (row[group, None, None] + steps[:, None]) + 0 * steps
        u = (column[group, None, None] + steps) + 0 * steps[:, None]
        inside = (v >= 0) & (v < camera.height) & (u >= 0) & (u < camera.width)
        pixel.append((v * camera.width + u)[inside])
        depth.append(np.broadcast_to(z[group, None, None], inside.shape)[inside])
        owner.append(np.broadcast_to(number[group, None, None], inside.shape)[inside])
    pixels, depths, owners = (np.concatenate(parts) for parts in (pixel, depth, owner))
    order = np.lexsort((-owners, -depths))
    image = np.full(camera.width * camera.height, -1, dtype=np.int32)
    image[pixels[order]] = owners[order]
    return image.reshape(camera.height, camera.width)


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    window = rooms(device)
    points = window.points_m.cpu().numpy()
    pose = look(0.4)
    batch = torch.from_numpy(np.stack([look(0.4 + 0.8 * i) for i in range(8)]))
    rows = {}
    for width, height in ((320, 240), (640, 480)):
        camera = CAMERA.scaled_to(width, height)
        name = f"{width}x{height}"

        def ids(camera: Pinhole = camera) -> torch.Tensor:
            return render(window.points_m, camera, torch.from_numpy(pose), VOXEL_M).id

        def full(camera: Pinhole = camera) -> None:
            render(window.points_m, camera, torch.from_numpy(pose), VOXEL_M, window.color, window.normal)

        def floor(camera: Pinhole = camera) -> None:
            window.points_m.sum()
            torch.zeros(camera.height, camera.width, dtype=torch.int64, device=device)

        rows[f"{name} ids and depth"] = summary(times_ms(ids))
        rows[f"{name} with colour and normals"] = summary(times_ms(full))
        rows[f"{name} peer: numpy sort"] = summary(
            times_ms(lambda c=camera: plain_sort(points, c, pose), 8, 1)
        )
        rows[f"{name} floor: memory"] = summary(times_ms(floor))
        same = np.mean(ids()[0].cpu().numpy() == plain_sort(points, camera, pose))
        rows[f"{name} ids and depth"]["pixels_as_peer"] = round(float(same), 4)
    small = CAMERA.scaled_to(320, 240)
    rows["8 views of 320x240"] = summary(times_ms(lambda: render(window.points_m, small, batch, VOXEL_M), 10))
    rgb = window.color.nan_to_num(0).byte().cpu().numpy()
    rows["a picture for people"] = summary(times_ms(lambda: draw_map(points, rgb, VOXEL_M), 3, 1))
    print(f"{len(window)} voxels")
    for what, times in rows.items():
        same_text = f"   {times['pixels_as_peer']:.2%} of pixels as peer" if "pixels_as_peer" in times else ""
        print(f"{what:34} p50 {times['p50_ms']:8.2f} ms   p95 {times['p95_ms']:8.2f} ms{same_text}")
    print(save("rendering", {"voxels": len(window), "times": rows}))


if __name__ == "__main__":
    main()
