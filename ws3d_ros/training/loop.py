"""Steps of training, whatever is trained: optimiser, precision, checkpoints, reports, and when to give up.

What a step sees depends on the step's number and the seed alone, so that a run that was killed and
goes on from its last checkpoint ends with the same weights as one that was not.
"""

from __future__ import annotations

import ctypes
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from ws3d_ros.training.run_folder import RunFolder

log = logging.getLogger(__name__)
Item = TypeVar("Item")


class DivergedError(RuntimeError):
    """The loss left all bounds. The message says when, and what to change."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        steps: optimiser steps in all.
        learning_rate: highest; reached after ``warm_up_steps``, then a cosine down to 1 %.
        warm_up_steps: linear rise at the start.
        weight_decay: of AdamW (Loshchilov and Hutter, ICLR 2019).
        accumulate: batches whose gradients make one step.
        clip: largest norm of the gradient.
        bfloat16: convolve in bfloat16 (autocast).
        report_steps: between two lines of the log.
        save_s: seconds between two checkpoints.
    """

    steps: int
    learning_rate: float = 2e-3
    warm_up_steps: int = 50
    weight_decay: float = 0.02
    accumulate: int = 1
    clip: float = 5.0
    bfloat16: bool = False
    report_steps: int = 20
    save_s: float = 120.0

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        rise = min(1.0, (step + 1) / max(self.warm_up_steps, 1))
        fall = 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / self.steps)))
        return self.learning_rate * rise * max(fall, 0.01)


def train(
    model: nn.Module,
    draw: Callable[[int], Item],
    loss: Callable[[Item, int], dict[str, Tensor]],
    schedule: Schedule,
    run: RunFolder,
    on_step: Callable[[int, dict[str, float]], None],
    on_save: Callable[[int], dict[str, float]],
) -> None:
    """Trains until the schedule ends, going on where the folder's last checkpoint is.

    Args:
        model: changed in place.
        draw: the data of batch number n; called ahead of time on another thread.
        loss: named terms of a batch at a step; their sum is minimised.
        schedule: see there.
        run: where everything is written.
        on_step: hears each step's terms, for progress.
        on_save: called at each checkpoint (weights in evaluation mode); its values join the log.

    Raises:
        DivergedError: when the loss is not finite, or stays far above what it was.
    """
    keep_memory()
    optimiser = torch.optim.AdamW(
        _groups(model, schedule.weight_decay), lr=schedule.learning_rate, betas=(0.9, 0.99)
    )
    watch = Watch()
    begin = 0
    if (state := run.load_state()) is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        watch = Watch(**state["watch"])
        begin = state["step"]
        run.forget_after(begin)
        log.info("going on at step %d of %d", begin, schedule.steps)

    def save(step: int) -> None:
        run.save_state(
            {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "watch": vars(watch),
                "step": step,
            }
        )
        model.eval()
        if scores := on_save(step):
            run.report(step, scores)
        run.draw()
        model.train()

    model.train()
    device = next(model.parameters()).device
    saved_s, sums = time.monotonic(), Sums()
    batches = Ahead(draw, begin * schedule.accumulate, schedule.steps * schedule.accumulate)
    with batches:
        for step in range(begin, schedule.steps):
            torch.manual_seed(step)
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate(step)
            for _ in range(schedule.accumulate):
                item = batches.next()
                with torch.autocast(device.type, torch.bfloat16, enabled=schedule.bfloat16):
                    terms = loss(item, step)
                total = torch.stack(list(terms.values())).sum()
                (total / schedule.accumulate).backward()  # type: ignore[no-untyped-call]
                sums.add({name: float(term.detach()) for name, term in terms.items()})
            norm = float(nn.utils.clip_grad_norm_(model.parameters(), schedule.clip))
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            now = sums.last()
            watch.see(step, sum(now.values()), norm)
            on_step(step, now)
            if (step + 1) % schedule.report_steps == 0:
                run.report(step + 1, sums.take() | {"learning_rate": schedule.rate(step)})
            if time.monotonic() - saved_s > schedule.save_s:
                save(step + 1)
                saved_s = time.monotonic()
        save(schedule.steps)


def keep_memory() -> None:
    """Lets the process keep what it frees: each step asks for the same again (glibc's mallopt(3)).

    Else large tensors go back to the system, and the next step waits while it clears new pages: a third of
    a step's processor time on two cores. Where there is no glibc nothing happens.
    """
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, 2**31 - 1)
        library.mallopt(top_pad, 128 * 2**20)


class Watch:
    """Notices early that a run diverges: a loss far above its running mean, for long."""

    def __init__(self, mean: float = 0.0, seen: int = 0, bad: int = 0) -> None:
        self.mean, self.seen, self.bad = mean, seen, bad

    def see(self, step: int, loss: float, norm: float) -> None:
        """Takes note of a step.

        Raises:
            DivergedError: at once for a loss or gradient that is not finite; after 50 steps in a row
                with more than three times the running mean.
        """
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DivergedError(
                f"step {step}: the loss is {loss}, the gradient's norm {norm}. Halve the learning rate, "
                "or train in float32; the last good state is in state.pt"
            )
        self.bad = self.bad + 1 if self.seen > 100 and loss > 3.0 * self.mean else 0
        if self.bad >= 50:
            raise DivergedError(
                f"step {step}: the loss has been more than three times its mean of {self.mean:.2f} for 50 "
                "steps. Halve the learning rate; the last good state is in state.pt"
            )
        self.seen += 1
        self.mean += (loss - self.mean) / min(self.seen, 200)


class Sums:
    """Means of named terms since the last report."""

    def __init__(self) -> None:
        self._terms: list[dict[str, float]] = []

    def add(self, terms: dict[str, float]) -> None:
        self._terms.append(terms)

    def last(self) -> dict[str, float]:
        return self._terms[-1]

    def take(self) -> dict[str, float]:
        terms, self._terms = self._terms, []
        names = {name for line in terms for name in line}
        return {name: _mean([line[name] for line in terms if name in line]) for name in sorted(names)}


class Ahead(Generic[Item]):
    """Draws the next few batches on another thread while the current one is learnt from."""

    def __init__(self, draw: Callable[[int], Item], begin: int, end: int, depth: int = 3) -> None:
        self._draw, self._next, self._end = draw, begin, end
        self._depth = depth
        self._pool = ThreadPoolExecutor(1, "batches")
        self._waiting: list[Future[Item]] = []

    def __enter__(self) -> Ahead[Item]:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def next(self) -> Item:
        while len(self._waiting) < self._depth and self._next < self._end:
            self._waiting.append(self._pool.submit(self._draw, self._next))
            self._next += 1
        return self._waiting.pop(0).result()


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Norms and biases are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
