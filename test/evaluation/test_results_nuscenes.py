"""nuScenes results files, read back by nuScenes' own development kit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from nuscenes.eval.common.data_classes import EvalBoxes
from nuscenes.eval.common.utils import boxes_to_sensor, quaternion_yaw
from nuscenes.eval.detection.data_classes import DetectionBox

from semlt3d_ros.core import rigid
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.evaluation import NUSCENES, EvaluationSettings
from semlt3d_ros.evaluation.attributes import attributes_from_motion
from semlt3d_ros.evaluation.results_nuscenes import sample_results, write_results

SETTINGS = EvaluationSettings(NUSCENES)


@pytest.fixture
def pose():
    """The vehicle somewhere in a city, turned and on a slope."""
    tilt = rigid.rotation_from_quaternion([0.02, -0.05, 0.8, 0.6])
    return rigid.transform([412.0, 1180.5, 1.4], tilt)


@pytest.fixture
def detections(found):
    """Three cars of different sizes and headings; the velocity of the last is not known."""
    places, yaws = [(10.0, 0.0), (-5.0, 12.0), (20.0, -7.0)], [0.3, -2.0, 3.1]
    sizes = [[4.0, 2.0, 1.5], [4.5, 1.9, 1.6], [12.0, 2.5, 3.0]]
    velocity = [[5.0, 1.0], [0.0, 0.1], [np.nan, np.nan]]
    return found(places, [0.4, 0.9, 0.6], yaw=yaws, sizes=sizes, velocity=velocity)


def test_the_development_kit_reads_back_what_was_detected(detections, pose, tmp_path):
    path = tmp_path / "made" / "results.json"
    assert write_results(path, [("a", sample_results("a", detections, pose, SETTINGS)), ("b", [])]) == 2
    content = json.loads(path.read_text())
    assert content["meta"]["use_camera"] is True and content["meta"]["use_lidar"] is False
    boxes = EvalBoxes.deserialize(content["results"], DetectionBox)
    assert set(boxes.sample_tokens) == {"a", "b"} and boxes["b"] == []
    order = [1, 2, 0]  # best first
    x, y, z, w = rigid.quaternion_from_rotation(pose[:3, :3])
    ego = {"translation": pose[:3, 3].tolist(), "rotation": [w, x, y, z]}
    still = {"translation": [0.0, 0.0, 0.0], "rotation": [1.0, 0.0, 0.0, 0.0]}
    for row, box, back in zip(order, boxes["a"], boxes_to_sensor(boxes["a"], ego, still), strict=True):
        assert box.detection_name == "car"
        assert box.detection_score == pytest.approx(detections.scores[row])
        assert back.center == pytest.approx(detections.boxes.centers[row])
        assert back.wlh == pytest.approx(detections.boxes.sizes[row][[1, 0, 2]])
        assert quaternion_yaw(back.orientation) == pytest.approx(detections.boxes.yaw[row])
    moving, parked = boxes["a"][2], boxes["a"][0]
    assert moving.velocity == pytest.approx((pose[:3, :3] @ [5.0, 1.0, 0.0])[:2])
    assert (moving.attribute_name, parked.attribute_name) == ("vehicle.moving", "vehicle.parked")
    assert boxes["a"][1].velocity == (0.0, 0.0)


def test_a_file_holds_what_an_evaluation_counts(found):
    """At most 500 boxes, within range, of the protocol's classes."""
    many = found([(0.05 * x, 0.0) for x in range(600)], np.linspace(0.1, 0.9, 600))
    entries = sample_results("a", many, np.eye(4), SETTINGS)
    assert len(entries) == 500
    assert min(entry["detection_score"] for entry in entries) == pytest.approx(many.scores[100])
    assert sample_results("a", found([(60.0, 0.0)], [0.9]), np.eye(4), SETTINGS) == []
    assert sample_results("a", found([(10.0, 0.0)], [0.9], "stroller"), np.eye(4), SETTINGS) == []
    (stroller,) = sample_results("a", found([(10.0, 0.0)], [0.9], "stroller"), np.eye(4))
    assert stroller["detection_name"] == "stroller"


def test_people_become_pedestrians(found):
    boxes = found([(10.0, 0.0)], [0.1]).boxes
    person = Detections(0, boxes, np.array([[0.3, 0.5]]), ("adult", "child"))
    (entry,) = sample_results("a", person, np.eye(4), SETTINGS)
    assert (entry["detection_name"], entry["detection_score"]) == ("pedestrian", 0.5)


def test_a_token_that_comes_twice_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"'a' comes twice"):
        write_results(tmp_path / "results.json", [("a", []), ("a", [])])


def test_attributes_from_motion():
    names = ("car", "car", "bicycle", "adult", "traffic_cone", "bus")
    velocity = np.array([[3.0, 4.0], [0.1, 0.0], [2.0, 0.0], [0.0, 0.5], [0.0, 0.0], [np.nan, np.nan]])
    assert attributes_from_motion(names, velocity) == (
        *("vehicle.moving", "vehicle.parked", "cycle.with_rider", "pedestrian.moving"),
        *("", "vehicle.parked"),
    )


def test_the_development_kit_loads_a_results_file(detections, pose, tmp_path):
    """Under the data set's tokens; that these are all and only its split's is the kit's first check."""
    from nuscenes.eval.common.loaders import load_prediction

    tokens = ["3e8750f331d7499e9b5123e9eb70f2e2", "3950bd41f74548429c0f7700ff3d8269"]
    path = tmp_path / "results.json"
    write_results(path, [(tokens[0], sample_results(tokens[0], detections, pose, SETTINGS)), (tokens[1], [])])
    boxes, meta = load_prediction(str(path), 500, DetectionBox)
    assert sorted(boxes.sample_tokens) == sorted(tokens)
    assert [len(boxes[token]) for token in tokens] == [3, 0] and meta["use_camera"]
