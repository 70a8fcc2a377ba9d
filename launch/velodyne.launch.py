"""The perception node on the topic of the velodyne driver (``velodyne_pointcloud``).

A colour camera may be added with ``color_topic`` and ``camera_info_topic``: it names what the
LiDAR sees.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

HERE = Path(__file__).parent


def generate_launch_description() -> LaunchDescription:
    defaults = {
        "lidar_topic": ("/velodyne_points", "Point cloud of the LiDAR."),
        "params_file": (
            str(HERE.parent / "config" / "sensors" / "velodyne.yaml"),
            "YAML file with the node's parameters; your own takes this one's place.",
        ),
    }
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=value, description=what)
                for name, (value, what) in defaults.items()
            ),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(HERE / "perception.launch.py"))),
        ]
    )
