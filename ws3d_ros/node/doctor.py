"""The input doctor: examines the inputs every few seconds, and says what is wrong and what to do.

Each finding goes into the log once, when it begins; into ``~/status`` and ``/diagnostics`` while it lasts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.node import Node

from ws3d_ros.config import InputConfig
from ws3d_ros.node.examination import Seen, judge, observe
from ws3d_ros.node.ingest import Ingest
from ws3d_ros.node.reporter import Reporter
from ws3d_ros.node.workers import Mailbox, Worker
from ws3d_ros.sensors.checkup.findings import Finding, Level, Section

PERIOD_S = 5.0
NICE = 10
"""The doctor steps back for everybody."""
ENTRY = "doctor: "
"""Begins the names of the doctor's entries in /diagnostics, after the node's name."""
FINDING = "finding "
"""Begins the keys of findings among an entry's values; the level and the finding's key follow."""
LEVELS = {
    Level.NOTE: DiagnosticStatus.OK,
    Level.WARNING: DiagnosticStatus.WARN,
    Level.ERROR: DiagnosticStatus.ERROR,
}


class Doctor:
    """What the node's doctor does while the node is active.

    Attributes:
        sections: what was found last; replaced as a whole.
    """

    def __init__(
        self,
        node: Node,
        ingest: Ingest,
        config: InputConfig,
        reporter: Reporter,
        on_error: Callable[[str, Exception], None],
    ) -> None:
        self.sections: list[Section] = []
        self._node, self._ingest, self._config, self._reporter = node, ingest, config, reporter
        self._worker = Worker("doctor", Mailbox(1), on_error, NICE)
        self._worker.start()

    def look(self) -> None:
        """Call it every ``PERIOD_S``, on the executor's thread."""
        seen = observe(self._node, self._ingest)
        self._worker.mailbox.put("doctor", partial(self._examine, seen))

    def stop(self, timeout_s: float) -> None:
        """Ends the thread, and waits no longer than this for one that is busy."""
        self._worker.stop(timeout_s)

    def _examine(self, seen: Seen) -> None:
        self.sections = judge(seen, self._config)
        for section in self.sections:
            for finding in section.findings:
                # Silence is told by who listens, and sooner.
                if finding.level > Level.NOTE and finding.key != "silent":
                    key = f"{section.sensor} {finding.key}".strip()
                    self._reporter.report(key, f"{section.name}: {finding.message}", once=True)


def to_entry(name: str, section: Section) -> DiagnosticStatus:
    """A section as an entry of ``/diagnostics`` of the node ``name``."""
    values = [KeyValue(key=key, value=value) for key, value in section.facts.items()]
    values += [
        KeyValue(key=f"{FINDING}{finding.level.name} {finding.key}", value=finding.message)
        for finding in section.findings
    ]
    worst = [finding.message for finding in section.findings if finding.level > Level.NOTE]
    return DiagnosticStatus(
        level=LEVELS[section.level],
        name=f"{name}: {ENTRY}{section.name}",
        message="; ".join(worst) or "well",
        hardware_id=section.sensor,
        values=values,
    )


def from_entry(entry: DiagnosticStatus) -> Section | None:
    """The way back; None for entries that are not the doctor's."""
    _, is_ours, name = entry.name.partition(f": {ENTRY}")
    if not is_ours:
        return None
    facts, findings = {}, []
    for pair in entry.values:
        if pair.key.startswith(FINDING):
            level, _, key = pair.key[len(FINDING) :].partition(" ")
            findings.append(Finding(Level[level], key, pair.value))
        else:
            facts[pair.key] = pair.value
    return Section(name, entry.hardware_id, facts, tuple(findings))
