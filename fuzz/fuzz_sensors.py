"""What sensors and tf send: each target reads a message's fields, then its data, from the bytes."""

from __future__ import annotations

import numpy as np
from fuzz_input import Values

from ws3d_ros.sensors.camera import CameraInfo, CameraModel
from ws3d_ros.sensors.cloud import decode_cloud
from ws3d_ros.sensors.depth import decode_compressed_depth, decode_depth
from ws3d_ros.sensors.image import decode_compressed_image, decode_image
from ws3d_ros.sensors.motion import Motion, undo
from ws3d_ros.sensors.transforms import TransformBuffer, TransformError

COLOR = (
    *(
        "rgb8",
        "bgr8",
        "rgba8",
        "bgra8",
        "mono8",
        "mono16",
        "rgb16",
        "bgra16",
        "8UC3",
        "yuv422",
        "yuyv",
        "nv12",
    ),
    *("nv21", "bayer_rggb8", "bayer_gbrg16", "32FC1", ""),
)
DEPTH = ("16UC1", "mono16", "32FC1", "rgb8", "")
COMPRESSED = ("jpeg", "rgb8; jpeg compressed bgr8", "bayer_rggb8; png compressed", "compressedDepth", "")
COMPRESSED_DEPTH = tuple(f"{kind}; compressedDepth {code}" for kind in DEPTH for code in ("png", "rvl"))
FIELDS = ("x", "y", "z", "intensity", "rgb", "ring", "", "t", "timestamp")
MODELS = ("plumb_bob", "rational_polynomial", "equidistant", "fisheye", "", "fov")
FRAMES = ("map", "odom", "base", "camera", "lidar", "")


def image(data: bytes) -> None:
    """``sensor_msgs/Image`` on a topic for colour."""
    values = Values(data)
    encoding, height, width = values.choice(COLOR), values.number("I"), values.number("I")
    pixels = decode_image(encoding, height, width, values.number("I"), values.flag(), values.rest())
    assert pixels.shape == (height, width, 3), pixels.shape
    assert pixels.dtype == np.uint8, pixels.dtype


def depth(data: bytes) -> None:
    """``sensor_msgs/Image`` on a topic for depth."""
    values = Values(data)
    encoding, height, width = values.choice(DEPTH), values.number("I"), values.number("I")
    depth_m = decode_depth(encoding, height, width, values.number("I"), values.flag(), values.rest())
    assert depth_m.shape == (height, width), depth_m.shape
    _check_depth(depth_m)


def compressed_image(data: bytes) -> None:
    """``sensor_msgs/CompressedImage`` on a topic for colour."""
    values = Values(data)
    pixels = decode_compressed_image(values.choice(COMPRESSED), values.rest())
    assert pixels.ndim == 3, pixels.shape
    assert pixels.shape[2] == 3, pixels.shape
    assert pixels.dtype == np.uint8, pixels.dtype


def compressed_depth(data: bytes) -> None:
    """``sensor_msgs/CompressedImage`` on a topic for depth: header, PNG, RVL."""
    values = Values(data)
    depth_m = decode_compressed_depth(values.choice(COMPRESSED_DEPTH), values.rest())
    assert depth_m.ndim == 2, depth_m.shape
    _check_depth(depth_m)


def cloud(data: bytes) -> None:
    """``sensor_msgs/PointCloud2``: up to eight fields, sizes, data."""
    values = Values(data)
    fields = [
        (values.choice(FIELDS), values.number("I"), values.number("B"), values.number("I"))
        for _ in range(values.number("B") % 9)
    ]
    sizes = [values.number("I") for _ in range(4)]
    stamp_ns = sizes[0] << 31
    points, intensity, after_s = decode_cloud(fields, *sizes, values.flag(), values.rest(), stamp_ns)
    assert points.shape == (len(points), 3), points.shape
    assert len(points) >= 1
    assert np.isfinite(points).all()
    assert intensity is None or intensity.shape == (len(points),)
    if after_s is not None:
        assert after_s.shape == (len(points),)
        assert (np.abs(after_s) <= 0.5).all()
        motion = Motion(0.1, np.array([0.1, -0.2, 0.3]), np.array([1.0, 0.0, -0.1]))
        assert undo(points, after_s, motion).shape == points.shape


def camera_info(data: bytes) -> None:
    """``sensor_msgs/CameraInfo`` for an image of at most 64 x 64 pixels, which it then rectifies."""
    values = Values(data)
    height, width, rectified = values.number("B") % 65, values.number("B") % 65, values.flag()
    model = values.choice(MODELS)
    info = CameraInfo(
        width=values.number("I"),
        height=values.number("I"),
        distortion_model=model,
        binning_x=values.number("I"),
        binning_y=values.number("I"),
        roi_x_offset=values.number("I"),
        roi_y_offset=values.number("I"),
        roi_width=values.number("I"),
        roi_height=values.number("I"),
        K=values.floats(9),
        R=values.floats(9),
        P=values.floats(12),
        D=values.floats(values.number("B") % 16),
    )
    camera = CameraModel.from_info(info, width, height, rectified)
    pinhole = camera.pinhole
    assert (pinhole.width, pinhole.height) == (width, height), pinhole
    assert np.isfinite(pinhole.matrix()).all(), pinhole
    assert pinhole.fx > 0, pinhole
    assert pinhole.fy > 0, pinhole
    assert camera.rectify_color(np.full((height, width, 3), 9, np.uint8)).shape == (height, width, 3)
    _check_depth(camera.rectify_depth(np.ones((height, width), np.float32)))


def transforms(data: bytes) -> None:
    """``tf2_msgs/TFMessage``, one transform after another; then every pair of frames is looked up."""
    values = Values(data)
    buffer = TransformBuffer()
    refused: TransformError | None = None
    newest = 0
    while values.more():
        parent, child, stamp_ns = values.choice(FRAMES), values.choice(FRAMES), values.number("q")
        translation, quaternion, static = values.floats(3), values.floats(4), values.flag()
        try:
            buffer.set(parent, child, stamp_ns, translation, quaternion, static)
            newest = stamp_ns
        except TransformError as error:
            refused = error
    for target in FRAMES:
        for source in FRAMES:
            for stamp_ns in (0, newest):
                try:
                    pose = buffer.lookup(target, source, stamp_ns)
                except TransformError as error:
                    refused = error
                else:
                    assert pose.shape == (4, 4), pose.shape
                    assert np.isfinite(pose).all(), pose
    if refused is not None:
        raise refused


def _check_depth(depth_m: np.ndarray) -> None:
    assert depth_m.dtype == np.float32, depth_m.dtype
    assert np.isfinite(depth_m).all()
    assert (depth_m >= 0).all()
