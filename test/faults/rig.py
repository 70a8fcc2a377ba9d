"""The node, the robot that plays to it, and what must hold whatever went wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from graph import RELIABLE, START_TIMEOUT_S, NodeProcess, Robot, points_of, xyz
from relay import CIRCLE, SENSORS, Player
from room import distance_to_walls_m
from std_srvs.srv import Trigger
from ws3d_ros.msg import InstanceArray

VOXEL_M = 0.1
NAMED_WITHIN_S = 30.0
"""The doctor looks every 5 s, and a busy machine takes its time."""
SETTLED_WITHIN_S = 30.0


@dataclass(frozen=True)
class Mapped:
    """The whole map at a moment of rest.

    Attributes:
        voxels: of ``~/semantic_map``, as many as ``~/status`` counts.
        walls: how many of them lie on the walls of the room.
    """

    voxels: int
    walls: int


class Rig:
    """One node process for many faults; it is started again by the faults that end it."""

    def __init__(self, robot: Robot, start: Callable[[], NodeProcess], folder: Path, breaks: Path) -> None:
        """
        Args:
            start: starts the node.
            folder: the node's ``map.folder``.
            breaks: see breaking_node.py.

        ``mapped`` is what the last check found, for the next.
        """
        self.robot, self.folder, self.breaks = robot, folder, breaks
        self._start = start
        robot.listen(InstanceArray, "instances", RELIABLE)
        self.player = Player(robot)
        self.relay = self.player.relay
        self.random = np.random.default_rng(0)
        self.answers: list[str] = []
        self.mapped: Mapped | None = None
        self.start()

    def start(self) -> None:
        """Starts the node and waits until it is active and has mapped the room."""
        self.robot.forget()
        self.node = self._start()
        self.robot.wait_active()
        self.player.play()
        self.robot.wait(self.has_seen_all, "the room is mapped", START_TIMEOUT_S)

    def close(self) -> None:
        self.player.close()

    def has_seen_all(self) -> bool:
        """Whether every sensor delivered a turn's worth of measurements since the node started."""
        return all(self.used(sensor) >= CIRCLE for sensor in SENSORS)

    def used(self, sensor: str) -> int:
        return self.robot.counts(sensor)[1]

    def wait_used(self, more: int, sensors: Iterable[str], timeout_s: float) -> float:
        """Waits until each of the sensors has so many more measurements in the map; how long it took."""
        begun_s = time.monotonic()
        self.fresh_status()
        before = {sensor: self.used(sensor) for sensor in sensors}
        self.robot.wait(
            lambda: all(self.used(sensor) >= count + more for sensor, count in before.items()),
            f"{more} more measurements of {', '.join(before)} are in the map",
            timeout_s,
        )
        return time.monotonic() - begun_s

    def wait_shots(self, more: int) -> None:
        """Waits until so many more moments of the robot were played."""
        shots = self.player.shots
        self.robot.wait(lambda: self.player.shots >= shots + more, f"{more} more shots are played")

    def fresh_status(self) -> Any:
        """A status that was made after this call: the second one that comes."""
        for _ in range(2):
            old = self.robot.newest("status")
            self.robot.wait(lambda old=old: self.robot.newest("status") is not old, "a status")
        return self.robot.newest("status")

    def lines(self) -> set[str]:
        """Everything that the node says of itself now: a line for each entry of /diagnostics, for each of
        its values and for each problem of ~/status; and the answers of services."""
        said = set(self.robot.problems().splitlines()) | set(self.answers)
        newest = self.robot.newest("diagnostics")
        for entry in newest.status if newest is not None else []:
            said.add(f"{entry.name}: {entry.message}")
            said |= {f"{entry.name}: {pair.key} {pair.value}" for pair in entry.values}
        return said

    def find(self, parts: tuple[str, ...]) -> set[str]:
        """The lines with all the parts."""
        return {line for line in self.lines() if all(part in line for part in parts)}

    def wait_unnamed(self, parts: tuple[str, ...]) -> None:
        """Waits until no problem is told that an earlier fault of the same name left."""

        def is_told() -> bool:
            lines = self.robot.problems().splitlines()
            return bool(parts) and any(all(part in line for part in parts) for line in lines)

        self.robot.wait(lambda: not is_told(), f"nobody speaks of {parts}", NAMED_WITHIN_S)

    def wait_named(self, parts: tuple[str, ...], known: set[str]) -> str:
        """Waits until a line that was not known before has all the parts, and returns it."""
        found: set[str] = self.robot.wait(
            lambda: self.find(parts) - known, f"{parts} in diagnostics", NAMED_WITHIN_S
        )
        return min(found, key=len)

    def tidy(self, before: Mapped) -> Mapped:
        """Maps the room anew where the last fault, such as tf that was believed, left more than the room."""
        if before.voxels < 1.05 * before.walls:
            return before
        self.robot.call(Trigger, "clear_map", Trigger.Request())
        self.wait_used(CIRCLE, SENSORS, START_TIMEOUT_S)
        return self.rest()

    def forget_old(self) -> None:
        """Keeps what was heard from growing for ever."""
        for messages in self.robot.received.values():
            del messages[:-3]
        self.answers.clear()

    def rest(self) -> Mapped:
        """Stops the sensors, waits until the map on display is the map that the status counts, checks it,
        and lets them go on."""
        self.player.pause()
        try:
            self.fresh_status()
            self.robot.wait(self.is_settled, "the map on display has as many voxels as the status counts")
            # Its counts were taken before its queues, so the next one is the first with all of them.
            status, message = self.fresh_status(), self.robot.newest("semantic_map")
            points = points_of(message)
            check_cloud(points, len(self.robot.newest("vocabulary").names))
            check_counts(status)
            check_ids(self.robot.newest("instances"))
            on_wall = distance_to_walls_m(xyz(points)) < VOXEL_M
            return Mapped(len(points), int(on_wall.sum()))
        finally:
            self.player.play()

    def is_settled(self) -> bool:
        """Whether nothing waits in a queue and the newest map is the newest."""
        status, message = self.robot.newest("status"), self.robot.newest("semantic_map")
        idle = all(queue.length == 0 for queue in status.queues if queue.queue in ("tf", "mapping"))
        return bool(idle and message is not None and message.width == status.voxels)

    def check(self, before: Mapped) -> Mapped:
        """What holds after every fault: the node lives; the map is whole, finite and as large as before."""
        assert self.node.process.poll() is None, self.node.log()
        assert self.robot.state() == "active"
        after = self.rest()
        assert after.walls >= before.walls, f"of {before.walls} voxels on the walls {after.walls} are left"
        return after


def check_cloud(points: np.ndarray, names: int) -> None:
    """Finite everywhere, one point in a voxel, labels that have a name."""
    place = xyz(points)
    assert len(points) > 0
    assert np.isfinite(place).all()
    assert np.isfinite(points["confidence"]).all()
    assert ((points["confidence"] >= 0.0) & (points["confidence"] <= 1.0)).all()
    assert (points["label"] < names).all()
    # A voxel's point is a mean in float32: what lies on the border may be rounded across it.
    cells = np.floor(place.astype(np.float64) / VOXEL_M)
    middle = (np.abs(place / VOXEL_M - np.round(place / VOXEL_M)) > 1e-3).all(axis=1)
    assert len(np.unique(cells[middle], axis=0)) == middle.sum(), "two points in one voxel"


def check_counts(status: Any) -> None:
    """Every measurement that came was used or dropped for a reason; the map is within its budget."""
    for sensor in status.sensors:
        dropped = sum(drop.count for drop in sensor.dropped)
        assert sensor.used + dropped == sensor.received, f"{sensor.sensor}: measurements unaccounted for"
    assert status.map_bytes <= status.budget_bytes


def check_ids(objects: InstanceArray | None) -> None:
    """Ids are positive and each is one object's, with numbers that are finite."""
    ids = [thing.id for thing in objects.instances] if objects is not None else []
    assert len(set(ids)) == len(ids)
    assert all(number > 0 for number in ids)
    for thing in objects.instances if objects is not None else []:
        size = thing.box_size
        place = thing.centroid
        assert np.isfinite([size.x, size.y, size.z, place.x, place.y, place.z, thing.score]).all()
