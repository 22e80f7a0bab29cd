"""From a recipe to a checkpoint: rendering, learning, stopping, going on."""

import json
from dataclasses import replace

import pytest
import torch

from semlt3d_ros.checkpoints.checkpoint import read_header
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.loop import Trainer, rate_at
from semlt3d_ros.training.recipe import Schedule, load_recipe
from semlt3d_ros.training.run import train
from semlt3d_ros.training.streams import StreamFrame


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
    assert [line["step"] for line in log] == [4] and "heat" in log[0]["losses"]


class Interrupt(Exception):
    pass


def test_an_interrupted_run_goes_on_where_it_was(recipe_path, tmp_path) -> None:
    recipe = load_recipe(recipe_path)
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        whole = Trainer(recipe, frames, tmp_path)
        (tmp_path / "a").mkdir()
        whole.folder = tmp_path / "a"
        whole.run(frames)

        def stop_at_three(step, steps, losses):
            if step == 3:
                raise Interrupt

        broken = Trainer(recipe, frames, tmp_path)
        with pytest.raises(Interrupt):
            broken.run(frames, stop_at_three)
        resumed = Trainer(recipe, frames, tmp_path)
        assert resumed.resume() == 3
        resumed.run(frames)
    for key, value in whole.averaged.state_dict().items():
        assert torch.allclose(value.float(), resumed.averaged.state_dict()[key].float(), atol=1e-6), key


def test_a_state_of_another_recipe_is_refused(recipe_path, tmp_path) -> None:
    recipe = load_recipe(recipe_path)
    Trainer(recipe, [], tmp_path).save()
    other = replace(recipe, student=replace(recipe.student, width=64))
    with pytest.raises(ConfigurationError, match="does not fit this recipe"):
        Trainer(other, [], tmp_path).resume()
    (tmp_path / "state.safetensors").write_bytes(b"half a fi")
    with pytest.raises(ConfigurationError, match="remove it to start afresh"):
        Trainer(recipe, [], tmp_path).resume()


def test_a_step_that_diverges_changes_no_weight(recipe_path, tmp_path) -> None:
    recipe = load_recipe(recipe_path)
    with open_frames(recipe.train, recipe.data_folder, recipe.student) as frames:
        trainer = Trainer(recipe, frames, tmp_path)
        before = {key: value.clone() for key, value in trainer.student.named_parameters()}
        trainer.criterion = lambda *arguments: {"broken": next(trainer.student.parameters()).sum() * float("nan")}
        trainer.train_step([StreamFrame(1, True, 0), StreamFrame(2, True, 1)])
    assert all(torch.equal(value, before[key]) for key, value in trainer.student.named_parameters())


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
