"""Training examples: the same bytes for a seed, true names, sensors that err, files that are whole."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("trimesh", reason="rooms need the extra: pip install 'ws3d_ros[scenes]'")

from typer.testing import CliRunner

from ws3d_ros.cli.main import app
from ws3d_ros.sensors.frame import Pinhole
from ws3d_ros.training.scenes import furniture
from ws3d_ros.training.scenes.example import Example, Options, make_example
from ws3d_ros.training.scenes.flats import make_flat
from ws3d_ros.training.scenes.looks import camera_poses
from ws3d_ros.training.scenes.mesh import box, join
from ws3d_ros.training.scenes.names import CATEGORY, NAMES, SYNONYMS, name_of
from ws3d_ros.training.scenes.points import PointViewer, sample
from ws3d_ros.training.scenes.scene import Room, Scene, Thing
from ws3d_ros.training.scenes.sensing import DepthErrors, depth_camera
from ws3d_ros.training.scenes.store import example_path, load_example, make_examples, save_example
from ws3d_ros.training.scenes.trajectory import camera_pose

needs_furniture = pytest.mark.skipif(
    not list(furniture.FOLDER.glob("*.sh3f")), reason="Debian's sweethome3d-furniture is not installed"
)
CAMERA = Pinhole(160, 120, 130.0, 130.0, 79.5, 59.5)
SEED = 2


def wall_ahead() -> Scene:
    """A room with a wall whose face is at x = 2, and a box before it whose face is at x = 1."""
    return Scene(
        rooms=(Room("office", (-3, -3), (2.0, 3), 2.5),),
        things=(
            Thing("wall", box([2, -3, 0], [2.05, 3, 2.5])),
            Thing("box", box([1, -0.3, 0.2], [1.5, 0.3, 0.8])),
        ),
        sun=np.array([0, 0, 1.0]),
        ambient=0.5,
        lamps_m=np.array([[0, 0, 2.0]]),
        lamp_color=np.ones(3),
    )


@pytest.fixture(scope="module")
def example() -> Example:
    return make_example(SEED, Options(sensor="rgbd"))


def digest(example: Example) -> str:
    sha = hashlib.sha256()
    for value in vars(example).values():
        sha.update(b"none" if value is None else np.ascontiguousarray(value).tobytes())
    return sha.hexdigest()


def test_samples_are_spread_by_area_and_lie_on_the_surface() -> None:
    mesh = join([box([0, 0, 0], [1, 1, 1]), box([3, 0, 0], [3.5, 0.5, 0.5])])
    points = sample(mesh, 0.02, np.random.default_rng(0))
    assert len(points.position_m) == pytest.approx((6 + 1.5) / 0.02**2, abs=1)
    first = points.position_m[points.position_m[:, 0] < 2]
    assert len(first) / len(points.position_m) == pytest.approx(6 / 7.5, rel=1e-3)
    off = np.minimum(np.abs(first), np.abs(first - 1)).min(1)
    assert off.max() < 1e-5
    # Evenly: every cell of 0.1 m on a face of the cube has its 25 points, give or take.
    face = first[np.abs(first[:, 0]) < 1e-6]
    count = np.histogram2d(face[:, 1], face[:, 2], bins=10, range=[[0, 1], [0, 1]])[0]
    assert count.min() > 12
    assert count.max() < 40


def test_a_view_of_points_has_the_depth_and_the_things_that_geometry_says() -> None:
    viewer = PointViewer(wall_ahead(), np.random.default_rng(0))
    view = viewer.view(CAMERA, camera_pose(np.array([0, 0, 0.5]), 0.0, 0.0))
    assert view.instance[60, 80] == 2
    assert view.depth_m[60, 80] == pytest.approx(1.0, abs=2e-3)
    assert view.instance[60, 5] == 1
    assert view.depth_m[60, 5] == pytest.approx(2.0, abs=2e-3)
    seen = view.instance[10:85] > 0  # below, the wall ends
    assert seen.mean() > 0.99  # no pinholes


def test_worse_cameras_err_more_and_lose_the_dark_and_the_steep() -> None:
    view = PointViewer(wall_ahead(), np.random.default_rng(0)).view(
        CAMERA, camera_pose(np.array([0, 0, 0.5]), 0.0, 0.0)
    )

    def seen(errors: DepthErrors) -> np.ndarray:
        return depth_camera(view, CAMERA, np.random.default_rng(0), errors) / 1000.0

    good, poor = (
        seen(DepthErrors(sigma_px=0.001, step_px=0.001)),
        seen(DepthErrors(sigma_px=0.05, step_px=0.001)),
    )
    wall = (view.instance == 1) & (good > 0) & (poor > 0)
    assert np.abs(good - view.depth_m)[wall].max() < 0.01
    assert np.abs(poor - view.depth_m)[wall].mean() > 0.01
    lost = seen(DepthErrors(dark=256.0))
    assert 0.3 < (lost > 0).sum() / (good > 0).sum() < 0.7  # half of what is below the limit: everything
    tilted = PointViewer(wall_ahead(), np.random.default_rng(0)).view(
        CAMERA, camera_pose(np.array([1.7, -1.0, 1.5]), np.radians(70), 0.0)
    )
    steep = [
        (depth_camera(tilted, CAMERA, np.random.default_rng(0), DepthErrors(steepest_deg=angle)) > 0).sum()
        for angle in (90.0, 60.0)
    ]
    assert steep[1] < 0.9 * steep[0]


def test_every_name_has_a_kind_and_no_synonym_misleads() -> None:
    assert set(CATEGORY) == set(SYNONYMS) == set(NAMES)
    words = [word for synonyms in SYNONYMS.values() for word in synonyms]
    assert len(words) == len(set(words)), "one word for two names teaches nothing"
    for name, synonyms in SYNONYMS.items():
        assert name not in synonyms
        # Another thing's name as a synonym would teach that the two are one.
        assert not {word for word in synonyms if word in NAMES} - {"lamp"}, name


@needs_furniture
def test_the_same_seed_gives_the_same_bytes_in_another_process(example: Example) -> None:
    assert digest(make_example(SEED, Options(sensor="rgbd"))) == digest(example)
    code = (
        "import sys; sys.path.insert(0, 'test/training'); import test_examples as t; "
        f"print(t.digest(t.make_example({SEED}, t.Options(sensor='rgbd'))))"
    )
    root = Path(__file__).parents[2]
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert other.stdout.split()[-1] == digest(example)


@needs_furniture
def test_an_example_is_what_a_map_would_hold(example: Example) -> None:
    assert len(np.unique(example.coords, axis=0)) == len(example) > 2000
    np.testing.assert_array_equal(np.floor(example.points_m / 0.05), example.coords)
    assert example.color is not None
    length = np.linalg.norm(example.normal, axis=1)
    assert ((np.abs(length - 1) < 1e-3) | (length == 0)).all()
    assert (length > 0).mean() > 0.7
    scene = make_flat(SEED)
    assert example.instance.max() < len(scene.things) == len(example.parent)
    known = example.instance >= 0
    assert known.mean() > 0.98
    names = np.array([NAMES.index(name_of(thing)) for thing in scene.things])
    np.testing.assert_array_equal(example.name[known], names[example.instance[known]])
    assert {"wall", "floor"} <= {NAMES[index] for index in np.unique(example.name[known])}
    cloud = example.labelled_cloud()
    assert len(cloud) == len(example)


@needs_furniture
def test_a_lidar_sees_no_colour_and_goes_by_another_way() -> None:
    seen = make_example(SEED, Options(sensor="lidar"))
    assert seen.color is None
    assert len(seen) > 1000
    with pytest.raises(ValueError, match="rgbd"):
        make_example(SEED, Options(sensor="sonar"))


@needs_furniture
@pytest.mark.parametrize("seed", range(12))
def test_every_thing_has_a_name_and_cameras_stand_outside_of_things(seed: int) -> None:
    scene = make_flat(seed)
    assert {name_of(thing) for thing in scene.things} <= set(NAMES)
    listed = {id(thing) for thing in scene.things}
    assert all(thing.part_of is None or id(thing.part_of) in listed for thing in scene.things)
    for pose in camera_poses(scene, np.random.default_rng(seed)):
        x, y, z = pose[:3, 3]
        assert any(
            room.low_m[0] < x < room.high_m[0]
            and room.low_m[1] < y < room.high_m[1]
            and 0 < z < room.height_m
            for room in scene.rooms
        )


def test_files_hold_what_was_saved_and_differ_by_options(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    example = Example(
        seed=7,
        coords=rng.integers(-9, 9, (50, 3)).astype(np.int32),
        points_m=rng.random((50, 3), np.float32),
        color=None,
        normal=np.eye(3, dtype=np.float32)[rng.integers(0, 3, 50)],
        name=rng.integers(-1, 5, 50),
        instance=rng.integers(-1, 5, 50),
        parent=np.full(5, -1),
    )
    path, again = tmp_path / "one.npz", tmp_path / "two.npz"
    save_example(path, example)
    save_example(again, example)
    assert path.read_bytes() == again.read_bytes()
    assert digest(load_example(path)) == digest(example)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.npz", "two.npz"]
    assert example_path(tmp_path, 7, Options()) != example_path(tmp_path, 7, Options(voxel_size_m=0.1))


@needs_furniture
def test_examples_are_made_once_by_processes(tmp_path: Path) -> None:
    options = Options(sensor="lidar", voxel_size_m=0.1)
    paths = make_examples([5, 3], tmp_path, options, workers=1)
    assert [load_example(path).seed for path in paths] == [5, 3]
    assert digest(load_example(paths[1])) == digest(load_example(paths[1]))
    before = [path.stat().st_mtime_ns for path in paths]
    assert make_examples([5, 3], tmp_path, options) == paths
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_missing_furniture_is_said_before_processes_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise furniture.FurnitureMissingError("apt-get install sweethome3d-furniture")

    monkeypatch.setattr("ws3d_ros.training.scenes.store.catalogue", missing)
    with pytest.raises(furniture.FurnitureMissingError, match="sweethome3d-furniture"):
        make_examples([0], tmp_path)


@needs_furniture
def test_render_scene_writes_pictures_and_says_what_is_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["render-scene", "--seed", str(SEED), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "floor" in result.output
    written = {file.name for file in tmp_path.iterdir()}
    assert {"view0.png", "cloud_color.png", "cloud_names.png", "cloud_things.png", "legend.png"} <= written
