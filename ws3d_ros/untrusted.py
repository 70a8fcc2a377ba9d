"""What others wrote, read without running it and told without repeating all of it."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

import yaml

_LONGEST = 200

_short = reprlib.Repr()
_short.maxlevel = 2
_short.maxstring = _short.maxother = _short.maxlong = 60


def short(value: Any) -> str:
    """``repr`` of a value for messages: long or deep ones are cut before they are written out."""
    return clipped(_short.repr(value))


def clipped(text: object) -> str:
    """A text for messages, such as another error's; long ones lose their end."""
    whole = str(text)
    return whole if len(whole) <= _LONGEST else whole[:_LONGEST] + "…"


def parse_yaml(content: bytes) -> Any:
    """The plain values in the content of a YAML file.

    Raises:
        ValueError: if it is no YAML, no UTF-8, nested too deep, or asks for other objects; in few words.
    """
    try:
        return yaml.safe_load(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(clipped(error)) from error


def path_below(folder: str | Path, name: str, what: str, suffix: str = "") -> Path:
    """Where a file that a request names is, which is below the folder whatever the name says.

    Args:
        what: the file is, for messages.
        suffix: added if the name lacks it.

    Raises:
        ValueError: for an absolute name, one with ``..`` or hidden parts, one that no file can have, or one
            that a symbolic link leads out of the folder.
    """
    parts = Path(name).parts
    if (
        not parts
        or not name.isprintable()
        or Path(name).is_absolute()
        or any(p.startswith(".") for p in parts)
    ):
        raise ValueError(
            f"{short(name)} is no name for a {what}: give one such as home or floor2/kitchen, without a "
            f"leading slash and without parts that begin with a dot; it is a file below {folder}"
        )
    root = Path(folder).expanduser().resolve()
    path = root / (name if name.endswith(suffix) else name + suffix)
    try:
        inside = path.resolve().is_relative_to(root)
    except (OSError, RuntimeError) as error:  # links in a circle, names that are too long
        raise ValueError(f"{short(name)} is no name for a {what} below {folder}: {clipped(error)}") from error
    if not inside:
        raise ValueError(f"{short(name)} leads out of {root} by a symbolic link")
    return path
