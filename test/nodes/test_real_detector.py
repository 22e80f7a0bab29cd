"""The shipped checkpoint, live in the node's own process and offline, gives the same answers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from semlt3d_ros.data.bags import BagSource
from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.middleware.port import QoS
from semlt3d_ros.nodes.player import Player, PlayerOptions


def test_node_and_detect_command_agree_byte_for_byte(
    join: Callable[..., DdsMiddleware], domain: int, recording: Any, tmp_path: Path
) -> None:
    bag, answered = recording.of_sets(tmp_path / "drive.mcap", 5), tmp_path / "offline.mcap"
    # One thread on both sides: how sums are split over threads shows in the last bits.
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "semlt3d_ros.cli"]
    subprocess.run([*command, "detect", str(bag), "-o", str(answered)], env=environment, check=True)
    with BagSource(answered) as source:
        offline = [bytes(message.data) for message in source.messages([topics.LONG_TAIL])]
    assert len(offline) == 5

    cameras = f"cameras:=[{', '.join(recording.cameras)}]"
    node = subprocess.Popen([*command, "node", "-p", cameras, "-p", "threads:=1"], env=environment)
    try:
        middleware = join()
        live: list[bytes] = []
        subscription = middleware.create_subscription(
            topics.LONG_TAIL, topics.LONG_TAIL_TYPE, lambda data, _: live.append(bytes(data)), QoS(depth=20), raw=True
        )
        assert middleware.spin(lambda: subscription.matched == 1, 120)
        summary = Player(middleware, bag, PlayerOptions(rate=100, lockstep=True, answer_timeout_s=60)).play()
        assert middleware.spin(lambda: len(live) >= 5, 60)
    finally:
        node.terminate()
        assert node.wait(30) == 0
    assert summary.unanswered == 0
    # DDS pads a message to a multiple of four bytes.
    assert [answer[: len(before)] for answer, before in zip(live, offline, strict=True)] == offline
