"""Pauses of tf within which a frame moved far: between the poses on both sides nobody knows its way.

tf interpolates over them as over any other two poses, which leaves ghosts of what a camera saw meanwhile.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from ws3d_ros.sensors.checkup.links import Link, way_to_root
from ws3d_ros.sensors.rigid import Pose, compose, inverse
from ws3d_ros.sensors.transforms import TransformError

LONGER = 3.0
"""A pause is so many times as long as the link's usual period …"""
LEAST_NS = 250_000_000
"""… and at least this."""
FAR_M, FAR_RAD = 0.2, math.radians(10.0)
"""From here on a frame moves far within a pause: by a few voxels, or so what it sees at 1 m."""
MOST = 100
KNOWN = 20
"""Periods by which a link's usual one is told."""


@dataclass(frozen=True)
class Gap:
    """A pause of a link, from the last pose before it to the first behind it."""

    parent: str
    child: str
    begin_ns: int
    end_ns: int
    begin: Pose
    end: Pose

    def __str__(self) -> str:
        shift_m, turn_rad = _moved(self.begin, self.end)
        long_s, turn_deg = (self.end_ns - self.begin_ns) / 1e9, math.degrees(turn_rad)
        return (
            f"the tf link '{self.parent}' -> '{self.child}' paused for {long_s:.1f} s, while it moved "
            f"{shift_m:.1f} m and turned {turn_deg:.0f} degrees: what was measured meanwhile has no sure "
            "place; let its publisher send it steadily"
        )


class Gaps:
    """Watches the links of tf. For one thread."""

    def __init__(self, most: int | None = MOST) -> None:
        """``most``: pauses that are remembered; None for all."""
        self._most = most
        self.clear()

    def clear(self) -> None:
        """Time began again."""
        self._newest: dict[str, tuple[str, int, Pose]] = {}
        self._periods_ns: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=KNOWN))
        self._gaps: deque[Gap] = deque(maxlen=self._most)

    def see(self, parent: str, child: str, stamp_ns: int, pose: Pose) -> None:
        """A moving link has this pose (child points to parent points) at that time."""
        known = self._newest.get(child)
        if known is not None and known[0] == parent and stamp_ns <= known[1]:
            self._fill(child, stamp_ns, pose)
            return
        self._newest[child] = parent, stamp_ns, pose
        if known is None or known[0] != parent:
            return
        _, before_ns, before = known
        self._add(Gap(parent, child, before_ns, stamp_ns, before, pose))
        self._periods_ns[child].append(stamp_ns - before_ns)

    def around(self, stamp_ns: int) -> list[Gap]:
        """Pauses of any link that a time falls into."""
        return [gap for gap in self._gaps if gap.begin_ns < stamp_ns < gap.end_ns]

    def check(self, frame: str, stamp_ns: int, links: Callable[[], Mapping[str, Link]]) -> None:
        """
        Args:
            links: asks tf for all it has, by child; done seldom, as it takes long.

        Raises:
            TransformError: ``gap``, if a link on the way from the frame to the map paused then.
        """
        if around := self.around(stamp_ns):
            way = way_to_root(links(), frame)
            for gap in around:
                if gap.child in way:
                    raise TransformError("gap", str(gap))

    def _add(self, gap: Gap) -> None:
        periods_ns = self._periods_ns[gap.child]
        usual_ns = median(periods_ns) if periods_ns else math.inf
        if gap.end_ns - gap.begin_ns <= max(LEAST_NS, LONGER * usual_ns):
            return
        shift_m, turn_rad = _moved(gap.begin, gap.end)
        if shift_m > FAR_M or turn_rad > FAR_RAD:
            self._gaps.append(gap)

    def _fill(self, child: str, stamp_ns: int, pose: Pose) -> None:
        """A pose came late: it parts the pause that it falls into."""
        for gap in [gap for gap in self.around(stamp_ns) if gap.child == child]:
            self._gaps.remove(gap)
            self._add(Gap(gap.parent, child, gap.begin_ns, stamp_ns, gap.begin, pose))
            self._add(Gap(gap.parent, child, stamp_ns, gap.end_ns, pose, gap.end))


def _moved(begin: Pose, end: Pose) -> tuple[float, float]:
    """Metres and radians between two poses."""
    x, y, z, qx, qy, qz, qw = compose(inverse(begin), end)
    return math.hypot(x, y, z), 2.0 * math.atan2(math.hypot(qx, qy, qz), abs(qw))
