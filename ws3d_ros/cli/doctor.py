"""`ws3d doctor`: what is wrong with the robot's inputs, and what to do."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ws3d_ros.cli.play import keep_out, use_large_messages
from ws3d_ros.config import ConfigError
from ws3d_ros.sensors.checkup.findings import Level, Section

console = Console(highlight=False, soft_wrap=True)
MARKS = {Level.NOTE: "[green]ok[/]", Level.WARNING: "[yellow]!![/]", Level.ERROR: "[red]XX[/]"}
COLORS = {Level.NOTE: "dim", Level.WARNING: "yellow", Level.ERROR: "red"}


def doctor(
    seconds: Annotated[float, typer.Option(help="How long to look.", min=1.0, max=600.0)] = 8.0,
    namespace: Annotated[str, typer.Option(help="Namespace of the node.")] = "/",
    remap: Annotated[
        list[str] | None,
        typer.Option("--remap", "-r", help="FROM:=TO, as for ros2 run; for when the node does not run."),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="NAME:=VALUE, as for ros2 run; for when the node does not run."),
    ] = None,
    params_file: Annotated[
        str, typer.Option(help="File with the node's parameters; for when it does not run.")
    ] = "",
) -> None:
    """Examines topics, stamps, tf, calibrations, units and the middleware, and says what to do.

    A node that runs is asked; without one, its topics are listened to. Exit code: 0 healthy, 1 something
    is wrong, 2 an argument does not fit, 3 ROS is missing or lets the command not in.

    Example: ws3d doctor -r camera/color/image:=/cam/rgb/image_raw -r camera/depth/image:=/cam/depth/image
    """
    use_large_messages()
    try:
        from ws3d_ros.node.consultation import consult
    except ImportError as error:
        console.print(
            f"[red]ROS 2 is missing here ({escape(str(error))}): source its setup.bash, or `make venv`."
        )
        raise typer.Exit(3) from error
    arguments = [word for value in remap or [] for word in ("-r", value)]
    arguments += [word for value in parameter or [] for word in ("-p", value)]
    arguments += ["--params-file", params_file] if params_file else []
    try:
        found = consult(namespace, seconds, arguments)
    except PermissionError as error:
        keep_out(error)
    except (ConfigError, RuntimeError) as error:
        console.print(f"[red]{escape(str(error))}")
        raise typer.Exit(2) from error
    console.print(f"examined by {found.by}")
    for section in found.sections:
        show(section)
    for problem in found.said:
        console.print(f"[yellow]the node says: {escape(problem)}")
    if not found.sections:
        console.print("[red]the node's doctor said nothing: activate it (ros2 lifecycle set /ws3d activate)")
        raise typer.Exit(1)
    findings = [finding for section in found.sections for finding in section.findings]
    wrong = sum(finding.level > Level.NOTE for finding in findings) + len(found.said)
    console.print(f"[red]{wrong} things to mend" if wrong else "[green]healthy")
    raise typer.Exit(1 if wrong else 0)


def show(section: Section) -> None:
    """A section with its findings."""
    console.print(f"{MARKS[section.level]} [bold]{escape(section.name)}[/]")
    facts = "; ".join(f"{key} {value}" for key, value in section.facts.items())
    if facts:
        console.print(f"   [dim]{escape(facts)}[/]")
    for finding in sorted(section.findings, key=lambda finding: -finding.level):
        console.print(
            f"   [{COLORS[finding.level]}]{finding.level.name.lower()}: {escape(finding.message)}[/]"
        )
