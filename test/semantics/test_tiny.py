import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES
from semlt3d_ros.datasets.object_crops import main_paint, render_crops
from semlt3d_ros.semantics.anchors import make_anchors
from semlt3d_ros.semantics.clip import default_tiny, read_file_header
from semlt3d_ros.semantics.tiny import varied, zero_shot
from semlt3d_ros.simulation.mesh import MeshBuilder, Paint
from semlt3d_ros.training.clip import ClipSchedule, balanced_batch, load_clip_recipe, measure, train_clip

RECIPE = Path(__file__).resolve().parents[2] / "config" / "recipes" / "tiny_clip.yaml"


def silent(*_):
    pass


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The shipped recipe, cut down to a few seconds, on seeds that the shipped weights never saw."""
    whole = load_clip_recipe(RECIPE)
    model = copy.deepcopy(whole.model)
    model["model_cfg"]["text_cfg"] |= {"width": 16, "heads": 2, "layers": 1}
    return replace(
        whole,
        data_folder=tmp_path_factory.mktemp("crops"),
        train=replace(whole.train, first_seed=88_000, drives=2),
        validation=replace(whole.validation, first_seed=89_000, drives=3),
        model=model,
        schedule=ClipSchedule(images=48, batch=8, save_every=2),
    )


@pytest.fixture(scope="module")
def unseen(recipe):
    return render_crops(recipe.data_folder, recipe.validation, recipe.min_visible_pixels, silent)


def test_the_shipped_weights_are_small_and_come_from_the_shipped_recipe():
    assert default_tiny().stat().st_size < 15e6
    made_by = read_file_header(default_tiny())["provenance"]["recipe"]
    shipped = load_clip_recipe(RECIPE)
    assert made_by["model"] == shipped.model
    assert made_by["schedule"]["images"] == shipped.schedule.images
    assert (made_by["train"]["first_seed"], made_by["train"]["drives"]) == (
        shipped.train.first_seed,
        shipped.train.drives,
    )


def test_the_tiny_clip_names_what_it_never_saw(tiny_encoder, unseen):
    large = np.flatnonzero(unseen.visible_pixels >= 40)
    anchors = make_anchors(tiny_encoder, CLASS_NAMES)
    embeddings = tiny_encoder.encode_images(list(unseen.images[large]))
    named = anchors.similarity(embeddings).argmax(axis=1)
    assert len(large) > 20
    assert (named == unseen.class_ids[large]).mean() > 0.7


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("lorry", "truck"),
        ("kid", "child"),
        ("pram", "stroller"),
        ("police car", "emergency_vehicle"),
        ("rubbish on the road", "debris"),
        ("wheelchair", "personal_mobility"),
        ("fallen tree", "debris"),
        ("motorbike", "motorcycle"),
        ("shopping cart", "pushable_pullable"),
    ],
)
def test_other_words_lie_near_their_class(tiny_encoder, words, name):
    anchors = make_anchors(tiny_encoder, CLASS_NAMES)
    cosines = anchors.similarity(make_anchors(tiny_encoder, [words]).embeddings[0])
    assert cosines.argmax() == CLASS_INDEX[name]


def test_the_tiny_clip_tells_which_words_it_does_not_know(tiny_encoder):
    assert tiny_encoder.unknown_words("a lorry with a giraffe") == ("giraffe",)
    assert tiny_encoder.unknown_words("traffic cone") == ()
    assert all(tiny_encoder.unknown_words(name.replace("_", " ")) == () for name in CLASS_NAMES)


def test_the_classes_can_be_told_apart(tiny_encoder):
    anchors = make_anchors(tiny_encoder, CLASS_NAMES)
    assert anchors.dimension == 64
    assert anchors.indistinct(tiny_encoder.logit_scale) == []


def test_crops_are_rendered_once_and_read_again(recipe, unseen):
    again = render_crops(recipe.data_folder, recipe.validation, recipe.min_visible_pixels, silent)
    np.testing.assert_array_equal(again.images, unseen.images)
    assert len(unseen) > 20 and unseen.images.shape[1:] == (48, 48, 3)
    assert (unseen.visible_pixels >= recipe.min_visible_pixels).all()
    assert set(unseen.seeds) <= set(range(89_000, 89_003))
    assert ((unseen.sizes > 0.05) & (unseen.sizes < 25)).all()
    (block,) = recipe.data_folder.glob("crops-0089000*")
    content = block.read_bytes()
    block.write_bytes(content[:500])
    with pytest.raises(ConfigurationError, match="remove the file to render it anew"):
        render_crops(recipe.data_folder, recipe.validation, recipe.min_visible_pixels, silent)
    block.write_bytes(content)


def test_the_main_paint_covers_most():
    m = MeshBuilder()
    m.box((0, 0, 1), (4, 2, 2), Paint((10, 200, 30)))
    m.box((0, 0, 3), (1, 1, 1), Paint((250, 0, 0)))
    np.testing.assert_array_equal(main_paint(m.build()), (10, 200, 30))


def test_an_interrupted_run_goes_on_as_if_it_had_not_stopped(recipe, tmp_path):
    straight = train_clip(recipe, tmp_path / "straight.safetensors", False, silent)

    class Stopped(Exception):
        pass

    def stop(what, done, _):
        if what.startswith("training") and done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        train_clip(recipe, tmp_path / "resumed.safetensors", False, stop)
    shown = []
    resumed = train_clip(
        recipe, tmp_path / "resumed.safetensors", True, lambda what, done, _: shown.append((what[:8], done))
    )
    assert [done for what, done in shown if what == "training"] == [5, 6]
    assert resumed["accuracy"] == straight["accuracy"] and resumed["loss"] == pytest.approx(straight["loss"], abs=1e-6)
    assert (tmp_path / "straight.safetensors").read_bytes() == (tmp_path / "resumed.safetensors").read_bytes()
    stored = json.loads((tmp_path / "straight.json").read_text())
    assert set(stored["recall"]) == set(CLASS_NAMES)
    assert np.array(stored["confusion"]).sum() == stored["crops"]["validation"]


def test_recipes_that_do_not_hold_together_are_refused(recipe, tmp_path):
    with pytest.raises(ConfigurationError, match="share seed 88001"):
        replace(recipe, validation=replace(recipe.validation, first_seed=88_001))
    with pytest.raises(ConfigurationError, match="needs model_cfg"):
        replace(recipe, model={"embed_dim": 3})
    with pytest.raises(ConfigurationError, match="batches of 2 or more"):
        ClipSchedule(batch=1)
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.read_text().replace("batch: 128", "bacth: 128"))
    with pytest.raises(ConfigurationError, match="unknown entry 'bacth'; did you mean 'batch'"):
        load_clip_recipe(path)
    path.write_text("[1, 2]")
    with pytest.raises(ConfigurationError, match="must be a mapping"):
        load_clip_recipe(path)


def test_batches_are_balanced_and_use_every_crop_before_any_twice():
    class_ids = np.repeat([0, 3, 7], [2, 10, 40])
    batches = [balanced_batch(class_ids, 12, 1, step) for step in range(10)]
    for rows in batches:
        assert np.bincount(class_ids[rows], minlength=8)[[0, 3, 7]].tolist() == [4, 4, 4]
    used = np.bincount(np.concatenate(batches), minlength=len(class_ids))
    assert set(used[class_ids == 7]) == {1} and set(used[class_ids == 3]) == {4} and set(used[class_ids == 0]) == {20}
    np.testing.assert_array_equal(batches[4], balanced_batch(class_ids, 12, 1, 4))


def test_the_learning_rate_warms_up_and_decays():
    schedule = ClipSchedule(images=1000, batch=10, learning_rate=1.0, warmup=0.1)
    rates = [schedule.rate_at(step) for step in range(schedule.steps)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0) and rates[-1] < 0.02
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)


def test_varied_images_stay_images():
    images = torch.rand(40, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    out, again = (varied(images, 32, torch.Generator().manual_seed(1)) for _ in range(2))
    assert out.shape == (40, 3, 32, 32) and out.min() >= 0.0 and out.max() <= 1.0
    assert torch.equal(out, again)
    assert not torch.equal(out, varied(images, 32, torch.Generator().manual_seed(2)))


def test_zero_shot_counts_every_class_alike(counting):
    anchors = make_anchors(counting(), ["car", "bus", "cone"])
    shown = np.array([0, 0, 0, 1])
    embeddings = anchors.embeddings[[0, 0, 0, 0]]
    found = zero_shot(anchors, embeddings, shown, 10.0)
    assert found.accuracy == pytest.approx(0.5)
    assert found.recall["car"] == 1.0 and found.recall["bus"] == 0.0 and np.isnan(found.recall["cone"])
    np.testing.assert_array_equal(found.confusion, [[3, 0, 0], [1, 0, 0], [0, 0, 0]])
    assert found.loss > zero_shot(anchors, anchors.embeddings[shown], shown, 10.0).loss


def test_a_clip_measures_itself_on_crops(tiny_encoder, unseen):
    found = measure(tiny_encoder, unseen)
    assert found.confusion.sum() == len(unseen)
    assert found.accuracy > 0.6
