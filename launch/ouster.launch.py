"""The perception node on the topics of ouster-ros.

The driver stamps clouds by the sensor's own clock unless told otherwise; tf cannot follow that.
Start it with the parameter ``timestamp_mode: TIME_FROM_ROS_TIME``, or with PTP.
A colour camera may be added with ``color_topic`` and ``camera_info_topic``: it names what the
LiDAR sees.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

HERE = Path(__file__).parent


def generate_launch_description() -> LaunchDescription:
    defaults = {
        "lidar_topic": (["/", LaunchConfiguration("ouster_ns"), "/points"], "Point cloud of the LiDAR."),
        "params_file": (
            str(HERE.parent / "config" / "sensors" / "ouster.yaml"),
            "YAML file with the node's parameters; your own takes this one's place.",
        ),
    }
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "ouster_ns", default_value="ouster", description="The driver's argument of the same name."
            ),
            *(
                DeclareLaunchArgument(name, default_value=value, description=what)
                for name, (value, what) in defaults.items()
            ),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(HERE / "perception.launch.py"))),
        ]
    )
