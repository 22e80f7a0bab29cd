"""The detector node, and RViz beside it when asked.

For example: ros2 launch semlt3d_ros detector.launch.py rig:=nuscenes checkpoint:=/models/city.safetensors rviz:=true

`ros2 launch` runs on the system's Python, whatever environment is active, so this file imports nothing but ROS.
"""

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

SHARE = Path(__file__).parents[1]
RIGS = SHARE / "config" / "rigs"
CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
RVIZ_TOPICS = ("markers", *(f"debug/{name}/image" for name in CAMERAS))
"""What ``config/semlt3d.rviz`` shows of the node, below ``/semlt3d/``."""


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; what they mean is worked out when they are known."""
    rigs = ", ".join(known_rigs())
    arguments = {
        "namespace": ("", "namespace of the node, such as front_unit"),
        "name": ("semlt3d", "name of the node; its topics and services lie below it"),
        "params": (str(SHARE / "config" / "detector.yaml"), "parameters of the node, as YAML"),
        "model_params": (
            str(SHARE / "config" / "model.yaml"),
            "parameters of the model (checkpoint, folder, device, vocabulary), as YAML; they override 'params'",
        ),
        "rig": ("", f"the cameras: one of {rigs}, or the path of a rig file; empty: as 'params' says"),
        "checkpoint": ("", "path of a .safetensors checkpoint; empty: as 'model_params' says"),
        "device": ("", "auto, cpu, or cuda[:N]; empty: as 'model_params' says"),
        "image_reliability": ("", "QoS asked of the cameras: best_effort or reliable; empty: as 'params' says"),
        "autostart": ("true", "configure and activate the node; false leaves that to `ros2 lifecycle` or a manager"),
        "use_sim_time": ("false", "take the time from /clock"),
        "rviz": ("false", "start RViz too"),
        "rviz_config": (str(SHARE / "config" / "semlt3d.rviz"), "what RViz shows"),
        "log_level": ("info", "debug, info, warn, error or fatal"),
    }
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Node]:
    """The nodes, once every argument has been checked.

    Raises:
        RuntimeError: an argument does not fit; `ros2 launch` prints it as one line, and nothing has been started.
    """

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context).strip()

    sim_time = {"use_sim_time": truth("use_sim_time", value("use_sim_time"))}
    overrides = {"autostart": truth("autostart", value("autostart")), **sim_time}
    if value("rig"):
        overrides["rig_file"] = as_text(rig_file(value("rig")))
    if value("checkpoint"):
        overrides["checkpoint"] = as_text(existing("checkpoint", value("checkpoint")))
    for name in ("device", "image_reliability"):
        if value(name):
            overrides[name] = as_text(value(name))
    nodes = [
        LifecycleNode(
            package="semlt3d_ros",
            executable="detector",
            name=value("name"),
            namespace=value("namespace"),
            parameters=[
                existing("params", value("params")),
                existing("model_params", value("model_params")),
                overrides,
            ],
            ros_arguments=["--log-level", value("log_level")],
            output="screen",
        )
    ]
    if truth("rviz", value("rviz")):
        need_rviz()
        here = "/".join(["", *filter(None, (value("namespace").strip("/"), value("name")))])
        nodes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz2",
                arguments=["-d", existing("rviz_config", value("rviz_config"))],
                parameters=[sim_time],
                remappings=[(f"/semlt3d/{topic}", f"{here}/{topic}") for topic in RVIZ_TOPICS if here != "/semlt3d"],
                output="log",
            )
        )
    return nodes


def known_rigs() -> list[str]:
    """Names of the rigs that come with the package."""
    return sorted(path.stem for path in RIGS.glob("*.yaml"))


def rig_file(rig: str) -> str:
    """The path of a rig given by name or path.

    Raises:
        RuntimeError: it is neither.
    """
    if rig in known_rigs():
        return str(RIGS / f"{rig}.yaml")
    path = Path(rig).expanduser().absolute()
    if not path.is_file():
        raise RuntimeError(f"rig:={rig} is neither a file nor one of {', '.join(known_rigs())}")
    return str(path)


def existing(argument: str, text: str) -> str:
    """The absolute path of a file that is there.

    Raises:
        RuntimeError: it is not.
    """
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise RuntimeError(f"{argument}:={text} is not a file")
    return str(path)


def truth(argument: str, text: str) -> bool:
    """The boolean that an argument spells.

    Raises:
        RuntimeError: it spells none.
    """
    if text.lower() not in ("true", "false"):
        raise RuntimeError(f"{argument}:={text} is neither true nor false")
    return text.lower() == "true"


def as_text(text: str) -> ParameterValue:
    """A parameter that stays text even where YAML would see a number."""
    return ParameterValue(text, value_type=str)


def need_rviz() -> None:
    """Say how to get RViz where it is missing.

    Raises:
        RuntimeError: it is.
    """
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        raise RuntimeError("rviz:=true needs the package rviz2: sudo apt install ros-$ROS_DISTRO-rviz2") from None
