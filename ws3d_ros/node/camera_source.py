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
from ws3d_ros.sensors.pairing import Dropped, Paired, Pairer

GRACE_S = 3.0
"""So long after its first image a camera may still turn out to have both colour and depth."""
KEPT_UNDECIDED = 32
"""Images kept until then."""
UNPAIRED_S = 2.0
"""Without any pair for so long, images without a partner are a problem."""


class CameraSource:
    """Images of one camera to shots.

    While it is open whether the camera has colour, depth or both, images are kept; they count
    from the decision on.
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
        self._kept: deque[tuple[str, AnyImage]] = deque()
        self._first_s: float | None = None
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
        waited = self._first_s is not None and time.monotonic() - self._first_s > GRACE_S
        if found == self._sides or not (len(found) == 2 or (len(found) == 1 and waited)):
            return
        self._sides = found
        self._pairer = Pairer(self._tolerance_ns, color="color" in found, depth="depth" in found)
        self._log.info(f"camera '{self.name}' has {' and '.join(found)}")
        while self._kept:
            self._pair(*self._kept.popleft())

    def poll(self, now_s: float) -> None:
        """Lets go on what has waited long enough for a nearer partner."""
        if self._pairer is not None:
            self._let_go(self._pairer.poll(now_s))

    def restart(self) -> None:
        """Forgets what waits, when time jumped back."""
        self._kept.clear()
        if self._pairer is not None:
            self._on_dropped(self._pairer.clear(), False)

    def undecided(self) -> int:
        """Images that wait for :meth:`decide`."""
        return len(self._kept)

    def needed(self) -> list[Input]:
        """Topics without which something is missing: both images, and the calibration of what came."""
        calibrated = "color" in self._infos or ("color" not in self._sides and "depth" in self._infos)
        came = self._first_s is not None
        return [self.color, self.depth, *([self.color_info] if came and not calibrated else [])]

    def _on_info(self, side: str, message: CameraInfo) -> None:
        self._infos[side] = message

    def _on_side(self, side: str, message: AnyImage) -> None:
        if not self._on_image(f"{self.name}/{side}/image", message):
            return
        if self._first_s is None:
            self._first_s = time.monotonic()
        if self._pairer is not None:
            self._pair(side, message)
            return
        self._kept.append((side, message))
        if len(self._kept) > KEPT_UNDECIDED:
            stamp = stamp_ns(self._kept.popleft()[1].header)
            self._on_dropped([Dropped(stamp, "undecided", "neither depth nor its absence is certain")], False)

    def _pair(self, side: str, message: AnyImage) -> None:
        assert self._pairer is not None
        add = self._pairer.add_color if side == "color" else self._pairer.add_depth
        self._let_go(add(stamp_ns(message.header), message, time.monotonic()))

    def _let_go(self, paired: Paired[AnyImage, AnyImage]) -> None:
        now_s = time.monotonic()
        for pair in paired.pairs:
            self._paired_s = now_s
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
        # Where colour comes more often than depth, images without a partner are no fault.
        self._on_dropped(paired.dropped, now_s - self._paired_s > UNPAIRED_S)


def is_rectified(source: Input) -> bool:
    """Whether the topic's name says so, as image_proc and drivers have it (``image_rect_raw``)."""
    return source.source is not None and "rect" in source.source.topic.split("/image")[-1]
