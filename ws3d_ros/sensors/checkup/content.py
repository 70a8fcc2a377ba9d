"""What one message holds: units, empty images, calibrations that fit nothing, clouds of nothing."""

from __future__ import annotations

import numpy as np

from ws3d_ros.sensors.camera import CameraInfo, CameraModel
from ws3d_ros.sensors.checkup.findings import Finding, error, note, warning
from ws3d_ros.sensors.cloud import Returns
from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import FloatArray
from ws3d_ros.sensors.raster import Array

FARTHEST_M, NEAREST_M = 100.0, 0.005
"""No depth camera measures beyond these: such a median means another unit."""
USUAL_M = (0.1, 30.0)
"""Medians of depth cameras in use; beyond, the unit is doubtful."""
UNITS_M = (1.0, 0.001, 0.0001, 0.00025, 0.0002)
"""Metres for one unit of 16-bit depth, as drivers have them, the likely ones first."""
EMPTY_SHARE = 0.95
DARK = 3.0
FARTHEST_POINT_M = 1000.0
"""A LiDAR whose median range is beyond this does not send metres."""

Judgement = tuple[dict[str, str], list[Finding]]


def judge_depth(depth_m: FloatArray, encoding: str, depth_scale: float) -> Judgement:
    """One decoded depth image, (H, W) metres, 0 where invalid.

    Args:
        encoding: of the message, or the format of a compressed one.
        depth_scale: ``inputs.depth_scale``, with which it was decoded.
    """
    valid = depth_m[depth_m > 0]
    share = 1.0 - len(valid) / max(depth_m.size, 1)
    facts = {"encoding": encoding, "size": _size(depth_m), "no depth": f"{share:.0%}"}
    findings = []
    if share > EMPTY_SHARE:
        findings.append(
            warning(
                "empty_depth",
                f"{share:.0%} of the depth image is zero or NaN: look whether the sensor is covered, too "
                "near to everything, or its projector is off",
            )
        )
    if len(valid) == 0:
        return facts, findings
    median_m = float(np.median(valid))
    facts["median"] = f"{median_m:.3g} m"
    wrong = depth_unit_problem(median_m, encoding, depth_scale)
    if wrong:
        findings.append(error("depth_unit", wrong))
    elif not USUAL_M[0] <= median_m <= USUAL_M[1]:
        findings.append(
            warning(
                "depth_unit",
                f"the depth image says that most is {median_m:.3g} m away: "
                f"{_unit_cure(median_m, encoding, depth_scale)}",
            )
        )
    return facts, findings


def depth_unit_problem(median_m: float, encoding: str, depth_scale: float) -> str:
    """Why a depth image cannot be in metres, and what to do; nothing if it can.

    Args:
        median_m: of its valid pixels, as decoded.
        encoding: ``32FC1…`` or a 16-bit one.
        depth_scale: with which 16-bit depth was decoded.
    """
    if NEAREST_M <= median_m <= FARTHEST_M:
        return ""
    cure = _unit_cure(median_m, encoding, depth_scale)
    return f"the depth image says that most is {median_m:g} m away: {cure}"


def judge_color(color: Array, encoding: str) -> Judgement:
    """One decoded colour image, (H, W, 3) uint8."""
    facts = {"encoding": encoding, "size": _size(color)}
    if float(color[::8, ::8].mean()) < DARK:
        return facts, [warning("dark", "the colour image is black: is the lens covered, or the light off?")]
    return facts, []


def judge_calibration(info: CameraInfo, width: int, height: int, rectified: bool) -> Judgement:
    """A camera_info against the images that it belongs to (``width`` x ``height`` pixels)."""
    facts = {"for": f"{info.width} x {info.height}", "model": info.distortion_model or "none"}
    if len(info.K) == 9:
        facts["K"] = "fx {:.4g} fy {:.4g} cx {:.4g} cy {:.4g}".format(*(info.K[i] for i in (0, 4, 2, 5)))
    try:
        camera = CameraModel.from_info(info, width, height, rectified).pinhole
    except SensorError as reason:
        return facts, [error(reason.reason, str(reason))]
    findings = []
    if not (0.0 <= camera.cx <= width and 0.0 <= camera.cy <= height):
        findings.append(
            warning(
                "odd_camera_info",
                f"camera_info puts the optical axis at ({camera.cx:.0f}, {camera.cy:.0f}), outside of the "
                "image of "
                f"{width} x {height} pixels: it belongs to another camera or another mode",
            )
        )
    if not 0.5 <= camera.fx / camera.fy <= 2.0:
        findings.append(
            warning(
                "odd_camera_info",
                f"camera_info has the focal lengths {camera.fx:.0f} and {camera.fy:.0f}, but pixels are "
                "hardly ever so "
                "oblong: calibrate the camera again",
            )
        )
    if (info.width, info.height) != (width, height) and not (info.binning_x or info.roi_width):
        findings.append(
            note(
                "scaled_camera_info",
                f"camera_info is for {info.width} x {info.height} pixels and the image has {width} x "
                f"{height}: it "
                "was scaled, which is wrong if the driver crops",
            )
        )
    return facts, findings


def judge_points(returns: Returns, measured: int) -> Judgement:
    """The finite points of one cloud of ``measured`` points in the message."""
    points, after_s = returns.points, returns.after_s
    share = 1.0 - len(points) / max(measured, 1)
    distance = np.linalg.norm(points[::16].astype(np.float64), axis=1)
    zero = float((distance == 0.0).mean())
    facts = {"points": str(measured), "NaN": f"{share:.0%}"}
    if share + (1.0 - share) * zero > EMPTY_SHARE:
        return facts, [
            warning(
                "empty_cloud",
                f"{share + (1.0 - share) * zero:.0%} of the cloud is NaN or zero: look whether the LiDAR is "
                "covered, or still starting",
            )
        ]
    if after_s is not None:
        facts["measured"] = f"{after_s.min():+.3f} to {after_s.max():+.3f} s after the stamp"
    facts["median range"] = f"{float(np.median(distance[distance > 0.0])):.3g} m"
    return facts, []


def cloud_unit_problem(points: Array) -> str:
    """Why the points (N, 3) of a cloud cannot be in metres, and what to do; nothing if they can.

    It is worth a refusal: rays that end kilometres away would carve away what they pass through.
    """
    median_m = float(np.median(np.linalg.norm(points[::16].astype(np.float64), axis=1)))
    if median_m <= FARTHEST_POINT_M:
        return ""
    return (
        f"most points are {median_m:.4g} m away: a cloud must be in metres (REP-103), and these seem to be "
        "millimetres or noise: set the driver's unit, and look at the order of its bytes"
    )


def _unit_cure(median_m: float, encoding: str, depth_scale: float) -> str:
    if encoding.startswith("32FC1"):
        unit = "millimetres" if USUAL_M[0] <= median_m / 1000.0 <= USUAL_M[1] else "another unit"
        return (
            f"these seem to be {unit}, but a 32FC1 image must be in metres (REP-118): let the driver "
            "publish metres, "
            "or 16UC1 with inputs.depth_scale"
        )
    raw = median_m / depth_scale
    fitting = [unit for unit in UNITS_M if USUAL_M[0] <= raw * unit <= USUAL_M[1]]
    guess = f"{fitting[0]:g} would make it {raw * fitting[0]:.2g} m" if fitting else "ask the driver's manual"
    return (
        f"inputs.depth_scale = {depth_scale:g} must be the metres of one unit of 16-bit depth, whose "
        "median is "
        f"{raw:.0f}: {guess}"
    )


def _size(image: Array) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
