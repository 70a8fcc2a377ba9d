"""docs/interfaces.md names everything that the code offers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "interfaces.md").read_text()


def constants(node: ast.expr) -> list[str]:
    """String constants in an argument, both of a choice `a if b else c`."""
    choices = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
    return [part.value for part in choices if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def calls() -> Iterator[tuple[str, list[ast.expr]]]:
    """Name and arguments of every call in the package."""
    for path in (ROOT / "ws3d_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                yield name, node.args


def test_every_reason_for_a_drop() -> None:
    found = set()
    for name, arguments in calls():
        if name == "SensorError":
            found |= set(constants(arguments[0]))
        elif name == "TransformError":
            found |= {f"tf_{reason}" for reason in constants(arguments[0])}
        elif name in ("Dropped", "dropped") and len(arguments) > 1:
            found |= set(constants(arguments[1]))
    found -= {"tf_bad_transform"}  # refuses a transform, not a measurement
    assert len(found) > 15
    assert not {reason for reason in found if f"`{reason}`" not in TEXT}


def test_every_topic_and_service_of_the_node() -> None:
    names = {
        word
        for _, arguments in calls()
        for argument in arguments
        for word in constants(argument)
        if re.fullmatch(r"~/[a-z_]+", word)
    }
    assert {"~/semantic_cloud", "~/status"} <= names
    assert not {name for name in names if f"`{name}`" not in TEXT}


def test_every_message_and_service_type() -> None:
    types = {path.stem for folder in ("msg", "srv") for path in (ROOT / folder).iterdir()}
    assert not {name for name in types if f"`{name}`" not in TEXT and f"`ws3d_ros/{name}`" not in TEXT}
