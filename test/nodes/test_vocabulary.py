"""Classes set by language while the node runs; sets the detector refuses; what the memory says of itself."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.cli import main
from semlt3d_ros.core.errors import ConfigurationError, InputRejected, Semlt3dError
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_detection3d, decode_long_tail
from semlt3d_ros.messages.typestore import message_class
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.middleware.topic_requests import PARAMETER_TYPE, parameter_value, set_parameter
from semlt3d_ros.nodes.detector import DetectorNode
from semlt3d_ros.nodes.detector_main import open_detector
from semlt3d_ros.nodes.detector_parameters import NODE_NAME
from semlt3d_ros.nodes.player import Player, PlayerOptions
from semlt3d_ros.semantics.anchors import save_anchors

LiveNode = Callable[..., Any]
WIDTH = 8


@pytest.fixture
def anchor_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes anchors of some names in the language space of the fake detector."""

    def write(*names: str, width: int = WIDTH, source: str = "fake") -> Path:
        path = tmp_path / f"{'-'.join(names)}-{width}-{source}.safetensors"
        rows = np.random.default_rng(3).normal(size=(len(names), width))
        save_anchors(path, LanguageAnchors(names, rows, source=source))
        return path

    return write


def asked(node: Any, name: str, value: Any) -> Any:
    """The node's answer to a parameter."""
    message = message_class(PARAMETER_TYPE)(name=name, value=parameter_value(message_class, value))
    node.feed([("/semlt3d/set_parameter", PARAMETER_TYPE, message, 0)])
    return node.middleware.published["/semlt3d/set_parameter/result"][-1]


def test_a_vocabulary_takes_effect_at_the_next_set_and_goes_again(
    live_node: LiveNode, recording: Any, anchor_file: Callable[..., Path]
) -> None:
    node, file = live_node(), anchor_file("wheelchair", "fallen tree")
    node.feed(recording.static_messages() + recording.set_messages(0))
    answer = asked(node, "vocabulary_file", str(file))
    assert answer.successful and answer.reason == f"vocabulary_file = {str(file)!r}"
    node.feed(recording.set_messages(1))
    model = node.report()["model"]
    assert model["vocabulary_file"] == str(file) and model["classes"].endswith("barrier,wheelchair,fallen tree")
    assert asked(node, "vocabulary_file", "").successful
    node.feed(recording.set_messages(2))
    published = node.middleware.published
    names = [decode_long_tail(message).class_names for message in published[topics.LONG_TAIL]]
    assert names == [CLASS_NAMES, (*CLASS_NAMES, "wheelchair", "fallen tree"), CLASS_NAMES]
    assert node.detector.resets == 0 and node.report()["model"]["vocabulary_file"] == ""


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda write, path: write("wheelchair", width=5), "dimension 5"),
        (lambda write, path: write("wheelchair", source="other"), "are from 'other'"),
        (lambda write, path: path / "absent.safetensors", "do not exist"),
        (lambda write, path: damaged(write("wheelchair")), "is not a readable file of language anchors"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_rejected_and_the_old_one_stays(
    live_node: LiveNode,
    recording: Any,
    anchor_file: Callable[..., Path],
    tmp_path: Path,
    make: Callable[..., Path],
    words: str,
) -> None:
    node = live_node(vocabulary_file=str(anchor_file("fallen tree")))
    answer = asked(node, "vocabulary_file", str(make(anchor_file, tmp_path)))
    assert not answer.successful and words in answer.reason
    node.feed(recording.static_messages() + recording.set_messages(0))
    assert decode_long_tail(node.middleware.published[topics.LONG_TAIL][0]).class_names[18:] == ("fallen tree",)
    model = node.report()["model"]
    assert model["level"] == "1" and words in model["vocabulary_rejected"]
    assert model["vocabulary_file"].endswith("fallen tree-8-fake.safetensors")
    assert asked(node, "vocabulary_file", "").successful
    assert node.report()["model"]["level"] == "0"


def damaged(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:40])
    return path


def test_other_parameters_and_other_kinds_of_values_are_rejected(live_node: LiveNode) -> None:
    node = live_node()
    answer = asked(node, "rig_file", "x")
    assert not answer.successful and "rig_file can only be changed before" in answer.reason
    answer = asked(node, "vocabulary_file", 3)
    assert not answer.successful and "vocabulary_file = 3 is not a text" in answer.reason
    answer = asked(node, "vocabulary", "x")
    assert not answer.successful and "did you mean 'vocabulary_file'?" in answer.reason
    message = message_class(PARAMETER_TYPE)("vocabulary_file", parameter_value(message_class, "x"))
    message.value.type = 0
    node.feed([("/semlt3d/set_parameter", PARAMETER_TYPE, message, 0)])
    answer = node.middleware.published["/semlt3d/set_parameter/result"][-1]
    assert not answer.successful and "a value of type 0" in answer.reason


def test_a_vocabulary_that_cannot_be_used_starts_nothing(live_node: LiveNode) -> None:
    with pytest.raises(ConfigurationError, match="do not exist"):
        live_node(vocabulary_file="/nowhere/anchors.safetensors")


def test_a_set_the_detector_refuses_is_counted_and_not_published(
    live_node: LiveNode, recording: Any, caplog: pytest.LogCaptureFixture
) -> None:
    node = live_node()
    detect = node.detector.detect

    def refuse_once(frame: Any) -> Any:
        node.detector.detect = detect
        raise InputRejected("not_finite", "no output is finite")

    node.detector.detect = refuse_once
    node.feed(recording.static_messages() + recording.set_messages(0) + recording.set_messages(1))
    assert node.answers == [recording.stamp_of_set(1)]
    sets = node.report()["sets"]
    assert (sets["sets_in"], sets["sets_processed"], sets["drops.not_finite"]) == ("2", "1", "1")
    assert sets["level"] == "1" and "no output is finite" in caplog.text and "Traceback" not in caplog.text


def test_the_memory_tells_why_it_was_emptied(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    assert node.report()["memory"]["level"] == "0"
    node.detector.memory_resets = Counter({"start": 1, "kept": 5, "long gap": 2})
    node.feed(recording.static_messages() + recording.set_messages(0))
    memory = node.report()["memory"]
    assert (memory["level"], memory["resets.long_gap"], memory["resets.kept"]) == ("0", "2", "5")
    node.detector.memory_resets["no ego pose"] += 3
    node.feed(recording.set_messages(1))
    memory = node.report()["memory"]
    assert memory["level"] == "1" and memory["resets.no_ego_pose"] == "3"
    assert "3 of 11 sets had no ego pose" in memory["message"] and "publish odometry or tf" in memory["message"]


def test_what_is_no_parameter_is_told_before_anything_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["set", "vocabulary_file"]) == 2
    assert "'vocabulary_file' is not of the form NAME:=VALUE" in capsys.readouterr().err


def test_a_node_that_is_not_there_is_named(join: Callable[..., DdsMiddleware]) -> None:
    with pytest.raises(Semlt3dError, match="no node answers on /nobody/set_parameter"):
        set_parameter(join(), "nobody", "vocabulary_file", "x", 0.2)


@pytest.fixture
def speaking_checkpoint(tmp_path: Path) -> Path:
    """A small student with language and random weights."""
    torch = pytest.importorskip("torch")
    from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
    from semlt3d_ros.student.config import StudentConfig
    from semlt3d_ros.student.student import Student

    torch.manual_seed(1)
    config = StudentConfig(
        image_width=64, image_height=32, anchors=10, proposals=5, depth_bins=8, memory_frames=2, memory_queries=4,
        block="language_experts", language_width=WIDTH, language_share=0.5, score_floor=0.0,
    )  # fmt: skip
    student = Student(config)
    student.set_anchors(torch.nn.functional.normalize(torch.randn(18, WIDTH), dim=-1))
    path = tmp_path / "speaking.safetensors"
    save_checkpoint(path, student, "speaking", {}, {"source": "fake", "prompts": []})
    return path


def test_a_student_learns_names_over_dds_and_keeps_its_own_when_they_do_not_fit(
    join: Callable[..., DdsMiddleware],
    speaking_checkpoint: Path,
    recording: Any,
    anchor_file: Callable[..., Path],
    tmp_path: Path,
    domain: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    cameras = f"cameras:=[{', '.join(recording.cameras)}]"
    robot = join(NODE_NAME, f"checkpoint:={speaking_checkpoint}", "device:=cpu", "threads:=1", cameras)
    player, shell = join("player"), join("shell")
    answers: list[Any] = []
    boxes: list[Any] = []
    player.create_subscription(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, lambda message, _: answers.append(message))
    player.create_subscription(topics.DETECTIONS, topics.DETECTION_3D_TYPE, lambda message, _: boxes.append(message))
    node = DetectorNode(robot, open_detector)
    node.lifecycle.run("configure")
    node.lifecycle.run("activate")
    thread = threading.Thread(target=robot.spin)
    thread.start()
    bag = recording.of_sets(tmp_path / "drive.mcap", 3)
    options = PlayerOptions(rate=1000, lockstep=True, wait_for_subscribers_s=60, answer_timeout_s=60)
    try:
        file = anchor_file("wheelchair")
        assert main(["set", f"vocabulary_file:={file}"]) == 0
        assert capsys.readouterr().out == f"vocabulary_file = '{file}'\n"
        assert main(["call", "reset_memory"]) == 0
        assert capsys.readouterr().out == "what was seen is forgotten before the next set\n"
        assert main(["call", "reload_model"]) == 2
        assert "model_folder is empty" in capsys.readouterr().err
        with pytest.raises(Semlt3dError, match=r"/semlt3d/set_parameter: .*dimension 3"):
            set_parameter(shell, NODE_NAME, "vocabulary_file", str(anchor_file("tree", width=3)), 60)
        Player(player, bag, options).play()
        assert player.spin(lambda: len(answers) == 3 and len(boxes) == 3, 60)
    finally:
        robot.stop()
        thread.join(60)
        node.close()
    found = decode_long_tail(answers[2])
    assert found.class_names == (*CLASS_NAMES, "wheelchair") and len(found) > 0
    assert found.confidences[:, 18].max() > 0 and found.expert_weights.shape == (len(found), 4)
    assert ((found.expert_weights > 0).sum(axis=1) == 2).all() and np.isfinite(found.depth_uncertainty).all()
    assert set(decode_detection3d(boxes[2]).class_names) >= set(CLASS_NAMES)
