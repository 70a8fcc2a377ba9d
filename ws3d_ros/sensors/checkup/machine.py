"""What the machine gives to large messages: shared memory, kernel buffers, and the profile of Fast DDS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ws3d_ros.sensors.checkup.findings import Finding, note, warning

SEGMENT_BYTES = 32 << 20
"""Less shared memory than this loses clouds of 16 MB. The package's profile has 64 MiB."""
RECEIVE_BYTES = 16 << 20
"""A smaller buffer loses clouds that come by UDP. The package's profile asks for 32 MiB."""
RMEM_MAX_BYTES = RECEIVE_BYTES
IPFRAG_BYTES = 64 << 20
IPFRAG_TIME_S = 10
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Fast DDS 3 and 2."""


@dataclass(frozen=True)
class Machine:
    """Settings that decide whether large messages arrive.

    Attributes:
        middleware: as ROS calls it, ``rmw_fastrtps_cpp``.
        profile: Fast DDS's profile file; empty where none is set.
        segment_bytes: shared memory that it asks for; None where it says nothing or cannot be read.
        receive_bytes: buffer that it asks for what comes by UDP; None likewise.
        shm_free_bytes: room in /dev/shm; None where there is no such thing.
        rmem_max_bytes, ipfrag_high_bytes, ipfrag_time_s: of the kernel; None where it does not tell.
    """

    middleware: str
    profile: str = ""
    segment_bytes: int | None = None
    shm_free_bytes: int | None = None
    rmem_max_bytes: int | None = None
    ipfrag_high_bytes: int | None = None
    ipfrag_time_s: int | None = None
    receive_bytes: int | None = None


def look_at_machine(middleware: str, environment: Mapping[str, str] = os.environ) -> Machine:
    """This process's settings. Asks files only; nothing is raised for what is missing."""
    profile = next((environment[name] for name in PROFILE_VARIABLES if environment.get(name)), "")
    return Machine(
        middleware,
        profile,
        _largest(profile, "segment_size") if profile else None,
        _free_bytes(Path("/dev/shm")),
        _number("/proc/sys/net/core/rmem_max"),
        _number("/proc/sys/net/ipv4/ipfrag_high_thresh"),
        _number("/proc/sys/net/ipv4/ipfrag_time"),
        _largest(profile, "receiveBufferSize") if profile else None,
    )


def judge_machine(machine: Machine, our_profile: str) -> tuple[dict[str, str], list[Finding]]:
    """Whether images and clouds get through.

    Args:
        our_profile: path of the package's profile, to name it.
    """
    is_fast = "fastrtps" in machine.middleware or "fastdds" in machine.middleware
    facts = {"middleware": machine.middleware or "unknown"}
    findings = []
    if is_fast:
        facts["profile"] = machine.profile or "none"
        findings += _judge_profile(machine, our_profile)
    if machine.shm_free_bytes is not None:
        facts["/dev/shm"] = f"{machine.shm_free_bytes / 2**20:.0f} MiB free"
        if is_fast and machine.shm_free_bytes < 2 * SEGMENT_BYTES:
            findings.append(
                warning(
                    "dev_shm",
                    f"/dev/shm has room for {machine.shm_free_bytes / 2**20:.0f} MiB only, each process "
                    "needs 64: "
                    "start the container with --ipc=host or --shm-size=1g, or delete what is left over there",
                )
            )
    small = _small_settings(machine)
    if small:
        cure = f"run sudo sysctl -w {' '.join(small)} (docs/tuning.md)"
        text = f"the kernel's buffers are too small for large messages from other computers: {cure}"
        # Fast DDS carries what stays on one computer through shared memory.
        findings.append(note("kernel", text) if is_fast else warning("kernel", text))
    for key, value in (
        ("rmem_max", machine.rmem_max_bytes),
        ("ipfrag_high_thresh", machine.ipfrag_high_bytes),
        ("ipfrag_time", machine.ipfrag_time_s),
    ):
        facts[key] = "unknown" if value is None else str(value)
    return facts, findings


def _judge_profile(machine: Machine, our_profile: str) -> list[Finding]:
    cure = (
        f"export {PROFILE_VARIABLES[0]}={our_profile} where drivers and the node start (the launch files do)"
    )
    if not machine.profile:
        return [
            warning(
                "profile",
                f"Fast DDS has its default of 0.5 MiB shared memory and loses large messages: {cure}",
            )
        ]
    if not Path(machine.profile).is_file():
        return [warning("profile", f"there is no Fast DDS profile {machine.profile}: {cure}")]
    findings = []
    if machine.segment_bytes is None or machine.segment_bytes < SEGMENT_BYTES:
        findings.append(
            warning(
                "profile",
                f"the Fast DDS profile {machine.profile} gives no shared memory of {SEGMENT_BYTES >> 20} "
                f"MiB or more (segment_size): raise it, or {cure}",
            )
        )
    if machine.receive_bytes is None or machine.receive_bytes < RECEIVE_BYTES:
        findings.append(
            note(
                "receive_buffer",
                f"the Fast DDS profile {machine.profile} asks for no receive buffer of "
                f"{RECEIVE_BYTES >> 20} MiB or more (receiveBufferSize of UDPv4), so that large messages "
                f"from other computers get lost whatever the kernel allows: add it, or {cure}",
            )
        )
    return findings


def _small_settings(machine: Machine) -> list[str]:
    wanted = (
        ("net.core.rmem_max=67108864", machine.rmem_max_bytes, RMEM_MAX_BYTES, 1),
        ("net.ipv4.ipfrag_high_thresh=134217728", machine.ipfrag_high_bytes, IPFRAG_BYTES, 1),
        ("net.ipv4.ipfrag_time=3", machine.ipfrag_time_s, IPFRAG_TIME_S, -1),
    )
    return [cure for cure, value, limit, sign in wanted if value is not None and sign * value < sign * limit]


def _largest(profile: str, name: str) -> int | None:
    """The largest number in elements of that name in a profile."""
    try:
        numbers = [
            int(element.text or "")
            for element in ElementTree.parse(profile).iter()
            if element.tag.rpartition("}")[2] == name
        ]
    except (OSError, ElementTree.ParseError, ValueError):
        return None
    return max(numbers, default=None)


def _free_bytes(folder: Path) -> int | None:
    try:
        room = os.statvfs(folder)
    except OSError:
        return None
    return room.f_bavail * room.f_frsize


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
