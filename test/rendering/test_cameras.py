"""Virtual cameras: in free space, on the side that can be seen, at what is needy."""

from __future__ import annotations

import torch

from ws3d_ros.rendering.cameras import CLEARANCE_M, look_at, need, place_cameras
from ws3d_ros.sensors.frame import Pinhole

CAMERA = Pinhole(width=80, height=60, fx=50.0, fy=50.0, cx=39.5, cy=29.5)


def room() -> tuple[torch.Tensor, torch.Tensor]:
    """A 5 m floor at z = 0 and walls at x = 0 and x = 5 that face inwards, 10 cm voxels."""
    a, b = torch.meshgrid(torch.arange(0.05, 5, 0.1), torch.arange(0.05, 5, 0.1), indexing="ij")
    a, b = a.flatten(), b.flatten()
    zero, low = torch.zeros_like(a), b * 0.5
    points = torch.cat([torch.stack(p, 1) for p in ((a, b, zero), (zero, a, low), (zero + 5, a, low))])
    normals = torch.tensor([[0.0, 0, 1], [1, 0, 0], [-1, 0, 0]]).repeat_interleave(len(a), 0)
    return points, normals


def test_cameras_are_free_and_look_at_the_needy_wall_from_inside() -> None:
    points, normals = room()
    wanted = (points[:, 0] == 5).float()
    poses = place_cameras(points, normals, wanted, 0.1, CAMERA, 3, seed=1)
    assert 1 <= len(poses) <= 3
    for pose in poses:
        eye = pose[:3, 3]
        assert float((points - eye).norm(dim=1).min()) > CLEARANCE_M
        assert float(eye[0]) < 5
        assert float(pose[0, 2]) > 0
        assert 0.3 <= float(eye[2]) <= 1.8
    assert torch.equal(poses, place_cameras(points, normals, wanted, 0.1, CAMERA, 3, seed=1))


def test_nothing_needy_or_nothing_at_all_gives_no_camera() -> None:
    points, normals = room()
    assert len(place_cameras(points, normals, torch.zeros(len(points)), 0.1, CAMERA, 3, 0)) == 0
    assert len(place_cameras(points[:0], normals[:0], torch.zeros(0), 0.1, CAMERA, 3, 0)) == 0


def test_level_camera_has_z_ahead_and_y_down() -> None:
    pose = look_at(torch.tensor([[0.0, 0, 1]]), torch.tensor([[2.0, 0, 1]]))[0, :3, :3]
    assert torch.allclose(pose, torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), atol=1e-6)


def test_evidence_and_confidence_lessen_the_need() -> None:
    wanted = need(torch.tensor([0.0, 3.0, 3.0]), torch.tensor([0.0, 0.0, 1.0]))
    assert wanted.tolist() == [1.0, 0.25, 0.125]
