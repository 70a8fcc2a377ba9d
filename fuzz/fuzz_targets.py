"""Every decoder that takes what others wrote, by the name that ``run.py`` and the corpus know it by."""

from __future__ import annotations

from pathlib import Path

import fuzz_files as files
import fuzz_sensors as sensors
from fuzz_input import Target

from ws3d_ros.language.encoder import EncoderError
from ws3d_ros.language.vocabulary import VocabularyError
from ws3d_ros.network.checkpoint import CheckpointError
from ws3d_ros.reconstruction.map_file import MapFileError
from ws3d_ros.sensors.cloud_file import CloudFileError
from ws3d_ros.sensors.errors import SensorError
from ws3d_ros.training.recipe import RecipeError

_CORPUS = Path(__file__).parent / "corpus"

TARGETS = {
    "image": Target(sensors.image, SensorError),
    "depth": Target(sensors.depth, SensorError),
    # Deflate makes at most 1032 pixels of a byte, of up to 8 bytes each, and there are some copies of them.
    "compressed_image": Target(sensors.compressed_image, SensorError, bytes_per_byte=1032 * 8 * 3),
    # RVL says in 12 bytes that 2^24 pixels are zero: 64 MB of depth, and as much twice on the way.
    "compressed_depth": Target(sensors.compressed_depth, SensorError, 256 << 20, 1032 * 8 * 3),
    "cloud": Target(sensors.cloud, SensorError),
    "camera_info": Target(sensors.camera_info, SensorError),
    "transforms": Target(sensors.transforms, SensorError),
    "map_file": Target(files.map_file, MapFileError),
    "map_name": Target(files.map_name, MapFileError),
    "student": Target(files.student, CheckpointError, 64 << 20),
    "segmenter": Target(files.segmenter, EncoderError),
    "vocabulary": Target(files.vocabulary, VocabularyError, bytes_per_byte=1024),
    # A compressed archive: deflate again.
    "cloud_file": Target(files.cloud_file, CloudFileError, bytes_per_byte=1032 * 16),
    "recipe": Target(files.recipe, RecipeError, bytes_per_byte=1024),
}


def corpus(name: str) -> dict[str, bytes]:
    """The inputs of a target that are kept in the repository, by file name."""
    return {path.name: path.read_bytes() for path in sorted((_CORPUS / name).iterdir())}
