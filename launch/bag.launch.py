"""The perception node and a bag that is played into it once the node is active.

The bag's own topics are given as for perception.launch.py, without /compressed or
/compressedDepth at their ends. After the bag's end the node keeps its map, until Ctrl-C.
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.event_handlers import OnStateTransition

HERE = Path(__file__).parent


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="Path of a rosbag2 (folder or file)."),
            DeclareLaunchArgument("rate", default_value="1.0", description="Speed; 0.5 is half as fast."),
            DeclareLaunchArgument(
                "loop",
                default_value="false",
                choices=["true", "false"],
                description="Play again and again; the clock jumps back each time.",
            ),
            DeclareLaunchArgument(
                "use_sim_time", default_value="true", description="The bag brings the time along."
            ),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(HERE / "perception.launch.py"))),
            # A node that is killed and respawned becomes active again; the bag goes on meanwhile.
            RegisterEventHandler(
                OnStateTransition(
                    goal_state="active", entities=[OpaqueFunction(function=player)], handle_once=True
                )
            ),
        ]
    )


def player(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """``ros2 bag play`` with what was said."""
    bag, rate, loop = (LaunchConfiguration(name).perform(context) for name in ("bag", "rate", "loop"))
    repeat = ["--loop"] if loop == "true" else []
    command = ["ros2", "bag", "play", bag, "--clock", "--rate", rate, *repeat]
    return [ExecuteProcess(cmd=command, name="bag", output="screen")]
