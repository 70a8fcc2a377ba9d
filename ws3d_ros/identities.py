"""What the tracker needs beside names: where sensors looked lately, and how the map moved.

One thread, *mapping*, calls ``saw`` and ``follow``; one, that names, calls the rest.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from ws3d_ros.instances.objects import State
from ws3d_ros.instances.tracking import Tracker
from ws3d_ros.reconstruction.grafting import Moved
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.frame import Frame, Scan

SIGHTS = 4
"""So many of the newest measurements tell whether an object is still where it was."""
MOVES = 4
"""So many of the newest moves of the map are remembered, for windows from before them."""


class Identities:
    """Objects that last, from window to window.

    Attributes:
        states: how it stands with each object, by instance; those that are remembered as gone included.
        moved: how the map moved lately, newest last.
    """

    def __init__(self, max_range_m: float, voxel_size_m: float) -> None:
        """Places farther from a sensor than ``max_range_m`` are not judged."""
        self._max_range_m, self._voxel_size_m = max_range_m, voxel_size_m
        self._sights: deque[Frame | Scan] = deque(maxlen=SIGHTS)
        self._followed = 0  # of the map's moves, those that the tracker knows of
        self._tracker = Tracker(max_range_m)
        self.moved: deque[Moved] = deque(maxlen=MOVES)
        self.states: Mapping[int, State] = {}

    def saw(self, measurement: Frame | Scan) -> None:
        """A sensor looked."""
        self._sights.append(measurement)

    def follow(self, moved: Moved) -> None:
        """The map moved: what was seen before says nothing of places any more."""
        self.moved.append(moved)
        self._sights.clear()

    def update(self, window: Window, things: Tensor, label: Tensor, feature: Tensor) -> Tensor:
        """(N,) int32 lasting ids of a window's segments; arguments are those of :meth:`Tracker.update`."""
        self._follow_until(window.moves)
        seen = [sight for sight in self._drained() if sight.stamp_ns <= window.stamp_ns]
        tracked = self._tracker.update(window, things, label, feature, seen, window.stamp_ns)
        self.states = tracked.states
        return tracked.instance

    def forget_labels(self) -> None:
        """Labels mean other words from now on."""
        self._tracker.forget_labels()

    def clear(self, moves: int) -> None:
        """Forgets all; the map has moved ``moves`` times."""
        self._tracker, self.states, self._followed = Tracker(self._max_range_m), {}, moves
        self._sights.clear()

    def state(self, moves: int) -> dict[str, np.ndarray]:
        """All that is known of objects where the map has them after so many moves, as plain arrays."""
        self._follow_until(moves)
        return self._tracker.state()

    def take(self, state: dict[str, np.ndarray], moves: int) -> None:
        """What :meth:`state` gave, of a map that takes this one's place. Raises KeyError for an array that
        is missing."""
        self._tracker, self._followed = Tracker.from_state(state, self._max_range_m), moves

    def _follow_until(self, number: int) -> None:
        """Tells the tracker how the map moved, up to that move; it works on windows from before, too."""
        for moved in self.moved.copy():
            if self._followed < moved.number <= number:
                self._tracker.follow(moved, self._voxel_size_m)
                self._followed = moved.number

    def _drained(self) -> list[Frame | Scan]:
        """The newest measurements since the last call."""
        sights = []
        with contextlib.suppress(IndexError):  # empty; mapping may clear it at any time
            while True:
                sights.append(self._sights.popleft())
        return sights
