"""The ledger counts every measurement once and does not nag."""

from __future__ import annotations

import threading

from ws3d_ros.sensors.ledger import Ledger


def test_counts_by_sensor_and_reason_with_the_latest_message() -> None:
    ledger = Ledger()
    for _ in range(5):
        ledger.received("camera")
    ledger.used("camera")
    ledger.dropped("camera", "tf_too_new", "0.1 s late")
    ledger.dropped("camera", "tf_too_new", "0.2 s late")
    ledger.dropped("camera", "tf_too_new")
    ledger.dropped("lidar", "empty_cloud", "no points")
    snapshot = ledger.snapshot()
    assert list(snapshot) == ["camera", "lidar"]
    camera = snapshot["camera"]
    assert (camera.received, camera.used, dict(camera.dropped)) == (5, 1, {"tf_too_new": 3})
    assert camera.messages == {"tf_too_new": "0.2 s late"}
    assert dict(snapshot["lidar"].dropped) == {"empty_cloud": 1}


def test_a_snapshot_is_a_copy() -> None:
    ledger = Ledger()
    ledger.dropped("camera", "corrupt", "first")
    before = ledger.snapshot()
    before["camera"].dropped["corrupt"] = 99
    ledger.dropped("camera", "corrupt", "second")
    ledger.received("camera")
    assert before["camera"].messages == {"corrupt": "first"}
    assert before["camera"].received == 0
    assert ledger.snapshot()["camera"].dropped["corrupt"] == 2


def test_each_reason_is_said_at_once_and_then_every_five_seconds() -> None:
    ledger = Ledger()
    times = [0.0, 0.1, 4.9, 5.0, 5.1, 9.9, 10.0, 100.0]
    assert [ledger.say("corrupt", now_s) for now_s in times] == [
        *(True, False, False, True),
        *(False, False, True, True),
    ]
    assert ledger.say("truncated", 0.2)


def test_no_count_is_lost_between_threads() -> None:
    ledger = Ledger()

    def work() -> None:
        for _ in range(2000):
            ledger.received("camera")
            ledger.used("camera")
            ledger.dropped("camera", "corrupt", "x")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    camera = ledger.snapshot()["camera"]
    assert (camera.received, camera.used, camera.dropped["corrupt"]) == (8000, 8000, 8000)
