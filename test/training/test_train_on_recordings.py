"""Recordings in a recipe: learnt from, mixed with the simulation, validated on, told of in the checkpoint."""

import json

import pytest

from semlt3d_ros.checkpoints.checkpoint import read_header
from semlt3d_ros.cli import main
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.simulate import simulate
from semlt3d_ros.training.recipe import load_recipe
from semlt3d_ros.training.run import train


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    for name, seed in (("learn.mcap", 3), ("more.mcap", 5), ("judge.mcap", 4)):
        config = DriveConfig(seed, frames=4, interval_s=0.5, image_size=(128, 72), objects=(6, 8))
        simulate(folder / name, config, progress=False)
    return folder


@pytest.fixture
def mixed_recipe(recipe_path, bags):
    lines = recipe_path.read_text().splitlines()
    train_line = next(line for line in lines if line.startswith("train: "))
    simulated = train_line.removeprefix("train: ")
    text = "\n".join(
        f"train: [{{bags: [{bags}/learn.mcap, {bags}/more.mcap], share: 0.5, clip_frames: 2}}, {simulated}]"
        if line == train_line
        else f"validation: {{bags: {bags}/judge.mcap}}"
        if line.startswith("validation")
        else line
        for line in lines
    )
    recipe_path.write_text(text.replace("depth_bins: 8", "depth_bins: 8\n  memory_frames: 2\n  memory_queries: 4"))
    return recipe_path


def test_a_recipe_of_recordings_and_simulation_becomes_a_checkpoint(mixed_recipe, bags, tmp_path, capsys) -> None:
    out = tmp_path / "mixed.safetensors"
    assert main(["train", str(mixed_recipe), "-o", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 8 and "car" in result["ap"]
    data = read_header(out)["provenance"]["data"]
    assert data[0]["bags"] == ["learn.mcap", "more.mcap"] and data[0]["frames"] == 8
    assert data[1]["simulate"]["first_seed"] == 500
    assert main(["detect", str(bags / "judge.mcap"), "-o", str(tmp_path / "d.mcap"), "--checkpoint", str(out)]) == 0
    assert Detector.load(out).image_spec.width == 96


def test_short_and_long_forms_say_the_same(recipe_path, tmp_path) -> None:
    short = load_recipe(recipe_path)
    text = recipe_path.read_text()
    for name in ("train", "validation"):
        start = text.index(f"{name}: {{") + len(name) + 2
        end = text.index("}", start) + 1
        text = f"{text[:start]}[{{simulate: {text[start:end]}}}]{text[end:]}"
    recipe_path.write_text(text)
    assert load_recipe(recipe_path) == short and short.train[0].simulate.first_seed == 500


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{bags: nowhere/*.mcap}", r"bags 'nowhere/\*\.mcap': there is no bag"),
        ("{bags: x, topic: /y}", r"train\[0\]: unknown entry 'topic'"),
        ("{bags: x, simulate: {first_seed: 500}}", "give either simulate or bags"),
        ("{bags: BAGS/judge.mcap}", "under train as well as under validation"),
        ("[]", "train needs at least one source"),
        ("{simulate: {first_sed: 3}}", r"train\[0\]\.simulate: unknown entry 'first_sed'; did you mean 'first_seed'"),
        ("{first_sed: 3}", "unknown entry 'first_sed'; did you mean 'first_seed'"),
    ],
)
def test_sources_that_cannot_be_used_are_named(mixed_recipe, bags, tmp_path, entry, message) -> None:
    lines = mixed_recipe.read_text().splitlines()
    own = entry if entry == "[]" else f"[{entry}]"
    text = [f"train: {own.replace('BAGS', str(bags))}" if line.startswith("train:") else line for line in lines]
    mixed_recipe.write_text("\n".join(text))
    with pytest.raises(ConfigurationError, match=message):
        train(mixed_recipe, tmp_path / "out.safetensors", progress=False)
    assert not (tmp_path / "out.training").exists()
