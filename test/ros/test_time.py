"""Clocks and stamps that are wrong: what is right is mapped on, what is wrong is named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from graph import MAP, Camera, NodeProcess, Robot, cloud, transform
from room import sweep
from rosgraph_msgs.msg import Clock


@pytest.fixture
def node(robot: Robot, start: Callable[..., NodeProcess]) -> Iterator[NodeProcess]:
    robot.forget()
    node = start(inputs__lidars='["lidar"]', inputs__clear_map_on_time_jump=True)
    robot.wait_active()
    yield node
    assert node.process.poll() is None, node.log()
    node.stop()
    robot.unpublish()


class Shooter:
    """Shoots at 10 Hz; its clock can be set."""

    def __init__(self, robot: Robot, shift_s: float = 0.0) -> None:
        self.robot, self.camera, self.shift_s, self.shots = robot, Camera(robot, "camera"), shift_s, 0

    def shoot(self, tf: bool = True) -> None:
        self.shots += 1
        self.camera.shoot(time.time() + self.shift_s, 0.1 * self.shots, tf=tf)
        time.sleep(0.1)

    def until_used(self, more: int) -> None:
        """Goes on until so many more shots went into the map."""
        target = used(self.robot) + more

        def step() -> bool:
            self.shoot()
            return used(self.robot) >= target

        self.robot.wait(step, f"{more} more shots are used")


def used(robot: Robot) -> int:
    return robot.counts("camera")[1]


def named(robot: Robot, *parts: str) -> bool:
    """Whether one problem of the newest status has all the parts."""
    return any(all(part in line for part in parts) for line in robot.problems().splitlines())


def voxels(robot: Robot) -> int:
    return int(robot.newest("status").voxels)


def test_what_is_seen_while_tf_pauses_and_the_camera_turns_is_left_out(
    robot: Robot, node: NodeProcess
) -> None:
    shooter = Shooter(robot)
    shooter.until_used(8)
    blind = 6
    for _ in range(blind):
        shooter.shoot(tf=False)
    shooter.until_used(3)
    dropped = robot.counts("camera")[2]
    # On a slow machine the first ones waited in vain before tf went on.
    assert dropped["tf_gap"] + dropped.get("tf_too_new", 0) == blind
    assert named(robot, "'map' -> 'camera_optical' paused for", "degrees")


@pytest.mark.parametrize("by_s", [3600.0, -5.0])
def test_one_stamp_that_is_far_off_costs_one_shot_and_nothing_else(
    robot: Robot, node: NodeProcess, by_s: float
) -> None:
    shooter = Shooter(robot)
    shooter.until_used(5)
    shooter.shift_s = by_s
    shooter.shoot()
    shooter.shift_s = 0.0
    shooter.until_used(5)
    assert robot.counts("camera")[2]["stray_stamp"] == 2  # colour and depth
    assert "time jumped" not in node.log()
    assert voxels(robot) > 0, "the map was not cleared"
    robot.wait(lambda: "neighbours" in robot.problems(), "the stray stamp is named")


def test_a_jump_ahead_loses_nothing_that_was_mapped(robot: Robot, node: NodeProcess) -> None:
    shooter = Shooter(robot, -5000.0)
    shooter.until_used(5)
    before = voxels(robot)
    shooter.shift_s += 4000.0
    shooter.until_used(5)
    assert "time jumped ahead by 4000" in node.log()
    assert voxels(robot) >= before > 0


def test_a_jump_back_clears_the_map_where_this_was_asked_for(robot: Robot, node: NodeProcess) -> None:
    shooter = Shooter(robot)
    shooter.until_used(5)
    shooter.shift_s -= 100.0
    shooter.until_used(5)
    assert node.log().count("time jumped back by 9") == 1  # 100 s less what lay between two shots
    assert "the map was cleared" in node.log()


def test_stamps_of_zero_are_refused_and_named(robot: Robot, node: NodeProcess) -> None:
    camera = Camera(robot, "camera")

    def zero() -> object:
        robot.publish("/tf", transform(np.eye(4), 0.0, MAP, camera.frame))
        camera.shoot(0.0, 0.0, tf=False)
        time.sleep(0.1)
        return robot.counts("camera")[2].get("no_stamp", 0) > 3

    robot.wait(zero, "the shots are refused")
    for thing in ("camera: the header", f"a transform to '{camera.frame}' on /tf"):
        robot.wait(lambda thing=thing: (zero(), named(robot, thing, "has no stamp"))[1], f"{thing} is named")
    Shooter(robot).until_used(5)


def test_two_sensors_whose_clocks_differ_and_stamps_of_the_future_are_named(
    robot: Robot, node: NodeProcess
) -> None:
    camera = Camera(robot, "camera")

    def both() -> object:
        now_s = time.time()
        camera.shoot(now_s, 0.0)
        robot.publish("/tf", transform(np.eye(4), now_s + 0.3, MAP, "lidar"))
        robot.publish("/lidar/points", cloud(sweep(), now_s + 0.3, "lidar"))
        time.sleep(0.1)
        apart = named(robot, "'lidar' is stamped 0.", "newer than 'camera'")
        return apart and "in the future" in robot.problems() and used(robot) > 0

    robot.wait(both, "the clocks are named and both are mapped all the same")


def test_simulated_time_without_a_clock_and_with_one(robot: Robot, start: Callable[..., NodeProcess]) -> None:
    robot.forget()
    node = start(use_sim_time=True)
    robot.wait_active()
    camera = Camera(robot, "camera")

    def step(clock: bool, begin_s: float) -> None:
        stamp_s = 100.0 + time.time() - begin_s
        if clock:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(round(stamp_s * 1e9), 1_000_000_000)
            robot.publish("/clock", message)
        camera.shoot(stamp_s, 0.0)
        time.sleep(0.1)

    def no_clock() -> object:
        step(False, begin_s)
        return "nobody publishes /clock" in robot.problems() and used(robot) > 0

    def clock() -> object:
        step(True, begin_s)
        return "nobody publishes /clock" not in robot.problems()

    begin_s = time.time()
    robot.wait(no_clock, "the missing clock is named, and what agrees with tf is mapped")
    robot.wait(clock, "with a clock all is well")
    assert node.stop() == 0
