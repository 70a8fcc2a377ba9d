"""One training example out of a seed: a flat, seen by a camera or a LiDAR, mapped as our map would be.

The views are those of a real sensor, with its errors, and they are fused by the same ``VoxelMap`` that
runs on the robot, so that positions, colours and normals of an example err as those of a map do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.config import InputConfig, MapConfig
from ws3d_ros.evaluation.ground_truth import look_up
from ws3d_ros.reconstruction.keys import pack_keys, unpack_keys
from ws3d_ros.reconstruction.voxel_map import VoxelMap
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.camera import back_project
from ws3d_ros.sensors.frame import Frame, Pinhole, Scan
from ws3d_ros.training.batch import majority
from ws3d_ros.training.datasets.labelled_cloud import NONE, LabelledCloud
from ws3d_ros.training.scenes.flats import make_flat
from ws3d_ros.training.scenes.looks import camera_poses, lidar_poses
from ws3d_ros.training.scenes.names import NAMES, name_of
from ws3d_ros.training.scenes.points import PointViewer
from ws3d_ros.training.scenes.scene import Scene
from ws3d_ros.training.scenes.sensing import (
    DISPARITY_SIGMA_PX,
    DISPARITY_STEP_PX,
    DepthErrors,
    depth_camera,
    lidar_sweep,
)
from ws3d_ros.training.scenes.view import Viewer

SENSORS = ("rgbd", "lidar")
WIDTH, HEIGHT = 240, 180
_FACE = Pinhole(320, 464, 160.0, 160.0, 159.5, 231.5)
"""A quarter of a LiDAR's turn: 45 degrees up and down at its sides."""
_LIDARS = ((16, (-15.0, 15.0)), (32, (-30.0, 10.0)), (64, (-22.5, 22.5)), (128, (-45.0, 45.0)))
"""Rings and elevations, as of the VLP-16, the HDL-32E, the OS1-64 and the OS0-128."""


@dataclass(frozen=True)
class Options:
    """What examples are like.

    Attributes:
        sensor: "rgbd", "lidar", or "any": one in five is of a LiDAR.
        voxel_size_m: edge of a voxel.
        aligned: share of examples whose walls run along the grid.
    """

    sensor: str = "any"
    voxel_size_m: float = 0.05
    aligned: float = 0.4


USUAL = Options()


@dataclass(frozen=True)
class Example:
    """N voxels of a scene of I things.

    Attributes:
        seed: that it was made from.
        coords: (N, 3) int32 voxel coordinates, unique.
        points_m: (N, 3) float32 mean of what was seen in each voxel, map frame.
        color: (N, 3) uint8 RGB, or None from a LiDAR.
        normal: (N, 3) float32 towards the sensor, 0 where unknown.
        name: (N,) int64 index into ``names.NAMES``; -1 where nobody knows.
        instance: (N,) int64 index of the thing; -1 where name is.
        parent: (I,) int64 the thing that a thing is part of or belongs to, -1 for none.
    """

    seed: int
    coords: np.ndarray
    points_m: np.ndarray
    color: np.ndarray | None
    normal: np.ndarray
    name: np.ndarray
    instance: np.ndarray
    parent: np.ndarray

    def __len__(self) -> int:
        return len(self.coords)

    def labelled_cloud(self) -> LabelledCloud:
        """What training takes."""
        return LabelledCloud(
            f"scene{self.seed}", self.points_m, self.color, self.normal, self.name, self.instance, NAMES
        )


def make_example(seed: int, options: Options = USUAL) -> Example:
    """The same for the same seed and options, byte for byte on the same libraries.

    Raises:
        FurnitureMissingError: if there are no furniture catalogues.
        ValueError: for an unknown sensor.
    """
    if options.sensor not in (*SENSORS, "any"):
        raise ValueError(f"sensor must be any, {' or '.join(SENSORS)}, not '{options.sensor}'")
    rng = np.random.default_rng([seed, 3])
    drawn = str(rng.choice(SENSORS, p=[0.8, 0.2]))
    sensor = drawn if options.sensor == "any" else options.sensor
    scene = make_flat(seed)
    viewer = PointViewer(scene, rng)
    T_map_scene = _placed(rng, options.aligned)
    votes = _Votes(options.voxel_size_m)
    see = _see_by_camera if sensor == "rgbd" else _see_by_lidar
    window = see(scene, viewer, T_map_scene, votes, rng)
    return _example(seed, scene, window, votes)


class _Votes:
    """Which things the points of each voxel are of."""

    def __init__(self, voxel_size_m: float) -> None:
        self.voxel_size_m = voxel_size_m
        self._keys: list[Tensor] = []
        self._instances: list[Tensor] = []

    def add(self, points_m: Tensor, T_map_sensor: np.ndarray, instance: np.ndarray) -> None:
        """(N, 3) points in the sensor's frame, and the (N,) numbers of their things, 0 for none."""
        pose = torch.from_numpy(T_map_sensor)
        cells = ((points_m.double() @ pose[:3, :3].T + pose[:3, 3]) / self.voxel_size_m).floor().long()
        self._keys.append(pack_keys(cells))
        self._instances.append(torch.from_numpy(instance.astype(np.int64)))

    def winners(self, keys: Tensor) -> Tensor:
        """(N,) int64 index of the thing with most points in each of the voxels, ascending; -1 for none."""
        voted, cell = torch.cat(self._keys).unique(return_inverse=True)
        most = majority(torch.cat(self._instances) - 1, cell, len(voted))
        return look_up(voted, keys, most, NONE)


def _placed(rng: np.random.Generator, aligned: float) -> np.ndarray:
    """(4, 4) where a scene is in its map: maps start anywhere, at any height, along a wall or not."""
    yaw = rng.integers(4) * np.pi / 2 if rng.random() < aligned else rng.uniform(0.0, 2.0 * np.pi)
    T = np.eye(4)
    T[:2, :2] = np.round([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]], 12)
    T[:3, 3] = [*rng.uniform(-5.0, 5.0, 2), rng.uniform(-1.5, 0.3)]
    return T


def _see_by_camera(
    scene: Scene, viewer: Viewer, T_map_scene: np.ndarray, votes: _Votes, rng: np.random.Generator
) -> Window:
    """The map of a depth camera of some make: another lens, other errors, other colours each time."""
    focal = WIDTH * rng.uniform(0.7, 1.0)
    camera = Pinhole(WIDTH, HEIGHT, focal, focal, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    errors = _depth_errors(focal, rng)
    bright, tint = rng.uniform(80.0, 165.0), rng.uniform(0.9, 1.1, 3)
    gain = np.ones(3)
    voxels = _map(votes.voxel_size_m, max_depth_m=errors.max_m)
    for stamp, pose in enumerate(camera_poses(scene, rng), start=1):
        view = viewer.view(camera, pose)
        if stamp == 1:  # cameras choose their exposure
            gain = tint * np.clip(bright / max(float(view.color.mean()), 1.0), 0.5, 2.5)
        depth_m = depth_camera(view, camera, rng, errors).astype(np.float32) / 1000.0
        exposed = view.color * (gain * rng.normal(1.0, 0.04)) + rng.normal(0.0, 4.0, view.color.shape)
        color = torch.from_numpy(exposed.clip(0, 255).astype(np.uint8))
        frame = Frame(stamp, camera, T_map_scene @ pose, color, torch.from_numpy(depth_m))
        voxels.integrate(frame)
        valid = depth_m > 0
        points_m = back_project(torch.from_numpy(depth_m), camera)[torch.from_numpy(valid)]
        votes.add(points_m, frame.T_map_camera, view.instance[valid])
    return voxels.everything()


def _depth_errors(focal_px: float, rng: np.random.Generator) -> DepthErrors:
    """Between a clean time-of-flight camera and a poor Kinect."""
    worse = rng.uniform(0.0, 1.5)
    of_640 = focal_px / 575.0  # the figures are those of a Kinect's image of 640 columns
    return DepthErrors(
        max_m=rng.uniform(4.0, 8.0),
        sigma_px=worse * 2.0 * DISPARITY_SIGMA_PX * of_640,
        step_px=max(worse, 0.05) * DISPARITY_STEP_PX * of_640,
        steepest_deg=rng.uniform(70.0, 88.0),
        dark=rng.uniform(0.0, 45.0),
    )


def _see_by_lidar(
    scene: Scene, viewer: Viewer, T_map_scene: np.ndarray, votes: _Votes, rng: np.random.Generator
) -> Window:
    """The map of a LiDAR with 16 to 128 rings."""
    rings, elevation_deg = _LIDARS[rng.integers(len(_LIDARS))]
    voxels = _map(votes.voxel_size_m, min_range_m=0.3)
    for stamp, pose in enumerate(lidar_poses(scene, rng), start=1):
        sweep = lidar_sweep(viewer, pose, rng, rings, 1024, elevation_deg, _FACE)
        scan = Scan(stamp, torch.from_numpy(sweep.points_m), T_map_scene @ pose)
        voxels.integrate(scan)
        votes.add(scan.points_m, scan.T_map_lidar, sweep.instance)
    return voxels.everything()


def _map(voxel_size_m: float, **limits: float) -> VoxelMap:
    return VoxelMap(MapConfig(voxel_size_m=voxel_size_m, min_weight=0.0), InputConfig(**limits))  # type: ignore[arg-type]


def _example(seed: int, scene: Scene, window: Window, votes: _Votes) -> Example:
    """What the map holds, and what each voxel is truly of."""
    instance = votes.winners(window.keys).numpy()
    name_of_thing = np.array([NAMES.index(name_of(thing)) for thing in scene.things])
    number = {id(thing): index for index, thing in enumerate(scene.things)}
    colorless = bool(window.color.isnan().any())
    return Example(
        seed=seed,
        coords=unpack_keys(window.keys).int().numpy(),
        points_m=window.points_m.numpy(),
        color=None if colorless else window.color.round().clamp(0, 255).byte().numpy(),
        normal=window.normal.numpy(),
        name=np.where(instance < 0, NONE, name_of_thing[instance]),
        instance=instance,
        parent=np.array([number.get(id(thing.part_of), NONE) for thing in scene.things]),
    )
