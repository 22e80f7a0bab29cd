"""What lies where a recording is not labelled counts neither in validation nor in calibration."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core import rigid
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.frame import SampleInfo
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.evaluation.complete import LeftOut, where_labelled
from semlt3d_ros.evaluation.evaluator import evaluate
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import encode_sample
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.simulate import simulate
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.calibrate import calibrate
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.pictures import drawn
from semlt3d_ros.training.ranks import Ranks
from semlt3d_ros.training.recipe import load_recipe, settings_of
from semlt3d_ros.training.validation import evaluated
from semlt3d_ros.viewing.picture import draw_frame
from semlt3d_ros.viewing.region import LEFT_OUT_COLOR

AHEAD = rigid.transform((1.0, 0.0, 1.5), np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]))
REGION = LabelledRegion((ViewWindow(AHEAD, -0.7, -0.5, 0.7, 0.5),), (ViewWindow(AHEAD, 0.1, -0.5, 0.3, 0.5),))


@pytest.fixture
def recipe(recipe_path, tmp_path):
    """It judges by a recording of which one window is labelled."""
    plain, bag = tmp_path / "plain.mcap", tmp_path / "window.mcap"
    simulate(plain, DriveConfig(4, frames=2, interval_s=0.5, image_size=(128, 72), objects=(12, 14)), progress=False)
    with BagSource(plain) as source, BagSink(bag) as sink:
        for entry in source.messages():
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
            if entry.topic == topics.TRUTH_LONG_TAIL:
                sample = encode_sample(SampleInfo("own", "s", region=REGION), entry.stamp, topics.BASE_FRAME)
                sink.write(topics.TRUTH_SAMPLE, topics.SAMPLE_TYPE, sample, entry.stamp)
    return replace(load_recipe(recipe_path), validation=(DataSpec(bags=(str(bag),)),))


@pytest.fixture
def student(recipe) -> Student:
    """Untrained, and as sure of everything as of nothing: it finds something everywhere."""
    torch.manual_seed(0)
    student = Student(recipe.student)
    for layer in student.decoder.layers:
        torch.nn.init.zeros_(layer.classify[-1].bias)
    return student.eval()


def test_what_is_not_labelled_does_not_count(recipe, student) -> None:
    settings = settings_of(recipe)
    with open_frames(recipe.validation, recipe.data_folder, recipe.student) as frames:
        report = evaluated(Detector(student, "x", "cpu"), frames, settings, None, Ranks())
        fitted = calibrate(student, frames, settings)
        detector, left_out = Detector(student, "x", "cpu"), LeftOut()
        played = [frames.frame(index) for index in range(2)]
        found = [(detector.detect(frame), frame.labels, frame.region) for frame in played]
    within = [labels[REGION.contains(labels.boxes.centers)] for _, labels, _ in found]
    counted = evaluate(where_labelled(found, left_out), settings)
    assert left_out.detections > 10 and left_out.objects > 3, "else the rest says nothing"
    everything = evaluate(((detections, labels) for detections, labels, _ in found), settings)
    assert report.confusions.sum() < everything.confusions.sum()
    np.testing.assert_array_equal(report.confusions, counted.confusions)
    for each in (report, fitted.report):
        assert [(result.truth, result.predictions) for result in each.classes] == [
            (result.truth, result.predictions) for result in counted.classes
        ]
        assert 0 < sum(result.truth for result in each.classes) <= sum(len(labels.boxes) for labels in within)


def test_pictures_show_what_is_ignored_and_where_it_is_not_labelled(recipe, student) -> None:
    config = replace(recipe.student, class_names=("car", "adult"))
    detector = Detector(Student(config).eval(), "x", "cpu")
    with open_frames(recipe.validation, recipe.data_folder, config) as frames:
        labels = frames.labels(1)
        names = set(labels.own_names) - {"car", "adult"}
        assert names and all(name in ("car", "adult", "") for name in labels.names)
        ((_, picture),) = drawn(detector, frames, 45.0)
        frame = frames.frame(1)
        found = detector.detect(frame)
    unmarked = draw_frame(replace(frame, region=LabelledRegion()), found, frame.labels, 0.2)
    silent = draw_frame(frame, found, frame.labels[frame.labels.class_ids != ABSENT], 0.2)
    for other in (unmarked, silent):
        assert (picture != other).any(axis=2).sum() > 100
    assert (np.abs(picture.astype(int) - LEFT_OUT_COLOR).max(axis=2) < 40).any()
