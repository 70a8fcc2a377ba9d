"""How long a map takes to bear other words, from stored features: 100k and 1M voxels, 100 words.

    python benchmarks/relabel.py [VOXELS ...]

``quick``: ``naming.rename``, every voxel by itself: what ``~/set_vocabulary`` waits for. ``careful``:
``naming.name`` with neighbours, which follows later. Features are random: times do not depend on
what they say. Voxels lie on surfaces, as a map's do. Copying the map and writing it back are not in it.
The product alone, in float32, is the limit that the quick way is compared with.
"""

from __future__ import annotations

import os
import sys

import torch
from common import save, summary, times_ms
from rich.console import Console
from torch.nn.functional import normalize

from ws3d_ros.alignment.neighbours import neighbour_table
from ws3d_ros.instances.segmentation import superpoints
from ws3d_ros.naming import Words, name, rename
from ws3d_ros.reconstruction.keys import pack_keys
from ws3d_ros.reconstruction.window import Window

WORDS, CHANNELS, VOXEL_M, SWEEPS = 100, 64, 0.05, 10


def surfaces(count: int) -> torch.Tensor:
    """(N, 3) cells of floors, one above the other, at least ``count`` of them."""
    side = 400
    level = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    floors = [
        torch.cat([level, torch.full((len(level), 1), 60 * number)], dim=1)
        for number in range(-(-count // len(level)))
    ]
    return torch.cat(floors)[:count]


def window_of(count: int) -> Window:
    generator = torch.Generator().manual_seed(0)
    keys = pack_keys(surfaces(count)).sort().values

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return Window(
        voxel_size_m=VOXEL_M,
        stamp_ns=0,
        keys=keys,
        points_m=random(count, 3),
        color=random(count, 3).abs() * 80.0,
        normal=normalize(random(count, 3), dim=1),
        weight=torch.ones(count),
        feature=(random(count, CHANNELS) / 8).half(),
        feature_weight=torch.rand(count, generator=generator),
        label=torch.zeros(count, dtype=torch.int16),
        confidence=torch.zeros(count, dtype=torch.float16),
        instance=torch.zeros(count, dtype=torch.int32),
        embedding=(random(count, CHANNELS) / 8).half(),
    )


def main() -> None:
    generator = torch.Generator().manual_seed(1)
    vectors = normalize(torch.randn(2, WORDS, CHANNELS, generator=generator), dim=2)
    words = Words(WORDS, vectors[0], vectors[1], image_scale=8.0, network_scale=22.0)
    results = {}
    for count in [int(text) for text in sys.argv[1:]] or [100_000, 1_000_000]:
        window = window_of(count)
        table = neighbour_table(window.keys)
        both = torch.randn(32_768, 2 * CHANNELS), torch.randn(2 * CHANNELS, WORDS)

        def product(pieces: int = -(-count // 32_768), both: tuple[torch.Tensor, ...] = both) -> None:
            for _ in range(pieces):
                both[0] @ both[1]

        def quick(window: Window = window) -> None:
            rename(window, words, 0.05)

        def careful(window: Window = window, table: torch.Tensor = table) -> None:
            name(window, words, table, superpoints(window).of_voxel, SWEEPS, 0.05)

        results[count] = {
            "product": summary(times_ms(product, runs=5, warmup=1)),
            "quick": summary(times_ms(quick, runs=5, warmup=1)),
            "neighbours": summary(
                times_ms(lambda window=window: neighbour_table(window.keys), runs=2, warmup=0)
            ),
            "careful": summary(times_ms(careful, runs=2, warmup=0)),
        }
        Console().print(count, results[count])
    save(
        "relabel", {"words": WORDS, "channels": CHANNELS, "load_average": os.getloadavg(), "voxels": results}
    )


if __name__ == "__main__":
    main()
