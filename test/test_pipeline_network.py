"""The 3D network in the pipeline: alone, beside images, failing, and with other words."""

import dataclasses
from pathlib import Path

import pytest
import torch
from small_world import CAMERA, ColourEncoder, pose, shot
from students import SurfaceReader, random_student, surface_namer
from torch import Tensor

from ws3d_ros.alignment.combining import pool, spoken
from ws3d_ros.alignment.labelling import decide, word_probabilities
from ws3d_ros.config import Config, NetworkConfig, from_mapping
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.network.choose import choose_network
from ws3d_ros.network.namer import Namer
from ws3d_ros.pipeline import Pipeline
from ws3d_ros.reconstruction.window import Window
from ws3d_ros.sensors.frame import Frame, Scan

CPU = torch.device("cpu")
FLOOR, WALL = 1, 2


def config(**extra: object) -> Config:
    return from_mapping({"semantics.feature_channels": 0, "inputs.min_range_m": 0.1, **extra})


def pipeline(
    namer: Namer,
    encoder: ColourEncoder | None = None,
    words: tuple[str, ...] = ("floor", "wall", "box"),
    **extra: object,
) -> Pipeline:
    return Pipeline(config(**extra), encoder, Vocabulary.of(words), CPU, namer)


def sweep(x: float = 0.0) -> Scan:
    """What the camera of :func:`shot` sees, as points of a LiDAR in its place."""
    seen = shot(pose(x))
    assert seen.depth_m is not None
    v, u = torch.nonzero(seen.depth_m > 0, as_tuple=True)
    z = seen.depth_m[v, u]
    optical = torch.stack([(u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z], dim=1)
    return Scan(0, optical, seen.T_map_camera, None, "lidar")


def take(pipe: Pipeline, measurement: Frame | Scan) -> bool:
    """One measurement all the way; whether it was a keyframe."""
    pipe.integrate(measurement)
    if not pipe.is_keyframe(measurement):
        return False
    pipe.apply(pipe.understand(measurement, pipe.snapshot(measurement)))
    return True


def clear_surfaces(window: Window) -> tuple[Tensor, Tensor]:
    """Voxels in the open parts of floor and wall whose normal is right (far ones of a sweep are rough)."""
    x, _, z = window.points_m.unbind(1)
    level = window.normal[:, 2].abs()
    upright = window.normal[:, :2].norm(dim=1)
    return (level > 0.9) & (x < 1.8) & (z < 0.06), (upright > 0.9) & (x > 2.95) & (z > 0.3)


def random_namer(tmp_path: Path, encoder: ColourEncoder | None) -> Namer:
    path = random_student(tmp_path / "random.safetensors")
    choice = choose_network(
        NetworkConfig(str(path), precision="float32"), encoder or ColourEncoder(), "", CPU
    )
    assert choice.namer is not None
    return choice.namer


def test_a_lidar_alone_gets_names_from_shapes() -> None:
    pipe = pipeline(surface_namer(SurfaceReader()))
    assert take(pipe, sweep())
    window = pipe.map.everything()
    floor, wall = clear_surfaces(window)
    assert floor.sum() > 100
    assert wall.sum() > 100
    # Voxels without a normal, which this reader cannot tell, outvote some surfaces.
    assert (window.label[floor] == FLOOR).float().mean() > 0.85
    assert (window.label[wall] == WALL).float().mean() > 0.85
    assert not window.instance[floor].any()  # no thing, but what things stand on


def test_a_sweep_is_worth_reading_when_enough_is_new() -> None:
    pipe = pipeline(surface_namer(SurfaceReader()))
    assert take(pipe, sweep())
    assert not take(pipe, sweep())
    assert take(pipe, sweep(-2.0))
    pipe.clear()
    assert take(pipe, sweep(-2.0))


def test_what_little_is_new_is_read_when_the_robot_stands_still() -> None:
    pipe = pipeline(surface_namer(SurfaceReader()))
    whole = sweep()
    upper = whole.points_m[: int(0.95 * len(whole.points_m))]  # without the floor in front of the robot
    assert take(pipe, dataclasses.replace(whole, points_m=upper))

    def read() -> bool:
        window = pipe.map.everything()
        assert window.embedding is not None
        return bool(window.embedding.any(dim=1).all())

    assert read()
    assert not take(pipe, dataclasses.replace(whole, stamp_ns=100_000_000))  # a few voxels are new
    assert not read()
    assert not take(pipe, dataclasses.replace(whole, stamp_ns=1_900_000_000))
    assert take(pipe, dataclasses.replace(whole, stamp_ns=2_100_000_000))
    assert read()
    assert not take(pipe, dataclasses.replace(whole, stamp_ns=9_000_000_000))  # nothing is new


def test_a_depth_camera_without_an_encoder_is_like_a_lidar() -> None:
    pipe = pipeline(surface_namer(SurfaceReader()))
    assert take(pipe, shot(pose()))
    window = pipe.map.everything()
    floor, _ = clear_surfaces(window)
    assert (window.label[floor] == FLOOR).float().mean() > 0.95


def test_an_image_and_a_random_student_together(tmp_path: Path) -> None:
    """Without smoothing every label is what the formula says of both sources."""
    encoder = ColourEncoder()
    namer = random_namer(tmp_path, encoder)
    settings = config(**{"semantics.region_share": 0.0})
    plain = dataclasses.replace(Vocabulary.of(["floor", "wall", "box"]), synonyms=((), (), ()))
    pipe = Pipeline(settings, encoder, plain, CPU, namer)
    assert take(pipe, shot(pose()))
    window = pipe.map.everything()
    words = encoder.encode_text(["floor", "wall", "box"])
    image = word_probabilities(window.feature, words, encoder.logit_scale)
    network = namer.probabilities(window, namer.embed(plain))
    image = image * (window.feature_weight > 0)[:, None]
    expected, confidence = decide(pool(image, network, spoken(network)), 3, 0.05)
    # Features of the map are float16: near ties may turn.
    assert (window.label == expected).float().mean() > 0.99
    torch.testing.assert_close(window.confidence, confidence, atol=5e-3, rtol=0)
    # And each of the two matters somewhere.
    seen = window.feature_weight > 0
    assert (window.label != network.argmax(1) + 1)[seen].any()
    assert (window.label == network.argmax(1) + 1)[~seen].all()


def test_the_same_file_gives_the_same_map(tmp_path: Path) -> None:
    maps = []
    for _ in range(2):
        encoder = ColourEncoder()
        pipe = pipeline(random_namer(tmp_path, encoder), encoder)
        for x in (0.0, 0.4):
            take(pipe, shot(pose(x)))
        maps.append(pipe.map.everything())
    for name in ("label", "confidence", "instance"):
        torch.testing.assert_close(getattr(maps[0], name), getattr(maps[1], name))


def test_sure_images_outweigh_a_network_that_is_less_sure() -> None:
    """The network calls the box wall or floor; images, which see its colour, win where they are surer."""
    namer = surface_namer(SurfaceReader())
    namer.logit_scale = 2.0
    pipe = pipeline(namer, ColourEncoder())
    for x in (0.0, 0.3):
        take(pipe, shot(pose(x)))
    window = pipe.map.everything()
    x, y, z = window.points_m.unbind(1)
    box = (x > 1.97) & (x < 2.43) & (y.abs() < 0.23) & (z > 0.1) & (z < 0.43)
    box &= window.feature_weight > 0.05
    assert (window.label[box] == 3).float().mean() > 0.9


@pytest.mark.parametrize("encoder", [None, ColourEncoder()])
def test_new_words_need_no_network(encoder: ColourEncoder | None) -> None:
    reader = SurfaceReader()
    pipe = pipeline(surface_namer(reader), encoder)
    take(pipe, shot(pose()))
    reads = len(reader.reads)
    pipe.set_vocabulary(Vocabulary.of(["wall", "carpet"]))
    pipe.apply(pipe.rename(pipe.map.everything()))
    alone = pipe.map.everything()
    floor, _ = clear_surfaces(alone)
    assert (alone.label[floor] == 2).float().mean() > 0.95
    pipe.apply(pipe.relabel(alone))
    assert len(reader.reads) == reads
    window = pipe.map.everything()
    floor, wall = clear_surfaces(window)
    assert (window.label[floor] == 2).float().mean() > 0.95
    assert (window.label[wall] == 1).float().mean() > 0.95


def test_a_failing_network_leaves_the_images() -> None:
    broken = surface_namer(SurfaceReader(error=MemoryError("no room for 12 GiB")))
    with_network = pipeline(broken, ColourEncoder())
    without = Pipeline(config(), ColourEncoder(), Vocabulary.of(["floor", "wall", "box"]), CPU)
    frame = shot(pose())
    for pipe in (with_network, without):
        take(pipe, frame)
    torch.testing.assert_close(with_network.map.everything().label, without.map.everything().label)
    understood = with_network.understand(frame, with_network.snapshot(frame))
    assert understood.network_error == "MemoryError: no room for 12 GiB"


def test_with_nothing_to_go_by_all_is_unknown() -> None:
    pipe = pipeline(surface_namer(SurfaceReader(error=RuntimeError("broken"))))
    assert take(pipe, sweep())
    assert (pipe.map.everything().label == 0).all()


def test_the_network_is_a_stage_of_its_own() -> None:
    pipe = pipeline(surface_namer(SurfaceReader()), ColourEncoder())
    take(pipe, shot(pose()))
    stages = {"integrate", "snapshot", "encode", "render", "lift", "network", "name", "track", "apply"}
    assert set(pipe.stopwatch.summary_ms()) == stages


def test_an_image_without_depth_needs_an_encoder() -> None:
    pipe = pipeline(surface_namer(SurfaceReader()))
    assert not take(pipe, dataclasses.replace(shot(pose()), depth_m=None))


@pytest.mark.parametrize("measurements", [(sweep(),), (sweep(), shot(pose())), (shot(pose()), sweep(-2.0))])
def test_every_sensor_ends_in_the_same_stored_features(measurements: tuple[Frame | Scan, ...]) -> None:
    """LiDAR alone, and both orders of LiDAR and depth camera, in one map."""
    reader = SurfaceReader()
    pipe = pipeline(surface_namer(reader), ColourEncoder())
    for measurement in measurements:
        take(pipe, measurement)
    pipe.apply(pipe.read(pipe.window((0.0, 0.0, 0.0))))  # a sweep after an image need not be a keyframe
    reads = len(reader.reads)
    pipe.apply(pipe.relabel(pipe.map.everything()))
    window = pipe.map.everything()
    assert window.embedding is not None
    assert window.embedding.any(dim=1).all()
    floor, wall = clear_surfaces(window)
    assert (window.label[floor] == FLOOR).float().mean() > 0.9
    assert (window.label[wall] == WALL).float().mean() > 0.9
    assert len(reader.reads) == reads


def test_at_the_end_all_is_read_and_named() -> None:
    reader = SurfaceReader()
    pipe = pipeline(surface_namer(reader))
    pipe.integrate(sweep())  # no keyframe was asked for: nothing is named yet
    assert not pipe.map.everything().label.any()
    assert pipe.finish().network_error == ""
    window = pipe.map.everything()
    assert len(reader.reads) == 1
    assert (window.label > 0).float().mean() > 0.5
