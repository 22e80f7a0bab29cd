"""Confidences that say how often they are right."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.checkpoints.checkpoint import load_student, save_checkpoint
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.evaluation.evaluator import evaluate
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.inference.postprocess import postprocess
from semlt3d_ros.student.confidence_calibration import Calibration, Scaling, fit, fit_scaling
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.student import Student


def drawn(scaling: Scaling, count: int, seed: int = 0):
    """Scores, and hits that are as frequent as the scaled scores say."""
    random = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(-random.normal(-1.0, 1.5, count)))
    return scores, random.random(count) < scaling(scores)


def test_the_scaling_that_made_the_data_is_found() -> None:
    found = fit_scaling(*drawn(Scaling(2.0, 0.7), 20_000))
    assert found.scale == pytest.approx(2.0, abs=0.1) and found.offset == pytest.approx(0.7, abs=0.1)


def test_each_class_gets_its_own_and_rare_ones_that_of_all() -> None:
    data = [drawn(Scaling(1.0, 1.5), 8000, 1), drawn(Scaling(1.0, -1.5), 8000, 2)]
    data += [(np.array([0.3]), np.array([True])), (np.zeros(0), np.zeros(0, bool))]
    found = fit([scores for scores, _ in data], [hits for _, hits in data])
    assert found.offset[0] == pytest.approx(1.5, abs=0.2) and found.offset[1] == pytest.approx(-1.5, abs=0.2)
    together = fit_scaling(*(np.concatenate(parts) for parts in zip(*data, strict=True)))
    assert found.offset[2] == pytest.approx(together.offset, abs=0.4)
    assert (found.scale[3], found.offset[3]) == (together.scale, together.offset)
    assert found.boxes == (8000, 8000, 1, 0) and found.hits[2:] == (1, 0)


@pytest.mark.parametrize("hits", [np.ones(30, bool), np.zeros(30, bool)])
def test_classes_that_are_always_or_never_right_stay_finite(hits) -> None:
    found = fit([np.linspace(0.1, 0.9, 30)], [hits])
    assert 0 < found.scale[0] < 10 and abs(found.offset[0]) < 10


def test_scores_that_rank_backwards_do_not_turn_the_order_round() -> None:
    scores = np.linspace(0.05, 0.95, 2000)
    found = fit_scaling(scores, np.random.default_rng(0).random(2000) > scores)
    assert found.scale > 0 and (np.diff(found(scores)) >= 0).all()


@given(
    st.floats(0.1, 10),
    st.floats(-5, 5),
    st.lists(st.floats(0.0078125, 0.9921875, width=32), min_size=2, max_size=40, unique=True),
)
def test_the_order_within_a_class_never_changes(scale, offset, scores) -> None:
    confidences = np.array(scores, np.float32)
    mapped = Scaling(scale, offset)(confidences)
    assert ((mapped >= 0) & (mapped <= 1)).all() and (np.diff(mapped[np.argsort(confidences)]) >= 0).all()
    assert Scaling(scale, offset)(np.zeros(3)).tolist() == [0, 0, 0]


def network_output(seed: int, count: int = 24) -> LayerOutput:
    random = torch.Generator().manual_seed(seed)
    centers = 12 * torch.randn(1, count, 3, generator=random)
    codes = torch.zeros(1, count, 10)
    codes[..., 7] = 1.0
    logits = torch.randn(1, count, 18, generator=random) * 2 - 3
    return LayerOutput(logits, codes, torch.full((1, count), -3.0), centers, torch.zeros(1, count, 4))


def uneven_calibration() -> Calibration:
    random = np.random.default_rng(5)
    ones = (1,) * 18
    return Calibration(tuple(random.uniform(0.4, 3, 18)), tuple(random.uniform(-3, 1, 18)), ones, ones)


def test_average_precision_does_not_depend_on_calibration(config) -> None:
    config = replace(config, max_boxes=12)
    plain, mapped, truth = [], [], []
    for seed in range(6):
        output = network_output(seed)
        plain += postprocess(output, [seed], config)
        mapped += postprocess(output, [seed], config, uneven_calibration())
        near = plain[-1].boxes.centers[::2] + np.array([0.5, 0.3, 0.0])
        count = len(near)
        boxes = Boxes3D(near, np.ones((count, 3)), np.zeros(count), np.zeros((count, 2)))
        truth.append(Labels(boxes, plain[-1].class_ids[::2]))
    assert all((np.diff(found.scores) <= 0).all() for found in mapped)
    assert any(not np.array_equal(a.scores, b.scores) for a, b in zip(plain, mapped, strict=True))
    before, after = (evaluate(zip(found, truth, strict=True)) for found in (plain, mapped))
    assert before.map == after.map and before.ap == after.ap and 0 < before.map < 1


def test_the_checkpoint_carries_it_and_the_detector_applies_it(config, frames, tmp_path) -> None:
    student, calibration = Student(config), replace(uneven_calibration(), added=Scaling(2.0, 0.5))
    save_checkpoint(tmp_path / "plain.safetensors", student, "plain", {})
    save_checkpoint(tmp_path / "mapped.safetensors", student, "mapped", {}, calibration=calibration)
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json())), 18) == calibration
    plain, mapped = (Detector.load(tmp_path / f"{name}.safetensors").detect(frames[0]) for name in ("plain", "mapped"))
    expected = calibration(plain.confidences)
    order = np.argsort(-expected.max(axis=1), kind="stable")
    assert np.array_equal(mapped.confidences, expected[order]) and len(mapped) == len(plain) > 0
    assert np.array_equal(mapped.boxes.centers, plain.boxes.centers[order])


@pytest.mark.parametrize(
    "change",
    [
        {"scale": [1.0] * 17 + [0.0]},
        {"offset": [0.0] * 17 + [float("nan")]},
        {"scale": [1.0] * 3, "offset": [0.0] * 3, "boxes": [0] * 3, "hits": [0] * 3},
        {"boxes": [1, 2]},
        {"added": None},
        {"scale": None},
    ],
)
def test_a_calibration_that_does_not_fit_is_refused(config, tmp_path, change) -> None:
    path = tmp_path / "student.safetensors"
    calibration = uneven_calibration()
    broken = type("Broken", (), {"to_json": lambda _: {**calibration.to_json(), **change}})()
    save_checkpoint(path, Student(config), "x", {}, calibration=broken)
    with pytest.raises(ConfigurationError, match=r"student\.safetensors': calibration.*make it anew"):
        Detector.load(path)
    assert load_student(path)  # the weights are all right
