from __future__ import annotations

import pytest
import torch
from sparse_clouds import random_cells
from torch import Tensor

from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.inputs import input_features
from ws3d_ros.network.sparse_tensor import SparseTensor, sparse_tensor
from ws3d_ros.network.student import Spec, Student
from ws3d_ros.network.unet import ARCHITECTURES, Res16UNet

ENGINE = TorchBackend()
BLOCKS = {"Res16UNet14S": 8, "Res16UNet14A": 8, "Res16UNet18A": 16, "Res16UNet34C": 23}
"""Residual blocks of the published networks; 14S has those of 14A."""


def unet(architecture: str = "Res16UNet14S", seed: int = 0) -> Res16UNet:
    """Random weights, and norms that do something."""
    torch.manual_seed(seed)
    network = Res16UNet(ARCHITECTURES[architecture], 3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def cloud(seed: int = 0) -> tuple[Tensor, Tensor]:
    """One cloud in batch 0, negative coordinates too."""
    cells = random_cells(seed, points=1200, reach=24, batches=1)
    return cells, torch.randn(len(cells), 3, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def run(network: Res16UNet, coords: Tensor, features: Tensor) -> Tensor:
    """The answer for each point."""
    x, cell = sparse_tensor(coords, features, ENGINE)
    out: Tensor = network(x).features[cell]
    return out


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_every_architecture_answers_for_every_cell(architecture: str) -> None:
    network = unet(architecture)
    coords, features = cloud()
    x, _ = sparse_tensor(coords, features, ENGINE)
    with torch.no_grad():
        y = network(x)
    assert torch.equal(y.coords, x.coords)
    assert y.stride == 1
    assert y.features.shape == (len(coords), ARCHITECTURES[architecture].channels[7])
    assert network.channels == y.features.shape[1]
    assert y.features.isfinite().all()


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_as_many_blocks_as_published(architecture: str) -> None:
    names = [name for name, _ in unet(architecture).named_modules() if name.endswith(".conv2")]
    assert len(names) == BLOCKS[architecture]


def test_strides_go_down_to_16_and_back() -> None:
    network = unet()
    strides = []

    def note(_: torch.nn.Module, __: tuple[SparseTensor], out: SparseTensor) -> None:
        strides.append(out.stride)
        assert len(out.features) == len(out.coords)
        assert (out.coords[:, 1:] % out.stride == 0).all()

    for stage in range(1, 9):
        network.get_submodule(f"block{stage}").register_forward_hook(note)
    run(network, *cloud())
    assert strides == [2, 4, 8, 16, 8, 4, 2, 1]


def test_names_of_the_published_network() -> None:
    state = unet("Res16UNet18A").state_dict()
    for name, shape in {
        "conv0p1s1.kernel": (125, 3, 32),
        "bn0.bn.running_mean": (32,),
        "conv4p8s2.kernel": (8, 128, 128),
        "block4.1.conv2.kernel": (27, 256, 256),
        "block1.0.norm1.bn.weight": (32,),
        "block2.0.downsample.0.kernel": (32, 64),
        "convtr4p16s2.kernel": (8, 256, 128),
        "bntr7.bn.bias": (96,),
        "convtr7p2s2.kernel": (8, 96, 96),
        "block8.0.conv1.kernel": (27, 128, 96),
        "block8.0.downsample.1.bn.bias": (96,),
    }.items():
        assert tuple(state[name].shape) == shape, name


def test_a_seed_decides_everything() -> None:
    coords, features = cloud()
    assert torch.equal(run(unet(seed=3), coords, features), run(unet(seed=3), coords, features))
    assert not torch.equal(run(unet(seed=3), coords, features), run(unet(seed=4), coords, features))


def test_order_of_points_does_not_matter() -> None:
    network = unet()
    coords, features = cloud()
    order = torch.randperm(len(coords), generator=torch.Generator().manual_seed(1))
    # The cells are sorted first, so even the bits agree.
    assert torch.equal(run(network, coords[order], features[order]), run(network, coords, features)[order])


@pytest.mark.parametrize("shift", [(16, 0, 0), (-48, 160, 16), (-16000, 0, 3200)])
def test_moved_by_whole_coarsest_cells(shift: tuple[int, int, int]) -> None:
    network = unet()
    coords, features = cloud()
    moved = coords + torch.tensor([0, *shift])
    assert torch.equal(run(network, moved, features), run(network, coords, features))


def test_moved_by_less_than_a_coarsest_cell_is_something_else() -> None:
    network = unet()
    coords, features = cloud()
    moved = coords + torch.tensor([0, 8, 0, 0])
    difference = run(network, moved, features) - run(network, coords, features)
    assert difference.abs().max() > 1e-3


def test_two_clouds_at_once_are_two_runs() -> None:
    network = unet()
    (coords_a, features_a), (coords_b, features_b) = cloud(0), cloud(1)
    second = coords_b + torch.tensor([1, 0, 0, 0])
    together = run(network, torch.cat([coords_a, second]), torch.cat([features_a, features_b]))
    alone = torch.cat([run(network, coords_a, features_a), run(network, coords_b, features_b)])
    # float32: blocks of rows are cut elsewhere, so products are summed in another order.
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4 * float(alone.abs().max()))


def test_a_cell_far_away_is_seen_and_one_out_of_reach_is_not() -> None:
    """14S sees some 100 voxels far through stride 16; nothing crosses a gap of 1000."""
    network = unet()
    coords, features = cloud()
    before = run(network, coords, features)
    for far, seen in ((40, True), (1000, False)):
        more = torch.cat([coords, torch.tensor([[0, far, 0, 0]])])
        after = run(network, more, torch.cat([features, 100 * torch.ones(1, 3)]))[:-1]
        changed = float((after - before).abs().max()) > 1e-4 * float(before.abs().max())
        assert changed == seen


def test_gradients_reach_every_weight() -> None:
    network = unet().train()
    x, _ = sparse_tensor(*cloud(), ENGINE)
    network(x).features.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_colour_may_be_missing() -> None:
    """One network for cameras and LiDAR: an unknown colour is a flag, whatever stands beside it."""
    spec = Spec(
        "Res16UNet14S", ("one", "color", "normal"), 0.05, "test", 8, classes=("a", "b"), boundary=True
    )
    torch.manual_seed(0)
    student = Student(spec).eval()
    cells, _ = cloud()
    generator = torch.Generator().manual_seed(0)
    color = torch.rand(len(cells), 3, generator=generator) * 255
    normal = torch.randn(len(cells), 3, generator=generator)
    color[::2] = torch.nan
    half, none = color, torch.full_like(color, torch.nan)

    readings = []
    for seen in (half, none):
        x, _ = sparse_tensor(cells, input_features(spec.inputs, seen, normal), ENGINE)
        with torch.no_grad():
            readings.append(student(x))
    for reading in readings:
        assert reading.embedding.shape == (len(cells), 8)
        assert reading.classes.shape == (len(cells), 2)
        assert reading.boundary.shape == (len(cells), 2)
        assert reading.offset_m is None
        assert reading.embedding.isfinite().all()
    assert not torch.allclose(readings[0].embedding, readings[1].embedding)
