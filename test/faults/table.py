"""The table of faults: what each is called, how it is made, what diagnostics must call it."""

from __future__ import annotations

from dataclasses import dataclass

from spoil import Make, cut, depth_as_float, framed, nothing, on, relayed, sets, stamped

COLOR, DEPTH, INFO = "/camera/color/image", "/camera/depth/image", "/camera/color/camera_info"
PACKED_COLOR, PACKED_DEPTH = "/squeezed/color/image/compressed", "/squeezed/depth/image/compressedDepth"
POINTS = "/lidar/points"


@dataclass(frozen=True)
class Fault:
    """A row.

    Attributes:
        named: parts that one new line of /diagnostics, ~/status or a service's answer has together.
            Empty: the fault does no harm, and every sensor must go on being mapped while it lasts.
    """

    name: str
    make: Make
    named: tuple[str, ...] = ()


FAULTS = [
    Fault("no depth images", relayed(on(DEPTH, nothing)), ("/camera/depth/image is silent",)),
    Fault("colour of an unknown encoding", relayed(on(COLOR, sets(encoding="rgb7"))), ("camera: bad_encoding",)),
    Fault("half of a depth image's data", relayed(on(DEPTH, cut(0.5))), ("camera: truncated",)),
    Fault("depth rows that overlap", relayed(on(DEPTH, sets(step=10))), ("camera: bad_step",)),
    Fault(
        "depth in millimetres as 32FC1",
        relayed(on(DEPTH, depth_as_float(lambda metres: metres * 1000.0))),
        ("camera: depth_unit",),
    ),
    Fault("half of a PNG", relayed(on(PACKED_COLOR, cut(0.5))), ("squeezed: truncated",)),
    Fault("images of an unknown frame", relayed(on(COLOR, framed("moon"))), ("camera: tf_unknown_frame",)),
    Fault("images without a frame", relayed(on(COLOR, framed(""))), ("camera: no_frame_id",)),
    Fault("stamps of zero", relayed(on(POINTS, stamped(0))), ("lidar: no_stamp",)),
    Fault("a cloud of no points", relayed(on(POINTS, sets(width=0, row_step=0, data=b""))), ("lidar: empty_cloud",)),
    Fault("a LiDAR that is silent", relayed(on(POINTS, nothing)), ("/lidar/points is silent",)),
]
