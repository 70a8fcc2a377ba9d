"""Posed RGB-D recordings in the three layouts that most of them come in.

::

    ScanNet's export    color/0.jpg depth/0.png pose/0.txt intrinsic/intrinsic_{color,depth}.txt
    (SensReader)        or intrinsics.txt, one for both; poses of frames that were lost are -inf
    7-Scenes            frame-000000.color.png .depth.png .pose.txt
    TUM RGB-D           rgb.txt depth.txt groundtruth.txt: 'stamp file' and 'stamp tx ty tz qx qy qz qw'

Poses are camera to world. A folder in our own layout, with ground truth: posed_folder.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import cv2
import numpy as np
import torch

from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.sensors.frame import FloatArray, Frame, Pinhole
from ws3d_ros.sensors.transforms import TransformBuffer
from ws3d_ros.training.datasets.files import DatasetError, read_color, read_depth, read_numbers, require

LAYOUT = (
    "A folder of posed RGB-D images is one of: color/, depth/, pose/ and intrinsic/intrinsic_depth.txt "
    "(or intrinsics.txt), as ScanNet's SensReader exports them; frame-000000.color.png, .depth.png and "
    ".pose.txt, as in 7-Scenes; rgb.txt, depth.txt and groundtruth.txt, as in TUM RGB-D."
)
PERIOD_NS = 33_333_333
"""ScanNet's and 7-Scenes' images carry no time; these cameras take 30 a second."""

SEVEN_SCENES_K = (585.0, 585.0, 320.0, 240.0)
"""fx, fy, cx, cy that 7-Scenes' README gives (Shotton et al., CVPR 2013)."""
TUM_K = (525.0, 525.0, 319.5, 239.5)
"""What TUM's page on file formats advises for its registered depth (Sturm et al., IROS 2012)."""
TUM_TOLERANCE_NS = 20_000_000
"""Colour and depth this near belong together, as in TUM's associate.py."""
TUM_GAP_NS = 100_000_000
"""Poses are not interpolated over gaps of the motion capture; the usual distance is 10 ms."""


@dataclass(frozen=True)
class Shot:
    """Where one frame lies, and where its camera was: ``T_map_camera`` (4, 4) float64."""

    stamp_ns: int
    color: Path
    depth: Path
    T_map_camera: FloatArray


@dataclass(frozen=True)
class RgbdFolder:
    """A recording; images are read frame by frame.

    Attributes:
        camera: of depth, and of the frames.
        color_camera: of the colour images, from the same place; they are brought to ``camera``.
        units_per_m: of depth images.
        invalid: depth that means none, besides 0.
        shots: in order; frames without a pose are left out.
    """

    camera: Pinhole
    color_camera: Pinhole
    units_per_m: float
    invalid: int
    shots: tuple[Shot, ...]

    @staticmethod
    def open(path: str | Path) -> RgbdFolder:
        """A folder in whichever of the layouts.

        Raises:
            DatasetError: when it is none of them, or a file is missing or broken.
        """
        folder = require(Path(path), LAYOUT)
        readers: dict[str, Callable[[Path], RgbdFolder]] = {
            "groundtruth.txt": _tum,
            "frame-*.pose.txt": _seven_scenes,
            "pose": _scannet,
        }
        for mark, read in readers.items():
            if any(folder.glob(mark)):
                return read(folder)
        raise DatasetError(f"{folder} has none of {', '.join(readers)}. {LAYOUT}")

    def __len__(self) -> int:
        return len(self.shots)

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Every ``every``-th frame, from the first on."""
        for index in range(0, len(self), every):
            yield self.frame(index)

    def frame(self, index: int) -> Frame:
        """One frame.

        Raises:
            DatasetError: when one of its images is missing, broken, or of another size than the first.
        """
        shot = self.shots[index]
        color, depth_m = read_color(shot.color), read_depth(shot.depth, self.units_per_m, self.invalid)
        for file, image, camera in (
            (shot.color, color, self.color_camera),
            (shot.depth, depth_m, self.camera),
        ):
            if image.shape[:2] != (camera.height, camera.width):
                raise DatasetError(
                    f"{file} has {image.shape[1]} x {image.shape[0]} pixels, but the first "
                    f"{camera.width} x {camera.height}"
                )
        return Frame(
            shot.stamp_ns,
            self.camera,
            shot.T_map_camera,
            torch.from_numpy(seen_by(self.camera, color, self.color_camera)),
            torch.from_numpy(depth_m),
        )


def seen_by(camera: Pinhole, color: np.ndarray, color_camera: Pinhole) -> np.ndarray:
    """A colour image (H, W, 3) as another camera at the same place would see it; black beside the image."""
    if camera == color_camera:
        return color
    sx, sy = color_camera.fx / camera.fx, color_camera.fy / camera.fy
    shift_x, shift_y = color_camera.cx - camera.cx * sx, color_camera.cy - camera.cy * sy
    to_color = np.array([[sx, 0.0, shift_x], [0.0, sy, shift_y]])
    if max(sx, sy) > 1.5:  # as bilinear samples are far apart, what lies between is averaged before
        color = cv2.blur(color, (2 * round(sx / 2) + 1, 2 * round(sy / 2) + 1))
    size = (camera.width, camera.height)
    return np.asarray(cv2.warpAffine(color, to_color, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))


def _scannet(folder: Path) -> RgbdFolder:
    files = [file for file in (folder / "pose").glob("*.txt") if file.stem.isdigit()]
    shots = []
    for file in sorted(files, key=lambda file: int(file.stem)):
        pose = _pose(file)
        if pose is not None:
            color = folder / "color" / f"{file.stem}.png"
            color = color if color.exists() else color.with_suffix(".jpg")
            depth = folder / "depth" / f"{file.stem}.png"
            shots.append(Shot(int(file.stem) * PERIOD_NS, color, depth, pose))
    color_size, depth_size = _sizes(folder, shots)
    both = next(filter(Path.exists, (folder / name for name in ("intrinsics.txt", "intrinsic.txt"))), None)
    depth_file = both or folder / "intrinsic/intrinsic_depth.txt"
    color_file = both or folder / "intrinsic/intrinsic_color.txt"
    camera = _camera(depth_file, depth_size)
    color_camera = camera.scaled_to(*color_size) if both else _camera(color_file, color_size)
    return RgbdFolder(camera, color_camera, 1000.0, 0, tuple(shots))


def _seven_scenes(folder: Path) -> RgbdFolder:
    """Colour is taken as seen from depth's place, as is the custom; it is off by the sensor's baseline."""
    shots = []
    for file in sorted(folder.glob("frame-*.pose.txt")):
        name = file.name.removesuffix(".pose.txt")
        pose = _pose(file)
        if pose is not None:
            number = int(name.removeprefix("frame-"))
            color, depth = folder / f"{name}.color.png", folder / f"{name}.depth.png"
            shots.append(Shot(number * PERIOD_NS, color, depth, pose))
    color_size, depth_size = _sizes(folder, shots)
    camera = Pinhole(640, 480, *SEVEN_SCENES_K)
    return RgbdFolder(
        camera.scaled_to(*depth_size), camera.scaled_to(*color_size), 1000.0, 65535, tuple(shots)
    )


def _tum(folder: Path) -> RgbdFolder:
    colors, depths = _stamped_files(folder / "rgb.txt"), _stamped_files(folder / "depth.txt")
    truth = folder / "groundtruth.txt"
    stamps, poses = _trajectory(truth)
    color_stamps = np.array(sorted(colors), np.int64)
    shots = []
    for stamp, depth in sorted(depths.items()):
        near = int(color_stamps[np.abs(color_stamps - stamp).argmin()])
        after = int(np.searchsorted(stamps, stamp))
        within = 0 < after < len(stamps) and stamps[after] - stamps[after - 1] <= TUM_GAP_NS
        if abs(near - stamp) <= TUM_TOLERANCE_NS and within:
            shots.append(Shot(stamp, colors[near], depth, poses.lookup("world", "camera", stamp)))
    color_size, depth_size = _sizes(folder, shots)
    camera = Pinhole(640, 480, *TUM_K)
    return RgbdFolder(camera.scaled_to(*depth_size), camera.scaled_to(*color_size), 5000.0, 0, tuple(shots))


def _stamped_files(file: Path) -> dict[int, Path]:
    """Images by their time in nanoseconds. A stamp has more digits than a float can hold."""
    found = {}
    for line in require(file, LAYOUT).read_text(errors="replace").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        try:
            stamp, name = line.split()
            found[int(Decimal(stamp) * 10**9)] = file.parent / name
        except (ValueError, InvalidOperation) as error:
            raise DatasetError(f"{file}: {line!r} must be a time and a file") from error
    if not found:
        raise DatasetError(f"{file} lists no image")
    return found


def _trajectory(file: Path) -> tuple[np.ndarray, TransformBuffer]:
    """Stamps (P,) int64, ascending, and the poses between which can be interpolated."""
    rows = read_numbers(file, LAYOUT, columns=8)
    # A float holds these times to 0.2 microseconds, which moves no camera.
    stamps = (rows[:, 0] * 1e9).astype(np.int64)
    buffer = TransformBuffer(cache_s=1e9)
    try:
        for stamp, row in zip(stamps.tolist(), rows, strict=True):
            buffer.set("world", "camera", stamp, row[1:4].tolist(), row[4:8].tolist())
    except SensorError as error:
        raise DatasetError(f"{file}: {error}") from error
    return np.sort(stamps), buffer


def _sizes(folder: Path, shots: list[Shot]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height of the first colour and depth image."""
    if not shots:
        raise DatasetError(f"{folder} has no frame with a pose. {LAYOUT}")
    color, depth = read_color(shots[0].color), read_depth(shots[0].depth, 1.0)
    return (color.shape[1], color.shape[0]), (depth.shape[1], depth.shape[0])


def _pose(file: Path) -> FloatArray | None:
    """(4, 4), or None where tracking was lost and the numbers are no numbers."""
    pose = read_numbers(file, LAYOUT, columns=4)
    if pose.shape != (4, 4):
        raise DatasetError(f"{file} must have 4 lines of 4 numbers, not {len(pose)}")
    return pose if np.isfinite(pose).all() else None


def _camera(file: Path, size: tuple[int, int]) -> Pinhole:
    K = read_numbers(file, LAYOUT)
    if K.shape not in ((3, 3), (4, 4)) or not (K[0, 0] > 0 and K[1, 1] > 0):
        raise DatasetError(f"{file} must be a 3x3 or 4x4 matrix with focal lengths above 0")
    return Pinhole(*size, float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))
