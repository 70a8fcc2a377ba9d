"""The table of faults, first part: what goes wrong with messages."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from events import clock_shifted, drivers, second_driver
from relay import LIDAR_FRAME
from spoil import (
    Make,
    Spoil,
    crowded,
    cut,
    damaged_on_the_wire,
    depth_as_float,
    every,
    fields,
    flipped,
    framed,
    hung,
    in_bursts,
    late,
    lost,
    many_frames,
    moved,
    noise,
    nothing,
    on,
    placed,
    points,
    relayed,
    repeated,
    sets,
    shifted,
    sometimes,
    stamped,
    swollen,
    turned,
)

COLOR, DEPTH, INFO = "/camera/color/image", "/camera/depth/image", "/camera/color/camera_info"
PACKED_COLOR, PACKED_DEPTH = "/squeezed/color/image/compressed", "/squeezed/depth/image/compressedDepth"
POINTS, TF = "/lidar/points", "/tf"
CAMERA_FRAME = "camera_optical"
K = [100.0, 0.0, 79.5, 0.0, 100.0, 59.5, 0.0, 0.0, 1.0]
NAN, INFINITE = float("nan"), float("inf")


@dataclass(frozen=True)
class Fault:
    """A row.

    Attributes:
        named: parts that one new line of /diagnostics, ~/status or a service's answer has together.
            Empty: the fault does no harm, and every sensor must go on being mapped while it lasts.
        again: much like another row, and left to ``make soak``.
        mapped: it is named, and yet every sensor must go on being mapped while it lasts.
    """

    name: str
    make: Make
    named: tuple[str, ...] = ()
    again: bool = False
    mapped: bool = False


def k(at: int, value: float) -> list[float]:
    """The camera's matrix with one number changed."""
    return [value if i == at else number for i, number in enumerate(K)]


def png_of(width: int, height: int) -> Spoil:
    """Another size in a PNG's header."""

    def spoil(message):  # type: ignore[no-untyped-def]
        data = bytearray(message.data)
        at = data.index(b"IHDR") + 4
        data[at : at + 8] = struct.pack(">II", width, height)
        message.data = bytes(data)
        return message

    return spoil


def as_doubles_in_rows(message):  # type: ignore[no-untyped-def]
    """Big-endian float64, organised, with padded rows and points: odd, and allowed."""
    xyz = np.frombuffer(message.data, np.float32).reshape(32, -1, 3)
    data = np.zeros((*xyz.shape[:2], 40), np.uint8)
    data[..., 8:32] = np.ascontiguousarray(xyz, ">f8").view(np.uint8)
    padded = np.zeros((32, data.shape[1] * 40 + 16), np.uint8)
    padded[:, :-16] = data.reshape(32, -1)
    message.height, message.width = xyz.shape[:2]
    message.point_step, message.row_step = 40, padded.shape[1]
    message.is_bigendian, message.data = True, padded.tobytes()
    for field in message.fields:
        field.offset, field.datatype = 8 + 2 * field.offset, 8
    return message


def rename_x(field) -> None:  # type: ignore[no-untyped-def]
    field.name = {"x": "u"}.get(field.name, field.name)


def far_offset(field) -> None:  # type: ignore[no-untyped-def]
    field.offset += 4_000_000_000


def odd_type(field) -> None:  # type: ignore[no-untyped-def]
    field.datatype = 99


def three_values(field) -> None:  # type: ignore[no-untyped-def]
    field.count = 3


TRANSPORT = [
    Fault("half of all messages are lost", relayed(lost(0.5)), ("camera: no_depth_match",)),
    Fault("messages overtake each other by up to 0.3 s", relayed(late(0.0, 0.3)), again=True),
    Fault("messages overtake each other by up to 2 s", relayed(late(0.0, 2.0)), (": stray_stamp",)),
    Fault("everything comes 1.5 s late", relayed(late(1.5, 1.5)), ("NOTE old", "after its stamps")),
    Fault("everything comes in bursts every 3 s", relayed(in_bursts(3.0)), ("paused for",)),
    Fault("every colour image comes twice", relayed(repeated(COLOR, 2)), ("camera: duplicate",)),
    Fault("clouds come twenty times as often", relayed(crowded(POINTS, 20)), ("lidar: overload",)),
    Fault("nothing comes at all", relayed(every(nothing)), ("/camera/depth/image is silent",)),
    Fault("wrong bits in raw images", relayed(flipped(COLOR, 500), flipped(DEPTH, 50))),
    Fault("wrong bits in compressed colour", relayed(flipped(PACKED_COLOR, 8)), ("squeezed: corrupt",)),
    Fault("wrong bits in serialised clouds", relayed(damaged_on_the_wire(POINTS, 3)), ("lidar: bad_",)),
    Fault("wrong bits in serialised transforms", relayed(damaged_on_the_wire(TF, 3)), (": tf_",)),
    Fault("drivers start again best-effort", drivers(weak=True), ("publishers robot (best effort",)),
]
IMAGES = [
    Fault("no depth images", relayed(on(DEPTH, nothing)), ("/camera/depth/image is silent",), again=True),
    Fault(
        "colour of an unknown encoding", relayed(on(COLOR, sets(encoding="rgb7"))), ("camera: bad_encoding",)
    ),
    Fault(
        "depth on the topic of colour",
        relayed(on(COLOR, sets(encoding="32FC1"))),
        ("camera: bad_encoding",),
        again=True,
    ),
    Fault(
        "colour on the topic of depth",
        relayed(on(DEPTH, sets(encoding="rgb8"))),
        ("camera: bad_encoding",),
        again=True,
    ),
    Fault("half of a depth image's data", relayed(on(DEPTH, cut(0.5))), ("camera: truncated",)),
    Fault("images without data", relayed(on(COLOR, cut(0.0))), ("camera: truncated",), again=True),
    Fault(
        "images of 3 MB, and 2 are allowed", relayed(on(COLOR, swollen(3_000_000))), ("camera: too_large",)
    ),
    Fault("depth rows that overlap", relayed(on(DEPTH, sets(step=10))), ("camera: bad_step",)),
    Fault(
        "images wider than their data", relayed(on(COLOR, sets(width=320))), ("camera: bad_step",), again=True
    ),
    Fault("images of four billion rows", relayed(on(COLOR, sets(height=2**32 - 1))), ("camera: bad_size",)),
    Fault(
        "images of no pixels", relayed(on(DEPTH, sets(width=0, height=0))), ("camera: bad_size",), again=True
    ),
    Fault(
        "depth in millimetres as 32FC1",
        relayed(on(DEPTH, depth_as_float(lambda metres: metres * 1000.0))),
        ("camera: depth_unit",),
    ),
    Fault("depth that is noise", relayed(noise(DEPTH)), ("the depth image says that most is",)),
    Fault(
        "depth that is NaN",
        relayed(on(DEPTH, depth_as_float(lambda metres: metres * NAN))),
        ("camera: no depth between",),
    ),
    Fault("half of a PNG", relayed(on(PACKED_COLOR, cut(0.5))), ("squeezed: truncated",)),
    Fault(
        "compressed images without data",
        relayed(on(PACKED_COLOR, cut(0.0))),
        ("squeezed: bad_encoding",),
        again=True,
    ),
    Fault(
        "a PNG that says 16384 x 16384",
        relayed(on(PACKED_COLOR, png_of(16384, 16384))),
        ("squeezed: bad_size",),
    ),
    Fault("compressed depth that is noise", relayed(noise(PACKED_DEPTH)), ("squeezed: bad_encoding",)),
    Fault(
        "a compressed format that is none",
        relayed(on(PACKED_DEPTH, sets(format="h264"))),
        ("squeezed: bad_encoding",),
        again=True,
    ),
]
STAMPS = [
    Fault("stamps of zero", relayed(on(POINTS, stamped(0))), ("lidar: no_stamp",)),
    Fault("stamps before 1970", relayed(on(POINTS, stamped(-5))), ("lidar: stray_stamp",), again=True),
    Fault("four billion nanoseconds", relayed(on(POINTS, stamped(5, 2**32 - 1))), ("lidar: stray_stamp",)),
    Fault(
        "a stamp that stands still",
        relayed(on(COLOR, stamped(1_000_000))),
        ("camera: duplicate",),
        again=True,
    ),
    Fault(
        "every fourth cloud is from the future",
        relayed(sometimes(0.25, on(POINTS, shifted(3600.0)))),
        ("lidar: stray_stamp",),
    ),
    Fault("depth half a period after colour", relayed(on(DEPTH, shifted(0.1))), ("camera: no_depth_match",)),
    Fault(
        "a LiDAR whose clock is 0.3 s behind", relayed(on(POINTS, shifted(-0.3))), ("older than 'camera'",)
    ),
    Fault("all clocks an hour ahead", clock_shifted(3600.0), ("time jumped ahead by",)),
    Fault("time begins again", clock_shifted(-100.0), ("time jumped back by",)),
]
FRAMES = [
    Fault("images of an unknown frame", relayed(on(COLOR, framed("moon"))), ("camera: tf_unknown_frame",)),
    Fault("images without a frame", relayed(on(COLOR, framed(""))), ("camera: no_frame_id",)),
    Fault("frames with a slash, as in ROS 1", relayed(on(POINTS, framed("/" + LIDAR_FRAME))), again=True),
    Fault("no tf", relayed(on(TF, nothing)), ("camera: tf_too_new",)),
    Fault(
        "tf half a second late",
        relayed(lambda random: lambda topic, message: [(0.5 * (topic == TF), message)]),
        ("transforms come 0.",),
    ),
    Fault("tf without stamps", relayed(on(TF, stamped(0))), ("on /tf has no stamp",)),
    Fault(
        "a quaternion of zeros",
        relayed(placed(CAMERA_FRAME, turned(0.0, 0.0, 0.0, 0.0))),
        ("camera_optical", "quaternion"),
    ),
    Fault(
        "a quaternion of length 2",
        relayed(placed(CAMERA_FRAME, turned(0.0, 0.0, 0.0, 2.0))),
        ("camera_optical", "quaternion"),
        again=True,
    ),
    Fault("a NaN in tf", relayed(placed(CAMERA_FRAME, moved(NAN))), ("camera_optical", "finite")),
    Fault(
        "an infinite place in tf",
        relayed(placed(CAMERA_FRAME, moved(INFINITE))),
        ("camera_optical", "finite"),
        again=True,
    ),
    Fault(
        "a place 1e9 m away in tf",
        relayed(placed(LIDAR_FRAME, moved(1e9))),
        ("lidar", "voxels from the origin"),
    ),
    Fault(
        "tf that jumps by 20 m",
        relayed(sometimes(0.5, placed(CAMERA_FRAME, moved(20.0)))),
        ("camera: by tf it jumped 20.0 m",),
    ),
    Fault(
        "tf that hangs from itself",
        relayed(placed(CAMERA_FRAME, hung(CAMERA_FRAME))),
        ("camera_optical", "cannot be its own parent"),
    ),
    Fault(
        "tf that hangs from an unknown frame",
        relayed(placed(CAMERA_FRAME, hung("moon"))),
        ("camera: tf_",),
        again=True,
    ),
    Fault("tf of a thousand other frames", relayed(many_frames(300))),
]
CALIBRATIONS = [
    Fault(
        "a calibration of zeros",
        relayed(on(INFO, sets(k=[0.0] * 9, p=[0.0] * 12))),
        ("camera: bad_camera_info",),
    ),
    Fault(
        "a calibration with NaN",
        relayed(on(INFO, sets(k=k(0, NAN), p=[NAN] * 12))),
        ("camera: bad_camera_info",),
    ),
    Fault(
        "a negative focal length",
        relayed(on(INFO, sets(k=k(0, -100.0)))),
        ("camera: bad_camera_info",),
        again=True,
    ),
    Fault(
        "a lens model that is none",
        relayed(on(INFO, sets(distortion_model="fisheye9", d=[0.1] * 5))),
        ("camera: bad_camera_info",),
    ),
    Fault(
        "a lens with too few numbers",
        relayed(on(INFO, sets(d=[0.1, 0.1]))),
        ("camera: bad_camera_info",),
        again=True,
    ),
    Fault(
        "the calibration of another mode",
        relayed(on(INFO, sets(width=640, height=480))),
        ("scaled_camera_info",),
    ),
    Fault(
        "a calibration of no pixels",
        relayed(on(INFO, sets(width=0, height=0))),
        ("camera: bad_camera_info",),
        again=True,
    ),
]
CLOUDS = [
    Fault("a LiDAR that is silent", relayed(on(POINTS, nothing)), ("/lidar/points is silent",)),
    Fault(
        "a cloud of no points",
        relayed(on(POINTS, sets(width=0, row_step=0, data=b""))),
        ("lidar: empty_cloud",),
    ),
    Fault("a cloud without x", relayed(on(POINTS, fields(rename_x))), ("lidar: bad_cloud_fields",)),
    Fault(
        "a cloud without fields",
        relayed(on(POINTS, sets(fields=[]))),
        ("lidar: bad_cloud_fields",),
        again=True,
    ),
    Fault(
        "a cloud with fields far behind its points",
        relayed(on(POINTS, fields(far_offset))),
        ("lidar: bad_cloud_fields",),
    ),
    Fault(
        "a cloud of an unknown type of number",
        relayed(on(POINTS, fields(odd_type))),
        ("lidar: bad_cloud_fields",),
        again=True,
    ),
    Fault(
        "a cloud with three values in x",
        relayed(on(POINTS, fields(three_values))),
        ("lidar: bad_cloud_fields",),
        again=True,
    ),
    Fault("a point_step of zero", relayed(on(POINTS, sets(point_step=0))), ("lidar: bad_cloud_fields",)),
    Fault(
        "a row_step that is too short",
        relayed(on(POINTS, sets(row_step=100))),
        ("lidar: bad_step",),
        again=True,
    ),
    Fault(
        "a cloud of four billion points and little data",
        relayed(on(POINTS, sets(width=2**32 - 1, row_step=2**32 - 1, point_step=12))),
        ("lidar: bad_step",),
    ),
    Fault(
        "clouds of 3 MB, and 2 are allowed",
        relayed(on(POINTS, swollen(3_000_000))),
        ("lidar: too_large",),
        again=True,
    ),
    Fault("half of a cloud's data", relayed(on(POINTS, cut(0.5))), ("lidar: truncated",)),
    Fault("a cloud of NaN", relayed(on(POINTS, points(lambda xyz: xyz * NAN))), ("lidar: empty_cloud",)),
    Fault(
        "a cloud of infinite points",
        relayed(on(POINTS, points(lambda xyz: xyz * INFINITE))),
        ("lidar: empty_cloud",),
        again=True,
    ),
    Fault(
        "a cloud of points at the sensor",
        relayed(on(POINTS, points(lambda xyz: xyz * 0.0))),
        ("lidar: no points between",),
    ),
    Fault(
        "a cloud in millimetres",
        relayed(on(POINTS, points(lambda xyz: xyz * 1000.0))),
        ("lidar: cloud_unit",),
    ),
    Fault(
        "a cloud of points 1e30 m away",
        relayed(on(POINTS, points(lambda xyz: xyz * 1e30))),
        ("lidar: cloud_unit",),
        again=True,
    ),
    Fault(
        "a cloud that says big-endian and is not",
        relayed(on(POINTS, sets(is_bigendian=True))),
        ("lidar: cloud_unit",),
    ),
    Fault("a cloud that is noise", relayed(noise(POINTS)), ("lidar: cloud_unit",), again=True),
    Fault("a big-endian cloud of padded rows of float64", relayed(on(POINTS, as_doubles_in_rows))),
    Fault("a second driver on the LiDAR's topic", second_driver, ("publishers", "whose messages mix")),
]
MESSAGES = [*TRANSPORT, *IMAGES, *STAMPS, *FRAMES, *CALIBRATIONS, *CLOUDS]
