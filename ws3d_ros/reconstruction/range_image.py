"""A LiDAR sweep as an image of ranges over azimuth and elevation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CELL_SIZES_DEG = (0.5, 1.0, 2.0, 4.0)
"""Sizes of a cell that are tried, finest first."""

_EMPTY_ROWS = 0.03  # share of empty rows between the lowest and the highest ring that is allowed
_STEP = 0.15  # of the range: neighbouring cells farther apart are not the same surface


@dataclass(frozen=True)
class RangeImage:
    """The returns from the nearest surface in each cell. Rows are elevation, columns azimuth, all around.

    Attributes:
        range_m: (rows, columns) float32, 0 where the cell is empty.
        point_m: (rows, columns, 3) float32 mean of these returns, in the sensor's frame.
        cell_rad: edge of a cell.
        lowest_rad: elevation of the lower edge of row 0.
    """

    range_m: Tensor
    point_m: Tensor
    cell_rad: float
    lowest_rad: float

    def cells(self, point_m: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column, (N,) float32 each, of points in the sensor's frame; cell i is [i, i+1)."""
        row = (elevation(point_m) - self.lowest_rad) / self.cell_rad
        return row, _column(point_m, self.range_m.shape[1])

    def normals(self, point_m: Tensor) -> Tensor:
        """(N, 3) float32 unit normals of the cells of these points, towards the sensor; 0 where unknown."""
        row, column = self.cells(point_m)
        row = row.floor().long().clamp(0, self.range_m.shape[0] - 1)
        return self._cell_normals()[row, column.long()]

    def _cell_normals(self) -> Tensor:
        centre = self.point_m
        tangents = []
        for axis in (0, 1):
            tangent = torch.zeros_like(centre)
            for sign in (1, -1):
                other = torch.roll(centre, -sign, dims=axis)
                distance = torch.roll(self.range_m, -sign, dims=axis)
                same = (distance > 0) & ((distance - self.range_m).abs() < _STEP * self.range_m)
                if axis == 0:
                    same[-1 if sign == 1 else 0] = False
                tangent += sign * (other - centre) * same[..., None]
            tangents.append(tangent)
        normal = torch.nn.functional.normalize(torch.linalg.cross(*tangents), dim=-1)
        return torch.where((normal * centre).sum(-1, keepdim=True) > 0, -normal, normal)


def elevation(point_m: Tensor) -> Tensor:
    """(N,) angle above the sensor's horizontal plane, radians."""
    return torch.atan2(point_m[:, 2], point_m[:, :2].norm(dim=-1))


def range_image(point_m: Tensor) -> RangeImage:
    """The sweep, (N, 3) float32 in the sensor's frame, as an image.

    A cell is at least as high as the rings are apart, so that no row between rings is empty: with
    finer cells one could look between two rings on the floor and see through it.
    """
    range_m = point_m.norm(dim=-1)
    returned = range_m > 0  # some drivers send (0, 0, 0) for beams without a return
    point_m, range_m = point_m[returned], range_m[returned]
    angle = elevation(point_m)
    lowest = float(angle.min()) if len(angle) else 0.0
    for size_deg in CELL_SIZES_DEG:
        cell_rad = math.radians(size_deg)
        row = ((angle - lowest) / cell_rad).long()
        filled = torch.bincount(row, minlength=1) > 0
        if int((~filled).sum()) <= _EMPTY_ROWS * len(filled):
            break
    rows, columns = len(filled), round(2 * math.pi / cell_rad)
    cell = row * columns + _column(point_m, columns).long()
    nearest = torch.full((rows * columns,), torch.inf, device=point_m.device)
    nearest.scatter_reduce_(0, cell, range_m, "amin")
    # Returns from behind the nearest surface in the cell would bend its normal.
    front = range_m < (1 + _STEP) * nearest[cell]
    count = torch.zeros_like(nearest).index_add_(0, cell, front.float())
    total = torch.zeros(rows * columns, 3, device=point_m.device)
    total.index_add_(0, cell, point_m * front[:, None])
    return RangeImage(
        range_m=torch.where(nearest.isinf(), 0.0, nearest).view(rows, columns),
        point_m=(total / count.clamp(min=1)[:, None]).view(rows, columns, 3),
        cell_rad=cell_rad,
        lowest_rad=lowest,
    )


def _column(point_m: Tensor, columns: int) -> Tensor:
    azimuth = torch.atan2(point_m[:, 1], point_m[:, 0]) + math.pi
    return (azimuth * (columns / (2 * math.pi))).clamp(max=columns - 0.5)
