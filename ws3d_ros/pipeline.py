"""The way of the data, as code: sensors to map, images to features, features and shapes to names.

Threads may share a :class:`Pipeline`. One of them, *mapping*, calls ``integrate``, ``is_keyframe``,
``views_due``, ``window``, ``snapshot`` and ``apply``; it alone touches the map. Others work on copies: one
may call ``look`` and ``look_around``, one ``read``, ``relabel``, ``rename`` and ``set_vocabulary``.
``take`` and ``finish`` are for who has one thread for all.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor

from ws3d_ros import naming
from ws3d_ros.alignment.compression import FeatureBasis
from ws3d_ros.alignment.eyes import Eyes
from ws3d_ros.config import Config
from ws3d_ros.identities import Identities
from ws3d_ros.instances.segmentation import segment, structure_labels, superpoints, with_names
from ws3d_ros.instances.superpoints import Regions
from ws3d_ros.ladder import Ladder, rungs
from ws3d_ros.language.encoder import Encoder
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.learning import Learning
from ws3d_ros.network.namer import Namer
from ws3d_ros.reconstruction.grafting import Moved
from ws3d_ros.reconstruction.voxel_map import Fused, VoxelMap
from ws3d_ros.reconstruction.window import Patch, Window, with_features
from ws3d_ros.sensors.frame import FloatArray, Frame, Scan
from ws3d_ros.sensors.keyframes import Keyframes
from ws3d_ros.stopwatch import Stopwatch
from ws3d_ros.understood import Understood

log = logging.getLogger(__name__)
KEYFRAMES_A_LOOK = 8
"""Keyframes between two looks around: at most a third of the pictures that are encoded are virtual."""
CHANGED = 0.1
"""There is something new to understand when so many of a window's voxels, as a share, may be new …"""
WAITED_NS = 2_000_000_000
"""… or fewer, after this time: a robot that stopped shall not keep a corner without names."""


class Pipeline:
    """Sensors in, named voxels out.

    Attributes:
        map: the voxel map.
        vocabulary: the words in use; changed by :meth:`set_vocabulary`.
        stopwatch: times of the stages.
        ladder: how much is understood when memory is short.
        learning: what teaches the 3D network on the way, or None.
        identities: the objects that last.
    """

    def __init__(
        self,
        config: Config,
        encoder: Encoder | None,
        vocabulary: Vocabulary,
        device: torch.device,
        namer: Namer | None = None,
    ) -> None:
        """Images need an ``encoder``, shapes a ``namer``; with neither there is geometry only."""
        self.stopwatch = Stopwatch()
        self._config, self._namer, self._device = config, namer, device
        most = config.semantics.feature_channels
        channels = embedding_channels = 0
        self._eyes: Eyes | None = None
        if encoder is not None:
            self._eyes = Eyes(encoder, most, device, self.stopwatch)
            channels = self._eyes.basis.channels
        if namer is not None:
            self._embedding_basis = namer.basis(most)
            embedding_channels = self._embedding_basis.channels
        self.map = VoxelMap(config.map, config.inputs, channels, device, embedding_channels)
        self.ladder = Ladder(rungs(encoder is not None, namer is not None, config.semantics.virtual_views))
        self._keyframes = Keyframes()
        self._new_voxels = self._window_voxels = 0
        self._read_ns = 0
        self._keyframes_since_look = 0
        self.learning: Learning | None = None
        if config.adaptation.enabled and encoder is not None and namer is not None:
            self.learning = Learning(namer, config.adaptation.share)
        self.identities = Identities(config.inputs.max_range_m, config.map.voxel_size_m)
        self.set_vocabulary(vocabulary)

    @property
    def can_name(self) -> bool:
        """Whether anything here gives names; without, there is geometry only."""
        return self._eyes is not None or self._namer is not None

    @property
    def feature_bases(self) -> dict[str, FeatureBasis]:
        """What each column of features in the map is written in; none for a column that nothing reads."""
        bases = {} if self._eyes is None else {"feature": self._eyes.basis}
        return bases if self._namer is None else {**bases, "embedding": self._embedding_basis}

    @property
    def encoder_name(self) -> str:
        """Of the image encoder, empty without."""
        return "" if self._eyes is None else self._eyes.name

    @property
    def network_name(self) -> str:
        """Of the 3D network, empty without."""
        return "" if self._namer is None else self._namer.name

    # One thread for all -----------------------------------------------------------------------

    def take(self, measurement: Frame | Scan) -> Understood | None:
        """All that a measurement is good for: into the map, and what is understood then; None if it is no
        keyframe."""
        self.integrate(measurement)
        if not self.is_keyframe(measurement):
            return None
        window = self.snapshot(measurement)
        understood = self.understand(measurement, window)
        self.apply(understood)
        self.adapt(window, understood)
        if self.views_due():
            self.apply(self.look_around(self.snapshot(measurement)))
        return understood

    # Mapping thread ---------------------------------------------------------------------------

    def integrate(self, measurement: Frame | Scan) -> Fused:
        """Adds what a sensor saw to the map. Errors are those of :meth:`VoxelMap.integrate`."""
        with self.stopwatch("integrate"):
            fused = self.map.integrate(measurement)
        self._new_voxels += fused.new
        self.identities.saw(measurement)
        return fused

    def follow(self, T_new_old: FloatArray, center_m: FloatArray) -> Moved:
        """Localisation was corrected, as after a closed loop: the map follows. See :meth:`VoxelMap.follow`.

        What others still find out about copies from before is put where their voxels are then.
        """
        with self.stopwatch("follow"):
            moved = self.map.follow(T_new_old, center_m)
        self.identities.follow(moved)
        return moved

    def is_keyframe(self, measurement: Frame | Scan) -> bool:
        """Whether there is something to understand; answering yes makes this the last keyframe.

        An image by :class:`ws3d_ros.sensors.keyframes.Keyframes`. Where there is no image, or nothing that
        encodes it, the map is worth reading, or rendering, if enough of it is new, or a little for a while.
        """
        novel = self._new_voxels > CHANGED * self._window_voxels
        if self.encodes(measurement):
            due = self._keyframes.take(measurement, novel, self._config.semantics)
        else:
            waited = abs(measurement.stamp_ns - self._read_ns) > WAITED_NS and self._new_voxels > 0
            can = self._namer is not None or self.looks_around
            due = (novel or waited) and can and self.ladder.effort.names
        if due:
            self._new_voxels, self._read_ns = 0, measurement.stamp_ns
            self._keyframes_since_look += self.looks_around
        return due

    def views_due(self) -> bool:
        """Whether it is time to :meth:`look_around`; answering yes makes it a while till the next time."""
        due = self.looks_around and self._keyframes_since_look >= KEYFRAMES_A_LOOK
        if due:
            self._keyframes_since_look = 0
        return due

    @property
    def looks_around(self) -> bool:
        """Whether there are virtual views."""
        return self._eyes is not None and self._config.semantics.virtual_views and self.ladder.effort.views

    def encodes(self, measurement: Frame | Scan) -> TypeGuard[Frame]:
        """Whether there is an image and something that encodes it."""
        can = self._eyes is not None and self.ladder.effort.names
        return can and isinstance(measurement, Frame) and measurement.color is not None

    def snapshot(self, measurement: Frame | Scan, *, features: bool = True) -> Window:
        """A copy of the map around the sensor; :meth:`look` needs no ``features``."""
        pose = measurement.T_map_camera if isinstance(measurement, Frame) else measurement.T_map_lidar
        return self.window(pose[:3, 3], self.ladder.effort.window, features=features)

    def window(self, center_m: FloatArray, share: float = 1.0, *, features: bool = True) -> Window:
        """A copy of the map around a place (3,), as far as a ``share`` of ``map.window_radius_m``."""
        with self.stopwatch("snapshot"):
            radius_m = share * self._config.map.window_radius_m
            window = self.map.window(center_m, radius_m, features=features)
        self._window_voxels = len(window)
        return window

    def apply(self, understood: Understood) -> None:
        """Puts what was understood into the map."""
        for moved in self.identities.moved:
            if moved.number == understood.moves + 1:
                understood = understood.renamed(moved)
        if understood.moves != self.map.moves:
            return  # too many moves ago
        with self.stopwatch("apply"):
            if understood.features is not None:
                self.map.apply(understood.features)
            if understood.read is not None:
                self.map.apply(understood.read)
            if understood.paint is not None:
                self.map.paint(*understood.paint)
            if understood.names is not None:
                self.map.apply(understood.names)

    def clear(self) -> None:
        """Forgets the map; the next measurement is a keyframe."""
        self.map.clear()
        self.identities.clear(self.map.moves)
        self._keyframes.clear()
        self._new_voxels = self._window_voxels = 0

    def retune(self, config: Config) -> None:
        """Takes over the settings that may change at run time (``live`` in config.py). Any thread may."""
        self._config, self.map.config = config, config.map

    # Other threads ----------------------------------------------------------------------------

    def understand(self, measurement: Frame | Scan, window: Window) -> Understood:
        """What an image says about the voxels that it shows, and all names that follow.

        A measurement without an image, or without an encoder for it, brings names only.
        """
        if not self.encodes(measurement):
            return self.read_and_name(window)
        seen = self.look(measurement, window)
        assert seen.features is not None
        named = self.read_and_name(with_features(window, seen.features))
        return replace(named, features=seen.features, paint=seen.paint)

    def look(self, frame: Frame, window: Window) -> Understood:
        """What an image adds to the features of the voxels that it shows and, without depth, to their
        colours."""
        assert self._eyes is not None
        seen, colors = self._eyes.look(frame, window, self._words.image)
        return Understood(features=seen, paint=colors, moves=window.moves)

    def look_around(self, window: Window) -> Understood:
        """What pictures of the map itself add to its features, taken where it is known least."""
        assert self._eyes is not None
        seen, virtual = self._eyes.look_around(window, self._words.image)
        return Understood(features=seen, virtual=virtual, moves=window.moves)

    def read_and_name(self, window: Window) -> Understood:
        """What the 3D network sees in a window, and all names that follow. Without one: names only.

        Where it fails, names follow from what it read before.
        """
        return self.name(window, self.read(window))

    def name(self, window: Window, seen: Understood) -> Understood:
        """The names that follow from a window and what :meth:`read` saw in it, beside that."""
        if seen.read is not None:
            window = replace(window, embedding=seen.read.embedding)
        with self.stopwatch("name"):
            return replace(seen, names=self._name(window, keep=True))

    def read(self, window: Window) -> Understood:
        """What the 3D network sees in each voxel of a window, to be stored; the slow part of naming."""
        effort = self.ladder.effort
        if self._namer is None or not effort.network:
            return Understood(moves=window.moves)
        try:
            with self.stopwatch("network"):
                embedding = self._namer.read(window, self._embedding_basis, effort.piece)
        except Exception as error:
            log.debug("the network failed", exc_info=True)
            if self.ladder.heard(error):
                self.let_go()
            return Understood(network_error=f"{type(error).__name__}: {error}", moves=window.moves)
        return Understood(read=Patch(window.keys, embedding=embedding), moves=window.moves)

    def let_go(self) -> None:
        """Frees what the present rung of the ladder has no use for. On the thread that reads."""
        if self._namer is not None and not self.ladder.effort.network:
            self._namer.reader.forget()

    def adapt(self, window: Window, understood: Understood) -> bool:
        """Learns a little from what was just understood of a window, if that is on and there is time.

        Returns whether the network reads with new weights from now on.
        """
        if self.learning is None or understood.read is None:
            return False
        seen = window if understood.features is None else with_features(window, understood.features)
        with self.stopwatch("adapt"):
            read = replace(seen, embedding=understood.read.embedding)
            return self.learning.learn(read, self._words, self._vectors)

    def relabel(self, window: Window) -> Understood:
        """All names anew, from stored features alone: nothing is encoded, and the network is not asked."""
        with self.stopwatch("name"):
            return Understood(self._name(window), moves=window.moves)

    def finish(self) -> Understood:
        """Reads and names the whole map once more: for who has one thread, and is at the end.

        What a window named early has been seen from elsewhere since, and names that were held for the sake
        of calm are let go.
        """
        read = self.read(self.map.everything())
        self.apply(read)
        named = self.relabel(self.map.everything())
        self.apply(named)
        return replace(named, network_error=read.network_error)

    def rename(self, window: Window) -> Understood:
        """Labels and confidences anew as :meth:`relabel`, but every voxel by itself: quick on a whole map.

        Voxels hear no neighbours and things stay as they are until :meth:`relabel`.
        """
        with self.stopwatch("rename"):
            label, confidence = naming.rename(window, self._words, self._config.semantics.unknown_below)
        return Understood(Patch(window.keys, label=label, confidence=confidence), moves=window.moves)

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Other words from now on; relabel ``map.everything()`` to rename what is there.

        If the encoder fails, its error is passed on and the old words stay.
        """
        none = torch.zeros(len(vocabulary) + len(vocabulary.background), 0, device=self._device)
        words = naming.Words(len(vocabulary), none, none)
        if self._eyes is not None:
            words = replace(words, image=self._eyes.words(vocabulary), image_scale=self._eyes.logit_scale)
        if self._namer is not None:
            self._vectors = self._namer.embed(vocabulary).to(self._device)
            vectors = self._embedding_basis.compress(self._vectors)
            words = replace(words, network=vectors, network_scale=self._namer.logit_scale)
        self._words = words
        self.vocabulary = vocabulary
        self.identities.forget_labels()

    def tracks(self) -> dict[str, np.ndarray]:
        """All that is known of objects, as plain arrays, for :meth:`take_tracks`."""
        return self.identities.state(self.map.moves)

    def take_tracks(self, state: dict[str, np.ndarray]) -> None:
        """Objects of a map that this one is replaced by. Raises KeyError for an array that is missing."""
        self.identities.take(state, self.map.moves)

    def said_of(self, window: Window, regions: Regions) -> Tensor:
        """(R, C + B) what is known of each region, see :func:`ws3d_ros.naming.by_region`."""
        return naming.by_region(window, self._words, regions.of_voxel, regions.count)

    def _name(self, window: Window, keep: bool = False) -> Patch:
        """Label, confidence and instance of each voxel, from both sources, surfaces and old objects.

        ``keep``: old labels count, too; they must be of the same vocabulary.
        """
        settings = self._config.semantics
        regions = superpoints(window)
        share, least = settings.region_share, settings.unknown_below
        label, confidence = naming.name(window, self._words, regions.of_voxel, share, least, keep)
        structure = structure_labels(self.vocabulary.names)
        smallest = self._config.output.min_instance_voxels
        said = self.said_of(window, regions)
        things = segment(window, regions, said, structure, min_voxels=smallest)
        things = with_names(things, label)
        with self.stopwatch("track"):
            feature = window.feature if self._eyes is not None else window.embedding
            assert feature is not None
            instance = self.identities.update(window, things, label, feature)
        return Patch(window.keys, label=label, confidence=confidence, instance=instance)
