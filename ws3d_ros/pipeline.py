"""The way of the data, as code: sensors to map, images to features, features to names.

Two threads share a :class:`Pipeline`. The *mapping* thread calls ``integrate``, ``is_keyframe``,
``snapshot`` and ``apply``; it alone touches the map. The *semantics* thread calls ``understand``,
``relabel`` and ``set_vocabulary``, which work on copies. One thread may be both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ws3d_ros.alignment.compression import feature_basis
from ws3d_ros.alignment.labelling import decide, word_probabilities
from ws3d_ros.alignment.lifting import lift, paint
from ws3d_ros.alignment.neighbours import neighbour_table
from ws3d_ros.alignment.regularise import affinity, smooth, trust_in
from ws3d_ros.config import Config
from ws3d_ros.instances.grouping import group
from ws3d_ros.language.encoder import Encoder
from ws3d_ros.language.prompts import embed
from ws3d_ros.language.vocabulary import Vocabulary, shipped_words
from ws3d_ros.reconstruction.voxel_map import Fused, VoxelMap
from ws3d_ros.reconstruction.window import Patch, Window
from ws3d_ros.rendering.splat import render
from ws3d_ros.sensors.frame import FloatArray, Frame, Scan
from ws3d_ros.stopwatch import Stopwatch

VIEW_WIDTH = 320
"""Pixels across in the rendered view that links an image to voxels."""


@dataclass(frozen=True)
class Understood:
    """What the semantics thread hands to the mapping thread.

    Attributes:
        names: label, confidence and instance of every voxel of a window.
        features: what an image adds to the features of the voxels that it shows, or None.
        paint: arguments of ``VoxelMap.paint``: colours from an image without depth, or None.
    """

    names: Patch
    features: Patch | None = None
    paint: tuple[Tensor, Tensor, Tensor] | None = None


@dataclass(frozen=True)
class Words:
    """What the vocabulary looks like to features: (C + B, K) compressed vectors, C of them names."""

    vectors: Tensor
    names: int


class Pipeline:
    """Sensors in, named voxels out.

    Attributes:
        map: the voxel map.
        vocabulary: the words in use; changed by :meth:`set_vocabulary`.
        stopwatch: times of the stages.
    """

    def __init__(
        self, config: Config, encoder: Encoder | None, vocabulary: Vocabulary, device: torch.device
    ) -> None:
        """``encoder`` None maps geometry only."""
        self.stopwatch = Stopwatch()
        self._config, self._encoder, self._device = config, encoder, device
        channels = 0
        if encoder is not None:
            self._basis = feature_basis(encoder, shipped_words(), config.semantics.feature_channels)
            channels = self._basis.channels
        self.map = VoxelMap(config.map, config.inputs, channels, device)
        self._keyframes: dict[str, FloatArray] = {}
        self._next_instance = 1
        self.set_vocabulary(vocabulary)

    # Mapping thread ---------------------------------------------------------------------------

    def integrate(self, measurement: Frame | Scan) -> Fused:
        """Adds what a sensor saw to the map. Errors are those of :meth:`VoxelMap.integrate`."""
        with self.stopwatch("integrate"):
            return self.map.integrate(measurement)

    def is_keyframe(self, frame: Frame) -> bool:
        """Whether the image is worth encoding: its camera moved or turned enough since the last one.

        Answering yes makes this frame the last one.
        """
        if self._encoder is None or frame.color is None:
            return False
        last = self._keyframes.get(frame.sensor)
        if last is not None:
            moved_m, turned_deg = motion(last, frame.T_map_camera)
            settings = self._config.semantics
            if moved_m < settings.keyframe_distance_m and turned_deg < settings.keyframe_angle_deg:
                return False
        self._keyframes[frame.sensor] = frame.T_map_camera
        return True

    def snapshot(self, frame: Frame) -> Window:
        """A copy of the map around the camera."""
        with self.stopwatch("snapshot"):
            return self.map.window(frame.T_map_camera[:3, 3], self._config.map.window_radius_m)

    def apply(self, understood: Understood) -> None:
        """Puts what was understood into the map."""
        with self.stopwatch("apply"):
            if understood.features is not None:
                self.map.apply(understood.features)
            if understood.paint is not None:
                self.map.paint(*understood.paint)
            self.map.apply(understood.names)

    def clear(self) -> None:
        """Forgets the map; the next image is a keyframe."""
        self.map.clear()
        self._keyframes.clear()

    def retune(self, config: Config) -> None:
        """Takes over the settings that may change at run time (``live`` in config.py). Any thread may."""
        self._config, self.map.config = config, config.map

    # Semantics thread -------------------------------------------------------------------------

    def understand(self, frame: Frame, window: Window) -> Understood:
        """What an image says about the voxels that it shows, and all names that follow."""
        assert self._encoder is not None
        assert frame.color is not None
        with self.stopwatch("encode"):
            image = frame.color.to(self._device).permute(2, 0, 1)[None] / 255.0
            dense = self._basis.compress_grid(self._encoder.encode_dense(image)[0])
        with self.stopwatch("render"):
            height = round(VIEW_WIDTH * frame.camera.height / frame.camera.width)
            camera = frame.camera.scaled_to(VIEW_WIDTH, height)
            pose = torch.from_numpy(frame.T_map_camera)
            views = render(window.points_m, camera, pose, window.voxel_size_m, normal=window.normal)
        with self.stopwatch("lift"):
            seen = lift(dense, views, frame, window, self._words.vectors, self._encoder.logit_scale)
            colors = paint(frame.color, views, window) if frame.depth_m is None else None
        with self.stopwatch("name"):
            return Understood(self._name(add(window, seen)), seen, colors)

    def relabel(self, window: Window) -> Understood:
        """All names anew, from features that the voxels have: no image is needed."""
        with self.stopwatch("name"):
            return Understood(self._name(window))

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Other words from now on; relabel ``map.everything()`` to rename what is there.

        If the encoder fails, its error is passed on and the old words stay.
        """
        if self._encoder is not None:
            embedded = embed(vocabulary, self._encoder)
            vectors = torch.cat([embedded.names, embedded.background]).to(self._device)
            self._words = Words(self._basis.compress(vectors), len(vocabulary.names))
        self.vocabulary = vocabulary

    def _name(self, window: Window) -> Patch:
        """Label, confidence and instance of each voxel, from features, neighbours and old ids."""
        assert self._encoder is not None
        settings = self._config.semantics
        table = neighbour_table(window.keys)
        probability = word_probabilities(window.feature, self._words.vectors, self._encoder.logit_scale)
        trust = trust_in(window.feature_weight)
        probability = smooth(probability, trust, affinity(window, table), settings.smoothing_sweeps)
        label, confidence = decide(probability, self._words.names, settings.unknown_below)
        smallest = self._config.output.min_instance_voxels
        instance = group(label, window.instance, table, smallest, self._next_instance)
        self._next_instance = max(self._next_instance, int(instance.amax()) + 1 if len(instance) else 1)
        return Patch(window.keys, label=label, confidence=confidence, instance=instance)


def add(window: Window, seen: Patch) -> Window:
    """The window with an image's features merged in, as the map will have them; feature is float32."""
    assert seen.feature_sum is not None
    assert seen.feature_weight is not None
    row = torch.searchsorted(window.keys, seen.keys)
    feature, weight = window.feature.float(), window.feature_weight.clone()
    total = feature[row] * weight[row, None] + seen.feature_sum
    weight[row] += seen.feature_weight
    feature[row] = total / weight[row, None]
    return replace(window, feature=feature, feature_weight=weight)


def motion(T_map_a: FloatArray, T_map_b: FloatArray) -> tuple[float, float]:
    """How far apart two poses (4, 4) are: metres, and degrees of the rotation between them."""
    between = np.linalg.inv(T_map_a) @ T_map_b
    cosine = (np.trace(between[:3, :3]) - 1.0) / 2.0
    return float(np.linalg.norm(between[:3, 3])), float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
