"""Saving and loading beside the pipeline's threads: mapping copies and takes in, a thread of its own writes
and reads."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from ws3d_ros.config import Config
from ws3d_ros.node.workers import Mailbox, Worker
from ws3d_ros.reconstruction.map_file import SavedMap, load_map, map_path, save_map
from ws3d_ros.saved_maps import checkpoint_digest
from ws3d_ros.sensors.frame import FloatArray


@dataclass(frozen=True)
class Kept:
    """What saving or loading did; ``notes``: what of a file was left out or changed."""

    path: Path
    bytes: int
    voxels: int
    duration_s: float
    notes: tuple[str, ...] = ()


class MapFiles:
    """One file at a time, in ``map.folder``.

    Attributes:
        worker: its thread.
    """

    def __init__(
        self,
        config: Config,
        snapshot: Callable[[str], Future[SavedMap]],
        take_in: Callable[[SavedMap, FloatArray | None, bool], Future[tuple[int, list[str]]]],
        survive: Callable[[str, Exception], None],
    ) -> None:
        """
        Args:
            snapshot: a copy of the map, given the digest of the network's weights.
            take_in: puts a saved map at a pose into the running one, or into its place; voxels and notes.
            survive: see :class:`Worker`.
        """
        self._config, self._snapshot, self._take_in = config, snapshot, take_in
        self._digest = ""
        self.worker = Worker("files", Mailbox(1), survive)

    def save(self, name: str) -> Future[Kept]:
        """Writes the map; the future has a ``MapFileError`` if that cannot be."""
        return self.worker.mailbox.request(partial(self._save, name))

    def load(self, name: str, T_map_file: FloatArray | None, replace: bool) -> Future[Kept]:
        """Takes in a file; the future has a ``MapFileError`` if it cannot be used."""
        return self.worker.mailbox.request(partial(self._load, name, T_map_file, replace))

    def _save(self, name: str) -> Kept:
        begun = time.monotonic()
        path = map_path(self._config.map.folder, name or datetime.now().strftime("%Y%m%d-%H%M%S"))
        semantics = self._config.semantics
        self._digest = self._digest or (
            checkpoint_digest(self._config.network.checkpoint) if semantics.enabled else ""
        )
        saved = self._snapshot(self._digest).result()
        size = save_map(saved, path)
        return Kept(path, size, len(saved), time.monotonic() - begun)

    def _load(self, name: str, T_map_file: FloatArray | None, replace: bool) -> Kept:
        begun = time.monotonic()
        path = map_path(self._config.map.folder, name)
        saved = load_map(path)
        voxels, notes = self._take_in(saved, T_map_file, replace).result()
        return Kept(path, path.stat().st_size, voxels, time.monotonic() - begun, tuple(notes))
