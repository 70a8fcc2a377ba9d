"""A signal that comes while the node is configured or about to publish: it ends, and alarms nobody."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from isolation import MISSING

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

from graph import START_TIMEOUT_S, Camera, NodeProcess, Robot

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_messages_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    """breaking_node.py holds the thread until ROS is shut down, and lets it publish then."""
    monkeypatch.setenv("WS3D_BREAK", str(tmp_path))
    robot = Robot()
    node = NodeProcess(tmp_path / "node.log", program=[str(Path(__file__).parent / "breaking_node.py")])
    try:
        robot.wait_active()
        (tmp_path / "output").write_text("hang")
        camera = Camera(robot, "camera")

        def output_hangs() -> bool:
            camera.shoot(time.time(), 0.0)
            queues = {queue.queue: queue for queue in robot.newest("status").queues}
            return robot.counts("camera")[1] > 0 and queues["output"].busy_share > 0.99

        robot.wait(output_hangs, "the thread that publishes is held")
        node.process.send_signal(how)
        time.sleep(0.5)  # ROS is shut down within this, and the node waits longer for its threads
        (tmp_path / "output").unlink()
        assert node.process.wait(15.0) == 0
    finally:
        node.stop(signal.SIGKILL)
        robot.close()
    alarms_nobody(node)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    monkeypatch.setenv("WS3D_BREAK", str(tmp_path))
    (tmp_path / "configure").write_text("hang")
    robot = Robot()
    node = NodeProcess(tmp_path / "node.log", program=[str(Path(__file__).parent / "breaking_node.py")])
    try:
        robot.wait(lambda: "ws3d" in robot.node.get_node_names(), "the node is made", START_TIMEOUT_S)
        node.process.send_signal(how)
        time.sleep(0.5)
        (tmp_path / "configure").unlink()
        node.process.send_signal(how)
        assert node.process.wait(15.0) == 0
    finally:
        node.stop(signal.SIGKILL)
        robot.close()
    alarms_nobody(node)


def alarms_nobody(node: NodeProcess) -> None:
    for alarm in ("survived an error", "context is invalid", "failed", "Traceback"):
        assert alarm not in node.log()
