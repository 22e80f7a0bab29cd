"""Calibration of checkpoints on validation frames."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint, save_checkpoint
from semlt3d_ros.cli import main
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.calibrate import LANGUAGE_SHARES, Judged, calibrate, calibration_errors
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.recipe import load_recipe, settings_of


@pytest.fixture
def recipe(recipe_path):
    return load_recipe(recipe_path)


def untrained(config) -> Student:
    """A student that is as sure of everything as of nothing, which is too much."""
    torch.manual_seed(0)
    student = Student(config)
    for layer in student.decoder.layers:
        torch.nn.init.zeros_(layer.classify[-1].bias)
        if layer.language is not None:
            torch.nn.init.zeros_(layer.language.bias)
    if config.language_width:
        student.set_anchors(torch.nn.functional.normalize(torch.randn(18, config.language_width), dim=-1))
    return student


def judged(count: int, seed: int = 0) -> Judged:
    """Confidences that are right half as often as they say."""
    random = np.random.default_rng(seed)
    scores = random.uniform(0.02, 1.0, count)
    hits = random.random(count) < 0.5 * scores
    return Judged(random.integers(0, 20, count), random.integers(0, 18, count), scores, hits)


def test_errors_are_of_the_other_half_of_the_drives() -> None:
    before, after = calibration_errors(judged(8000), 18, 0.05)
    assert before == pytest.approx(0.26, abs=0.03) and after < 0.05
    # What is learnt from one half says nothing about the other where the two have nothing in common.
    given = judged(8000)
    opposed = replace(given, hits=np.where(given.drives % 2 == 1, given.scores > 0.5, given.scores < 0.5))
    before, after = calibration_errors(opposed, 18, 0.05)
    assert after > 0.4


def test_nothing_confident_has_no_error() -> None:
    assert calibration_errors(judged(0), 18, 0.05) == (None, None)


def test_a_student_with_language_gets_its_best_share_and_a_scaling_for_added_classes(recipe) -> None:
    student = untrained(replace(recipe.student, language_width=8))
    with open_frames(recipe.validation, recipe.data_folder, recipe.student) as frames:
        fitted = calibrate(student, frames, settings_of(recipe))
    assert tuple(fitted.language_shares) == LANGUAGE_SHARES and fitted.config.language_share in LANGUAGE_SHARES
    assert len(fitted.calibration.scale) == 18 and sum(fitted.calibration.boxes) > 0
    # Untrained boxes are hardly ever right, and say so now.
    assert fitted.error_before > 0.01 and fitted.calibration.added.offset < 0
    assert set(fitted.summary()["map_by_language_share"]) == {"0", "0.25", "0.5", "0.75", "1"}


def test_the_command_writes_a_checkpoint_that_differs_in_its_confidences_alone(
    recipe, recipe_path, tmp_path, capsys
) -> None:
    source, out = tmp_path / "source.safetensors", tmp_path / "out.safetensors"
    save_checkpoint(source, untrained(recipe.student), "untrained", {"seed": 0}, {"source": "x", "prompts": []})
    assert main(["calibrate", str(source), str(recipe_path), "-o", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["checkpoint"] == str(out) and result["language_share"] == 0
    first, second = read_checkpoint(source), read_checkpoint(out)
    assert second.header["provenance"] == {"seed": 0, "calibrated_on": "tiny.yaml"} and second.language_source == "x"
    assert first.calibration() is None and len(second.calibration().scale) == 18
    assert all(torch.equal(value, second.tensors[name]) for name, value in first.tensors.items())
    with open_frames(recipe.validation, recipe.data_folder, recipe.student) as frames:
        plain, mapped = (Detector.load(path).detect(frames.frame(0)) for path in (source, out))
    assert sorted(plain.boxes.centers[:, 0]) == sorted(mapped.boxes.centers[:, 0])
    assert mapped.scores.max() < plain.scores.max()


def test_without_labelled_frames_there_is_nothing_to_fit(recipe) -> None:
    frames = type("Frames", (), {"drives": lambda self: []})()
    with pytest.raises(ConfigurationError, match="needs validation frames with labels"):
        calibrate(Student(recipe.student), frames, settings_of(recipe))
