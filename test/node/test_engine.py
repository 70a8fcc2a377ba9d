"""The engine without ROS traffic: a network that fails is told and counted, and words change all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from small_world import ColourEncoder, pose, shot
from students import SurfaceReader, surface_namer

pytest.importorskip("rclpy", reason="ROS 2 is not installed (make venv)")
from ws3d_ros import memory
from ws3d_ros.config import from_mapping
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.node.engine import Engine
from ws3d_ros.node.reporter import Reporter
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.corrections import Correction
from ws3d_ros.sensors.ledger import Ledger
from ws3d_ros.understood import Understood

Make = Callable[[SurfaceReader], tuple[Engine, Reporter]]


@pytest.fixture
def make() -> Iterator[Make]:
    """Engines whose map already has one image."""
    engines: list[Engine] = []

    def make(reader: SurfaceReader) -> tuple[Engine, Reporter]:
        config = from_mapping({"semantics.feature_channels": 0})
        words = Vocabulary.of(["floor", "wall", "box"])
        pipeline = Pipeline(config, ColourEncoder(), words, torch.device("cpu"), surface_namer(reader))
        frame = shot(pose())
        pipeline.integrate(frame)
        pipeline.apply(pipeline.look(frame, pipeline.snapshot(frame)))
        reporter = Reporter(lambda text: None)
        engines.append(Engine(config, pipeline, Ledger(), reporter))
        return engines[-1], reporter

    yield make
    for engine in engines:
        engine.stop()


def test_a_network_that_fails_is_told_and_counted(make: Make) -> None:
    engine, reporter = make(SurfaceReader(error=MemoryError("no room")))
    engine._names.mailbox.request(engine._name).result(30.0)
    renamed = engine.use_words(["wall", "floor"]).result(30.0)
    assert renamed.voxels > 0
    assert engine.errors == 1
    (problem,) = reporter.problems()
    assert "MemoryError: no room" in problem
    assert "map.window_radius_m" in problem
    assert (engine.pipeline.map.everything().label > 0).any()


def test_a_network_that_works_is_not(make: Make) -> None:
    reader = SurfaceReader()
    engine, reporter = make(reader)
    engine._names.mailbox.request(engine._name).result(30.0)
    assert len(reader.reads) == 1
    engine.use_words(["wall", "floor"]).result(30.0)
    assert len(reader.reads) == 1  # new words do not ask the network
    assert engine.errors == 0
    assert reporter.problems() == []


def test_the_way_to_a_label_begins_with_the_keyframes_that_it_is_for(make: Make) -> None:
    engine, _ = make(SurfaceReader())
    frame = shot(pose())
    assert engine.copy(whole_map=True).result(30.0).named_s == ()
    engine._images.mailbox.request(partial(engine._look, 7.0, frame)).result(30.0)
    engine._images.mailbox.request(partial(engine._look, 8.0, frame)).result(30.0)
    engine._names.mailbox.request(engine._name).result(30.0)
    engine._names.mailbox.request(engine._name).result(30.0)  # has nothing new to name
    assert set(engine.copy(whole_map=True).result(30.0).named_s) == {7.0, 8.0}
    assert len(engine.copy(whole_map=True).result(30.0).named_s) == 2


def test_the_next_image_waits_until_the_network_has_read_the_last_one(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ws3d_ros.node.engine.LONGEST_REST_S", 30.0)
    reading, release = threading.Event(), threading.Event()
    reader = SurfaceReader()
    engine, _ = make(reader)
    read = engine.pipeline.read

    def slow(window: Window) -> Understood:
        reading.set()
        release.wait(30.0)
        return read(window)

    engine.pipeline.read = slow  # type: ignore[method-assign]
    first = engine._images.mailbox.request(partial(engine._look, 7.0, shot(pose())))
    assert reading.wait(30.0)
    assert not first.done()
    release.set()
    first.result(30.0)
    assert engine._been_read.is_set()


def test_names_of_before_a_jump_arrive_where_their_voxels_are(make: Make) -> None:
    reading, release = threading.Event(), threading.Event()
    engine, _ = make(SurfaceReader())
    read = engine.pipeline.read

    def slow(window: Window) -> Understood:
        reading.set()
        release.wait(30.0)
        return read(window)

    engine.pipeline.read = slow  # type: ignore[method-assign]
    naming = engine._names.mailbox.request(engine._name)
    assert reading.wait(30.0)
    before = engine.copy(whole_map=True).result(30.0).window
    T_new_old = np.eye(4)
    T_new_old[:3, 3] = 5.02, -2.01, 0.03  # off the faces of voxels, where all planes of this world are
    engine.correct(Correction(1, T_new_old, T_new_old, 5.4, 0.0))
    deadline = time.monotonic() + 30.0
    while engine.pipeline.map.moves == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    moved = engine.copy(whole_map=True).result(30.0).window
    for end in (torch.amin, torch.amax):
        way = end(moved.points_m, 0) - end(before.points_m, 0)
        assert np.allclose(way, T_new_old[:3, 3], atol=0.05)
    assert not (moved.label > 0).any()
    release.set()
    naming.result(30.0)
    named = engine.copy(whole_map=True).result(30.0).window
    assert torch.equal(named.keys, moved.keys)
    assert (named.label > 0).float().mean() > 0.9
    in_box = (named.points_m - torch.tensor([7.22, -2.01, 0.33])).abs().amax(1) < 0.21
    assert in_box.any()
    assert (named.label[in_box] == 3).float().mean() > 0.9  # its foot may be the floor's
    assert engine.errors == 0


def test_gpu_memory_that_ends_while_images_are_encoded_costs_a_rung_and_no_geometry(make: Make) -> None:
    engine, reporter = make(SurfaceReader())

    def poor(frame: object, window: Window) -> Understood:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory, on purpose")

    engine.pipeline.look = poor  # type: ignore[method-assign]
    engine._images.mailbox.post(partial(engine._look, 7.0, shot(pose())))
    deadline = time.monotonic() + 30.0
    while engine.errors == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert engine.errors == 1
    assert engine.pipeline.ladder.rung == 1
    assert "smaller pieces" in engine.pipeline.ladder.problem()
    assert any("images survived an error" in problem for problem in reporter.problems())
    before = len(engine.pipeline.map)
    there = engine._mapping.mailbox.request(partial(engine.pipeline.integrate, shot(pose(-1.0)))).result(30.0)
    assert there.new > 0
    assert len(engine.pipeline.map) > before


def test_a_process_over_its_budget_understands_less_and_frees_what_the_network_keeps(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SurfaceReader()
    engine, reporter = make(reader)
    taken = [1_000_000]
    monkeypatch.setattr(memory, "resident_bytes", lambda: taken[0])
    engine.retune(from_mapping({"semantics.feature_channels": 0, "memory.process_mb": 2.0}))

    def look() -> None:
        engine.memory.hold()
        for worker in (engine.files.worker, engine._names):  # what it asks of them is done
            worker.mailbox.request(lambda: None).result(30.0)
            time.sleep(0.05)

    look()
    assert reporter.problems() == []
    assert engine.pipeline.ladder.rung == 0
    taken[0] = 3_000_000
    monkeypatch.setattr("ws3d_ros.ladder.SETTLE_S", 0.0)
    rungs = []
    for _ in range(5):
        look()
        rungs.append(engine.pipeline.ladder.rung)
    assert rungs == [1, 2, 3, 4, 4]
    assert reader.forgotten == 3  # from the rung on that asks no network
    (problem,) = reporter.problems()
    assert "takes 3 MB of memory and may take 2 (memory.process_mb)" in problem
    assert "geometry alone" in engine.pipeline.ladder.problem()


def test_without_a_budget_the_process_may_take_most_of_the_machine(make: Make) -> None:
    engine, _ = make(SurfaceReader())
    assert engine.memory.most_bytes == int(memory.SHARE * memory.machine_bytes())
    engine.retune(from_mapping({"memory.process_mb": 2.0}))
    assert engine.memory.most_bytes == 2_000_000
