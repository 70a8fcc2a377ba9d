"""Mailboxes keep the newest; workers outlive exceptions."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.node import workers
from ws3d_ros.node.reporter import FORGET_S, KEEP_S, LOG_EVERY_S, Reporter
from ws3d_ros.node.workers import Mailbox, Worker


def drain(mailbox: Mailbox) -> list[object]:
    done = []
    while (work := mailbox.take(0.0)) is not None:
        done.append(work())
    return done


@given(depth=st.integers(1, 4), senders=st.lists(st.sampled_from("abc"), max_size=30))
def test_newest_of_each_sender_wins(depth: int, senders: list[str]) -> None:
    mailbox = Mailbox(depth)
    displaced = sum(
        mailbox.put(sender, lambda sender=sender, i=i: (sender, i)) for i, sender in enumerate(senders)
    )
    expected = {
        (sender, i)
        for name in "abc"
        for sender, i in [(s, i) for i, s in enumerate(senders) if s == name][-depth:]
    }
    done = drain(mailbox)
    assert set(done) == expected
    assert displaced == len(senders) - len(expected)
    # What waits longest comes first.
    assert done == sorted(done, key=lambda pair: pair[1])


def test_requests_go_first_and_are_never_displaced() -> None:
    mailbox = Mailbox()
    mailbox.put("a", lambda: "measurement")
    futures = [mailbox.request(lambda i=i: i) for i in range(5)]
    assert len(mailbox) == 6
    assert mailbox.oldest_s() > 0.0
    assert mailbox.clear() == {"a": 1}
    drain(mailbox)
    assert [future.result(0) for future in futures] == [0, 1, 2, 3, 4]
    assert (len(mailbox), mailbox.oldest_s()) == (0, 0.0)


def test_worker_outlives_exceptions() -> None:
    errors: list[tuple[str, str]] = []
    worker = Worker("mapping", Mailbox(), lambda name, error: errors.append((name, str(error))))

    def fail() -> None:
        raise RuntimeError("out of luck")

    worker.start()
    worker.mailbox.post(fail)
    assert worker.mailbox.request(lambda: threading.current_thread().name).result(10) == "mapping"
    assert worker.stop(10)
    assert errors == [("mapping", "out of luck")]


def test_a_worker_that_does_not_come_back_is_noticed_and_believed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "STUCK_S", 0.05)
    worker = Worker("names", Mailbox(), lambda name, error: None)
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go_on.wait(30)

    worker.start()
    assert worker.stuck_s() == 0.0  # idle for longer than that is nothing
    worker.mailbox.post(hang)
    assert begun.wait(10)
    time.sleep(0.1)
    assert worker.stuck_s() >= 0.1
    go_on.set()
    worker.mailbox.request(lambda: None).result(10)
    assert worker.stop(10)
    assert worker.stuck_s() == 0.0


def test_who_asks_gets_the_exception() -> None:
    mailbox = Mailbox()
    failed: Future[float] = mailbox.request(lambda: 1 / 0)
    drain(mailbox)  # raises nothing: the worker is not to blame
    with pytest.raises(ZeroDivisionError):
        failed.result(0)


def test_reporter_logs_seldom_and_remembers_for_a_while() -> None:
    now_s, logged = [0.0], []
    reporter = Reporter(logged.append, lambda: now_s[0])
    for _ in range(10):
        reporter.report("no_tf", "no transform")
        reporter.report("silent", "nothing comes")
    assert logged == ["no transform", "nothing comes"]
    assert reporter.problems() == ["no transform", "nothing comes"]
    now_s[0] = LOG_EVERY_S
    reporter.report("no_tf", "still no transform")
    assert logged[2:] == ["still no transform"]
    reporter.solve("silent")
    assert reporter.problems() == ["still no transform"]
    now_s[0] += KEEP_S + 1.0
    assert reporter.problems() == []


def test_what_lasts_is_said_ever_more_seldom_and_what_comes_again_anew() -> None:
    now_s, logged = [0.0], []
    reporter = Reporter(lambda text: logged.append((now_s[0], text)), lambda: now_s[0])
    while now_s[0] < 100.0:
        reporter.report("no_tf", "again")
        reporter.report("profile", "once", once=True)
        now_s[0] += 1.0
    assert [at_s for at_s, text in logged if text == "again"] == [0.0, 5.0, 15.0, 35.0, 75.0]
    assert [at_s for at_s, text in logged if text == "once"] == [0.0]
    now_s[0] += FORGET_S + 1.0
    reporter.report("profile", "once", once=True)
    assert logged[-1] == (now_s[0], "once")


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
def test_a_worker_that_steps_back_does_so_alone() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = priority()
    workers = [Worker("worker", Mailbox(), lambda *_: None, nice) for nice in (3, 0)]
    for worker in workers:
        worker.start()
    # 19 is the most there is.
    assert [worker.mailbox.request(priority).result(5.0) for worker in workers] == [
        min(before + 3, 19),
        before,
    ]
    assert priority() == before
    assert all(worker.stop(5.0) for worker in workers)


def test_a_worker_tells_how_busy_it_was() -> None:
    worker = Worker("busy", Mailbox(), lambda name, error: None)
    worker.start()
    worker.busy_share()
    release = threading.Event()
    begun = time.monotonic()
    worker.mailbox.post(release.wait)
    time.sleep(0.3)
    during = worker.busy_share()  # asked in the middle of a long piece of work
    release.set()
    while worker.load()[0]:
        time.sleep(0.01)
    rest = worker.busy_share()
    time.sleep(0.2)
    assert worker.busy_share() == 0.0
    assert worker.stop(5.0)
    assert 0.1 < during <= 1.0
    assert 0.0 <= rest <= 1.0
    assert time.monotonic() - begun > 0.4


def test_a_worker_that_rests_is_not_busy() -> None:
    worker = Worker("resting", Mailbox(), lambda name, error: None)
    resting, release = threading.Event(), threading.Event()

    def work() -> None:
        with worker.resting():
            resting.set()
            release.wait()

    worker.start()
    done = worker.mailbox.request(work)
    assert resting.wait(5.0)
    worker.busy_share()
    time.sleep(0.1)
    assert worker.load()[0] == 0
    assert worker.busy_share() == 0.0
    release.set()
    done.result(5.0)
    assert worker.stop(5.0)


def test_the_time_before_a_rest_is_work() -> None:
    worker = Worker("resting", Mailbox(), lambda name, error: None)

    def work() -> None:
        time.sleep(0.2)
        with worker.resting():
            time.sleep(0.05)

    worker.start()
    worker.busy_share()
    begun = time.monotonic()
    worker.mailbox.request(work).result(5.0)
    worked_s = worker.busy_share() * (time.monotonic() - begun)
    assert worker.stop(5.0)
    assert worked_s >= 0.15
