"""Whether what was learnt may serve: better where images say so, no worse where it was good before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_KAPPA = 0.1
"""A teacher that agrees with the start student hardly more than by chance is not believed: one that is wrong
all the time agrees with itself on every keyframe, so its own evidence cannot give it away."""
LEAST_GAIN = 1e-3
"""Of agreement on held-out keyframes."""
MOST_FORGOTTEN = 0.05
"""Of the voxels in replay that may get another name than from the start student, over all updates."""
MOST_DRIFT = 0.25
"""The same for the voxels of any one name of which there are ``FEW`` or more."""
FEW = 100


@dataclass(frozen=True)
class Said:
    """Words of N voxels: of a teacher and of the student.

    Attributes:
        teacher, student: (N,) int64.
        trust: (N,) how much the teacher is believed.
    """

    teacher: Tensor
    student: Tensor
    trust: Tensor

    def agreement(self) -> float:
        """Share of the trust in voxels where both say the same; 0 where there is no trust."""
        same = (self.teacher == self.student).float()
        return float((same * self.trust).sum() / self.trust.sum().clamp(min=1e-6))


def joined(parts: Sequence[Said]) -> Said:
    """Several as one."""
    return Said(
        *(torch.cat([getattr(part, name) for part in parts]) for name in ("teacher", "student", "trust"))
    )


def kappa(said: Said) -> float:
    """Agreement beyond chance (Cohen, 1960), by trust: 1 for always the same, 0 for chance."""
    words = int(torch.cat([said.teacher, said.student, said.teacher.new_zeros(1)]).amax()) + 1
    total = said.trust.sum().clamp(min=1e-6)
    shares = [
        said.trust.new_zeros(words).index_add(0, rows, said.trust) / total
        for rows in (said.teacher, said.student)
    ]
    chance = float((shares[0] * shares[1]).sum())
    return (said.agreement() - chance) / max(1.0 - chance, 1e-6)


def refusal(before: float, held_out: Said, replay: Said) -> str:
    """Why an update must not serve, or nothing.

    Args:
        before: agreement on the held-out keyframes of what serves now.
        held_out: images and the update.
        replay: the start student and the update; trust is 1.

    Returns:
        ``no_gain``, ``forgetting``, ``drift`` or an empty text.
    """
    if held_out.agreement() < before + LEAST_GAIN:
        return "no_gain"
    if replay.agreement() < 1.0 - MOST_FORGOTTEN:
        return "forgetting"
    kept = (replay.teacher == replay.student).float()
    count = torch.bincount(replay.teacher)
    share = torch.bincount(replay.teacher, weights=kept) / count.clamp(min=1)
    return "drift" if bool((share[count >= FEW] < 1.0 - MOST_DRIFT).any()) else ""
