"""An image encoder and the short form in which the map keeps what it says."""

from __future__ import annotations

import torch
from torch import Tensor

from ws3d_ros.alignment import virtual_views
from ws3d_ros.alignment.compression import feature_basis
from ws3d_ros.alignment.lifting import lift, paint
from ws3d_ros.alignment.virtual_views import VirtualViews
from ws3d_ros.language.encoder import Encoder
from ws3d_ros.language.prompts import embed
from ws3d_ros.language.vocabulary import Vocabulary, shipped_words
from ws3d_ros.reconstruction.window import Patch, Window
from ws3d_ros.rendering.splat import render
from ws3d_ros.sensors.frame import Frame
from ws3d_ros.stopwatch import Stopwatch

VIEW_WIDTH = 320
"""Pixels across in the rendered view that links an image to voxels."""
VIEWS_AT_ONCE = 4
"""Virtual views that are placed, rendered and encoded together."""


class Eyes:
    """Looks at images, and at pictures of the map, and tells what that adds to its features.

    Attributes:
        name: of the encoder.
        logit_scale: of its cosines.
        basis: in which the map keeps features.
    """

    def __init__(self, encoder: Encoder, channels: int, device: torch.device, stopwatch: Stopwatch) -> None:
        """
        Args:
            encoder: of images and words.
            channels: kept of a feature; 0 keeps all.
            device: where images go.
            stopwatch: is told how long things take.
        """
        self.name, self.logit_scale = encoder.name, encoder.logit_scale
        self.basis = feature_basis(encoder, shipped_words(), channels)
        self._encoder, self._device, self._stopwatch = encoder, device, stopwatch

    def words(self, vocabulary: Vocabulary) -> Tensor:
        """(C + B, K) compressed vectors of the names, then of the background words."""
        embedded = embed(vocabulary, self._encoder)
        return self.basis.compress(torch.cat([embedded.names, embedded.background]).to(self._device))

    def look(
        self, frame: Frame, window: Window, words: Tensor
    ) -> tuple[Patch, tuple[Tensor, Tensor, Tensor] | None]:
        """What an image adds to the features of the voxels that it shows and, without depth, to their
        colours: arguments of ``VoxelMap.paint``."""
        assert frame.color is not None
        with self._stopwatch("encode"):
            image = frame.color.to(self._device).permute(2, 0, 1)[None] / 255.0
            dense = self.basis.compress_grid(self._encoder.encode_dense(image)[0])
        with self._stopwatch("render"):
            height = round(VIEW_WIDTH * frame.camera.height / frame.camera.width)
            camera = frame.camera.scaled_to(VIEW_WIDTH, height)
            pose = torch.from_numpy(frame.T_map_camera)
            views = render(window.points_m, camera, pose, window.voxel_size_m, normal=window.normal)
        with self._stopwatch("lift"):
            seen = lift(dense, views, frame, window, words, self.logit_scale)
            colors = paint(frame.color, views, window) if frame.depth_m is None else None
        return seen, colors

    def look_around(self, window: Window, words: Tensor) -> tuple[Patch, VirtualViews]:
        """What pictures of the map itself add to its features, taken where it is known least."""
        with self._stopwatch("virtual_views"):
            virtual = virtual_views.look_around(window, VIEWS_AT_ONCE, seed=window.stamp_ns)
            said = self._encoder.encode_dense(virtual.picture)
            dense = torch.stack([self.basis.compress_grid(each) for each in said])
            return virtual_views.lift_views(virtual, dense, window, words, self.logit_scale), virtual
