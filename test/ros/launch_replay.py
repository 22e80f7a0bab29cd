"""`launch_testing`: a recording, replayed in a loop into the launched detector; started by `colcon test`."""

from __future__ import annotations

import tempfile
import unittest
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import launch_testing.actions
import launch_testing.asserts
from ament_index_python.packages import get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

from launch import LaunchDescription
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import stamp_of
from semlt3d_ros.middleware.ros import RosMiddleware

SETS = 30


def generate_test_description() -> LaunchDescription:
    """The replay launch file on a tiny two-camera recording."""
    spec = spec_from_file_location("shared", Path(__file__).resolve().parents[1] / "conftest.py")
    assert spec is not None and spec.loader is not None
    shared = module_from_spec(spec)
    spec.loader.exec_module(shared)
    folder = Path(tempfile.mkdtemp())
    bag = shared.Recording.of_sets(folder / "drive.mcap", SETS)
    rig = folder / "two_cameras.yaml"
    rig.write_text("cameras:\n" + "".join(f"  - name: {name}\n" for name in shared.CAMERAS), encoding="utf-8")
    source = Path(get_package_share_directory("semlt3d_ros"), "launch", "replay.launch.py")
    arguments = {"bag": str(bag), "rig": str(rig), "device": "cpu", "loop": "true"}
    replay = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(source)), launch_arguments=arguments.items())
    return LaunchDescription([replay, launch_testing.actions.ReadyToTest()])


class Replayed(unittest.TestCase):
    """While it plays."""

    middleware: ClassVar[Any]

    @classmethod
    def setUpClass(cls) -> None:
        cls.middleware = RosMiddleware("replay_test")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.middleware.shutdown()

    def test_every_set_is_accounted_for_over_a_jump_in_time(self) -> None:
        stamps: list[int] = []
        sets: dict[str, str] = {}
        messages: dict[str, str] = {}

        def diagnostics(message: Any, _: int) -> None:
            for status in message.status:
                values = {entry.key: entry.value for entry in status.values}
                if status.name == "semlt3d: sets":
                    sets.update(values)
                elif status.name == "semlt3d: messages":
                    messages.update(values)

        self.middleware.create_subscription(
            topics.LONG_TAIL, topics.LONG_TAIL_TYPE, lambda message, _: stamps.append(stamp_of(message))
        )
        self.middleware.create_subscription(topics.DIAGNOSTICS, topics.DIAGNOSTIC_TYPE, diagnostics)
        jumped = self.middleware.spin(lambda: int(messages.get("resets.time_jump", 0)) >= 2, 120)
        self.assertTrue(jumped, (sets, messages))
        self.assertGreater(len(stamps), SETS)
        self.assertTrue(any(later < earlier for earlier, later in pairwise(stamps)))
        processed = int(sets["sets_processed"])
        dropped = sum(int(value) for key, value in sets.items() if key.startswith("drops."))
        self.assertLessEqual(int(sets["sets_in"]) - processed - dropped, 2)  # under way


@launch_testing.post_shutdown_test()
class Ended(unittest.TestCase):
    """After SIGINT."""

    def test_both_processes_end_cleanly(self, proc_info: Any) -> None:
        launch_testing.asserts.assertExitCodes(proc_info)
