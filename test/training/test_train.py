"""From a recipe to a checkpoint: rendering, learning, stopping, going on."""

import json
import random
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint, read_header
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.losses.class_balance import effective_weights
from semlt3d_ros.training.engine import Engine, rate_at
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.recipe import Schedule, load_recipe
from semlt3d_ros.training.run import train
from semlt3d_ros.training.state import random_state, set_random_state
from semlt3d_ros.training.streams import StreamFrame
from semlt3d_ros.training.student_task import StudentTask


def weights(path):
    return Detector.load(path)._student.state_dict()


def test_a_recipe_becomes_a_checkpoint_that_detects(recipe_path, tmp_path) -> None:
    out = tmp_path / "out" / "tiny.safetensors"
    result = train(recipe_path, out, progress=False)
    assert result["steps"] == 8 and result["checkpoint"] == str(out)
    header = read_header(out)
    assert header["provenance"]["seed"] == 3 and "first_seed: 500" in header["provenance"]["recipe_text"]
    recipe = load_recipe(recipe_path)
    with open_frames(recipe.validation, recipe.data_folder, recipe.student) as frames:
        frame = frames.frame(0)
    detections = Detector.load(out).detect(frame)
    assert detections.stamp == frame.stamp and detections.model_version.startswith("tiny@")
    log = [json.loads(line) for line in (out.with_suffix(".training") / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [4] and "heat" in log[0]["losses"] and "car" in log[0]["ap"]
    pictures = sorted(out.with_suffix(".training").glob("pictures/*/*.png"))
    assert [path.parent.name for path in pictures] == ["0000004", "0000008"]
    assert cv2.imread(str(pictures[0])).shape[1] > 1000


class Interrupt(Exception):
    pass


def test_an_interrupted_run_goes_on_where_it_was(recipe_path, tmp_path) -> None:
    recipe = load_recipe(recipe_path)
    (tmp_path / "a").mkdir()
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:

        def engine(folder):
            return Engine(StudentTask(recipe, frames, frames), recipe.schedule, folder)

        whole = engine(tmp_path / "a")
        whole.run()

        def stop_at_three(step, steps, losses):
            if step == 3:
                raise Interrupt

        broken = engine(tmp_path)
        with pytest.raises(Interrupt):
            broken.run(stop_at_three)
        np.random.seed(0)  # what others draw in the meantime is put back too
        random.seed(0)
        resumed = engine(tmp_path)
        assert resumed.resume() == 3
        resumed.run()
    for key, value in whole.averaged.state_dict().items():
        assert torch.allclose(value.float(), resumed.averaged.state_dict()[key].float(), atol=1e-6), key


def test_a_state_of_another_recipe_is_refused(recipe_path, tmp_path) -> None:
    recipe = load_recipe(recipe_path)
    Engine(StudentTask(recipe, []), recipe.schedule, tmp_path).save()
    other = replace(recipe, student=replace(recipe.student, width=64))
    with pytest.raises(ConfigurationError, match="does not fit this recipe"):
        Engine(StudentTask(other, []), other.schedule, tmp_path).resume()
    (tmp_path / "state.safetensors").write_bytes(b"half a fi")
    with pytest.raises(ConfigurationError, match="remove it to start afresh"):
        Engine(StudentTask(recipe, []), recipe.schedule, tmp_path).resume()


def test_a_step_that_diverges_changes_no_weight(recipe_path, tmp_path) -> None:
    recipe = load_recipe(recipe_path)
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        task = StudentTask(recipe, frames)
        engine = Engine(task, recipe.schedule, tmp_path)
        before = {key: value.clone() for key, value in task.student.named_parameters()}
        task.criterion = lambda *arguments: {"broken": next(task.student.parameters()).sum() * float("nan")}
        engine.train_step(task.load([StreamFrame(1, True, 0), StreamFrame(2, True, 1)]))
    assert all(torch.equal(value, before[key]) for key, value in task.student.named_parameters())


def test_loader_processes_change_nothing(recipe_path, tmp_path) -> None:
    losses = []
    for workers in (0, 2):
        recipe = load_recipe(recipe_path)
        recipe = replace(recipe, schedule=replace(recipe.schedule, workers=workers, evaluate_every=0))
        with open_frames(recipe.train, tmp_path / f"data{workers}", recipe.student) as frames:
            engine = Engine(StudentTask(recipe, frames), recipe.schedule, tmp_path)
            seen = []
            engine.run(lambda step, steps, smoothed, seen=seen: seen.append(dict(smoothed)))
        losses.append(seen)
    assert losses[0] == losses[1] and len(losses[0]) == 8


def test_the_state_of_random_generators_comes_back() -> None:
    state = random_state()
    drawn = torch.rand(3), np.random.normal(size=5), [random.gauss(0, 1) for _ in range(3)]
    set_random_state(state)
    again = torch.rand(3), np.random.normal(size=5), [random.gauss(0, 1) for _ in range(3)]
    assert torch.equal(drawn[0], again[0]) and np.array_equal(drawn[1], again[1]) and drawn[2] == again[2]


def test_statistics_are_kept_where_that_is_asked_for(recipe_path, tmp_path) -> None:
    recipe = load_recipe(recipe_path)
    for keep in (False, True):
        kept = replace(recipe, schedule=replace(recipe.schedule, keep_statistics=keep, frames=2))
        with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
            task = StudentTask(kept, frames)
            before = {key: value.clone() for key, value in task.student.named_buffers() if "running" in key}
            weights = {key: value.clone() for key, value in task.student.named_parameters()}
            Engine(task, kept.schedule, tmp_path / str(keep)).run()
        same = [torch.equal(value, before[key]) for key, value in task.student.named_buffers() if key in before]
        assert same and all(same) == keep and any(same) == keep
        assert any(not torch.equal(value, weights[key]) for key, value in task.student.named_parameters())


def test_without_a_weight_nothing_is_denoised(recipe_path) -> None:
    recipe = load_recipe(recipe_path)
    for weight in (0.0, 1.0):
        changed = replace(recipe, loss_weights=replace(recipe.loss_weights, denoising=weight))
        with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
            task = StudentTask(changed, frames)
            task.begin_step(0.0)
            losses, _ = task.losses(task.load([StreamFrame(1, True, 0), StreamFrame(2, True, 1)]), None)
        assert ("denoising_boxes" in losses) == (weight > 0)


def test_learning_rate_warms_up_and_decays() -> None:
    schedule = Schedule(frames=200, batch=2, warmup=0.1)
    rates = [rate_at(step, schedule) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0) and rates[-1] < 0.02
    assert rates.index(max(rates)) in (9, 10)
    twice = [rate_at(step, Schedule(frames=300, batch=2, warmup=0.1, restart_after=200)) for step in range(150)]
    assert twice[:100] == rates and twice[100] == pytest.approx(0.35) and twice[-1] < 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name: tiny", "nmae: tiny"), "unknown entry 'nmae'; did you mean 'name'"),
        (("save_every", "safe_every"), "schedule: unknown entry 'safe_every'; did you mean 'save_every'"),
        (("name: tiny", ""), "missing name"),
        (("first_seed: 10,", "first_seed: 501,"), "share seed 501"),
        (("frames: 16, batch: 2", "frames: 1, batch: 2"), "do not fill one batch"),
        (
            ("top_crop: 0.25\n", "top_crop: 0.5\n"),
            r"top_crop of what is simulated \(0.25\) and of the student \(0.5\) differ",
        ),
        (("frames: 16, batch: 2", "frames: 16, restart_after: 16"), "restart_after is 16"),
        (("student:", "classes: lt4d\nstudent:"), "classes: there is no classes file 'lt4d'.*lt3d, nuscenes"),
        (("student:", "student: ["), "not YAML"),
        (("schedule: {frames", "schedule: 3 #"), "must be a mapping"),
    ],
)
def test_recipes_name_what_is_wrong(recipe_path, change, message) -> None:
    recipe_path.write_text(recipe_path.read_text().replace(*change))
    with pytest.raises(ConfigurationError, match=message):
        load_recipe(recipe_path)


def test_an_absent_recipe_is_named(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.yaml' cannot be read"):
        load_recipe(tmp_path / "absent.yaml")


def test_rendering_that_dies_is_reported_not_waited_for(recipe_path, tmp_path) -> None:
    recipe = load_recipe(recipe_path)
    with open_frames(recipe.train, tmp_path / "other", recipe.student) as frames:
        frames.close()
        with pytest.raises(ConfigurationError, match="rendering ended before"):
            frames.frame(len(frames) - 1)
        with pytest.raises(IndexError):
            frames.frame(len(frames))


def test_coarser_classes_are_learnt_and_not_kept(recipe_path, tmp_path) -> None:
    text = recipe_path.read_text() + "loss_weights: {hierarchy: 1.0}\n"
    recipe_path.write_text(text.replace("save_every: 2, evaluate_every: 4", "evaluate_every: 0, log_every: 1"))
    out = tmp_path / "out.safetensors"
    train(recipe_path, out, progress=False)
    lines = (out.with_suffix(".training") / "log.jsonl").read_text().splitlines()
    losses = [json.loads(line)["losses"]["hierarchy"] for line in lines]
    assert losses[-1] < losses[0]
    assert not any("hierarchy" in name for name in read_checkpoint(out).tensors)


def test_objects_count_by_how_rare_their_class_is_among_those_that_are_learnt_from(recipe_path) -> None:
    recipe = load_recipe(recipe_path)
    rarer = replace(recipe, loss_weights=replace(recipe.loss_weights, class_overlap=0.9))
    (labelled,) = recipe.train
    with open_frames([labelled, replace(labelled, labelled=False)], recipe.data_folder, recipe.student) as frames:
        counts = np.zeros(18, np.int64)
        for index in range(len(frames)):
            frames.wait(index)
            labels = frames.labels(index)
            if labels is None:
                continue
            learnt = (labels.visible_pixels >= recipe.min_visible_pixels) & (labels.class_ids >= 0)
            learnt &= np.hypot(*labels.boxes.centers[:, :2].T) <= recipe.student.range_m
            np.add.at(counts, labels.class_ids[learnt], 1)
        terms = {type(term).__name__: term for term in StudentTask(rarer, frames).criterion.terms}
        assert torch.equal(terms["ClassLoss"].of_classes, effective_weights(torch.from_numpy(counts), 0.9))
        assert len(terms["ClassLoss"].of_classes.unique()) > 3
        assert next(iter(StudentTask(recipe, frames).criterion.terms)).of_classes is None
