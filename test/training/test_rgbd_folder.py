"""Posed RGB-D folders in three layouts, written here as their tools write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from broken_files import check_broken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ws3d_ros.sensors.frame import Pinhole
from ws3d_ros.training.datasets.files import DatasetError
from ws3d_ros.training.datasets.rgbd_folder import RgbdFolder, seen_by

WIDTH, HEIGHT = 32, 24
COLOR = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
COLOR[:, : WIDTH // 2] = (250, 100, 0)
DEPTH = np.tile(np.arange(WIDTH, dtype=np.uint16) * 50, (HEIGHT, 1))


def save(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), image[..., ::-1] if image.ndim == 3 else image)


def pose(x_m: float) -> np.ndarray:
    T = np.eye(4)
    T[0, 3] = x_m
    return T


def scannet(root: Path) -> Path:
    """Colour twice as fine as depth; frame 2 was lost; 10 comes after 9."""
    for number in (0, 2, 9, 10):
        save(root / f"color/{number}.jpg", cv2.resize(COLOR, (2 * WIDTH, 2 * HEIGHT)))
        save(root / f"depth/{number}.png", DEPTH)
        (root / "pose").mkdir(exist_ok=True)
        np.savetxt(
            root / f"pose/{number}.txt", pose(number) if number != 2 else np.full((4, 4), -np.inf), "%f"
        )
    (root / "intrinsic").mkdir()
    K = np.eye(4)
    K[0, [0, 2]], K[1, [1, 2]] = (30.0, 15.5), (30.0, 11.5)
    np.savetxt(root / "intrinsic/intrinsic_depth.txt", K, "%f")
    K[0, [0, 2]], K[1, [1, 2]] = (60.0, 31.5), (60.0, 23.5)
    np.savetxt(root / "intrinsic/intrinsic_color.txt", K, "%f")
    return root


def seven_scenes(root: Path) -> Path:
    for number in (0, 1):
        depth = DEPTH.copy()
        depth[0] = 65535
        save(root / f"frame-{number:06d}.color.png", COLOR)
        save(root / f"frame-{number:06d}.depth.png", depth)
        rows = "\n".join("\t ".join(f"{value:.7e}" for value in row) for row in pose(number))
        (root / f"frame-{number:06d}.pose.txt").write_text(rows + "\t \n")
    return root


def tum(root: Path) -> Path:
    """Poses at seconds 0, 0.1, 0.2 and, after a gap, 1; the last two images lie in the gap and behind it."""
    start = 1305031102
    stamps = [0.05, 0.125, 0.6, 1.5]
    for stamp in stamps:
        save(root / f"rgb/{start + stamp:.6f}.png", COLOR)
        save(root / f"depth/{start + stamp + 0.01:.6f}.png", DEPTH * 5)
    for name, delay, folder in (("rgb.txt", 0.0, "rgb"), ("depth.txt", 0.01, "depth")):
        lines = [f"{start + stamp + delay:.6f} {folder}/{start + stamp + delay:.6f}.png" for stamp in stamps]
        (root / name).write_text("# images\n# timestamp filename\n" + "\n".join(lines) + "\n")
    lines = [f"{start + stamp:.4f} {stamp * 10:.4f} 0 0 0 0 0 1" for stamp in (0.0, 0.1, 0.2, 1.0)]
    (root / "groundtruth.txt").write_text("# ground truth\n" + "\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("write", [scannet, seven_scenes, tum])
def test_frames_are_read_as_they_were_written(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    folder = RgbdFolder.open(write(tmp_path))
    frame = folder.frame(0)
    assert frame.color is not None
    assert frame.depth_m is not None
    assert frame.color.shape == (HEIGHT, WIDTH, 3)
    left, right = frame.color[5, 3].tolist(), frame.color[5, -3].tolist()
    np.testing.assert_allclose([left, right], [[250, 100, 0], [0, 0, 0]], atol=3)  # ScanNet's are JPEG
    np.testing.assert_allclose(frame.depth_m[5].numpy(), np.arange(WIDTH) * 0.05, atol=1e-6)
    assert (frame.camera.width, frame.camera.height) == (WIDTH, HEIGHT)
    assert len(list(folder.frames(every=2))) == (len(folder) + 1) // 2


def test_scannet_leaves_lost_frames_out_and_counts_like_people(tmp_path: Path) -> None:
    folder = RgbdFolder.open(scannet(tmp_path))
    assert [shot.T_map_camera[0, 3] for shot in folder.shots] == [0, 9, 10]
    assert folder.camera == Pinhole(WIDTH, HEIGHT, 30.0, 30.0, 15.5, 11.5)


def test_one_matrix_for_both_images_will_do(tmp_path: Path) -> None:
    scannet(tmp_path)
    np.savetxt(tmp_path / "intrinsics.txt", [[40, 0, 16], [0, 41, 12], [0, 0, 1]])
    folder = RgbdFolder.open(tmp_path)
    assert folder.camera == Pinhole(WIDTH, HEIGHT, 40.0, 41.0, 16.0, 12.0)
    assert folder.color_camera == folder.camera.scaled_to(2 * WIDTH, 2 * HEIGHT)


def test_seven_scenes_marks_no_depth_with_its_largest_number(tmp_path: Path) -> None:
    folder = RgbdFolder.open(seven_scenes(tmp_path))
    depth_m = folder.frame(1).depth_m
    assert depth_m is not None
    assert depth_m[0].tolist() == [0.0] * WIDTH
    assert folder.camera == Pinhole(640, 480, 585.0, 585.0, 320.0, 240.0).scaled_to(WIDTH, HEIGHT)


def test_tum_interpolates_poses_but_not_over_gaps(tmp_path: Path) -> None:
    folder = RgbdFolder.open(tum(tmp_path))
    # Poses are those of the depth images, 10 ms after colour; the camera goes 10 m/s.
    np.testing.assert_allclose([shot.T_map_camera[0, 3] for shot in folder.shots], [0.6, 1.35], atol=1e-5)
    assert folder.shots[0].stamp_ns == 1305031102_060000000
    assert folder.shots[0].color.name == "1305031102.050000.png"


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(*[st.floats(20, 60)] * 4),
    st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
)
def test_colour_of_another_lens_lands_on_the_same_rays(
    focal: tuple[float, float, float, float], shift: tuple[float, float]
) -> None:
    """A smooth picture of ray directions, seen through both lenses."""
    color_camera = Pinhole(96, 80, focal[0], focal[1], 47.5 + shift[0], 39.5)
    camera = Pinhole(WIDTH, HEIGHT, focal[2], focal[3], 15.5, 11.5 + shift[1])
    x, y = rays(color_camera)
    picture = np.stack([128 + 80 * x, 128 + 80 * y, 0 * x], axis=-1)
    inside = np.abs(picture - 128).max(-1) < 128
    seen = seen_by(camera, picture.clip(0, 255).astype(np.uint8), color_camera)
    x, y = rays(camera)
    u, v = x * color_camera.fx + color_camera.cx, y * color_camera.fy + color_camera.cy
    margin = 4  # the filter reaches over the edge
    visible = (u > margin) & (u < 95 - margin) & (v > margin) & (v < 79 - margin)
    visible &= inside[v.round().astype(int).clip(0, 79), u.round().astype(int).clip(0, 95)]
    visible &= (np.abs(80 * x) < 110) & (np.abs(80 * y) < 110)
    expected = np.stack([128 + 80 * x, 128 + 80 * y], axis=-1)
    # Colours are cut off to whole numbers, and remap counts in 1/32 pixels of at most 4 steps each.
    np.testing.assert_allclose(seen[visible][:, :2], expected[visible], atol=2.0)


def rays(camera: Pinhole) -> tuple[np.ndarray, np.ndarray]:
    v, u = np.mgrid[: camera.height, : camera.width]
    return (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy


@pytest.mark.parametrize(
    ("write", "file"),
    [
        (scannet, "pose/0.txt"),
        (scannet, "intrinsic/intrinsic_depth.txt"),
        (scannet, "intrinsic/intrinsic_color.txt"),
        (scannet, "depth/0.png"),
        (scannet, "color/0.jpg"),
        (seven_scenes, "frame-000000.depth.png"),
        (seven_scenes, "frame-000000.color.png"),
        (tum, "rgb.txt"),
        (tum, "depth.txt"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, write: Callable[[Path], Path], file: str) -> None:
    root = write(tmp_path)
    if file == "pose/0.txt":  # where it is gone, there is no such frame
        (root / file).write_text("1 0 0\n0 1 0\n")
        with pytest.raises(DatasetError, match=r"0\.txt has 3 numbers a line instead of 4"):
            RgbdFolder.open(root)
        return
    check_broken(root, file, 0.0, lambda path: RgbdFolder.open(path).frame(0))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_in_a_list_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    root = tum(tmp_path_factory.mktemp("tum"))
    (root / "groundtruth.txt").write_bytes(data)
    with pytest.raises(DatasetError):
        RgbdFolder.open(root)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"has none of groundtruth\.txt.* A folder of posed RGB-D images is"
    ):
        RgbdFolder.open(tmp_path)
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        RgbdFolder.open(tmp_path / "nowhere")
    root = seven_scenes(tmp_path)
    save(root / "frame-000001.depth.png", DEPTH[:-1])
    with pytest.raises(
        DatasetError, match=r"frame-000001\.depth\.png has 32 x 23 pixels, but the first 32 x 24"
    ):
        RgbdFolder.open(root).frame(1)
    save(root / "frame-000001.depth.png", DEPTH.astype(np.uint8))
    with pytest.raises(DatasetError, match="grey image of 16 bits"):
        RgbdFolder.open(root).frame(1)
