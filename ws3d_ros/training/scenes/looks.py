"""Where sensors are while an example is made: some places in the rooms, and where they look from there."""

from __future__ import annotations

import numpy as np

from ws3d_ros.training.scenes.scene import Room, Scene
from ws3d_ros.training.scenes.trajectory import camera_pose

_CLEAR_M = 0.3
_FROM_WALL_M = 0.3
_TRIES = 40


def camera_poses(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    """(4, 4) poses of a camera's optical frame: a robot that turns on the spot, or a hand that sweeps.

    Between a single look into one room and views from many places: examples are partial as maps are.
    """
    robot = rng.random() < 0.4
    height_m = rng.uniform(0.3, 1.4)
    pitch = rng.uniform(-0.25, 0.15) if robot else rng.uniform(-0.6, 0.05)
    places = int(rng.choice([1, 2, 3, 4], p=[0.15, 0.25, 0.35, 0.25]))
    looks = int(rng.integers(2, 8))
    poses = []
    for room in scene.rooms:
        for _ in range(places):
            eye = place(scene, room, rng, height_m if robot else rng.uniform(0.9, 1.8))
            start = np.arctan2(*(room.centre_m - eye[:2])[::-1])
            for turn in range(looks):
                yaw = start + (turn - (looks - 1) / 2) * 0.8 + rng.normal(0.0, 0.15)
                tilt = 0.02 if robot else 0.2
                poses.append(camera_pose(eye, yaw, pitch + rng.normal(0.0, tilt), rng.normal(0.0, tilt / 6)))
                if not robot:
                    eye = eye + rng.normal(0.0, 0.05, 3)
    return poses


def lidar_poses(scene: Scene, rng: np.random.Generator) -> list[np.ndarray]:
    """(4, 4) poses of a LiDAR (x forward, z up), a few in each room."""
    height_m = rng.uniform(0.25, 1.5)
    poses = []
    for room in scene.rooms:
        for _ in range(rng.integers(1, 5)):
            yaw = rng.uniform(0.0, 2.0 * np.pi)
            pose = np.eye(4)
            pose[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
            pose[:3, 3] = place(scene, room, rng, height_m)
            poses.append(pose)
    return poses


def place(scene: Scene, room: Room, rng: np.random.Generator, height_m: float) -> np.ndarray:
    """(3,) a place in a room, outside of all that stands there; the roomiest of some where it is full."""
    boxes = np.array(
        [thing.mesh.bounds for thing in scene.things if thing.word not in ("wall", "floor", "ceiling")]
    ).reshape(-1, 2, 3)
    low, high = np.add(room.low_m, _FROM_WALL_M), np.subtract(room.high_m, _FROM_WALL_M)
    tried = np.column_stack([rng.uniform(low, high, (_TRIES, 2)), np.full(_TRIES, height_m)])
    outside_m = np.maximum(boxes[:, 0] - tried[:, None], tried[:, None] - boxes[:, 1]).max(2)
    clear_m = outside_m.min(1, initial=np.inf)
    free = np.flatnonzero(clear_m > _CLEAR_M)
    best: np.ndarray = tried[free[0] if len(free) else int(np.argmax(clear_m))]
    return best
