"""Checkpoints and the detector facade."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from semlt3d_ros.checkpoints.checkpoint import (
    load_student,
    read_checkpoint,
    read_classes,
    read_header,
    save_checkpoint,
)
from semlt3d_ros.core.classes import ClassInfo, ClassList
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.student.student import Student


@pytest.fixture
def checkpoint(config, tmp_path):
    path = tmp_path / "student.safetensors"
    save_checkpoint(path, Student(config), "tiny", {"seed": 0})
    return path


def test_round_trip_gives_the_same_detections_twice(checkpoint, frames) -> None:
    first, second = Detector.load(checkpoint), Detector.load(checkpoint)
    a, b = first.detect(frames[0]), second.detect(frames[0])
    assert len(a) > 0 and a.model_version.startswith("tiny@") and a.cameras == tuple(f"C{i}" for i in range(6))
    assert np.array_equal(a.boxes.centers, b.boxes.centers) and np.array_equal(a.confidences, b.confidences)
    assert np.array_equal(a.confidences, first.detect(frames[0]).confidences)
    assert (np.diff(a.scores) <= 0).all() and set(first.last_timings) == {"batch", "forward", "decode"}


def test_no_camera_at_all_gives_an_answer(checkpoint, frames) -> None:
    detections = Detector.load(checkpoint).detect(replace(frames[0], views=(), missing=("C0",)))
    assert detections.missing == ("C0",) and np.isfinite(detections.boxes.centers).all()


def rewritten(path, change):
    tensors, header = load_file(path), read_header(path)
    change(tensors, header)
    save_file(tensors, path, {"semlt3d": json.dumps(header)})


OWN = ClassList("own", (ClassInfo("deer", range_m=80.0, group="few"), ClassInfo("car", words="motor car")))


@pytest.fixture
def own(tmp_path, config):
    """A checkpoint of two classes of one's own."""
    path = tmp_path / "own.safetensors"
    save_checkpoint(path, Student(replace(config, class_names=OWN.names)), "own", {}, classes=OWN)
    return path


def test_a_checkpoint_carries_its_own_classes(own, frames) -> None:
    assert read_checkpoint(own).classes == read_classes(own) == OWN
    detector = Detector.load(own)
    assert detector.classes == OWN and detector.class_names == ("deer", "car")
    found = detector.detect(frames[0])
    assert found.class_names == ("deer", "car") and found.class_groups == ("few", "")
    assert found.confidences.shape[1] == 2


def test_of_a_checkpoint_that_names_its_classes_alone_what_is_known_by_the_names_holds(own, checkpoint) -> None:
    for path in (own, checkpoint):
        rewritten(path, lambda tensors, header: header.pop("classes"))
    assert read_classes(checkpoint) == LT3D
    deer, car = read_classes(own).classes
    assert car == LT3D.classes[0] and deer == ClassInfo("deer")


def test_classes_that_are_not_those_of_the_logits_are_refused(own) -> None:
    rewritten(own, lambda tensors, header: header["config"].update(class_names=["deer", "tram"]))
    with pytest.raises(ConfigurationError, match=r"own\.safetensors'.*deer, car.*logits.*deer, tram"):
        load_student(own)
    rewritten(own, lambda tensors, header: header["classes"].update(classes=[{"name": "deer", "legs": 4}]))
    with pytest.raises(ConfigurationError, match=r"own\.safetensors'.*legs"):
        load_student(own)


def test_classes_of_another_student_are_not_written(tmp_path, config) -> None:
    with pytest.raises(ValueError, match="deer"):
        save_checkpoint(tmp_path / "x.safetensors", Student(config), "x", {}, classes=OWN)
    assert not (tmp_path / "x.safetensors").exists()


def test_fewer_class_logits_than_names_are_refused(checkpoint) -> None:
    def cut(tensors, header):
        tensors["image_head.heat.weight"] = tensors["image_head.heat.weight"][:10].clone()

    rewritten(checkpoint, cut)
    with pytest.raises(ConfigurationError, match="does not fit its own config"):
        load_student(checkpoint)


def test_files_that_are_no_checkpoint_are_refused(checkpoint, tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_student(tmp_path / "absent.safetensors")
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigurationError, match="not a readable safetensors file"):
        load_student(checkpoint)
    save_file({"x": torch.zeros(1)}, checkpoint)
    with pytest.raises(ConfigurationError, match="no semlt3d header"):
        load_student(checkpoint)
    rewritten_header = {"format": 99, "name": "x", "config": {}}
    save_file({"x": torch.zeros(1)}, checkpoint, {"semlt3d": json.dumps(rewritten_header)})
    with pytest.raises(ConfigurationError, match="format 99"):
        load_student(checkpoint)


def test_absent_gpu_is_named(checkpoint) -> None:
    if torch.cuda.is_available():
        assert Detector.load(checkpoint, "cuda").model_version
    else:
        with pytest.raises(ConfigurationError, match="device 'cuda' is not available"):
            Detector.load(checkpoint, "cuda")
