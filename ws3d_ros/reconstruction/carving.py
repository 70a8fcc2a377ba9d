"""Which voxels a measurement looks through.

A voxel is seen through where *everything* that was measured within its outline lies clearly behind
it. That spares edges, thin things, and walls and floors seen at a grazing angle: some pixel within
the outline of such a voxel always shows the voxel itself, or something nearer. A thing that left is
carved from its middle at once, and along the outlines of nearer things as the sensor moves.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ws3d_ros.reconstruction.range_image import RangeImage
from ws3d_ros.sensors.frame import Pinhole

HIT, MISS = 0.7, -0.3
"""What one measurement adds to the log-odds of a voxel that it hits, or that it looks through."""
MOST = 2.0
"""Log-odds end here, so that what stood for hours goes as fast as what stood for seconds: at below
zero, after 7 measurements. (Clamping: Yguel et al. 2007; Hornung et al., OctoMap, 2013.)"""

_HALF_DIAGONAL = math.sqrt(3) / 2
_MARGIN_VOXELS = 1.0  # a voxel's own extent, and the error of poses
_DEPTH_NOISE = 0.0043  # 1/m: three standard deviations of a structured-light camera, over z²
_RANGE_NOISE = 0.02  # of the range; LiDAR noise is less, errors of its attitude are not
_COARSEST = 4  # pixels: depth is searched in blocks of at most this size
_LEVELS = 6  # of the table of minima; the outline is cut at 2 * 2**5 blocks


def in_view(camera: Pinhole, point_m: Tensor, radius_m: float, max_depth_m: float) -> Tensor:
    """(N,) bool: a ball around each point, (N, 3) in the camera frame, may reach into the image."""
    x, y, z = point_m.unbind(-1)
    seen = (z > -radius_m) & (z < max_depth_m + radius_m)
    for along, focal, centre, size in (
        (x, camera.fx, camera.cx, camera.width),
        (y, camera.fy, camera.cy, camera.height),
    ):
        for sign, edge in ((1.0, centre + 0.5), (-1.0, size - 0.5 - centre)):
            # Distance to the plane through the eye and the image's edge.
            seen &= (sign * along * focal + z * edge) > -radius_m * math.hypot(focal, edge)
    return seen


def seen_through_in_depth(
    depth_m: Tensor, camera: Pinhole, point_m: Tensor, voxel_size_m: float, max_depth_m: float
) -> Tensor:
    """(N,) bool: the depth image shows that there is nothing at the voxel.

    Args:
        depth_m: (H, W) float32, 0 where invalid.
        point_m: (N, 3) float32 centroids of voxels in the camera frame.
        max_depth_m: voxels are sought up to here.
    """
    block = max(1, min(_COARSEST, 2 ** int(math.log2(max(1.0, voxel_size_m * camera.fx / max_depth_m)))))
    x, y, z = point_m.unbind(-1)
    z_safe = z.clamp(min=1e-3)
    # Pixel centres are at whole numbers: half a pixel moves them into their block.
    column = (camera.fx * x / z_safe + camera.cx + 0.5) / block
    row = (camera.fy * y / z_safe + camera.cy + 0.5) / block
    outline = (_HALF_DIAGONAL * voxel_size_m * camera.fx / z_safe + 1) / block
    clear_from = z + _MARGIN_VOXELS * voxel_size_m + _DEPTH_NOISE * z * z
    through = _all_behind(nearest_in_blocks(depth_m, block), row, column, outline, clear_from)
    return through & (z > 0)


def seen_through_in_sweep(image: RangeImage, point_m: Tensor, voxel_size_m: float) -> Tensor:
    """(N,) bool: the sweep shows that there is nothing at the voxel.

    Args:
        point_m: (N, 3) float32 centroids of voxels in the sensor's frame.
    """
    row, column = image.cells(point_m)
    distance = point_m.norm(dim=-1)
    # The rings above and below are always asked too: what lies between them is a guess.
    outline = _HALF_DIAGONAL * voxel_size_m / (distance.clamp(min=1e-3) * image.cell_rad) + 1
    # Azimuth goes round: repeat as many columns at both ends as an outline may need.
    extra = 2**_LEVELS
    ranges = torch.cat([image.range_m[:, -extra:], image.range_m, image.range_m[:, :extra]], dim=1)
    clear_from = distance * (1 + _RANGE_NOISE) + _MARGIN_VOXELS * voxel_size_m
    return _all_behind(ranges, row, column + extra, outline, clear_from)


def nearest_in_blocks(depth_m: Tensor, block: int) -> Tensor:
    """(H // block, W // block) least valid depth in each block; 0 where most pixels are invalid."""
    height, width = (size // block * block for size in depth_m.shape)
    depth_m = depth_m[:height, :width]
    valid = depth_m > 0
    nearest, count = torch.where(valid, depth_m, torch.inf), valid.to(torch.int16)
    for axis in (0, 1):
        lines = [nearest[i::block] if axis == 0 else nearest[:, i::block] for i in range(block)]
        counts = [count[i::block] if axis == 0 else count[:, i::block] for i in range(block)]
        nearest, count = lines[0], counts[0]
        for line, more in zip(lines[1:], counts[1:], strict=True):
            nearest, count = torch.minimum(nearest, line), count + more
    return torch.where(count * 2 > block * block, nearest, 0.0)


def _all_behind(image: Tensor, row: Tensor, column: Tensor, half: Tensor, clear_from: Tensor) -> Tensor:
    """(N,) bool: all of the image in the square around (row, column) is known and beyond ``clear_from``.

    Cell i of the image, (h, w), covers [i, i + 1) of ``row`` and ``column``; 0 is unknown.
    """
    height, width = image.shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
    # The middle cell settles most cases: few voxels are in front of anything.
    maybe = (inside & (image.reshape(-1)[place] > clear_from)).nonzero()[:, 0]
    least = _least_around(image, row[maybe], column[maybe], half[maybe])
    through = torch.zeros_like(inside)
    through[maybe] = least > clear_from[maybe]
    return through


def _least_around(image: Tensor, row: Tensor, column: Tensor, half: Tensor) -> Tensor:
    """(N,) minimum of the image over squares, by a table of minima over squares of 2^k cells.

    Four overlapping squares of the table cover any square exactly (range minimum query by a
    sparse table: Bender and Farach-Colton 2000).
    """
    height, width = image.shape
    levels = min(_LEVELS, int(math.log2(min(height, width))) + 1)
    table = [image]
    for k in range(1, levels):
        reach = 2 ** (k - 1)
        wider = table[-1].clone()
        wider[:-reach] = torch.minimum(wider[:-reach], table[-1][reach:])
        across = wider.clone()
        across[:, :-reach] = torch.minimum(wider[:, :-reach], wider[:, reach:])
        table.append(across)
    minima = torch.stack(table).view(-1)
    half = half.clamp(max=2.0 ** (levels - 1) - 0.5)
    top, left = (row - half).floor().long(), (column - half).floor().long()
    size = torch.maximum((row + half).floor().long() - top, (column + half).floor().long() - left) + 1
    size = size.clamp(max=min(height, width))
    top = torch.minimum(top.clamp(min=0), height - size)
    left = torch.minimum(left.clamp(min=0), width - size)
    level = size.float().log2().floor().long().clamp(max=levels - 1)
    inset = size - 2**level
    corner = (level * height + top) * width + left
    least = torch.minimum(minima[corner], minima[corner + inset])
    corner = corner + inset * width
    return torch.minimum(least, torch.minimum(minima[corner], minima[corner + inset]))
