"""One bag, one node: what `ws3d demo` and the live tests share on the ROS side."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

import rclpy
from rclpy.executors import SingleThreadedExecutor

from ws3d_ros.node.player import Player
from ws3d_ros.node.recorder import Recorder


class Session:
    """A player of a bag and a recorder of the node's outputs, spun by a thread of their own."""

    def __init__(self, bag: Path, *, clock: bool = True) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("ws3d_demo", context=self.context)
        self.player = Player(self.node, bag, clock=clock)
        self.recorder = Recorder(self.node)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)

    def __enter__(self) -> Session:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)
        self.node.destroy_node()
        self.context.try_shutdown()

    def wait_for_listeners(self, base_topics: list[str], timeout_s: float = 20.0) -> list[str]:
        """Waits until the node subscribes to the sensors; returns the topics that nobody listens to.

        Args:
            base_topics: names without the ``/compressed`` of image_transport.
        """
        topics = [
            topic
            for topic in self.player.publishers
            if any(topic == base or topic.startswith(f"{base}/compressed") for base in base_topics)
        ]
        return self.player.wait_for_listeners(topics, timeout_s)

    def settle(self, timeout_s: float, map_period_s: float) -> bool:
        """Waits until the node has nothing left to do and its map has been published after that."""
        time.sleep(1.0)  # one status period: what was sent last is in the queues by now
        idle = self.recorder.wait(self.recorder.is_idle, timeout_s)
        since_s = time.monotonic()
        # No newer map within two periods means that the last one is already complete.
        self.recorder.wait(lambda: self.recorder.map_received_s > since_s, 2 * map_period_s)
        return idle
