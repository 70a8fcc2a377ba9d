"""Votes against a dictionary."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import torch
from small_world import CAMERA, pose, shot

from ws3d_ros.evaluation.ground_truth import VoxelVotes, look_up
from ws3d_ros.reconstruction.voxel_map import unpack_keys
from ws3d_ros.sensors.frame import Scan

VOXEL_M, FAR_M = 0.2, 2.5
OFF_GRID = np.array([[0, 0, 0, 0.07]] * 3 + [[0] * 4])  # no surface lies on the face of a voxel


def test_majority_agrees_with_a_dictionary() -> None:
    votes = VoxelVotes(VOXEL_M, 0.2, FAR_M)
    expected: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    random = np.random.default_rng(0)
    for x in (0.0, 0.3):
        frame = replace(shot(pose(x)), T_map_camera=pose(x) + OFF_GRID)
        truth = torch.from_numpy(random.integers(0, 5, (CAMERA.height, CAMERA.width)))
        votes.add(frame, truth)
        assert frame.depth_m is not None
        for v in range(0, CAMERA.height, 2):
            for u in range(0, CAMERA.width, 2):
                z = float(frame.depth_m[v, u])
                if not 0.2 <= z <= FAR_M or truth[v, u] == 0:
                    continue
                x_m, y_m = (u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z
                point = frame.T_map_camera @ np.array([x_m, y_m, z, 1.0])
                expected[tuple(np.floor(point[:3] / VOXEL_M).astype(int))][int(truth[v, u])] += 1
    keys, classes = votes.majority()
    assert (keys.diff() > 0).all()
    found = {
        tuple(cell): label for cell, label in zip(unpack_keys(keys).tolist(), classes.tolist(), strict=True)
    }
    assert len(expected) > 100
    assert found.keys() == expected.keys()
    # On a tie the first class.
    assert found == {cell: min(count, key=lambda c: (-count[c], c)) for cell, count in expected.items()}


def test_pixels_without_a_class_or_beyond_the_range_do_not_vote() -> None:
    votes = VoxelVotes(VOXEL_M, 0.2, FAR_M)
    frame = shot(pose())
    votes.add(frame, torch.zeros(CAMERA.height, CAMERA.width, dtype=torch.int64))
    assert len(votes.majority()[0]) == 0
    blind = VoxelVotes(VOXEL_M, 0.2, 0.5)
    blind.add(frame, torch.ones(CAMERA.height, CAMERA.width, dtype=torch.int64))
    assert len(blind.majority()[0]) == 0


def test_look_up() -> None:
    keys, values = torch.tensor([2, 5, 9]), torch.tensor([20, 50, 90])
    assert look_up(keys, torch.tensor([9, 1, 5, 100]), values, -1).tolist() == [90, -1, 50, -1]
    assert look_up(keys[:0], torch.tensor([3]), values[:0], -1).tolist() == [-1]


def test_points_of_a_sweep_vote_within_its_range() -> None:
    where = np.eye(4)
    where[:3, 3] = -0.3, 4.05, 1.05
    points = torch.tensor([[x, 0.0, 0.0] for x in (1.0, 1.01, 1.02, 0.1, 9.0)])
    votes = VoxelVotes(VOXEL_M, 0.2, FAR_M)
    votes.add_scan(Scan(0, points, where), torch.tensor([2, 3, 3, 1, 1]))
    votes.add_scan(Scan(0, points + 0.3, where), torch.zeros(5, dtype=torch.int64))  # of no class
    keys, classes = votes.majority()
    assert unpack_keys(keys).tolist() == [[3, 20, 5]]
    assert classes.tolist() == [3]
