"""The detector node, and RViz beside it when asked.

For example: ros2 launch semlt3d_ros detector.launch.py rig:=nuscenes checkpoint:=/models/city.safetensors rviz:=true

`ros2 launch` runs on the system's Python, whatever environment is active, so this file imports nothing but ROS, and of
this package what needs no more either.
"""

from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

from launch import LaunchContext, LaunchDescription
from semlt3d_ros.nodes.launch_arguments import Arguments, known
from semlt3d_ros.nodes.vehicle import name_faults, rig_on_screen

SHARE = Path(__file__).parents[1]
NAME = "semlt3d"
CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
RVIZ_TOPICS = ("markers", *(f"debug/{name}/image" for name in CAMERAS))
"""What ``config/semlt3d.rviz`` shows of the node, below ``/semlt3d/``."""
RVIZ_CONFIG = str(SHARE / "config" / "semlt3d.rviz")
RVIZ_POINTS = "/sensing/lidar/points"
FAULTS = "semlt3d_faults"
"""Where a launch file that includes this one leaves what is wrong with its own arguments."""


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; what they mean is worked out when they are known."""
    rigs, vehicles = (", ".join(known(SHARE, kind)) for kind in ("rigs", "vehicles"))
    arguments = {
        "vehicle": (
            "",
            f"namespace, name, rig, remaps, parameters and model in one file: one of {vehicles}, or a path; the other "
            "arguments win over it",
        ),
        "namespace": ("", "namespace of the node, such as front_unit, / for none; empty: as 'vehicle' says, or none"),
        "name": ("", f"name of the node; its topics and services lie below it; empty: as 'vehicle' says, or {NAME}"),
        "params": (str(SHARE / "config" / "detector.yaml"), "parameters of the node, as YAML"),
        "model_params": (
            str(SHARE / "config" / "model.yaml"),
            "parameters of the model (checkpoint, folder, device, vocabulary), as YAML; they override 'params', and "
            "'vehicle' overrides both",
        ),
        "rig": ("", f"the cameras: one of {rigs}, or the path of a rig file; empty: as 'vehicle' or 'params' says"),
        "checkpoint": ("", "path of a .safetensors checkpoint; empty: as 'vehicle' or 'model_params' says"),
        "device": ("", "auto, cpu, or cuda[:N]; empty: as 'vehicle' or 'model_params' says"),
        "image_reliability": (
            "",
            "QoS asked of the cameras: best_effort or reliable; empty: as 'vehicle' or 'params' says",
        ),
        "autostart": (
            "",
            "true: configure and activate the node; false leaves that to `ros2 lifecycle` or a manager; empty: as "
            "'vehicle' or 'params' says",
        ),
        "recording": ("false", "record events that are worth learning from too, see record.launch.py"),
        "events": ("", "folder of the events, with recording:=true"),
        "triggers": (str(SHARE / "config" / "recording.yaml"), "what makes an event, with recording:=true"),
        "recorder_params": (str(SHARE / "config" / "event_recorder.yaml"), "parameters of the event recorder, as YAML"),
        "use_sim_time": ("false", "take the time from /clock"),
        "rviz": ("false", "start RViz too"),
        "rviz_config": (RVIZ_CONFIG, "what RViz shows"),
        "log_level": ("info", "debug, info, warn, error or fatal"),
    }
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Node | GroupAction]:
    """The nodes, once every argument has been checked.

    Raises:
        RuntimeError: lists all that does not fit; `ros2 launch` prints it as one line, and nothing has been started.
    """

    def read(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    given = Arguments(read, SHARE, context.launch_configurations.get(FAULTS))
    vehicle = given.vehicle()
    sim_time = {"use_sim_time": given.truth("use_sim_time")}
    overrides: dict[str, Any] = {name: as_parameter(value) for name, value in vehicle.parameters.items()} | sim_time
    rig = str(given.known_or_file("rig", "rigs")) if given["rig"] else vehicle.rig
    if rig:
        overrides["rig_file"] = as_parameter(rig)
    if given["autostart"]:
        overrides["autostart"] = given.truth("autostart")
    if given["checkpoint"]:
        overrides["checkpoint"] = as_parameter(given.file("checkpoint"))
    for name in ("device", "image_reliability"):
        if given[name]:
            overrides[name] = as_parameter(given[name])
    namespace = (given["namespace"] or vehicle.namespace).rstrip("/")
    name = given["name"] or vehicle.name or NAME
    given.faults += name_faults(namespace, name)
    node = LifecycleNode(
        package="semlt3d_ros",
        executable="detector",
        name=name,
        namespace=namespace,
        parameters=[given.file("params"), given.file("model_params"), overrides],
        remappings=list(vehicle.remaps),
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
    )
    nodes = [node, *recorder(given, namespace, name, rig)]
    if not given.truth("rviz"):
        given.refuse()
        return nodes
    need_rviz(given.faults)
    config = given.file("rviz_config")
    given.refuse()
    reliability = given["image_reliability"] or vehicle.parameters.get("image_reliability")
    if reliability == "reliable" and config == RVIZ_CONFIG:
        config = with_reliable_points(config)
    inside = make_namespace_absolute(prefix_namespace(context.launch_configurations.get("ros_namespace"), namespace))
    base_frame, points, cameras = rig_on_screen(Path(rig) if rig else None)
    # Panels are named as nuScenes' cameras; cameras by other names are shown in their order.
    seen = CAMERAS if set(cameras) <= set(CAMERAS) else cameras
    shown = {f"debug/{panel}/image": f"debug/{camera}/image" for panel, camera in zip(CAMERAS, seen, strict=False)}
    remaps = {
        f"/{NAME}/{topic}": vehicle.topic(f"~/{shown.get(topic, topic)}", inside or "/", name) for topic in RVIZ_TOPICS
    }
    remaps[RVIZ_POINTS] = points or RVIZ_POINTS
    screen = Node(
        package="rviz2",
        executable="rviz2",
        name="rviz2",
        arguments=["-d", config, *(["-f", base_frame] if base_frame else [])],
        parameters=[sim_time],
        remappings=[(topic, place) for topic, place in remaps.items() if topic != place],
        output="log",
    )
    return [*nodes, screen]


def recorder(given: Arguments, namespace: str, name: str, rig: str) -> list[GroupAction]:
    """The event recorder, where it is asked for: in the detector's namespace, on its rig, of its detections."""
    if not given.truth("recording"):
        return []
    if not given["events"]:
        given.faults.append("recording:=true needs the folder of the events, such as events:=/data/events")
    arguments = {
        "events": given.path("events"),
        "recording": given.file("triggers"),
        "params": given.file("recorder_params"),
        "vehicle": given["vehicle"],
        "rig": rig,
        "namespace": namespace,
        "name": name,
        "use_sim_time": given["use_sim_time"],
        "log_level": given["log_level"],
    }
    # A scope of its own: the arguments of both launch files share names.
    source = PythonLaunchDescriptionSource(str(Path(__file__).parent / "record.launch.py"))
    return [GroupAction([IncludeLaunchDescription(source, launch_arguments=arguments.items())], scoped=True)]


def as_parameter(value: Any) -> Any:
    """A parameter whose texts stay texts even where YAML would see a number."""
    if isinstance(value, str):
        return ParameterValue(value, value_type=str)
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return ParameterValue(value, value_type=list[str])
    return value


def with_reliable_points(config: str) -> str:
    """A copy of our configuration of RViz, beside this launch's logs, that asks for points reliably, as for images.

    By itself it takes what any LiDAR driver offers; but of a best-effort cloud that is larger than the socket's buffer
    nothing arrives while the screen is being drawn.
    """
    data = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    for display in data["Visualization Manager"]["Displays"]:
        if display["Class"] == "rviz_default_plugins/PointCloud2":
            display["Topic"]["Reliability Policy"] = "Reliable"
    copy = Path(launch_config.log_dir, "semlt3d.rviz")
    copy.write_text(yaml.safe_dump(data), encoding="utf-8")
    return str(copy)


def need_rviz(faults: list[str]) -> None:
    """Say how to get RViz where it is missing."""
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        faults.append("rviz:=true needs the package rviz2: sudo apt install ros-$ROS_DISTRO-rviz2")
