"""What to say where ROS does not let the node do something, as in a strict SROS 2 enclave."""

from __future__ import annotations

import os
from collections.abc import Mapping

from rclpy.impl.implementation_singleton import rclpy_implementation

RefusedError = rclpy_implementation.RCLError
"""Raised by rclpy for what the middleware refuses. It seldom says which topic or service it was."""
HINT = (
    "; in an SROS 2 enclave its policy must allow this, for this name, namespace and ROS_DOMAIN_ID: "
    "config/sros2/ws3d.policy.xml has what the node needs, and the lines of DDS before this one name what "
    "it refuses"
)


def refusal(what: str, error: Exception, environment: Mapping[str, str] = os.environ) -> str:
    """One sentence: what was refused and why, and where to look if security is on."""
    secured = environment.get("ROS_SECURITY_ENABLE", "").lower() == "true"
    return f"ROS refuses {what}: {str(error).strip()}{HINT if secured else ''}"
