"""A detector with a second opinion is to others what it is without one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from semlt3d_ros.checkpoints.shipped import default_checkpoint
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.inference.advised import advised, clip_device
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.semantics.anchors import make_anchors
from semlt3d_ros.semantics.clip import ClipEncoder
from semlt3d_ros.sensing.preparation import ImagePreparation
from semlt3d_ros.simulation.drive import Drive, DriveConfig


@pytest.fixture(scope="module")
def frames():
    drive = Drive(DriveConfig(92, frames=2, class_exponent=0.2, lidar=None))
    preparation = ImagePreparation(Detector.load(default_checkpoint()).image_spec)
    return [preparation.prepared(drive.frame(index)) for index in range(2)]


@pytest.fixture
def both():
    """The shipped detector twice: as it is, and advised."""
    return Detector.load(default_checkpoint()), advised(Detector.load(default_checkpoint()), "tiny")


def test_the_detectors_own_confidences_stay_beside(both, frames):
    plain, with_opinion = both
    for frame in frames:
        own, told = plain.detect(frame), with_opinion.detect(frame)
        assert len(own) == len(told) and own.model_version == told.model_version
        order = np.lexsort(own.boxes.centers.T), np.lexsort(told.boxes.centers.T)
        np.testing.assert_array_equal(own.confidences[order[0]], told.classifier_confidences[order[1]])
        assert 0 < told.second_opinion.any(axis=1).sum() <= with_opinion.opinion.settings.crops
        assert own.second_opinion.shape == (len(own), 0)
    assert {"batch", "forward", "decode", "opinion"} == set(with_opinion.last_timings)
    assert with_opinion.memory_resets == plain.memory_resets


def test_added_classes_have_an_opinion_and_taking_them_back_restores(both, frames):
    _, detector = both
    detector.set_vocabulary(make_anchors(ClipEncoder.load("tiny"), ("wheelchair",)))
    told = detector.detect(frames[0])
    assert told.class_names[-1] == "wheelchair" and told.second_opinion[:, -1].max() > 0
    with pytest.raises(ConfigurationError, match="trained with"):
        detector.set_vocabulary(_foreign())
    assert detector.class_names[-1] == "wheelchair" and detector.detect(frames[1]).second_opinion.any()
    detector.set_vocabulary(None)
    detector.reset()
    assert detector.detect(frames[0]).second_opinion.shape[1] == len(detector.classes.names) == 18


def _foreign():
    from semlt3d_ros.core.language import LanguageAnchors

    rows = np.random.default_rng(0).normal(size=(1, 64))
    return LanguageAnchors(("yak",), rows, ("a yak",), "other@0")


def test_devices(both):
    _, detector = both
    detector.move_to("cpu")
    assert detector.accelerator_memory() == {}
    assert [clip_device(name) for name in ("cpu", "cuda:1", "onnxruntime")] == ["cpu", "cuda:1", "cpu"]
    if not torch.cuda.is_available():
        with pytest.raises(ConfigurationError, match="not available"):
            detector.move_to("cuda")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: ViT-B-16", "needs weights"),
        ("model: ViT-Q-99\npretrained: openai", "open_clip knows no model 'ViT-Q-99'"),
        ("model: tiny\npretrained: /absent/clip.safetensors", "'/absent/clip.safetensors' do not exist"),
        ("fusion: {weights: {yak: 1.0}, offsets: {yak: 0.0}}", "fitted for other classes"),
    ],
)
def test_an_opinion_that_cannot_be_had_is_told(tmp_path: Path, both, text, words):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        advised(both[0], path)


def test_without_open_clip_it_says_what_to_install(monkeypatch, both):
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'semlt3d_ros\[language\]'"):
        advised(both[0], "tiny")
