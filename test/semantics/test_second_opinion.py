"""A CLIP names what ambiguous boxes show: which boxes, from which pixels, in which names."""

from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame, WholeImage
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES
from semlt3d_ros.semantics.anchors import make_anchors
from semlt3d_ros.semantics.clip import ClipEncoder
from semlt3d_ros.semantics.fusion import Fusion
from semlt3d_ros.semantics.opinion_settings import Fitted, OpinionSettings, load_opinion_settings
from semlt3d_ros.semantics.second_opinion import SecondOpinion
from semlt3d_ros.sensing.preparation import ImagePreparation
from semlt3d_ros.simulation.drive import Drive, DriveConfig


@pytest.fixture(scope="module")
def frame():
    """A frame of a simulated drive as a student takes it, with its whole images."""
    drive = Drive(DriveConfig(91, frames=1, objects=(25, 30), class_exponent=0.0, lidar=None))
    return ImagePreparation(ImageSpec(112, 48, 0.25)).prepared(drive.frame(0))


@pytest.fixture(scope="module")
def found(frame):
    """The true boxes that are seen well, by a classifier that does not know what they are."""
    labels = frame.labels[frame.labels.visible_pixels > 150]
    confidences = np.full((len(labels.boxes), len(CLASS_NAMES)), 0.1, np.float32)
    confidences[:, 0] = np.linspace(0.3, 0.2, len(confidences))
    return Detections(frame.stamp, labels.boxes, confidences), labels


@pytest.fixture
def opinion_of(tiny_encoder):
    def make(names=CLASS_NAMES, version="some@0", **changes):
        return SecondOpinion(tiny_encoder, OpinionSettings(**changes), names, version)

    return make


def test_a_clip_tells_what_a_classifier_does_not(frame, found, opinion_of):
    detections, labels = found
    told = opinion_of(crops=64)(frame, detections)
    # Best first, and in another order than before: by place.
    places = {tuple(center): label for center, label in zip(labels.boxes.centers, labels.class_ids, strict=True)}
    truth = np.array([places[tuple(center)] for center in told.boxes.centers])
    assert (np.diff(told.scores) <= 0).all() and len(told) == len(detections) > 8
    assert (told.class_ids == truth).mean() > 0.6 > 0.3 > (detections.class_ids == labels.class_ids).mean()
    np.testing.assert_allclose(told.second_opinion.sum(axis=1), 1.0, rtol=1e-4)
    np.testing.assert_allclose(np.sort(told.classifier_confidences[:, 0]), np.sort(detections.confidences[:, 0]))


def test_no_more_boxes_are_asked_about_than_allowed_and_the_others_stay(frame, found, opinion_of):
    detections, _ = found
    opinion = opinion_of(crops=3)
    told = opinion(frame, detections)
    asked = told.second_opinion.any(axis=1)
    assert opinion.asked == asked.sum() == 3
    np.testing.assert_array_equal(told.confidences[~asked], told.classifier_confidences[~asked])
    assert (told.confidences[asked] != told.classifier_confidences[asked]).any(axis=1).all()


def test_what_is_valued_is_asked_about_first_and_what_is_clear_never(frame, found, opinion_of):
    detections, _ = found
    confidences = np.zeros_like(detections.confidences)
    confidences[:, CLASS_INDEX["car"]] = 1.0
    confidences[3, CLASS_INDEX["car"]], confidences[5, CLASS_INDEX["child"]] = 0.5, 0.3
    clear = replace(detections, confidences=confidences)
    assert opinion_of().ambiguous(clear).tolist() == [3, 5]
    assert opinion_of(values={"car": 0.2, "child": 3.0}).ambiguous(clear).tolist() == [5, 3]
    assert opinion_of(least_ambiguity=0.22).ambiguous(clear).tolist() == [3]


def test_crops_are_cut_from_the_whole_images(frame, found, opinion_of):
    detections, _ = found
    rows = np.arange(len(detections))
    sharp = opinion_of().look(frame, detections, rows)
    small = replace(frame, views=tuple(replace(view, whole=None) for view in frame.views))
    blurred = opinion_of().look(small, detections, rows)
    assert len(sharp.rows) >= len(blurred.rows) and not np.array_equal(sharp.cosines, blurred.cosines)
    black = replace(
        frame,
        views=tuple(
            replace(view, whole=WholeImage(np.zeros_like(view.whole.image), view.whole.camera)) for view in frame.views
        ),
    )
    seen = opinion_of().look(black, detections, rows).cosines
    assert np.ptp(seen, axis=0).max() < 1e-4, "all crops of black images look alike"


def test_without_images_boxes_or_a_camera_that_sees_them_nothing_changes(frame, found, opinion_of):
    detections, _ = found
    above = replace(detections, boxes=Boxes3D(*(np.array(part) for part in vars(detections.boxes).values())))
    above.boxes.centers[:, 2] += 500.0
    nothing = detections[np.zeros(len(detections), bool)]
    for images, given in (
        (Frame(frame.stamp, (), tuple(view.name for view in frame.views)), detections),
        (frame, above),
        (frame, nothing),
    ):
        told = opinion_of()(images, given)
        np.testing.assert_array_equal(told.confidences, given.confidences)
        assert not told.second_opinion.any()
        if len(given):
            np.testing.assert_array_equal(told.classifier_confidences, given.confidences)
            assert told.second_opinion.shape == given.confidences.shape


def test_detections_of_other_names_come_back_as_they_are(frame, found, opinion_of):
    detections, _ = found
    others = replace(detections, class_names=tuple(f"x{k}" for k in range(18)), class_groups=())
    assert opinion_of()(frame, others) is others


def test_added_names_are_asked_for_too_by_any_clip(tiny_encoder, small_encoder, frame, found, opinion_of):
    detections, _ = found
    vocabulary = make_anchors(tiny_encoder, ("wheelchair", "child"), words={"child": "kid"})
    names = (*CLASS_NAMES, "wheelchair")
    more = replace(
        detections,
        confidences=np.column_stack([detections.confidences, np.full(len(detections), 0.2, np.float32)]),
        class_names=names,
        class_groups=(),
    )
    opinion = opinion_of(crops=64)
    opinion.use(opinion.named(vocabulary))
    told = opinion(frame, more)
    assert told.second_opinion.shape == (len(more), 19) and told.second_opinion[:, 18].max() > 0
    # The same words through another CLIP's file: its directions mean nothing here, its prompts do.
    foreign = make_anchors(small_encoder, ("wheelchair", "child"), words={"child": "kid"})
    again = opinion.named(foreign)
    np.testing.assert_allclose(again.embeddings, opinion.named(vocabulary).embeddings, atol=1e-5)
    opinion.use(opinion.named(None))
    assert opinion(frame, more) is more


def test_a_fit_for_other_classes_or_another_clip_is_refused(tiny_encoder, opinion_of):
    fusion = Fusion(weights={"car": 1.0, "yak": 1.0}, offsets={"car": 0.0, "yak": 0.0})
    with pytest.raises(ConfigurationError, match=r"fitted for yard@1, but the classes of some@0 are others .*yak"):
        opinion_of(("car", "goat"), fusion=fusion, fitted=Fitted("yard@1"))
    assert opinion_of(("yak", "car"), fusion=fusion)
    with pytest.raises(ConfigurationError, match=f"fitted for CLIP 'ViT-B-16@1', this is '{tiny_encoder.identity}'"):
        opinion_of(fitted=Fitted("", "ViT-B-16@1"))


def test_the_shipped_settings_are_for_the_shipped_models(tiny_encoder):
    from semlt3d_ros.checkpoints.checkpoint import read_checkpoint
    from semlt3d_ros.checkpoints.shipped import default_checkpoint

    settings = load_opinion_settings("tiny")
    checkpoint = read_checkpoint(default_checkpoint())
    settings.check_fit(tiny_encoder.identity, checkpoint.classes.names, checkpoint.version)
    assert set(settings.fusion.weights) == set(settings.values) == set(CLASS_NAMES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("crops: 0", "crops must be positive"),
        ("crop: 3", "crop"),
        ("values: {car: -1.0}", "values must not be negative"),
        ("fusion: {temperature: cold}", "fusion.temperature"),
        (": :", "second opinion"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path, text, words):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        load_opinion_settings(path)


def test_settings_that_are_not_there_are_named():
    with pytest.raises(ConfigurationError, match=r"no second opinion file 'huge'.*tiny"):
        load_opinion_settings("huge")
    with pytest.raises(ConfigurationError, match=r"absent\.yaml"):
        load_opinion_settings("absent.yaml")


def test_crops_and_images_embed_alike(tiny_encoder, small_encoder):
    rng = np.random.default_rng(1)
    for encoder in (tiny_encoder, small_encoder):
        crops = rng.integers(0, 256, (3, encoder.image_size, encoder.image_size, 3), np.uint8)
        np.testing.assert_allclose(encoder.encode_crops(crops), encoder.encode_images(list(crops)), atol=2e-5)
        assert encoder.encode_crops(crops[:0]).shape == (0, encoder.dimension)


def test_a_clip_of_real_size_is_asked_through_the_same_door(frame, found):
    """ViT-B/16 by open_clip's own name, with random weights: crops of 224 pixels, its own scale and tokenizer."""
    import open_clip
    import torch

    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-16")
    encoder = ClipEncoder(model, preprocess, open_clip.get_tokenizer("ViT-B-16"), "ViT-B-16")
    assert (encoder.image_size, encoder.dimension) == (224, 512)
    assert encoder.logit_scale == pytest.approx(1 / 0.07, rel=1e-3)
    opinion = SecondOpinion(encoder, OpinionSettings(model="ViT-B-16", crops=2), CLASS_NAMES, "some@0")
    detections, _ = found
    told = opinion(frame, detections)
    assert opinion.asked == told.second_opinion.any(axis=1).sum() == 2
    np.testing.assert_allclose(told.second_opinion.sum(axis=1).max(), 1.0, rtol=1e-4)
