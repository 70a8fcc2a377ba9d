"""A domain of its own for live tests, so that nothing else on this machine or network takes part."""

from __future__ import annotations

import importlib
import os
import socket


def claim_domain() -> tuple[int, socket.socket]:
    """A domain that no other run of these tests on this network has, and what claims it while it is open:
    the domain's port (7400 + 250 a domain, by RTPS 2.5, 9.6.2), of TCP, which DDS leaves alone by default."""
    for domain in range(1, 101):
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", 7400 + 250 * domain))
        except OSError:
            claim.close()
        else:
            return domain, claim
    raise RuntimeError("all 100 ROS domains are taken: what holds TCP ports 7650, 7900, ... 32400?")


DOMAIN, _claim = claim_domain()
os.environ["ROS_DOMAIN_ID"] = str(DOMAIN)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_LOCALHOST_ONLY"] = "1"
os.environ["ROS_LOG_DIR"] = "/tmp/ws3d_test_logs"


def missing() -> str:
    """What the live tests lack here, or nothing."""
    try:
        for module in ("rclpy", "ws3d_ros.msg", "tf2_msgs.msg"):
            importlib.import_module(module)
    except ImportError as error:
        return f"{error}; `make venv` builds what is missing"
    return ""


MISSING = missing()
