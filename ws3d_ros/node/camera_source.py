"""One camera: its four topics, and which of colour and depth it has."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from ws3d_ros.node.codecs import AnyImage, Shot, stamp_ns
from ws3d_ros.node.inputs import Input
from ws3d_ros.sensors.pairing import Dropped, Pair, Paired, Pairer

KEPT_UNCALIBRATED = 5
"""Pairs that wait for the first camera_info, which may be slower than the first image."""
UNPAIRED_S = 2.0
"""Without any pair for so long, images without a partner are a problem."""


class CameraSource:
    """Images of one camera to shots.

    A camera has what is published. One whose depth has no publisher (yet) works with colour alone,
    and the other way round; from the moment that both are there, they are paired.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        sync_tolerance_s: float,
        on_image: Callable[[str, Any], bool],
        on_shot: Callable[[int, Shot], None],
        on_dropped: Callable[[list[Dropped], bool], None],
    ) -> None:
        """
        Args:
            on_image: hears stream and message; False refuses it.
            on_shot: hears stamp and shot.
            on_dropped: hears what found no partner, and whether that is an exception.
        """
        self.name = name
        self._log = node.get_logger()
        self._tolerance_ns = int(sync_tolerance_s * 1e9)
        self._on_image, self._on_shot, self._on_dropped = on_image, on_shot, on_dropped
        self.color = Input(node, f"{name}/color/image", "color", partial(self._on_side, "color"))
        self.depth = Input(node, f"{name}/depth/image", "depth", partial(self._on_side, "depth"))
        self.color_info = Input(node, f"{name}/color/camera_info", "info", partial(self._on_info, "color"))
        self.depth_info = Input(node, f"{name}/depth/camera_info", "info", partial(self._on_info, "depth"))
        self.inputs = (self.color, self.depth, self.color_info, self.depth_info)
        self._infos: dict[str, CameraInfo] = {}
        self._uncalibrated: deque[Pair[AnyImage, AnyImage]] = deque()
        self._came = False
        self._paired_s = -UNPAIRED_S
        self._sides: tuple[str, ...] = ()
        self._pairer: Pairer[AnyImage, AnyImage] | None = None

    def decide(self) -> None:
        """Settles whether this camera has colour, depth or both, from what is published."""
        found = tuple(
            side
            for side, source in (("color", self.color), ("depth", self.depth))
            if source.source is not None
        )
        if not found or found == self._sides:
            return
        if self._pairer is not None:
            self._on_dropped(self._pairer.clear(), False)
        self._sides = found
        self._pairer = Pairer(self._tolerance_ns, color="color" in found, depth="depth" in found)
        self._log.info(f"camera '{self.name}' has {' and '.join(found)}")

    def poll(self, now_s: float) -> None:
        """Lets go on what has waited long enough for a nearer partner."""
        if self._pairer is not None:
            self._let_go(self._pairer.poll(now_s))

    def restart(self) -> None:
        """Forgets what waits, when time jumped back."""
        self._uncalibrated.clear()
        if self._pairer is not None:
            self._on_dropped(self._pairer.clear(), False)

    def needed(self) -> list[Input]:
        """Topics without which something is missing: both images, and the calibration of what came."""
        lacks_info = self._came and not self._is_calibrated()
        return [self.color, self.depth, *([self.color_info] if lacks_info else [])]

    def _is_calibrated(self) -> bool:
        return "color" in self._infos or ("color" not in self._sides and "depth" in self._infos)

    def _on_info(self, side: str, message: CameraInfo) -> None:
        self._infos[side] = message
        self._release()

    def _on_side(self, side: str, message: AnyImage) -> None:
        if not self._on_image(f"{self.name}/{side}/image", message):
            return
        self._came = True
        self.decide()  # what is published may have changed since the last look
        self._pair(side, message)

    def _pair(self, side: str, message: AnyImage) -> None:
        assert self._pairer is not None
        add = self._pairer.add_color if side == "color" else self._pairer.add_depth
        self._let_go(add(stamp_ns(message.header), message, time.monotonic()))

    def _let_go(self, paired: Paired[AnyImage, AnyImage]) -> None:
        now_s = time.monotonic()
        if paired.pairs:
            self._paired_s = now_s
        self._uncalibrated.extend(paired.pairs)
        self._release()
        # Where colour comes more often than depth, images without a partner are no fault.
        self._on_dropped(paired.dropped, now_s - self._paired_s > UNPAIRED_S)

    def _release(self) -> None:
        """Hands pairs on; the first ones wait for their calibration, as long as these are few."""
        while self._uncalibrated and (self._is_calibrated() or len(self._uncalibrated) > KEPT_UNCALIBRATED):
            pair = self._uncalibrated.popleft()
            shot = Shot(
                sensor=self.name,
                color=pair.color,
                depth=pair.depth,
                color_info=self._infos.get("color"),
                depth_info=self._infos.get("depth"),
                color_rectified=is_rectified(self.color),
                depth_rectified=is_rectified(self.depth),
            )
            self._on_shot(pair.stamp_ns, shot)


def is_rectified(source: Input) -> bool:
    """Whether the topic's name says so, as image_proc and drivers have it (``image_rect_raw``)."""
    return source.source is not None and "rect" in source.source.topic.split("/image")[-1]
