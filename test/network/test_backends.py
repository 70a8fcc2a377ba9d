"""Every engine that is installed against the sum spelled out, on random and on real cells."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sparse_clouds import (
    as_tensor,
    house_sweeps,
    parents,
    plain_convolution,
    plain_pairs,
    points,
    random_cells,
    sample_room,
)
from torch import Tensor
from torch.nn.functional import conv3d, conv_transpose3d

from ws3d_ros.config import settings
from ws3d_ros.network.backends import torch_backend
from ws3d_ros.network.backends.backend import Backend, BackendError
from ws3d_ros.network.backends.choose import ENGINES, choose_backend
from ws3d_ros.network.backends.torch_backend import (
    TorchBackend,
    convolve_im2col,
    convolve_pairs,
)
from ws3d_ros.network.sparse_tensor import sparse_tensor
from ws3d_ros.network.unet import ARCHITECTURES, Res16UNet

KINDS = [(3, False), (5, False), (2, False), (2, True)]
"""Kernel size and whether it is the way back: same cells twice, down, up."""
WAYS: list[Callable[..., Tensor]] = [convolve_pairs, convolve_im2col]
ALONE = "torch alone"
"""The torch engine without CPU kernels of our own."""
TOLERANCE = 1e-4
"""Relative, float32: sums of up to some thousand products in another order."""


def installed(name: str) -> Backend:
    if name == ALONE:
        return TorchBackend(use_native=False)
    try:
        return choose_backend(name)
    except BackendError as missing:
        pytest.skip(str(missing))


@contextmanager
def one_thread() -> Iterator[None]:
    """What spconv needs on a CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[*ENGINES, ALONE])
def engine(request: pytest.FixtureRequest) -> Iterator[Backend]:
    found = installed(request.param)
    with one_thread() if found.name == "spconv" else nullcontext():
        yield found


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference by largest value."""
    assert found.shape == expected.shape
    if expected.numel() == 0:
        return 0.0
    return float((found.double() - expected).abs().max() / expected.abs().max().clamp(min=1e-12))


def ends(cells: Tensor, size: int, stride: int, transposed: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Cells of the map's inputs and outputs, and those where the features are."""
    outputs = parents(cells, 2 * stride) if size == 2 else cells
    return cells, outputs, outputs if transposed else cells


def assert_same_numbers(engine: Backend, cells: Tensor, size: int, transposed: bool, stride: int = 1) -> None:
    """Output and both gradients, float32, against the plain sum in float64."""
    inputs, outputs, here = ends(cells, size, stride, transposed)
    there = inputs if transposed else outputs
    generator = torch.Generator().manual_seed(size)
    features = torch.randn(len(here), 5, generator=generator, requires_grad=True)
    weight = torch.randn(size**3, 5, 7, generator=generator, requires_grad=True)
    grad = torch.randn(len(there), 7, generator=generator)

    kernel_map = engine.kernel_map(inputs, outputs, size, stride)
    found = engine.convolve(features, weight, kernel_map, transposed)
    assert found.dtype == torch.float32
    found_grads = torch.autograd.grad(found, (features, weight), grad)

    exact = (features.detach().double().requires_grad_(), weight.detach().double().requires_grad_())
    pairs = plain_pairs(inputs, outputs, size, stride)
    expected = plain_convolution(*exact, pairs, len(there), transposed)
    expected_grads = torch.autograd.grad(expected, exact, grad.double())
    for mine, true in zip((found, *found_grads), (expected, *expected_grads), strict=True):
        assert relative_error(mine.detach(), true.detach()) <= TOLERANCE


@pytest.mark.parametrize(("size", "transposed"), KINDS)
@pytest.mark.parametrize("stride", [1, 4])
def test_random_cells(engine: Backend, size: int, transposed: bool, stride: int) -> None:
    assert_same_numbers(
        engine, parents(random_cells(size, reach=10 * stride), stride), size, transposed, stride
    )


@pytest.mark.parametrize(("size", "transposed"), KINDS)
@pytest.mark.parametrize("cloud", [sample_room, house_sweeps])
def test_real_cells(engine: Backend, cloud: Callable[[], Tensor], size: int, transposed: bool) -> None:
    assert_same_numbers(engine, cloud(), size, transposed)


@pytest.mark.parametrize("name", [*ENGINES, ALONE])
@given(rows=points, kind=st.sampled_from(KINDS))
def test_whatever_cells(name: str, rows: list[tuple[int, int, int, int]], kind: tuple[int, bool]) -> None:
    with one_thread():
        assert_same_numbers(installed(name), parents(as_tensor(rows), 1), *kind)


@pytest.mark.parametrize(("size", "transposed"), KINDS)
def test_no_cells(engine: Backend, size: int, transposed: bool) -> None:
    assert_same_numbers(engine, as_tensor([]), size, transposed)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_features_keep_their_type(engine: Backend, dtype: torch.dtype) -> None:
    cells = random_cells(5, points=300)
    kernel_map = engine.kernel_map(cells, cells, 3, 1)
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(len(cells), 48, generator=generator)
    weight = torch.randn(27, 48, 16, generator=generator)
    found = engine.convolve(features.to(dtype), weight.to(dtype), kernel_map)
    assert found.dtype == dtype
    expected = plain_convolution(
        features.double(), weight.double(), plain_pairs(cells, cells, 3, 1), len(cells)
    )
    # Eight bits of mantissa: each factor is off by up to 0.4 %, at random.
    assert relative_error(found, expected) < 1e-2


def test_the_unet_and_its_gradients(engine: Backend) -> None:
    """Points share cells, coordinates are negative, two clouds: features and gradients as with torch."""
    generator = torch.Generator().manual_seed(0)
    coords = random_cells(6, points=2500, reach=20, batches=2)
    coords = torch.cat([coords, coords[::3]])[
        torch.randperm(len(coords) + len(coords[::3]), generator=generator)
    ]
    features = torch.randn(len(coords), 4, generator=generator)
    torch.manual_seed(0)
    # In evaluation mode: batch statistics of the few cells of stride 16 would multiply rounding.
    network = Res16UNet(ARCHITECTURES["Res16UNet14S"], 4).eval()
    results = []
    for backend in (engine, installed(ALONE)):
        network.zero_grad()
        x, cell = sparse_tensor(coords, features, backend)
        y = network(x).features[cell]
        (y * torch.sin(torch.arange(y.numel())).view_as(y)).sum().backward()
        results.append((y.detach(), {name: p.grad.clone() for name, p in network.named_parameters()}))
    (found, found_grads), (expected, expected_grads) = results
    assert relative_error(found, expected.double()) <= TOLERANCE
    for name, grad in expected_grads.items():
        assert relative_error(found_grads[name], grad.double()) <= TOLERANCE, name


def to_dense(cells: Tensor, values: Tensor, shape: tuple[int, ...], stride: int) -> Tensor:
    """(B, C, X, Y, Z) with the values in their cells and zeros elsewhere."""
    dense = values.new_zeros(shape[0], *shape[1:], values.shape[1])
    return dense.index_put(at(cells, stride), values).permute(0, 4, 1, 2, 3)


def at(cells: Tensor, stride: int) -> tuple[Tensor, ...]:
    return (cells[:, 0], *(cells[:, 1:] // stride).unbind(1))


@pytest.fixture(params=WAYS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> TorchBackend:
    """The torch engine, held to one way there and back."""
    monkeypatch.setattr(
        torch_backend, "convolve", lambda f, w, kernel_map, *_: request.param(f, w, kernel_map)
    )
    return TorchBackend()


@pytest.mark.parametrize(("size", "transposed"), KINDS)
def test_a_dense_convolution_says_the_same(backend: TorchBackend, size: int, transposed: bool) -> None:
    """Where cells are, a sparse convolution is a dense one over zeros."""
    reach = 8
    cells = random_cells(7, points=1500, reach=reach, batches=2)
    cells[:, 1:] += reach  # a dense grid starts at 0
    inputs, outputs, here = ends(cells, size, 1, transposed)
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(len(here), 3, generator=generator, dtype=torch.float64)
    weight = torch.randn(size**3, 3, 4, generator=generator, dtype=torch.float64)
    found = backend.convolve(features, weight, backend.kernel_map(inputs, outputs, size, 1), transposed)

    cube = weight.view(size, size, size, 3, 4)  # z, y, x, in, out
    edge = 2 * reach
    if transposed:
        grid = to_dense(here, features, (2, edge // 2, edge // 2, edge // 2), 2)
        dense = conv_transpose3d(grid, cube.permute(3, 4, 2, 1, 0), stride=2)
    else:
        grid = to_dense(here, features, (2, edge, edge, edge), 1)
        step = {"stride": 2} if size == 2 else {"padding": size // 2}
        dense = conv3d(grid, cube.permute(4, 3, 2, 1, 0), **step)
    there, stride = (inputs, 1) if transposed else (outputs, 2 if size == 2 else 1)
    expected = dense.permute(0, 2, 3, 4, 1)[at(there, stride)]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)  # float64


@pytest.mark.parametrize(("size", "transposed"), [(3, False), (2, False), (2, True)])
def test_gradients(backend: TorchBackend, size: int, transposed: bool) -> None:
    cells = random_cells(8, points=16, reach=2, batches=2)
    inputs, outputs, here = ends(cells, size, 1, transposed)
    kernel_map = backend.kernel_map(inputs, outputs, size, 1)
    generator = torch.Generator().manual_seed(8)
    features = torch.randn(len(here), 2, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(size**3, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda f, w: backend.convolve(f, w, kernel_map, transposed), (features, weight)
    )


@pytest.mark.parametrize(("size", "transposed"), KINDS)
@pytest.mark.parametrize("channels", [4, 64])
def test_both_ways_agree(size: int, transposed: bool, channels: int) -> None:
    cells = random_cells(9)
    inputs, outputs, here = ends(cells, size, 1, transposed)
    kernel_map = TorchBackend().kernel_map(inputs, outputs, size, 1)
    kernel_map = kernel_map.transposed if transposed else kernel_map
    generator = torch.Generator().manual_seed(9)
    features = torch.randn(len(here), channels, generator=generator)
    weight = torch.randn(size**3, channels, 8, generator=generator)
    pairs, im2col = (way(features, weight, kernel_map) for way in WAYS)
    assert relative_error(im2col, pairs.double()) <= TOLERANCE


def test_the_configuration_offers_every_engine() -> None:
    (setting,) = [setting for setting in settings() if setting.name == "network.backend"]
    assert list(setting.choices) == list(ENGINES)


def test_unknown_engine_names_the_known() -> None:
    with pytest.raises(BackendError, match=r"unknown engine 'cuda'; known are torch, minkowski, spconv"):
        choose_backend("cuda")


@pytest.mark.parametrize(
    ("name", "module", "remedy"),
    [("minkowski", "MinkowskiEngine", "pip wheel"), ("spconv", "spconv.pytorch", "pip install spconv")],
)
def test_missing_engine_says_how_to_get_it(
    name: str, module: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    with pytest.raises(BackendError, match=remedy):
        choose_backend(name)


def test_spconv_refuses_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = installed("spconv")
    cells = random_cells(0, points=10)
    kernel_map = engine.kernel_map(cells, cells, 3, 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(BackendError, match="OMP_NUM_THREADS=1"):
        engine.convolve(torch.zeros(len(cells), 1), torch.zeros(27, 1, 1), kernel_map)


def test_spconv_refuses_too_large_a_box() -> None:
    engine = installed("spconv")
    cells = as_tensor([(0, 0, 0, 0), (0, 3000, 3000, 3000)])
    with pytest.raises(BackendError, match="far points"):
        engine.kernel_map(cells, cells, 3, 1)
