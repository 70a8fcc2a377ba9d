"""Where cameras are: a robot's walk through a flat, and single random looks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter1d
from skimage.graph import route_through_array

from ws3d_ros.training.scenes.scene import Room, Scene

CELL_M = 0.05
ROBOT_RADIUS_M = 0.22
ROBOT_HEIGHT_M = 1.4
_STEP_OVER_M = 0.04


@dataclass(frozen=True)
class Walk:
    """Where the robot is. All arrays have one row for each stamp.

    Attributes:
        stamp_ns: (N,) int64, ascending.
        position_m: (N, 2) float64 in the map frame.
        yaw: (N,) float64 radians, unwrapped.
    """

    stamp_ns: np.ndarray
    position_m: np.ndarray
    yaw: np.ndarray

    def pose(self, stamp_ns: int) -> np.ndarray:
        """(4, 4) T_map_base at a stamp, interpolated."""
        x, y, yaw = (
            float(np.interp(stamp_ns, self.stamp_ns, values))
            for values in (self.position_m[:, 0], self.position_m[:, 1], self.yaw)
        )
        T = np.eye(4)
        T[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
        T[:2, 3] = x, y
        return T


def walk(scene: Scene, seed: int, start_ns: int, duration_s: float, rate_hz: float) -> Walk:
    """A smooth walk that visits every room and looks around on its way.

    Raises:
        ValueError: if furniture leaves no way between the places to visit; take another seed.
    """
    rng = np.random.default_rng([seed, 1])
    free, origin = free_space(scene)
    clearance_m = distance_transform_edt(free) * CELL_M
    cost = np.where(clearance_m > ROBOT_RADIUS_M, 1.0 + 0.3 / np.maximum(clearance_m, 0.05), -1.0)
    stops = [stop for room in scene.rooms for stop in _stops(room, clearance_m, origin)]
    line: list[tuple[int, int]] = []
    for here, there in pairwise(stops):
        route, total = route_through_array(cost, here, there)
        if not np.isfinite(total):
            raise ValueError(f"no way from {here} to {there} in this flat: try another seed")
        line += route
    points = origin + (np.array(line) + 0.5) * CELL_M
    count = round(duration_s * rate_hz) + 1
    points = _evenly(gaussian_filter1d(points, 5.0, axis=0, mode="nearest"), count)
    points = gaussian_filter1d(points, rate_hz * 0.4, axis=0, mode="nearest")
    t = np.linspace(0, duration_s, count)
    swing = np.radians(35) * np.sin(2 * np.pi * t / 6.0 + rng.uniform(0, 2 * np.pi))
    gaze = _gaze(scene, points)
    # Smoothed as an angle: where the gaze turns round within a step, the robot takes its time.
    yaw = (
        gaussian_filter1d(np.unwrap(np.arctan2(gaze[:, 1], gaze[:, 0])), rate_hz * 1.0, mode="nearest")
        + swing
    )
    return Walk(start_ns + np.round(t * 1e9).astype(np.int64), points, yaw)


def free_space(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """(X, Y) bool grid of where nothing as low as the robot stands, and the (2,) corner of cell 0, 0."""
    low = np.min([room.low_m for room in scene.rooms], axis=0) - 0.5
    high = np.max([room.high_m for room in scene.rooms], axis=0) + 0.5
    blocked = np.zeros(np.ceil((high - low) / CELL_M).astype(int) + 1, bool)
    for thing in scene.things:
        corners = thing.mesh.position_m.reshape(-1, 3, 3)
        bottom, top = corners[..., 2].min(1), corners[..., 2].max(1)
        corners = corners[(bottom < ROBOT_HEIGHT_M) & (top > _STEP_OVER_M)]
        first = ((corners[..., :2].min(1) - low) / CELL_M).astype(int)
        last = ((corners[..., :2].max(1) - low) / CELL_M).astype(int)
        for (x0, y0), (x1, y1) in np.unique(np.stack([first, last], 1), axis=0):
            blocked[x0 : x1 + 1, y0 : y1 + 1] = True
    inside = np.zeros_like(blocked)
    for room in scene.rooms:
        x0, y0 = ((np.asarray(room.low_m) - low) / CELL_M).astype(int)
        x1, y1 = ((np.asarray(room.high_m) - low) / CELL_M).astype(int)
        inside[x0 : x1 + 5, y0:y1] = True  # five cells: through the wall to the next room
    return inside & ~blocked, low


def random_pose(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """(4, 4) pose of a camera somewhere in the flat, outside of all furniture, roughly level."""
    room = scene.rooms[rng.integers(len(scene.rooms))]
    boxes = np.array(
        [thing.mesh.bounds for thing in scene.things if thing.word not in ("wall", "floor", "ceiling")]
    )
    margin = 0.2
    for _ in range(100):
        eye = np.array(
            [*rng.uniform(np.add(room.low_m, 0.25), np.subtract(room.high_m, 0.25)), rng.uniform(0.5, 1.8)]
        )
        if not ((eye > boxes[:, 0] - margin) & (eye < boxes[:, 1] + margin)).all(1).any():
            break
    to_centre = np.arctan2(*(room.centre_m - eye[:2])[::-1])
    return camera_pose(eye, to_centre + rng.normal(0, 0.9), rng.normal(-0.22, 0.2), rng.normal(0, 0.03))


def camera_pose(eye_m: np.ndarray, yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """(4, 4) pose of an optical frame that looks along a yaw, upwards by ``pitch``, radians."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    T = np.eye(4)
    T[:3, 0] = np.cos(roll) * right + np.sin(roll) * down
    T[:3, 1] = np.cos(roll) * down - np.sin(roll) * right
    T[:3, 2] = forward
    T[:3, 3] = eye_m
    return T


def _stops(room: Room, clearance_m: np.ndarray, origin: np.ndarray) -> list[tuple[int, int]]:
    """Roomy cells near the four corners of a room, in the order of a walk around it, west first."""
    cells = np.argwhere(clearance_m > ROBOT_RADIUS_M + 0.05)
    places = origin + (cells + 0.5) * CELL_M
    inside = ((places > room.low_m) & (places < room.high_m)).all(1)
    cells, places = cells[inside], places[inside]
    if not len(cells):
        raise ValueError(f"no free floor in the {room.kind}: try another seed")
    corners = np.array([[0.15, 0.3], [0.15, 0.7], [0.85, 0.7], [0.85, 0.3]])
    targets = np.asarray(room.low_m) + corners * room.size_m
    nearest = [int(np.argmin(((places - target) ** 2).sum(1))) for target in targets]
    return [(int(cells[index][0]), int(cells[index][1])) for index in nearest]


def _gaze(scene: Scene, points: np.ndarray) -> np.ndarray:
    """(N, 2) where to look from each point: half ahead, half to the middle of the room."""
    ahead = np.gradient(points, axis=0)
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    centres = np.array([room.centre_m for room in scene.rooms])
    room_of = np.sum(points[:, :1] > np.array([room.high_m[0] for room in scene.rooms[:-1]]), axis=1)
    return ahead + 0.9 * (centres[room_of] - points)


def _evenly(points: np.ndarray, count: int) -> np.ndarray:
    """``count`` points at equal distances along a line, slow at both ends."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = (1 - np.cos(np.pi * np.linspace(0, 1, count))) / 2 * 0.3 + np.linspace(0, 1, count) * 0.7
    return np.stack([np.interp(at * along[-1], along, column) for column in points.T], 1)
