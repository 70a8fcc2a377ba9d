"""What compressing features loses: labels with K channels against labels with all.

    python benchmarks/feature_compression.py [SEQUENCE] [WEIGHTS]

For each K the sequence is mapped anew, as by `ws3d evaluate`, by images alone and together with the student
that ships, whose own embeddings are stored without loss. Reported are the scores, and for several
vocabularies the share of voxels that have the same label as with all channels.
SEQUENCE and WEIGHTS are ../shared/data/small_house and ../shared/weights.
"""

from __future__ import annotations

from typing import Any

import torch
from common import save
from house import SETTINGS, house
from results_table import feature_compression_table
from torch import Tensor

from ws3d_ros.cli.judging import judge, map_sequence, score_labels
from ws3d_ros.config import Config, from_mapping
from ws3d_ros.language.vocabulary import Vocabulary, shipped_names
from ws3d_ros.network.choose import choose_network
from ws3d_ros.pipeline import Pipeline

CHANNELS = (0, 16, 32, 64, 128)


def labels(pipeline: Pipeline, vocabulary: Vocabulary) -> Tensor:
    """Labels of the whole map in other words."""
    pipeline.set_vocabulary(vocabulary)
    label = pipeline.relabel(pipeline.map.everything()).names.label
    assert label is not None
    return label


def main() -> None:
    found = house()
    if found is None:
        return
    folder, encoder = found
    vocabularies = {"the sequence's": Vocabulary.of(folder.classes)}
    vocabularies |= {name: Vocabulary.load(name) for name in shipped_names()}
    rows: list[dict[str, Any]] = []
    namer = choose_network(Config().network, encoder, "", torch.device("cpu")).namer
    for named_by, network in (("images alone", None), ("both", namer)):
        full: dict[str, Tensor] = {}
        for channels in CHANNELS:
            config = from_mapping(SETTINGS | {"semantics.feature_channels": channels})
            run = map_sequence(folder, config, encoder, every=4, namer=network)
            result, _ = score_labels(judge(run, folder))
            now = {name: labels(run.pipeline, words) for name, words in vocabularies.items()}
            full = full or now
            same = {name: round(float((now[name] == full[name]).float().mean()), 4) for name in vocabularies}
            kept = run.pipeline.map.everything().feature
            rows.append(
                {
                    "named_by": named_by,
                    "channels": kept.shape[1],
                    "feature_bytes_a_voxel": kept.shape[1] * kept.element_size(),
                    "miou": round(result.miou, 4),
                    "fmiou": round(result.fmiou, 4),
                    "accuracy": round(result.accuracy, 4),
                    "same_label": same,
                }
            )
            print(rows[-1], flush=True)
    told = {"encoder": encoder.name, "sequence": folder.path.name, "rows": rows}
    save("feature_compression", told)
    print(feature_compression_table(told))


if __name__ == "__main__":
    main()
