"""Starts the perception node.

``ros2 launch ws3d_ros perception.launch.py --show-args`` explains every argument. What is left
empty is not passed on: then the parameters' file decides, and after it the node's default.
"""

import os
from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

NAME = "ws3d"
CONFIG = Path(__file__).parents[1] / "config"
OUTPUTS = ("semantic_cloud", "semantic_map", "markers")
RESPAWN_DELAY_S = 2.0

# argument: (topic of the node, what it is)
TOPICS = {
    "color_topic": ("camera/color/image", "Colour image, without an ending such as /compressed."),
    "depth_topic": ("camera/depth/image", "Depth image, without an ending such as /compressedDepth."),
    "camera_info_topic": ("camera/color/camera_info", "Calibration of the colour camera."),
    "depth_info_topic": (
        "camera/depth/camera_info",
        "Calibration of the depth camera; not needed where depth is registered to colour.",
    ),
    "lidar_topic": ("lidar/points", "Point cloud of the LiDAR."),
}

# argument: (parameter of the node, its type, what it is)
PARAMETERS = {
    "vocabulary": (
        "semantics.vocabulary",
        str,
        "Name of a vocabulary of the package, path of a YAML file, or words with commas.",
    ),
    "encoder": (
        "semantics.encoder",
        str,
        "What understands images: auto, none, concept, or open_clip:MODEL/PRETRAINED.",
    ),
    "checkpoint": ("network.checkpoint", str, "Weights of a 3D network (.safetensors), auto or none."),
    "weights_dir": ("semantics.weights_dir", str, "Folder where encoders look for models."),
    "map_frame": ("inputs.map_frame", str, "Fixed frame of the map."),
    "robot_frame": ("inputs.robot_frame", str, "Frame at the centre of the local window."),
    "use_sim_time": ("use_sim_time", bool, "Take the time from /clock (simulation, bags)."),
    "autostart": (
        "autostart",
        bool,
        "Configure and activate at once; with false a lifecycle manager does.",
    ),
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*arguments(), fast_dds_profile(), OpaqueFunction(function=nodes)])


def arguments() -> list[DeclareLaunchArgument]:
    """Everything that can be said on the command line."""
    return [
        text("namespace", "", f"Namespace of the node; its name is {NAME}."),
        text(
            "params_file",
            str(CONFIG / "perception.yaml"),
            "YAML file with the node's parameters; empty for none.",
        ),
        *(
            text(argument, "", f"{what} Empty: {topic}, below the namespace.")
            for argument, (topic, what) in TOPICS.items()
        ),
        *(
            (switch if kind is bool else text)(argument, "", f"{what} Empty: {parameter} of params_file.")
            for argument, (parameter, kind, what) in PARAMETERS.items()
        ),
        switch("rviz", "false", "Open RViz, too, with the topics of this node."),
        switch("respawn", "false", f"Start the node again, {RESPAWN_DELAY_S:g} s after it ended."),
        text("log_level", "info", "debug, info, warn, error or fatal; of this node only."),
    ]


def text(name: str, default: str, description: str) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(name, default_value=default, description=description)


def switch(name: str, default: str, description: str) -> DeclareLaunchArgument:
    choices = ["true", "false", *([""] if default == "" else [])]
    return DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)


def fast_dds_profile() -> SetEnvironmentVariable:
    """More shared memory for Fast DDS, for all that this launch starts from here on: with its
    default most large clouds and images are lost between processes. A profile that the user
    chose stays.
    """
    # Fast DDS 2, which Jazzy has, knows the older name only.
    is_old = os.environ.get("ROS_DISTRO") == "jazzy"
    variable = f"{'FASTRTPS' if is_old else 'FASTDDS'}_DEFAULT_PROFILES_FILE"
    profile = EnvironmentVariable(variable, default_value=str(CONFIG / "fastdds_large.xml"))
    return SetEnvironmentVariable(variable, profile)


def nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node with what was said, and RViz if it was asked for."""
    said = {
        name: LaunchConfiguration(name).perform(context)
        for name in ("namespace", "params_file", "rviz", "respawn", "log_level", *TOPICS, *PARAMETERS)
    }
    pushed = context.launch_configurations.get("ros_namespace")  # by PushRosNamespace
    namespace = make_namespace_absolute(prefix_namespace(pushed, said["namespace"]))
    perception = LifecycleNode(
        package="ws3d_ros",
        executable="perception",
        name=NAME,
        namespace=namespace,
        output="screen",
        parameters=[*params_files(said["params_file"]), parameters(said)],
        remappings=[(topic, said[name]) for name, (topic, _) in TOPICS.items() if said[name]],
        ros_arguments=["--log-level", f"{logger(namespace)}:={said['log_level']}"],
        respawn=said["respawn"] == "true",
        respawn_delay=RESPAWN_DELAY_S,
    )
    return [perception, *([rviz(said, namespace)] if said["rviz"] == "true" else [])]


def params_files(path: str) -> list[str]:
    """The parameters' file, if one was given. launch_ros would start without a file that is missing.

    Raises:
        FileNotFoundError: it is missing.
    """
    if path and not Path(path).is_file():
        raise FileNotFoundError(f"params_file: there is no file '{path}'")
    return [path] if path else []


def parameters(said: dict[str, str]) -> dict[str, Any]:
    """Parameters for the arguments that were given. Words are marked as such, or YAML would guess
    (a frame called "1" would become a number).
    """
    return {
        parameter: said[name] == "true" if kind is bool else ParameterValue(said[name], value_type=str)
        for name, (parameter, kind, _) in PARAMETERS.items()
        if said[name]
    }


def logger(namespace: str) -> str:
    """Name of the node's logger: ROS writes the namespace with dots."""
    return ".".join([*filter(None, namespace.split("/")), NAME])


def rviz(said: dict[str, str], namespace: str) -> Node:
    """RViz on the topics of this node."""
    moved = namespace != "/"
    config = str(CONFIG / "rviz" / "perception.rviz")
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", config, *(["-f", said["map_frame"]] if said["map_frame"] else [])],
        remappings=[(f"/{NAME}/{name}", f"{namespace}/{NAME}/{name}") for name in OUTPUTS if moved],
        parameters=[{"use_sim_time": said["use_sim_time"] == "true"}],
    )
