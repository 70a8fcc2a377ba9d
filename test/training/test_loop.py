"""The training loop: what is killed goes on to the same end, what diverges stops with a reason."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ws3d_ros.training.loop import DivergedError, Schedule, train
from ws3d_ros.training.run_folder import RunFolder


class Line(nn.Module):
    """y = w x, with a norm, so that there is a buffer to restore as well."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.line = nn.BatchNorm1d(3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.line(nn.functional.dropout(self.norm(x), 0.2, self.training))
        return out


def draw(number: int) -> Tensor:
    return torch.randn(32, 3, generator=torch.Generator().manual_seed(number))


def run(folder: Path, steps: int = 30, stop_at: int | None = None, **schedule: float) -> Line:
    """Trains to ``steps``; at step ``stop_at`` the process dies as by kill -9."""
    model = Line()

    def loss(x: Tensor, step: int) -> dict[str, Tensor]:
        return {"square": ((model(x)[:, 0] - x.sum(1)) ** 2).mean()}

    def on_step(step: int, terms: dict[str, float]) -> None:
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGKILL)

    plan = Schedule(steps=steps, warm_up_steps=3, report_steps=5, save_s=0.0, **schedule)  # type: ignore[arg-type]
    train(model, draw, loss, plan, RunFolder(folder, "recipe"), on_step, lambda step: {"score": float(step)})
    return model


def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    """Each in a process of its own: what ran before in this one may have left another number of threads."""

    def process(folder: str, stop_at: int | None = None) -> int:
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path; "
            f"import test_loop; test_loop.run(Path({str(tmp_path / folder)!r}), stop_at={stop_at})"
        )
        return subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False
        ).returncode

    assert process("whole") == 0
    assert process("killed", stop_at=17) == -signal.SIGKILL
    assert process("killed") == 0
    whole, resumed = (RunFolder(tmp_path / folder, "recipe").load_state() for folder in ("whole", "killed"))
    assert whole is not None
    assert resumed is not None
    assert whole["step"] == resumed["step"] == 30
    for name, value in whole["model"].items():
        assert torch.equal(value, resumed["model"][name]), name
    steps = [line["step"] for line in RunFolder(tmp_path / "killed", "recipe").reports() if "square" in line]
    assert steps == [5, 10, 15, 20, 25, 30]


def test_accumulated_batches_are_one_larger_batch(tmp_path: Path) -> None:
    seen: list[int] = []

    def counting(number: int) -> Tensor:
        seen.append(number)
        return draw(number)

    model = Line()
    plan = Schedule(steps=4, accumulate=3, save_s=1e9)
    folder = RunFolder(tmp_path, "recipe")
    train(model, counting, lambda x, _: {"l": model(x).mean()}, plan, folder, lambda *_: None, lambda _: {})
    assert seen == list(range(12))


def test_a_loss_that_is_not_finite_stops_at_once(tmp_path: Path) -> None:
    model = Line()

    def broken(x: Tensor, step: int) -> dict[str, Tensor]:
        return {"l": model(x).mean() * (torch.nan if step == 3 else 1.0)}

    with pytest.raises(DivergedError, match=r"step 3.*learning rate"):
        train(
            model,
            draw,
            broken,
            Schedule(steps=9, save_s=1e9),
            RunFolder(tmp_path, ""),
            lambda *_: None,
            lambda _: {},
        )


def test_a_loss_that_stays_far_above_its_mean_stops(tmp_path: Path) -> None:
    model = Line()

    def rising(x: Tensor, step: int) -> dict[str, Tensor]:
        return {"l": 0.0 * model(x).mean() + (1.0 if step < 150 else 1000.0 * step)}

    with pytest.raises(DivergedError, match="50 steps"):
        train(
            model,
            draw,
            rising,
            Schedule(steps=400, save_s=1e9),
            RunFolder(tmp_path, ""),
            lambda *_: None,
            lambda _: {},
        )


def test_a_folder_keeps_to_its_recipe(tmp_path: Path) -> None:
    RunFolder(tmp_path, "one")
    with pytest.raises(ValueError, match="another recipe"):
        RunFolder(tmp_path, "two")


def test_the_folder_explains_itself_and_draws_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = RunFolder(tmp_path, "recipe")
    folder.report(1, {"loss": 2.0})
    folder.report(2, {"loss": 1.0, "score": 0.5})
    folder.draw()
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    for line in (tmp_path / "README.md").read_text().splitlines():
        assert "student" not in line or "safetensors" in line
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, 2]
    folder.forget_after(1)
    assert [line["step"] for line in folder.reports()] == [1]


def test_reports_reach_tensorboard(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = RunFolder(tmp_path, "recipe")
    folder.report(1, {"loss": 2.0})
    folder.report(2, {"loss": 1.0})
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(line.step, line.value) for line in events.Scalars("loss")] == [(1, 2.0), (2, 1.0)]


def test_the_rate_rises_then_falls() -> None:
    schedule = Schedule(steps=100, learning_rate=1.0, warm_up_steps=10)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates.index(max(rates)) in range(8, 11)
    assert rates[-1] < 0.02
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[10:]))
