"""MinkowskiNet-type U-Nets (Choy et al., CVPR 2019), from stride 1 to 16 and back.

Layer names are those of the published Res16UNet (``conv0p1s1``: from stride 1, step 1;
``convtr4p16s2``: from stride 16 up by 2), so that its state dicts fit.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ws3d_ros.network.layers import BasicBlock, BatchNorm, Convolution, Rectifier, concatenate
from ws3d_ros.network.sparse_tensor import SparseTensor


@dataclass(frozen=True)
class Architecture:
    """Sizes of a U-Net.

    Attributes:
        stem: channels of the first layer, at stride 1.
        channels: after each of the four steps down and the four up.
        blocks: residual blocks after each of them.
    """

    stem: int
    channels: tuple[int, int, int, int, int, int, int, int]
    blocks: tuple[int, int, int, int, int, int, int, int]


ARCHITECTURES = {
    # Thin where the voxels are many, so that a CPU keeps up.
    "Res16UNet14S": Architecture(24, (32, 64, 128, 192, 128, 96, 64, 48), (1,) * 8),
    "Res16UNet14A": Architecture(32, (32, 64, 128, 256, 128, 128, 96, 96), (1,) * 8),
    "Res16UNet18A": Architecture(32, (32, 64, 128, 256, 128, 128, 96, 96), (2,) * 8),
    "Res16UNet34C": Architecture(32, (32, 64, 128, 256, 256, 128, 96, 96), (2, 3, 4, 6, 2, 2, 2, 2)),
}


class Res16UNet(nn.Module):
    """Features in, features of the same cells out.

    Attributes:
        channels: of the output.
    """

    def __init__(self, architecture: Architecture, inputs: int) -> None:
        super().__init__()
        stem, channels = architecture.stem, architecture.channels
        self.channels = channels[7]
        self.relu = Rectifier()
        self.conv0p1s1, self.bn0 = Convolution(inputs, stem, 5), BatchNorm(stem)
        width = stem
        skips = [stem]
        for step in range(4):
            name = f"conv{step + 1}p{2**step}s2"
            setattr(self, name, Convolution(width, width, 2, "down"))
            setattr(self, f"bn{step + 1}", BatchNorm(width))
            setattr(self, f"block{step + 1}", _stage(width, channels[step], architecture.blocks[step]))
            width = channels[step]
            skips.append(width)
        for step in range(4, 8):
            up = channels[step]
            setattr(self, f"convtr{step}p{2 ** (8 - step)}s2", Convolution(width, up, 2, "up"))
            setattr(self, f"bntr{step}", BatchNorm(up))
            joined = up + skips[7 - step]
            setattr(self, f"block{step + 1}", _stage(joined, up, architecture.blocks[step]))
            width = up

    def forward(self, x: SparseTensor) -> SparseTensor:
        x = self.relu(self.bn0(self.conv0p1s1(x)))
        skips = [x]
        for step in range(4):
            x = self.get_submodule(f"conv{step + 1}p{2**step}s2")(x)
            x = self.relu(self.get_submodule(f"bn{step + 1}")(x))
            x = self.get_submodule(f"block{step + 1}")(x)
            skips.append(x)
        for step in range(4, 8):
            x = self.get_submodule(f"convtr{step}p{2 ** (8 - step)}s2")(x)
            x = self.relu(self.get_submodule(f"bntr{step}")(x))
            x = self.get_submodule(f"block{step + 1}")(concatenate(x, skips[7 - step]))
        return x


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(
        BasicBlock(inputs, outputs), *(BasicBlock(outputs, outputs) for _ in range(blocks - 1))
    )
