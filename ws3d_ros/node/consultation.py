"""`ws3d doctor` on the ROS side: asks the doctor of a running node, or examines the inputs itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import LoggingSeverity, set_logger_level
from rclpy.node import Node

from ws3d_ros.msg import PipelineStatus
from ws3d_ros.node import parameters
from ws3d_ros.node.doctor import PERIOD_S, from_entry
from ws3d_ros.node.examination import judge, observe
from ws3d_ros.node.ingest import PATIENCE_S, Ingest
from ws3d_ros.node.refusal import RefusedError
from ws3d_ros.node.reporter import Reporter
from ws3d_ros.sensors.checkup.findings import Section
from ws3d_ros.sensors.ledger import Ledger

DISCOVERY_S = 2.0
"""Until a node on this machine is found."""
LOOK_PERIOD_S = 1.0
POLL_PERIOD_S = 0.05
LEAST_S = PATIENCE_S + 1.0
"""Silence and rates cannot be told sooner."""


@dataclass(frozen=True)
class Consultation:
    """What came out.

    Attributes:
        by: who looked, for people.
        said: what the running node says besides; nothing without one.
    """

    by: str
    said: list[str]
    sections: list[Section]


def consult(namespace: str, seconds: float, arguments: Sequence[str]) -> Consultation:
    """Examines the inputs of the node ``ws3d`` in a namespace.

    A node that runs is asked, as it knows its own parameters, remappings and buffers. Without one,
    the topics are listened to here as it would.

    Args:
        seconds: how long to look; where this is too short to tell anything, what is needed.
        arguments: ROS arguments, ``-r from:=to`` …, for when no node runs.

    Raises:
        ConfigError: a parameter among the arguments that does not fit.
        RuntimeError: arguments that ROS does not accept.
        PermissionError: ROS lets us not into the graph, as an enclave may.
    """
    context = rclpy.Context()
    rclpy.init(context=context, args=["ws3d_doctor", "--ros-args", *arguments])
    executor = SingleThreadedExecutor(context=context)
    # The name that parameter files address, as the arguments are meant for the node that is to be started.
    try:
        node = Node(
            "ws3d",
            context=context,
            namespace=namespace,
            automatically_declare_parameters_from_overrides=True,
            allow_undeclared_parameters=True,
            start_parameter_services=False,
        )
    except RefusedError as error:
        raise PermissionError(str(error)) from error
    executor.add_node(node)
    try:
        set_logger_level(node.get_logger().name, LoggingSeverity.FATAL)
        status_topic = node.resolve_topic_name("ws3d/status")

        def runs() -> bool:
            return node.count_publishers(status_topic) > 0

        spin(executor, DISCOVERY_S, runs)
        seen = None if runs() else look(node, executor, seconds, runs)
        # A busy machine finds it late: what it knows counts more than what was seen until then.
        return ask(node, executor, seconds) if seen is None or runs() else seen
    finally:
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        context.try_shutdown()


def ask(node: Node, executor: SingleThreadedExecutor, seconds: float) -> Consultation:
    """What the running node's doctor says, and what else the node has to say."""
    newest: dict[str, Any] = {}

    def hear(message: DiagnosticArray) -> None:
        sections = [section for entry in message.status if (section := from_entry(entry)) is not None]
        if sections:
            newest["sections"] = sections

    node.create_subscription(DiagnosticArray, "/diagnostics", hear, 10)
    node.create_subscription(PipelineStatus, "ws3d/status", partial(newest.__setitem__, "status"), 1)
    spin(executor, seconds)
    spin(executor, PERIOD_S, lambda: "sections" in newest and "status" in newest)
    status = newest.get("status", PipelineStatus(state="silent"))
    sections = newest.get("sections", [])
    known = [finding.message for section in sections for finding in section.findings]
    return Consultation(
        f"the running node, which is {status.state}",
        [problem for problem in status.problems if not any(message in problem for message in known)],
        sections,
    )


def look(
    node: Node, executor: SingleThreadedExecutor, seconds: float, until: Callable[[], bool]
) -> Consultation:
    """What we see without a running node, for as long or until something holds."""
    parameters.declare(node)
    config = parameters.read(node).inputs
    quiet = Reporter(lambda text: None)
    ingest = Ingest(node, config, Ledger(), quiet, lambda measurement: None, lambda: None, lambda jump: None)
    timers = [node.create_timer(LOOK_PERIOD_S, ingest.look), node.create_timer(POLL_PERIOD_S, ingest.poll)]
    spin(executor, max(seconds, LEAST_S), until)
    sections = judge(observe(node, ingest), config)
    for timer in timers:
        node.destroy_timer(timer)
    ingest.close()
    return Consultation("this command, as no node ws3d runs", [], sections)


def spin(executor: SingleThreadedExecutor, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Runs callbacks for a while, or until something holds."""
    deadline_s = time.monotonic() + seconds
    while not until() and (left_s := deadline_s - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=min(left_s, 0.1))
