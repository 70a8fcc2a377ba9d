"""Files that are missing or broken when the node starts: it maps without what they are for, and says so."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from isolation import MISSING

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

from graph import Camera, NodeProcess, Robot
from students import random_student

SOAK = "WS3D_SOAK" in os.environ
pytestmark = pytest.mark.ros


def absent(file: Path) -> None:
    """Nobody put it there."""


def cut_off(file: Path) -> None:
    random_student(file)
    file.write_bytes(file.read_bytes()[:-1000])


def of_noise(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 100)


def pickled(file: Path) -> None:
    file.write_bytes(pickle.dumps({"weight": [1.0]}))


def empty(file: Path) -> None:
    file.touch()


@pytest.fixture
def robot() -> Iterator[Robot]:
    robot = Robot()
    yield robot
    robot.close()


@pytest.mark.parametrize("spoil", [absent, pickled, *((cut_off, of_noise, empty) if SOAK else ())])
def test_a_network_that_cannot_be_read(robot: Robot, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    checkpoint = tmp_path / "student.safetensors"
    spoil(checkpoint)
    node = NodeProcess(tmp_path / "node.log", network__checkpoint=checkpoint)
    try:
        robot.wait_active()
        camera = Camera(robot, "camera")

        def maps() -> bool:
            camera.shoot(time.time(), 0.0)
            time.sleep(0.1)
            return robot.counts("camera")[1] >= 3

        robot.wait(maps, "geometry goes on")
        why = robot.newest("status").network_why
        assert str(checkpoint) in why
        assert robot.newest("status").network == ""
        said = [entry.message for entry in robot.newest("diagnostics").status]
        assert any(f"network: {why}" in message for message in said)
    finally:
        assert node.stop() == 0, node.log()
