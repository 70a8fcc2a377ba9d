"""Learning on the way: what may change, what is refused, what is remembered."""

import pytest
import torch
from students import spec
from torch import Tensor
from windows import random_cells

from ws3d_ros.adaptation import adapter as module
from ws3d_ros.adaptation.adapter import HELD_OUT, ROUND_STEPS, Adapter, Evidence, trained_names
from ws3d_ros.adaptation.replay import Voxels
from ws3d_ros.network.backends.choose import choose_backend
from ws3d_ros.network.student import Student

WORDS = torch.eye(4)
REPLAY = 1


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(0)
    student = Student(spec())
    student.train()
    return student.eval()


def voxels(seed: int, count: int = 400) -> Voxels:
    cells = random_cells(count, 5, seed).int()
    generator = torch.Generator().manual_seed(seed)
    color = 255 * torch.rand(len(cells), 3, generator=generator)
    return Voxels(cells, color, torch.zeros(len(cells), 3))


def evidence(adapter: Adapter, seed: int, taught: Tensor | None = None) -> Evidence:
    """Images say what the network says, or ``taught`` (N, 4) of it."""
    seen = voxels(seed)
    adapter._words = WORDS
    with torch.no_grad():
        said = adapter._say(adapter._start, seen)[1].softmax(1)
    told = said if taught is None else said @ taught
    return Evidence(seen, told, told, torch.ones(len(said)))


def adapter_of(student: Student, share: float = 1e9, **more: object) -> Adapter:
    scenes = [voxels(100 + n) for n in range(REPLAY)]
    return Adapter(student, choose_backend("torch"), share, scenes, **more)  # type: ignore[arg-type]


def drive(adapter: Adapter, keyframes: int, taught: Tensor | None = None) -> int:
    """How often new weights served."""
    return sum(
        adapter.learn(lambda seed=seed: evidence(adapter, seed, taught), WORDS) for seed in range(keyframes)
    )


def changed(student: Student, other: Student) -> set[str]:
    theirs = other.state_dict()
    return {name for name, value in student.state_dict().items() if not torch.equal(value, theirs[name])}


ROUND = HELD_OUT + ROUND_STEPS


def test_only_norms_and_the_last_block_change_and_the_gate_decides(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "refusal", lambda *_: "")
    monkeypatch.setattr(module, "LEAST_KAPPA", -2.0)
    adapter = adapter_of(student)
    assert drive(adapter, ROUND, torch.eye(4).roll(1, 0)) == adapter.accepted == 1
    different = changed(student, adapter.student())
    assert different
    assert different <= set(trained_names(student))
    assert not any("projector" in name for name in different)

    monkeypatch.setattr(module, "refusal", lambda *_: "no_gain")
    refused = adapter_of(student)
    assert drive(refused, ROUND, torch.eye(4).roll(1, 0)) == 0
    assert refused.refused == {"no_gain": 1}
    assert changed(student, refused.student()) == set()
    for name, value in refused._trained.items():  # the learner is rolled back, too
        assert torch.equal(value, student.get_parameter(name))


def test_a_teacher_with_shuffled_names_is_refused_before_anything_is_learnt(student: Student) -> None:
    adapter = adapter_of(student)
    assert drive(adapter, 12, torch.eye(4).roll(1, 0)) == 0
    assert adapter.refused["teacher"] > 0
    assert adapter._steps == 0
    assert changed(student, adapter.student()) == set()


def test_nothing_to_gain_is_no_gain(student: Student) -> None:
    adapter = adapter_of(student)
    assert drive(adapter, ROUND) == 0
    assert adapter.refused == {"no_gain": 1}


def test_no_more_than_its_share_of_time(student: Student) -> None:
    now = 0.0

    def clock() -> float:
        return now

    def look() -> Evidence:
        nonlocal now
        now += 1.0
        return evidence(adapter, 0)

    adapter = adapter_of(student, share=0.1, clock=clock)
    for _ in range(200):
        adapter.learn(look, WORDS)
        now += 0.1
    assert adapter._busy_s / now == pytest.approx(0.1, abs=0.04)  # one look more than its share at most


def test_a_saved_state_goes_on_and_another_networks_is_refused(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "refusal", lambda *_: "")
    monkeypatch.setattr(module, "LEAST_KAPPA", -2.0)
    before = adapter_of(student)
    drive(before, ROUND, torch.eye(4).roll(1, 0))
    after = adapter_of(student)
    after.take_state(before.state())
    assert changed(before.student(), after.student()) == set()
    assert after.accepted == 1
    assert len(after._reservoir.parts) == len(before._reservoir.parts) > 0
    broken = before.state()
    name = next(name for name in broken if name.startswith("weights."))
    broken[name] = broken[name][:1]
    fresh = adapter_of(student)
    with pytest.raises(ValueError, match="another network"):
        fresh.take_state(broken)
    assert changed(student, fresh.student()) == set()


def test_other_words_end_the_round_and_the_memory_of_the_gate(student: Student) -> None:
    adapter = adapter_of(student)
    drive(adapter, 5)
    assert len(adapter._held_out) == 1
    adapter.learn(lambda: evidence(adapter, 9), WORDS.roll(1, 0))
    # evidence() sets the words; what counts is that they differ from those before.
    adapter._words = WORDS
    adapter._observe(evidence(adapter, 9), WORDS.roll(2, 0))
    assert len(adapter._held_out) == 0
    assert adapter._in_round == 0
