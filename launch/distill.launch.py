"""The distiller: learns from the robot's own recordings while it is parked.

For example: ros2 launch semlt3d_ros distill.launch.py settings:=/etc/robot/adaptation.yaml parked_topic:=/parked
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

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

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context).strip()

    settings = Path(given("settings")).expanduser().absolute()
    faults = [] if settings.is_file() else [f"settings:={given('settings')} is not a file"]
    if given("allowed").lower() not in ("true", "false"):
        faults.append(f"allowed:={given('allowed')} is neither true nor false")
    if faults:
        raise RuntimeError("; ".join(faults))
    topic = "" if given("parked_topic") == "none" else given("parked_topic")
    parameters = {
        "settings": ParameterValue(str(settings), value_type=str),
        "parked_topic": ParameterValue(topic, value_type=str),
        "allowed": given("allowed").lower() == "true",
    }
    return [
        Node(
            package="semlt3d_ros",
            executable="distiller",
            name="semlt3d_distiller",
            namespace=given("namespace"),
            parameters=[parameters],
            ros_arguments=["--log-level", given("log_level")],
            output="screen",
        )
    ]
