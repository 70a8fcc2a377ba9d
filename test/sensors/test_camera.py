"""Calibrations are checked, fitted to the image and undone; depth becomes points."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ws3d_ros.sensors.camera import CameraInfo, CameraModel, back_project
from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import Pinhole

WIDTH, HEIGHT = 320, 240
K = (260.0, 0.0, 163.0, 0.0, 265.0, 117.0, 0.0, 0.0, 1.0)
STRAIGHT = CameraInfo(WIDTH, HEIGHT, "plumb_bob", (0.0,) * 5, K)
LENSES = {
    "plumb_bob": (-0.28, 0.07, 0.0012, -0.0008, 0.01),
    "rational_polynomial": (0.4, -0.3, 0.001, 0.0005, 0.05, 0.7, -0.25, 0.02),
    "equidistant": (-0.02, 0.005, -0.003, 0.0004),
}


def info_of(model: str, **changes: object) -> CameraInfo:
    return replace(STRAIGHT, distortion_model=model, D=LENSES[model], **changes)


def undistorted(info: CameraInfo, pixels: np.ndarray) -> np.ndarray:
    """OpenCV's own inverse: raw pixels (N, 2) to pixels of the camera K without distortion."""
    camera, D = np.reshape(info.K, (3, 3)), np.array(info.D)
    function = cv2.fisheye.undistortPoints if info.distortion_model == "equidistant" else cv2.undistortPoints
    return function(pixels.reshape(-1, 1, 2).astype(np.float64), camera, D, None, None, camera).reshape(-1, 2)


@pytest.mark.parametrize("model", LENSES)
def test_rectified_dots_are_where_opencv_undistorts_them_to(model: str) -> None:
    info = info_of(model)
    camera = CameraModel.from_info(info, WIDTH, HEIGHT)
    assert camera.rectifies
    dots = np.array([(x, y) for x in (60, 110, 163, 220, 260) for y in (50, 117, 190)])
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for x, y in dots:
        cv2.circle(image, (int(x), int(y)), 3, (255, 255, 255), -1)
    rectified = camera.rectify_color(image)[..., 0].astype(float)
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    for x, y in undistorted(info, dots):
        near = rectified * ((u - x) ** 2 + (v - y) ** 2 < 64)
        centre = (u * near).sum() / near.sum(), (v * near).sum() / near.sum()
        # The lens stretches a dot unevenly and pixels are whole: a quarter of a pixel.
        np.testing.assert_allclose(centre, (x, y), atol=0.25)


@pytest.mark.parametrize("model", LENSES)
def test_a_distorted_picture_of_depth_gives_the_plane_back(model: str) -> None:
    """A tilted plane seen through the lens, rectified, back-projected: its points lie on the plane."""
    info = info_of(model)
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    ideal = undistorted(info, np.stack([u.ravel(), v.ravel()], axis=-1))
    rays = np.column_stack([(ideal[:, 0] - K[2]) / K[0], (ideal[:, 1] - K[5]) / K[4], np.ones(len(ideal))])
    normal = np.array([0.3, -0.2, 1.0])
    raw = (2.0 / (rays @ normal)).reshape(HEIGHT, WIDTH).astype(np.float32)
    camera = CameraModel.from_info(info, WIDTH, HEIGHT)
    depth_m = torch.from_numpy(camera.rectify_depth(raw))
    points = back_project(depth_m, camera.pinhole)[20:-20, 20:-20].reshape(-1, 3).double().numpy()
    seen = points[points[:, 2] > 0]
    assert len(seen) > 0.8 * (HEIGHT - 40) * (WIDTH - 40)
    # Half a pixel of rounding to the nearest raw pixel, on a plane that slants by 0.3 at up to 3.5 m.
    assert np.abs(seen @ normal - 2.0).max() < 0.5 * (0.3 + 0.2) * 3.5 / 260 * 2
    # Rounding is fair: a half-pixel bias of the map would shift the mean by 1e-3.
    assert abs((seen @ normal - 2.0).mean()) < 3e-4


def test_depth_is_never_mixed_over_an_edge() -> None:
    raw = np.full((HEIGHT, WIDTH), 1.0, np.float32)
    raw[:, WIDTH // 2 :] = 4.0
    raw[::7] = 0.0
    found = CameraModel.from_info(info_of("plumb_bob"), WIDTH, HEIGHT).rectify_depth(raw)
    assert set(np.unique(found)) == {0.0, 1.0, 4.0}


@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial", "", "none", "anything"])
def test_without_distortion_nothing_is_done(model: str) -> None:
    info = replace(STRAIGHT, distortion_model=model, D=(0.0,) * 8 if model.startswith("r") else (0.0,) * 5)
    camera = CameraModel.from_info(info, WIDTH, HEIGHT)
    color = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    depth_m = np.zeros((HEIGHT, WIDTH), np.float32)
    assert not camera.rectifies
    assert camera.rectify_color(color) is color
    assert camera.rectify_depth(depth_m) is depth_m
    assert camera.pinhole == Pinhole(WIDTH, HEIGHT, 260.0, 265.0, 163.0, 117.0)


def test_a_fisheye_without_coefficients_is_still_a_fisheye() -> None:
    assert CameraModel.from_info(
        replace(STRAIGHT, distortion_model="equidistant", D=(0.0,) * 4), WIDTH, HEIGHT
    ).rectifies


def test_p_is_the_rectified_camera_where_it_is_filled_in() -> None:
    P = (200.0, 0.0, 150.0, 0.0, 0.0, 210.0, 110.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    ideal = Pinhole(WIDTH, HEIGHT, 200.0, 210.0, 150.0, 110.0)
    assert CameraModel.from_info(info_of("plumb_bob", P=P), WIDTH, HEIGHT).pinhole == ideal
    assert CameraModel.from_info(info_of("plumb_bob", P=(0.0,) * 12), WIDTH, HEIGHT).pinhole.fx == 260.0
    before = CameraModel.from_info(info_of("plumb_bob", P=P), WIDTH, HEIGHT, rectified=True)
    assert before.pinhole == ideal
    assert not before.rectifies


def test_a_turned_rectification_keeps_points_in_space() -> None:
    """R of a stereo pair: rectified points are R times the raw ones, depth along the new axis."""
    R = Rotation.from_rotvec([0.02, -0.05, 0.01]).as_matrix()
    info = replace(STRAIGHT, R=tuple(R.ravel()), P=())
    camera = CameraModel.from_info(info, WIDTH, HEIGHT)
    pinhole = Pinhole(WIDTH, HEIGHT, K[0], K[4], K[2], K[5])
    normal = np.array([0.3, -0.2, 1.0])
    rays = back_project(torch.ones(HEIGHT, WIDTH, dtype=torch.float64), pinhole).numpy()
    raw = (2.0 / (rays @ normal)).astype(np.float32)
    depth_m = torch.from_numpy(camera.rectify_depth(raw))
    points = back_project(depth_m, camera.pinhole)[40:-40, 40:-40].reshape(-1, 3).double().numpy()
    # Without the turn of depth the error would be a centimetre; rounding as above.
    assert np.abs(points @ (R @ normal) - 2.0).mean() < 2e-3


def test_equal_calibrations_share_their_maps() -> None:
    first = CameraModel.from_info(info_of("plumb_bob"), WIDTH, HEIGHT)
    assert CameraModel.from_info(info_of("plumb_bob"), WIDTH, HEIGHT) is first
    assert CameraModel.from_info(info_of("plumb_bob"), WIDTH // 2, HEIGHT // 2) is not first


CUT = replace(STRAIGHT, roi_x_offset=40, roi_y_offset=30, roi_width=240, roi_height=180)


@pytest.mark.parametrize(
    ("info", "size"),
    [
        (STRAIGHT, (160, 120)),
        (STRAIGHT, (640, 480)),
        (replace(STRAIGHT, binning_x=2, binning_y=2), (160, 120)),
        (CUT, (240, 180)),
        (replace(CUT, binning_x=2, binning_y=2), (120, 90)),
    ],
)
def test_the_calibration_follows_the_image(info: CameraInfo, size: tuple[int, int]) -> None:
    """A ray through a pixel of the full sensor goes through the same place of the image."""
    pinhole = CameraModel.from_info(info, *size).pinhole
    assert (pinhole.width, pinhole.height) == size
    scale = size[0] / (info.roi_width or info.width)
    for u, v in ((50.0, 60.0), (200.0, 150.0)):
        ray = ((u - K[2]) / K[0], (v - K[5]) / K[4])
        here = ray[0] * pinhole.fx + pinhole.cx, ray[1] * pinhole.fy + pinhole.cy
        # Pixel centres are whole numbers: a pixel reaches from u - 0.5 to u + 0.5.
        expected = (u - info.roi_x_offset + 0.5) * scale - 0.5, (v - info.roi_y_offset + 0.5) * scale - 0.5
        np.testing.assert_allclose(here, expected, atol=1e-9)


@pytest.mark.parametrize("model", LENSES)
def test_a_half_sized_image_is_rectified_alike(model: str) -> None:
    smooth = (np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) / 2.5).astype(np.uint8)
    image = np.repeat(smooth[..., None], 3, axis=2)
    full = CameraModel.from_info(info_of(model), WIDTH, HEIGHT).rectify_color(image)
    small = cv2.resize(image, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    half = CameraModel.from_info(info_of(model), WIDTH // 2, HEIGHT // 2).rectify_color(small)
    expected = cv2.resize(full, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    # Away from the border, where one of the two may see black; two grey values of rounding.
    inner = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(half[inner].astype(int), expected[inner].astype(int), atol=2)


NAN = float("nan")


@pytest.mark.parametrize(
    ("word", "info"),
    [
        ("no calibration", replace(STRAIGHT, K=(0.0,) * 9)),
        ("no calibration", CameraInfo(0, 0, "", (), (0.0,) * 9, (0.0,) * 9, (0.0,) * 12)),
        ("8 values", replace(STRAIGHT, K=K[:8])),
        ("not finite", replace(STRAIGHT, K=(NAN, *K[1:]))),
        ("not finite", replace(STRAIGHT, D=(0.0, 0.0, 0.0, NAN, 0.0))),
        ("3 values", replace(STRAIGHT, D=(0.1, 0.1, 0.1))),
        ("'double_sphere'", replace(STRAIGHT, distortion_model="double_sphere", D=(0.1, 0.2))),
        ("0 x 240", replace(STRAIGHT, width=0)),
        ("focal", replace(STRAIGHT, K=(0.8, 0.0, 0.5, 0.0, 0.8, 0.5, 0.0, 0.0, 1.0))),
        ("focal", replace(STRAIGHT, K=(-260.0, *K[1:]))),
        ("in P", replace(STRAIGHT, P=(0.0, 1.0, *(0.0,) * 10))),
        ("not a rotation", replace(STRAIGHT, R=(2.0, *(0.0,) * 8))),
        ("not a rotation", replace(STRAIGHT, R=(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))),
        ("shape", replace(STRAIGHT, height=320, K=(*K[:4], 300.0, 150.0, *K[6:]))),
        ("region", replace(STRAIGHT, roi_x_offset=300, roi_width=240, roi_height=180)),
        ("binning", replace(STRAIGHT, binning_x=1000)),
    ],
)
def test_impossible_calibrations(word: str, info: CameraInfo) -> None:
    with pytest.raises(SensorError, match=word) as caught:
        CameraModel.from_info(info, WIDTH, HEIGHT)
    assert caught.value.reason == "bad_camera_info"
    assert "camera_info" in str(caught.value)


numbers = st.one_of(st.floats(width=32), st.sampled_from([0.0, 1.0, 100.0, 300.0]))
counts = st.one_of(st.integers(0, 8), st.integers(0, 2**32 - 1))


@given(
    st.builds(
        CameraInfo,
        width=st.integers(0, 64),
        height=st.integers(0, 64),
        distortion_model=st.sampled_from([*LENSES, "fisheye", "", "other"]),
        D=st.lists(numbers, max_size=14).map(tuple),
        K=st.one_of(
            st.lists(numbers, max_size=9).map(tuple),
            st.just((30.0, 0.0, 30.0, 0.0, 30.0, 30.0, 0.0, 0.0, 1.0)),
        ),
        R=st.sampled_from([(), (0.0,) * 9, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), (NAN,) * 9]),
        P=st.one_of(st.just(()), st.lists(numbers, min_size=12, max_size=12).map(tuple)),
        binning_x=counts,
        binning_y=counts,
        roi_x_offset=counts,
        roi_width=counts,
        roi_height=counts,
    )
)
def test_any_values_make_a_camera_or_an_error(info: CameraInfo) -> None:
    try:
        camera = CameraModel.from_info(info, 64, 64)
    except SensorError:
        return
    assert camera.rectify_color(np.zeros((64, 64, 3), np.uint8)).shape == (64, 64, 3)
    assert camera.rectify_depth(np.zeros((64, 64), np.float32)).shape == (64, 64)


@pytest.mark.parametrize("stride", [1, 2, 3, 7])
def test_back_projected_points_project_to_their_pixels(stride: int) -> None:
    pinhole = Pinhole(31, 22, 25.0, 26.0, 14.2, 11.7)
    depth_m = torch.rand(22, 31, generator=torch.Generator().manual_seed(0)) + 0.5
    depth_m[5:9] = 0
    points = back_project(depth_m, pinhole, stride)
    expected = np.zeros((len(range(0, 22, stride)), len(range(0, 31, stride)), 3))
    for i, v in enumerate(range(0, 22, stride)):
        for j, u in enumerate(range(0, 31, stride)):
            z = float(depth_m[v, u])
            expected[i, j] = ((u - 14.2) / 25.0 * z, (v - 11.7) / 26.0 * z, z)
    assert points.dtype == torch.float32
    np.testing.assert_allclose(points.numpy(), expected, atol=1e-6)


def test_sizes_that_do_not_fit_are_a_mistake_of_the_caller() -> None:
    camera = CameraModel.from_info(STRAIGHT, WIDTH, HEIGHT)
    with pytest.raises(ValueError, match="320 x 240"):
        camera.rectify_depth(np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match="camera"):
        back_project(torch.zeros(4, 4), camera.pinhole)
