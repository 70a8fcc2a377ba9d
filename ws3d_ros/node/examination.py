"""What the input doctor looks at: every topic that the node listens to, tf, the clock, the machine.

``observe`` collects on the executor's thread, cheaply; ``judge`` decodes a message of each topic
and asks ``sensors/checkup``, on any thread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.node import Node

from ws3d_ros.config import InputConfig
from ws3d_ros.node.camera_source import CameraSource, is_rectified
from ws3d_ros.node.codecs import (
    camera_info,
    check_bytes,
    decode_any_depth,
    decode_color,
    decode_points,
    encoding_of,
)
from ws3d_ros.node.ingest import Ingest
from ws3d_ros.node.inputs import Input, endpoints
from ws3d_ros.node.transforms import bare
from ws3d_ros.resources import config_folder
from ws3d_ros.sensors.checkup.content import (
    Judgement,
    judge_calibration,
    judge_color,
    judge_depth,
    judge_points,
)
from ws3d_ros.sensors.checkup.findings import Finding, Level, Section, error
from ws3d_ros.sensors.checkup.links import Link, judge_links
from ws3d_ros.sensors.checkup.machine import judge_machine, look_at_machine
from ws3d_ros.sensors.checkup.stream import Arrivals, Endpoint, judge_flow, judge_publishers
from ws3d_ros.sensors.checkup.timing import judge_clock, judge_clocks, judge_pair, judge_stamps
from ws3d_ros.sensors.errors import SensorError


@dataclass(frozen=True)
class StreamSeen:
    """One topic, as plain values and its newest message.

    Attributes:
        message: None where none came lately; calibrations may come once only.
        missed: why it is silent, empty where it flows or nobody misses it.
    """

    topic: str
    role: str
    publishers: list[Endpoint]
    ours: Endpoint | None
    arrivals: Arrivals
    message: Any
    missed: str
    is_rectified: bool


@dataclass(frozen=True)
class SensorSeen:
    """The topics of one sensor, by what they carry: ``color``, ``depth``, ``color_info`` … or ``points``."""

    name: str
    streams: Mapping[str, StreamSeen]


@dataclass(frozen=True)
class Seen:
    """Everything that is judged."""

    sensors: list[SensorSeen]
    tf: dict[str, tuple[list[Endpoint], Endpoint | None]]
    links: Mapping[str, Link]
    use_sim_time: bool
    clock_publishers: int
    now_ns: int


def observe(node: Node, ingest: Ingest) -> Seen:
    """What there is to see now. On the executor's thread only."""
    missed = ingest.missed()
    cameras = [SensorSeen(camera.name, _camera(camera, missed)) for camera in ingest.cameras]
    lidars = [SensorSeen(name, {"points": _stream(source, missed)}) for name, source in ingest.lidars.items()]
    return Seen(
        sensors=[*cameras, *lidars],
        tf={topic: endpoints(node, topic) for topic in ("/tf", "/tf_static")},
        links=ingest.transforms.links(),
        use_sim_time=bool(node.get_parameter("use_sim_time").value),
        clock_publishers=node.count_publishers("/clock"),
        now_ns=node.get_clock().now().nanoseconds,
    )


def _camera(camera: CameraSource, missed: Mapping[str, str]) -> dict[str, StreamSeen]:
    return {
        "color": _stream(camera.color, missed),
        "depth": _stream(camera.depth, missed),
        "color_info": _stream(camera.color_info, missed),
        "depth_info": _stream(camera.depth_info, missed),
    }


def _stream(source: Input, missed: Mapping[str, str]) -> StreamSeen:
    publishers, ours = source.endpoints()
    arrivals = source.log.recent(time.monotonic())
    return StreamSeen(
        topic=source.base if source.source is None else source.source.topic,
        role=source.role,
        publishers=publishers,
        ours=ours,
        arrivals=arrivals,
        message=source.newest if len(arrivals) or source.role == "info" else None,
        missed=missed.get(source.base, ""),
        is_rectified=is_rectified(source),
    )


def judge(seen: Seen, config: InputConfig) -> list[Section]:
    """A section for each topic and sensor, then one each for time, tf and the middleware."""
    sections = []
    for sensor in seen.sensors:
        sizes: dict[str, tuple[int, int]] = {}
        for part, stream in sensor.streams.items():
            sections.append(_judge_stream(sensor.name, part, stream, sizes, seen, config))
        sections.append(_judge_sensor(sensor, seen, config))
    return [*sections, _judge_time(seen), _judge_tf(seen), _judge_machine()]


def _judge_stream(
    sensor: str,
    part: str,
    stream: StreamSeen,
    sizes: dict[str, tuple[int, int]],
    seen: Seen,
    config: InputConfig,
) -> Section:
    """``sizes`` remembers the images' widths and heights for the calibrations, which come after them."""
    facts = {"publishers": ", ".join(f"{one.node} ({one.describe()})" for one in stream.publishers) or "none"}
    findings = judge_publishers(stream.topic, stream.publishers, stream.ours)
    if stream.missed and not any(finding.level == Level.ERROR for finding in findings):
        findings.append(error("silent", stream.missed))
    if len(stream.arrivals):
        facts |= {
            "type": stream.ours.type if stream.ours is not None else "",
            "rate": f"{stream.arrivals.rate_hz():.1f} Hz",
            "stamps": f"{stream.arrivals.age_s():+.3f} s old on arrival",
        }
    is_timed = not part.endswith("_info")
    if is_timed:
        findings += judge_flow(stream.topic, stream.arrivals)
        findings += judge_stamps(stream.topic, stream.arrivals, seen.use_sim_time, seen.clock_publishers)
    if stream.message is not None:
        more_facts, more = _judge_content(part, stream, sizes, config)
        facts |= more_facts
        findings += more
    return Section(stream.topic, sensor, facts, tuple(findings))


def _judge_content(
    part: str, stream: StreamSeen, sizes: dict[str, tuple[int, int]], config: InputConfig
) -> Judgement:
    message = stream.message
    try:
        if not part.endswith("_info"):
            check_bytes(message, config.max_message_mb)
        if part == "points":
            returns = decode_points(message)
            facts, findings = judge_points(returns, message.height * message.width)
            return {"fields": " ".join(field.name for field in message.fields), **facts}, findings
        if part == "color":
            color = decode_color(message)
            sizes[part] = color.shape[1], color.shape[0]
            return judge_color(color, encoding_of(message))
        if part == "depth":
            depth_m = decode_any_depth(message, config.depth_scale)
            sizes[part] = depth_m.shape[1], depth_m.shape[0]
            return judge_depth(depth_m, encoding_of(message), config.depth_scale)
    except SensorError as reason:
        return {}, [error(reason.reason, str(reason))]
    # Where depth has no calibration, and where there is no colour, the other's image counts.
    side = part.removesuffix("_info")
    width, height = sizes.get(side) or sizes.get("depth") or (int(message.width), int(message.height))
    return judge_calibration(camera_info(message), width, height, stream.is_rectified)


def _judge_sensor(sensor: SensorSeen, seen: Seen, config: InputConfig) -> Section:
    """Whether images pair and where the sensor is."""
    facts: dict[str, str] = {}
    findings: list[Finding] = []
    streams = sensor.streams
    if "color" in streams:
        facts, findings = judge_pair(
            streams["color"].arrivals, streams["depth"].arrivals, config.sync_tolerance_s
        )
        has = {part for part, stream in streams.items() if stream.message is not None}
        if "color_info" not in has and ("color" in has or ("depth" in has and "depth_info" not in has)):
            findings.append(
                error(
                    "no_camera_info",
                    f"images come, but no camera_info has come yet on {streams['color_info'].topic}: remap "
                    "it to the "
                    "driver's topic, or calibrate the camera",
                )
            )
    timed = _timed(sensor)
    if timed is not None:
        header = timed.message.header
        if header.frame_id:
            newest_ns = int(timed.arrivals.stamp_ns.max())
            more_facts, more = judge_links(
                seen.links, bare(config.map_frame), bare(header.frame_id), newest_ns, config.tf_deadline_s
            )
            facts |= more_facts
            findings += more
        else:
            findings.append(
                error(
                    "no_frame_id",
                    f"the headers on {timed.topic} have no frame_id: the driver must fill it in",
                )
            )
    return Section(sensor.name, sensor.name, facts, tuple(findings))


def _timed(sensor: SensorSeen) -> StreamSeen | None:
    """The stream that stands for a sensor's clock and frame, if anything comes."""
    for part in ("color", "depth", "points"):
        stream = sensor.streams.get(part)
        if stream is not None and stream.message is not None:
            return stream
    return None


def _judge_time(seen: Seen) -> Section:
    streams = {
        sensor.name: stream.arrivals for sensor in seen.sensors if (stream := _timed(sensor)) is not None
    }
    findings = judge_clock(seen.use_sim_time, seen.clock_publishers, seen.now_ns) + judge_clocks(streams)
    clock = "/clock (use_sim_time)" if seen.use_sim_time else "this computer's"
    return Section(
        "time", "", {"clock": clock, "publishers of /clock": str(seen.clock_publishers)}, tuple(findings)
    )


def _judge_tf(seen: Seen) -> Section:
    findings: list[Finding] = []
    facts = {"frames": str(len(seen.links))}
    for topic, (publishers, ours) in seen.tf.items():
        facts[topic] = ", ".join(sorted({one.node for one in publishers})) or "nobody"
        findings += judge_publishers(topic, publishers, ours)
    return Section("tf", "", facts, tuple(findings))


def _judge_machine() -> Section:
    machine = look_at_machine(rclpy.get_rmw_implementation_identifier())
    facts, findings = judge_machine(machine, str(config_folder() / "fastdds_large.xml"))
    return Section("large messages", "", facts, tuple(findings))
