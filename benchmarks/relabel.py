"""How long a map takes to bear other words, from stored features: 100k and 1M voxels, 100 words.

    python benchmarks/relabel.py [VOXELS ...]

The arithmetic of ``Pipeline.rename`` on random features, in its pieces: times do not depend on what features
say. Reading and writing the map, and the second pass with neighbours and things, are not in it.
"""

from __future__ import annotations

import os
import sys

import torch
from common import save, summary, times_ms
from rich.console import Console

from ws3d_ros.alignment.combining import combine
from ws3d_ros.alignment.labelling import decide, word_probabilities

WORDS, CHANNELS, AT_ONCE = 100, 64, 32_768


def main() -> None:
    """Times the parts of ``Pipeline.rename`` at its piece size."""
    generator = torch.Generator().manual_seed(0)
    words = torch.nn.functional.normalize(torch.randn(WORDS, CHANNELS, generator=generator), dim=1)
    results = {}
    for count in [int(text) for text in sys.argv[1:]] or [100_000, 1_000_000]:
        feature = torch.randn(count, CHANNELS, generator=generator).half() / 8
        embedding = torch.randn(count, CHANNELS, generator=generator).half() / 8
        share = torch.rand(count, generator=generator)

        def rename(feature=feature, embedding=embedding, share=share) -> None:  # type: ignore[no-untyped-def]
            parts = zip(feature.split(AT_ONCE), embedding.split(AT_ONCE), share.split(AT_ONCE), strict=True)
            for image, network, alpha in parts:
                sources = [word_probabilities(source, words, 50.0) for source in (image, network)]
                decide(combine(sources[0], alpha, sources[1]), WORDS, 0.05)

        results[count] = summary(times_ms(rename, runs=2, warmup=1))
        Console().print(count, results[count])
    save(
        "relabel", {"words": WORDS, "channels": CHANNELS, "load_average": os.getloadavg(), "rename": results}
    )


if __name__ == "__main__":
    main()
