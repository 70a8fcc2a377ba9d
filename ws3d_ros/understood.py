"""What slow stages found out about a copy of the map, on its way back into it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from ws3d_ros.alignment.virtual_views import VirtualViews
from ws3d_ros.reconstruction.grafting import Moved
from ws3d_ros.reconstruction.window import Patch


@dataclass(frozen=True)
class Understood:
    """What the mapping thread gets from the others.

    Attributes:
        names: label, confidence and instance of every voxel of a window, or None.
        features: what an image adds to the features of the voxels that it shows, or None.
        read: embeddings of the voxels of a window as the 3D network read them, or None.
        paint: arguments of ``VoxelMap.paint``: colours from an image without depth, or None.
        network_error: why the 3D network did not read, empty if it did or was not asked to.
        virtual: what virtual cameras saw, or None.
        moves: of the window that all this is about, see :class:`Window`.
    """

    names: Patch | None = None
    features: Patch | None = None
    read: Patch | None = None
    paint: tuple[Tensor, Tensor, Tensor] | None = None
    network_error: str = ""
    virtual: VirtualViews | None = None
    moves: int = 0

    def renamed(self, moved: Moved) -> Understood:
        """The same about the same voxels after they were moved; those that came together are told twice."""

        def rename(patch: Patch | None) -> Patch | None:
            return None if patch is None else replace(patch, keys=moved.renamed(patch.keys))

        return replace(
            self,
            names=rename(self.names),
            features=rename(self.features),
            read=rename(self.read),
            paint=None if self.paint is None else (moved.renamed(self.paint[0]), *self.paint[1:]),
            moves=moved.number,
        )
