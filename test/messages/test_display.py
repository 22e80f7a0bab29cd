from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import DiagnosticEntry, encode_diagnostics, encode_markers
from semlt3d_ros.messages.encode_display import GROUP_COLORS


def detections(names_and_scores: list[tuple[str, float]], velocity: tuple[float, float] = (3.0, 4.0)) -> Detections:
    count = len(names_and_scores)
    confidences = np.zeros((count, len(CLASS_NAMES)), np.float32)
    for row, (name, score) in enumerate(names_and_scores):
        confidences[row, CLASS_INDEX[name]] = score
    centers = np.arange(3.0 * count).reshape(count, 3)
    boxes = Boxes3D(centers, np.ones((count, 3)), np.zeros(count), np.tile(velocity, (count, 1)))
    return Detections(42, boxes, confidences)


def test_classes_in_no_group_are_grey() -> None:
    found = detections([("car", 0.2)])
    confidences = np.hstack([found.confidences, np.full((1, 1), 0.9, np.float32)])
    named = Detections(42, found.boxes, confidences, (*CLASS_NAMES, "fallen tree"))
    _, cube, text, *_ = encode_markers(named, "base_link").markers
    assert (cube.color.r, cube.color.g, cube.color.b) == pytest.approx(GROUP_COLORS[""])
    assert text.text == "fallen tree 0.90"


def test_every_set_replaces_the_one_before(types: Any) -> None:
    message = encode_markers(detections([("car", 0.9), ("child", 0.4)]), "base_link", types=types)
    marker = types("visualization_msgs/msg/Marker")
    assert message.markers[0].action == marker.DELETEALL
    assert all(item.action == marker.ADD for item in message.markers[1:])
    assert encode_markers(detections([]), "base_link", types=types).markers[0].action == marker.DELETEALL
    keys = [(item.ns, item.id) for item in message.markers[1:]]
    assert len(keys) == len(set(keys))
    assert {item.header.frame_id for item in message.markers} == {"base_link"}


def test_a_box_is_a_cube_a_name_and_an_arrow(types: Any) -> None:
    message = encode_markers(detections([("child", 0.75)]), "base_link", types=types)
    marker = types("visualization_msgs/msg/Marker")
    by_type = {item.type: item for item in message.markers[1:]}
    assert set(by_type) == {marker.CUBE, marker.TEXT_VIEW_FACING, marker.ARROW}
    cube, text, arrow = by_type[marker.CUBE], by_type[marker.TEXT_VIEW_FACING], by_type[marker.ARROW]
    assert (cube.color.r, cube.color.g, cube.color.b) == pytest.approx(GROUP_COLORS["few"])
    assert text.text == "child 0.75" and text.pose.position.z > cube.pose.position.z + cube.scale.z / 2
    assert arrow.scale.x == pytest.approx(5.0)
    heading = 2 * np.arctan2(arrow.pose.orientation.z, arrow.pose.orientation.w)
    assert heading == pytest.approx(np.arctan2(4.0, 3.0))


@pytest.mark.parametrize("velocity", [(np.nan, np.nan), (0.1, 0.0)])
def test_unknown_and_small_velocities_have_no_arrow(velocity: tuple[float, float]) -> None:
    assert len(encode_markers(detections([("car", 0.9)], velocity), "base_link").markers) == 3


def test_boxes_below_the_threshold_are_not_drawn() -> None:
    message = encode_markers(detections([("car", 0.9), ("child", 0.2)]), "base_link", score_threshold=0.3)
    assert [item.text for item in message.markers if item.text] == ["car 0.90"]


def test_markers_can_be_sent(sent: Callable[[Any, str], Any]) -> None:
    message = encode_markers(detections([("car", 0.9)]), "base_link")
    assert len(sent(message, topics.MARKER_TYPE).markers) == len(message.markers)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_diagnostics_have_the_level_that_the_class_wants(types: Any, level: int) -> None:
    message = encode_diagnostics(
        [DiagnosticEntry("cameras", level, "CAM_LEFT stopped", {"age_ms": 12.5})], 7, types=types
    )
    status = types("diagnostic_msgs/msg/DiagnosticStatus")
    assert message.status[0].level == (status.OK, status.WARN, status.ERROR, status.STALE)[level]
    assert type(message.status[0].level) is type(status.OK)
    assert [(item.key, item.value) for item in message.status[0].values] == [("age_ms", "12.5")]


def test_diagnostics_can_be_sent(sent: Callable[[Any, str], Any]) -> None:
    message = sent(encode_diagnostics([("a", 2, "b", {}), ("c", 0, "", {"k": None})], 7), topics.DIAGNOSTIC_TYPE)
    assert [(item.name, item.level) for item in message.status] == [("a", 2), ("c", 0)]
