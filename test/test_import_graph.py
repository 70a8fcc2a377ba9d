"""Draws the import graph and holds it to docs/architecture.md: rooms import only to their left."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ws3d_ros"
ORDER = [
    "config",
    "resources",
    "untrusted",
    "stopwatch",
    "memory",
    "ladder",
    "sensors",
    "reconstruction",
    "rendering",
    "language",
    "alignment",
    "network",
    "adaptation",
    "instances",
    "planning",
    "evaluation",
    "training",
    "naming",
    "learning",
    "clouds",
    "understood",
    "identities",
    "pipeline",
    "saved_maps",
    "viewing",
    "node",
    "cli",
]
FORBIDDEN = {("pipeline", "evaluation"), ("pipeline", "training"), ("node", "cli"), ("node", "training")}
ROS = {
    *("rclpy", "launch", "launch_ros", "tf2_ros", "tf2_py", "rcl_interfaces", "builtin_interfaces"),
    *("sensor_msgs", "sensor_msgs_py", "geometry_msgs", "std_msgs", "std_srvs", "nav_msgs", "tf2_msgs"),
    *("visualization_msgs", "diagnostic_msgs", "lifecycle_msgs", "rosgraph_msgs", "vision_msgs"),
    *("moveit_msgs", "shape_msgs", "object_recognition_msgs"),
}


def room(path: Path) -> str:
    """The folder below the package, or the module itself for files at its root."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    """Every module that a file imports, wherever in the file it does."""
    found: list[str] = []
    for statement in ast.walk(ast.parse(path.read_text())):
        if isinstance(statement, ast.Import):
            found += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{path}: relative import; write the full name"
            module = statement.module or ""
            found += (
                [f"{module}.{alias.name}" for alias in statement.names] if module == "ws3d_ros" else [module]
            )
    return found


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_to_its_left(path: Path) -> None:
    here = room(path)
    assert here in ORDER, f"{here} is not in docs/architecture.md"
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "ws3d_ros":
            assert parts[0] not in ROS or here == "node", f"{module}: only node/ may import ROS"
            continue
        there = parts[1]
        if there in ("msg", "srv"):
            assert here == "node", f"{module}: only node/ may import messages"
            continue
        if there == "__version__":
            continue
        assert ORDER.index(there) <= ORDER.index(here), f"{here} imports {there}, which is to its right"
        assert (here, there) not in FORBIDDEN, f"{here} imports {there}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path: Path) -> None:
    if room(path) == "cli":
        return
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not calls, f"print() in lines {calls}; use logging"
