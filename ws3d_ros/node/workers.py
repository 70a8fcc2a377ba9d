"""Threads between the callbacks and the pipeline: bounded mailboxes, and workers that outlive errors."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

Work = Callable[[], object]
Result = TypeVar("Result")
IDLE_S = 0.2
STUCK_S = 20.0
"""A thread that is at one piece of work for longer may not come back."""


class Mailbox:
    """Work that waits for one worker.

    Measurements come by sender; of each sender only the newest few are kept, so that a slow
    worker is late by little. Requests are never displaced, and go first.
    """

    def __init__(self, depth: int = 1) -> None:
        self._depth = depth
        self._requests: deque[tuple[float, Work]] = deque()
        self._letters: dict[str, deque[tuple[float, Work]]] = {}
        self._changed = threading.Condition()

    def put(self, sender: str, work: Work) -> bool:
        """Adds a measurement; whether an older one of the same sender had to go."""
        with self._changed:
            letters = self._letters.setdefault(sender, deque())
            displaced = len(letters) >= self._depth
            if displaced:
                letters.popleft()
            letters.append((time.monotonic(), work))
            self._changed.notify()
        return displaced

    def post(self, work: Work) -> None:
        """Adds something that must be done."""
        with self._changed:
            self._requests.append((time.monotonic(), work))
            self._changed.notify()

    def request(self, work: Callable[[], Result]) -> Future[Result]:
        """The same for who waits for the result: the future holds it, or the exception."""
        future: Future[Result] = Future()

        def answer() -> None:
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

        self.post(answer)
        return future

    def take(self, timeout_s: float) -> Work | None:
        """The next work, requests first, then what waits longest; None if there is none in time."""
        with self._changed:
            if not self._changed.wait_for(self._waiting, timeout_s):
                return None
            if self._requests:
                return self._requests.popleft()[1]
            longest = min((letters for letters in self._letters.values() if letters), key=lambda q: q[0][0])
            return longest.popleft()[1]

    def clear(self) -> dict[str, int]:
        """Throws the measurements away, keeps the requests; how many there were, by sender."""
        with self._changed:
            counts = {sender: len(letters) for sender, letters in self._letters.items() if letters}
            self._letters.clear()
        return counts

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting())

    def oldest_s(self) -> float:
        """Age of what waits longest, seconds; 0 when nothing waits."""
        with self._changed:
            waiting = self._waiting()
        return time.monotonic() - min(waiting) if waiting else 0.0

    def _waiting(self) -> list[float]:
        queues = [self._requests, *self._letters.values()]
        return [since for queue in queues for since, _ in queue]


class Worker:
    """One thread that does what comes into its mailbox.

    An exception is told and survived.
    """

    def __init__(
        self, name: str, mailbox: Mailbox, on_error: Callable[[str, Exception], None], nice: int = 0
    ) -> None:
        """
        Args:
            name: of the thread.
            mailbox: where its work comes from.
            on_error: hears the worker's name and the exception, on the worker's thread.
            nice: how far it steps back when the cores are busy, as ``nice(1)``; Linux only.
        """
        self.name = name
        self._nice = nice
        self.mailbox = mailbox
        self.is_busy = False
        self._begun_s = self._asked_s = time.monotonic()
        self._worked_s = 0.0
        self._on_error = on_error
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def load(self) -> tuple[int, float]:
        """How much waits or is being done, and the age in seconds of what waits longest."""
        return len(self.mailbox) + self.is_busy, self.mailbox.oldest_s()

    def stuck_s(self) -> float:
        """How long it has been at its present piece of work, if that is more than ``STUCK_S``; else 0."""
        passed = time.monotonic() - self._begun_s if self.is_busy else 0.0
        return passed if passed > STUCK_S else 0.0

    def busy_share(self) -> float:
        """How much of the time since the last call the thread worked, 0 to 1."""
        now = time.monotonic()
        worked, self._worked_s = self._worked_s, 0.0
        if self.is_busy:
            worked += now - max(self._begun_s, self._asked_s)
        passed, self._asked_s = now - self._asked_s, now
        return min(1.0, worked / passed) if passed > 0 else 0.0

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Its own work waits in here for that of others: that is no work. On the worker's thread only."""
        self._stop_clock()
        try:
            yield
        finally:
            self._start_clock()

    def stop(self, timeout_s: float) -> bool:
        """Asks the thread to end after what it is doing; whether it did in time."""
        self._stopping.set()
        self.mailbox.post(lambda: None)  # wakes it
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        if self._nice and sys.platform == "linux":
            # Of this thread alone; OpenMP's threads that it starts later inherit it.
            own = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own) + self._nice)
        while not self._stopping.is_set():
            work = self.mailbox.take(IDLE_S)
            if work is None:
                continue
            self._start_clock()
            try:
                work()
            except Exception as error:
                self._on_error(self.name, error)
            finally:
                self._stop_clock()

    def _start_clock(self) -> None:
        self._begun_s = time.monotonic()
        self.is_busy = True

    def _stop_clock(self) -> None:
        self.is_busy = False
        self._worked_s += time.monotonic() - max(self._begun_s, self._asked_s)
