"""Measurements that belong together: colour with depth by stamp, and both with tf.

Nothing here has a thread or looks at a clock: stamps come with the measurements, and ``now_s`` is
the caller's monotonic clock.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Generic, Literal, TypeVar

from ws3d_ros.sensors.frame import FloatArray
from ws3d_ros.sensors.transforms import TransformError

C = TypeVar("C")
D = TypeVar("D")
T = TypeVar("T")

Side = Literal["color", "depth"]


@dataclass(frozen=True)
class Dropped:
    """A measurement that was given up, under which key to count it, and why in words."""

    stamp_ns: int
    reason: str
    message: str


@dataclass(frozen=True)
class Pair(Generic[C, D]):
    """What one camera saw at one time. ``stamp_ns`` is that of depth, where there is depth."""

    stamp_ns: int
    color: C | None
    depth: D | None


@dataclass
class Paired(Generic[C, D]):
    """What an arrival led to: pairs ready for use, oldest first, and what was given up."""

    pairs: list[Pair[C, D]] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


class Pairer(Generic[C, D]):
    """Pairs the colour and depth images of one camera, each used once at most.

    Images pair when each is the other's nearest within the tolerance, and no nearer one can come
    any more because that stream is beyond it. Equal stamps pair at once; others take until
    the next image, or ``patience_s`` where streams pause (``poll``). The result does not depend on how
    the two streams interleave. An image without a partner is dropped when its partner can no
    longer come (``no_depth_match``, ``no_color_match``) or its queue is full; a second image with
    the same stamp as ``duplicate``. When the clock jumps back, call ``clear``.
    """

    def __init__(
        self,
        tolerance_ns: int,
        *,
        color: bool = True,
        depth: bool = True,
        capacity: int = 16,
        patience_s: float = 0.1,
    ) -> None:
        """With only one of ``color`` and ``depth`` expected, images pass through as they come."""
        self._tolerance_ns = tolerance_ns
        self._both = color and depth
        self._capacity = capacity
        self._patience_s = patience_s
        self._color = _Stream("color", "depth")
        self._depth = _Stream("depth", "color")

    def add_color(self, stamp_ns: int, color: C, now_s: float) -> Paired[C, D]:
        """A colour image came."""
        return self._add(self._color, _Waiting(stamp_ns, now_s, color))

    def add_depth(self, stamp_ns: int, depth: D, now_s: float) -> Paired[C, D]:
        """A depth image came."""
        return self._add(self._depth, _Waiting(stamp_ns, now_s, depth))

    def poll(self, now_s: float) -> Paired[C, D]:
        """Pairs that have waited long enough for nearer partners. Call it now and then."""
        return self._settle(now_s)

    def clear(self) -> list[Dropped]:
        """Forgets all that waits and all stamps, as if new; returns what waited."""
        waited = [
            Dropped(waiting.stamp_ns, "time_jump", "the clock jumped while the image waited for its partner")
            for stream in (self._color, self._depth)
            for waiting in stream.queue
        ]
        self._color = _Stream("color", "depth")
        self._depth = _Stream("depth", "color")
        return waited

    def __len__(self) -> int:
        return len(self._color.queue) + len(self._depth.queue)

    def _add(self, stream: _Stream, waiting: _Waiting) -> Paired[C, D]:
        if not stream.admit(waiting):
            message = (
                f"two {stream.name} images have one stamp, {waiting.stamp_ns} ns; are there two publishers?"
            )
            return Paired(dropped=[Dropped(waiting.stamp_ns, "duplicate", message)])
        if not self._both:
            stream.queue.clear()
            color = waiting.item if stream is self._color else None
            depth = waiting.item if stream is self._depth else None
            return Paired(pairs=[Pair(waiting.stamp_ns, color, depth)])
        result = self._settle(waiting.arrived_s)
        while len(stream.queue) > self._capacity:
            result.dropped.append(self._unmatched(stream, stream.queue.pop(0)))
        return result

    def _settle(self, now_s: float) -> Paired[C, D]:
        result: Paired[C, D] = Paired()
        while match := self._certain_match(now_s):
            color, depth = match
            self._color.queue.remove(color)
            self._depth.queue.remove(depth)
            result.pairs.append(Pair(depth.stamp_ns, color.item, depth.item))
        for stream, other in ((self._color, self._depth), (self._depth, self._color)):
            hopeless = [waiting for waiting in stream.queue if self._is_hopeless(waiting, other)]
            for waiting in hopeless:
                stream.queue.remove(waiting)
                result.dropped.append(self._unmatched(stream, waiting))
        return result

    def _certain_match(self, now_s: float) -> tuple[_Waiting, _Waiting] | None:
        for color in self._color.queue:
            depth = _nearest(color, self._depth.queue)
            if depth is None or _nearest(depth, self._color.queue) is not color:
                continue
            gap = abs(color.stamp_ns - depth.stamp_ns)
            if gap > self._tolerance_ns:
                continue
            no_nearer = (
                self._depth.newest_ns >= color.stamp_ns + gap
                and self._color.newest_ns >= depth.stamp_ns + gap
            )
            if no_nearer or now_s - max(color.arrived_s, depth.arrived_s) >= self._patience_s:
                return color, depth
        return None

    def _is_hopeless(self, waiting: _Waiting, other: _Stream) -> bool:
        near = _nearest(waiting, other.queue)
        if near is not None and abs(near.stamp_ns - waiting.stamp_ns) <= self._tolerance_ns:
            return False
        return other.newest_ns >= waiting.stamp_ns + self._tolerance_ns

    def _unmatched(self, stream: _Stream, waiting: _Waiting) -> Dropped:
        return Dropped(
            waiting.stamp_ns,
            f"no_{stream.partner}_match",
            f"no {stream.partner} image came within {self._tolerance_ns / 1e9:g} s of the {stream.name} "
            "image; check that both topics are published and that their stamps agree, or raise "
            "inputs.sync_tolerance_s",
        )


@dataclass(frozen=True, eq=False)
class _Waiting:
    stamp_ns: int
    arrived_s: float
    item: Any


class _Stream:
    """The images of one side that wait, by stamp, and the stamps that came lately."""

    def __init__(self, name: Side, partner: Side) -> None:
        self.name = name
        self.partner = partner
        self.queue: list[_Waiting] = []
        self.newest_ns = -(1 << 63)
        self._seen: deque[int] = deque(maxlen=64)

    def admit(self, waiting: _Waiting) -> bool:
        """Queues what came, unless its stamp came before."""
        if waiting.stamp_ns in self._seen:
            return False
        self._seen.append(waiting.stamp_ns)
        self.newest_ns = max(self.newest_ns, waiting.stamp_ns)
        insort(self.queue, waiting, key=attrgetter("stamp_ns"))
        return True


def _nearest(waiting: _Waiting, others: list[_Waiting]) -> _Waiting | None:
    """The nearest by stamp, the earlier of two."""
    return min(others, key=lambda other: abs(other.stamp_ns - waiting.stamp_ns), default=None)


@dataclass(frozen=True)
class Ready(Generic[T]):
    """A measurement and where it was taken: ``pose`` is (4, 4), sensor points to map points."""

    stamp_ns: int
    payload: T
    pose: FloatArray


@dataclass
class Admitted(Generic[T]):
    """What is ready, in the order of arrival, and what was given up."""

    ready: list[Ready[T]] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


class WaitingRoom(Generic[T]):
    """Measurements that wait until tf knows where they were taken; newest wins when it is full.

    A measurement whose transform is not known yet waits until a deadline, and is then dropped with
    the reason of the last failure: ``tf_too_new``, ``tf_unknown_frame`` … One from before tf's memory
    (``tf_too_old``) can only get older, and one within a pause of tf (``tf_gap``) finds no sure place later:
    both are dropped at once.
    """

    def __init__(
        self, lookup: Callable[[str, int], FloatArray], deadline_s: float, capacity: int = 32
    ) -> None:
        """
        Args:
            lookup: (frame, stamp_ns) to (4, 4), points of that frame to map points; raises
                TransformError.
            deadline_s: how long a measurement may wait.
        """
        self._lookup = lookup
        self._deadline_s = deadline_s
        self._capacity = capacity
        self._guests: deque[_Guest[T]] = deque()

    def add(self, stamp_ns: int, frame: str, payload: T, now_s: float) -> list[Dropped]:
        """A measurement came; returns the oldest, where it had to make room."""
        self._guests.append(_Guest(stamp_ns, frame, payload, now_s + self._deadline_s))
        dropped = []
        while len(self._guests) > self._capacity:
            guest = self._guests.popleft()
            message = f"{self._capacity} newer measurements wait for tf, too; is tf published, and in time?"
            dropped.append(Dropped(guest.stamp_ns, "tf_queue_full", message))
        return dropped

    def poll(self, now_s: float) -> Admitted[T]:
        """Looks all transforms up again. Call it often: it is the only thing that ends the waiting."""
        result: Admitted[T] = Admitted()
        staying: deque[_Guest[T]] = deque()
        for guest in self._guests:
            pose = self._pose(guest)
            if not isinstance(pose, TransformError):
                result.ready.append(Ready(guest.stamp_ns, guest.payload, pose))
            elif pose.reason in ("too_old", "gap") or now_s >= guest.deadline_s:
                result.dropped.append(Dropped(guest.stamp_ns, f"tf_{pose.reason}", str(pose)))
            else:
                staying.append(guest)
        self._guests = staying
        return result

    def _pose(self, guest: _Guest[T]) -> FloatArray | TransformError:
        try:
            return self._lookup(guest.frame, guest.stamp_ns)
        except TransformError as error:
            return error

    def clear(self) -> list[Dropped]:
        """Sends all away, for a clock that jumped back."""
        waited = [
            Dropped(guest.stamp_ns, "time_jump", "the clock jumped while the measurement waited for tf")
            for guest in self._guests
        ]
        self._guests.clear()
        return waited

    def __len__(self) -> int:
        return len(self._guests)


@dataclass(frozen=True)
class _Guest(Generic[T]):
    stamp_ns: int
    frame: str
    payload: T
    deadline_s: float
