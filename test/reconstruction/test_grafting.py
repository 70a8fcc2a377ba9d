"""The map follows a correction: voxels go where the bent way puts them, and meet others there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from box_world import depth_frame, look
from scipy.spatial.transform import Rotation

from ws3d_ros.config import from_mapping
from ws3d_ros.reconstruction.grafting import Moved
from ws3d_ros.reconstruction.keys import pack_keys, unpack_keys
from ws3d_ros.reconstruction.transplant import grouped
from ws3d_ros.reconstruction.voxel_map import VoxelMap
from ws3d_ros.reconstruction.window import Patch
from ws3d_ros.sensors.frame import Frame

CONFIG = from_mapping({"map.carving": False})
EDGE_M = CONFIG.map.voxel_size_m
HERE = np.zeros(3)


def new_map() -> VoxelMap:
    return VoxelMap(CONFIG.map, CONFIG.inputs, 3)


def view(x: float, yaw: float = 0.0, stamp_ns: int = 1) -> Frame:
    target = (x + np.cos(yaw), np.sin(yaw), 1.1)
    return depth_frame(look((x, 0.0, 1.2), target), stamp_ns=stamp_ns)


def motion(x: float, y: float, yaw_deg: float) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    T[:3, 3] = (x, y, 0.0)
    return T


def test_a_robot_that_stood_takes_all_of_it_along() -> None:
    """Each voxel to the cell of its moved middle; where some meet, ``grouped``, which has its own oracle."""
    voxel_map = new_map()
    voxel_map.integrate(view(0.0))
    window = voxel_map.everything()
    generator = torch.Generator().manual_seed(0)
    voxel_map.apply(
        Patch(
            window.keys,
            torch.rand(len(window), 3, generator=generator),
            torch.rand(len(window), generator=generator),
            label=torch.randint(0, 9, (len(window),), generator=generator),
            instance=torch.randint(0, 9, (len(window),), generator=generator),
        )
    )
    before = voxel_map.columns()
    T = motion(0.3, -0.2, 25.0)
    result = voxel_map.follow(T, HERE)
    middle = (unpack_keys(before["key"]).double().numpy() + 0.5) * EDGE_M
    cell = np.floor((middle @ T[:3, :3].T + T[:3, 3]) / EDGE_M)
    state = before["state"].clone()
    point = state[:, :3].double().numpy() @ T[:3, :3].T + T[:3, 3]
    state[:, :3] = torch.from_numpy(np.clip(point, (cell + 0.001) * EDGE_M, (cell + 0.999) * EDGE_M))
    state[:, 3:6] = torch.from_numpy(state[:, 3:6].double().numpy() @ T[:3, :3].T)
    expected = new_map()
    expected.restore(grouped({**before, "state": state, "key": pack_keys(torch.from_numpy(cell))}), HERE)
    after = voxel_map.everything()
    theirs = expected.everything()
    for name in ("keys", "points_m", "weight", "feature", "feature_weight", "label", "instance"):
        ours = getattr(after, name)
        assert torch.allclose(ours.double(), getattr(theirs, name).double(), atol=1e-6), name
    assert voxel_map.moves == result.number == after.moves == 1
    assert torch.isin(result.after, voxel_map.columns()["key"]).all()
    assert torch.equal(result.renamed(before["key"]).unique(), voxel_map.columns()["key"].sort().values)


def test_what_was_there_before_the_last_correction_stays() -> None:
    voxel_map = new_map()
    voxel_map.integrate(view(0.0))
    assert len(voxel_map.follow(np.eye(4), HERE)) == 0
    before = voxel_map.everything()
    voxel_map.integrate(view(0.0, yaw=np.pi, stamp_ns=2))
    voxel_map.follow(motion(-0.5, 0.0, 0.0), HERE)
    after = voxel_map.everything()
    assert torch.isin(before.keys, after.keys).all()
    behind = after.points_m[:, 0] < -1.0
    # The wall behind is at x = -3.02; half a metre away from it now. Depth is exact here.
    assert float(after.points_m[behind, 0].min()) < -3.5
    assert torch.isclose(after.points_m[~behind, 0].max(), before.points_m[:, 0].max())


def test_voxels_of_a_file_stay() -> None:
    source = new_map()
    source.integrate(view(0.0))
    voxel_map = new_map()
    voxel_map.restore(source.columns(), HERE)
    voxel_map.integrate(view(0.0, yaw=np.pi, stamp_ns=2))
    voxel_map.follow(motion(-0.5, 0.0, 0.0), HERE)
    assert torch.isin(source.everything().keys, voxel_map.everything().keys).all()


def test_where_moved_voxels_meet_others_evidence_adds_up() -> None:
    """One view, twice, a correction of whole voxels apart: the map is then as if seen twice there."""
    voxel_map, twice = new_map(), new_map()
    shift = motion(0.4, 0.0, 0.0)
    frame = view(0.0)
    voxel_map.integrate(frame)
    voxel_map.follow(np.eye(4), HERE)
    alone = len(voxel_map)
    again = view(0.0, stamp_ns=2)
    voxel_map.integrate(replace(again, T_map_camera=np.linalg.inv(shift) @ again.T_map_camera))
    assert len(voxel_map) > 1.3 * alone
    voxel_map.follow(shift, HERE)
    twice.integrate(frame)
    twice.integrate(again)
    a, b = voxel_map.everything(), twice.everything()
    # Sums in another order: rounding moves single points that lie on the faces of voxels.
    assert abs(len(a) - len(b)) <= 0.02 * len(b)
    assert torch.isclose(a.weight.sum(), b.weight.sum(), rtol=1e-3)
    both = torch.isin(a.keys, b.keys)
    assert both.float().mean() > 0.98


def test_between_the_ends_voxels_move_by_their_share() -> None:
    voxel_map = new_map()
    for index in range(21):
        voxel_map.integrate(view(-2.0 + 0.2 * index, yaw=np.pi / 2, stamp_ns=index + 1))
    wall = voxel_map.everything().points_m
    wall = wall[wall[:, 1] > 2.4]
    voxel_map.follow(motion(0.0, 0.4, 0.0), HERE)
    bent = voxel_map.everything().points_m
    bent = bent[bent[:, 1] > 2.4]
    for x in (-2.0, -1.0, 0.0, 1.0, 2.0):
        before, after = (float(w[(w[:, 0] - x).abs() < 0.1, 1].median()) for w in (wall, bent))
        # Seen on the way from x - 1.5 to x + 1.5; at its ends from one side only, 0.75 m off in the mean.
        assert abs(after - before - 0.4 * (x + 2.0) / 4.0) < 0.4 * 0.75 / 4.0, x


def test_keys_of_before_are_renamed_and_others_left() -> None:
    some = Moved(torch.tensor([3, 5, 9]), torch.tensor([4, 4, 1]), 1)
    assert some.renamed(torch.tensor([9, 2, 3, 5, 100])).tolist() == [1, 2, 4, 4, 100]
    none = Moved(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 1)
    assert none.renamed(torch.tensor([9, 2])).tolist() == [9, 2]


def test_a_correction_of_an_empty_map_is_nothing() -> None:
    voxel_map = new_map()
    assert len(voxel_map.follow(motion(1.0, 0.0, 0.0), HERE)) == 0
    voxel_map.integrate(view(0.0))
    assert unpack_keys(voxel_map.everything().keys).shape[1] == 3
