"""Rooms out of a seed, and pictures of them: same seed same room, views that agree, no display needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("trimesh", reason="rendering rooms needs the extra: pip install 'ws3d_ros[scenes]'")
pytest.importorskip("moderngl", reason="rendering rooms needs the extra: pip install 'ws3d_ros[scenes]'")

from ws3d_ros.sensors.frame import Pinhole
from ws3d_ros.training.scenes import furniture, made
from ws3d_ros.training.scenes.classes import MADE, WORDS, class_of
from ws3d_ros.training.scenes.furnish import Furnisher
from ws3d_ros.training.scenes.kinds import KINDS
from ws3d_ros.training.scenes.mesh import box, join
from ws3d_ros.training.scenes.render import Renderer, RendererMissingError
from ws3d_ros.training.scenes.room import _door, make_scene
from ws3d_ros.training.scenes.scene import Room, Scene, Thing
from ws3d_ros.training.scenes.sensing import depth_camera, lidar_sweep
from ws3d_ros.training.scenes.trajectory import camera_pose, free_space, random_pose, walk

needs_furniture = pytest.mark.skipif(
    not list(furniture.FOLDER.glob("*.sh3f")), reason="Debian's sweethome3d-furniture is not installed"
)
CAMERA = Pinhole(320, 240, 262.5, 262.5, 159.5, 119.5)
SEED = 117


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    try:
        with Renderer() as ready:
            yield ready
    except RendererMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def flat() -> Scene:
    return make_scene(SEED, ("living room", "bedroom"))


def one_box() -> Scene:
    """A box from (1, -1, 0) to (2, 1, 1) in front of a camera at the origin, and nothing else."""
    return Scene(
        rooms=(Room("office", (-3, -3), (3, 3), 2.5),),
        things=(Thing("box", box([1, -1, 0], [2, 1, 1])), Thing("ball", box([1.5, 1.5, 0], [2, 2, 0.5]))),
        sun=np.array([0, 0, 1.0]),
        ambient=0.5,
        lamps_m=np.array([[0, 0, 2.0]]),
        lamp_color=np.ones(3),
    )


def rays(camera: Pinhole) -> np.ndarray:
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    return np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], -1)


def test_missing_furniture_is_said_with_the_package_to_install(tmp_path: Path) -> None:
    with pytest.raises(furniture.FurnitureMissingError, match="apt-get install sweethome3d-furniture"):
        furniture.catalogue(tmp_path)


@needs_furniture
def test_every_word_has_models_or_is_made_and_all_are_credited() -> None:
    groups = furniture.by_word()
    assert set(groups) | set(MADE) == set(WORDS)
    for model in furniture.catalogue():
        assert model.creator
        assert model.licence in ("CC-BY-3.0", "CC-BY-3.0-US", "CC0-1.0")
        assert 0.005 < max(model.size_m) <= 3.0


def test_words_that_mislead_are_not_furniture() -> None:
    assert class_of("Table fan") == "fan"
    assert class_of("Tablet") is None
    assert class_of("Bedside table") == "nightstand"


@needs_furniture
@pytest.mark.parametrize("word", ["chair", "sofa", "bed", "plant"])
def test_a_mesh_has_its_catalogue_size_and_stands_on_the_floor(word: str) -> None:
    model = furniture.by_word()[word][0]
    mesh = furniture.load_mesh(model)
    low, high = mesh.bounds
    np.testing.assert_allclose(high - low, model.size_m, atol=1e-4)
    np.testing.assert_allclose([low[0] + high[0], low[1] + high[1], low[2]], 0, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(mesh.normal, axis=1), 1, atol=1e-3)


@needs_furniture
def test_furniture_faces_minus_y() -> None:
    """A sofa's back rest, its highest part, is at the rear."""
    model = next(m for m in furniture.by_word()["sofa"] if m.name == "Sofa 2 seats")
    mesh = furniture.load_mesh(model)
    high = mesh.position_m[mesh.position_m[:, 2] > 0.8 * model.size_m[2]]
    assert high[:, 1].mean() > 0.1 * model.size_m[1]


@needs_furniture
def test_the_same_seed_gives_the_same_flat(flat: Scene) -> None:
    again = make_scene(SEED, ("living room", "bedroom"))
    assert [thing.word for thing in again.things] == [thing.word for thing in flat.things]
    for one, two in zip(flat.things, again.things, strict=True):
        np.testing.assert_array_equal(one.mesh.position_m, two.mesh.position_m)
        np.testing.assert_array_equal(one.mesh.color, two.mesh.color)
    other = make_scene(SEED + 1, ("living room", "bedroom"))
    assert [t.mesh.bounds.tolist() for t in other.things] != [t.mesh.bounds.tolist() for t in flat.things]


@needs_furniture
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_furniture_stays_in_its_room_and_apart(kind: str) -> None:
    room = Room(kind, (0.0, 0.0), (4.0, 4.0), 2.6)
    things = Furnisher(np.random.default_rng(3), room, []).furnish()
    assert len(things) >= 3
    # Things stand on rugs, and cushions rest within the space of what they belong to.
    bounds = np.array([thing.mesh.bounds for thing in things if thing.word != "rug" and not thing.part_of])
    assert (bounds[:, 0] > [-0.01, -0.01, -0.01]).all()
    assert (bounds[:, 1] < [4.01, 4.01, 2.61]).all()
    for index, (low, high) in enumerate(bounds):
        overlap = np.minimum(high, bounds[index + 1 :, 1]) - np.maximum(low, bounds[index + 1 :, 0])
        assert not (overlap > 5e-3).all(1).any(), (low, high)


@needs_furniture
def test_a_walk_is_smooth_and_keeps_off_the_furniture(flat: Scene) -> None:
    path = walk(flat, SEED, 0, 20.0, 30.0)
    again = walk(flat, SEED, 0, 20.0, 30.0)
    np.testing.assert_array_equal(path.position_m, again.position_m)
    free, origin = free_space(flat)
    cells = ((path.position_m - origin) / 0.05).astype(int)
    assert free[cells[:, 0], cells[:, 1]].all()
    speed = np.linalg.norm(np.diff(path.position_m, axis=0), axis=1) * 30
    assert speed.max() < 1.5  # m/s, an indoor robot
    assert np.abs(np.diff(path.yaw)).max() * 30 < np.radians(150)  # per second
    rooms_seen = {int(x > flat.rooms[0].high_m[0]) for x in path.position_m[:, 0]}
    assert rooms_seen == {0, 1}


def test_a_picture_of_a_box_is_where_geometry_says(renderer: Renderer) -> None:
    renderer.show(one_box())
    view = renderer.view(CAMERA, camera_pose(np.array([0, 0, 0.5]), 0.0, 0.0))
    # The front face is at x = 1: the ray through a pixel hits it where |y| < 1 and 0 < z < 1.
    ray = rays(CAMERA)
    front = (np.abs(ray[..., 0]) < 0.99) & (np.abs(ray[..., 1]) < 0.49)
    outside = (np.abs(ray[..., 1]) > 0.51) & (view.instance != 2)
    assert (view.instance[front] == 1).all()
    np.testing.assert_allclose(view.depth_m[front], 1.0, atol=1e-4)
    assert (view.depth_m[outside & (np.abs(ray[..., 1]) > 0.6)] == 0).all()
    assert view.color[front].mean() > 40


def test_left_is_left_and_up_is_up(renderer: Renderer) -> None:
    renderer.show(one_box())
    view = renderer.view(CAMERA, camera_pose(np.array([-2, 0, 0.5]), 0.0, 0.0))
    v, u = np.nonzero(view.instance == 2)  # at y = 1.5 to 2: left of the axis; z below 0.5: below it
    assert u.max() < CAMERA.cx
    assert v.min() > CAMERA.cy - 1


@needs_furniture
def test_two_views_agree_on_depth_and_instances(renderer: Renderer, flat: Scene) -> None:
    renderer.show(flat)
    path = walk(flat, SEED, 0, 20.0, 30.0)
    eyes = path.position_m[[100, 115]]
    poses = [camera_pose(np.array([*eye, 1.2]), float(path.yaw[100]), -0.2) for eye in eyes]
    one, two = (renderer.view(CAMERA, T) for T in poses)
    points = (rays(CAMERA) * one.depth_m[..., None])[one.depth_m > 0]
    moved = (
        points @ (np.linalg.inv(poses[1]) @ poses[0])[:3, :3].T + (np.linalg.inv(poses[1]) @ poses[0])[:3, 3]
    )
    u = np.round(moved[:, 0] / moved[:, 2] * CAMERA.fx + CAMERA.cx).astype(int)
    v = np.round(moved[:, 1] / moved[:, 2] * CAMERA.fy + CAMERA.cy).astype(int)
    inside = (u >= 0) & (u < CAMERA.width) & (v >= 0) & (v < CAMERA.height) & (moved[:, 2] > 0.1)
    u, v, z, number = u[inside], v[inside], moved[inside, 2], one.instance[one.depth_m > 0][inside]
    seen = np.abs(two.depth_m[v, u] - z) < 0.02
    assert inside.mean() > 0.3
    assert seen.mean() > 0.8  # the rest is hidden, or at an edge
    assert (two.instance[v, u] == number)[seen].mean() > 0.99


@needs_furniture
def test_lidar_agrees_with_the_camera(renderer: Renderer, flat: Scene) -> None:
    renderer.show(flat)
    T = np.eye(4)
    T[:3, 3] = [*walk(flat, SEED, 0, 20.0, 30.0).position_m[100], 1.0]
    sweep = lidar_sweep(renderer, T, np.random.default_rng(0), rings=8, steps=128)
    assert len(sweep.points_m) > 0.9 * 8 * 128
    assert set(np.unique(sweep.ring)) == set(range(8))
    pose = camera_pose(T[:3, 3], 0.6, 0.0)
    view = renderer.view(CAMERA, pose)
    points = (sweep.points_m @ T[:3, :3].T + T[:3, 3] - pose[:3, 3]) @ pose[:3, :3]
    ahead = points[:, 2] > 0.2
    u = np.round(points[ahead, 0] / points[ahead, 2] * CAMERA.fx + CAMERA.cx).astype(int)
    v = np.round(points[ahead, 1] / points[ahead, 2] * CAMERA.fy + CAMERA.cy).astype(int)
    inside = (u >= 0) & (u < CAMERA.width) & (v >= 0) & (v < CAMERA.height)
    assert inside.sum() > 50
    error = np.abs(points[ahead][inside, 2] - view.depth_m[v[inside], u[inside]])
    assert np.median(error) < 0.02  # range noise is 1 cm
    assert (sweep.instance[ahead][inside] == view.instance[v[inside], u[inside]]).mean() > 0.95


def test_depth_camera_errs_by_the_square_of_the_distance(renderer: Renderer) -> None:
    errors = {}
    for distance in (1.0, 4.0):
        renderer.show(one_box())
        view = renderer.view(CAMERA, camera_pose(np.array([1 - distance, 0, 0.5]), 0.0, 0.0))
        depth_mm = depth_camera(view, CAMERA, np.random.default_rng(0))
        assert (depth_mm[view.depth_m == 0] == 0).all()
        seen = (depth_mm > 0) & (view.instance == 1) & (np.abs(view.depth_m - distance) < 1e-3)
        errors[distance] = float(np.sqrt(((depth_mm[seen] / 1000.0 - distance) ** 2).mean()))
    assert 4 < errors[4.0] / errors[1.0] < 40  # 16, within what quantisation of one plane may do
    assert errors[4.0] < 0.12


@needs_furniture
def test_random_looks_are_from_free_space(flat: Scene) -> None:
    rng = np.random.default_rng(5)
    boxes = np.array([t.mesh.bounds for t in flat.things if t.word not in ("wall", "floor", "ceiling")])
    free = 0
    for _ in range(30):
        eye = random_pose(rng, flat)[:3, 3]
        free += not ((eye > boxes[:, 0]) & (eye < boxes[:, 1])).all(1).any()
        assert any((eye[:2] > room.low_m).all() and (eye[:2] < room.high_m).all() for room in flat.rooms)
    assert free == 30


def test_join_keeps_each_texture_once_and_points_to_the_right_one() -> None:
    rng = np.random.default_rng(0)
    red, blue = made.plaster(rng, np.array([1, 0, 0])), made.plaster(rng, np.array([0, 0, 1]))
    both = join(
        [
            box([0, 0, 0], [1, 1, 1], image=red),
            box([0, 0, 0], [1, 1, 1]),
            box([0, 0, 0], [1, 1, 1], image=blue),
        ]
    )
    again = join([both, box([0, 0, 0], [1, 1, 1], image=red)])
    assert len(again.textures) == 2
    assert again.textures[again.texture[0]] is red
    assert again.texture[36] == -1
    assert again.textures[again.texture[72]] is blue
    assert again.textures[again.texture[108]] is red


def test_box_normals_point_outwards() -> None:
    mesh = box([-1, -2, -3], [1, 2, 3])
    assert (np.sum(mesh.position_m * mesh.normal, axis=1) > 0).all()
    edges = np.diff(mesh.position_m.reshape(-1, 3, 3), axis=1)
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2
    assert area.sum() == pytest.approx(2 * (2 * 4 + 4 * 6 + 2 * 6))


@needs_furniture
@pytest.mark.parametrize("width_m", [0.5, 0.9, 1.1, 2.0])
def test_a_door_fits_its_wall_or_is_left_out(width_m: float) -> None:
    hallway = Room("hallway", (0.0, 0.0), (width_m, 4.0), 2.5)
    for seed in range(20):
        for opening in _door(np.random.default_rng(seed), hallway, "north"):
            assert opening.start_m > 0.0
            assert opening.start_m + opening.width_m < width_m
