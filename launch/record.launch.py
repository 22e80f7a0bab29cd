"""The event recorder: keeps what is worth learning from, seconds before and after something makes it worth it.

For example: ros2 launch semlt3d_ros record.launch.py events:=/data/events rig:=/etc/robot/rig.yaml
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
        "events": ("", "folder of the events; made if it is not there"),
        "recording": (str(SHARE / "config" / "recording.yaml"), "triggers, further topics, blurring"),
        "params": (str(SHARE / "config" / "event_recorder.yaml"), "parameters of the node, as YAML"),
        "rig": ("", "the cameras: the path of a rig file; empty: as 'params' says"),
        "detector": ("", "full name of the detector node; empty: as 'params' says"),
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

    def path(name: str) -> str:
        return str(Path(given(name)).expanduser().absolute())

    files = [name for name in ("recording", "params", "rig") if given(name)]
    faults = [f"{name}:={given(name)} is not a file" for name in files if not Path(path(name)).is_file()]
    if not given("events"):
        faults.append("events:= is empty; name the folder of the events, such as events:=/data/events")
    if faults:
        raise RuntimeError("; ".join(faults))
    texts = {"events": path("events"), "recording_file": path("recording")}
    if given("rig"):
        texts["rig_file"] = path("rig")
    if given("detector"):
        texts["detector"] = given("detector")
    return [
        Node(
            package="semlt3d_ros",
            executable="event_recorder",
            name="semlt3d_recorder",
            namespace=given("namespace"),
            parameters=[path("params"), {name: ParameterValue(text, value_type=str) for name, text in texts.items()}],
            ros_arguments=["--log-level", given("log_level")],
            output="screen",
        )
    ]
