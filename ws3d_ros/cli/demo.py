"""`ws3d demo`: a bag into the real node over DDS, and what came out as files to look at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ws3d_ros.cli.play import open_session, use_large_messages
from ws3d_ros.cli.results import write_results
from ws3d_ros.training.datasets.bag_topics import BagError, BagTopics, bag_folder, find_topics

console = Console()
NODE_START_TIMEOUT_S = 90.0
SETTLE_TIMEOUT_S = 60.0
MAP_PERIOD_S = 2.0


def demo(
    bag: Annotated[Path, typer.Option(help="A rosbag2 (sqlite3 or mcap) with RGB-D, LiDAR or both, and tf.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/demo"),
    color: Annotated[str | None, typer.Option(help="Colour topic, when the bag has several.")] = None,
    depth: Annotated[str | None, typer.Option(help="Depth topic, when the bag has several.")] = None,
    lidar: Annotated[str | None, typer.Option(help="Point cloud topic, when the bag has several.")] = None,
    vocabulary: Annotated[
        str, typer.Option(help="indoor, outdoor, a YAML file, or words with commas; empty chooses.")
    ] = "",
    encoder: Annotated[str, typer.Option(help="auto, none, concept or open_clip:MODEL/PRETRAINED.")] = "auto",
    checkpoint: Annotated[
        str, typer.Option(help="A 3D network's weights (.safetensors), auto or none.")
    ] = "auto",
    voxel_size: Annotated[
        float,
        typer.Option(help="Edge of a voxel in metres; 0 chooses: 0.05 with depth, 0.2 without.", min=0.0),
    ] = 0.0,
    rate: Annotated[
        float, typer.Option(help="How many times faster than recorded.", min=0.05, max=20.0)
    ] = 1.0,
    loops: Annotated[int, typer.Option(help="How often to play the bag.", min=1)] = 1,
    param: Annotated[
        list[str] | None, typer.Option(help="A node parameter, NAME:=VALUE; may be repeated.")
    ] = None,
) -> None:
    """Starts the node, plays a bag into it and writes clouds, pictures and a report.

    Example: ws3d demo --bag my_bag --vocabulary "desk, monitor, mug, floor, wall"
    """
    try:
        folder = bag_folder(bag)
        topics = find_topics(folder, color, depth, lidar)
    except BagError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(2) from error
    # A domain and settings of its own: nothing else on the network sees the demo.
    os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    use_large_messages()
    voxel_size = voxel_size or (0.2 if topics.outdoor else 0.05)
    show_topics(bag, topics)
    out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    arguments = node_arguments(topics, vocabulary, encoder, checkpoint, voxel_size, param or [])
    with open_session(folder) as session, running_node(arguments, out / "node.log") as node:
        problems = run(session, node, topics, rate, loops)
        points, names, colors = session.recorder.points(), session.recorder.names(), session.recorder.colors()
        report = session.recorder.report() | {"problems": problems}
    report |= {
        "bag": str(bag),
        "wall_s": round(time.monotonic() - begun, 1),
        "node_exit_code": node.returncode,
    }
    if len(points) == 0:
        explain_nothing(report, out)
        raise typer.Exit(1)
    with console.status("drawing"):
        report |= write_results(out, points, names, colors, voxel_size, topics.up)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    show_report(report, out)


def run(session: Any, node: subprocess.Popen[bytes], topics: BagTopics, rate: float, loops: int) -> list[str]:
    """Waits for the node, plays, and waits until the node has digested everything.

    Returns:
        What the node complained about at the end of the bag; later, it rightly misses the sensors.
    """
    with console.status("the node starts (loads its networks and warms up)"):
        if not session.recorder.wait(
            lambda: session.recorder.is_active() or node.poll() is not None, NODE_START_TIMEOUT_S
        ):
            raise SystemExit(f"The node was not ready within {NODE_START_TIMEOUT_S:.0f} s; see node.log.")
        if node.poll() is not None:
            raise SystemExit(f"The node ended with code {node.returncode}; see node.log.")
        lonely = session.wait_for_listeners(sensor_topics(topics))
    for topic in lonely:
        console.print(f"[yellow]the node does not listen to {topic}")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("playing", total=session.player.duration_s * loops)
        for loop in range(loops):
            session.player.play(
                rate=rate,
                on_progress=partial(advance, progress, task, loop * session.player.duration_s),
                stop=lambda: node.poll() is not None,
            )
        progress.update(task, completed=session.player.duration_s * loops)
    if node.poll() is not None:
        raise SystemExit(f"The node died with code {node.returncode} while the bag played; see node.log.")
    problems: list[str] = session.recorder.report()["problems"]
    with console.status("the node finishes what waits"):
        session.settle(SETTLE_TIMEOUT_S, MAP_PERIOD_S)
    return problems


def advance(progress: Progress, task: TaskID, before_s: float, played_s: float) -> None:
    """Moves the bar to how much has been played, earlier loops included."""
    progress.update(task, completed=before_s + played_s)


def sensor_topics(topics: BagTopics) -> list[str]:
    return [topic for topic in (topics.color, topics.depth, topics.lidar) if topic]


def node_arguments(
    topics: BagTopics,
    vocabulary: str,
    encoder: str,
    checkpoint: str,
    voxel_size_m: float,
    params: list[str],
) -> list[str]:
    """The node's command line: remaps to the bag's topics and the parameters that a bag implies."""
    remaps = {
        "camera/color/image": topics.color,
        "camera/depth/image": topics.depth,
        "camera/color/camera_info": topics.color_info,
        "camera/depth/camera_info": topics.depth_info,
        "lidar/points": topics.lidar,
    }
    values: dict[str, Any] = {
        "use_sim_time": "true",
        "inputs.cameras": '["camera"]' if topics.color or topics.depth else '[""]',
        "inputs.lidars": '["lidar"]' if topics.lidar else '[""]',
        "inputs.map_frame": topics.map_frame,
        "semantics.encoder": encoder,
        "network.checkpoint": checkpoint,
        "semantics.vocabulary": vocabulary or ("outdoor" if topics.outdoor else "indoor"),
        "map.voxel_size_m": voxel_size_m,
        "output.map_period_s": MAP_PERIOD_S,
    }
    if topics.outdoor:
        values |= {"map.window_radius_m": 60.0, "inputs.max_range_m": 60.0}
    arguments = ["--ros-args", "--log-level", "warn", "--log-level", "ws3d:=info"]
    for name, topic in remaps.items():
        arguments += ["-r", f"{name}:={topic}"] if topic else []
    for name, value in values.items():
        arguments += ["-p", f"{name}:={value}"]
    for assignment in params:
        arguments += ["-p", assignment]
    return arguments


@contextmanager
def running_node(arguments: list[str], log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The real node as a process of its own; ended as Ctrl-C would."""
    with log_file.open("wb") as log:
        node = subprocess.Popen(
            [sys.executable, "-m", "ws3d_ros.node.main", *arguments], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield node
        finally:
            if node.poll() is None:
                node.send_signal(signal.SIGINT)
            try:
                node.wait(10.0)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()


def show_topics(bag: Path, topics: BagTopics) -> None:
    parts = sensor_topics(topics)
    console.print(
        f"[bold]{bag}[/bold], {topics.duration_s:.1f} s: {', '.join(parts)}; frame {topics.map_frame}"
    )


def explain_nothing(report: dict[str, Any], out: Path) -> None:
    """What to tell when no map came out."""
    console.print("[red]The node published no map.")
    for problem in report["problems"]:
        console.print(f"[red]- {escape(problem)}")
    for sensor, counts in report["sensors"].items():
        console.print(f"{sensor}: {counts}")
    console.print(f"The node's own words: {out / 'node.log'}")


def show_report(report: dict[str, Any], out: Path) -> None:
    """The short table at the end."""
    table = Table(title="What came out", show_header=False)
    for sensor, counts in report["sensors"].items():
        dropped = ", ".join(f"{count} {reason}" for reason, count in counts["dropped"].items()) or "none"
        table.add_row(sensor, f"{counts['received']} received, {counts['used']} used, dropped: {dropped}")
    table.add_row("map", f"{report['voxels']} voxels, {report['map_bytes'] / 2**20:.1f} MiB")
    labels = sorted(report["labels"].items(), key=lambda item: -item[1])[:8]
    table.add_row("labels", ", ".join(f"{name} {count}" for name, count in labels))
    table.add_row("objects", str(report["instances"]))
    for stage, times in report["stages_ms"].items():
        table.add_row(stage, f"p50 {times['p50']:.1f} ms, p95 {times['p95']:.1f} ms")
    table.add_row("peak memory", f"{report['peak_memory_bytes'] / 2**20:.0f} MiB")
    table.add_row("encoder", escape(f"{report['encoder'] or 'none'}: {report['encoder_why']}"))
    table.add_row("network", escape(report["network_why"]))
    console.print(table)
    for problem in report["problems"]:
        console.print(f"[yellow]! {escape(problem)}")
    console.print(
        f"Look at [bold]{out / 'semantic.png'}[/bold] and {out / 'rgb.png'}; "
        f"{out / 'semantic_cloud.ply'} opens in CloudCompare and MeshLab; "
        f"figures in {out / 'report.json'}; the node's log in {out / 'node.log'}."
    )
