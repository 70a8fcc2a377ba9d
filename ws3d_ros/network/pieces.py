"""Large clouds in pieces, each with its surroundings, so that memory does not grow with the map."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def pieces(cells: Tensor, most: int, halo: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Compact parts of at most ``most`` cells, by halving along the longest axis.

    Args:
        cells: (N, 3) int64.
        most: cells of a part, without its surroundings.
        halo: how far around the part's bounding box its surroundings reach, in cells.

    Yields:
        (M,) int64 ascending rows of the part and its surroundings; (P,) int64 rows of the part itself.
        Each row is in one part.
    """
    waiting = [torch.arange(len(cells), device=cells.device)]
    while waiting:
        part = waiting.pop()
        if len(part) == 0:
            continue
        own = cells[part]
        low, high = own.amin(0), own.amax(0)
        if len(part) <= most:
            yield ((cells >= low - halo) & (cells <= high + halo)).all(1).nonzero()[:, 0], part
        else:
            along = part[own[:, int((high - low).argmax())].argsort()]
            waiting += along.tensor_split(2)
