"""Autoware's objects as the node publishes them, and the file that says how."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from semlt3d_ros.core.errors import ConfigurationError, TypeNotInstalledError
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import stamp_of
from semlt3d_ros.messages.encode_objects import LABELS, ObjectOptions
from semlt3d_ros.nodes.objects_file import CLASSES, load_object_options

LiveNode = Callable[..., Any]
DEFAULT = Path(__file__).resolve().parents[2] / "config" / "autoware" / "classes.yaml"


def file_of(tmp_path: Path, content: object) -> str:
    path = tmp_path / "classes.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return str(path)


def test_the_default_file_says_what_holds_without_one() -> None:
    default = load_object_options("", CLASS_NAMES)
    assert load_object_options(str(DEFAULT), CLASS_NAMES) == default == ObjectOptions(CLASSES)
    assert set(default.classes) == set(CLASS_NAMES)
    assert set(default.classes.values()) <= set(LABELS)


def test_a_file_may_leave_out_numbers_and_name_added_classes(tmp_path: Path) -> None:
    file = file_of(tmp_path, {"classes": {"car": "CAR", "wheelchair": "PEDESTRIAN"}, "yaw_rad": 1})
    options = load_object_options(file, CLASS_NAMES)
    assert options == ObjectOptions({"car": "CAR", "wheelchair": "PEDESTRIAN"}, yaw_rad=1.0)


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    content = {
        "classes": {"car": "VEHICLE", "buss": "BUS", "truck": "truck", "adult": ["PEDESTRIAN"], 7: "CAR"},
        "yaw_rad": "wide",
        "velocity_mps": -1,
        "acros_m": 1,
        "orientation": "MAYBE",
    }
    with pytest.raises(ConfigurationError) as caught:
        load_object_options(file_of(tmp_path, content), CLASS_NAMES)
    text = str(caught.value)
    for part in (
        "car: Autoware has no label 'VEHICLE', it has UNKNOWN, CAR",
        "no class 'buss', did you mean 'bus'?",
        "truck: Autoware has no label 'truck', did you mean TRUCK?",
        "adult: Autoware has no label ['PEDESTRIAN']",
        "7 is not the name of a class",
        "yaw_rad must be a number, not 'wide'",
        "velocity_mps must not be negative, not -1.0",
        "unknown entry 'acros_m'; did you mean 'across_m'?",
        "orientation must be one of SIGN_UNKNOWN, AVAILABLE, not 'MAYBE'",
    ):
        assert part in text, text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- car\n", "must be a mapping"),
        ("", "it is empty"),
        ("yaw_rad: 1.0\n", "missing classes"),
        ("classes: [car]\n", r"classes must be a mapping, not \['car'\]"),
        ("classes: {car: [", "is not YAML"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load_object_options(file_of(tmp_path, content), CLASS_NAMES)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_object_options(str(tmp_path / "nowhere.yaml"), CLASS_NAMES)


def test_objects_are_published_beside_the_rest_while_somebody_listens(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    node.feed(recording.static_messages() + recording.set_messages(0))
    node.middleware.listeners[topics.OBJECTS] = 0
    node.feed(recording.set_messages(1))
    (message,) = node.middleware.published[topics.OBJECTS]
    assert stamp_of(message) == recording.stamp_of_set(0) and message.header.frame_id == "base_link"
    detections = node.middleware.published[topics.DETECTIONS][0].detections
    assert len(message.objects) == len(detections) == len(recording.cameras)
    best = [max(result.hypothesis.score for result in item.results) for item in detections]
    assert [item.existence_probability for item in message.objects] == pytest.approx(best)
    assert len(node.middleware.published[topics.DETECTIONS]) == 2


def test_one_who_listens_to_objects_alone_is_served(live_node: LiveNode, recording: Any) -> None:
    node = live_node(score_threshold=1.0)
    for topic in node.middleware.listeners:
        node.middleware.listeners[topic] = int(topic == topics.OBJECTS)
    node.feed(recording.static_messages() + recording.set_messages(0))
    (message,) = node.middleware.published[topics.OBJECTS]
    assert message.objects == [], "below the threshold nothing is published"


def test_labels_come_from_the_file_of_the_parameter(live_node: LiveNode, recording: Any, tmp_path: Path) -> None:
    file = file_of(tmp_path, {"classes": {"car": "HAZARD"}})
    node = live_node(objects_classes_file=file)
    node.feed(recording.static_messages() + recording.set_messages(0))
    first, second = node.middleware.published[topics.OBJECTS][0].objects
    assert {entry.label for item in (first, second) for entry in item.classification} == {
        LABELS["HAZARD"],
        LABELS["UNKNOWN"],
    }


def test_a_faulty_file_keeps_the_node_from_being_configured(live_node: LiveNode, tmp_path: Path) -> None:
    node = live_node(start=False, objects_classes_file=file_of(tmp_path, {"classes": {"car": "KAR"}}))
    with pytest.raises(ConfigurationError, match="did you mean CAR"):
        node.node.lifecycle.run("configure")
    assert topics.DETECTIONS not in node.middleware.published


def test_without_autowares_package_the_node_does_without(
    live_node: LiveNode, recording: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = live_node(start=False)
    create = node.middleware.create_publisher

    def installed(topic: str, type_name: str, *others: Any) -> Any:
        if type_name.startswith("autoware"):
            raise TypeNotInstalledError(f"message type {type_name} is not installed here")
        return create(topic, type_name, *others)

    monkeypatch.setattr(node.middleware, "create_publisher", installed)
    with caplog.at_level(logging.INFO):
        node.start()
    (line,) = [record for record in caplog.records if "autoware_perception_msgs" in record.message]
    assert line.levelno == logging.INFO and "~/objects" in line.message
    node.feed(recording.static_messages() + recording.set_messages(0))
    assert node.answers == [recording.stamp_of_set(0)]
    assert topics.OBJECTS not in node.middleware.published
