"""`ws3d play`: a bag into DDS, for machines without `ros2 bag`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ws3d_ros.resources import config_folder
from ws3d_ros.training.datasets.bag_topics import BagError, bag_folder

if TYPE_CHECKING:
    from ws3d_ros.node.session import Session

console = Console()


def play(
    bag: Annotated[Path, typer.Argument(help="A rosbag2 (sqlite3 or mcap).")],
    rate: Annotated[
        float, typer.Option(help="How many times faster than recorded.", min=0.05, max=20.0)
    ] = 1.0,
    loops: Annotated[
        int, typer.Option(help="How often to play it; stamps repeat, as with ros2 bag play.", min=1)
    ] = 1,
    clock: Annotated[bool, typer.Option(help="Publish /clock, for nodes with use_sim_time.")] = True,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for subscribers before the first message.")
    ] = 2.0,
) -> None:
    """Plays a rosbag2 into DDS, message by message as recorded.

    Example: ws3d play samples/room --loops 3
    """
    try:
        folder = bag_folder(bag)
    except BagError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(2) from error
    use_large_messages()
    with open_session(folder, clock=clock) as session:
        for topic, kind in session.player.unplayable.items():
            console.print(f"[yellow]not played: {topic}, its type {kind} is not installed")
        lonely = session.player.wait_for_listeners(list(session.player.publishers), wait)
        if lonely:
            console.print(f"nobody listens to {', '.join(lonely)}")
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        sent = 0
        with Progress(*columns, console=console) as progress:
            for loop in range(loops):
                task = progress.add_task(f"loop {loop + 1} of {loops}", total=session.player.duration_s)
                sent += session.player.play(
                    rate=rate,
                    on_progress=partial(advance, progress, task),
                    stop=lambda: False,
                )
    console.print(f"{sent} messages")


def open_session(bag: Path, *, clock: bool = True) -> Session:
    """A player of a bag in the ROS graph; ends the command with code 3 where there is none, or no way in."""
    try:
        from ws3d_ros.node.session import Session
    except ImportError as error:
        console.print(
            f"[red]ROS 2 is missing here ({escape(str(error))}). `make venv` installs it as wheels."
        )
        raise typer.Exit(3) from error
    try:
        return Session(bag, clock=clock)
    except RuntimeError as error:
        keep_out(error)


def keep_out(error: Exception) -> NoReturn:
    """Says that ROS does not let a command into the graph, and ends it."""
    console.print(
        f"[red]ROS does not let this command in: {escape(str(error).strip())}. Where ROS_SECURITY_ENABLE "
        "is set, name an enclave of its own in ROS_SECURITY_ENCLAVE_OVERRIDE (docs/reliability.md)."
    )
    raise typer.Exit(3) from error


def use_large_messages() -> None:
    """Gives Fast DDS the shared memory that images and clouds need, unless the user configured it.

    With its default of 512 KiB, one cloud of 2 MB crowds out what comes after it, /tf included,
    until the next heartbeat, 3 s later.
    """
    os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(config_folder() / "fastdds_large.xml"))


def advance(progress: Progress, task: TaskID, played_s: float) -> None:
    """Moves a bar to how much of the bag has been played."""
    progress.update(task, completed=played_s)
