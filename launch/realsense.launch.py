"""The perception node on the topics of realsense-ros 4 (``realsense2_camera``).

Start the driver with depth registered to colour, and both taken at the same moment::

    ros2 launch realsense2_camera rs_launch.py align_depth.enable:=true enable_sync:=true
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

HERE = Path(__file__).parent


def generate_launch_description() -> LaunchDescription:
    camera = ["/", LaunchConfiguration("camera_namespace"), "/", LaunchConfiguration("camera_name")]
    defaults = {
        "color_topic": ([*camera, "/color/image_raw"], "Colour image."),
        "depth_topic": ([*camera, "/aligned_depth_to_color/image_raw"], "Depth image, registered to colour."),
        "camera_info_topic": ([*camera, "/color/camera_info"], "Calibration of the colour camera."),
        "params_file": (
            str(HERE.parent / "config" / "sensors" / "realsense.yaml"),
            "YAML file with the node's parameters; your own takes this one's place.",
        ),
    }
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "camera_namespace",
                default_value="camera",
                description="The driver's argument of the same name.",
            ),
            DeclareLaunchArgument(
                "camera_name", default_value="camera", description="The driver's argument of the same name."
            ),
            *(
                DeclareLaunchArgument(name, default_value=value, description=what)
                for name, (value, what) in defaults.items()
            ),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(HERE / "perception.launch.py"))),
        ]
    )
