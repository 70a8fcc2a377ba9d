"""The 3D network as one thing: what it expects, the U-Net and its heads."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ws3d_ros.network.heads import Heads, Reading
from ws3d_ros.network.inputs import input_channels
from ws3d_ros.network.sparse_tensor import SparseTensor
from ws3d_ros.network.unet import ARCHITECTURES, Res16UNet


@dataclass(frozen=True)
class Spec:
    """What a student is and what it was trained for; the header of its checkpoint.

    Attributes:
        architecture: a name out of ``unet.ARCHITECTURES``.
        inputs: names out of ``inputs.CHANNELS``, in order.
        voxel_size_m: of the clouds that it was trained on.
        space: of the language vectors that it predicts, as ``Encoder.space``.
        dim: of that space.
        classes: names of the closed set, empty without that head.
        boundary, offset: whether there are these heads.
        vocabulary: words that it was trained with.
        licence: of the weights.
    """

    architecture: str
    inputs: tuple[str, ...]
    voxel_size_m: float
    space: str
    dim: int
    classes: tuple[str, ...] = ()
    boundary: bool = False
    offset: bool = False
    vocabulary: tuple[str, ...] = ()
    licence: str = ""


class Student(nn.Module):
    """Voxels in, vectors in the space of words out."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.unet = Res16UNet(ARCHITECTURES[spec.architecture], input_channels(spec.inputs))
        self.heads = Heads(self.unet.channels, spec.dim, len(spec.classes), spec.boundary, spec.offset)

    def forward(self, x: SparseTensor) -> Reading:
        """``x``: stride 1, features as ``inputs.input_features`` makes them."""
        reading: Reading = self.heads(self.unet(x))
        return reading
