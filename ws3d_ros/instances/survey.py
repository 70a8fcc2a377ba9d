"""What a map has, a row for each thing: place, box, colours, and the means of what its voxels store."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ws3d_ros.language.questions import COLORS
from ws3d_ros.reconstruction.window import Window

CORNERS_OF, MEANS_OF = 200, 48
"""Voxels that tell the box of a thing, and the means of its features and colours; of larger things a share is
read."""
_TURN, _GOLDEN = 1 << 32, 2_654_435_769

FOCAL_RGB = {
    "black": ((25, 25, 25),),
    "white": ((235, 235, 232),),
    "red": ((180, 35, 35), (120, 25, 30)),
    "green": ((60, 140, 60), (35, 80, 40), (140, 180, 90)),
    "yellow": ((225, 195, 60),),
    "blue": ((45, 85, 170), (110, 160, 210), (30, 45, 90)),
    "brown": ((110, 72, 45), (150, 110, 75), (70, 48, 35)),
    "orange": ((225, 125, 40),),
    "pink": ((225, 150, 165),),
    "purple": ((110, 65, 140),),
    "grey": ((128, 128, 128), (185, 185, 185), (75, 75, 75)),
}
"""What the basic colour terms look like in pictures of rooms, sRGB: ours, and not fitted to any map."""
SPREAD = 14.0
"""CIELAB distance over which one colour becomes another."""
LIGHTNESS = 0.6
"""How much lightness counts: lighting changes it more than it changes hue."""


@dataclass(frozen=True)
class Things:
    """M things: all instances, then walls, floor and ceiling as far as they are no instances, of N voxels.

    Attributes:
        id: (M,) int64; 0 for structure.
        label: (M,) int64, that of one of its voxels.
        low_m, high_m: (M, 3) float64 corners of the box along the map's axes.
        colors: (M, 11) float64 shares of the basic colours, in the order of ``FOCAL_RGB``; rows of zeros
            where no camera looked.
        means: column of features to the (M, K) float32 mean over the voxels that have one.
        known: column to (M,) float32, 1 where at least one voxel has a feature.
        of_voxel: (N,) int32 row of each voxel, M for none.
    """

    id: np.ndarray
    label: np.ndarray
    low_m: np.ndarray
    high_m: np.ndarray
    colors: np.ndarray
    means: dict[str, Tensor]
    known: dict[str, Tensor]
    of_voxel: Tensor

    def __len__(self) -> int:
        return len(self.id)


def survey(window: Window, structure: Tensor) -> Things:
    """The things of a map. Of those with many voxels an even share is read.

    Args:
        window: N voxels.
        structure: (S,) labels of ``segmentation.structure_labels``: what of these belongs to no instance is
            one thing for each label.
    """
    of_voxel, ids, size = _rows(window, structure)
    count = len(ids)
    read = _sample(of_voxel, size, CORNERS_OF)
    # ``index_select`` with 32-bit rows takes a fraction of the time of ``[]``.
    row = of_voxel.index_select(0, read).long()
    labels = row.new_zeros(count).scatter(0, row, window.label.index_select(0, read).long())
    half = window.voxel_size_m / 2
    points = window.points_m.index_select(0, read)
    index = row[:, None].expand(-1, 3)
    low = points.new_full((count, 3), torch.inf).scatter_reduce(0, index, points, "amin")
    high = points.new_full((count, 3), -torch.inf).scatter_reduce(0, index, points, "amax")
    few = _sample(row.int(), torch.bincount(row, minlength=count), MEANS_OF)
    read, row = read.index_select(0, few), row.index_select(0, few)
    colors = window.color.index_select(0, read)
    seen = ~colors[:, 0].isnan()
    shares = torch.from_numpy(color_shares(colors[seen].cpu().numpy())).to(points.device)
    color, _ = _means(shares, row[seen], count)
    means, known = {}, {}
    for column, values in (("feature", window.feature), ("embedding", window.embedding)):
        if values is not None and values.shape[1]:
            part = values.index_select(0, read).float()
            has = window.feature_weight[read] > 0 if column == "feature" else part.any(dim=1)
            mean, number = _means(part[has], row[has], count)
            means[column], known[column] = mean.cpu(), (number > 0).float().cpu()
    return Things(
        id=ids,
        label=labels.cpu().numpy(),
        low_m=low.double().cpu().numpy() - half,
        high_m=high.double().cpu().numpy() + half,
        colors=color.double().cpu().numpy(),
        means=means,
        known=known,
        of_voxel=of_voxel.cpu(),
    )


def color_shares(rgb: np.ndarray) -> np.ndarray:
    """(n, 3) RGB in 0..255 to (n, 11) float32 memberships of the basic colours, rows sum to 1.

    A softmax over squared CIELAB distances to the nearest focal colour of each term.
    """
    places = _lab(np.array([shade for shades in FOCAL_RGB.values() for shade in shades], np.float32))
    first = np.cumsum([0, *map(len, FOCAL_RGB.values())])[:-1]
    lab = _lab(rgb.astype(np.float32))
    # By torch: the threads of NumPy's matrix product would stand in the way of torch's.
    product = (torch.from_numpy(places) @ torch.from_numpy(lab).T).numpy()
    squared = (places**2).sum(1)[:, None] - 2.0 * product
    # What is the same for all terms, the square of the colour itself, does not change the shares.
    nearest = np.minimum.reduceat(squared, first, axis=0)
    likely = np.exp((nearest.min(axis=0) - nearest) / np.float32(2.0 * SPREAD**2))
    return np.ascontiguousarray((likely / likely.sum(axis=0)).T, np.float32)


def _lab(rgb: np.ndarray) -> np.ndarray:
    """(n, 3) CIELAB with its lightness scaled."""
    if len(rgb) == 0:
        return np.zeros((0, 3), np.float32)
    lab = cv2.cvtColor(np.clip(rgb / 255.0, 0.0, 1.0)[None], cv2.COLOR_RGB2LAB)[0]
    return np.asarray(lab * np.array([LIGHTNESS, 1.0, 1.0], np.float32))


def _rows(window: Window, structure: Tensor) -> tuple[Tensor, np.ndarray, Tensor]:
    """(N,) int32 row of each voxel; id of each row; number of its voxels."""
    place, label = window.instance, window.label
    top = int(place.amax()) if len(place) else 0
    # Place 0: neither instance nor structure.
    place_of_label = torch.zeros(int(label.amax()) + 1 if len(label) else 1, dtype=torch.int32)
    used = structure[structure < len(place_of_label)].long()
    place_of_label[used] = (used + top).int()
    loose = (place == 0).nonzero()[:, 0]
    if len(loose):
        of_label = place_of_label.to(place.device).index_select(0, label.index_select(0, loose).int())
        place = place.index_copy(0, loose, of_label)
    size = torch.bincount(place, minlength=1)
    size[0] = 0
    used = size.nonzero()[:, 0]
    row_of_place = torch.full_like(size, len(used), dtype=torch.int32)
    row_of_place[used] = torch.arange(len(used), dtype=torch.int32, device=used.device)
    ids = torch.where(used <= top, used, 0)
    return row_of_place.index_select(0, place), ids.cpu().numpy(), size[used]


def _sample(of_voxel: Tensor, size: Tensor, enough: int) -> Tensor:
    """Voxels to read, ascending: about so many of each thing, evenly, and all of smaller ones.

    Args:
        of_voxel: (n,) int32 row of each, M for none.
        size: (M,) number of voxels of each row.
    """
    below = (_TURN * (enough / size.clamp(min=1).double()).clamp(max=1.0)).long() - _TURN // 2 - 1
    last = torch.nn.functional.pad(below, (0, 1), value=-_TURN // 2).int()
    # Multiples of the golden ratio of a whole turn: evenly spread however many are taken (Weyl, 1916).
    # 32 bits overflow at a whole turn by themselves; half a turn is taken off, so that they are signed.
    number = torch.arange(len(of_voxel), dtype=torch.int32, device=of_voxel.device)
    turned = number * (_GOLDEN - _TURN) - _TURN // 2
    return ((turned <= last.index_select(0, of_voxel)) & (of_voxel < len(size))).nonzero()[:, 0]


def _means(values: Tensor, row: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(M, K) means of (n, K) values by row, and (M,) how many there were."""
    number = torch.bincount(row, minlength=count)
    total = values.new_zeros(count, values.shape[1]).index_add(0, row, values)
    return total / number.clamp(min=1)[:, None], number


assert tuple(FOCAL_RGB) == tuple(dict.fromkeys(COLORS.values()))
