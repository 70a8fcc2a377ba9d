"""Which engine convolves. A new one is a line in ``ENGINES`` and a choice in ``config.NetworkConfig``."""

from __future__ import annotations

from collections.abc import Callable

from ws3d_ros.network.backends.backend import Backend, BackendError
from ws3d_ros.network.backends.minkowski_backend import MinkowskiBackend
from ws3d_ros.network.backends.spconv_backend import SpconvBackend
from ws3d_ros.network.backends.torch_backend import TorchBackend

ENGINES: dict[str, Callable[[], Backend]] = {
    engine.name: engine for engine in (TorchBackend, MinkowskiBackend, SpconvBackend)
}
"""Libraries are imported when their engine is made, not before."""


def choose_backend(name: str = "torch") -> Backend:
    """The engine of that name, out of ``ENGINES``.

    Raises:
        BackendError: for an unknown name, or where its library is not installed; it says how to get it.
    """
    if name not in ENGINES:
        raise BackendError(f"unknown engine '{name}'; known are {', '.join(ENGINES)}")
    return ENGINES[name]()
