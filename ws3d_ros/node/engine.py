"""The pipeline and the threads that drive it: what lives from configure to clean-up.

``mapping`` is the map's only writer and copies windows for the others; ``images`` encodes images;
``names`` reads windows with the 3D network and names voxels, as often as it can; ``output`` makes
messages; ``files`` reads and writes maps. Nobody waits for names but who asks for new words or loads.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import rclpy
import torch
from rclpy.impl.implementation_singleton import rclpy_implementation
from torch import Tensor

from ws3d_ros import saved_maps
from ws3d_ros.config import Config
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.node.codecs import Shot, decode_shot, decode_sweep, stamp_ns
from ws3d_ros.node.ingest import Measurement
from ws3d_ros.node.map_files import MapFiles
from ws3d_ros.node.memory_budget import MemoryBudget
from ws3d_ros.node.nothing_fused import nothing_fused
from ws3d_ros.node.reporter import Reporter
from ws3d_ros.node.snapshot import Sight, Snapshot, ahead
from ws3d_ros.node.transforms import bare
from ws3d_ros.node.workers import Mailbox, Worker
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.map_file import SavedMap
from ws3d_ros.reconstruction.store import POINT
from ws3d_ros.reconstruction.voxel_map import Restored
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.corrections import Correction
from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import FloatArray, Frame, Scan
from ws3d_ros.sensors.ledger import Ledger
from ws3d_ros.understood import Understood

WAITING_MEASUREMENTS = 2
"""Kept for each sensor. More would only be older."""
STOP_WITHIN_S = 1.0
RESTORED_AT_ONCE = 50_000
"""Voxels of a file that mapping takes in before it looks at its measurements again."""
REMEMBERED = 20
"""Keyframes that one cloud can be the first to name, where that is measured."""
LONGEST_REST_S = 0.8
"""So long at most the next image waits until the network has read what the last one showed: encoder and
network at the same time take each other's cores, and names come half as often (benchmarks/live.py)."""
BACKGROUND_NICE = 10
"""Images and names take all the time that is left, in equal parts; mapping must not wait for them."""


@dataclass(frozen=True)
class Renamed:
    """What a change of words did."""

    words: Vocabulary
    voxels: int
    duration_s: float


class Engine:
    """Measurements in, snapshots out. Public methods may be called from any thread."""

    def __init__(self, config: Config, pipeline: Pipeline, ledger: Ledger, reporter: Reporter) -> None:
        self.pipeline = pipeline
        self.words = pipeline.vocabulary
        self._config = config
        self._ledger = ledger
        self._reporter = reporter
        self.errors = self.keyframes = self.skipped = 0
        self._center_m = np.zeros(3)
        self._arrived_s = 0.0
        self._to_name: deque[float] = deque(maxlen=REMEMBERED)  # when keyframes in the map arrived: without
        self._named: deque[float] = deque(maxlen=REMEMBERED)  # names, and with
        self._corrections: deque[Correction] = deque()
        self._sight: Sight | None = None
        self._eyes: Tensor | None = None
        self._changes = 0
        self._published: dict[str, tuple[int, int]] = {}
        self._mapping = Worker("mapping", Mailbox(WAITING_MEASUREMENTS), self.survive)
        self._images = Worker("images", Mailbox(1), self.survive, BACKGROUND_NICE)
        self._been_read = threading.Event()
        self._names = Worker("names", Mailbox(1), self.survive, BACKGROUND_NICE)
        self._output = Worker("output", Mailbox(1), self.survive)
        self.files = MapFiles(config, self._copy_map, self._take_in, self.survive)
        self.memory = MemoryBudget(config, pipeline, reporter, self.files.worker, self._names)
        self.workers = (self._images, self._names, self._output, self.files.worker, self._mapping)
        for worker in self.workers:
            worker.start()

    def offer(self, measurement: Measurement) -> None:
        """Queues a measurement. When mapping is slower than the sensor, the oldest one is dropped."""
        sensor = measurement.sensor
        if self._mapping.mailbox.put(sensor, partial(self._map, measurement)):
            self._ledger.dropped(sensor, "overload")

    def correct(self, correction: Correction) -> None:
        """Localisation was corrected: the map follows, after the measurements that were offered before."""
        self._corrections.append(correction)
        self._mapping.mailbox.put("correction", self._follow)

    def publish(
        self, topic: str, listeners: int, whole_map: bool, publish: Callable[[Snapshot], None]
    ) -> None:
        """Copies the window, or the map, on the mapping thread and publishes it on the output thread.

        Nothing happens unless the map changed, or the number of listeners, since the last time.
        """

        def snapshot() -> None:
            state = (self._changes, listeners)
            if self._changes and self._published.get(topic) != state:
                self._published[topic] = state
                self._output.mailbox.put(topic, partial(publish, self._snapshot(whole_map, features=False)))

        self._mapping.mailbox.put(topic, snapshot)

    def copy(self, whole_map: bool) -> Future[Snapshot]:
        """A copy of the window around the robot, or of the whole map."""
        return self._mapping.mailbox.request(partial(self._snapshot, whole_map, features=True))

    def _snapshot(self, whole_map: bool, *, features: bool) -> Snapshot:
        if whole_map:
            window = self.pipeline.map.everything(features=features)
        else:
            window = self.pipeline.window(self._center_m, features=features)
        states = self.pipeline.identities.states
        named_s = tuple(self._named)
        return Snapshot(window, self.words, self._arrived_s, self._sight, states, self._eyes, named_s)

    def window(self) -> Window:
        """The voxels around the robot, to be understood. On the mapping thread only."""
        return self.pipeline.window(self._center_m, self.pipeline.ladder.effort.window)

    def forget_waiting(self, reason: str) -> None:
        """Throws measurements away that still wait, counted under the reason for it."""
        sensors = self._ledger.snapshot()
        for sender, count in self._mapping.mailbox.clear().items():
            for _ in range(count if sender in sensors else 0):
                self._ledger.dropped(sender, reason)

    def clear_map(self) -> Future[int]:
        """Forgets the map; the number of voxels that it had."""

        def clear() -> int:
            voxels = len(self.pipeline.map)
            self.pipeline.clear()
            self._changes += 1
            return voxels

        return self._mapping.mailbox.request(clear)

    def use_words(self, entries: list[str]) -> Future[Renamed]:
        """Other words from now on, for the whole map.

        Args:
            entries: words; or one entry as ``Vocabulary.load`` takes it.
        """
        return self._names.mailbox.request(partial(self._use_words, entries))

    def _copy_map(self, checkpoint_sha256: str) -> Future[SavedMap]:
        def copy(tracks: dict[str, np.ndarray]) -> SavedMap:
            return saved_maps.snapshot(self.pipeline, self._config, self.words, checkpoint_sha256, tracks)

        def whole() -> SavedMap:  # on the thread that tracks, so that objects and voxels are of one time
            return self._mapping.mailbox.request(partial(copy, self.pipeline.tracks())).result()

        return self._names.mailbox.request(whole)

    def _take_in(
        self, saved: SavedMap, T_map_file: FloatArray | None, replace: bool
    ) -> Future[tuple[int, list[str]]]:
        return self._names.mailbox.request(partial(self._restore, saved, T_map_file, replace))

    def adapted(self) -> tuple[int, int]:
        """How many updates of the 3D network were accepted, and refused."""
        learning = self.pipeline.learning
        return (0, 0) if learning is None else (learning.adapter.accepted, learning.adapter.refused.total())

    def retune(self, config: Config) -> None:
        """Takes over the settings that may change at run time."""
        self._config = config
        self.pipeline.retune(config)
        self.memory.retune(config)

    def stop(self) -> None:
        """Ends the threads, and waits no longer for one that is busy in native code."""
        for worker in self.workers:
            worker.stop(STOP_WITHIN_S)

    # Mapping thread ---------------------------------------------------------------------------

    def _map(self, measurement: Measurement) -> None:
        try:
            decoded = self._decode(measurement)
            fused = self.pipeline.integrate(decoded)
        except SensorError as error:
            self._drop(measurement.sensor, error.reason, str(error))
            return
        except Exception:
            self._ledger.dropped(measurement.sensor, "error")
            raise
        self._ledger.used(measurement.sensor)
        self._center_m, self._arrived_s = measurement.center_m, measurement.arrived_s
        header = measurement.content.header
        self._sight = Sight(bare(header.frame_id), stamp_ns(header), measurement.T_map_sensor)
        self._changes += 1
        if wrong := nothing_fused(measurement.sensor, decoded, fused):
            self._reporter.report(*wrong)
        if not self.pipeline.looks_around:
            self._eyes = ahead(decoded)
        if self.pipeline.is_keyframe(decoded):
            self.keyframes += 1
            if self.pipeline.encodes(decoded):
                look = partial(self._look, measurement.arrived_s, decoded)
                self.skipped += self._images.mailbox.put("image", look)
            else:
                self._to_name.append(measurement.arrived_s)
                self._names.mailbox.put("window", self._name)
            if self.pipeline.views_due():
                self._images.mailbox.put("views", self._look_around)

    def _follow(self) -> None:
        while self._corrections:
            T_new_old = self._corrections.popleft().T_new_old
            self._center_m = T_new_old[:3, :3] @ self._center_m + T_new_old[:3, 3]
            self.pipeline.follow(T_new_old, self._center_m)
            if self._sight is not None:
                self._sight = replace(self._sight, T_map_sensor=T_new_old @ self._sight.T_map_sensor)
            self._changes += 1

    def _apply(self, understood: Understood, words: Vocabulary, arrived_s: Sequence[float] = ()) -> None:
        """``words``: that the names in it are out of; ``arrived_s``: of the keyframes that it names."""
        self.pipeline.apply(understood)
        self.words = words
        self._named.extend(arrived_s)
        self._changes += 1

    def _apply_seen(self, seen: Understood, arrived_s: float) -> None:
        self.pipeline.apply(seen)
        self._to_name.append(arrived_s)
        self._been_read.clear()

    def _window_to_name(self) -> tuple[Window, list[float]]:
        """The window, and when the keyframes arrived that have no names yet."""
        arrived_s = list(self._to_name)
        self._to_name.clear()
        return self.window(), arrived_s

    def _decode(self, measurement: Measurement) -> Frame | Scan:
        content = measurement.content
        if isinstance(content, Shot):
            with self.pipeline.stopwatch("decode"):
                return decode_shot(content, measurement.T_map_sensor, self._config.inputs.depth_scale)
        with self.pipeline.stopwatch("decode_cloud"):
            return decode_sweep(content, measurement.T_map_sensor, measurement.sensor, measurement.motion)

    def _drop(self, sensor: str, reason: str, message: str) -> None:
        self._ledger.dropped(sensor, reason)
        self._reporter.report(f"{sensor} {reason}", f"{sensor}: {message}")

    # Images thread ----------------------------------------------------------------------------

    def _look(self, arrived_s: float, frame: Frame) -> None:
        copy = partial(self.pipeline.snapshot, frame, features=False)
        window = self._mapping.mailbox.request(copy).result()
        if len(window) == 0:
            return
        seen = self.pipeline.look(frame, window)
        self._mapping.mailbox.request(partial(self._apply_seen, seen, arrived_s)).result()
        self._names.mailbox.put("window", self._name)
        with self._images.resting():
            self._been_read.wait(LONGEST_REST_S)

    def _look_around(self) -> None:
        """Cameras' images go first: when one waits, this is left to the next time."""
        if len(self._images.mailbox):
            return
        window = self._mapping.mailbox.request(self.window).result()
        if len(window) == 0:
            return
        seen = self.pipeline.look_around(window)
        assert seen.virtual is not None
        if len(seen.virtual.poses):
            self._eyes = seen.virtual.poses
            self._mapping.mailbox.post(partial(self.pipeline.apply, seen))
            self._names.mailbox.put("window", self._name)

    # Names thread -----------------------------------------------------------------------------

    def _name(self) -> None:
        window, arrived_s = self._mapping.mailbox.request(self._window_to_name).result()
        if len(window) == 0:
            return
        seen = self.pipeline.read(window)
        self._been_read.set()
        understood = self.pipeline.name(window, seen)
        self._tell_network_error(understood, window)
        self._mapping.mailbox.post(partial(self._apply, understood, self.pipeline.vocabulary, arrived_s))
        self.pipeline.adapt(window, understood)

    def _use_words(self, entries: list[str]) -> Renamed:
        begun = time.monotonic()
        folder = self._config.semantics.vocabulary_folder
        words = Vocabulary.load(entries[0], folder) if len(entries) == 1 else Vocabulary.of(entries)
        old = self.pipeline.vocabulary
        self.pipeline.set_vocabulary(words)
        if not self.pipeline.can_name:
            self.words = words
            return Renamed(words, 0, time.monotonic() - begun)
        try:
            before = self._mapping.mailbox.request(self.pipeline.map.everything).result()
            understood = self.pipeline.rename(before)
            self._mapping.mailbox.request(partial(self._apply, understood, words)).result()
        except Exception:
            self.pipeline.set_vocabulary(old)  # labels of the map are of the old words still
            raise
        assert understood.names is not None
        assert understood.names.label is not None
        changed = int((understood.names.label.to(before.label.dtype) != before.label).sum())
        self._names.mailbox.put("everything", partial(self._name_all, self.pipeline.relabel))
        return Renamed(words, changed, time.monotonic() - begun)

    def _name_all(self, name: Callable[[Window], Understood]) -> None:
        """Names the whole map, neighbours and things included."""
        everything = self._mapping.mailbox.request(self.pipeline.map.everything).result()
        if len(everything):
            understood = name(everything)
            self._tell_network_error(understood, everything)
            apply = partial(self._apply, understood, self.pipeline.vocabulary)
            self._mapping.mailbox.request(apply).result()

    def _restore(
        self, saved: SavedMap, T_map_file: FloatArray | None, replace: bool
    ) -> tuple[int, list[str]]:
        """Puts a saved map into the running one, or into its place, and names what is there then.

        In parts, so that measurements come in between; the nearest first, so that they are kept where
        there is no room for all.
        """
        fitting = saved_maps.fit(saved, self.pipeline, self._config, T_map_file)
        columns = dict(fitting.columns)
        # An empty map has nothing to merge with: objects go on as in the file.
        replace = replace or self._mapping.mailbox.request(self.pipeline.map.__len__).result() == 0
        if replace:
            self.clear_map().result()
        known = replace and saved_maps.take_tracks(saved, self.pipeline, fitting)
        if replace:
            saved_maps.take_adaptation(saved, self.pipeline, fitting, self._config.network.checkpoint)
        if self.pipeline.can_name and not known and "instance" in columns:
            columns["instance"] = torch.zeros_like(columns["instance"])  # found anew, below
        away = (columns["state"][:, POINT] - torch.as_tensor(self._center_m)).norm(dim=1)
        voxels = evicted = 0
        for rows in away.argsort().split(RESTORED_AT_ONCE):
            part = {name: values[rows] for name, values in columns.items()}
            restored = self._mapping.mailbox.request(partial(self._restore_part, part)).result()
            voxels, evicted = voxels + restored.voxels, evicted + restored.evicted
        if self.pipeline.can_name:
            stored = "embedding" in columns
            self._name_all(self.pipeline.relabel if stored else self.pipeline.read_and_name)
        full = f"{evicted} voxels had no room within map.budget_mb"
        return voxels, [*fitting.notes, *([full] if evicted else [])]

    def _restore_part(self, columns: dict[str, Tensor]) -> Restored:
        """On the mapping thread."""
        self._changes += 1
        return self.pipeline.map.restore(columns, self._center_m)

    def _tell_network_error(self, understood: Understood, window: Window) -> None:
        if understood.network_error:
            self.errors += 1
            self._reporter.report(
                "network failed",
                f"the 3D network failed on {len(window)} voxels, so names come from images alone: "
                f"{understood.network_error}; if it was memory, reduce map.window_radius_m",
            )

    # Any of them ------------------------------------------------------------------------------

    def survive(self, worker: str, error: Exception) -> None:
        """Counts and tells an exception that ended one piece of work, and nothing else."""
        if isinstance(error, rclpy_implementation.RCLError) and not rclpy.ok():
            return  # a signal ended ROS while this thread used it, and the thread ends next
        self.errors += 1
        self.pipeline.ladder.heard(error)
        where = traceback.extract_tb(error.__traceback__)[-1]
        self._reporter.report(
            f"{worker} {type(error).__name__}",
            f"{worker} survived an error, please report it: {type(error).__name__}: {error} "
            f"({where.filename}:{where.lineno})",
        )
