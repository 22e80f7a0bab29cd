"""The event recorder: keeps what is worth learning from, seconds before and after something makes it worth it.

For example: ros2 launch semlt3d_ros record.launch.py events:=/data/events rig:=/etc/robot/rig.yaml

detector.launch.py starts it too: recording:=true events:=/data/events. `ros2 launch` runs on the system's Python, so
this file imports nothing but ROS, and of this package what needs no more either.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

from launch import LaunchContext, LaunchDescription
from semlt3d_ros.nodes.launch_arguments import Arguments, known
from semlt3d_ros.nodes.vehicle import name_faults

SHARE = Path(__file__).parents[1]
NAME = "semlt3d"
RECORDED = ("long_tail", "detections", "label_info")
"""What is recorded of the detector, below its name."""


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; what they mean is worked out when they are known."""
    rigs, vehicles = (", ".join(known(SHARE, kind)) for kind in ("rigs", "vehicles"))
    arguments = {
        "events": ("", "folder of the events; made if it is not there"),
        "recording": (str(SHARE / "config" / "recording.yaml"), "triggers, further topics, blurring"),
        "params": (str(SHARE / "config" / "event_recorder.yaml"), "parameters of the node, as YAML"),
        "vehicle": (
            "",
            f"the detector's vehicle file, for its namespace, name, rig and remaps: one of {vehicles}, or a path; the "
            "other arguments win over it",
        ),
        "rig": ("", f"the cameras: one of {rigs}, or the path of a rig file; empty: as 'vehicle' or 'params' says"),
        "namespace": ("", "namespace of the node and of the detector; empty: as 'vehicle' says, or none"),
        "name": ("", f"name of the detector node in that namespace; empty: as 'vehicle' says, or {NAME}"),
        "detector": ("", "full name of a detector node elsewhere; empty: 'name' in 'namespace'"),
        "use_sim_time": ("false", "take the time from /clock"),
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
    vehicle = given.vehicle()
    if not given["events"]:
        given.faults.append("events:= is empty; name the folder of the events, such as events:=/data/events")
    namespace = (given["namespace"] or vehicle.namespace).rstrip("/")
    name = given["name"] or vehicle.name or NAME
    given.faults += name_faults(namespace, name)
    texts = {"events": given.path("events"), "recording_file": given.file("recording")}
    rig = str(given.known_or_file("rig", "rigs")) if given["rig"] else vehicle.rig
    if rig:
        texts["rig_file"] = rig
    inside = make_namespace_absolute(prefix_namespace(context.launch_configurations.get("ros_namespace"), namespace))
    detector = given["detector"] or f"{(inside or '').rstrip('/')}/{name}"
    texts["detector"] = detector
    # Where the vehicle file puts sensors and the detector's topics, the recorder looks for them too.
    remaps = [pair for pair in vehicle.remaps if not pair[0].startswith("~")]
    if not given["detector"]:
        places = {topic: vehicle.topic(f"~/{topic}", inside or "/", name) for topic in RECORDED}
        remaps += [(f"{detector}/{topic}", place) for topic, place in places.items() if place != f"{detector}/{topic}"]
    parameters = {name: ParameterValue(text, value_type=str) for name, text in texts.items()}
    node = Node(
        package="semlt3d_ros",
        executable="event_recorder",
        name="semlt3d_recorder",
        namespace=namespace,
        parameters=[given.file("params"), {**parameters, "use_sim_time": given.truth("use_sim_time")}],
        remappings=remaps,
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
    )
    given.refuse()
    return [node]
