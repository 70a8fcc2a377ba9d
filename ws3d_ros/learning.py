"""The network learns on the way from what the pipeline believes; off unless ``adaptation.enabled``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from ws3d_ros import naming
from ws3d_ros.adaptation.adapter import Adapter, Evidence
from ws3d_ros.adaptation.replay import Voxels
from ws3d_ros.adaptation.shipped import load_scenes
from ws3d_ros.alignment.combining import pool, spoken
from ws3d_ros.network.namer import Namer
from ws3d_ros.reconstruction.window import Window

HALF_BELIEVED = 0.2
"""Evidence of images with which they teach the network half as much as with any amount."""


class Learning:
    """Teaches the student of a namer, which reads with what was learnt once the gate let it pass.

    Attributes:
        adapter: counts what was accepted and refused, and keeps what is to be saved.
    """

    def __init__(self, namer: Namer, share: float) -> None:
        """``share``: of time, at most."""
        self._namer = namer
        self.adapter = Adapter(namer.reader.student, namer.reader.backend, share, load_scenes())

    def learn(self, window: Window, words: naming.Words, vectors: Tensor) -> bool:
        """A little from a window that was just read, if there is time; whether new weights serve.

        Args:
            window: with features and embeddings as they are now.
            words: in use.
            vectors: (C + B, D) the network's of these words, see ``Namer.embed``.
        """
        renewed = self.adapter.learn(partial(evidence, window, words, self._namer.voxel_size_m), vectors)
        if renewed:
            self._namer.reader.renew(self.adapter.student())
        return renewed

    def take_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on where a saved map ended. Raises as :meth:`Adapter.take_state`."""
        self.adapter.take_state(state)
        self._namer.reader.renew(self.adapter.student())


def evidence(window: Window, words: naming.Words, voxel_size_m: float) -> Evidence:
    """What is to be learnt of a window that was read: images, and both sources, where images saw it."""
    image, network = naming.said(window, words)
    seen = window.feature_weight
    pooled = pool(image * (seen > 0)[:, None], network, spoken(network))
    cells = (window.points_m / voxel_size_m).floor().int()
    return Evidence(Voxels(cells, window.color, window.normal), image, pooled, seen / (seen + HALF_BELIEVED))
