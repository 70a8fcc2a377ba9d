"""What stands between the robot's drivers and the node, and does to messages what networks and drivers do."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from graph import BEST_EFFORT, MAP, RELIABLE, Camera, Robot, cloud, transform
from room import sweep

Change = Callable[[str, Any], Iterable[tuple[float, Any]]]
"""Topic and message to what goes on instead: seconds from now, and a message. Messages may be changed in
place: each is made for one publication."""
SHOTS_HZ = 5.0
LIDAR_FRAME = "lidar_link"
LIDAR_M = (0.0, 0.0, 1.2)
SENSORS = ("camera", "squeezed", "lidar")
CIRCLE = 24
"""Shots until the robot has looked all around."""


class Relay:
    """Has :meth:`publish` as :class:`Robot` has, and lets faults look at each message. For one thread.

    Attributes:
        changes: the faults, each of what the one before it lets through; none lets all through as it is.
        weak: images and clouds go out best-effort.
    """

    def __init__(self, robot: Robot) -> None:
        self.robot, self.weak = robot, False
        self.changes: list[Change] = []
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, str, Any]] = []

    def publish(self, topic: str, message: Any, profile: Any = RELIABLE) -> None:
        now_s = time.monotonic()
        passed: list[tuple[float, Any]] = [(0.0, message)]
        for change in tuple(self.changes):
            passed = [(late + more, out) for late, each in passed for more, out in change(topic, each)]
        for late, out in passed:
            # What is due at once keeps its order.
            heapq.heappush(self._waiting, (round(now_s + late, 2), next(self._order), topic, out))

    def send_due(self) -> None:
        """Call it often: publishes what has waited long enough."""
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, _, topic, message = heapq.heappop(self._waiting)
            weak = self.weak and not topic.startswith("/tf")
            self.robot.publish(topic, message, BEST_EFFORT if weak else RELIABLE)


class Player:
    """Plays the robot in the room, in a thread: two RGB-D cameras that turn, and a LiDAR, through a relay.

    Attributes:
        shift_s: the robot's clock is ahead by so much.
        shots: so many moments were played.
    """

    def __init__(self, robot: Robot) -> None:
        self.relay, self.shift_s, self.shots = Relay(robot), 0.0, 0
        self._robot = robot
        self._cameras = [Camera(self.relay, "camera"), Camera(self.relay, "squeezed", "compressed")]  # type: ignore[arg-type]
        self._at_lidar = np.eye(4)
        self._at_lidar[:3, 3] = LIDAR_M
        self._sweep = sweep(LIDAR_M)
        self._playing, self._closed = threading.Event(), threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def play(self) -> None:
        self._playing.set()

    def pause(self) -> None:
        """Nothing is sent any more when this returns."""
        self._playing.clear()
        with self._turn:
            pass

    def restart_drivers(self, weak: bool) -> None:
        """All publishers are new, best-effort or not."""
        with self._turn:
            self._robot.unpublish()
            self.relay.weak = weak

    def close(self) -> None:
        self._closed.set()
        self._playing.set()
        self._thread.join()

    def _run(self) -> None:
        next_s = time.monotonic()
        while not self._closed.is_set():
            self._playing.wait()
            with self._turn:
                # Asked again, now that pause() has to wait.
                if self._playing.is_set():
                    if time.monotonic() >= next_s:
                        self._shoot()
                        next_s = time.monotonic() + 1.0 / SHOTS_HZ
                    self.relay.send_due()
            time.sleep(0.01)

    def _shoot(self) -> None:
        stamp_s = time.time() + self.shift_s
        self.shots += 1
        for camera in self._cameras:
            camera.shoot(stamp_s, 2 * np.pi * self.shots / CIRCLE)
        self.relay.publish("/tf", transform(self._at_lidar, stamp_s, MAP, LIDAR_FRAME))
        self.relay.publish("/lidar/points", cloud(self._sweep, stamp_s, LIDAR_FRAME))
