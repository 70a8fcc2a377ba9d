"""The doctor, asked by hand: without a node, and of a node that runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from graph import BEST_EFFORT, MAP, ROOT, Camera, NodeProcess, Robot, cloud, header, transform
from room import sweep
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage
from ws3d_ros.msg import PipelineStatus

from ws3d_ros.node.doctor import to_entry
from ws3d_ros.sensors.checkup.findings import Section

HEALTHY, WRONG, BAD_ARGUMENT = 0, 1, 2
PROFILE = str(ROOT / "config" / "fastdds_large.xml")


def ask(*arguments: str) -> tuple[int, str]:
    """``ws3d doctor``: exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "ws3d_ros.cli.main", "doctor", "--seconds", "6", *arguments],
        capture_output=True,
        text=True,
        timeout=60.0,
        cwd=ROOT,
        env={**os.environ, "FASTDDS_DEFAULT_PROFILES_FILE": PROFILE},
    )
    return done.returncode, done.stdout + done.stderr


@contextmanager
def playing(shoot: Callable[[float], None]) -> Iterator[None]:
    """Sends at 10 Hz in the background."""
    stopped = threading.Event()

    def play() -> None:
        while not stopped.wait(0.1):
            shoot(time.time())

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def shoot_all(robot: Robot, camera: Camera, stamp_s: float, lidar_behind_s: float = 0.0) -> None:
    camera.shoot(stamp_s, 0.3)
    robot.publish("/tf", transform(np.eye(4), stamp_s, MAP, "lidar"))
    robot.publish("/lidar/points", cloud(sweep(), stamp_s - lidar_behind_s, "lidar"))


def has(text: str, *parts: str) -> bool:
    """Whether a line has all the parts."""
    return any(all(part in line for part in parts) for line in text.splitlines())


@pytest.fixture(autouse=True)
def _nothing_published(robot: Robot) -> Iterator[None]:
    yield
    robot.unpublish()


def test_a_healthy_robot(robot: Robot) -> None:
    camera = Camera(robot, "camera", profile=BEST_EFFORT)
    with playing(lambda stamp_s: shoot_all(robot, camera, stamp_s)):
        code, text = ask()
    assert code == HEALTHY, text
    assert has(text, "tf map <- camera_optical")
    assert has(text, "encoding 16UC1", "median 1.")
    assert text.rstrip().endswith("healthy")


def test_what_is_wrong_is_named_without_a_node(robot: Robot) -> None:
    camera = Camera(robot, "camera", "32FC1")
    volatile = robot.node.create_publisher(TFMessage, "/tf_static", 1)

    def shoot(stamp_s: float) -> None:
        zeros = CameraInfo(header=header(stamp_s, camera.frame), width=160, height=120)
        camera.send("color/camera_info", zeros)
        camera.shoot(stamp_s, 0.3, info=False, depth_unit_m=0.001)
        robot.publish("/velodyne", cloud(sweep(), stamp_s - 0.3, "velodyne"))

    with playing(shoot):
        code, text = ask("-r", "lidar/points:=/velodyne")
    robot.node.destroy_publisher(volatile)
    assert code == WRONG
    assert has(text, "error", "these seem to be millimetres", "metres")
    assert has(text, "error", "K is all zeros", "calibrate")
    assert has(text, "error", "nobody publishes the sensor's frame 'velodyne'")
    assert has(text, "warning", "'lidar' is stamped 0.", "older than 'camera'")
    assert has(text, "error", "/tf_static", "durability does not match")


def test_a_topic_of_another_name_and_a_clock_that_nobody_publishes(robot: Robot) -> None:
    with playing(lambda stamp_s: robot.publish("/velodyne", cloud(sweep(), stamp_s, "velodyne"))):
        code, text = ask("-p", "use_sim_time:=true")
    assert code == WRONG
    assert has(text, "/lidar/points is silent", "/velodyne", "remap")
    assert has(text, "use_sim_time is set, but nobody publishes /clock")


def test_a_node_that_is_found_late_is_asked_all_the_same(robot: Robot) -> None:
    camera = Camera(robot, "camera", profile=BEST_EFFORT)
    begin_s = time.time()

    def shoot(stamp_s: float) -> None:
        camera.shoot(stamp_s, 0.3)
        if stamp_s - begin_s > 5.0:  # the doctor listens to the topics itself by now
            robot.publish("/ws3d/status", PipelineStatus(state="active", problems=["the dog is hungry"]))
            robot.publish("/diagnostics", DiagnosticArray(status=[to_entry("ws3d", Section("the dog"))]))

    with playing(shoot):
        code, text = ask()
    robot.forget()
    assert code == WRONG
    assert "examined by the running node, which is active" in text
    assert has(text, "ok the dog")
    assert has(text, "the node says: the dog is hungry")


def test_arguments_that_do_not_fit() -> None:
    code, text = ask("-p", "inputs.depth_scal:=1.0")
    assert code == BAD_ARGUMENT
    assert "did you mean 'inputs.depth_scale'" in text


def test_the_running_node_is_asked_and_says_it_by_itself(
    robot: Robot, start: Callable[..., NodeProcess]
) -> None:
    override = "qos_overrides./camera/depth/image.subscription.reliability"
    node = start(inputs__lidars='["lidar"]', **{override.replace(".", "__"): "reliable"})
    robot.wait_active()
    camera = Camera(robot, "camera", profile=BEST_EFFORT)
    with playing(lambda stamp_s: shoot_all(robot, camera, stamp_s, 0.3)):
        code, text = ask()
        assert code == WRONG
        assert "examined by the running node, which is active" in text
        assert has(text, "error", "/camera/depth/image", "reliability does not match", "qos_overrides")
        assert has(text, "warning", "'lidar' is stamped 0.", "older than 'camera'")
        assert has(text, "warning", "Fast DDS has its default")  # the node was started without
        robot.wait(lambda: "older than 'camera'" in robot.problems(), "the clocks in the status")
        assert has(robot.problems(), "/camera/depth/image", "reliability does not match")
        names = robot.wait(lambda: levels(robot.newest("diagnostics")), "the doctor's entries")
        assert names["ws3d: doctor: /camera/depth/image"] == b"\x02"
        assert names["ws3d: doctor: /camera/color/image"] == b"\x00", robot.newest("diagnostics")
        time.sleep(6.0)  # the doctor looks every 5 s
    assert node.log().count("older than 'camera'") == 1, "while nothing changes it is said once"


def levels(diagnostics: object) -> dict[str, bytes]:
    entries: Sequence[object] = getattr(diagnostics, "status", [])
    return {entry.name: entry.level for entry in entries if ": doctor: " in entry.name}  # type: ignore[attr-defined]
