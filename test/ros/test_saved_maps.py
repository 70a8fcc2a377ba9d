"""A node is killed without warning; the next one has the map again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from graph import Camera, NodeProcess, Robot, points_of
from ws3d_ros.srv import LoadMap, SaveMap


def test_a_map_outlives_its_node(robot: Robot, start: Callable[..., NodeProcess], tmp_path: Path) -> None:
    settings = {"map__folder": f'"{tmp_path}"', "map__min_weight": 0.0, "output__map_period_s": 0.5}
    first = start(**settings)
    robot.wait_active()
    camera = Camera(robot, "camera")
    yaws = iter(np.linspace(0.0, 60.0, 600))

    def shoot() -> bool:
        camera.shoot(time.time(), float(next(yaws)))
        time.sleep(0.2)
        return robot.counts("camera")[1] >= 5

    robot.wait(shoot, "images are used")
    saved = robot.call(SaveMap, "save_map", SaveMap.Request(name="room"))
    assert saved.success, saved.message
    path = Path(saved.path)
    assert path == tmp_path / "room.ws3d"
    assert saved.bytes == path.stat().st_size
    robot.wait(lambda: shows(robot, saved.voxels), "the whole map")
    before = points_of(robot.newest("semantic_map"))
    assert not robot.call(SaveMap, "save_map", SaveMap.Request(name="../room")).success

    first.process.send_signal(signal.SIGKILL)
    first.process.wait(10.0)
    robot.unpublish()
    robot.forget()

    start(**settings)
    robot.wait_active()
    (tmp_path / "broken.ws3d").write_bytes(path.read_bytes()[:-10])
    refused = robot.call(LoadMap, "load_map", LoadMap.Request(name="broken"))
    assert not refused.success
    assert "cut off or damaged" in refused.message
    loaded = robot.call(LoadMap, "load_map", LoadMap.Request(name="room"))
    assert loaded.success, loaded.message
    assert (loaded.voxels, loaded.bytes) == (saved.voxels, saved.bytes)
    robot.wait(lambda: shows(robot, saved.voxels), "the loaded map")
    after = points_of(robot.newest("semantic_map"))
    assert np.array_equal(np.sort(before, order=["x", "y", "z"]), np.sort(after, order=["x", "y", "z"]))


def shows(robot: Robot, voxels: int) -> bool:
    """Whether the newest map on display has all voxels."""
    message = robot.newest("semantic_map")
    return message is not None and message.width == voxels
