"""Unused memory goes back to the system; a process that takes more than it may understands less."""

from __future__ import annotations

from ws3d_ros import memory
from ws3d_ros.config import Config
from ws3d_ros.node.reporter import Reporter
from ws3d_ros.node.workers import Worker
from ws3d_ros.pipeline import Pipeline


class MemoryBudget:
    """Holds the resident memory of the process below ``memory.process_mb``.

    Attributes:
        most_bytes: what the process may take in all.
    """

    def __init__(
        self, config: Config, pipeline: Pipeline, reporter: Reporter, idle: Worker, names: Worker
    ) -> None:
        """
        Args:
            idle: a thread that nobody waits for.
            names: the thread that reads with the network.
        """
        self._pipeline, self._reporter, self._idle, self._names = pipeline, reporter, idle, names
        self._machine_share = int(memory.SHARE * memory.machine_bytes())
        self.retune(config)

    def retune(self, config: Config) -> None:
        """Takes over the settings."""
        self.most_bytes = int(config.memory.process_mb * 1e6) or self._machine_share

    def give_back(self) -> None:
        """Gives back what no tensor uses; to be called every few seconds."""
        self._idle.mailbox.put("memory", memory.give_back)

    def hold(self) -> None:
        """Looks whether the process takes too much; quick, to be called every second."""
        if memory.resident_bytes() > self.most_bytes:
            self._idle.mailbox.put("memory", self._take_less)

    def _take_less(self) -> None:
        memory.give_back()
        try:
            memory.check_budget(self.most_bytes)
        except memory.OverBudgetError as error:
            self._reporter.report(
                "memory budget",
                f"{error}: names do with less; if this lasts, reduce map.budget_mb or "
                "map.window_radius_m, or raise memory.process_mb",
            )
            self._pipeline.ladder.heard(error)
            self._names.mailbox.put("let go", self._pipeline.let_go)
