"""Messages lost between two processes, with Fast DDS as it comes and with the package's profile.

    python benchmarks/dds_loss.py [--seconds 5]                 # on one computer
    sudo .venv/bin/python benchmarks/dds_loss.py --computers 2  # between two, and with the kernel's settings

Sends messages of the size of colour images, depth images and clouds, best effort, and counts what arrives.
The two computers are network namespaces of this one with a cable between (a veth pair of MTU 1500): all is
real but the network card, which makes the packets come faster than a cable would carry them. Shared memory,
which namespaces still have in common, is left out. The kernel's settings are put back at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROFILE = Path(__file__).resolve().parents[1] / "config" / "fastdds_large.xml"
# name: (bytes, messages a second)
STREAMS = {
    "colour 640x480": (640 * 480 * 3, 30.0),
    "depth 640x480": (640 * 480 * 2, 30.0),
    "cloud 130k x 32 B": (131_072 * 32, 10.0),
    "cloud 500k x 32 B": (500_000 * 32, 2.0),
}
START_S, DRAIN_S = 2.0, 2.0
DRIVER, LISTENER = "ws3d_driver", "ws3d_listener"
RMEM_MAX = Path("/proc/sys/net/core/rmem_max")
AS_LINUX_COMES = {"rmem_max": 212_992, "ipfrag_high_thresh": 4_194_304, "ipfrag_time": 30}
TUNED = {"rmem_max": 67_108_864, "ipfrag_high_thresh": 134_217_728, "ipfrag_time": 3}
"""What docs/tuning.md says."""


def send(seconds: float) -> None:
    """The driver's process: each message is an Image whose width is its number."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("dds_loss_driver")
    profile = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    messages = {name: Image(data=bytes(size)) for name, (size, _) in STREAMS.items()}
    publishers = {name: node.create_publisher(Image, f"/loss_{i}", profile) for i, name in enumerate(STREAMS)}
    deadline_s = time.monotonic() + 20.0
    while any(one.get_subscription_count() == 0 for one in publishers.values()):
        if time.monotonic() > deadline_s:
            raise SystemExit("nobody listens")
        time.sleep(0.05)
    time.sleep(START_S)
    begun_s, sent = time.monotonic(), dict.fromkeys(STREAMS, 0)
    while (passed_s := time.monotonic() - begun_s) < seconds:
        for name, (_, rate_hz) in STREAMS.items():
            if sent[name] <= passed_s * rate_hz:
                sent[name] += 1
                messages[name].header.stamp.sec, messages[name].header.stamp.nanosec = divmod(
                    time.monotonic_ns(), 1_000_000_000
                )
                publishers[name].publish(messages[name])
        time.sleep(0.001)
    time.sleep(DRAIN_S)
    print(json.dumps(sent))


def receive(seconds: float, where: list[str]) -> dict[str, tuple[int, int, float]]:
    """The node's process: sent, arrived and median latency in milliseconds, by stream.

    ``where``: what the driver's command begins with.
    """
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("dds_loss_listener")
    profile = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    latencies: dict[str, list[float]] = {name: [] for name in STREAMS}

    def listen(name: str, topic: str) -> None:
        def hear(message: Image) -> None:
            stamp = message.header.stamp
            latencies[name].append((time.monotonic_ns() - stamp.sec * 1_000_000_000 - stamp.nanosec) / 1e6)

        node.create_subscription(Image, topic, hear, profile)

    for i, name in enumerate(STREAMS):
        listen(name, f"/loss_{i}")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    driver = subprocess.Popen(
        [*where, sys.executable, __file__, "--send", "--seconds", str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    while driver.poll() is None:
        executor.spin_once(timeout_sec=0.1)
    assert driver.stdout is not None
    sent = json.loads(driver.stdout.read())
    return {
        name: (sent[name], len(values), sorted(values)[len(values) // 2] if values else float("nan"))
        for name, values in latencies.items()
    }


def measure(setting: str, environment: dict[str, str], seconds: float, computers: int) -> None:
    """Prints the rows of one setting."""
    inside = ["ip", "netns", "exec", LISTENER] if computers == 2 else []
    done = subprocess.run(
        [*inside, sys.executable, __file__, "--receive", f"--seconds={seconds}", f"--computers={computers}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment,
    )
    for name, (sent, arrived, latency_ms) in json.loads(done.stdout).items():
        print(f"| {setting} | {name} | {sent} | {arrived} | {1.0 - arrived / sent:.0%} | {latency_ms:.0f} |")


@contextmanager
def two_computers() -> Iterator[None]:
    """Two namespaces with a cable between them."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    names = {DRIVER: ("wire0", "10.83.0.1/24"), LISTENER: ("wire1", "10.83.0.2/24")}
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "wire0", "netns", DRIVER, "type", "veth", "peer", "wire1", "netns", LISTENER)
        for name, (wire, address) in names.items():
            ip("-n", name, "address", "add", address, "dev", wire)
            for one in ("lo", wire):
                ip("-n", name, "link", "set", one, "up")
            ip("-n", name, "route", "add", "multicast", "224.0.0.0/4", "dev", wire)
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


@contextmanager
def kernel(settings: dict[str, int]) -> Iterator[None]:
    """Settings of the listener's kernel: rmem_max is everybody's, fragments are each namespace's own."""
    before = RMEM_MAX.read_text()
    try:
        RMEM_MAX.write_text(str(settings["rmem_max"]))
        for name in ("ipfrag_high_thresh", "ipfrag_time"):
            words = ["sysctl", "-q", "-w", f"net.ipv4.{name}={settings[name]}"]
            subprocess.run(["ip", "netns", "exec", LISTENER, *words], check=True)
        yield
    finally:
        RMEM_MAX.write_text(before)


def without_shared_memory(folder: Path) -> Path:
    """The package's profile with UDP alone."""
    file = folder / "udp.xml"
    used = r"(<userTransports>.*?)<transport_id>shared_memory</transport_id>"
    file.write_text(re.sub(used, r"\1", PROFILE.read_text(), flags=re.DOTALL))
    return file


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--computers", type=int, choices=(1, 2), default=1)
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    seconds, computers = arguments.seconds, arguments.computers
    if arguments.send:
        send(seconds)
        return
    if arguments.receive:
        where = ["ip", "netns", "exec", DRIVER] if computers == 2 else []
        print(json.dumps(receive(seconds, where)))
        return
    if computers == 2 and os.geteuid() != 0:
        parser.error("network namespaces and kernel settings need root: use sudo")
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SUBNET" if computers == 2 else "LOCALHOST"
    os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    plain = {name: value for name, value in os.environ.items() if "DEFAULT_PROFILES_FILE" not in name}
    print("| setting | stream | sent | arrived | lost | latency p50, ms |\n|---|---|---|---|---|---|")
    if computers == 1:
        measure("as it comes", plain, seconds, computers)
        with_profile = {**plain, "FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE)}
        measure(PROFILE.name, with_profile, seconds, computers)
        return
    with two_computers(), tempfile.TemporaryDirectory() as folder:
        by_udp = {**plain, "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}
        profile = str(without_shared_memory(Path(folder)))
        with_profile = {**plain, "FASTDDS_DEFAULT_PROFILES_FILE": profile}
        for name, settings in (("", AS_LINUX_COMES), (", kernel's settings", TUNED)):
            with kernel(settings):
                measure(f"as it comes{name}", by_udp, seconds, computers)
                measure(f"{PROFILE.name}{name}", with_profile, seconds, computers)


if __name__ == "__main__":
    main()
