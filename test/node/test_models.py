"""What is loaded and limited when the node is configured."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("rclpy", reason="ROS 2 is not installed (make venv)")
from ws3d_ros.node.models import limit_gpu


@pytest.mark.parametrize(("most_mb", "share"), [(0.0, 1.0), (2000.0, 0.25), (1e6, 1.0)])
def test_torch_takes_no_more_of_the_gpu_than_it_may(
    most_mb: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA itself is replaced; on a real GPU torch raises OutOfMemoryError above that share."""
    said = []
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=8_000_000_000)
    )
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda part, device: said.append((part, device))
    )
    limit_gpu(gpu, most_mb)
    limit_gpu(torch.device("cpu"), most_mb)
    assert said == [(share, gpu)]
