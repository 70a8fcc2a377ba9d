"""Messages to frames and scans: one camera for colour and depth, whatever the driver sends."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="ROS 2 is not installed (make venv)")
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from ws3d_ros.config import ConfigError, InputConfig, from_mapping
from ws3d_ros.node.codecs import Shot, check_bytes, decode_shot, decode_sweep, stamp_ns
from ws3d_ros.sensors.errors import SensorError

POSE = np.array([[0.0, -1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 1.0, 3.0], [0.0, 0.0, 0.0, 1.0]])
MILLIMETRE = 0.001


def header(frame: str = "camera") -> Header:
    result = Header(frame_id=frame)
    result.stamp.sec, result.stamp.nanosec = 12, 345
    return result


def image(pixels: np.ndarray, encoding: str, frame: str = "camera") -> Image:
    height, width = pixels.shape[:2]
    return Image(
        header=header(frame),
        height=height,
        width=width,
        encoding=encoding,
        step=pixels.strides[0],
        data=pixels.tobytes(),
    )


def info(width: int, height: int, focal: float) -> CameraInfo:
    cx, cy = (width - 1) / 2, (height - 1) / 2
    return CameraInfo(width=width, height=height, k=[focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0])


def color(width: int, height: int) -> np.ndarray:
    """Red grows to the right and green downwards, as far as 8 bits go."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)[None]
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    return pixels


def shot(**parts: object) -> Shot:
    empty = {"sensor": "camera", "color": None, "depth": None, "color_info": None, "depth_info": None}
    return Shot(**{**empty, **parts})  # type: ignore[arg-type]


def test_registered_colour_and_depth_pass_as_they_are() -> None:
    rgb, depth = color(32, 24), np.arange(32 * 24, dtype=np.uint16).reshape(24, 32)
    frame = decode_shot(
        shot(color=image(rgb, "rgb8"), depth=image(depth, "16UC1"), color_info=info(32, 24, 30.0)),
        POSE,
        MILLIMETRE,
    )
    assert frame.color is not None
    assert frame.depth_m is not None
    np.testing.assert_array_equal(frame.color.numpy(), rgb)
    np.testing.assert_allclose(frame.depth_m.numpy(), depth * 0.001, atol=1e-6)
    assert (frame.camera.width, frame.camera.height, frame.camera.fx) == (32, 24, 30.0)
    assert frame.stamp_ns == 12_000_000_345
    assert frame.sensor == "camera"
    np.testing.assert_array_equal(frame.T_map_camera, POSE)


def test_larger_colour_is_brought_to_the_pixels_of_depth() -> None:
    frame = decode_shot(
        shot(
            color=image(color(64, 48), "rgb8"),
            depth=image(np.full((24, 32), 1000, np.uint16), "16UC1"),
            color_info=info(64, 48, 60.0),
        ),
        POSE,
        MILLIMETRE,
    )
    assert frame.color is not None
    assert frame.color.shape == (24, 32, 3)
    assert (frame.camera.width, frame.camera.fx) == (32, 30.0)
    # Means of 2 x 2 pixels, which differ by 4 or 5 levels from one to the next.
    assert np.abs(frame.color.numpy().astype(int) - color(32, 24)).max() <= 5


def test_depth_of_another_camera_is_registered() -> None:
    """A wall at 2 m; the depth camera is 10 cm to the left of the colour camera."""
    beside = np.eye(4)
    beside[0, 3] = -0.1
    depth = np.zeros((48, 64), np.float32)
    depth[24, 20] = 2.0
    frame = decode_shot(
        shot(
            color=image(color(64, 48), "rgb8"),
            depth=image(depth, "32FC1", "depth"),
            color_info=info(64, 48, 60.0),
            depth_info=info(64, 48, 60.0),
            T_color_depth=beside,
        ),
        POSE,
        MILLIMETRE,
    )
    assert frame.depth_m is not None
    # -0.1 m at 2 m with f = 60 is three pixels to the left.
    assert np.argwhere(frame.depth_m.numpy() > 0).tolist() == [[24, 17]]


def test_depth_alone_uses_its_own_camera() -> None:
    depth = image(np.ones((24, 32), np.float32), "32FC1", "depth")
    frame = decode_shot(shot(depth=depth, depth_info=info(32, 24, 20.0)), POSE, MILLIMETRE)
    assert frame.color is None
    assert frame.camera.fx == 20.0
    assert frame.depth_m is not None
    assert frame.depth_m.unique().tolist() == [1.0]


def test_colour_alone_has_no_depth() -> None:
    frame = decode_shot(
        shot(color=image(color(32, 24), "rgb8"), color_info=info(32, 24, 30.0)), POSE, MILLIMETRE
    )
    assert frame.depth_m is None


@pytest.mark.parametrize(
    ("depth", "scale"),
    [
        (image(np.full((24, 32), 1500.0, np.float32), "32FC1"), MILLIMETRE),
        (image(np.full((24, 32), 1500, np.uint16), "16UC1"), 1.0),
        (image(np.full((24, 32), 1500, np.uint16), "16UC1"), 1e-6),
    ],
)
def test_depth_in_another_unit_is_refused(depth: Image, scale: float) -> None:
    with pytest.raises(SensorError, match=r"inputs\.depth_scale") as caught:
        decode_shot(shot(depth=depth, depth_info=info(32, 24, 30.0)), POSE, scale)
    assert caught.value.reason == "depth_unit"


def test_depth_without_any_return_is_no_unit_error() -> None:
    depth = image(np.zeros((24, 32), np.uint16), "16UC1")
    frame = decode_shot(shot(depth=depth, depth_info=info(32, 24, 30.0)), POSE, MILLIMETRE)
    assert frame.depth_m is not None
    assert not frame.depth_m.any()


def test_without_calibration_it_says_so() -> None:
    with pytest.raises(SensorError, match="camera_info") as caught:
        decode_shot(shot(color=image(color(32, 24), "rgb8")), POSE, MILLIMETRE)
    assert caught.value.reason == "no_camera_info"


def test_what_is_broken_is_a_sensor_error() -> None:
    broken = CompressedImage(header=header(), format="jpeg", data=b"no jpeg at all")
    with pytest.raises(SensorError):
        decode_shot(shot(color=broken, color_info=info(32, 24, 30.0)), POSE, MILLIMETRE)


def test_a_sweep_keeps_points_and_intensity() -> None:
    rows = np.zeros(5, dtype=[("intensity", "<f4"), ("z", "<f4"), ("x", "<f4"), ("y", "<f4")])
    for i, name in enumerate(rows.dtype.names):
        rows[name] = np.arange(5) + 10 * i
    rows["x"][3] = np.nan
    message = PointCloud2(
        header=header("lidar"),
        height=1,
        width=5,
        fields=[
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(rows.dtype.names)
        ],
        point_step=16,
        row_step=80,
        data=rows.tobytes(),
    )
    scan = decode_sweep(message, POSE, "lidar")
    finite = np.array([0, 1, 2, 4], np.float32)
    np.testing.assert_array_equal(scan.points_m.numpy(), np.stack([finite + 20, finite + 30, finite + 10], 1))
    assert scan.intensity is not None
    np.testing.assert_array_equal(scan.intensity.numpy(), finite)
    assert scan.stamp_ns == stamp_ns(message.header) == 12_000_000_345


class Unreadable:
    """Five billion bytes, which nobody may look at."""

    def __len__(self) -> int:
        return 5_000_000_000


@pytest.mark.parametrize("kind", [Image, CompressedImage, PointCloud2])
def test_messages_larger_than_the_setting_are_refused(kind: type) -> None:
    """By the bytes that came, whatever the header says of them."""
    message = kind(data=bytes(1000))
    check_bytes(message, 0.001)
    message.data = bytes(1001)
    with pytest.raises(SensorError, match=r"0\.001001 MB is more than inputs\.max_message") as error:
        check_bytes(message, 0.001)
    assert error.value.reason == "too_large"


def test_the_data_of_what_is_too_large_is_never_read() -> None:
    message = SimpleNamespace(data=Unreadable())
    with pytest.raises(SensorError, match="5000 MB"):
        check_bytes(message, InputConfig().max_message_mb)  # type: ignore[arg-type]


def test_the_largest_message_must_have_some_size() -> None:
    assert from_mapping({"inputs.max_message_mb": 8}).inputs.max_message_mb == 8.0
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="max_message_mb"):
            from_mapping({"inputs.max_message_mb": wrong})
