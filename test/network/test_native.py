"""Our CPU kernels against torch, which in turn is tested against numpy."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ws3d_ros.network.backends import native
from ws3d_ros.network.backends.torch_backend import TorchBackend, convolve_pairs, weight_gradient
from ws3d_ros.network.kernel_map import KernelMap, coarsen, down_map, submanifold_map, unique_rows

pytestmark = pytest.mark.skipif(
    native.library() is None, reason="the CPU kernels are not built (make native)"
)

INSTRUCTIONS = range(min(native.AVX512, native.instructions()) + 1)
CHANNELS = (1, 3, 8, 24, 31, 32, 48, 65, 96, 130)
BFLOAT16 = pytest.mark.skipif(
    native.instructions() < native.AVX512_BF16, reason="this CPU does not multiply bfloat16"
)


def cells(rows: int, seed: int, extent: int = 9) -> Tensor:
    """(M, 4) up to ``rows`` cells in two batches, negative ones too."""
    generator = torch.Generator().manual_seed(seed)
    coords = torch.randint(-extent, extent, (rows, 4), generator=generator)
    coords[:, 0] = coords[:, 0] > 0
    return unique_rows(coords)[0]


def maps(rows: int, seed: int) -> list[KernelMap]:
    """Of every kind: neighbours, far neighbours, down, up."""
    fine = cells(rows, seed)
    coarse, _ = coarsen(fine, 2)
    down = down_map(fine, coarse, 1)
    return [submanifold_map(fine, 3, 1), submanifold_map(fine, 5, 1), down, down.transposed]


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_close(ours: Tensor, theirs: Tensor, relative: float) -> None:
    """Within ``relative`` of the largest: sums of many signs have no better scale of their own."""
    scale = float(theirs.abs().amax()) if theirs.numel() else 0.0
    torch.testing.assert_close(ours, theirs, rtol=0, atol=relative * scale + 1e-30)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(0, 1500),
    kind=st.integers(0, 3),
    channels=st.tuples(st.sampled_from(CHANNELS), st.sampled_from(CHANNELS)),
    seed=st.integers(0, 1000),
    instructions=st.sampled_from(INSTRUCTIONS),
)
def test_sums_are_those_of_torch(
    rows: int, kind: int, channels: tuple[int, int], seed: int, instructions: int
) -> None:
    kernel_map = maps(rows, seed)[kind]
    features = values(kernel_map.n_inputs, channels[0])
    weight = values(len(kernel_map.starts) - 1, *channels)
    grad = values(kernel_map.n_outputs, channels[1])
    # float32 sums of up to 125 × 130 products, and of 1,500 pairs, in different orders.
    assert_close(
        native.convolve(features, weight, kernel_map, instructions),
        convolve_pairs(features, weight, kernel_map),
        1e-5,
    )
    assert_close(
        native.weight_gradient(features, grad, kernel_map, instructions),
        weight_gradient(features, grad, kernel_map),
        1e-5,
    )


@BFLOAT16
@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(0, 800),
    kind=st.integers(0, 3),
    channels=st.tuples(st.sampled_from(CHANNELS), st.sampled_from(CHANNELS)),
)
def test_bfloat16_is_rounded_once(rows: int, kind: int, channels: tuple[int, int]) -> None:
    """Products and sums are float32, so only the result is rounded: half a step of 2**-8."""
    kernel_map = maps(rows, 1)[kind]
    features = values(kernel_map.n_inputs, channels[0]).bfloat16()
    weight = values(len(kernel_map.starts) - 1, *channels).bfloat16()
    exact = convolve_pairs(features.double(), weight.double(), kernel_map)
    out = native.convolve(features, weight, kernel_map)
    assert out.dtype == torch.bfloat16
    # Sums near zero keep the error of the float32 sum.
    torch.testing.assert_close(out.double(), exact, rtol=2**-8, atol=1e-4)


@BFLOAT16
def test_gradients_of_bfloat16() -> None:
    """Rounded once, like the sums."""
    kernel_map = maps(700, 3)[0]
    features, grad = values(kernel_map.n_inputs, 10).bfloat16(), values(kernel_map.n_outputs, 20).bfloat16()
    exact = weight_gradient(features.double(), grad.double(), kernel_map)
    ours = native.weight_gradient(features, grad, kernel_map)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.double(), exact, rtol=2**-8, atol=1e-4)


def test_bfloat16_is_left_to_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    half = values(1, 2).bfloat16(), values(1, 2, 2).bfloat16()
    for tiles in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda tiles=tiles: tiles, raising=False)
        ours = native.instructions() == native.AVX512_BF16 and not tiles
        assert native.can_convolve(*half) == ours


def test_bfloat16_pays_where_the_machine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    native.bf16_pays.cache_clear()
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert native.bf16_pays()
    native.bf16_pays.cache_clear()
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(native, "instructions", lambda: native.AVX512)
    assert not native.bf16_pays()
    native.bf16_pays.cache_clear()
    for seconds, pays in (([1.0, 2.0], True), ([1.0, 1.0], False)):
        monkeypatch.setattr(native, "instructions", lambda: native.AVX512_BF16)
        monkeypatch.setattr(native, "convolve", lambda *_, **__: None)
        times = iter(seconds * 8)
        monkeypatch.setattr(native, "_seconds", lambda _, times=times: next(times))
        assert native.bf16_pays() == pays
        native.bf16_pays.cache_clear()


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_do_not_change_a_bit(threads: int) -> None:
    kernel_map = submanifold_map(cells(6000, 0, 14), 3, 1)
    features, weight = values(kernel_map.n_inputs, 40), values(27, 40, 72)
    grad = values(kernel_map.n_outputs, 72)
    for way, other in ((native.convolve, weight), (native.weight_gradient, grad)):
        assert torch.equal(
            way(features, other, kernel_map, threads=threads), way(features, other, kernel_map, threads=1)
        )


@pytest.mark.parametrize("kind", range(4))
def test_gradients_are_those_of_torch(kind: int) -> None:
    """Through autograd, non-contiguous inputs included."""
    kernel_map = maps(700, 3)[kind]
    gradients = []
    for use_native in (True, False):
        features = values(20, kernel_map.n_inputs).T.requires_grad_()
        weight = values(len(kernel_map.starts) - 1, 33, 20).transpose(1, 2).requires_grad_()
        out = TorchBackend(use_native).convolve(features, weight, kernel_map)
        (out * values(*out.shape)).sum().backward()
        assert features.grad is not None
        assert weight.grad is not None
        gradients.append((out.detach(), features.grad, weight.grad))
    for ours, theirs in zip(*gradients, strict=True):
        assert_close(ours, theirs, 1e-5)


def test_a_map_backwards_keeps_its_order() -> None:
    """What the kernels rely on: within an offset the outputs ascend, in both directions."""
    for kernel_map in maps(900, 5):
        for way in (kernel_map, kernel_map.transposed):
            for begin, end in zip(way.starts, way.starts[1:], strict=False):
                assert (way.outputs[begin:end].diff() > 0).all()


@given(
    rows=st.integers(0, 400),
    kernel_size=st.sampled_from([3, 5]),
    stride=st.sampled_from([1, 4]),
    threads=st.sampled_from([1, 2, 5]),
    extent=st.sampled_from([2, 9, 60]),
)
def test_neighbours_are_those_of_torch(
    rows: int, kernel_size: int, stride: int, threads: int, extent: int
) -> None:
    coords = cells(rows, seed=rows, extent=extent)
    coords[:, 1:] *= stride
    ours = native.submanifold_map(coords, kernel_size, stride, threads)
    theirs = submanifold_map(coords, kernel_size, stride)
    assert ours.starts == theirs.starts
    assert torch.equal(ours.inputs, theirs.inputs)
    assert torch.equal(ours.outputs, theirs.outputs)
    assert (ours.identity, ours.n_inputs) == (theirs.identity, theirs.n_inputs)


def test_one_row() -> None:
    kernel_map = submanifold_map(torch.zeros(1, 4, dtype=torch.int64), 3, 1)
    features, weight = values(1, 5), values(27, 5, 7)
    assert_close(native.convolve(features, weight, kernel_map), features @ weight[13], 1e-6)


def test_what_is_not_ours_goes_to_torch() -> None:
    assert not native.can_convolve(values(1, 2).double(), values(1, 2, 2).double())
    assert not native.can_convolve(values(1, 2).half(), values(1, 2, 2).half())
    assert not native.can_convolve(values(1, 2), values(1, 2, 2).double())


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing but the speed changes, and it is said once."""
    kernel_map = submanifold_map(cells(300, 0), 3, 1)
    features, weight = values(kernel_map.n_inputs, 6), values(27, 6, 4)
    with_library = TorchBackend().convolve(features, weight, kernel_map)
    native.library.cache_clear()
    monkeypatch.setattr(native, "LIBRARY", "libnot_there.so")
    caplog.set_level("INFO")
    for _ in range(2):
        assert_close(TorchBackend().convolve(features, weight, kernel_map), with_library, 1e-5)
    assert len(caplog.messages) == 1
    assert "compiler" in caplog.text
    native.library.cache_clear()
