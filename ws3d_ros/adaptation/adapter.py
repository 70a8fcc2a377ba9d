"""Learning on the way: small steps on the newest windows, a gate before anything serves."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from ws3d_ros.adaptation.gate import LEAST_KAPPA, Said, joined, kappa, refusal
from ws3d_ros.adaptation.replay import Reservoir, Voxels, around
from ws3d_ros.network.backends.backend import Backend
from ws3d_ros.network.distillation import distillation
from ws3d_ros.network.inputs import input_features
from ws3d_ros.network.layers import BatchNorm
from ws3d_ros.network.sparse_tensor import SparseTensor, sparse_tensor
from ws3d_ros.network.student import Student

HELD_OUT, KEPT = 3, 3
"""Every third keyframe is kept out of training; the gate looks at the newest three of those."""
ROUND_STEPS = 8
"""Steps between two looks of the gate."""
PART_VOXELS, PARTS = 8_000, 8
"""Of the window, and again of replay, in a step; parts of earlier windows that are remembered."""
LEARNING_RATE = 3e-4
"""Of Adam. Ten times as much made held-out flats worse before the gate said so (benchmarks/adaptation.py)."""
TEMPERATURE = 2.0
PULL, CONSISTENCY = 0.01, 1.0
EMA = 0.8


@dataclass(frozen=True)
class Evidence:
    """What a keyframe's window of N voxels shows, and what is believed of them over C words.

    Attributes:
        voxels: of the window.
        image: (N, C) probabilities by images alone; anything where ``trust`` is 0.
        pooled: (N, C) by images and network together.
        trust: (N,) float32 in 0..1, 0 where no image saw the voxel.
    """

    voxels: Voxels
    image: Tensor
    pooled: Tensor
    trust: Tensor

    def take(self, rows: Tensor) -> Evidence:
        """Some of the voxels."""
        return Evidence(self.voxels.take(rows), self.image[rows], self.pooled[rows], self.trust[rows])


def trained_names(student: Student) -> list[str]:
    """Parameters that adaptation changes: affines of all norms, and the last block. Not the projector: what
    the map stores of earlier readings is written in its columns."""
    affines = {
        f"{name}.bn.{part}"
        for name, module in student.named_modules()
        if isinstance(module, BatchNorm)
        for part in ("weight", "bias")
    }
    return [n for n, _ in student.named_parameters() if n in affines or n.startswith("unet.block8.")]


class Adapter:
    """A student that learns from images. For one thread.

    Attributes:
        accepted: updates that served.
        refused: updates that did not, by reason, see ``gate``.
    """

    def __init__(
        self,
        student: Student,
        backend: Backend,
        share: float,
        scenes: Sequence[Voxels] = (),
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            student: copied; it teaches on replay from then on.
            backend: that convolves.
            share: of time that may be spent, 0..1.
            scenes: replay that shipped with the student.
            seed: of all that is drawn.
            clock: seconds.
        """
        self._backend, self._share, self._clock, self._seed = backend, share, clock, seed
        self._scenes = list(scenes)
        self._start = deepcopy(student).eval().requires_grad_(False)
        self._learner = deepcopy(self._start)
        self._trained = {name: self._learner.get_parameter(name) for name in trained_names(student)}
        for value in self._trained.values():
            value.requires_grad_(True)
        self._origin = {name: value.detach().clone() for name, value in self._trained.items()}
        self._serving = dict(self._origin)
        self._reservoir = Reservoir(PARTS, PART_VOXELS, seed)
        self._held_out: deque[Evidence] = deque(maxlen=KEPT)
        self._current: Evidence | None = None
        self._words = torch.zeros(0, 0)
        self._seen = self._steps = self.accepted = 0
        self.refused: Counter[str] = Counter()
        self._begun, self._busy_s = clock(), 0.0
        self._begin_round()

    def learn(self, look: Callable[[], Evidence], words: Tensor) -> bool:
        """A keyframe, if there is time for it: one small step, or the gate after the last step of a round.

        Args:
            look: gives what the keyframe's window shows. Every third is for the gate alone.
            words: (C, D) of ``Namer.embed``. Others than before end the round and the gate's memory.

        Returns:
            Whether new weights serve: read with :meth:`student` from now on.
        """
        if self._busy_s > self._share * (self._clock() - self._begun):
            return False
        begun = self._clock()
        try:
            self._observe(look(), words)
            return self._current is not None and len(self._held_out) > 0 and self._advance()
        finally:
            self._busy_s += self._clock() - begun

    def student(self) -> Student:
        """A copy of what serves."""
        student = deepcopy(self._start)
        with torch.no_grad():
            for name, value in self._serving.items():
                student.get_parameter(name).copy_(value)
        return student

    def state(self) -> dict[str, Tensor]:
        """What serves, the reservoir and the counts, on the CPU; an unfinished round is left out."""
        state = {f"weights.{name}": value.cpu().clone() for name, value in self._serving.items()}
        state |= {f"replay.{name}": value for name, value in self._reservoir.state().items()}
        state |= {f"refused.{reason}": torch.tensor(count) for reason, count in self.refused.items()}
        return state | {"counts": torch.tensor([self.accepted, self._steps, self._seen])}

    def take_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a saved state.

        Raises:
            ValueError: where it is not of this student; nothing is changed then.
            KeyError: where a part is missing; likewise.
        """
        serving = {name: state[f"weights.{name}"] for name in self._origin}
        for name, value in self._origin.items():
            if serving[name].shape != value.shape or not bool(serving[name].isfinite().all()):
                raise ValueError(f"the saved adaptation is of another network: '{name}' does not fit")
        counts = state["counts"].tolist()
        self._reservoir.take_state(_below("replay.", state))
        self._serving = {name: value.to(self._origin[name], copy=True) for name, value in serving.items()}
        self.refused = Counter({name: int(count) for name, count in _below("refused.", state).items()})
        self.accepted, self._steps, self._seen = counts
        self._begin_round()

    def _observe(self, evidence: Evidence, words: Tensor) -> None:
        if not torch.equal(self._words, words):
            self._words, self._current = words, None
            self._held_out.clear()
            self._begin_round()
        rng = np.random.default_rng([self._seed, 0, self._seen])
        self._seen += 1
        believed = evidence.trust.nonzero()[:, 0]
        if len(believed) == 0:
            return
        center = int(believed[rng.integers(len(believed))])
        part = evidence.take(around(evidence.voxels.cells, center, 2 * PART_VOXELS))
        if self._seen % HELD_OUT == 0:
            self._held_out.append(part)
            return
        if self._current is not None:
            self._reservoir.offer(self._current.voxels)
        self._current = part

    # A round ----------------------------------------------------------------------------------

    def _begin_round(self) -> None:
        with torch.no_grad():
            for name, value in self._serving.items():
                self._trained[name].copy_(value)
        self._average = {name: value.clone() for name, value in self._serving.items()}
        self._optimiser = torch.optim.Adam(self._trained.values(), lr=LEARNING_RATE)
        self._in_round = 0

    def _advance(self) -> bool:
        replay = self._scenes + self._reservoir.parts
        if not replay:
            return False
        if self._in_round == 0 and kappa(self._heard(self._origin)) < LEAST_KAPPA:
            return self._refuse("teacher")
        if self._in_round < ROUND_STEPS:
            self._step(replay)
            return False
        return self._judge(replay)

    def _refuse(self, reason: str) -> bool:
        self.refused[reason] += 1
        self._begin_round()
        return False

    def _step(self, replay: list[Voxels]) -> None:
        assert self._current is not None
        rng = np.random.default_rng([self._seed, 1, self._steps])
        now, old = self._current, replay[rng.integers(len(replay))]
        now = now.take(around(now.voxels.cells, int(rng.integers(len(now.trust))), PART_VOXELS))
        old = old.take(around(old.cells, int(rng.integers(len(old))), PART_VOXELS))
        loss = self._now(now) + self._before(old) + PULL * self._distance()
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._trained.values(), 1.0)
        self._optimiser.step()
        with torch.no_grad():
            for name, value in self._average.items():
                value.lerp_(self._trained[name], 1.0 - EMA)
        self._steps += 1
        self._in_round += 1

    def _now(self, now: Evidence) -> Tensor:
        """Towards what is believed on the whole, where images saw something and something is sure."""
        trust = now.trust * now.pooled.amax(1)
        logits = self._say(self._learner, now.voxels)[1]
        return distillation(logits, now.pooled.clamp(min=1e-6).log(), trust, TEMPERATURE)

    def _before(self, old: Voxels) -> Tensor:
        """Towards what the start student says, and what the average of this round says."""
        embedding, logits = self._say(self._learner, old)
        with torch.no_grad():
            teacher = self._say(self._start, old)[1]
            averaged = self._with(self._average, old)[0]
        consistency = (1.0 - (embedding * averaged).sum(1)).mean()
        everywhere = torch.ones_like(logits[:, 0])
        return distillation(logits, teacher, everywhere, TEMPERATURE) + CONSISTENCY * consistency

    def _distance(self) -> Tensor:
        """From the start weights, squared (L2-SP, Li et al., ICML 2018)."""
        parts = [(self._trained[name] - value).square().sum() for name, value in self._origin.items()]
        return torch.stack(parts).sum()

    # The gate ---------------------------------------------------------------------------------

    def _judge(self, replay: list[Voxels]) -> bool:
        update = self._average
        if not all(bool(value.isfinite().all()) for value in update.values()):
            return self._refuse("not_finite")
        before = self._heard(self._serving).agreement()
        kept = joined([self._replayed(update, part) for part in replay])
        if reason := refusal(before, self._heard(update), kept):
            return self._refuse(reason)
        self._serving = {name: value.clone() for name, value in update.items()}
        self.accepted += 1
        self._begin_round()
        return True

    @torch.no_grad()
    def _heard(self, weights: Mapping[str, Tensor]) -> Said:
        """The held-out keyframes: what images and a network with these weights say."""
        return joined(
            [
                Said(each.image.argmax(1), self._with(weights, each.voxels)[1].argmax(1), each.trust)
                for each in self._held_out
            ]
        )

    @torch.no_grad()
    def _replayed(self, weights: Mapping[str, Tensor], part: Voxels) -> Said:
        start = self._say(self._start, part)[1].argmax(1)
        now = self._with(weights, part)[1].argmax(1)
        return Said(start, now, torch.ones(len(start), device=start.device))

    # Networks ---------------------------------------------------------------------------------

    def _with(self, weights: Mapping[str, Tensor], voxels: Voxels) -> tuple[Tensor, Tensor]:
        x, cell = self._tensor(voxels)
        reading = torch.func.functional_call(self._start, dict(weights), (x,))
        return self._words_of(reading.embedding[cell])

    def _say(self, student: Student, voxels: Voxels) -> tuple[Tensor, Tensor]:
        """Unit vectors (N, D) and logits (N, C) of voxels."""
        x, cell = self._tensor(voxels)
        return self._words_of(student(x).embedding[cell])

    def _tensor(self, voxels: Voxels) -> tuple[SparseTensor, Tensor]:
        device = self._start.heads.word_mean.device
        inputs = input_features(self._start.spec.inputs, voxels.color.to(device), voxels.normal.to(device))
        return sparse_tensor(pad(voxels.cells.to(device), (1, 0)), inputs, self._backend)

    def _words_of(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        unit = normalize(embedding.float(), dim=1)
        return unit, self._start.heads.logit_scale * unit @ self._words.T


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
