"""The detector on a recording, with RViz beside it when asked. All arguments of detector.launch.py hold here too.

For example: ros2 launch semlt3d_ros replay.launch.py bag:=drive.mcap rate:=0.5 rviz:=true
"""

import math
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

PLAYERS = ("semlt3d", "rosbag2")
CLOCK_HZ = "100"
FAULTS = "semlt3d_faults"
"""Where detector.launch.py looks for what is wrong with arguments that are not its own."""


def generate_launch_description() -> LaunchDescription:
    """Check the recording, start the detector on simulated time, then the player."""
    arguments = {
        "bag": (None, "the recording: an .mcap file or a rosbag2 folder"),
        "rate": ("1.0", "speed relative to the recording's"),
        "loop": ("false", "start again at the end, until Ctrl-C"),
        "player": ("semlt3d", "semlt3d: this package's player; rosbag2: `ros2 bag play`. Both publish /clock"),
        "delay": ("5.0", "seconds that rosbag2 waits for the detector; this package's player waits until it is there"),
        "exit_when_played": ("false", "end everything when the recording has been played"),
    }
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]
    detector = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(Path(__file__).parent / "detector.launch.py")),
        launch_arguments={"use_sim_time": "true"}.items(),
    )
    return LaunchDescription([*declared, OpaqueFunction(function=check), detector, OpaqueFunction(function=play)])


def check(context: LaunchContext) -> list[SetLaunchConfiguration]:
    """Look at the arguments before anything starts; the detector's launch file tells what is wrong, with the rest."""
    *_, player, _, faults = settings(context)
    if faults:
        return [SetLaunchConfiguration(FAULTS, "; ".join(faults))]
    if player == "semlt3d" and not context.launch_configurations.get("image_reliability"):
        # It offers reliable images, and nothing recorded need be lost.
        return [SetLaunchConfiguration("image_reliability", "reliable")]
    return []


def play(context: LaunchContext) -> list[ExecuteProcess]:
    """The player."""
    bag, rate, delay, loop, player, ends, _ = settings(context)
    on_exit = Shutdown(reason="the recording has been played") if ends else None
    if player == "rosbag2":
        command = ["ros2", "bag", "play", str(bag), "--clock", CLOCK_HZ, "--rate", str(rate), "--delay", str(delay)]
        return [ExecuteProcess(cmd=[*command, *(["--loop"] if loop else [])], output="screen", on_exit=on_exit)]
    parameters = {"bag": ParameterValue(str(bag), value_type=str), "rate": rate, "loop": loop}
    return [
        Node(
            package="semlt3d_ros",
            executable="player",
            name="semlt3d_player",
            parameters=[parameters],
            output="screen",
            on_exit=on_exit,
        )
    ]


def settings(context: LaunchContext) -> tuple[Path, float, float, bool, str, bool, list[str]]:
    """bag, rate, delay, loop, player and exit_when_played, and all that is wrong with them."""
    faults = []

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context).strip()

    bag = Path(value("bag")).expanduser().absolute()
    if not value("bag") or not bag.exists():
        faults.append(f"bag:={value('bag')} does not exist; give an .mcap file or a rosbag2 folder")
    rate, delay = number(value("rate")), number(value("delay"))
    if not 0 < rate < math.inf:
        faults.append(f"rate:={value('rate')} is not a number greater than 0")
    if not 0 <= delay < math.inf:
        faults.append(f"delay:={value('delay')} is not a number of seconds, 0 or more")
    for name in ("loop", "exit_when_played"):
        if value(name).lower() not in ("true", "false"):
            faults.append(f"{name}:={value(name)} is neither true nor false")
    if value("player") not in PLAYERS:
        faults.append(f"player:={value('player')} is not one of {', '.join(PLAYERS)}")
    loop, ends = (value(name).lower() == "true" for name in ("loop", "exit_when_played"))
    return bag, rate, delay, loop, value("player"), ends, faults


def number(text: str) -> float:
    """The number that a text spells; NaN where it spells none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
