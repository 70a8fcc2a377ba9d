"""What /diagnostics says of memory."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("ws3d_ros.msg")

from ws3d_ros.msg import PipelineStatus

from ws3d_ros.node.status import diagnostics_message


def said() -> dict[str, str]:
    [entry] = diagnostics_message("ws3d", PipelineStatus(rss_bytes=2_000_000)).status
    return {pair.key: pair.value for pair in entry.values}


def test_gpu_memory_is_told_as_torch_measures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 1_500_000_000)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 2_250_000_000)
    assert said().items() >= {"rss_mb": "2.0", "gpu_mb": "1500.0", "gpu_peak_mb": "2250.0"}.items()


def test_nothing_is_told_of_a_gpu_that_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert "rss_mb" in said()
    assert not any(key.startswith("gpu") for key in said())
