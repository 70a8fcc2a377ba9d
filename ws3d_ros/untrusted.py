"""What others wrote, read without running it and told without repeating all of it."""

from __future__ import annotations

import reprlib
from typing import Any

import yaml

_LONGEST = 200

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60


def short(value: Any) -> str:
    """``repr`` of a value for messages: long or deep ones are cut before they are written out."""
    return _short.repr(value)


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
