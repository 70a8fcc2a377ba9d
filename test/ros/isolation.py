"""A domain of its own for live tests, so that nothing else on this machine or network takes part."""

from __future__ import annotations

import importlib
import os

os.environ["ROS_DOMAIN_ID"] = str(os.getpid() % 100 + 1)
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
