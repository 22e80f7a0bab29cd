"""Classes by language at run time, and frames whose output is not finite."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.inference.postprocess import localisation_confidence, postprocess
from semlt3d_ros.student.confidence_calibration import Calibration, Scaling
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import range_scale
from semlt3d_ros.student.student import Student

WIDTH, SOURCE = 12, "clip@12"


def anchors(*names: str, seed: int = 0, width: int = WIDTH, source: str = SOURCE) -> LanguageAnchors:
    return LanguageAnchors(names, np.random.default_rng(seed).normal(size=(len(names), width)), source=source)


@pytest.fixture
def speaking(config) -> Student:
    """A student with language and a memory; all confidences are given out, none is suppressed."""
    config = replace(
        config,
        block="language_experts",
        language_width=WIDTH,
        language_share=0.5,
        memory_frames=2,
        memory_queries=6,
        score_floor=0.0,
        suppression_radius_m=0.0,
    )
    student = Student(config)
    student.set_anchors(torch.from_numpy(anchors(*CLASS_NAMES, seed=9).embeddings))
    return student


@pytest.fixture
def drive(frames):
    """Frames half a second apart, at rest."""
    return [replace(frame, stamp=i * 500_000_000, T_world_ego=np.eye(4)) for i, frame in enumerate(frames)]


def same(first, second) -> bool:
    return (
        first.class_names == second.class_names
        and np.array_equal(first.confidences, second.confidences)
        and np.array_equal(first.boxes.centers, second.boxes.centers)
        and np.array_equal(first.expert_weights, second.expert_weights)
    )


def test_an_added_class_is_scored_by_its_anchor_alone(speaking, drive) -> None:
    detector = Detector(speaking, "x", language_source=SOURCE)
    given = anchors("wheelchair", "fallen tree")
    detector.set_vocabulary(given)
    assert detector.class_names == (*CLASS_NAMES, "wheelchair", "fallen tree")
    layer = Detector(speaking, "x").look(drive[0])
    found = detector.detect(drive[0])
    plain = Detector(speaking, "x").detect(drive[0])
    bias = speaking.decoder.layers[-1].language.bias.item()
    logits = layer.projected[0].numpy() @ given.embeddings.T + bias
    spread = np.exp(np.clip(layer.log_scale[0].numpy(), -4, 4))
    boxes = layer.boxes()[0].numpy()
    reach = localisation_confidence(torch.from_numpy(spread) * range_scale(torch.from_numpy(boxes[:, :3])))
    expected = reach.numpy()[:, None] / (1 + np.exp(-logits))
    row = {tuple(center.round(4)): index for index, center in enumerate(boxes[:, :3].astype(np.float64))}
    rows = [row[tuple(center.round(4))] for center in found.boxes.centers]
    np.testing.assert_allclose(found.confidences[:, 18:], expected[rows], rtol=2e-5)
    # The classes that were there before are as they were.
    assert sorted(map(tuple, found.confidences[:, :18])) == sorted(map(tuple, plain.confidences))
    assert found.expert_weights.shape == (len(found), 4)


def test_a_trained_class_that_is_named_keeps_its_column(speaking, drive) -> None:
    detector = Detector(speaking, "x", language_source=SOURCE)
    plain = detector.detect(drive[0])
    detector.set_vocabulary(anchors("child"))
    detector.reset()
    found = detector.detect(drive[0])
    assert found.class_names == CLASS_NAMES
    others = np.arange(18) != CLASS_INDEX["child"]
    by_place = [np.lexsort(each.boxes.centers.T) for each in (plain, found)]
    assert np.array_equal(plain.confidences[by_place[0]][:, others], found.confidences[by_place[1]][:, others])
    assert not np.array_equal(plain.confidences[by_place[0]], found.confidences[by_place[1]])
    # The anchor it was trained with, at a share of 1, is the class as it was.
    own = speaking.decoder.language_anchors.numpy()[CLASS_INDEX["child"]][None]
    detector.set_vocabulary(LanguageAnchors(("child",), own, source=SOURCE))
    speaking.config = replace(speaking.config, language_share=1.0)
    detector.reset()
    renamed = detector.detect(drive[0])
    detector.set_vocabulary(None)
    detector.reset()
    np.testing.assert_allclose(renamed.confidences, detector.detect(drive[0]).confidences, rtol=1e-4)


def test_changes_between_frames_keep_the_memory_and_can_be_taken_back(speaking, drive) -> None:
    undisturbed, changed = (Detector(speaking, "x", language_source=SOURCE) for _ in range(2))
    expected = [undisturbed.detect(frame) for frame in drive]
    assert same(changed.detect(drive[0]), expected[0])
    changed.set_vocabulary(anchors("wheelchair", "car"))
    assert len(changed.detect(drive[1]).class_names) == 19
    changed.set_vocabulary(None)
    assert same(changed.detect(drive[2]), expected[2])
    assert changed.memory_resets == {"start": 1, "kept": 2}


def test_added_and_replaced_classes_are_calibrated_as_language_was(speaking, drive, tmp_path) -> None:
    ones = (1,) * 18
    calibration = Calibration((0.5,) * 18, (1.0,) * 18, ones, ones, Scaling(2.0, -0.5))
    path = tmp_path / "speaking.safetensors"
    save_checkpoint(path, speaking, "speaking", {}, {"source": SOURCE, "prompts": []}, calibration)
    detector = Detector.load(path)
    detector.set_vocabulary(anchors("wheelchair", "car"))
    plain = Detector(speaking, "x", language_source=SOURCE)
    plain.set_vocabulary(anchors("wheelchair", "car"))
    found, raw = detector.detect(drive[0]), plain.detect(drive[0])
    by_place = [np.lexsort(each.boxes.centers.T) for each in (found, raw)]
    found, raw = (each.confidences[order] for each, order in zip((found, raw), by_place, strict=True))
    language = [CLASS_INDEX["car"], 18]
    np.testing.assert_array_equal(found[:, language], Scaling(2.0, -0.5)(raw[:, language]))
    np.testing.assert_array_equal(found[:, 1:18], Scaling(0.5, 1.0)(raw[:, 1:18]))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (anchors("wheelchair", width=64), "have dimension 64, the model needs 12; make them with the CLIP"),
        (anchors("wheelchair", source="other@1"), "are from 'other@1', the model was trained with 'clip@12'"),
    ],
)
def test_anchors_of_another_language_space_change_nothing(speaking, drive, given, words) -> None:
    detector = Detector(speaking, "x", language_source=SOURCE)
    detector.set_vocabulary(anchors("wheelchair"))
    with pytest.raises(ConfigurationError, match=words):
        detector.set_vocabulary(given)
    assert detector.detect(drive[0]).class_names == (*CLASS_NAMES, "wheelchair")


def test_a_student_without_language_knows_its_own_classes_only(config) -> None:
    detector = Detector(Student(config), "x")
    with pytest.raises(ConfigurationError, match="trained without language"):
        detector.set_vocabulary(anchors("wheelchair"))
    detector.set_vocabulary(None)
    assert detector.class_names == CLASS_NAMES


def test_suppression_takes_each_added_class_for_itself(config) -> None:
    config = replace(config, language_width=2, language_share=1.0)
    student = Student(config)
    detector = Detector(student, "x")
    detector.set_vocabulary(LanguageAnchors(("wheelchair",), np.array([[1.0, 0.0]])))
    codes = torch.zeros(1, 2, 10)
    codes[..., 7] = 1.0
    output = LayerOutput(
        torch.full((1, 2, 18), -20.0), codes, torch.full((1, 2), -4.0), torch.tensor([[[10.0, 0, 1], [10.4, 0, 1]]]),
        torch.zeros(1, 2, 4), torch.tensor([[[8.0, 0.0], [9.0, 0.0]]]), torch.full((1, 2, 18), -20.0),
    )  # fmt: skip
    (found,) = postprocess(output, [0], config, vocabulary=detector._classes.vocabulary)
    assert len(found) == 1 and found.class_names[found.class_ids[0]] == "wheelchair"
    assert found.boxes.centers[0, 0] == pytest.approx(10.4)


def test_a_frame_whose_output_is_not_finite_is_refused_and_not_remembered(speaking, drive) -> None:
    undisturbed, struck = (Detector(speaking, "x") for _ in range(2))
    for detector in (undisturbed, struck):
        detector.detect(drive[0])
    before = struck.memory_state()
    features = speaking.features.forward
    speaking.features.forward = lambda batch: [level * float("nan") for level in features(batch)]
    try:
        with pytest.raises(InputRejected) as caught:
            struck.detect(drive[1])
    finally:
        speaking.features.forward = features
    assert caught.value.reason == "not_finite"
    after = struck.memory_state()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert same(undisturbed.detect(drive[2]), struck.detect(drive[2]))
