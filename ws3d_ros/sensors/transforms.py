"""Coordinate frames over time: what tf2 does, for places without tf2.

Plain floats, not arrays: on seven numbers they are several times faster, and a look-up happens for
every measurement that waits.
"""

from __future__ import annotations

import logging
import math
import threading
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import FloatArray

_log = logging.getLogger(__name__)

CACHE_S = 10.0
"""How much of the past is kept, as in tf2."""

_NORM_TOLERANCE = 0.01
"""How far the squared norm of a quaternion may be from 1, as in tf2."""

Pose = tuple[float, float, float, float, float, float, float]
"""x, y, z and the unit quaternion qx, qy, qz, qw."""

_IDENTITY: Pose = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


class TransformError(SensorError):
    """A transform that is not known, or not usable.

    ``reason`` is ``unknown_frame`` or ``disconnected`` (nobody published the link yet), ``too_new``
    (tf has not come so far yet), ``too_old`` (tf's memory does not reach back so far), or
    ``bad_transform`` (refused by ``set``).
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
        return _matrix(_compose(_inverse(T_common_target), T_common_source))

    def clear(self) -> None:
        """Forgets all moving links, for a clock that jumped back.

        Static ones stay: they are sent once, and a bag that loops need not send them again.
        """
        with self._lock:
            self._links = {child: link for child, link in self._links.items() if link.static}

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
            "tf frame '%s' had the parent '%s' and now has '%s'; its past is forgotten. If two nodes publish it, "
            "stop one of them",
            *(link.child, link.parent, parent),
        )

    def _refuse_loop(self, parent: str, child: str) -> None:
        above = [link.child for link in self._links_to_root(parent)]
        if child in above:
            way = " -> ".join([child, *reversed(above[: above.index(child)])])
            raise _bad(parent, child, f"it would close a loop: {way}")


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
        return _interpolate(self._poses[after - 1], self._poses[after], share)


def pose_matrix(translation: Sequence[float], quaternion_xyzw: Sequence[float]) -> FloatArray:
    """(4, 4) float64 of a translation and a quaternion, which is normalised."""
    qx, qy, qz, qw = quaternion_xyzw
    norm = math.sqrt(qx * qx + qy * qy + qz * qz + qw * qw)
    x, y, z = translation
    return _matrix((x, y, z, qx / norm, qy / norm, qz / norm, qw / norm))


def matrix_quaternion(T: FloatArray) -> tuple[float, float, float, float]:
    """The unit quaternion (x, y, z, w), w >= 0, of a (3, 3) rotation or (4, 4) rigid matrix."""
    x, y, z, w = Rotation.from_matrix(T[:3, :3]).as_quat(canonical=True).tolist()
    return x, y, z, w


def _checked(parent: str, child: str, translation: Sequence[float], quaternion_xyzw: Sequence[float]) -> Pose:
    if not parent or not child:
        raise _bad(parent, child, "both frames need a name")
    if parent == child:
        raise _bad(parent, child, "a frame cannot be its own parent")
    x, y, z = map(float, translation)
    qx, qy, qz, qw = map(float, quaternion_xyzw)
    if not all(map(math.isfinite, (x, y, z, qx, qy, qz, qw))):
        raise _bad(parent, child, f"its values are not finite: {(x, y, z)}, {(qx, qy, qz, qw)}")
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
    pose = _IDENTITY
    for link in links:
        pose = _compose(link.at(stamp_ns), pose)
    return pose


def _rotate(q: tuple[float, float, float, float], x: float, y: float, z: float) -> tuple[float, float, float]:
    """v + 2 w (q × v) + 2 q × (q × v), for a unit quaternion."""
    qx, qy, qz, qw = q
    tx, ty, tz = 2.0 * (qy * z - qz * y), 2.0 * (qz * x - qx * z), 2.0 * (qx * y - qy * x)
    return (
        x + qw * tx + qy * tz - qz * ty,
        y + qw * ty + qz * tx - qx * tz,
        z + qw * tz + qx * ty - qy * tx,
    )


def _compose(a: Pose, b: Pose) -> Pose:
    """First b, then a."""
    ax, ay, az, aw = a[3:]
    bx, by, bz, bw = b[3:]
    x, y, z = _rotate(a[3:], b[0], b[1], b[2])
    return (
        x + a[0],
        y + a[1],
        z + a[2],
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _inverse(a: Pose) -> Pose:
    back = (-a[3], -a[4], -a[5], a[6])
    x, y, z = _rotate(back, a[0], a[1], a[2])
    return (-x, -y, -z, *back)


def _interpolate(a: Pose, b: Pose, share: float) -> Pose:
    """Straight between the places; slerp (Shoemake, SIGGRAPH 1985) along the shorter arc."""
    keep = 1.0 - share
    dot = a[3] * b[3] + a[4] * b[4] + a[5] * b[5] + a[6] * b[6]
    sign = 1.0 if dot >= 0.0 else -1.0
    angle = math.acos(min(abs(dot), 1.0))
    if angle < 1e-4:
        # The chord and the arc are one to within 1e-9; the quotient of sines is not safe here.
        wa, wb = keep, sign * share
    else:
        wa, wb = math.sin(keep * angle) / math.sin(angle), sign * math.sin(share * angle) / math.sin(angle)
    qx, qy = wa * a[3] + wb * b[3], wa * a[4] + wb * b[4]
    qz, qw = wa * a[5] + wb * b[5], wa * a[6] + wb * b[6]
    norm = math.sqrt(qx * qx + qy * qy + qz * qz + qw * qw)
    return (
        keep * a[0] + share * b[0],
        keep * a[1] + share * b[1],
        keep * a[2] + share * b[2],
        qx / norm,
        qy / norm,
        qz / norm,
        qw / norm,
    )


def _matrix(pose: Pose) -> FloatArray:
    x, y, z, qx, qy, qz, qw = pose
    return np.array(
        [
            [1 - 2 * (qy * qy + qz * qz), 2 * (qx * qy - qz * qw), 2 * (qx * qz + qy * qw), x],
            [2 * (qx * qy + qz * qw), 1 - 2 * (qx * qx + qz * qz), 2 * (qy * qz - qx * qw), y],
            [2 * (qx * qz - qy * qw), 2 * (qy * qz + qx * qw), 1 - 2 * (qx * qx + qy * qy), z],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
