"""Which engine convolves."""

from __future__ import annotations

from ws3d_ros.network.backends.backend import Backend
from ws3d_ros.network.backends.torch_backend import TorchBackend


def choose_backend(name: str = "torch") -> Backend:
    """The engine of a name."""
    return TorchBackend()
