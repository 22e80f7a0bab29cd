from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.rigid import rotation_from_quaternion
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.encode import MarkerOptions
from semlt3d_ros.messages.encode_markers import GROUP_COLORS
from semlt3d_ros.messages.typestore import deserialize, message_class

MARKER = message_class("visualization_msgs/msg/Marker")
ANY_NUMBER = st.floats(allow_nan=True, allow_infinity=True, width=32)


def detections(
    *scores: dict[str, float], velocity: tuple[float, float] = (3.0, 4.0), uncertainty: float = np.nan
) -> Detections:
    """One box per argument, which gives its classes' scores."""
    count = len(scores)
    confidences = np.zeros((count, len(CLASS_NAMES)), np.float32)
    for row, given_scores in enumerate(scores):
        for name, score in given_scores.items():
            confidences[row, CLASS_INDEX[name]] = score
    centers = np.array([8.0, -6.0, 1.0]) + np.arange(3.0 * count).reshape(count, 3)
    boxes = Boxes3D(centers, np.ones((count, 3)), np.zeros(count), np.tile(velocity, (count, 1)))
    return Detections(42, boxes, confidences, depth_uncertainty=np.full(count, uncertainty, np.float32))


def encode_markers(*arguments: Any) -> Any:
    """The markers as whoever subscribes reads them."""
    return deserialize(encode.encode_markers(*arguments), topics.MARKER_TYPE)


def shapes_of(message: Any) -> dict[str, Any]:
    """The markers of the only box, by namespace."""
    return {item.ns: item for item in message.markers[1:]}


def numbers(marker: Any) -> list[float]:
    """Everything in a marker that must be a number."""
    pose, scale, color = marker.pose, marker.scale, marker.color
    position = (pose.position.x, pose.position.y, pose.position.z)
    orientation = (pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w)
    return [*position, *orientation, scale.x, scale.y, scale.z, color.r, color.g, color.b, color.a]


def test_classes_in_no_group_are_grey() -> None:
    found = detections({"car": 0.2})
    confidences = np.hstack([found.confidences, np.full((1, 1), 0.9, np.float32)])
    named = Detections(42, found.boxes, confidences, (*CLASS_NAMES, "fallen tree"))
    shapes = shapes_of(encode_markers(named, "base_link"))
    cube = shapes["boxes"]
    assert (cube.color.r, cube.color.g, cube.color.b) == pytest.approx(GROUP_COLORS[""])
    assert shapes["names"].text == "fallen tree 0.90\ncar 0.20"


def test_classes_of_a_list_without_groups_each_have_their_own_colour() -> None:
    names = ("deer", "person", "car", "tram")
    box = detections({"car": 0.9}).boxes

    def color(name: str, names: tuple[str, ...] = names) -> tuple[float, float, float]:
        scores = np.array([[0.9 * (each == name) for each in names]])
        cube = shapes_of(encode_markers(Detections(42, box, scores, names), "base_link"))["boxes"]
        return cube.color.r, cube.color.g, cube.color.b

    colors = {name: color(name) for name in names}
    assert len(set(colors.values())) == len(names) and not set(colors.values()) & set(GROUP_COLORS.values())
    assert color("tram", ("tram", "deer")) == colors["tram"]
    grouped = Detections(42, box, np.array([[0.9, 0.1]]), ("deer", "tram"), class_groups=("few", "many"))
    cube = shapes_of(encode_markers(grouped, "base_link"))["boxes"]
    assert (cube.color.r, cube.color.g, cube.color.b) == pytest.approx(GROUP_COLORS["few"])


def test_every_set_replaces_the_one_before() -> None:
    message = encode_markers(detections({"car": 0.9}, {"child": 0.4}), "base_link")
    assert message.markers[0].action == MARKER.DELETEALL
    assert all(item.action == MARKER.ADD for item in message.markers[1:])
    assert encode_markers(detections(), "base_link").markers[0].action == MARKER.DELETEALL
    keys = [(item.ns, item.id) for item in message.markers[1:]]
    assert len(keys) == len(set(keys))
    assert {item.header.frame_id for item in message.markers} == {"base_link"}


def test_a_box_is_a_cube_a_text_and_an_arrow() -> None:
    shapes = shapes_of(encode_markers(detections({"child": 0.75}), "base_link"))
    assert {space: item.type for space, item in shapes.items()} == {
        "boxes": MARKER.CUBE,
        "names": MARKER.TEXT_VIEW_FACING,
        "velocities": MARKER.ARROW,
    }
    cube, text, arrow = shapes["boxes"], shapes["names"], shapes["velocities"]
    assert (cube.color.r, cube.color.g, cube.color.b) == pytest.approx(GROUP_COLORS["few"])
    assert text.text == "child 0.75" and text.pose.position.z > cube.pose.position.z + cube.scale.z / 2
    assert arrow.scale.x == pytest.approx(5.0)
    heading = 2 * np.arctan2(arrow.pose.orientation.z, arrow.pose.orientation.w)
    assert heading == pytest.approx(np.arctan2(4.0, 3.0))


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "child 0.60"), (3, "child 0.60\nadult 0.30\nstroller 0.17"), (18, "child 0.60\nadult 0.30\nstroller 0.17")],
)
def test_the_best_classes_are_written_with_their_scores(count: int, text: str) -> None:
    found = detections({"adult": 0.3, "child": 0.6, "stroller": 0.17, "debris": 0.09})
    shapes = shapes_of(encode_markers(found, "base_link", MarkerOptions(text_classes=count)))
    assert shapes["names"].text == text


@pytest.mark.parametrize("velocity", [(np.nan, np.nan), (np.inf, 0.0), (0.1, 0.0)])
def test_unknown_and_small_velocities_have_no_arrow(velocity: tuple[float, float]) -> None:
    assert "velocities" not in shapes_of(encode_markers(detections({"car": 0.9}, velocity=velocity), "base_link"))


def test_velocities_can_be_left_out() -> None:
    options = MarkerOptions(velocities=False)
    assert set(shapes_of(encode_markers(detections({"car": 0.9}), "base_link", options))) == {"boxes", "names"}


@pytest.mark.parametrize("center", [(8.0, -6.0, 1.0), (-20.0, 0.0, 0.0), (5.0, 0.0, 0.0), (0.0, 0.0, 3.0)])
def test_the_uncertainty_lies_along_the_viewing_ray(center: tuple[float, float, float]) -> None:
    found = detections({"car": 0.9}, uncertainty=2.5)
    found.boxes.centers[0] = center
    ellipsoid = shapes_of(encode_markers(found, "base_link", MarkerOptions(covariance=True)))["covariance"]
    turn = ellipsoid.pose.orientation
    axis = rotation_from_quaternion((turn.x, turn.y, turn.z, turn.w))[:, 0]
    np.testing.assert_allclose(axis, np.array(center) / np.linalg.norm(center), atol=1e-9)
    assert ellipsoid.type == MARKER.SPHERE and ellipsoid.scale.x == pytest.approx(5.0)
    assert (ellipsoid.pose.position.x, ellipsoid.pose.position.y, ellipsoid.pose.position.z) == center


@pytest.mark.parametrize("uncertainty", [np.nan, np.inf, 0.0, -1.0])
def test_unknown_uncertainties_are_not_drawn(uncertainty: float) -> None:
    message = encode_markers(
        detections({"car": 0.9}, uncertainty=uncertainty), "base_link", MarkerOptions(covariance=True)
    )
    assert "covariance" not in shapes_of(message)


def test_the_uncertainty_is_drawn_only_when_asked_for() -> None:
    assert "covariance" not in shapes_of(encode_markers(detections({"car": 0.9}, uncertainty=2.0), "base_link"))


@pytest.mark.parametrize(("seconds", "sec", "nanosec"), [(1.25, 1, 250_000_000), (0.0, 0, 0), (60.0, 60, 0)])
def test_what_is_not_renewed_goes_away(seconds: float, sec: int, nanosec: int) -> None:
    options = MarkerOptions(lifetime_s=seconds)
    first, *drawn = encode_markers(detections({"car": 0.9}), "base_link", options).markers
    assert {(item.lifetime.sec, item.lifetime.nanosec) for item in drawn} == {(sec, nanosec)}
    assert (first.lifetime.sec, first.lifetime.nanosec) == (0, 0)


def test_boxes_below_the_threshold_are_not_drawn() -> None:
    options = MarkerOptions(threshold=0.3)
    message = encode_markers(detections({"car": 0.9}, {"child": 0.2}), "base_link", options)
    assert [item.text for item in message.markers if item.text] == ["car 0.90"]


@given(
    st.lists(ANY_NUMBER, min_size=9, max_size=9),
    ANY_NUMBER,
    st.lists(st.floats(0, 1, width=32), min_size=18, max_size=18),
)
def test_whatever_the_detector_says_the_markers_hold_numbers(
    box: list[float], uncertainty: float, scores: list[float]
) -> None:
    with np.errstate(all="ignore"):
        boxes = Boxes3D([box[:3]], np.abs([box[3:6]]), box[6:7], [box[7:]])
        found = Detections(42, boxes, np.array([scores]), depth_uncertainty=np.array([uncertainty], np.float32))
        message = encode_markers(found, "base_link", MarkerOptions(covariance=True))
    assert np.isfinite([numbers(item) for item in message.markers]).all()
    assert (len(message.markers) > 1) == bool(np.isfinite(box[:7]).all())
