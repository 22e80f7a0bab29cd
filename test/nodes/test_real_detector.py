"""A checkpoint, live in the node's own process and offline, gives the same answers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
from semlt3d_ros.checkpoints.shipped import default_checkpoint
from semlt3d_ros.cli import main
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import stamp_of
from semlt3d_ros.messages.typestore import deserialize
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.middleware.port import QoS
from semlt3d_ros.nodes.player import Player, PlayerOptions
from semlt3d_ros.semantics.anchors import save_anchors
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student


def shipped(folder: Path) -> dict[str, Path]:
    return {"checkpoint": default_checkpoint()}


def advised(folder: Path) -> dict[str, Path]:
    return {"checkpoint": default_checkpoint(), "second-opinion": Path("tiny")}


def full(folder: Path) -> dict[str, Path]:
    """Memory, language and added classes, with random weights."""
    torch.manual_seed(2)
    config = StudentConfig(
        image_width=64, image_height=32, anchors=10, proposals=5, depth_bins=8, memory_frames=2, memory_queries=4,
        block="language_experts", language_width=8, language_share=0.5, score_floor=0.001,
    )  # fmt: skip
    student = Student(config)
    student.set_anchors(torch.nn.functional.normalize(torch.randn(18, 8), dim=-1))
    save_checkpoint(folder / "full.safetensors", student, "full", {}, {"source": "x", "prompts": []})
    rows = np.random.default_rng(0).normal(size=(2, 8))
    save_anchors(folder / "anchors.safetensors", LanguageAnchors(("wheelchair", "car"), rows, source="x"))
    return {"checkpoint": folder / "full.safetensors", "vocabulary": folder / "anchors.safetensors"}


def published(folder: Path) -> dict[str, Path]:
    """Published weights, imported."""
    from bench.parity.checkpoints import write_streampetr

    shape = {"queries": 12, "propagated": 4, "remembered": 4, "memory_length": 16, "layers": 2}
    weights = write_streampetr(folder / "weights.pth", **shape)
    out = folder / "published.safetensors"
    assert main(["import-weights", str(weights), "-o", str(out), "--image-size", "96x64"]) == 0
    return {"checkpoint": out}


@pytest.mark.parametrize("make", [shipped, advised, full, published])
def test_node_and_detect_command_agree_byte_for_byte(
    join: Callable[..., DdsMiddleware],
    domain: int,
    recording: Any,
    tmp_path: Path,
    make: Callable[..., dict[str, Path]],
) -> None:
    files, answered = make(tmp_path), tmp_path / "offline.mcap"
    messages = recording.static_messages()
    for index in (0, 1, 2, 80, 81, 3, 4):  # a gap, then a jump back
        messages += recording.set_messages(index)
    bag = tmp_path / "drive.mcap"
    with BagSink(bag) as sink:
        for received, (topic, type_name, message, _) in enumerate(messages):
            sink.write(topic, type_name, message, messages[0][3] + received * 1_000_000)
    # One thread on both sides: how sums are split over threads shows in the last bits.
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "semlt3d_ros.cli"]
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    subprocess.run([*command, "detect", str(bag), "-o", str(answered), *options], env=environment, check=True)
    with BagSource(answered) as source:
        offline = {message.stamp: bytes(message.data) for message in source.messages([topics.LONG_TAIL])}
    assert len(offline) == 7

    cameras = f"cameras:=[{', '.join(recording.cameras)}]"
    parameters = [cameras, "threads:=1", f"checkpoint:={files['checkpoint']}"]
    if "vocabulary" in files:
        parameters.append(f"vocabulary_file:={files['vocabulary']}")
    if "second-opinion" in files:
        parameters.append(f"second_opinion:={files['second-opinion']}")
    options = [word for parameter in parameters for word in ("-p", parameter)]
    node = subprocess.Popen([*command, "node", *options], env=environment)
    try:
        middleware = join()
        live: list[bytes] = []
        subscription = middleware.create_subscription(
            topics.LONG_TAIL, topics.LONG_TAIL_TYPE, lambda data, _: live.append(bytes(data)), QoS(depth=20), raw=True
        )
        assert middleware.spin(lambda: subscription.matched == 1, 120)
        summary = Player(middleware, bag, PlayerOptions(rate=100, lockstep=True, answer_timeout_s=60)).play()
        assert middleware.spin(lambda: len(live) >= 7, 60)
    finally:
        node.terminate()
        assert node.wait(30) == 0
    assert summary.unanswered == 0
    wanted = {"shipped": 18, "advised": 18, "full": 19, "published": 10}[make.__name__]
    read = [deserialize(answer, topics.LONG_TAIL_TYPE) for answer in live]
    assert {len(message.class_names) for message in read} == {wanted}
    told = [len(item.classifier_confidences) for message in read for item in message.detections]
    assert set(told) == {18 if make is advised else 0}
    answers = {stamp_of(deserialize(answer, topics.LONG_TAIL_TYPE)): answer for answer in live}
    # DDS pads a message to a multiple of four bytes.
    assert {stamp: answers[stamp][: len(before)] for stamp, before in offline.items()} == offline
