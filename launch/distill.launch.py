"""The distiller: learns from the robot's own recordings while it is parked.

For example: ros2 launch semlt3d_ros distill.launch.py settings:=/etc/robot/adaptation.yaml parked_topic:=/parked

`ros2 launch` runs on the system's Python, so this file imports nothing but ROS, and of this package what needs no
more either.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription
from semlt3d_ros.nodes.launch_arguments import Arguments

SHARE = Path(__file__).parents[1]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; what they mean is worked out when they are known."""
    arguments = {
        "settings": (
            str(SHARE / "config" / "adaptation.yaml"),
            "what is learnt from, by what recipe, and what it takes",
        ),
        "parked_topic": ("parked", "std_msgs/Bool, true while the vehicle may compute; none: it always may"),
        "allowed": ("true", "false waits for the service ~/allow"),
        "namespace": ("", "namespace of the node"),
        "log_level": ("info", "debug, info, warn, error or fatal"),
    }
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Node]:
    """The node, once every argument has been checked.

    Raises:
        RuntimeError: lists all that does not fit.
    """

    def read(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    given = Arguments(read, SHARE)
    topic = "" if given["parked_topic"] == "none" else given["parked_topic"]
    parameters = {
        "settings": ParameterValue(given.file("settings"), value_type=str),
        "parked_topic": ParameterValue(topic, value_type=str),
        "allowed": given.truth("allowed"),
    }
    given.refuse()
    return [
        Node(
            package="semlt3d_ros",
            executable="distiller",
            name="semlt3d_distiller",
            namespace=given["namespace"],
            parameters=[parameters],
            ros_arguments=["--log-level", given["log_level"]],
            output="screen",
        )
    ]
