"""Clouds that are larger than a message may be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from graph import Camera, NodeProcess, Robot, points_of, xyz
from room import camera_pose


def test_clouds_hold_what_a_message_may_and_the_rest_is_named(
    robot: Robot, start: Callable[..., NodeProcess]
) -> None:
    start(output__max_message_mb=0.1, output__map_period_s=0.5, map__min_weight=0.0)
    robot.wait_active()
    camera = Camera(robot, "camera")

    def shot() -> bool:
        camera.shoot(time.time(), 0.0)
        time.sleep(0.1)
        problems = " ".join(robot.newest("status").problems)
        return all(f"{topic}: " in problems for topic in ("semantic_cloud", "semantic_map"))

    robot.wait(shot, "both clouds are said to be too large")
    problem = next(text for text in robot.newest("status").problems if "semantic_map" in text)
    assert "output.max_message_mb = 0.1" in problem
    limit = 100_000 // 32

    def full() -> Any:
        message = robot.newest("semantic_map")
        return message if message and message.width >= limit else None

    points = robot.wait(full, "a map as large as a message may be")
    assert points.width == limit
    assert robot.newest("status").voxels > points.width
    away_m = np.linalg.norm(xyz(points_of(points)) - camera_pose(0.0)[:3, 3], axis=1)
    corner_m = np.linalg.norm([2.0, 1.5, 1.3])
    assert away_m.max() < corner_m - 0.1, "what is left out is what is far from the camera"
