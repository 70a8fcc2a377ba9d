"""What a check-up says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Level(IntEnum):
    """How bad a finding is."""

    NOTE = 0
    """Works; could be better."""
    WARNING = 1
    """Works, but not as it was meant."""
    ERROR = 2
    """The input cannot be used."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        key: short and stable; where measurements are dropped for it, the ledger's reason.
        message: what is wrong and what to do, for people.
    """

    level: Level
    key: str
    message: str


@dataclass(frozen=True)
class Section:
    """What was found out about one thing: a topic, a sensor, the clock, the machine.

    Attributes:
        sensor: whose it is; empty for what all share.
        facts: what was measured, for people.
    """

    name: str
    sensor: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def level(self) -> Level:
        """That of the worst finding."""
        return max((finding.level for finding in self.findings), default=Level.NOTE)


def error(key: str, message: str) -> Finding:
    return Finding(Level.ERROR, key, message)


def warning(key: str, message: str) -> Finding:
    return Finding(Level.WARNING, key, message)


def note(key: str, message: str) -> Finding:
    return Finding(Level.NOTE, key, message)
