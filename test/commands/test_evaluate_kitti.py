"""``semlt3d evaluate`` with KITTI's formats: results written, read, and held against a bag or KITTI's own folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.cli import main
from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.classes import load_class_list
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels, SampleInfo
from semlt3d_ros.datasets.kitti import import_kitti
from semlt3d_ros.datasets.kitti_layouts import BETWEEN_FRAMES, FIRST_STAMP
from semlt3d_ros.datasets.recording import recording_to
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import encode_long_tail

P2 = "700 0 300 40 0 700 100 0.3 0 0 1 0.003"
NAMES = load_class_list("kitti").names
CARS = [(15.0, 1.0), (30.0, -3.0), (22.0, 3.0)]
"""Ahead and left of ``base_link``, one in each of three frames."""


@pytest.fixture
def training(tmp_path: Path) -> Path:
    folder = tmp_path / "training"
    for name in ("calib", "label_2", "image_2"):
        (folder / name).mkdir(parents=True)
    identity = "1 0 0 0 1 0 0 0 1"
    for frame, (x, y) in enumerate(CARS):
        lines = [f"P2: {P2}", f"R0_rect: {identity}", "Tr_velo_to_cam: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27"]
        (folder / "calib" / f"{frame:06d}.txt").write_text("\n".join(lines))
        car = f"Car 0 0 0 1 1 9 9 1.5 1.8 4.0 {-y} 1.65 {x - 1.08} -1.5708\n"
        left_out = "DontCare -1 -1 -10 0 90 60 199 -1 -1 -1 -1 -1 -1 -1\n"
        (folder / "label_2" / f"{frame:06d}.txt").write_text(car + left_out)
        cv2.imwrite(str(folder / "image_2" / f"{frame:06d}.png"), np.zeros((200, 600, 3), np.uint8))
    return folder


def found_at(stamp: int, places: list[tuple[float, float]], scores: list[float]) -> Detections:
    confidences = np.zeros((len(places), len(NAMES)), np.float32)
    confidences[:, 0] = scores
    centers = np.array([(x, y, 0.75) for x, y in places])
    sizes = np.tile([4.0, 1.8, 1.5], (len(places), 1))
    boxes = Boxes3D(centers, sizes, np.full(len(places), 0.01), np.zeros((len(places), 2)))
    return Detections(stamp, boxes, confidences, NAMES)


def write_detections(path: Path, stamps: list[int]) -> Path:
    """Each car, but for the last, a bit off; one in what was left out, one behind."""
    with BagSink(path) as sink:
        for stamp, (x, y) in zip(stamps, CARS, strict=True):
            places = [(x + (0.2 if x < 25 else 7.0), y), (20.0, 8.0), (-9.0, 0.0)]
            message = encode_long_tail(found_at(stamp, places, [0.8, 0.9, 0.95]), "base_link")
            sink.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, message, stamp)
    return path


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    return write_detections(tmp_path / "found.mcap", [FIRST_STAMP + frame * BETWEEN_FRAMES for frame in range(3)])


def evaluated(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_results_say_what_the_detections_say(
    training: Path, detections: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, results = tmp_path / "kitti.mcap", tmp_path / "results"
    import_kitti(training, bag)
    direct = evaluated(capsys, detections, "--truth", bag, "--kitti", results)
    assert direct["kitti"] == {"frames": 3} and direct["pairs"]["answered"] == 3
    assert sorted(path.name for path in results.iterdir()) == [f"00000{frame}.txt" for frame in range(3)]
    assert direct["outside_labelled_region"] == {"detections": 6, "objects": 0}
    for truth in (bag, training):
        again = evaluated(capsys, results, "--truth", truth)
        assert again["pairs"] == direct["pairs"]
        car, before = again["classes"]["Car"], direct["classes"]["Car"]
        assert car["truth"] == before["truth"] == 3 and car["predictions"] == before["predictions"] == 3
        assert car["ap"] == pytest.approx(before["ap"], abs=1e-6) and 0.3 < car["ap"] < 0.9
        assert car["errors"]["ate"] == pytest.approx(before["errors"]["ate"], abs=1e-5)


def test_objects_of_no_class_are_told_by_their_labels(
    training: Path, detections: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A list, or results, that lack a label would make what has it disappear without a word."""
    bag, results = tmp_path / "kitti.mcap", tmp_path / "results"
    path = training / "label_2" / "000001.txt"
    path.write_text(path.read_text() + path.read_text().replace("Car", "Van"))
    import_kitti(training, bag)
    assert evaluated(capsys, detections, "--truth", bag, "--kitti", results)["of_no_class"] == {}
    for truth in (bag, training):
        assert evaluated(capsys, results, "--truth", truth)["of_no_class"] == {}
        assert evaluated(capsys, results, "--truth", truth, "--classes", one_class(tmp_path))["of_no_class"] == {
            "Van": 1
        }
    assert main(["evaluate", str(results), "--truth", str(bag), "--classes", str(one_class(tmp_path))]) == 0
    assert "of none of the classes: 1 Van\n" in capsys.readouterr().out


def one_class(folder: Path) -> Path:
    path = folder / "one.yaml"
    path.write_text("name: one\nclasses: [{name: Car}]\n")
    return path


def test_results_of_an_own_bag_are_given_by_its_first_camera(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, results, stamps = tmp_path / "own.mcap", tmp_path / "results", [10**18 + frame * 10**9 for frame in range(3)]
    optical = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    image = cv2.imencode(".png", np.zeros((200, 600, 3), np.uint8))[1].tobytes()
    with recording_to(bag) as writer:
        writer.mounts({"CAM_FRONT": rigid.planar(1.5, 0.3, 0.1) @ rigid.transform((0, 0, 1.4), optical)}, stamps[0])
        for stamp, (x, y) in zip(stamps, CARS, strict=True):
            writer.image("CAM_FRONT", stamp, image, CameraModel.from_numbers(600, 200, 500, 500, 300, 100))
            true = found_at(stamp, [(x, y)], [1.0]).boxes
            labels = Labels(true, np.zeros(1, np.int64), class_names=NAMES)
            writer.truth(stamp, labels, SampleInfo("own", "drive"))
    found = write_detections(tmp_path / "found.mcap", stamps)
    direct = evaluated(capsys, found, "--truth", bag, "--kitti", results)
    assert sorted(path.stem for path in results.iterdir()) == [str(stamp) for stamp in stamps]
    again = evaluated(capsys, results, "--truth", bag)
    errors = again["classes"]["Car"]["errors"], direct["classes"]["Car"]["errors"]
    assert errors[0]["ate"] == pytest.approx(errors[1]["ate"], abs=1e-4)
    assert errors[0]["aoe"] == pytest.approx(errors[1]["aoe"], abs=1e-4)


def test_what_does_not_go_together_is_told(
    training: Path, detections: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "000099.txt").write_text("")
    for words, told in (
        ([str(results), "--truth", str(training)], "3 of 3 frames with ground truth have no results"),
        ([str(detections), "--truth", str(training)], "give the bag that was imported"),
        ([str(results), "--truth", str(training), "--kitti", str(tmp_path / "again")], "nothing to evaluate"),
    ):
        assert main(["evaluate", *words]) == 2
        error = capsys.readouterr().err
        assert told in error and len(error.splitlines()) == 1
