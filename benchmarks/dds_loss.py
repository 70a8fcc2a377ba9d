"""Messages lost between two processes, with Fast DDS as it comes and with the package's profile.

Usage: python benchmarks/dds_loss.py [--seconds 5]

Sends messages of the size of colour images, depth images and clouds, best effort, and counts what arrives.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
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


def receive(seconds: float, environment: dict[str, str]) -> dict[str, tuple[int, int, float]]:
    """The node's process: sent, arrived and median latency in milliseconds, by stream."""
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
        [sys.executable, __file__, "--send", "--seconds", str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    while driver.poll() is None:
        executor.spin_once(timeout_sec=0.1)
    assert driver.stdout is not None
    sent = json.loads(driver.stdout.read())
    return {
        name: (sent[name], len(values), sorted(values)[len(values) // 2] if values else float("nan"))
        for name, values in latencies.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        send(arguments.seconds)
        return
    if arguments.receive:
        print(json.dumps(receive(arguments.seconds, dict(os.environ))))
        return
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    plain = {name: value for name, value in os.environ.items() if "DEFAULT_PROFILES_FILE" not in name}
    print("| setting | stream | sent | arrived | lost | latency p50, ms |\n|---|---|---|---|---|---|")
    for setting, environment in {
        "as it comes": plain,
        "fastdds_large.xml": {**plain, "FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE)},
    }.items():
        done = subprocess.run(
            [sys.executable, __file__, "--receive", "--seconds", str(arguments.seconds)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=environment,
        )
        for name, (sent, arrived, latency_ms) in json.loads(done.stdout).items():
            lost = 1.0 - arrived / sent
            print(f"| {setting} | {name} | {sent} | {arrived} | {lost:.0%} | {latency_ms:.0f} |")


if __name__ == "__main__":
    main()
