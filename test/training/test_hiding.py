"""Which objects hide their class in training, and who tells it instead."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.losses.targets import SeenRegions
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.hiding import Hidden
from semlt3d_ros.training.hiding_settings import Hiding
from semlt3d_ros.training.recipe import parse_recipe
from semlt3d_ros.training.run import train_recipe

LANGUAGE = {"block": "language_experts", "language_width": 64, "experts": 2, "expert_width": 8, "shared_width": 8}


@pytest.fixture(scope="module")
def values(data_folder):
    """Drives that are all but flat, so that all groups have objects."""
    part = {"drives": 3, "frames": 3, "drives_per_shard": 3, "image_size": [96, 56], "top_crop": 0.25}
    return yaml.safe_load(
        json.dumps(
            {
                "name": "hiding",
                "data_folder": str(data_folder),
                "train": {**part, "first_seed": 700, "class_exponent": 0.1, "objects": [30, 36], "regions": True},
                "validation": {**part, "first_seed": 20, "drives": 1},
                "student": {
                    "image_width": 96,
                    "image_height": 42,
                    "top_crop": 0.25,
                    "backbone_args": {"channels": [8, 16, 24, 32], "stem_width": 8},
                    "width": 32,
                    "feed_forward": 48,
                    "anchors": 16,
                    "proposals": 8,
                    "depth_bins": 8,
                    **LANGUAGE,
                },
                "loss_weights": {"alignment": 1.0},
                "schedule": {"frames": 4, "batch": 2, "evaluate_every": 0, "log_every": 1},
            }
        )
    )


@pytest.fixture(scope="module")
def frames(values):
    recipe = parse_recipe(values, "recipe")
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        for index in range(len(frames)):
            frames.wait(index)
        yield frames


@pytest.fixture
def recipe(values):
    return parse_recipe(values, "recipe")


@pytest.fixture
def classes(recipe):
    return recipe.class_list


def objects_of(frames, hidden: Hidden) -> dict[tuple[int, str], set[tuple[str, bool]]]:
    """Group and whether the class is told of all objects, by drive and track."""
    found: dict[tuple[int, str], set[tuple[str, bool]]] = {}
    for drive in frames.drives():
        for index in drive:
            labels = frames.labels(index)
            for kind, track, told in zip(labels.class_ids, labels.track_ids, hidden.told(index, labels), strict=True):
                found.setdefault((drive.start, track), set()).add((labels.class_names[kind], bool(told)))
    return found


def test_all_views_of_an_object_hide_its_class_or_none_and_others_never(frames, recipe, classes) -> None:
    found = objects_of(frames, Hidden(Hiding(share=0.5), frames, recipe))
    assert all(len(each) == 1 for each in found.values())
    rare = [told for ((name, told),) in found.values() if classes.group_of(name) == "few"]
    assert all(told for ((name, told),) in found.values() if classes.group_of(name) != "few")
    assert len(rare) > 20 and 0.25 < np.mean(rare) < 0.75
    again = objects_of(frames, Hidden(Hiding(share=0.5), frames, recipe))
    other = objects_of(frames, Hidden(Hiding(share=0.5, seed=1), frames, recipe))
    assert found == again and found != other
    more = objects_of(frames, Hidden(Hiding(share=0.8), frames, recipe))
    told = {thing for thing, ((_, known),) in more.items() if known}
    assert told < {thing for thing, ((_, known),) in found.items() if known}, "what is told of less is told of more"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_so_many_objects_of_each_class_are_told(frames, recipe, classes, count) -> None:
    groups = ("medium", "few")
    found = objects_of(frames, Hidden(Hiding(groups=groups, told=count), frames, recipe))
    shown = set()
    for drive in frames.drives():
        for index in drive:
            labels = frames.labels(index)
            near = np.hypot(*labels.boxes.centers[:, :2].T) <= recipe.student.range_m
            seen = np.flatnonzero(near & (labels.visible_pixels >= recipe.min_visible_pixels))
            shown |= {(drive.start, labels.track_ids[place]) for place in seen}
    assert set(found) > shown
    for info in classes.classes:
        of_class = {thing: told for thing, ((name, told),) in found.items() if name == info.name}
        learnt = [told for thing, told in of_class.items() if thing in shown]
        wanted = min(count, len(learnt)) if info.group in groups else len(learnt)
        assert sum(learnt) == wanted, info.name
        assert info.group not in groups or sum(of_class.values()) == wanted, "nothing is told of what nobody sees"


def test_named_objects_get_the_likest_name_and_others_stay_untold(frames, recipe, classes) -> None:
    frame = frames.frame(0)
    labels = frame.labels
    anchors = LanguageAnchors(classes.names, np.eye(len(classes), dtype=np.float32))
    hidden = Hidden(Hiding(groups=("many", "medium", "few"), share=1.0, named=True), frames, recipe)
    seen = SeenRegions(np.zeros((len(labels.boxes), len(classes)), np.float32), np.zeros(len(labels.boxes), np.int64))
    seen.embeddings[:, 5], seen.embeddings[:, 7] = 1.0, 0.5
    seen.embeddings[2] = np.nan
    named, told = hidden.applied(0, frame, seen, anchors)
    assert np.flatnonzero(~told).tolist() == [2]
    assert (np.delete(named.labels.class_ids, 2) == 5).all()
    unnamed, told = Hidden(replace(hidden.settings, named=False), frames, recipe).applied(0, frame, seen, anchors)
    assert not told.any() and unnamed is frame
    gone, told = Hidden(replace(hidden.settings, named=False, boxes=False), frames, recipe).applied(
        0, frame, None, None
    )
    assert told is None and (gone.labels.class_ids == ABSENT).all() and (frame.labels.class_ids != ABSENT).all()
    unlabelled = replace(frame, labels=None)
    assert hidden.applied(0, unlabelled, seen, anchors) == (unlabelled, None)


@pytest.mark.parametrize(
    "hidden", [{"share": 0.9}, {"share": 0.9, "named": True}, {"told": 1}, {"told": 1, "boxes": False}], ids=str
)
def test_a_recipe_hides_and_learns(values, frames, tmp_path, hidden) -> None:
    out = tmp_path / "out.safetensors"
    groups = ["many", "medium", "few"]
    train_recipe(parse_recipe({**values, "hidden": {"groups": groups, **hidden}}, "recipe"), out, {}, validated=False)
    train_recipe(parse_recipe(values, "recipe"), tmp_path / "all.safetensors", {}, validated=False)

    def first_losses(path):
        (line, *_) = (path.with_suffix(".training") / "log.jsonl").read_text().splitlines()
        return json.loads(line)["losses"]

    some, all_of_them = first_losses(out), first_losses(tmp_path / "all.safetensors")
    assert some["classes"] != all_of_them["classes"] and np.isfinite(list(some.values())).all()
    assert (some["centers"] == pytest.approx(all_of_them["centers"])) == hidden.get("boxes", True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden": {}}, "neither share nor told hides any object"),
        ({"hidden": {"share": 0.5, "groups": ["rare"]}}, "groups must be some of many, medium, few"),
        ({"hidden": {"told": -1}}, "told must not be negative"),
        ({"hidden": {"share": 0.5, "named": True, "boxes": False}}, "leave out boxes"),
        ({"hidden": {"share": 0.5}, "sampling": {"kind": "repeat_factor"}}, "sampling 'repeat_factor' goes by"),
        ({"hidden": {"share": 0.5}, "distillation": {"cmkd": {}}}, "teachers of distillation go by, but for regions"),
        ({"hidden": {"share": 0.5}, "loss_weights": {"class_overlap": 0.9}}, "class_overlap goes by the classes"),
        ({"hidden": {"share": 0.5, "boxes": False}, "distillation": {"regions": {}}}, "nobody knows where the regions"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:20],
)
def test_what_does_not_go_together_is_told(values, change, words) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_recipe({**values, **change}, "recipe")


def test_named_needs_a_clip(values) -> None:
    student = {name: value for name, value in values["student"].items() if name not in LANGUAGE}
    with pytest.raises(ConfigurationError, match="needs a student with language_width"):
        parse_recipe(
            {**values, "student": student, "loss_weights": {}, "hidden": {"share": 0.5, "named": True}}, "recipe"
        )
