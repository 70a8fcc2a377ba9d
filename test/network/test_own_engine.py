"""The engine that docs/network.md shows how to write does what the document promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ws3d_ros.network.backends.backend import Backend
from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.sparse_tensor import sparse_tensor
from ws3d_ros.network.unet import ARCHITECTURES, Res16UNet

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "network.md"


def documented_engine() -> Backend:
    """The class of the only Python in the document."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    engine: Backend = names["SparseMatrices"]()
    return engine


def read(engine: Backend, network: Res16UNet, coords: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Features of the network, and the gradient of its first kernel."""
    network.zero_grad()
    x, _ = sparse_tensor(coords, inputs, engine)
    features = network(x).features
    features.square().mean().backward()
    gradient = network.conv0p1s1.kernel.grad
    assert gradient is not None
    return features.detach(), gradient.clone()


def test_the_engine_of_the_document_reads_and_learns_as_torch_does() -> None:
    torch.manual_seed(0)
    coords = torch.cat([torch.randint(0, 2, (300, 1)), torch.randint(-9, 9, (300, 3))], dim=1)
    inputs = torch.randn(300, 4)
    # Norms at rest: over the few cells of stride 16, batch statistics would magnify rounding.
    network = Res16UNet(ARCHITECTURES["Res16UNet14S"], 4).eval()
    features, gradient = read(documented_engine(), network, coords, inputs)
    expected, expected_gradient = read(TorchBackend(), network, coords, inputs)
    # The project's bound between engines, relative, in float32; sums differ in order only.
    assert (features - expected).norm() < 1e-4 * expected.norm()
    assert (gradient - expected_gradient).norm() < 1e-4 * expected_gradient.norm()
