"""Writes what is made from the settings: config/perception.yaml and the table in docs/interfaces.md.

A test fails when they are out of date; then run ``PYTHONPATH=. python3 scripts/write_parameters.py``.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from ws3d_ros.config import Setting, settings

ROOT = Path(__file__).resolve().parents[1]
YAML = ROOT / "config" / "perception.yaml"
DOCS = ROOT / "docs" / "interfaces.md"
BEGIN, END = "<!-- parameters: begin -->\n", "<!-- parameters: end -->\n"
WIDTH = 100

YAML_HEAD = """\
# Every parameter of the perception node, with its default and its range.
# Made from ws3d_ros/config.py by scripts/write_parameters.py.
#
# Keep what you change in a file of your own (only that) and give it as params_file:=...
# "run time" marks what `ros2 param set` changes at once; the rest takes effect when the node is
# configured. [""] stands for an empty list.
/**:
  ros__parameters:
"""


def main() -> None:
    YAML.write_text(yaml_text())
    DOCS.write_text(with_table(DOCS.read_text()))


def yaml_text() -> str:
    """config/perception.yaml."""
    lines = []
    for group, members in groupby(settings(), key=lambda setting: setting.name.split(".")[0]):
        lines.append(f"    {group}:")
        for setting in members:
            about = " ".join([setting.doc, *facts(setting)])
            lines += textwrap.wrap(
                about, WIDTH, initial_indent=" " * 6 + "# ", subsequent_indent=" " * 6 + "# "
            )
            lines.append(f"      {setting.name.split('.')[1]}: {value(setting.default)}")
    return YAML_HEAD + "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """docs/interfaces.md with the table of parameters as it should be."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table() + END + after


def table() -> str:
    """The parameters as a Markdown table."""
    rows = [
        f"| `{setting.name}` | {type_name(setting)} | `{value(setting.default)}` | {limits(setting)} "
        f"| {'yes' if setting.live else ''} | {setting.doc} |"
        for setting in settings()
    ]
    head = ["| parameter | type | default | range | run time | meaning |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def facts(setting: Setting) -> Iterator[str]:
    """What the comment says after the meaning."""
    remarks = [limits(setting), "run time" if setting.live else ""]
    if any(remarks):
        yield f"({'; '.join(filter(None, remarks))})"


def limits(setting: Setting) -> str:
    """The range or the choices, empty where everything fits."""
    if setting.choices:
        return ", ".join(setting.choices)
    if setting.low is None or setting.high is None:
        return ""
    return f"{setting.low:g} to {setting.high:g}"


def type_name(setting: Setting) -> str:
    """The type as ROS calls it."""
    names = {bool: "bool", int: "integer", float: "double", str: "string"}
    return names.get(setting.type, "string array")


def value(default: object) -> str:
    """A default in YAML. JSON is YAML but for numbers like 1e-06, which need a point."""
    if isinstance(default, float) and "." not in repr(default):
        return f"{default:.1e}"
    return json.dumps(default)


if __name__ == "__main__":
    main()
