"""Results in KITTI's format: what is written is read again as it was, and evaluated alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import load_class_list
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.kitti_text import T_BASE_CAMERA0, format_line, objects_from, parse_line
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.evaluation import EvaluationSettings, evaluate, protocol_of
from semlt3d_ros.evaluation.results_kitti import (
    KittiResults,
    KittiView,
    is_results,
    sample_results,
    types_of,
    write_results,
)

KITTI = load_class_list("kitti")
SIZE = (1242, 375)
PROJECTION = np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]])
VIEW = KittiView(rigid.inverse(T_BASE_CAMERA0), PROJECTION, SIZE)
SETTINGS = EvaluationSettings(protocol_of(KITTI))


@dataclass(frozen=True)
class Frame:
    stamp: int
    token: str


def boxes_of(rows: list[tuple[float, float, float, float]]) -> Boxes3D:
    """Boxes ahead, of which the image shows the middle: distance, direction, length, heading."""
    values = np.array(rows, np.float64).reshape(-1, 4)
    centers = np.stack([values[:, 0], values[:, 0] * values[:, 1], 0.5 + 0 * values[:, 0]], axis=1)
    sizes = np.stack([values[:, 2], values[:, 2] / 2, values[:, 2] / 3], axis=1)
    return Boxes3D(centers, sizes, values[:, 3], np.full((len(rows), 2), np.nan))


def detections_of(boxes: Boxes3D, seed: int, names: tuple[str, ...] = KITTI.names) -> Detections:
    confidences = np.random.default_rng(seed).uniform(0.01, 1.0, (len(boxes), len(names))).astype(np.float32)
    return Detections(5, boxes, confidences, names)


ROWS = st.lists(
    st.tuples(st.floats(8, 60), st.floats(-0.6, 0.6), st.floats(0.5, 8), st.floats(-np.pi, np.pi)), max_size=6
)


@given(ROWS, st.integers(0, 1000))
def test_lines_bring_back_what_was_written(rows: list[tuple[float, float, float, float]], seed: int) -> None:
    boxes = boxes_of(rows)
    objects = sample_results(detections_of(boxes, seed), VIEW, SETTINGS)
    assert len(objects) == len(rows) * len(KITTI)
    assert [each.score for each in objects] == sorted((each.score for each in objects), reverse=True)
    for each in objects:
        again = parse_line(format_line(each))
        assert (again.type, again.occluded, again.truncated) == (each.type, -1, -1.0)
        np.testing.assert_allclose(again.location, each.location, atol=1e-6)
        np.testing.assert_allclose(again.size, each.size, atol=1e-6)
        np.testing.assert_allclose(
            [again.rotation_y, again.alpha, again.score], [each.rotation_y, each.alpha, each.score], atol=1e-6
        )
        left, top, right, bottom = again.window
        assert 0 <= left < right <= SIZE[0] - 1 and 0 <= top < bottom <= SIZE[1] - 1
        assert -np.pi <= again.alpha <= np.pi


@given(ROWS, ROWS, st.integers(0, 1000))
def test_a_folder_is_evaluated_as_the_detections_it_was_written_of(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[tuple[float, float, float, float]],
    true: list[tuple[float, float, float, float]],
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("results")
    detections = detections_of(boxes_of(found + true[:2]), seed)
    ids = np.arange(len(true)) % len(KITTI)
    labels = Labels(boxes_of(true), ids, class_names=KITTI.names)
    write_results(folder, [("000007", sample_results(detections, VIEW, SETTINGS)), ("000008", [])])
    results = KittiResults(folder)
    assert set(results.tokens) == {"000007", "000008"} and not list(results.faults)
    again, attributes = results.detections(Frame(5, "000007"))
    assert attributes == () and again.stamp == 5 and len(results.detections(Frame(6, "000008"))[0]) == 0
    before, after = (evaluate([(each, labels)], SETTINGS) for each in (detections, again))
    for first, second in zip(before.classes, after.classes, strict=True):
        assert (first.truth, first.predictions) == (second.truth, second.predictions)
        np.testing.assert_allclose(list(second.ap_by_distance.values()), list(first.ap_by_distance.values()), atol=1e-6)


def test_the_box_in_the_image_is_what_can_be_seen_of_it() -> None:
    ahead = Boxes3D(np.array([[20.0, 0.0, 1.65]]), np.array([[4.0, 2.0, 1.0]]), np.zeros(1), np.zeros((1, 2)))
    [found] = objects_from(ahead, ["Car"], [0.5], VIEW.T_camera0_ego, PROJECTION, SIZE)
    nearest = 20.0 - 1.08 - 2.0 + 0.003
    centre = (721.5 * 0 + 609.6 * (nearest - 0.003) + 44.9) / nearest
    assert found.window[0] == pytest.approx(centre - 721.5 / nearest) and found.window[2] == pytest.approx(
        centre + 721.5 / nearest
    )
    assert found.rotation_y == pytest.approx(-np.pi / 2) and found.alpha == pytest.approx(-np.pi / 2)
    assert found.location == pytest.approx((0.0, 0.5, 18.92))
    around = Boxes3D(np.array([[2.0, 0.0, 1.0]]), np.array([[6.0, 3.0, 2.0]]), np.zeros(1), np.zeros((1, 2)))
    [cut] = objects_from(around, ["Car"], [0.5], VIEW.T_camera0_ego, PROJECTION, SIZE)
    assert cut.window[0] == 0.0 and cut.window[2] == SIZE[0] - 1
    behind = Boxes3D(np.array([[-9.0, 0, 1], [9.0, 30, 1]]), np.ones((2, 3)), np.zeros(2), np.zeros((2, 2)))
    assert objects_from(behind, ["Car", "Car"], [0.5, 0.5], VIEW.T_camera0_ego, PROJECTION, SIZE) == []


def test_classes_get_kittis_names() -> None:
    assert types_of(("car", "adult", "bicycle", "debris")) == {
        "car": "Car",
        "adult": "Pedestrian",
        "bicycle": "Cyclist",
        "debris": "debris",
    }
    assert types_of(("Person_sitting",)) == {"Person_sitting": "Person_sitting"}
    detections = detections_of(boxes_of([(20.0, 0.0, 4.0, 0.0)]), 1, LT3D.names)
    assert {"Car", "Pedestrian", "stroller"} <= {each.type for each in sample_results(detections, VIEW)}


def test_odd_lines_are_left_out_and_told(tmp_path: Path) -> None:
    good = "Car -1 -1 -1.5 100 100 200 150 1.5 1.8 4.2 1.0 1.6 20.0 -1.57"
    lines = [f"{good} 0.7", good, "Car 1 2 3", f"{good} much", f"{good} 7.5", f"{good.replace('1.8', '-1.8')} 0.4", ""]
    (tmp_path / "000003.txt").write_text("\n".join(lines))
    (tmp_path / "000004.txt").write_text("")
    results = KittiResults(tmp_path)
    found, _ = results.detections(Frame(1, "000003"))
    assert found.scores.tolist() == pytest.approx([0.7, 1.0]) and results.classes.name == "kitti"
    told = {fault.reason: fault for fault in results.faults}
    assert told["result"].count == 4 and told["score"].harmless
    assert found.boxes.centers[0] == pytest.approx([21.08, -1.0, 0.05 + 0.75], abs=1e-6)


def test_what_is_no_folder_of_results(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no results in KITTI's format"):
        KittiResults(tmp_path)
    assert not is_results(tmp_path) and not is_results(tmp_path / "nothing")
    write_results(tmp_path / "a", [("000001", [])])
    assert is_results(tmp_path / "a")
    write_results(tmp_path / "a", [("000001", []), ("000002", [])])
    with pytest.raises(ConfigurationError, match="files of other frames"):
        write_results(tmp_path / "a", [("000001", [])])
    for frames, told in (
        ([("000001", []), ("000001", [])], "comes twice"),
        ([("a/b", [])], "names no file"),
        ([("", [])], "names no file"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            write_results(tmp_path / "b", frames)
    assert not (tmp_path / "b").exists()
