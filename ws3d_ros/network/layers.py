"""The layers of a sparse U-Net. Names of parameters follow MinkowskiEngine's, so that its weights load."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ws3d_ros.network.sparse_tensor import SparseTensor


class Convolution(nn.Module):
    """Sparse convolution: among the cells of a stride, down to twice the stride, or back up.

    Attributes:
        kernel: (K³, C_in, C_out), or (C_in, C_out) for a kernel of 1.
        bias: (C_out,), or None.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int = 3, direction: str = "same", bias: bool = False
    ) -> None:
        """``direction``: ``same`` (odd kernels), ``down`` or ``up`` (kernel 2, stride 2)."""
        super().__init__()
        assert (direction == "same") == (kernel_size % 2 == 1), "odd kernels stay, kernels of 2 change stride"
        self.kernel_size, self.direction = kernel_size, direction
        volume = kernel_size**3
        shape = (inputs, outputs) if volume == 1 else (volume, inputs, outputs)
        self.kernel = nn.Parameter(torch.empty(shape))
        # He et al., ICCV 2015, by what reaches an output: surfaces fill about a third of a kernel.
        met = 1 if direction == "up" else max(1, volume // 3)
        nn.init.normal_(self.kernel, std=math.sqrt(2.0 / (met * inputs)))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: SparseTensor) -> SparseTensor:
        stride, pyramid = x.stride, x.pyramid
        features, kernel = self._cast(x.features, self.kernel)
        if self.kernel_size == 1:
            out = features @ kernel
        elif self.direction == "same":
            out = pyramid.backend.convolve(features, kernel, pyramid.neighbours(stride, self.kernel_size))
        elif self.direction == "down":
            out = pyramid.backend.convolve(features, kernel, pyramid.children(stride))
            stride *= 2
        else:
            stride //= 2
            out = pyramid.backend.convolve(features, kernel, pyramid.children(stride), transposed=True)
        if self.bias is not None:
            out = out + self.bias
        return SparseTensor(out, stride, pyramid)

    @staticmethod
    def _cast(features: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        """Both in autocast's precision, which torch chooses for its own operators only."""
        device = features.device.type
        if not torch.is_autocast_enabled(device):
            return features, kernel
        dtype = torch.get_autocast_dtype(device)
        return features.to(dtype), kernel.to(dtype)


class BatchNorm(nn.Module):
    """Batch normalisation over all cells of all clouds in the batch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.replace(self.bn(x.features))


class Rectifier(nn.Module):
    """max(x, 0)."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.replace(torch.relu(x.features))


class BasicBlock(nn.Module):
    """Two convolutions with a shortcut (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = Convolution(inputs, outputs), BatchNorm(outputs)
        self.conv2, self.norm2 = Convolution(outputs, outputs), BatchNorm(outputs)
        self.relu = Rectifier()
        self.downsample = (
            nn.Sequential(Convolution(inputs, outputs, 1), BatchNorm(outputs)) if inputs != outputs else None
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        return self.relu(x.replace(x.features + shortcut.features))


def concatenate(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """Channels of two tensors on the same cells, side by side."""
    features: Tensor = torch.cat([a.features, b.features], dim=1)
    return a.replace(features)
