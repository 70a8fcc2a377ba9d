"""A room goes in through every transport; the right map comes out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graph import BEST_EFFORT, MAP, Camera, NodeProcess, Robot, cloud, points_of, transform, xyz
from room import PAINT, distance_to_walls_m, sweep

VOXEL_M = 0.05
SHOTS = 12
SENSORS = ("metres", "millimetres", "compressed", "lidar")


@pytest.fixture(scope="module")
def played(robot: Robot, start: Callable[..., NodeProcess]) -> NodeProcess:
    """A node that saw the room with three cameras and a LiDAR."""
    node = start(
        inputs__cameras='["metres", "millimetres", "compressed"]',
        inputs__lidars='["lidar"]',
        map__voxel_size_m=VOXEL_M,
        map__min_weight=0.0,
        output__cloud_rate_hz=5.0,
        output__map_period_s=0.5,
    )
    robot.wait_active()
    cameras = [
        Camera(robot, "metres", "32FC1"),
        Camera(robot, "millimetres", "16UC1", BEST_EFFORT),
        Camera(robot, "compressed", "compressed"),
    ]
    at_lidar = np.eye(4)
    at_lidar[2, 3] = 1.2

    def shoot(yaw_rad: float) -> None:
        stamp_s = time.time()
        for camera in cameras:
            camera.shoot(stamp_s, yaw_rad)
        robot.publish("/tf", transform(at_lidar, stamp_s, MAP, "lidar_link"))
        robot.publish("/lidar/points", cloud(sweep(), stamp_s, "lidar_link"))
        time.sleep(0.2)

    def all_used(count: int) -> bool:
        return all(robot.counts(sensor)[1] >= count for sensor in SENSORS)

    # The first shots make the topics known; the node looks for them every second.
    robot.wait(lambda: (shoot(0.0), all_used(1))[1], "every sensor is used")
    for i in range(SHOTS):
        shoot(2 * np.pi * i / SHOTS)
    # A busy machine leaves some out: the robot turns on until every sensor has as many.
    turns = itertools.count()
    robot.wait(
        lambda: all_used(SHOTS) or shoot(2 * np.pi * next(turns) / SHOTS), "as many shots of each are used"
    )
    return node


def test_clouds_have_the_documented_fields(robot: Robot, played: NodeProcess) -> None:
    for topic in ("semantic_cloud", "semantic_map"):
        message = robot.wait(lambda topic=topic: robot.newest(topic), topic)
        assert [field.name for field in message.fields] == [
            *("x", "y", "z", "rgb", "label", "instance", "confidence", "rgb_camera")
        ]
        assert message.header.frame_id == MAP
        assert (message.height, message.point_step) == (1, 32)
        assert len(message.data) == message.row_step == 32 * message.width


def test_points_lie_on_the_walls(robot: Robot, played: NodeProcess) -> None:
    points = points_of(robot.wait(lambda: complete_map(robot), "a map of the whole room"))
    # Depth is exact to a millimetre; a voxel's mean bends over an edge of the room by up to its size.
    off = distance_to_walls_m(xyz(points))
    assert np.median(off) < 0.002
    assert off.max() < VOXEL_M
    # 4 x 3 x 2.5 m of walls, floor and ceiling seen from the middle: most of 23,600 faces of voxels.
    assert len(points) > 12_000


def complete_map(robot: Robot) -> Any:
    message = robot.newest("semantic_map")
    status = robot.newest("status")
    return message if message and status and message.width == status.voxels > 10_000 else None


def test_points_have_the_colour_of_their_wall(robot: Robot, played: NodeProcess) -> None:
    points = points_of(robot.wait(lambda: complete_map(robot), "a map of the whole room"))
    place = xyz(points)
    bits = points["rgb_camera"]
    seen = bits >> 24 == 255
    assert seen.mean() > 0.5
    rgb = np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], 1).astype(int)
    # The middle of the wall that the camera first looked at, x high.
    wall = seen & (place[:, 0] > 1.97) & (np.abs(place[:, 1]) < 1.0) & (np.abs(place[:, 2] - 1.2) < 0.5)
    assert wall.sum() > 100
    assert np.abs(rgb[wall] - PAINT[3].astype(int)).max() <= 2


def test_without_encoder_everything_is_unknown(robot: Robot, played: NodeProcess) -> None:
    points = points_of(robot.newest("semantic_map"))
    assert not points["label"].any()
    assert not points["instance"].any()
    vocabulary = robot.wait(lambda: robot.newest("vocabulary"), "the vocabulary")
    assert vocabulary.names[0] == "unknown"
    count = len(vocabulary.names)
    assert list(vocabulary.ids) == list(range(count))
    assert len(vocabulary.colors) == len(vocabulary.roles) == len(vocabulary.costs) == count
    assert vocabulary.encoder == ""
    grey = round(vocabulary.colors[0].r * 255)
    assert np.unique(points["rgb"].view(np.uint32)).tolist() == [grey << 16 | grey << 8 | grey]


def test_status_and_diagnostics_tell_how_it_goes(robot: Robot, played: NodeProcess) -> None:
    status = robot.newest("status")
    assert status.state == "active"
    assert status.worker_errors == 0
    stages = {stage.stage: stage for stage in status.stages}
    assert stages["integrate"].count >= len(SENSORS) * SHOTS
    assert 0.0 < stages["integrate"].p50_ms <= stages["integrate"].p95_ms
    assert 0 < status.map_bytes < status.budget_bytes
    assert 0 < status.rss_bytes <= status.peak_rss_bytes
    assert 0.0 < status.latency_p50_ms <= status.latency_p95_ms
    assert {"tf", "mapping", "images", "names", "output"} <= {queue.queue for queue in status.queues}
    for sensor in SENSORS:
        received, used, dropped = robot.counts(sensor)
        assert used >= SHOTS
        assert received >= used + sum(dropped.values())
        # A busy machine may be late, and lose one image of two where nobody asked for reliable ones.
        lost = {"no_color_match", "no_depth_match"} if sensor == "millimetres" else set()
        assert set(dropped) <= {"overload"} | lost
    entries = {entry.name: entry for entry in robot.newest("diagnostics").status}
    assert entries["ws3d: pipeline"].level in (b"\x00", b"\x01")
    assert {value.key: value.value for value in entries["ws3d: lidar"].values}["used"] != "0"


def test_markers_start_with_an_empty_board(robot: Robot, played: NodeProcess) -> None:
    from visualization_msgs.msg import Marker

    first = robot.received["markers"][0]
    assert first.markers[0].action == Marker.DELETEALL


def test_a_late_listener_gets_the_map_and_the_words(robot: Robot, played: NodeProcess) -> None:
    late = Robot()
    try:
        late.wait(lambda: late.newest("semantic_map") and late.newest("vocabulary"), "latched messages")
    finally:
        late.close()


def test_clear_map(robot: Robot, played: NodeProcess) -> None:
    from std_srvs.srv import Trigger

    answer = robot.call(Trigger, "clear_map", Trigger.Request())
    assert answer.success
    robot.wait(lambda: robot.newest("status").voxels == 0, "the map is empty")
    robot.wait(lambda: robot.newest("semantic_map").width == 0, "the empty map is published")
    assert played.process.poll() is None
