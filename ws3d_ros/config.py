"""Every setting, once: name, type, default, range and meaning.

The ROS parameters (``map.voxel_size_m`` …), the YAML file and the command line are all made
from this tree, so that they cannot disagree. Rooms receive the part that they need.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, get_type_hints


class ConfigError(ValueError):
    """A setting that is unknown, of the wrong type or out of range. The message names it."""


def option(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A setting with its meaning and its bounds (inclusive).

    ``live`` settings take effect at once when changed at run time; the others need the node
    to be configured again.
    """
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices, "live": live}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class InputConfig:
    """Which sensors there are, and how patiently to wait for them."""

    cameras: list[str] = option(
        ["camera"],
        "Names of the cameras. Camera NAME listens to NAME/color/image, NAME/depth/image and "
        "NAME/color/camera_info (and NAME/depth/camera_info when depth is not registered to "
        "colour); remap these to the driver's topics.",
    )
    lidars: list[str] = option(["lidar"], "Names of the LiDARs. LiDAR NAME listens to NAME/points; remap it.")
    map_frame: str = option("map", "Fixed frame of the map.")
    odom_frame: str = option(
        "odom", "Frame of odometry, below map_frame: where map -> odom jumps, localisation was corrected."
    )
    follow_jumps_m: float = option(
        0.1,
        "When map -> odom jumps by more than this, as far as two metres around the robot, the map follows. "
        "0: it never does.",
        low=0.0,
        high=1000.0,
    )
    robot_frame: str = option(
        "base_link",
        "Frame at the centre of the local window. Where tf does not know it, the sensor's frame.",
    )
    sync_tolerance_s: float = option(
        0.02, "Largest difference between the stamps of a colour and a depth image.", low=0.0, high=1.0
    )
    tf_deadline_s: float = option(
        1.0, "How long a frame waits for tf at its stamp before it is dropped.", low=0.0, high=30.0
    )
    depth_scale: float = option(0.001, "Metres for one unit of 16-bit depth.", low=1e-6, high=1.0)
    min_depth_m: float = option(0.2, "Nearer depth is ignored.", low=0.0, high=10.0)
    max_depth_m: float = option(5.0, "Farther depth is ignored.", low=0.1, high=200.0)
    min_range_m: float = option(
        1.0, "Nearer LiDAR points are ignored (the robot itself).", low=0.0, high=50.0
    )
    max_range_m: float = option(40.0, "Farther LiDAR points are ignored.", low=0.5, high=500.0)
    max_message_mb: float = option(
        100.0,
        "Images and clouds with more bytes than this are refused, before anything reads or keeps them.",
        low=0.01,
        high=4000.0,
    )
    clear_map_on_time_jump: bool = option(
        False, "Clear the map, too, when the clock jumps back (a bag that loops)."
    )


@dataclass(frozen=True)
class MapConfig:
    """The voxel map."""

    voxel_size_m: float = option(0.05, "Edge of a voxel.", low=0.005, high=2.0)
    window_radius_m: float = option(
        12.0, "What is nearer to the robot than this is labelled and published.", low=0.5, high=500.0
    )
    budget_mb: float = option(
        512.0,
        "Most memory that the map may take; the farthest chunks are forgotten first.",
        low=1.0,
        high=1e6,
    )
    folder: str = option(
        "~/.ros/ws3d_maps", "Where ~/save_map writes and ~/load_map reads. Neither leaves it."
    )
    carving: bool = option(True, "Remove voxels that a sensor looks through.")
    min_weight: float = option(
        0.2,
        "Voxels with less evidence are not published (single noisy points).",
        low=0.0,
        high=100.0,
        live=True,
    )


@dataclass(frozen=True)
class SemanticsConfig:
    """Words, encoder and labels."""

    enabled: bool = option(True, "Label the map. False: geometry only.")
    encoder: str = option(
        "auto",
        "auto, none, concept, or open_clip:MODEL/PRETRAINED (also open_clip:local-dir:/path).",
    )
    weights_dir: str = option(
        "", "Folder where encoders look for models. Empty: the environment variable WS3D_WEIGHTS."
    )
    vocabulary: str = option(
        "indoor", "Name of a vocabulary of the package, or path of a YAML file, or words with commas."
    )
    vocabulary_folder: str = option(
        "~/.ros/ws3d_vocabularies", "Where the YAML files are that ~/set_vocabulary may name."
    )
    device: str = option("auto", "Where tensors live.", choices=("auto", "cpu", "cuda"))
    feature_channels: int = option(
        64,
        "Channels kept of an image feature, and as many of what the 3D network saw; each costs a voxel two "
        "bytes. 0 keeps all.",
        low=0,
        high=4096,
    )
    keyframe_distance_m: float = option(
        0.25, "Encode an image after the camera moved this far …", low=0.0, high=100.0, live=True
    )
    keyframe_angle_deg: float = option(
        15.0, "… or turned this far since the last keyframe.", low=0.0, high=180.0, live=True
    )
    unknown_below: float = option(
        0.05, "Labels with less confidence become unknown.", low=0.0, high=1.0, live=True
    )
    region_share: float = option(
        0.8,
        "How much a voxel's name follows that of the small surface it is part of. 0: every voxel by itself.",
        low=0.0,
        high=1.0,
        live=True,
    )
    virtual_views: bool = option(
        False,
        "Encode pictures of the map itself, too, taken from where it is known least: up to a third of the "
        "encoder's time.",
        live=True,
    )
    threads: int = option(
        0, "CPU threads for the encoder. 0: half of the cores, at least one.", low=0, high=256
    )


@dataclass(frozen=True)
class NetworkConfig:
    """The 3D network that names voxels by shape and surroundings, beside or without images."""

    checkpoint: str = option(
        "auto", "Path of a network's weights (.safetensors), auto (those that ship) or none."
    )
    backend: str = option(
        "torch",
        "Engine of the sparse convolutions; all but torch must be installed.",
        choices=("torch", "minkowski", "spconv"),
    )
    precision: str = option(
        "auto",
        "Numbers to compute with. auto: the fastest that this device is good at.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    reuse: str = option(
        "fast",
        "What is kept of the last reading where the map did not change, on CPUs with the engine torch. "
        "fast: about 1 % of labels differ from a full reading; exact: none; off: everything is read "
        "anew, which saves 1.4 (14S) to 3.5 KB (34C) a voxel.",
        choices=("fast", "exact", "off"),
    )


@dataclass(frozen=True)
class AdaptationConfig:
    """Learning on the way: the 3D network is taught by images and network together."""

    enabled: bool = option(
        False,
        "Teach the 3D network while the robot drives. Updates serve only if images agree and nothing is "
        "forgotten; ~/status counts them. Needs images and the 3D network.",
    )
    share: float = option(0.1, "Most time that learning may take, as a share of all time.", low=0.0, high=1.0)


@dataclass(frozen=True)
class MemoryConfig:
    """What the process may take in all. Where it takes more, less is understood, step by step."""

    process_mb: float = option(
        0.0,
        "Most memory of the computer. 0: four fifths of what the machine, or the container, has.",
        low=0.0,
        high=1e7,
        live=True,
    )
    gpu_mb: float = option(
        0.0, "Most memory of the GPU that torch may take. 0: all that is free.", low=0.0, high=1e7
    )


@dataclass(frozen=True)
class OutputConfig:
    """What the node publishes, and how often."""

    cloud_rate_hz: float = option(2.0, "Rate of ~/semantic_cloud.", low=0.05, high=30.0)
    map_period_s: float = option(5.0, "Period of ~/semantic_map, the whole map.", low=0.2, high=3600.0)
    status_period_s: float = option(1.0, "Period of ~/status and /diagnostics.", low=0.1, high=60.0)
    max_message_mb: float = option(
        64.0,
        "Largest cloud that is published; where more is mapped, the points nearest to the robot go out, and "
        "/diagnostics says so.",
        low=0.1,
        high=2000.0,
        live=True,
    )
    min_instance_voxels: int = option(
        20, "Smaller groups of voxels are no object.", low=1, high=1_000_000, live=True
    )


@dataclass(frozen=True)
class PlanningConfig:
    """The robot: what its planners are told (~/obstacles, ~/traversable, ~/keepout_mask and others)."""

    step_height_m: float = option(
        0.08, "What is lower above the ground is driven over.", low=0.005, high=2.0, live=True
    )
    max_slope_deg: float = option(20.0, "Steeper ground is none.", low=0.0, high=60.0, live=True)
    robot_height_m: float = option(
        1.5, "What is higher above the ground is driven under.", low=0.05, high=20.0, live=True
    )
    trust_names_from: float = option(
        0.5,
        "A name decides between obstacle and traversable from this confidence on; below it, shape does.",
        low=0.0,
        high=1.0,
        live=True,
    )
    targets: list[str] = option(
        [""],
        "Names and numbers of the objects to take hold of, which ~/cloud_without_targets leaves out. None: "
        "all words of role target in the vocabulary.",
        live=True,
    )


@dataclass(frozen=True)
class Config:
    """All settings."""

    inputs: InputConfig = field(default_factory=InputConfig)
    map: MapConfig = field(default_factory=MapConfig)
    semantics: SemanticsConfig = field(default_factory=SemanticsConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    planning: PlanningConfig = field(default_factory=PlanningConfig)


@dataclass(frozen=True)
class Setting:
    """One leaf of the tree, as parameters and help texts need it."""

    name: str
    type: Any
    default: Any
    doc: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    live: bool


def settings(tree: type = Config, prefix: str = "") -> Iterator[Setting]:
    """All leaves of the tree in order, names dotted."""
    hints = get_type_hints(tree)
    default = tree()
    for leaf in fields(tree):
        kind = hints[leaf.name]
        if is_dataclass(kind):
            yield from settings(kind, f"{prefix}{leaf.name}.")  # type: ignore[arg-type]
        else:
            yield Setting(f"{prefix}{leaf.name}", kind, getattr(default, leaf.name), **leaf.metadata)


def from_mapping(values: Mapping[str, Any]) -> Config:
    """A configuration from dotted names; what is absent keeps its default.

    Raises:
        ConfigError: for an unknown name (with the nearest known one), a wrong type or a
            value out of range.
    """
    known = {setting.name: setting for setting in settings()}
    config = Config()
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"unknown setting '{name}'{hint}")
        group, leaf = name.split(".")
        part = dataclasses.replace(getattr(config, group), **{leaf: check(known[name], value)})
        config = dataclasses.replace(config, **{group: part})
    return config


def check(setting: Setting, value: Any) -> Any:
    """The value, as the setting's type.

    Raises:
        ConfigError: if it does not fit; the message names the setting, the value and what fits.
    """
    kind = setting.type
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind == list[str]:
        fits = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
        value = list(value) if fits else value
    else:
        fits = isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)
    if not fits:
        wanted = "list of str" if kind == list[str] else kind.__name__
        raise ConfigError(f"'{setting.name}' must be {wanted}, not {value!r}")
    low, high = setting.low, setting.high
    # Written so that NaN is refused.
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise ConfigError(f"'{setting.name}' must be from {low:g} to {high:g}, not {value!r}")
    if setting.choices and value not in setting.choices:
        raise ConfigError(f"'{setting.name}' must be one of {', '.join(setting.choices)}, not {value!r}")
    return value
