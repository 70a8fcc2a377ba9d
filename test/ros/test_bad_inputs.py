"""What users get wrong, all at one node: each ends in one clear message, none ends the node."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from graph import BEST_EFFORT, MAP, Camera, NodeProcess, Robot, camera_info, cloud, header, transform
from room import sweep
from sensor_msgs.msg import CameraInfo

CAMERAS = (
    "good",
    "wrong_unit",
    "zeros",
    "no_tf",
    "late_tf",
    "best_effort",
    "color_only",
    "headless",
    "uncalibrated",
)
LIDARS = ("lidar", "empty", "no_x")


@pytest.fixture(scope="module")
def node(robot: Robot, start: Callable[..., NodeProcess]) -> NodeProcess:
    """A node with a sensor for each mistake."""
    node = start(
        inputs__cameras=str(list(CAMERAS)).replace("'", '"'),
        inputs__lidars=str(list(LIDARS)).replace("'", '"'),
        inputs__tf_deadline_s=2.0,
    )
    robot.wait_active()
    return node


@pytest.fixture(autouse=True)
def _node_lives(robot: Robot, node: NodeProcess) -> object:
    """After each mistake the node still maps what is right."""
    yield
    assert node.process.poll() is None, node.log()
    robot.received["status"].clear()
    before = robot.wait(lambda: robot.newest("status") and robot.counts("good"), "a status")[1]
    good = Camera(robot, "good")
    play(robot, lambda: robot.counts("good")[1] > before, lambda stamp_s: good.shoot(stamp_s, 0.3))


def play(robot: Robot, until: Callable[[], object], shoot: Callable[[float], None]) -> None:
    """Sends at 10 Hz until the condition holds."""

    def step() -> object:
        shoot(time.time())
        time.sleep(0.1)
        return until()

    robot.wait(step, "the expected counts")


def dropped(robot: Robot, sensor: str, reason: str) -> int:
    return robot.counts(sensor)[2].get(reason, 0)


def taken(robot: Robot, sensor: str) -> int:
    """How many measurements went into the map, or would have on a machine that has time for all."""
    return robot.counts(sensor)[1] + dropped(robot, sensor, "overload")


def expect_message(robot: Robot, node: NodeProcess, *parts: str) -> None:
    """One sentence with all the parts in log, status and diagnostics."""

    def holds(text: str) -> bool:
        return any(all(part in line for part in parts) for line in text.splitlines())

    robot.wait(lambda: holds(robot.problems()), f"{parts} in the status")
    robot.wait(lambda: holds(node.log()), f"{parts} in the log")
    robot.wait(
        lambda: any(holds(entry.message) for entry in robot.newest("diagnostics").status),
        f"{parts} in diagnostics",
    )


def test_depth_in_the_wrong_unit(robot: Robot, node: NodeProcess) -> None:
    camera = Camera(robot, "wrong_unit", "32FC1")
    play(
        robot,
        lambda: dropped(robot, "wrong_unit", "depth_unit") > 3,
        lambda stamp_s: camera.shoot(stamp_s, 0.0, depth_unit_m=0.001),
    )
    expect_message(robot, node, "wrong_unit", "must be in metres", "depth_scale")
    assert robot.counts("wrong_unit")[1] == 0


def test_camera_info_of_zeros(robot: Robot, node: NodeProcess) -> None:
    camera = Camera(robot, "zeros")

    def shoot(stamp_s: float) -> None:
        camera.send(
            "color/camera_info", CameraInfo(header=header(stamp_s, camera.frame), width=160, height=120)
        )
        camera.shoot(stamp_s, 0.0, info=False)

    play(robot, lambda: dropped(robot, "zeros", "bad_camera_info") > 3, shoot)
    expect_message(robot, node, "zeros", "K is all zeros", "calibrate")


def test_no_tf(robot: Robot, node: NodeProcess) -> None:
    camera = Camera(robot, "no_tf")
    play(
        robot,
        lambda: dropped(robot, "no_tf", "tf_unknown_frame") > 3,
        lambda stamp_s: camera.shoot(stamp_s, 0.0, tf=False),
    )
    # Said once in the log, by whoever sees it first: the measurement that is dropped, or the doctor.
    expect_message(robot, node, "no_tf: ", "'no_tf_optical'")


def test_tf_that_comes_late_is_waited_for(robot: Robot, node: NodeProcess) -> None:
    camera = Camera(robot, "late_tf")
    late: list[float] = []

    def shoot(stamp_s: float) -> None:
        camera.shoot(stamp_s, 0.0, tf=False)
        late.append(stamp_s)
        while late and stamp_s - late[0] > 0.5:
            robot.publish("/tf", transform(np.eye(4), late.pop(0), MAP, camera.frame))

    play(robot, lambda: robot.counts("late_tf")[1] > 20, shoot)
    assert dropped(robot, "late_tf", "tf_too_new") == 0
    expect_message(robot, node, "transforms come 0.", "later than the measurements")


def test_the_other_quality_of_service_and_a_driver_that_changes_it(robot: Robot, node: NodeProcess) -> None:
    weak = Camera(robot, "best_effort", profile=BEST_EFFORT)
    play(robot, lambda: robot.counts("best_effort")[1] > 3, lambda stamp_s: weak.shoot(stamp_s, 0.0))
    robot.unpublish()
    before = robot.counts("best_effort")[1]
    strong = Camera(robot, "best_effort")
    play(
        robot, lambda: robot.counts("best_effort")[1] > before + 3, lambda stamp_s: strong.shoot(stamp_s, 0.0)
    )
    robot.unpublish()
    before = robot.counts("best_effort")[1]
    # The node asks for reliable now; it notices the silence and follows.
    play(robot, lambda: robot.counts("best_effort")[1] > before + 3, lambda stamp_s: weak.shoot(stamp_s, 0.0))


def test_a_camera_without_depth_works_as_colour_only(robot: Robot, node: NodeProcess) -> None:
    camera = Camera(robot, "color_only")
    play(
        robot,
        lambda: robot.counts("color_only")[1] > 3,
        lambda stamp_s: camera.shoot(stamp_s, 0.0, depth=False),
    )
    assert "camera 'color_only' has color" in node.log()


def test_headers_without_a_frame(robot: Robot, node: NodeProcess) -> None:
    camera = Camera(robot, "headless")
    camera.frame = ""
    play(
        robot,
        lambda: dropped(robot, "headless", "no_frame_id") > 3,
        lambda stamp_s: camera.shoot(stamp_s, 0.0, tf=False),
    )
    expect_message(robot, node, "headless", "has no frame_id")


@pytest.mark.parametrize(
    ("name", "points", "names", "reason", "parts"),
    [
        ("empty", np.zeros((0, 3), np.float32), "xyz", "empty_cloud", ("no points",)),
        ("no_x", sweep()[:100], "uvw", "bad_cloud_fields", ("no field 'x'", "u, v, w")),
    ],
)
def test_clouds_that_are_none(
    robot: Robot,
    node: NodeProcess,
    name: str,
    points: np.ndarray,
    names: str,
    reason: str,
    parts: tuple[str, ...],
) -> None:
    def shoot(stamp_s: float) -> None:
        robot.publish("/tf", transform(np.eye(4), stamp_s, MAP, name))
        robot.publish(f"/{name}/points", cloud(points, stamp_s, name, names))

    play(robot, lambda: dropped(robot, name, reason) > 3, shoot)
    expect_message(robot, node, name, *parts)


def test_a_topic_under_another_name(robot: Robot, node: NodeProcess) -> None:
    def shoot(stamp_s: float) -> None:
        robot.publish("/velodyne_points", cloud(sweep(), stamp_s, "velodyne"))
        robot.publish("/good/color/camera_info", camera_info(stamp_s, "good_optical"))

    play(robot, lambda: "/lidar/points is silent" in robot.problems(), shoot)
    expect_message(robot, node, "/lidar/points is silent", "/velodyne_points", "remap")


def test_a_bag_that_loops(robot: Robot, node: NodeProcess) -> None:
    camera = Camera(robot, "good")
    play(robot, lambda: robot.counts("good")[1] > 0, lambda stamp_s: camera.shoot(stamp_s, 0.0))
    begun_s = time.time()
    before = taken(robot, "good")
    for i in range(10):
        camera.shoot(begun_s + 0.1 * i, 0.1 * i)
        time.sleep(0.05)
    robot.wait(lambda: taken(robot, "good") >= before + 9, "the first pass is used")
    for _ in range(3):
        before = taken(robot, "good")
        for i in range(10):
            camera.shoot(begun_s - 100.0 + 0.1 * i, 0.1 * i)
            time.sleep(0.05)
        # The shot that shows the jump may be lost with the past.
        robot.wait(lambda before=before: taken(robot, "good") >= before + 8, "the next pass is used")
    expect_message(robot, node, "time jumped back by")


def test_no_camera_info_at_all(robot: Robot, node: NodeProcess) -> None:
    camera = Camera(robot, "uncalibrated")
    play(
        robot,
        lambda: dropped(robot, "uncalibrated", "no_camera_info") > 3,
        lambda stamp_s: camera.shoot(stamp_s, 0.0, info=False),
    )
    expect_message(robot, node, "uncalibrated", "no camera_info has come")
