"""A red floor, a green wall and a blue box, a camera that sees them, and an encoder that knows colours."""

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.sensors.frame import Frame, Pinhole

CAMERA = Pinhole(160, 120, 130.0, 130.0, 79.5, 59.5)
RED, GREEN, BLUE = (220, 20, 20), (20, 220, 20), (20, 20, 220)
AXES = {"floor": 0, "carpet": 0, "wall": 1, "box": 2}


class ColourEncoder:
    """Red, green and blue are the first axes of its space; what words mean is in ``AXES``."""

    dim, space, name, logit_scale = 4, "colours", "colours", 20.0
    templates = ("{}",)

    def __init__(self) -> None:
        self.images = 0

    def encode_text(self, texts: list[str]) -> Tensor:
        return torch.eye(4)[[AXES.get(text, 3) for text in texts]]

    def encode_dense(self, images: Tensor) -> Tensor:
        self.images += len(images)
        coarse = torch.nn.functional.interpolate(images, size=(30, 40), mode="area")
        padded = torch.cat([coarse, torch.zeros(len(images), 1, 30, 40)], dim=1)
        return torch.nn.functional.normalize(padded, dim=1)

    def encode_image(self, crops: Tensor) -> Tensor:
        return torch.nn.functional.normalize(self.encode_dense(crops).mean((2, 3)), dim=1)


def pose(x: float = 0.0, y: float = 0.0, yaw_deg: float = 0.0) -> np.ndarray:
    """A camera 1.2 m above the floor that looks along x, 15 degrees down."""
    down, yaw = np.radians(15.0), np.radians(yaw_deg)
    forward = np.array([np.cos(down) * np.cos(yaw), np.cos(down) * np.sin(yaw), -np.sin(down)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    T[:3, 3] = (x, y, 1.2)
    return T


def shot(T: np.ndarray, stamp_ns: int = 0, sensor: str = "camera") -> Frame:
    """What a camera sees: floor z = 0, wall x = 3, box of 0.4 m on the floor around (2.2, 0)."""
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], -1)
    rays, origin = rays @ T[:3, :3].T, T[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(rays[..., 2] < 0, -origin[2] / rays[..., 2], np.inf)
        wall = np.where(rays[..., 0] > 0, (3.0 - origin[0]) / rays[..., 0], np.inf)
        low, high = np.array([2.0, -0.2, 0.0]), np.array([2.4, 0.2, 0.4])
        to_low, to_high = (low - origin) / rays, (high - origin) / rays
        enter = np.minimum(to_low, to_high).max(-1)
        leave = np.maximum(to_low, to_high).min(-1)
    box = np.where((enter < leave) & (enter > 0), enter, np.inf)
    depths = np.stack([floor, wall, box])
    color = np.array([RED, GREEN, BLUE], np.uint8)[depths.argmin(0)]
    depth = depths.min(0)
    depth[~np.isfinite(depth)] = 0.0
    return Frame(
        stamp_ns, CAMERA, T, torch.from_numpy(color), torch.from_numpy(depth.astype(np.float32)), sensor
    )
