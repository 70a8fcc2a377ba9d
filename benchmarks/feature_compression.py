"""What compressing features loses: labels with K channels against labels with all.

    python benchmarks/feature_compression.py [SEQUENCE] [WEIGHTS]

For each K the sequence is mapped anew, as by `ws3d evaluate`. Reported are the scores, and for
several vocabularies the share of voxels that have the same label as with all channels.
SEQUENCE and WEIGHTS are ../shared/data/small_house and ../shared/weights.
"""

from __future__ import annotations

from common import save
from house import SETTINGS, house
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ws3d_ros.cli.judging import judge, map_sequence, score_labels
from ws3d_ros.config import from_mapping
from ws3d_ros.language.vocabulary import Vocabulary, shipped_names
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
    full: dict[str, Tensor] = {}
    rows = {}
    table = Table(
        "K", "bytes a voxel", "mIoU", "fmIoU", "accuracy", *(f"same: {name}" for name in vocabularies)
    )
    for channels in CHANNELS:
        config = from_mapping(SETTINGS | {"semantics.feature_channels": channels})
        run = map_sequence(folder, config, encoder, every=4)
        pipeline = run.pipeline
        result, _ = score_labels(judge(run, folder))
        now = {name: labels(pipeline, words) for name, words in vocabularies.items()}
        full = full or now
        same = {name: round(float((now[name] == full[name]).float().mean()), 4) for name in vocabularies}
        kept = pipeline.map.everything().feature
        rows[channels] = {
            "channels": kept.shape[1],
            "feature_bytes_a_voxel": kept.shape[1] * kept.element_size(),
            "miou": round(result.miou, 4),
            "fmiou": round(result.fmiou, 4),
            "accuracy": round(result.accuracy, 4),
            "same_label": same,
        }
        figures = (f"{value:.3f}" for value in (result.miou, result.fmiou, result.accuracy, *same.values()))
        table.add_row(str(kept.shape[1]), str(rows[channels]["feature_bytes_a_voxel"]), *figures)
    Console().print(table)
    save("feature_compression", {"encoder": encoder.name, "sequence": folder.path.name, "channels": rows})


if __name__ == "__main__":
    main()
