"""What is left away when memory is short, and how it comes back."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_world import ColourEncoder, pose, shot
from students import SurfaceReader, surface_namer
from torch import Tensor

from ws3d_ros.config import from_mapping
from ws3d_ros.ladder import CALM_S, MOST_CALM_S, SETTLE_S, Effort, Ladder, rungs
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.memory import OverBudgetError
from ws3d_ros.pipeline import Pipeline

OUT_OF_MEMORY = torch.cuda.OutOfMemoryError("CUDA out of memory, on purpose")
EVERYTHING = rungs(images=True, network=True, virtual_views=True)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class PoorEncoder(ColourEncoder):
    """Its memory ends while ``is_poor``."""

    is_poor = False

    def encode_dense(self, images: Tensor) -> Tensor:
        if self.is_poor:
            raise OUT_OF_MEMORY
        return super().encode_dense(images)


def uses(effort: Effort) -> tuple[float, ...]:
    return effort.piece, effort.views, effort.window, effort.network, effort.names


@pytest.mark.parametrize("views", [False, True])
@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("images", [False, True])
def test_every_rung_uses_less_than_the_one_above(images: bool, network: bool, views: bool) -> None:
    efforts = rungs(images, network, views)
    assert uses(efforts[0]) == (1.0, True, 1.0, True, True)
    for above, below in pairwise(efforts):
        assert uses(below) != uses(above)
        assert all(less <= more for less, more in zip(uses(below), uses(above), strict=True))
    assert efforts[-1].names != (images or network)
    assert len({effort.said for effort in efforts}) == len(efforts)


@given(st.lists(st.one_of(st.just(OUT_OF_MEMORY), st.floats(0.0, 100.0)), max_size=60))
def test_down_by_errors_up_by_calm(events: list[Exception | float]) -> None:
    """Against what the module promises, said once more: where the rung may be after each event."""
    clock = Clock()
    ladder = Ladder(EVERYTHING, clock)
    lowest, last_error_s = len(EVERYTHING) - 1, -1e9
    for event in events:
        before = ladder.rung
        if isinstance(event, Exception):
            assert ladder.heard(event)
            assert ladder.rung == min(before + 1, lowest)
            last_error_s = clock.now_s
        else:
            clock.now_s += event
            after = ladder.rung
            assert after in (before, max(before - 1, 0))  # one rung at a time, never down by itself
            if after < before:
                assert clock.now_s - last_error_s >= CALM_S
        assert bool(ladder.problem()) == (ladder.rung > 0)
    for _ in EVERYTHING:
        clock.now_s += MOST_CALM_S
        ladder.rung  # noqa: B018  asking climbs
    assert ladder.rung == 0


def test_other_errors_change_nothing() -> None:
    ladder = Ladder(EVERYTHING)
    assert not ladder.heard(RuntimeError("broken"))
    assert not ladder.heard(torch.AcceleratorError("an illegal memory access was encountered"))
    assert ladder.rung == 0


def test_memory_of_the_computer_counts_as_well() -> None:
    ladder = Ladder(EVERYTHING)
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**46)
    assert ladder.heard(of_torch.value)
    assert ladder.heard(MemoryError())
    assert ladder.rung == 2
    assert ladder.problem().startswith("memory was short")
    assert ladder.heard(OUT_OF_MEMORY)
    assert ladder.problem().startswith("GPU memory was short")


def test_a_process_over_its_budget_is_given_time_after_each_step() -> None:
    clock = Clock()
    ladder = Ladder(EVERYTHING, clock)
    for second in range(100):
        clock.now_s = float(second)
        ladder.heard(OverBudgetError("too much"))
        # One step at once and one whenever the last had its time; no way up while it lasts.
        assert ladder.rung == min(1 + int(second // SETTLE_S), len(EVERYTHING) - 1)
    clock.now_s += CALM_S
    assert ladder.rung == len(EVERYTHING) - 2


def test_a_rung_that_never_holds_is_tried_ever_more_seldom() -> None:
    clock = Clock()
    ladder = Ladder(EVERYTHING, clock)
    errors = 0
    while clock.now_s < 4 * 3600.0:
        if ladder.rung < 2:  # as much as this memory never suffices for
            ladder.heard(OUT_OF_MEMORY)
            errors += 1
        clock.now_s += 1.0
    # Two steps down, six doublings, and then as seldom as it gets.
    assert 2 < errors < 2 + 6 + 4 * 3600.0 / MOST_CALM_S


def test_the_network_is_asked_for_less_and_then_not_at_all() -> None:
    clock, reader, encoder = Clock(), SurfaceReader(error=OUT_OF_MEMORY), PoorEncoder()
    settings = from_mapping({"semantics.feature_channels": 0, "map.window_radius_m": 4.0})
    words = Vocabulary.of(["floor", "wall", "box"])
    pipe = Pipeline(settings, encoder, words, torch.device("cpu"), surface_namer(reader))
    pipe.ladder = Ladder(rungs(True, True, False), clock)
    frame = shot(pose())
    pipe.integrate(frame)
    window = pipe.snapshot(frame)
    for _ in range(10):
        pipe.apply(pipe.understand(frame, pipe.snapshot(frame)))
    sizes = [len(cells) for cells in reader.reads]
    assert len(sizes) == 3  # all of it, a piece of it, a piece of half the window; then it is left alone
    assert sizes[0] == len(window)
    assert sizes[1] < 0.6 * sizes[0]
    assert sizes[2] < sizes[1]
    assert "names from images alone" in pipe.ladder.problem()
    assert (pipe.map.everything().label > 0).any()

    pipe.ladder.heard(OUT_OF_MEMORY)
    assert "geometry alone" in pipe.ladder.problem()
    moved = shot(pose(-1.0), stamp_ns=1_000_000_000)
    assert pipe.integrate(moved).new > 0
    assert not pipe.is_keyframe(moved)

    reader.error = None
    for _ in range(4):
        clock.now_s += CALM_S
        assert pipe.ladder.effort
    assert pipe.ladder.problem() == ""
    assert pipe.is_keyframe(moved)
    assert pipe.understand(moved, pipe.snapshot(moved)).network_error == ""
    assert len(reader.reads[-1]) == len(pipe.snapshot(moved))
