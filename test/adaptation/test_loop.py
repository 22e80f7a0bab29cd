"""The loop on a small robot: from its events to a verdict, whatever happens in between."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from bench.faults.rounds import kill_and_finish
from bench.small_robot import NAMES, STEPS
from semlt3d_ros.adaptation import labels, loop
from semlt3d_ros.adaptation.alone import Busy, alone
from semlt3d_ros.adaptation.labels import read_labelled
from semlt3d_ros.adaptation.learning import CANDIDATE, RECIPE
from semlt3d_ros.adaptation.loop import run_round
from semlt3d_ros.adaptation.models import ModelStore
from semlt3d_ros.adaptation.plan import Rounds, is_held_back
from semlt3d_ros.adaptation.settings import NamingSettings, load_settings
from semlt3d_ros.adaptation.status import Status, read_status
from semlt3d_ros.adaptation.support import Support
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.checkpoints.checkpoint import read_checkpoint, save_checkpoint
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode_detections import decode_labels
from semlt3d_ros.training.recipe import load_recipe

# The gate asks for more than there are: then half of them, those with the lowest lots.
HELD_BACK = next(
    held
    for held in ([name for name in NAMES if is_held_back(name, share / 1000)] for share in range(1001))
    if len(held) == len(NAMES) // 2
)
LEARNT = [name for name in NAMES if name not in HELD_BACK]


def test_events_become_labels_a_candidate_and_a_verdict_and_what_is_no_better_is_not_promoted(went_round) -> None:
    settings, told = went_round
    states = [status.state for status in told]
    assert list(dict.fromkeys(states)) == ["idle", "replaying", "training", "evaluating", "rejected"]
    last = told[-1]
    assert (last.recordings_replayed, last.recordings_total) == (6, 6) and last.pseudo_labels_kept > 0
    assert (last.training_step, last.training_steps) == (STEPS, STEPS)
    [(plan, result)] = Rounds(settings.work).all()
    assert list(plan.learnt) == LEARNT and list(plan.held_back) == HELD_BACK
    assert result.outcome == "rejected" and "too few to tell a gain from chance" in last.reason_not_promoted
    assert ModelStore(settings.models).current() == last.running_version != last.candidate_version
    folder = Rounds(settings.work).folder(1)
    assert (folder / "verdict" / "verdict.md").is_file()
    learnt = read_checkpoint(folder / CANDIDATE).header["provenance"]["data"]
    assert sorted(learnt[1]["bags"]) == [f"{name}.mcap" for name in LEARNT]
    assert read_status(settings.work) == last


def test_the_recipe_of_a_round_is_one_as_every_other_and_replays_its_share(went_round) -> None:
    settings, _ = went_round
    values = Rounds(settings.work).folder(1) / RECIPE
    shutil.copyfile(settings.models.parent / "small.safetensors", values.parent / "parent.safetensors")
    recipe = load_recipe(values)
    replayed, events = recipe.train
    assert replayed.simulate is not None and replayed.share is None and events.share == 0.5
    assert events.labels == "/teacher/labels" and recipe.start.name == "parent.safetensors"


def test_too_few_new_events_are_waited_for(went_round) -> None:
    settings, _ = went_round
    waiting = run_round(settings)
    assert waiting.state == "idle" and waiting.message.startswith("0 new events, 4 are asked for (least_new)")
    assert len(Rounds(settings.work).all()) == 1


def test_no_room_is_waited_for(robot) -> None:
    waiting = run_round(replace(robot, free_gib=1e9))
    assert waiting.state == "idle" and "waiting for room" in waiting.message and not Rounds(robot.work).all()


def test_a_second_distiller_refuses_and_changes_nothing(robot) -> None:
    with alone(robot.work):
        before = sorted(robot.work.rglob("*"))
        with pytest.raises(Busy, match=r"another distiller is at work in .* wait for its end"):
            run_round(robot)
        assert sorted(robot.work.rglob("*")) == before


def test_events_without_a_lidar_and_corrupt_ones_are_left_out_and_told(robot, recording) -> None:
    bare, corrupt = LEARNT[0], LEARNT[1]
    record = (robot.events / bare / "event.json").read_text()
    shutil.rmtree(robot.events / bare)
    recording.of_sets(robot.events / bare, 2)
    (robot.events / bare / "event.json").write_text(record)
    [bag] = (robot.events / corrupt).glob("*.mcap")
    content = bytearray(bag.read_bytes())
    content[2000:-200] = bytes(len(content) - 2200)
    bag.write_bytes(content)
    with pytest.raises(Stopped):
        run_round(robot, stop_when("training"))
    labelled = read_labelled(Rounds(robot.work).folder(1))
    assert sorted(labelled.bags) == sorted({*NAMES} - {bare, corrupt})
    assert "no cloud to label" in labelled.faults[bare] and labelled.faults[corrupt]


class Stopped(Exception):
    """Told to stop."""


def stop_when(state: str, step: int = 0):
    def tell(status: Status) -> None:
        if status.state == state and status.training_step >= step:
            raise Stopped

    return tell


def test_a_round_that_is_stopped_goes_on_where_it_was(robot) -> None:
    with pytest.raises(Stopped):
        run_round(robot, stop_when("training", step=3))
    assert read_status(robot.work).message == "interrupted while training; goes on where it was"
    told: list[Status] = []
    ended = run_round(robot, told.append)
    assert ended.state == "rejected" and len(Rounds(robot.work).all()) == 1
    assert not any("labelling" in status.message for status in told)
    steps = [status.training_step for status in told if status.message == "learning"]
    assert steps[0] == 4 and steps[-1] == STEPS


def test_what_the_teacher_says_is_kept_where_the_recipe_follows_it(robot) -> None:
    kept = robot.data_folder / "teacher"
    assert not kept.exists(), "the recipe learns from its boxes alone"
    values = yaml.safe_load(robot.recipe.read_text()) | {"distillation": {"cmkd": {}}}
    following = robot.recipe.with_name("following.yaml")
    following.write_text(yaml.safe_dump(values))
    with pytest.raises(Stopped):
        run_round(replace(robot, recipe=following), stop_when("training"))
    assert any(kept.rglob("*.safetensors"))


def test_another_recipe_begins_another_round(robot) -> None:
    with pytest.raises(Stopped):
        run_round(robot, stop_when("training"))
    with pytest.raises(Stopped):
        run_round(replace(robot, replay=0.25), stop_when("training"))
    (first, ended), (second, open_) = Rounds(robot.work).all()
    assert ended.outcome == "abandoned" and open_ is None
    assert first.learnt == second.learnt and first.basis != second.basis


def test_what_is_better_takes_over_with_its_provenance_and_can_be_taken_back(judged, robot) -> None:
    status = judged(True)
    store = ModelStore(robot.models)
    assert status.state == "promoted" and status.promoted and store.current() == status.candidate_version
    version = store.read(store.current())
    assert version.provenance["learnt"] == LEARNT and version.provenance["held_back"] == HELD_BACK
    assert version.provenance["parent"].startswith("small@") and version.verdict["promoted"]
    assert store.roll_back("test").name == version.provenance["parent"]


def test_a_round_that_died_after_its_promotion_ends_as_promoted(judged, robot, monkeypatch) -> None:
    def die(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as broken:
        broken.setattr(Rounds, "end", die)
        with pytest.raises(Stopped):
            judged(True)
    promoted = ModelStore(robot.models).current()
    ended = judged(True)
    assert ended.state == "promoted" and ModelStore(robot.models).current() == promoted
    assert len(ModelStore(robot.models).history()) == 2


@pytest.mark.parametrize("what", ["nan", "truncated"])
def test_a_candidate_that_cannot_be_used_is_refused_and_the_old_model_runs(
    robot, monkeypatch, save_small, what
) -> None:
    def learn(folder: Path, *_: object) -> None:
        path = folder / CANDIDATE
        save_small(path)
        if what == "truncated":
            path.write_bytes(path.read_bytes()[:-1000])
            return
        student = read_checkpoint(path).student()
        with torch.no_grad():
            next(student.parameters()).fill_(torch.nan)
        save_checkpoint(path, student, "adapted", {})

    running = ModelStore(robot.models).current()
    monkeypatch.setattr(loop, "learn", learn)
    status = run_round(robot)
    assert status.state == "rejected" and ModelStore(robot.models).current() == running
    assert ("no numbers" if what == "nan" else "candidate") in status.reason_not_promoted


def test_without_a_teacher_nothing_is_done_and_it_is_told(robot) -> None:
    status = run_round(replace(robot, teacher=robot.work / "none.safetensors"))
    assert status.state == "failed" and "none.safetensors" in status.message
    assert ModelStore(robot.models).current() == status.running_version


def test_objects_are_named_and_a_class_added_by_prompt_is_learnt(robot) -> None:
    naming = NamingSettings(
        classes=("snow_plough=a plough for snow",), image_width=192, image_height=108, least_views=1, threshold=0.0
    )
    named = replace(robot, naming=naming)
    with pytest.raises(Stopped):
        run_round(named, stop_when("training", step=1))
    folder = Rounds(robot.work).folder(1)
    labelled = read_labelled(folder)
    assert sorted(labelled.bags) == sorted(NAMES) and not list(robot.work.glob("labels/*/unnamed/*"))
    assert "objects got their names from tiny@" in labelled.told[-1]
    recipe = load_recipe(folder / RECIPE)
    assert recipe.class_list.names[-1] == "snow_plough" and recipe.class_list.classes[-1].words == "a plough for snow"
    with pytest.raises(Stopped):
        run_round(named, stop_when("training", step=2))
    assert len(Rounds(robot.work).all()) == 1


def test_a_class_added_by_prompt_is_learnt_of_what_the_model_that_ran_is_blind_to(robot, monkeypatch) -> None:
    monkeypatch.setattr(labels, "support_of", lambda *_: Support((), (), 0))  # it has seen nothing at all

    def every_other(sightings, *_):
        return {each.track: ("car", "snow_plough")[number % 2] for number, each in enumerate(sightings)}

    monkeypatch.setattr(labels, "named", every_other)
    naming = NamingSettings(image_width=192, image_height=108)
    for number, classes in enumerate([(), ("snow_plough=a plough for snow",)], 1):
        with pytest.raises(Stopped):
            run_round(replace(robot, naming=replace(naming, classes=classes)), stop_when("training"))
        bags = read_labelled(Rounds(robot.work).folder(number)).bags.values()
        assert {name for bag in bags for name in names_in(bag)} == ({"", "snow_plough"} if classes else {""})


def names_in(bag) -> list[str]:
    with BagSource(bag) as source:
        entries = source.messages(topics=[topics.TEACHER_LABELS])
        return [name for entry in entries for name in decode_labels(entry.message())[0].names]


def test_without_a_clip_it_is_done_without_names_and_told(robot) -> None:
    with pytest.raises(Stopped):
        run_round(replace(robot, naming=NamingSettings(model="no-such-clip")), stop_when("training"))
    labelled = read_labelled(Rounds(robot.work).folder(1))
    assert len(labelled.bags) == len(NAMES)
    assert any(text.startswith("done without names by language: ") for text in labelled.told)


def test_a_round_that_is_killed_at_any_moment_loses_nothing(robot) -> None:
    killed = kill_and_finish(robot, kills=4, seed=1)
    assert killed.total() >= 1


def test_places_within_each_other_and_recipes_that_are_not_there_are_refused(robot, tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="lies within"):
        replace(robot, work=robot.events / "work")
    values = tmp_path / "adaptation.yaml"
    values.write_text(
        json.dumps({"events": "e", "models": "m", "work": "w", "recipe": "no.yaml", "regression": [{"drives": 1}]})
    )
    with pytest.raises(ConfigurationError, match=r"recipe '.*no\.yaml' is not a file"):
        load_settings(values)
