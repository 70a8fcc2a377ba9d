"""Coordinate frames over time: what tf2 does, for places without tf2."""

from __future__ import annotations

import logging
import math
import threading
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from ws3d_ros.sensors.checkup.links import Link
from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import FloatArray
from ws3d_ros.sensors.rigid import IDENTITY, Pose, compose, interpolate, inverse, matrix

_log = logging.getLogger(__name__)

CACHE_S = 10.0
"""How much of the past is kept, as in tf2."""

_FARTHEST_M = 1e9
"""Nothing on Earth is as far; sums of what is stay finite."""

_NORM_TOLERANCE = 0.01
"""How far the squared norm of a quaternion may be from 1, as in tf2."""


class TransformError(SensorError):
    """A transform that is not known, or not usable.

    ``reason`` is ``unknown_frame`` or ``disconnected`` (nobody published the link yet), ``too_new``
    (tf has not come so far yet), ``too_old`` (tf's memory does not reach back so far), ``gap`` (tf paused
    then while it moved, see gaps.py), or ``bad_transform`` (refused by ``set``).
    """


class TransformBuffer:
    """A tree of frames whose links move over time. Any thread may write and read.

    Like tf2, look-ups interpolate (linear, and along the shorter arc) and never extrapolate; links
    keep ten seconds, counted from their newest stamp. Unlike tf2, a link that comes with another
    parent or another kind (static or not) than before forgets its past.
    """

    def __init__(self, cache_s: float = CACHE_S) -> None:
        self._cache_ns = int(cache_s * 1e9)
        self._lock = threading.Lock()
        self._links: dict[str, _Link] = {}
        self._warned: set[str] = set()

    def set(
        self,
        parent: str,
        child: str,
        stamp_ns: int,
        translation: Sequence[float],
        quaternion_xyzw: Sequence[float],
        static: bool = False,
    ) -> bool:
        """Takes child points to parent points at ``stamp_ns``; static ones hold at all times.

        Returns:
            False if the stamp is older than the link remembers, so that nothing was kept. Many of
            these mean that the clock jumped back: then call ``clear``.

        Raises:
            TransformError: ``bad_transform`` for values that are not finite, a quaternion far from
                unit length (slightly off ones are normalised), empty or equal frames, or a loop.
        """
        pose = _checked(parent, child, translation, quaternion_xyzw)
        with self._lock:
            link = self._links.get(child)
            if link is None or link.parent != parent or link.static != static:
                self._refuse_loop(parent, child)
                self._warn_of_two_parents(link, parent)
                link = self._links[child] = _Link(parent, child, static)
            return link.insert(stamp_ns, pose, self._cache_ns)

    def lookup(self, target: str, source: str, stamp_ns: int) -> FloatArray:
        """(4, 4) float64 ``T_target_source``: source points to target points at ``stamp_ns``.

        A stamp of 0 means, as in tf2, the newest time that all links between the two know.

        Raises:
            TransformError: ``unknown_frame``, ``disconnected``, ``too_new`` or ``too_old``; the message
                names the link.
        """
        if target == source:
            return np.eye(4)
        with self._lock:
            up, down = self._links_between(target, source)
            if stamp_ns == 0:
                stamp_ns = min((link.stamps[-1] for link in up + down if not link.static), default=0)
            for link in up + down:
                link.check(stamp_ns)
            T_common_source, T_common_target = _chain(up, stamp_ns), _chain(down, stamp_ns)
        return matrix(compose(inverse(T_common_target), T_common_source))

    def clear(self) -> None:
        """Forgets all moving links, for a clock that jumped back.

        Static ones stay: they are sent once, and a bag that loops need not send them again.
        """
        with self._lock:
            self._links = {child: link for child, link in self._links.items() if link.static}

    def links(self) -> dict[str, Link]:
        """What is known of every frame in its parent, by the frame's name."""
        with self._lock:
            return {
                child: Link(link.parent, link.static, link.stamps[0], link.stamps[-1])
                for child, link in self._links.items()
            }

    def _links_between(self, target: str, source: str) -> tuple[list[_Link], list[_Link]]:
        """The links from the source, and from the target, up to their first common ancestor."""
        up, down = self._links_to_root(source), self._links_to_root(target)
        source_root = up[-1].parent if up else source
        target_root = down[-1].parent if down else target
        if source_root != target_root:
            self._refuse_unknown(target, source)
            raise TransformError(
                "disconnected",
                f"nobody publishes how '{target}' and '{source}' hang together: "
                f"'{target}' ends at '{target_root}', '{source}' at '{source_root}'",
            )
        while up and down and up[-1] is down[-1]:
            up.pop()
            down.pop()
        return up, down

    def _links_to_root(self, frame: str) -> list[_Link]:
        links = []
        while (link := self._links.get(frame)) is not None:
            links.append(link)
            frame = link.parent
        return links

    def _refuse_unknown(self, *frames: str) -> None:
        known = {*self._links, *(link.parent for link in self._links.values())}
        for frame in frames:
            if frame not in known:
                some = ", ".join(sorted(known)[:20]) or "none"
                raise TransformError("unknown_frame", f"tf has no frame '{frame}'; frames it knows: {some}")

    def _warn_of_two_parents(self, link: _Link | None, parent: str) -> None:
        """Once for each frame: two publishers that disagree would wipe each other out without a trace."""
        if link is None or link.parent == parent or link.child in self._warned:
            return
        self._warned.add(link.child)
        _log.warning(
            "tf frame '%s' had the parent '%s' and now has '%s'; its past is forgotten. "
            "If two nodes publish it, stop one of them",
            *(link.child, link.parent, parent),
        )

    def _refuse_loop(self, parent: str, child: str) -> None:
        above = [parent, *(link.parent for link in self._links_to_root(parent))]
        if child in above:
            way = " -> ".join(reversed(above[: above.index(child) + 1]))
            raise _bad(parent, child, f"it would close a loop, as there is {way}")


class _Link:
    """One frame in its parent over time; stamps ascend."""

    def __init__(self, parent: str, child: str, static: bool) -> None:
        self.parent = parent
        self.child = child
        self.static = static
        self.stamps: list[int] = []
        self._poses: list[Pose] = []

    def insert(self, stamp_ns: int, pose: Pose, cache_ns: int) -> bool:
        """Keeps the pose; the later of two with one stamp wins."""
        if self.static:
            self.stamps, self._poses = [stamp_ns], [pose]
            return True
        if self.stamps and stamp_ns < self.stamps[-1] - cache_ns:
            return False
        at = bisect_right(self.stamps, stamp_ns)
        if at and self.stamps[at - 1] == stamp_ns:
            self._poses[at - 1] = pose
            return True
        self.stamps.insert(at, stamp_ns)
        self._poses.insert(at, pose)
        outdated = bisect_right(self.stamps, self.stamps[-1] - cache_ns - 1)
        del self.stamps[:outdated], self._poses[:outdated]
        return True

    def check(self, stamp_ns: int) -> None:
        """Raises TransformError(``too_old`` or ``too_new``) for a time that the link does not know."""
        if self.static or self.stamps[0] <= stamp_ns <= self.stamps[-1]:
            return
        link = f"the tf link '{self.parent}' -> '{self.child}'"
        if stamp_ns < self.stamps[0]:
            gap_s = (self.stamps[0] - stamp_ns) / 1e9
            raise TransformError("too_old", f"{link} begins {gap_s:.3f} s after the time that was asked for")
        gap_s = (stamp_ns - self.stamps[-1]) / 1e9
        raise TransformError("too_new", f"{link} ends {gap_s:.3f} s before the time that was asked for")

    def at(self, stamp_ns: int) -> Pose:
        """The pose at a time that ``check`` let pass."""
        if self.static:
            return self._poses[0]
        after = bisect_right(self.stamps, stamp_ns)
        before_ns = self.stamps[after - 1]
        if before_ns == stamp_ns:
            return self._poses[after - 1]
        share = (stamp_ns - before_ns) / (self.stamps[after] - before_ns)
        return interpolate(self._poses[after - 1], self._poses[after], share)


def _checked(parent: str, child: str, translation: Sequence[float], quaternion_xyzw: Sequence[float]) -> Pose:
    if not parent or not child:
        raise _bad(parent, child, "both frames need a name")
    if parent == child:
        raise _bad(parent, child, "a frame cannot be its own parent")
    x, y, z = map(float, translation)
    qx, qy, qz, qw = map(float, quaternion_xyzw)
    if not all(map(math.isfinite, (x, y, z, qx, qy, qz, qw))):
        raise _bad(parent, child, f"its values are not finite: {(x, y, z)}, {(qx, qy, qz, qw)}")
    if max(abs(x), abs(y), abs(z)) > _FARTHEST_M:
        raise _bad(parent, child, f"its translation {(x, y, z)} leads beyond {_FARTHEST_M:g} m")
    squared = qx * qx + qy * qy + qz * qz + qw * qw
    if abs(squared - 1.0) > _NORM_TOLERANCE:
        raise _bad(
            parent, child, f"its quaternion {(qx, qy, qz, qw)} has length {math.sqrt(squared):g} instead of 1"
        )
    norm = math.sqrt(squared)
    return x, y, z, qx / norm, qy / norm, qz / norm, qw / norm


def _bad(parent: str, child: str, why: str) -> TransformError:
    return TransformError(
        "bad_transform", f"the transform '{parent}' -> '{child}' was refused: {why}; correct its publisher"
    )


def _chain(links: list[_Link], stamp_ns: int) -> Pose:
    """The first frame of a way up, in the last one's parent."""
    pose = IDENTITY
    for link in links:
        pose = compose(link.at(stamp_ns), pose)
    return pose
