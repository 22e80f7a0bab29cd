"""A file that is replaced while it is loaded: what is loaded is the old one or the new one, never some of each."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import semlt3d_ros
from semlt3d_ros.checkpoints.adoption import adopt
from semlt3d_ros.checkpoints.checkpoint import read_checkpoint, save_checkpoint
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.semantics import clip
from semlt3d_ros.semantics.anchors import load_anchors, save_anchors
from semlt3d_ros.student.confidence_calibration import Calibration
from semlt3d_ros.student.student import Student

PACKAGE = Path(semlt3d_ros.__file__).parent
READERS = {str(PACKAGE / name) for name in ("core/tensor_file.py", "inference/detector.py", "semantics/anchors.py")}
READERS |= {str(PACKAGE / name) for name in ("checkpoints/checkpoint.py", "checkpoints/file.py", "semantics/clip.py")}


def loads_with_a_swap(load, path, first, second):
    """What ``load`` gives when the file is replaced before any one of the calls that the readers' lines make."""
    outcomes, tried = [], set()
    while True:
        path.write_bytes(first.read_bytes())
        promoted = path.with_name("promoted")
        promoted.write_bytes(second.read_bytes())
        swapped_at = None

        def watch(frame, event, function, promoted=promoted):
            nonlocal swapped_at
            # A call of a Python function is told in its own frame, one of any other function in the caller's.
            caller = frame.f_back if event == "call" else frame
            if swapped_at is None and event in ("call", "c_call") and caller.f_code.co_filename in READERS:
                name = frame.f_code.co_name if event == "call" else function.__name__
                point = (caller.f_code.co_filename, caller.f_lineno, name)
                if point not in tried:
                    os.replace(promoted, path)
                    swapped_at = point

        sys.setprofile(watch)
        try:
            result = load(path)
        finally:
            sys.setprofile(None)
        outcomes.append(result)
        if swapped_at is None:
            return outcomes
        tried.add(swapped_at)


@pytest.fixture
def checkpoints(config, tmp_path):
    """Two checkpoints of one shape that differ in everything else."""
    paths = []
    for number, name in enumerate(("old", "new")):
        torch.manual_seed(number)
        student = Student(replace(config, language_width=12, score_floor=0.01 * (number + 1)))
        student.set_anchors(torch.nn.functional.normalize(torch.randn(18, 12), dim=-1))
        calibration = Calibration((1.0 + number,) * 18, (0.5 * number,) * 18, (1,) * 18, (1,) * 18)
        paths.append(tmp_path / f"{name}.safetensors")
        save_checkpoint(paths[-1], student, name, {"seed": number}, {"source": name, "prompts": []}, calibration)
    return paths


def described(detector):
    state = detector._student.state_dict()
    weights = float(sum(value.double().sum() for value in state.values()))
    anchors = float(state["decoder.language_anchors"].double().sum())
    floor = detector._student.config.score_floor
    return detector.model_version, weights, anchors, floor, detector._calibration.scale[0], detector._language_source


def test_a_detector_is_of_one_checkpoint(checkpoints, tmp_path) -> None:
    old, new = (described(Detector.load(path)) for path in checkpoints)
    assert all(a != b for a, b in zip(old, new, strict=True))
    found = loads_with_a_swap(
        lambda path: described(Detector.load(path)), tmp_path / "current.safetensors", *checkpoints
    )
    assert set(found) == {old, new} and len(found) > 20
    # Replaced before it was opened or after: there is one moment from which on the old one is loaded.
    assert found == [new] * found.count(new) + [old] * found.count(old)


def test_weights_taken_over_are_of_one_checkpoint(checkpoints, config, tmp_path) -> None:
    def adopted(path):
        student = Student(replace(config, language_width=12))
        adopt(student, path)
        return float(sum(value.double().sum() for value in student.state_dict().values()))

    old, new = map(adopted, checkpoints)
    found = loads_with_a_swap(adopted, tmp_path / "current.safetensors", *checkpoints)
    assert set(found) == {old, new} and found == sorted(found, key=lambda value: value == old)


def test_a_checkpoint_on_its_own_is_whole(checkpoints, tmp_path) -> None:
    def told(path):
        checkpoint = read_checkpoint(path)
        calibration = checkpoint.calibration()
        return checkpoint.version, checkpoint.name, checkpoint.config.score_floor, calibration.scale[0]

    old, new = map(told, checkpoints)
    assert set(loads_with_a_swap(told, tmp_path / "current.safetensors", *checkpoints)) == {old, new}


def test_anchors_are_of_one_file(tmp_path) -> None:
    rows = np.eye(4)[:2]
    paths = [tmp_path / "old.safetensors", tmp_path / "new.safetensors"]
    save_anchors(paths[0], LanguageAnchors(("tree", "bus"), rows, ("a tree", "a bus"), "clip@1"))
    save_anchors(paths[1], LanguageAnchors(("dog", "cat"), rows[::-1].copy(), ("a dog", "a cat"), "clip@2"))

    def told(path):
        anchors = load_anchors(path)
        return anchors.names, anchors.source, tuple(anchors.embeddings[0])

    old, new = map(told, paths)
    assert set(loads_with_a_swap(told, tmp_path / "current.safetensors", *paths)) == {old, new}


def test_a_clip_is_of_one_file(tmp_path, monkeypatch) -> None:
    pytest.importorskip("open_clip")
    header, tensors = clip.read_file_header(clip.default_tiny()), load_file(clip.default_tiny())
    paths = [tmp_path / "old.safetensors", tmp_path / "new.safetensors"]
    for number, path in enumerate(paths):
        tensors["logit_scale"] = torch.tensor(1.0 + number)
        save_file(tensors, path, {clip.FILE_ENTRY: json.dumps({**header, "name": path.stem})})
    built = clip.build(header["config"])  # it takes a second, and reads nothing of the file
    monkeypatch.setattr(clip, "build", lambda config: built)

    def told(path):
        encoder = clip.load_file(path)
        return encoder.identity.split("@")[0], round(float(encoder.logit_scale), 3)

    old, new = map(told, paths)
    assert old != new and set(loads_with_a_swap(told, tmp_path / "current.safetensors", *paths)) == {old, new}
