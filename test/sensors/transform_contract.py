"""What every transform buffer must do, whoever made it.

A test module inherits :class:`TransformContract` and gives a fixture ``buffer`` with the methods of
``ws3d_ros.sensors.transforms.TransformBuffer``: ``set``, ``lookup`` and ``clear``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from ws3d_ros.sensors.transforms import TransformError

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
NO_TURN = (0.0, 0.0, 0.0, 1.0)
# Positions of a few metres in float64, through a handful of products.
TOLERANCE = 1e-9


def rigid(translation: Any, quaternion: Any) -> np.ndarray:
    """The oracle's (4, 4) matrix."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    T[:3, 3] = translation
    return T


def random_pose(rng: np.random.Generator) -> tuple[tuple[float, ...], tuple[float, ...]]:
    translation = rng.uniform(-5, 5, 3)
    return tuple(translation.tolist()), tuple(Rotation.random(random_state=rng).as_quat().tolist())


def refusal(buffer: Any, *arguments: Any) -> TransformError:
    """The error that a look-up raises."""
    with pytest.raises(TransformError) as caught:
        buffer.lookup(*arguments)
    return caught.value


class TransformContract:
    """Interpolation, chains, static links, no extrapolation, looped time."""

    def test_what_was_set_is_found_and_its_inverse(self, buffer: Any) -> None:
        pose = random_pose(np.random.default_rng(0))
        buffer.set("map", "base", T0, *pose)
        np.testing.assert_allclose(buffer.lookup("map", "base", T0), rigid(*pose), atol=TOLERANCE)
        np.testing.assert_allclose(
            buffer.lookup("base", "map", T0), np.linalg.inv(rigid(*pose)), atol=TOLERANCE
        )
        assert buffer.lookup("map", "base", T0).dtype == np.float64

    def test_a_frame_in_itself_needs_no_tf(self, buffer: Any) -> None:
        np.testing.assert_array_equal(buffer.lookup("camera", "camera", T0), np.eye(4))

    @pytest.mark.parametrize("seed", range(5))
    def test_between_two_stamps_places_are_linear_and_turns_are_slerped(self, buffer: Any, seed: int) -> None:
        rng = np.random.default_rng(seed)
        (place_a, turn_a), (place_b, turn_b) = random_pose(rng), random_pose(rng)
        buffer.set("map", "base", T0, place_a, turn_a)
        buffer.set("map", "base", T0 + SECOND, place_b, turn_b)
        for share in (0.1, 0.25, 0.5, 0.9):
            turn = Slerp([0, 1], Rotation.from_quat([turn_a, turn_b]))(share).as_quat()
            place = np.add(np.multiply(1 - share, place_a), np.multiply(share, place_b))
            found = buffer.lookup("map", "base", T0 + round(share * SECOND))
            np.testing.assert_allclose(found, rigid(place, turn), atol=1e-6)

    def test_the_opposite_quaternion_is_the_same_turn(self, buffer: Any) -> None:
        _, turn = random_pose(np.random.default_rng(3))
        buffer.set("map", "base", T0, (0, 0, 0), turn)
        buffer.set("map", "base", T0 + SECOND, (0, 0, 0), tuple(-part for part in turn))
        found = buffer.lookup("map", "base", T0 + SECOND // 2)
        np.testing.assert_allclose(found, rigid((0, 0, 0), turn), atol=TOLERANCE)

    def test_late_arrivals_are_put_in_order(self, buffer: Any) -> None:
        for second in (0, 2, 1):
            buffer.set("map", "base", T0 + second * SECOND, (float(second) ** 2, 0, 0), NO_TURN)
        assert buffer.lookup("map", "base", T0 + SECOND // 2)[0, 3] == pytest.approx(0.5)
        assert buffer.lookup("map", "base", T0 + 3 * SECOND // 2)[0, 3] == pytest.approx(2.5)

    def test_chains_go_through_the_common_ancestor(self, buffer: Any) -> None:
        rng = np.random.default_rng(1)
        links = [("map", "odom"), ("odom", "base"), ("base", "mast"), ("mast", "camera"), ("base", "lidar")]
        poses = {link: random_pose(rng) for link in links}
        for (parent, child), pose in poses.items():
            buffer.set(parent, child, T0, *pose)
        T = {link: rigid(*pose) for link, pose in poses.items()}
        T_base_camera = T["base", "mast"] @ T["mast", "camera"]
        expected = T["map", "odom"] @ T["odom", "base"] @ T_base_camera
        np.testing.assert_allclose(buffer.lookup("map", "camera", T0), expected, atol=TOLERANCE)
        expected = np.linalg.inv(T_base_camera) @ T["base", "lidar"]
        np.testing.assert_allclose(buffer.lookup("camera", "lidar", T0), expected, atol=TOLERANCE)

    def test_links_beyond_the_common_ancestor_do_not_matter(self, buffer: Any) -> None:
        buffer.set("map", "base", T0 - 5 * SECOND, (9, 9, 9), NO_TURN)
        buffer.set("base", "camera", T0, (1, 0, 0), NO_TURN)
        buffer.set("base", "lidar", T0, (0, 1, 0), NO_TURN)
        np.testing.assert_allclose(buffer.lookup("camera", "lidar", T0)[:3, 3], (-1, 1, 0), atol=TOLERANCE)

    def test_static_links_hold_at_all_times(self, buffer: Any) -> None:
        buffer.set("base", "camera", T0, (1, 2, 3), NO_TURN, static=True)
        for stamp_ns in (SECOND, T0 - 1000 * SECOND, T0, T0 + 1000 * SECOND, 0):
            np.testing.assert_allclose(buffer.lookup("base", "camera", stamp_ns)[:3, 3], (1, 2, 3))

    def test_static_and_moving_links_chain(self, buffer: Any) -> None:
        buffer.set("base", "camera", T0 - 500 * SECOND, (0, 0, 1), NO_TURN, static=True)
        buffer.set("map", "base", T0, (0, 0, 0), NO_TURN)
        buffer.set("map", "base", T0 + SECOND, (2, 0, 0), NO_TURN)
        found = buffer.lookup("map", "camera", T0 + SECOND // 4)
        np.testing.assert_allclose(found[:3, 3], (0.5, 0, 1), atol=TOLERANCE)

    def test_a_later_time_than_tf_knows_is_refused_as_too_new(self, buffer: Any) -> None:
        buffer.set("map", "base", T0, (0, 0, 0), NO_TURN)
        buffer.set("map", "base", T0 + SECOND, (0, 0, 0), NO_TURN)
        assert refusal(buffer, "map", "base", T0 + SECOND + 1).reason == "too_new"
        assert refusal(buffer, "base", "map", T0 + 2 * SECOND).reason == "too_new"

    def test_an_earlier_time_than_tf_remembers_is_refused_as_too_old(self, buffer: Any) -> None:
        buffer.set("map", "base", T0, (0, 0, 0), NO_TURN)
        buffer.set("map", "base", T0 + SECOND, (0, 0, 0), NO_TURN)
        assert refusal(buffer, "map", "base", T0 - 1).reason == "too_old"

    def test_one_sample_is_known_at_its_own_time_only(self, buffer: Any) -> None:
        buffer.set("map", "base", T0, (1, 0, 0), NO_TURN)
        assert buffer.lookup("map", "base", T0)[0, 3] == 1.0
        assert refusal(buffer, "map", "base", T0 + 1).reason == "too_new"
        assert refusal(buffer, "map", "base", T0 - 1).reason == "too_old"

    def test_the_past_is_forgotten_after_ten_seconds(self, buffer: Any) -> None:
        for second in range(30):
            buffer.set("map", "base", T0 + second * SECOND, (float(second), 0, 0), NO_TURN)
        assert buffer.lookup("map", "base", T0 + 20 * SECOND)[0, 3] == pytest.approx(20.0)
        assert refusal(buffer, "map", "base", T0 + 15 * SECOND).reason == "too_old"

    def test_the_time_zero_is_the_newest_that_all_links_know(self, buffer: Any) -> None:
        buffer.set("base", "camera", T0, (0, 0, 1), NO_TURN, static=True)
        for second in range(3):
            buffer.set("map", "odom", T0 + second * SECOND, (float(second), 0, 0), NO_TURN)
        for second in range(2):
            buffer.set("odom", "base", T0 + second * SECOND, (0, float(second), 0), NO_TURN)
        np.testing.assert_allclose(buffer.lookup("map", "camera", 0)[:3, 3], (1, 1, 1), atol=TOLERANCE)

    def test_an_unknown_frame_is_named(self, buffer: Any) -> None:
        buffer.set("map", "base", T0, (0, 0, 0), NO_TURN)
        for arguments in (("map", "camera", T0), ("camera", "map", T0)):
            error = refusal(buffer, *arguments)
            assert error.reason == "unknown_frame"
            assert "camera" in str(error)

    def test_two_trees_are_disconnected(self, buffer: Any) -> None:
        buffer.set("map", "odom", T0, (0, 0, 0), NO_TURN)
        buffer.set("base", "camera", T0, (0, 0, 0), NO_TURN)
        error = refusal(buffer, "map", "camera", T0)
        assert error.reason == "disconnected"
        assert "map" in str(error)
        assert "camera" in str(error)

    def test_a_clock_that_jumped_back_works_again_after_clear(self, buffer: Any) -> None:
        buffer.set("base", "camera", T0, (0, 0, 1), NO_TURN, static=True)
        for loop in range(3):
            for second in range(20):
                buffer.set("map", "base", T0 + second * SECOND, (float(loop), 0, 0), NO_TURN)
            found = buffer.lookup("map", "camera", T0 + 15 * SECOND)
            np.testing.assert_allclose(found[:3, 3], (loop, 0, 1), atol=TOLERANCE)
            buffer.clear()

    def test_clear_forgets_what_moves_and_keeps_what_is_static(self, buffer: Any) -> None:
        buffer.set("base", "camera", T0, (0, 0, 1), NO_TURN, static=True)
        buffer.set("map", "base", T0, (0, 0, 0), NO_TURN)
        buffer.clear()
        assert buffer.lookup("base", "camera", T0)[2, 3] == 1.0
        assert refusal(buffer, "map", "camera", T0).reason in ("unknown_frame", "disconnected")

    def test_a_frame_with_a_new_parent_is_found_there(self, buffer: Any) -> None:
        buffer.set("map", "shelf", T0, (5, 0, 0), NO_TURN)
        buffer.set("map", "gripper", T0, (0, 5, 0), NO_TURN)
        buffer.set("shelf", "cup", T0, (0, 0, 1), NO_TURN)
        for frame in ("shelf", "gripper"):
            buffer.set("map", frame, T0 + SECOND, (0, 5, 0), NO_TURN)
        buffer.set("gripper", "cup", T0 + SECOND, (0, 0, 0.1), NO_TURN)
        found = buffer.lookup("map", "cup", T0 + SECOND)
        np.testing.assert_allclose(found[:3, 3], (0, 5, 0.1), atol=TOLERANCE)
