"""Ablations end to end on a recipe of seconds: runs, resumes, reports."""

import json
import textwrap

import pytest

from semlt3d_ros.cli import main
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.datasets.simulated import digest
from semlt3d_ros.training.experiment import kept_path, load_experiment, merged, run_all, run_name
from semlt3d_ros.training.experiment_report import summary, to_markdown
from semlt3d_ros.training.paired import Kept
from semlt3d_ros.training.paired_report import comparison
from semlt3d_ros.training.run import train

EXPERIMENT = """
name: small
seeds: [0, 1]
test: &test {{first_seed: 900, drives: 2, frames: 2, image_size: [96, 56], top_crop: 0.25}}
more_tests: {{flat: {{<<: *test, first_seed: 950, drives: 1, class_exponent: 0.0}}}}
recipe:
{recipe}
  initial: {initial}
  initial_parts: [features., image_head.]
  frozen_images: true
  augmentation: {{brightness: 0.0, contrast: 0.0, tint: 0.0, blur: 0.0, noise: 0.0, drop_camera: 0.0}}
bases:
  - {{name: sampled}}
rows:
  - name: plain
  - {{name: feature experts, change: {{student: {{block: feature_experts, memory_frames: 2, memory_queries: 4}}}}}}
  - {{name: one box, trained_as: plain, change: {{student: {{max_boxes: 1}}}}}}
"""


@pytest.fixture
def experiment_path(recipe_path, tmp_path):
    checkpoint = tmp_path / "first.safetensors"
    train(recipe_path, checkpoint, progress=False)
    entries = "\n".join(line for line in recipe_path.read_text().splitlines() if not line.startswith(("name", "seed")))
    entries = entries.replace("validation: {first_seed: 10,", "validation: {first_seed: 11,")
    path = tmp_path / "small.yaml"
    path.write_text(EXPERIMENT.format(recipe=textwrap.indent(entries, "  "), initial=checkpoint))
    return path


def test_runs_once_reports_every_row_and_does_only_what_is_missing(experiment_path, tmp_path) -> None:
    out, folder = tmp_path / "docs" / "small.md", tmp_path / "runs"
    out.parent.mkdir()
    also = "columns: [mAP, Many, Few, mRR]\ncorruptions: [color_quant]\nrecipe:"
    experiment_path.write_text(experiment_path.read_text().replace("recipe:", also, 1))
    arguments = ["experiment", str(experiment_path), "-o", str(out), "--folder", str(folder), "--json"]
    assert main(arguments) == 0
    experiment = load_experiment(experiment_path)
    files = sorted(path.name for path in folder.glob("*.json"))
    assert files == sorted(f"{run_name(*run)}.json" for run in experiment.runs()) and len(files) == 6
    recipe = experiment.recipe_of(*next(experiment.runs()))
    unused = recipe.validation[0].simulate
    assert unused.first_seed == 11 and not (recipe.data_folder / digest(unused)).exists()
    text = out.read_text()
    assert "| sampled | plain | 2 |" in text and "| sampled | feature experts | 2 |" in text
    assert "| mRR | Many, flat | Few, flat |" in text and "Test set 'flat': 2 frames" in text
    assert (tmp_path / "docs" / "images" / "small.png").stat().st_size > 5000
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    (folder / files[0]).unlink()
    second = json.loads((folder / files[1]).read_text())
    assert len(second["test"].pop("robustness")["corrupted"]["color_quant"]) == 3
    (folder / files[1]).write_text(json.dumps(second))
    done: list[str] = []
    results = run_all(experiment, folder, 1, done.append)
    assert len(done) == 6 and len(results) == 6
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items() if path.name not in files[:2])
    assert "robustness" in json.loads((folder / files[1]).read_text())["test"]


def test_runs_side_by_side_first_make_the_frames_that_they_share(experiment_path, data_folder, tmp_path) -> None:
    text = experiment_path.read_text().replace(str(data_folder), str(tmp_path / "data"))
    experiment_path.write_text(text.replace("seeds: [0, 1]", "seeds: [0]", 1))
    experiment, done = load_experiment(experiment_path), list[str]()
    results = run_all(experiment, tmp_path / "runs", 2, done.append)
    assert [result["row"] for result in results] == ["plain", "feature experts", "one box"] and len(done) == 3
    assert len(list((tmp_path / "data").glob("*/*.shard"))) == 2 + 2, "of training and of both test sets alone"


def test_a_row_may_evaluate_the_weights_of_another_one(experiment_path, tmp_path) -> None:
    experiment = load_experiment(experiment_path)
    folder = tmp_path / "runs"
    results = run_all(experiment, folder, 1, lambda name: None)
    assert len(list(folder.glob("*.safetensors"))) == 4
    plain, _, one_box = results[:3]
    assert one_box["row"] == "one box" and one_box["steps"] == plain["steps"]
    assert one_box["test"] != plain["test"]
    (folder / "sampled-one-box-0.json").unlink()
    (folder / "sampled-plain-0.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"sampled-plain-0\.json' to have it trained again"):
        run_all(experiment, folder, 1, lambda name: None)


def test_rows_are_compared_with_one_of_them_and_with_a_checkpoint_as_it_is(experiment_path, tmp_path) -> None:
    text = experiment_path.read_text()
    initial = next(line for line in text.splitlines() if line.startswith("  initial:")).split()[1]
    text = text.replace("seeds: [0, 1]", "seeds: [0, 1]\nagainst: plain", 1)
    text = "\n".join(line for line in text.splitlines() if "feature experts" not in line)
    experiment_path.write_text(f"{text}\n  - {{name: first, checkpoint: {initial}}}\n")
    experiment, folder = load_experiment(experiment_path), tmp_path / "runs"
    results = run_all(experiment, folder, 1, lambda name: None)
    assert [(result["row"], result["seed"]) for result in results] == [
        ("plain", 0), ("one box", 0), ("first", 0), ("plain", 1), ("one box", 1),
    ]  # fmt: skip
    assert len(list(folder.glob("*.safetensors"))) == 2
    kept = {run[1].name: Kept.load(kept_path(folder, run, "flat")) for run in experiment.runs() if run[2] == 0}
    assert kept["one box"].matches.truth.tolist() == kept["first"].matches.truth.tolist()
    assert len(kept["one box"].matches.codes) < len(kept["plain"].matches.codes)
    lines = comparison(experiment, folder)
    assert [line for line in lines if line.startswith("## ")] == [
        "## AP, against 'plain'", "## AP given a box, against 'plain'",
        "## AP, against 'plain', on 'flat'", "## AP given a box, against 'plain', on 'flat'",
    ]  # fmt: skip
    assert sum(line.startswith("| sampled | first |") for line in lines) == 4
    report = to_markdown(experiment, results, None, compared=lines)
    assert "| sampled | one box | 2 |" in report and "paired\nbootstrap over drives" in report
    # What is missing of what was kept is found anew, and nothing else.
    lost = kept_path(folder, next(experiment.runs()), "")
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*.npz") if path != lost}
    lost.unlink()
    assert run_all(experiment, folder, 1, lambda name: None) == results and lost.exists()
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_a_test_set_added_later_is_evaluated_without_training_again(experiment_path, tmp_path) -> None:
    text = experiment_path.read_text()
    experiment_path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("more_tests")))
    first = run_all(load_experiment(experiment_path), tmp_path / "runs", 1, lambda name: None)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.safetensors")}
    experiment_path.write_text(text)
    second = run_all(load_experiment(experiment_path), tmp_path / "runs", 1, lambda name: None)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert [{**result, "more_tests": {}} for result in second] == [{**result, "more_tests": {}} for result in first]
    assert all(result["more_tests"]["flat"]["frames"] == 2 for result in second)


def test_the_table_shows_mean_and_spread_over_seeds(experiment_path) -> None:
    experiment = load_experiment(experiment_path)

    def result(row: str, seed: int, value: float) -> dict:
        test = {"map": {"all": value, "many": value, "medium": None, "few": value / 2}, "nds": 0.2, "frames": 4}
        return {"base": "sampled", "row": row, "seed": seed, "test": {**test, "classes": {"car": {"truth": 5}}}}

    results = [result("plain", 0, 0.30), result("plain", 1, 0.34), result("feature experts", 0, 0.5)]
    assert summary(experiment, results)["sampled", "plain"]["Few"] == pytest.approx([15.0, 17.0])
    text = to_markdown(experiment, results, {("sampled", "plain"): 12.34})
    assert "| sampled | plain | 2 | 32.0 ± 2.8 | 20.0 ± 0.0 | 32.0 ± 2.8 | - | 16.0 ± 1.4 | - | - | 12.3 |" in text
    assert "| sampled | feature experts | 1 | 50.0 | 20.0 | 50.0 | - | 25.0 | - | - | - |" in text and "car 5" in text


def test_rows_may_be_of_some_bases_and_the_table_of_some_columns(experiment_path) -> None:
    text = experiment_path.read_text() + "  - {name: here alone, bases: [sampled]}\ncolumns: [mAP, mATE cm]\n"
    text = text.replace("bases:\n", "bases:\n  - {name: other, change: {seed: 5}}\n", 1)
    experiment_path.write_text(text)
    experiment = load_experiment(experiment_path)
    assert [base.name for base, row in experiment.pairs() if row.name == "here alone"] == ["sampled"]
    assert len(list(experiment.runs())) == 2 * 7
    test = {
        "map": {"all": 0.3, "many": 0.1, "few": 0.2},
        "nds": 0.2,
        "errors": {"ate": 0.61},
        "frames": 4,
        "classes": {},
    }
    results = [{"base": "sampled", "row": "here alone", "seed": 0, "test": test}]
    table = to_markdown(experiment, results, {})
    assert "| detector | row | seeds | mAP | mATE cm | Many, flat | Few, flat | latency ms |" in table
    assert "| sampled | here alone | 1 | 30.0 | 61.0 | - | - | - |" in table


def test_changes_are_merged_entry_by_entry() -> None:
    base = {"student": {"width": 3, "heads": 1}, "seed": 0}
    assert merged(base, {"student": {"heads": 2}, "x": [1]}) == {
        "student": {"width": 3, "heads": 2},
        "seed": 0,
        "x": [1],
    }
    assert base == {"student": {"width": 3, "heads": 1}, "seed": 0}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("first_seed: 900", "first_seed: 501", "test seeds range\\(501, 503\\) are among those of training"),
        ("first_seed: 950", "first_seed: 501", "test seeds range\\(501, 502\\) are among those of training"),
        ("trained_as: plain", "trained_as: plane", "trained_as names 'plane', .* use one of feature experts, plain"),
        ("name: small", "nmae: small", "unknown entry 'nmae'; did you mean 'name'"),
        ("block: feature_experts", "block: experts", "block must be one of plain, feature_experts, language_experts"),
        ("trained_as: plain", "trained_as: plain, bases: [nowhere]", "there is no base 'nowhere'; use some of sampled"),
        (
            "seeds: [0, 1]",
            "columns: [AP]\nseeds: [0, 1]",
            "columns must be some of mAP, NDS, Many, Medium, Few, mATE cm",
        ),
        ("seeds: [0, 1]", "against: plane\nseeds: [0, 1]", "against is 'plane', no row that is tried on all bases"),
        ("seeds: [0, 1]", "seeds: []", "at least one entry in each of seeds, bases and rows"),
    ],
)
def test_faults_are_named(experiment_path, old: str, new: str, message: str) -> None:
    experiment_path.write_text(experiment_path.read_text().replace(old, new))
    with pytest.raises(ConfigurationError, match=message):
        load_experiment(experiment_path)


def test_results_are_json(experiment_path, tmp_path) -> None:
    experiment = load_experiment(experiment_path)
    (first, *_) = run_all(experiment, tmp_path / "runs", 1, lambda name: None)
    assert json.loads(json.dumps(first))["test"]["frames"] == 4 and first["steps"] == 8
