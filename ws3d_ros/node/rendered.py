"""``~/rendered/*``: what the map looks like, by its colours, its labels and its objects, for people.

From the virtual cameras of the last look around, side by side, or from the sensor where there are none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from torch import Tensor

from ws3d_ros.alignment.virtual_views import VirtualViews, draw
from ws3d_ros.node.qualities import NEWEST
from ws3d_ros.node.snapshot import Snapshot

FOUND = 0.382
"""Share of the colour circle between objects with consecutive numbers: the golden one, so that neighbours
differ."""


class Rendered:
    """The publishers. Pictures are made on the thread that calls, if somebody looks."""

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        layers = ("color", "label", "instance")
        self._publishers: dict[str, Any] = {
            layer: node.create_lifecycle_publisher(Image, f"~/rendered/{layer}", NEWEST) for layer in layers
        }

    def listeners(self) -> int:
        """How many look."""
        return sum(int(publisher.get_subscription_count()) for publisher in self._publishers.values())

    def publish(
        self, snapshot: Snapshot, palette: np.ndarray, header: Header, publish: Callable[[Any, Any], None]
    ) -> None:
        """All pictures of a snapshot. ``palette``: (C + 1, 3) uint8 colour of each label."""
        if self.listeners() == 0 or snapshot.eyes is None or len(snapshot.window) == 0:
            return
        views = draw(snapshot.window, snapshot.eyes.to(snapshot.window.points_m.device))
        for layer, picture in pictures(snapshot, views, palette).items():
            publish(self._publishers[layer], image_message(picture, header))

    def destroy(self) -> None:
        """Ends the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)


def pictures(snapshot: Snapshot, virtual: VirtualViews, palette: np.ndarray) -> dict[str, np.ndarray]:
    """(H, W, 3) uint8 RGB for each layer, views side by side; black where nothing is."""
    window, shown = snapshot.window, virtual.views.id
    color = (virtual.picture * 255.0).round().byte().permute(0, 2, 3, 1)
    label = torch.from_numpy(palette).to(shown.device)[window.label.long()]
    return {
        "color": mosaic(color),
        "label": mosaic(_of_voxels(label, shown)),
        "instance": mosaic(_of_voxels(instance_colors(window.instance), shown)),
    }


def instance_colors(instance: Tensor) -> Tensor:
    """(N, 3) uint8: strong colours that stay with the numbers (N,); grey for 0, which is none."""
    turn = instance.double()[:, None] * FOUND + torch.tensor([0.0, 1 / 3, 2 / 3], device=instance.device)
    wave = 0.5 + 0.5 * torch.cos(2 * torch.pi * turn)
    return torch.where(instance[:, None] > 0, 40.0 + 215.0 * wave, 90.0).round().byte()


def mosaic(images: Tensor) -> np.ndarray:
    """(B, H, W, 3) to two columns of images, or one for a single image; black where one is missing."""
    if len(images) == 1:
        return images[0].cpu().numpy()
    images = torch.cat([images, torch.zeros_like(images[: len(images) % 2])])
    rows, (height, width) = len(images) // 2, images.shape[1:3]
    grid = images.view(rows, 2, height, width, 3).transpose(1, 2)
    return grid.reshape(rows * height, 2 * width, 3).cpu().numpy()


def image_message(picture: np.ndarray, header: Header) -> Image:
    """(H, W, 3) uint8 RGB as rgb8."""
    height, width, _ = picture.shape
    message = Image(header=header, height=height, width=width, encoding="rgb8", step=3 * width)
    message.data.frombytes(np.ascontiguousarray(picture).tobytes())
    return message


def _of_voxels(color: Tensor, shown: Tensor) -> Tensor:
    """Colours (N, 3) of the voxels (B, H, W) that pixels show."""
    return color[shown.clamp(min=0).long()] * (shown >= 0)[..., None]
