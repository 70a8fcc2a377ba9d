"""Voxels brought together: means stay means, what is alone stays as it is."""

from __future__ import annotations

import numpy as np
import torch
from golden_map import golden
from scipy.spatial.transform import Rotation

from ws3d_ros.reconstruction.keys import unpack_keys
from ws3d_ros.reconstruction.transplant import grouped, moved


def test_voxels_alone_stay_bit_by_bit() -> None:
    voxel = golden().voxel
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    result = grouped({name: values[shuffled] for name, values in voxel.items()})
    order = voxel["key"].argsort()
    assert all(torch.equal(result[name], values[order]) for name, values in voxel.items())


def test_groups_against_a_plain_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    count = 200
    columns = {
        "key": torch.randint(0, 60, (count,), generator=generator),
        "state": torch.rand(count, 12, generator=generator),
        "feature": torch.rand(count, 3, generator=generator).half(),
        "feature_weight": torch.rand(count, generator=generator),
        "label": torch.arange(count, dtype=torch.int16),
        "confidence": (torch.arange(count) / 256).half(),
    }
    result = grouped(columns)
    arrays = {name: values.double().numpy() for name, values in columns.items()}
    assert np.array_equal(result["key"].numpy(), np.unique(arrays["key"]))
    for row, key in enumerate(result["key"].tolist()):
        own = arrays["key"] == key
        state, weight = arrays["state"][own], arrays["state"][own, 9]
        got = result["state"][row].double().numpy()
        assert np.allclose(got[:6], np.average(state[:, :6], axis=0, weights=weight), atol=1e-6)
        assert np.allclose(got[6:9], np.average(state[:, 6:9], axis=0, weights=state[:, 10]), atol=1e-6)
        assert np.allclose(got[9:], state[:, 9:].sum(0), rtol=1e-6)
        mean = np.average(arrays["feature"][own], axis=0, weights=arrays["feature_weight"][own])
        assert np.allclose(result["feature"][row].double().numpy(), mean, atol=1e-3)  # float16
        heaviest = np.flatnonzero(own)[weight.argmax()]
        assert result["label"][row] == heaviest
        assert result["confidence"][row] == columns["confidence"][heaviest]


def test_moved_voxels_lie_where_the_pose_puts_them() -> None:
    voxel = golden().voxel
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    pose[:3, 3] = (1.0, 2.0, 3.0)
    result = moved(voxel, pose, 0.05)
    assert len(result["key"]) == 60  # quarter turns and whole voxels: nothing meets
    expected = voxel["state"][:, :3].double().numpy() @ pose[:3, :3].T + pose[:3, 3]
    back = result["state"][:, :3].numpy()
    assert np.allclose(np.sort(back, axis=0), np.sort(expected, axis=0), atol=1e-5)
    inside = result["state"][:, :3] / 0.05 - unpack_keys(result["key"])
    assert float((inside - 0.5).abs().max()) < 0.51
    assert torch.allclose(result["state"][:, 3:6], torch.tensor([0.0, 0.0, 1.0]).expand(60, 3), atol=1e-6)


def test_coarser_voxels_keep_evidence_and_centre() -> None:
    voxel = golden().voxel
    result = moved(voxel, np.eye(4), 0.1)
    assert len(result["key"]) < 60
    assert float(result["state"][:, 9].sum()) == float(voxel["state"][:, 9].sum())
    weighted = (result["state"][:, :3] * result["state"][:, 9:10]).sum(0) / result["state"][:, 9].sum()
    assert torch.allclose(weighted, voxel["state"][:, :3].mean(0), atol=1e-5)  # all weights were alike
