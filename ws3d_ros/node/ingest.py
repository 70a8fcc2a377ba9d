"""From subscriptions to measurements that know where they were taken.

Runs on the executor's thread only, and decodes nothing: images are paired by stamp, wait for tf at
that stamp, and go on as the messages that came.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from ws3d_ros.config import InputConfig
from ws3d_ros.node.camera_source import CameraSource
from ws3d_ros.node.codecs import Shot, check_bytes, has_times, stamp_ns
from ws3d_ros.node.inputs import Input
from ws3d_ros.node.reporter import Reporter
from ws3d_ros.node.time_jumps import TimeWatch
from ws3d_ros.node.transforms import TransformListener, bare, choose_transforms
from ws3d_ros.sensors.corrections import Correction, Corrections
from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import FloatArray
from ws3d_ros.sensors.gaps import Gaps
from ws3d_ros.sensors.leaps import Leaps
from ws3d_ros.sensors.ledger import Ledger
from ws3d_ros.sensors.motion import Motion, motion_at
from ws3d_ros.sensors.pairing import Dropped, WaitingRoom
from ws3d_ros.sensors.transforms import TransformError

PATIENCE_S = 4.0
"""A topic that says nothing for so long is called silent."""
LONGEST_STEP_S = 0.1
"""A pause between two polls counts at most this much against a deadline."""
UNMOVED = 10
"""So many sweeps in a row whose motion tf does not know are worth a word; one is, when a bag begins."""
LATE_TF_S = 0.3
"""Waiting for tf as long as this is worth a word."""


@dataclass(frozen=True)
class Arrival:
    """What came from a sensor, and when, by the steady clock."""

    content: Shot | PointCloud2
    arrived_s: float


@dataclass(frozen=True)
class Measurement:
    """What came from a sensor, and where that was.

    Attributes:
        T_map_sensor: (4, 4) float64, sensor points to map points.
        center_m: (3,) float64, where the robot was, in the map.
        arrived_s: steady time.
        motion: of a LiDAR around its stamp, where its points say when they were measured.
    """

    sensor: str
    content: Shot | PointCloud2
    T_map_sensor: FloatArray
    center_m: FloatArray
    arrived_s: float
    motion: Motion | None = None


class Ingest:
    """All subscriptions of the active node."""

    def __init__(
        self,
        node: Node,
        config: InputConfig,
        ledger: Ledger,
        reporter: Reporter,
        on_measurement: Callable[[Measurement], None],
        on_time_jump: Callable[[], None],
        on_correction: Callable[[Correction], object],
    ) -> None:
        """``on_correction`` hears of a jump of ``map -> odom`` between the measurements before it and those
        that are placed by it."""
        self._node = node
        self._config = config
        self._ledger = ledger
        self._reporter = reporter
        self._on_measurement = on_measurement
        self._on_time_jump = on_time_jump
        self._on_correction = on_correction
        self._corrections = Corrections(config.follow_jumps_m)
        self._robot_m = np.zeros(3)
        self._leaps, self._gaps = Leaps(), Gaps()
        self._watch = TimeWatch(self._jumped, self._strayed)
        self.transforms = choose_transforms(node.get_logger().info)
        self._listener = TransformListener(
            node, self.transforms, self._watch, reporter.report, self._on_transform
        )
        self._patience_s, self._polled_s = 0.0, time.monotonic()
        self._waited_s: deque[float] = deque(maxlen=20)
        self._rooms: dict[str, WaitingRoom[Arrival]] = {}
        self._unmoved: Counter[str] = Counter()  # sweeps in a row, by sensor
        self.cameras = [self._camera(name) for name in config.cameras]
        self.lidars = {name: self._lidar(name) for name in config.lidars}
        self.look()

    def look(self) -> None:
        """Finds topics, follows them when they change, and says which are silent. Call it every second."""
        for source in self.inputs():
            if source.look() and source.source is not None:
                self._node.get_logger().info(f"listening to {source.source.topic} ({source.source.type})")
        for camera in self.cameras:
            camera.decide()
        self._complain()

    def poll(self) -> None:
        """Lets go on what tf knows by now. Call it often."""
        self._advance()
        for camera in self.cameras:
            camera.poll(time.monotonic())
        for sensor, room in self._rooms.items():
            admitted = room.poll(self._patience_s)
            for ready in admitted.ready:
                self._go_on(sensor, ready.stamp_ns, ready.payload, ready.pose)
            self._give_up(sensor, admitted.dropped)

    def waiting(self) -> int:
        """Measurements that wait for tf."""
        return sum(len(room) for room in self._rooms.values())

    def _advance(self) -> None:
        """Moves the clock of deadlines. It rests while this thread does: on a loaded machine, tf may
        have come in time and merely not been read."""
        now_s = time.monotonic()
        self._patience_s += min(now_s - self._polled_s, LONGEST_STEP_S)
        self._polled_s = now_s

    def close(self) -> None:
        """Ends all subscriptions; what waits for tf is dropped, as ``deactivated``."""
        for sensor, room in self._rooms.items():
            for _ in room.clear():
                self._ledger.dropped(sensor, "deactivated")
        for source in self.inputs():
            source.close()
        self._listener.close()

    # Sensors ----------------------------------------------------------------------------------

    def _camera(self, name: str) -> CameraSource:
        self._add_room(name)
        return CameraSource(
            self._node,
            name,
            self._config.sync_tolerance_s,
            on_image=partial(self._seen, name),
            on_shot=partial(self._arrived, name),
            on_dropped=partial(self._unpaired, name),
        )

    def _lidar(self, name: str) -> Input:
        self._add_room(name)
        return Input(self._node, f"{name}/points", "points", partial(self._on_sweep, name))

    def _add_room(self, name: str) -> None:
        if name in self._rooms:
            raise ValueError(f"two sensors are called '{name}'")
        self._rooms[name] = WaitingRoom(self._pose, self._config.tf_deadline_s)

    def inputs(self) -> list[Input]:
        """Every topic of every sensor."""
        return [*(source for camera in self.cameras for source in camera.inputs), *self.lidars.values()]

    # Ways of a message ------------------------------------------------------------------------

    def _on_sweep(self, sensor: str, message: PointCloud2) -> None:
        if self._seen(sensor, f"{sensor}/points", message):
            self._arrived(sensor, stamp_ns(message.header), message)

    def _seen(self, sensor: str, stream: str, message: Any) -> bool:
        """Whether a message has what nothing works without, a frame and a time, and is not too large."""
        stamp, frame = stamp_ns(message.header), message.header.frame_id
        if not frame or stamp == 0:
            what = "frame_id" if not frame else "stamp"
            self._unpaired(
                sensor, [Dropped(stamp, f"no_{what}", f"the header on {stream} has no {what}")], True
            )
            return False
        try:
            check_bytes(message, self._config.max_message_mb)
        except SensorError as error:
            self._unpaired(sensor, [Dropped(stamp, error.reason, f"{stream}: {error}")], True)
            return False
        if not self._watch.see(stream, stamp):
            self._unpaired(sensor, [Dropped(stamp, "stray_stamp", "")], False)
            return False
        return True

    def _arrived(self, sensor: str, stamp: int, content: Shot | PointCloud2) -> None:
        now_s = time.monotonic()
        frame = bare(content.header.frame_id)
        self._ledger.received(sensor)
        self._give_up(
            sensor, self._rooms[sensor].add(stamp, frame, Arrival(content, now_s), self._patience_s)
        )

    def _unpaired(self, sensor: str, dropped: list[Dropped], is_problem: bool) -> None:
        for _ in dropped:
            self._ledger.received(sensor)
        self._give_up(sensor, dropped, silent=not is_problem)

    def _go_on(self, sensor: str, stamp: int, arrival: Arrival, pose: FloatArray) -> None:
        self._note_wait(time.monotonic() - arrival.arrived_s)
        content = arrival.content
        try:
            if isinstance(content, Shot):
                content = replace(content, T_color_depth=self._depth_in_color(content, stamp))
        except TransformError as error:
            self._give_up(sensor, [Dropped(stamp, f"tf_{error.reason}", str(error))])
            return
        self._tell_leap(sensor, stamp, pose)
        self._robot_m = self._robot_position(stamp, pose)
        motion = None if isinstance(content, Shot) else self._motion(sensor, content, stamp)
        self._on_measurement(Measurement(sensor, content, pose, self._robot_m, arrival.arrived_s, motion))

    def _give_up(self, sensor: str, dropped: list[Dropped], silent: bool = False) -> None:
        for drop in dropped:
            self._ledger.dropped(sensor, drop.reason)
            if not silent:
                asks = drop.reason.startswith("tf_") and drop.reason != "tf_gap"
                hint = "; is localisation running?" if asks else ""
                self._reporter.report(f"{sensor} {drop.reason}", f"{sensor}: {drop.message}{hint}")

    # Places -----------------------------------------------------------------------------------

    def _pose(self, frame: str, stamp: int) -> FloatArray:
        self._gaps.check(frame, stamp, self.transforms.links)
        newest = self._corrections.newest
        if newest is not None and stamp < newest.stamp_ns:
            return newest.T_map_odom @ self.transforms.lookup(self._config.odom_frame, frame, stamp)
        return self.transforms.lookup(self._config.map_frame, frame, stamp)

    def _on_transform(self, transform: TransformStamped) -> None:
        """A link moved; of ``map -> odom`` what the buffer made of it is looked at."""
        link = bare(transform.header.frame_id), bare(transform.child_frame_id)
        ours = self._config.map_frame, self._config.odom_frame
        stamp = stamp_ns(transform.header)
        if link != tuple(map(bare, ours)):
            t, q = transform.transform.translation, transform.transform.rotation
            self._gaps.see(*link, stamp, (t.x, t.y, t.z, q.x, q.y, q.z, q.w))
            return
        with suppress(TransformError):
            jump = self._corrections.see(stamp, self.transforms.lookup(*ours, stamp), self._robot_m)
            if jump is not None:
                self._leaps.clear()
                self._on_correction(jump)

    def _depth_in_color(self, shot: Shot, stamp: int) -> FloatArray | None:
        """``T_color_depth``, where depth is not registered: it has a calibration and a frame of its own."""
        if shot.color is None or shot.depth is None or shot.depth_info is None:
            return None
        color, depth = bare(shot.color.header.frame_id), bare(shot.depth.header.frame_id)
        return None if color == depth else self.transforms.lookup(color, depth, stamp)

    def _motion(self, sensor: str, message: PointCloud2, stamp: int) -> Motion | None:
        """How a LiDAR moved around a sweep's stamp, if its points say when they were measured."""
        if not has_times(message):
            return None
        fixed = (self._config.odom_frame, self._config.map_frame)
        motion = motion_at(self.transforms.lookup, fixed, bare(message.header.frame_id), stamp)
        self._unmoved[sensor] = 0 if motion is not None else self._unmoved[sensor] + 1
        if self._unmoved[sensor] >= UNMOVED:
            self._reporter.report(
                f"{sensor} motion",
                f"{sensor}: the motion within its sweeps is not undone, as tf knows of none within 0.1 s of "
                "their stamps: let odometry come more often",
                once=True,
            )
        return motion

    def _robot_position(self, stamp: int, pose: FloatArray) -> FloatArray:
        """(3,) where the robot is; the sensor, where tf does not know the robot."""
        try:
            return self._pose(self._config.robot_frame, stamp)[:3, 3]
        except TransformError:
            return pose[:3, 3]

    # Trouble ----------------------------------------------------------------------------------

    def _jumped(self, stream: str, by_s: float) -> None:
        """Time began again: what waits belongs to the past, and so do all moving transforms.

        Ahead there is nothing to forget: tf drops what is old by itself, and nothing waits for ever.
        """
        for source in self.inputs():
            source.log.clear()
        if by_s > 0:
            self._reporter.report("time jump", f"time jumped ahead by {by_s:.1f} s ({stream})")
            return
        self._reporter.report(
            "time jump",
            f"time jumped back by {-by_s:.1f} s ({stream}); waiting measurements and transforms were "
            f"forgotten, the map was {'cleared' if self._config.clear_map_on_time_jump else 'kept'}",
        )
        self.transforms.clear()
        self._corrections.clear()
        self._leaps.clear()
        self._gaps.clear()
        for camera in self.cameras:
            camera.restart()
        for sensor, room in self._rooms.items():
            self._give_up(sensor, room.clear(), silent=True)
        self._on_time_jump()

    def _strayed(self, stream: str, by_s: float) -> None:
        """One stamp was far off, and the next was right again."""
        self._reporter.report(
            f"stray {stream}",
            f"a stamp of {stream} was {abs(by_s):.1f} s {'behind' if by_s < 0 else 'ahead of'} its "
            "neighbours, so its "
            "message was not used; look for a second publisher, or a clock that is set while it runs",
        )

    def _tell_leap(self, sensor: str, stamp: int, pose: FloatArray) -> None:
        leap = self._leaps.see(sensor, stamp, pose[:3, 3])
        if leap is not None:
            self._reporter.report(
                f"leap {sensor}",
                f"{sensor}: by tf it jumped {leap[0]:.1f} m within {leap[1]:.2f} s, so the map is smeared; "
                "look at localisation, and for two publishers of one frame",
            )

    def _note_wait(self, waited_s: float) -> None:
        """Tells when tf keeps measurements waiting again and again."""
        self._waited_s.append(waited_s)
        usual_s = float(np.median(self._waited_s))
        if usual_s > LATE_TF_S:
            self._reporter.report(
                "late tf",
                f"transforms come {usual_s:.2f} s later than the measurements that need them; these wait "
                f"up to inputs.tf_deadline_s = {self._config.tf_deadline_s:g} s, and the map lags behind",
            )

    def missed(self) -> dict[str, str]:
        """Base topics that are needed and silent, and why."""
        needed = [source for camera in self.cameras for source in camera.needed()]
        needed += self.lidars.values()
        taken = {source.source.topic for source in self.inputs() if source.source is not None}
        flows = self._flows()
        return {
            source.base: source.explain(taken)
            for source in needed
            if source.is_silent(PATIENCE_S) and (not flows or source.has_alternatives(taken))
        }

    def _flows(self) -> bool:
        """Whether any measurement comes at all."""
        return any(not source.is_silent(PATIENCE_S) for source in self.inputs() if source.role != "info")

    def _complain(self) -> None:
        """Names the silent topics: in the log again and again while nothing flows at all, else once."""
        missed, flows = self.missed(), self._flows()
        for source in self.inputs():
            key = f"silent {source.base}"
            if source.base in missed:
                self._reporter.report(key, missed[source.base], once=flows)
            else:
                self._reporter.solve(key)
