"""How much is understood of the map when memory is short: down a rung where it ends, up again after a while.

Geometry is on every rung. Only ways of using less that the pipeline really has are rungs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ws3d_ros.memory import OverBudgetError

log = logging.getLogger(__name__)
CALM_S = 30.0
"""Without errors for so long, the next rung is tried …"""
MOST_CALM_S = 960.0
"""… after twice as long each time that the try failed, up to this."""
SETTLE_S = 10.0
"""A window that is being named takes its memory until it is."""


@dataclass(frozen=True)
class Effort:
    """What may be used on a rung.

    Attributes:
        said: for people.
        piece: of what the 3D network reads at once, and of the surroundings it reads with it, as a share.
        views: whether there are virtual views.
        window: of ``map.window_radius_m`` that is understood, as a share; all of it is published.
        network: whether the 3D network reads.
        names: whether anything is understood at all.
    """

    said: str = "everything"
    piece: float = 1.0
    views: bool = True
    window: float = 1.0
    network: bool = True
    names: bool = True


def rungs(images: bool, network: bool, virtual_views: bool) -> list[Effort]:
    """From everything down to geometry, for a pipeline with or without these; each uses less than the one
    before. Virtual views are of no use without ``images``."""
    views = images and virtual_views
    efforts = [Effort()]
    if network or views:
        what = "the network reads smaller pieces" if network else "no virtual views"
        said = f"{what}, no virtual views" if network and views else what
        efforts.append(replace(efforts[-1], said=said, piece=0.25, views=False))
    if network or images:
        efforts.append(replace(efforts[-1], said="half the window is named", window=0.5))
    if network and images:
        efforts.append(replace(efforts[-1], said="names from images alone", network=False))
    if network or images:
        efforts.append(replace(efforts[-1], said="geometry alone", names=False))
    return efforts


class Ladder:
    """On which rung the pipeline is. Any thread may ask and tell."""

    def __init__(self, efforts: list[Effort], now_s: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            efforts: from everything down, as of :func:`rungs`.
            now_s: a steady clock.
        """
        self._efforts, self._now_s = efforts, now_s
        self._lock = threading.Lock()
        self._rung = 0
        self._calm_s = CALM_S
        self._since_s = now_s()  # the last error or change
        self._climbed = False
        self._settled_s = self._since_s
        self._short = "memory"  # which, at the last step down

    @property
    def rung(self) -> int:
        """0 is everything. Asking climbs, where it was calm for long enough."""
        with self._lock:
            now_s = self._now_s()
            if now_s - self._since_s < self._calm_s:
                return self._rung
            self._since_s = now_s
            if self._rung == 0:
                self._calm_s, self._climbed = CALM_S, False
                return 0
            self._rung, self._climbed = self._rung - 1, True
            rung = self._rung
        log.info("memory sufficed for a while: %s again", self._efforts[rung].said)
        return rung

    @property
    def effort(self) -> Effort:
        """What may be used now."""
        return self._efforts[self.rung]

    def heard(self, error: BaseException) -> bool:
        """Steps down if an error says that memory ended, or the process takes too much; whether it says so.

        GPU memory that torch keeps for itself is given back first, as others may need it in other sizes.
        A process that takes too much is given ``SETTLE_S`` after each step to take less.
        """
        if not is_short_of_memory(error):
            return False
        on_gpu = isinstance(error, torch.cuda.OutOfMemoryError)
        if on_gpu:
            torch.cuda.empty_cache()
        with self._lock:
            now_s = self._since_s = self._now_s()
            settles = isinstance(error, OverBudgetError) and now_s < self._settled_s
            if settles or self._rung == len(self._efforts) - 1:
                return True
            if self._climbed:
                self._calm_s = min(2 * self._calm_s, MOST_CALM_S)
            self._climbed = False
            self._rung += 1
            self._settled_s = now_s + SETTLE_S
            self._short = "GPU memory" if on_gpu else "memory"
        return True

    def problem(self) -> str:
        """One sentence for people; empty on the highest rung."""
        effort = self.effort
        if effort.said == self._efforts[0].said:
            return ""
        return (
            f"{self._short} was short: {effort.said} (step {self._efforts.index(effort)} of "
            f"{len(self._efforts) - 1} down); more is tried after a while. If this lasts, reduce "
            "map.window_radius_m or map.budget_mb"
        )


def is_short_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ended: the GPU's, or the computer's as Python or torch say it."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
