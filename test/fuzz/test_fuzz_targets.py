"""Whatever bytes come from sensors and files: a value that keeps its promises, or the decoder's own error.

The same targets that ``fuzz/run.py`` drives for hours; here for seconds, by hypothesis, and over all inputs
that are kept because they once broke something.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fuzz_input import FindingError, Target, run, warm_up
from fuzz_targets import TARGETS, corpus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEPT = [(name, file) for name in TARGETS for file in corpus(name)]
SLOW = {"student": 8, "map_file": 25}
"""Cases, where one takes more than a few milliseconds."""


@pytest.fixture(scope="module", autouse=True)
def _measured() -> Iterator[None]:
    for name, target in TARGETS.items():
        warm_up(target, corpus(name).values())
    tracemalloc.start(1)
    yield
    tracemalloc.stop()


@pytest.mark.parametrize(("name", "file"), KEPT)
def test_kept_inputs(name: str, file: str) -> None:
    run(TARGETS[name], corpus(name)[file])


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_some_seeds_are_taken(name: str) -> None:
    """Else all that follows would end at the first check of the decoder."""
    if name in ("student", "transforms"):
        pytest.skip("a whole student is too large for a seed; of a few frames some have no link")
    assert any(run(TARGETS[name], data) for data in corpus(name).values())


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with some bytes changed, a stretch cut out or doubled, and something behind it."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 5))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
    stretch = data[start:end] * draw(st.sampled_from([0, 1, 1, 2]))
    return bytes(data[:start] + stretch + data[end:] + draw(st.binary(max_size=8)))


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_damaged_inputs(name: str) -> None:
    seeds = list(corpus(name).values())

    @settings(max_examples=SLOW.get(name, 50), suppress_health_check=list(HealthCheck))
    @given(st.one_of(damaged(seeds), st.binary(max_size=200)))
    def damage(data: bytes) -> None:
        run(TARGETS[name], data)

    damage()


def test_nothing_in_a_file_was_run() -> None:
    for name in ("vocabulary", "recipe"):
        run(TARGETS[name], corpus(name)["code"])
    assert not Path("ws3d_was_here").exists()


def _refuse(_: bytes) -> None:
    raise ValueError("a sentence for people")


def _hoard(_: bytes) -> None:
    bytes(40 << 20)


def _break_a_promise(_: bytes) -> None:
    raise AssertionError("a promise")


@pytest.mark.parametrize(
    ("check", "errors"), [(_refuse, KeyError), (_hoard, ValueError), (_break_a_promise, ValueError)]
)
def test_the_rules_are_kept(check: Callable[[bytes], None], errors: type[Exception]) -> None:
    with pytest.raises(FindingError):
        run(Target(check, errors), b"")
    assert not run(Target(_refuse, ValueError), b"")
