"""What a robot shall take hold of, and what must therefore not be in its collision map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.reconstruction.window import Window


def target_labels(words: Vocabulary, targets: Sequence[str]) -> list[int]:
    """Labels of the names or synonyms among ``targets``; without any, those of role ``target``."""
    if not any(target.strip() for target in targets):
        return [label for label, role in enumerate(words.roles, 1) if role == "target"]
    wanted = {target.strip().lower() for target in targets}
    names = zip(words.names, words.synonyms, strict=True)
    return [
        label
        for label, (name, synonyms) in enumerate(names, 1)
        if wanted & {name.lower(), *(word.lower() for word in synonyms)}
    ]


def target_ids(targets: Sequence[str]) -> list[int]:
    """Numbers of objects among ``targets``."""
    return [int(target) for target in targets if target.strip().isdecimal()]


def is_target(window: Window, words: Vocabulary, targets: Sequence[str]) -> np.ndarray:
    """(N,) bool, voxels of the targets.

    An object is one if it is asked for by number, or if most of its voxels have a target's label, and then
    all of its voxels belong to it. A voxel without an object goes by its own label.

    Args:
        targets: names, synonyms and numbers of objects; none: all of role ``target``.
    """
    label, instance = window.label.cpu().numpy(), window.instance.cpu().numpy()
    named = np.isin(label, target_labels(words, targets))
    size = np.bincount(instance)
    chosen = np.bincount(instance, named, minlength=len(size)) > size / 2
    ids = [number for number in target_ids(targets) if number < len(size)]
    chosen[ids] = True
    return np.where(instance > 0, chosen[instance], named)
