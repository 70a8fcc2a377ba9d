from __future__ import annotations

import pytest
import torch
from sparse_clouds import parents, random_cells
from torch import Tensor

from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.layers import BasicBlock, BatchNorm, Convolution, Rectifier, concatenate
from ws3d_ros.network.sparse_tensor import SparseTensor, sparse_tensor

ENGINE = TorchBackend()


def tensor(channels: int, seed: int = 0) -> SparseTensor:
    cells = random_cells(seed)
    features = torch.randn(len(cells), channels, generator=torch.Generator().manual_seed(seed))
    return sparse_tensor(cells, features, ENGINE)[0]


def test_a_kernel_of_one_is_a_product() -> None:
    x, layer = tensor(3), Convolution(3, 5, 1)
    assert layer.kernel.shape == (3, 5)
    assert torch.equal(layer(x).features, x.features @ layer.kernel)


def test_the_centre_alone_is_a_product() -> None:
    x, layer = tensor(3), Convolution(3, 5, 3)
    with torch.no_grad():
        layer.kernel[torch.arange(27) != 13] = 0
    torch.testing.assert_close(layer(x).features, x.features @ layer.kernel[13])


def test_down_sums_children_and_up_hands_out() -> None:
    x = tensor(1)
    down, up = Convolution(1, 1, 2, "down"), Convolution(1, 1, 2, "up")
    with torch.no_grad():
        down.kernel.fill_(1)
        up.kernel.copy_(torch.arange(8.0).view(8, 1, 1))
    coarse = down(x.replace(torch.ones_like(x.features)))
    assert coarse.stride == 2
    assert torch.equal(coarse.coords, parents(x.coords, 2))
    assert coarse.features.sum() == len(x.coords)

    fine = up(coarse.replace(torch.ones_like(coarse.features)))
    assert fine.stride == 1
    assert torch.equal(fine.coords, x.coords)
    # Which child a cell is: 1 for odd x, 2 for odd y, 4 for odd z.
    child = (x.coords[:, 1:] % 2) @ torch.tensor([1, 2, 4])
    assert torch.equal(fine.features[:, 0], child.float())


def test_bias_is_added_everywhere() -> None:
    x, layer = tensor(2), Convolution(2, 4, 3, bias=True)
    without = layer(x).features
    with torch.no_grad():
        layer.bias.copy_(torch.arange(4.0))
    torch.testing.assert_close(layer(x).features, without + torch.arange(4.0))


@pytest.mark.parametrize(("size", "direction"), [(2, "same"), (3, "down"), (3, "up")])
def test_kernels_that_do_not_fit_the_direction(size: int, direction: str) -> None:
    with pytest.raises(AssertionError, match="odd kernels stay"):
        Convolution(1, 1, size, direction)


def test_norm_is_over_all_cells_of_the_batch() -> None:
    x = tensor(3)
    y = BatchNorm(3)(x.replace(x.features * 5 + 2)).features
    torch.testing.assert_close(y.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(dim=0, unbiased=False), torch.ones(3), atol=1e-4, rtol=0)


def test_a_block_of_zeros_is_its_shortcut() -> None:
    x, block = tensor(4), BasicBlock(4, 4)
    with torch.no_grad():
        block.conv2.kernel.zero_()
    assert block.downsample is None
    torch.testing.assert_close(block(x).features, torch.relu(x.features))
    assert BasicBlock(4, 8)(x).features.shape == (len(x.coords), 8)


def test_new_weights_keep_the_scale_of_features() -> None:
    """He's rule with a third of a kernel filled: neither faints nor explodes on a surface."""
    torch.manual_seed(0)
    plane = torch.cartesian_prod(torch.zeros(1, dtype=torch.int64), *[torch.arange(40)] * 2, torch.arange(1))
    x, _ = sparse_tensor(plane, torch.randn(len(plane), 64), ENGINE)
    for _ in range(10):
        x = Rectifier()(Convolution(64, 64)(x))
    assert 0.1 < float(x.features.detach().square().mean().sqrt()) < 10


def test_autocast_computes_in_its_precision() -> None:
    x, layer = tensor(8), Convolution(8, 8, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x).features
    assert y.dtype == torch.bfloat16
    expected: Tensor = layer(x).features.detach()
    # Eight bits of mantissa.
    assert float((y.detach().float() - expected).abs().max()) < 2e-2 * float(expected.abs().max())
    y.float().sum().backward()
    assert layer.kernel.grad is not None
    assert layer.kernel.grad.dtype == torch.float32


def test_concatenate_keeps_cells() -> None:
    a, b = tensor(2), tensor(3)
    joined = concatenate(a, b)
    assert torch.equal(joined.features, torch.cat([a.features, b.features], dim=1))
    assert joined.pyramid is a.pyramid
