"""Every kind of configuration file: what is shipped loads as it is written, and every fault is told at once."""

import copy
import dataclasses
import json
import math
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.adaptation.gate_file import load_gate
from semlt3d_ros.adaptation.settings import LoopSettings
from semlt3d_ros.cli import main
from semlt3d_ros.commands.model import read_config
from semlt3d_ros.core.classes import load_class_list
from semlt3d_ros.core.config import load
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.label_map import load_label_map
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.middleware.parameters import load_parameters
from semlt3d_ros.nodes.detector_parameters import DetectorParameters
from semlt3d_ros.nodes.event_recorder_parameters import RECORDER_NAME, EventRecorderParameters
from semlt3d_ros.nodes.objects_file import load_object_options
from semlt3d_ros.recording.settings import load_recording
from semlt3d_ros.semantics.opinion_settings import load_opinion_settings
from semlt3d_ros.sensing.rig import load_rig
from semlt3d_ros.training.clip import load_clip_recipe
from semlt3d_ros.training.experiment import load_experiment
from semlt3d_ros.training.recipe import load_recipe
from semlt3d_ros.training.recipes import load_any_recipe

CONFIG = Path(__file__).resolve().parents[2] / "config"


def load_detector_parameters(path):
    return load_parameters(DetectorParameters, "semlt3d", [path])


def load_recorder_parameters(path):
    return load_parameters(EventRecorderParameters, RECORDER_NAME, [path])


def load_objects(path):
    return load_object_options(str(path), CLASS_NAMES)


def load_adaptation(path):
    """As ``load_settings``, which also looks for the recipe beside the file."""
    return load(LoopSettings, path, "adaptation")


LOADERS = {
    "adaptation.yaml": load_adaptation,
    "autoware/classes.yaml": load_objects,
    "recipes/demo.yaml": load_recipe,
    "recipes/teacher.yaml": load_any_recipe,
    "recipes/tiny_clip.yaml": load_clip_recipe,
    "experiments/long_tail.yaml": load_experiment,
    "rigs/autoware_sample.yaml": load_rig,
    "second_opinion/tiny.yaml": load_opinion_settings,
    "models/semlt3d_r50.yaml": read_config,
    "detector.yaml": load_detector_parameters,
    "event_recorder.yaml": load_recorder_parameters,
    "gate.yaml": load_gate,
    "recording.yaml": load_recording,
}
"""One file of each kind, and what loads it."""

FOLDERS = {
    "classes": load_class_list,
    "label_maps": load_label_map,
    "recipes": load_any_recipe,
    "experiments": load_experiment,
    "rigs": load_rig,
    "second_opinion": load_opinion_settings,
    "models": read_config,
}


SHIPPED = [file for file in sorted(CONFIG.rglob("*.yaml")) if file.parent.name not in ("vehicles", "splits")]
"""Vehicles hold parts of several kinds: see ``test_vehicle.py``. Splits are lists: see ``test_nuscenes.py``."""


def loader_of(file: Path):
    name = file.relative_to(CONFIG).as_posix()
    return LOADERS.get(name) or FOLDERS.get(name.split("/")[0], load_detector_parameters)


def same(loaded: Any, written: Any) -> bool:
    """Whether all that is written is in what was loaded; the rest of that are defaults."""
    if dataclasses.is_dataclass(loaded):
        written = type(loaded).in_full(written) if hasattr(loaded, "in_full") else written
        return all(same(getattr(loaded, name), value) for name, value in written.items())
    if isinstance(loaded, tuple):
        written = written if isinstance(written, list) else [written]
        return len(loaded) == len(written) and all(map(same, loaded, written))
    if isinstance(loaded, dict):
        return loaded.keys() == written.keys() and all(same(loaded[name], written[name]) for name in loaded)
    return loaded == (Path(written) if isinstance(loaded, Path) else written)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_is_shipped_loads_as_it_is_written(file) -> None:
    written = yaml.safe_load(file.read_text())
    written = written["/**"]["ros__parameters"] if "/**" in written else written
    assert same(loader_of(file)(file), written)


def plain(value: Any) -> Any:
    """What YAML would hold of a loaded value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return str(value) if isinstance(value, Path) else value


WRONG = {
    bool: [1, 0.0, "true", None, [True]],
    int: [3.0, 2.5, True, "100", "1e3", None, [1], {"a": 1}],
    float: [True, "100", "fast", "0x1", None, [1.0], [], {}, math.nan, math.inf, -math.inf, 10**400],
    str: [5, 1.5, True, None, ["a"], {"a": "b"}],
    Path: [5, True, 0.5, ["a"], {}],
    tuple: ["ab", 5, True, {"a": 1}, None, 1.5],
    dict: [[1], "ab", 5, None, {1: "a"}, {"a": math.nan}],
}


def wrong_values(hint: Any) -> list[Any]:
    """Values that no entry of this type takes."""
    if get_origin(hint) is Literal:
        return [None, 5, True, "nonsense", []]
    if get_origin(hint) in (Union, types.UnionType):
        # Wrong for all of them, since YAML's values of all types are wrong for someone.
        parts = [wrong_values(each) for each in get_args(hint)]
        return [value for value in parts[0] if all(json.dumps(value) in map(json.dumps, part) for part in parts[1:])]
    if dataclasses.is_dataclass(hint):
        return [5, True, "ab", [1]]
    if hint is type(None):
        return [value for values in WRONG.values() for value in values if value is not None and plain(value) == value]
    return WRONG[get_origin(hint) or hint]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """Path and type of each entry of a configuration that is no configuration itself."""
    found: list[tuple[tuple[Any, ...], Any]] = []
    hints = get_type_hints(type(value))
    for field in dataclasses.fields(value):
        inner, here = getattr(value, field.name), (*path, field.name)
        if dataclasses.is_dataclass(inner):
            found += leaves(inner, here)
        elif isinstance(inner, tuple) and inner and dataclasses.is_dataclass(inner[0]):
            for index, each in enumerate(inner):
                found += leaves(each, (*here, index))
        elif not (isinstance(inner, dict) and any(map(dataclasses.is_dataclass, inner.values()))):
            found.append((here, hints[field.name]))
    return found


def put(values: Any, path: tuple[Any, ...], value: Any) -> None:
    for step in path[:-1]:
        values = values[step]
    values[path[-1]] = value


def name_of(path: tuple[Any, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


LOADED = {name: load(CONFIG / name) for name, load in LOADERS.items()}


@pytest.mark.parametrize("name", LOADERS)
@given(data=st.data())
def test_every_wrong_type_is_named_at_once(tmp_path_factory, name, data) -> None:
    loaded = LOADED[name]
    entries = {name_of(path): (path, hint) for path, hint in leaves(loaded)}
    entries = {name: entry for name, entry in entries.items() if not name.endswith(".bags")}  # a text is a pattern
    chosen = data.draw(st.lists(st.sampled_from(sorted(entries)), min_size=1, max_size=5, unique=True))
    values = copy.deepcopy(plain(loaded))
    for entry in chosen:
        path, hint = entries[entry]
        put(values, path, data.draw(st.sampled_from(wrong_values(hint)), label=entry))
    misspelt = data.draw(st.sampled_from(sorted(field.name for field in dataclasses.fields(loaded))))
    values[f"{misspelt}_x"] = 1
    file = tmp_path_factory.mktemp("wrong") / "wrong.yaml"
    ros = isinstance(loaded, DetectorParameters | EventRecorderParameters)
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}} if ros else values))
    with pytest.raises(ConfigurationError) as caught:
        LOADERS[name](file)
    line = str(caught.value)
    assert "\n" not in line and str(file) in line
    assert all((f"{entry} = " if ros else entry) in line for entry in chosen)
    assert f"{misspelt}_x'" in line and f"did you mean '{misspelt}'?" in line


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ""),
        (b"- 1\n- 2\n", ""),
        (b"just words", ""),
        (b"a: [1\n", "is not YAML"),
        (b"name: caf\xe9\n", "not in UTF-8"),
        (b"a: {b: 1, c: 2, b: 3}\n", "'b' is given twice"),
        (b"seed: 1\nseed: 2\n", "'seed' is given twice"),
        (b"a: !!python/object:os.system x\n", "is not YAML"),
        (b"a: &a [*a]\n", ""),
        (b"[" * 5000, "nested too deeply"),
        (b"1: 2\n? [x]\n: 3\n", ""),
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path, load, content, says) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert str(file) in str(caught.value) and says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_folders_and_absent_files_are_named(tmp_path, load) -> None:
    for path, says in ((tmp_path, "Is a directory"), (tmp_path / "none.yaml", "No such file")):
        with pytest.raises(ConfigurationError, match=says) as caught:
            load(path)
        assert str(path) in str(caught.value)


def changed(tmp_path: Path, change) -> Path:
    """The shipped recipe with other entries, in a folder where nothing has been rendered."""
    values = yaml.safe_load((CONFIG / "recipes" / "demo_single.yaml").read_text())
    values["data_folder"] = str(tmp_path / "data")
    for path, value in change.items():
        put(values, path, value)
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


BAD = [
    ({("schedule", "frames"): "100"}, "schedule.frames must be a whole number, not '100'"),
    ({("schedule", "ema"): [1, 2]}, "schedule.ema must be a number, not [1, 2]"),
    ({("schedule", "learning_rate"): "fast"}, "schedule.learning_rate must be a number, not 'fast'"),
    ({("schedule", "save_every"): 0}, "schedule: save_every must be positive, not 0"),
    ({("train",): []}, "train needs at least one source"),
    ({("train", 1, "interval_s"): -1.0}, "train[1].simulate: a drive of 2 frames every -1.0 s"),
    ({("train", 0, "image_size"): [448, 256]}, "give images of [448, 192]"),
    ({("train", 0, "cameras"): False, ("train", 0, "regions"): False}, "students learn from images"),
    ({("evaluation_range_m",): -3}, "evaluation_range_m must be positive"),
    ({("student", "backbone"): "no_such_net"}, "backbone 'no_such_net' could not be made"),
    ({("student", "backbone_args"): {"chanels": [1]}}, "mend backbone_args"),
    ({("student", "strides"): [8, 16, 128]}, "strides"),
    ({("initial",): "nowhere.safetensors"}, "checkpoint 'nowhere.safetensors' does not exist"),
    ({("student", "language_width"): 3}, "the student's language_width is 3"),
    ({("language",): {"templates": ["a photo"]}}, "templates must each hold one {}"),
]


@pytest.mark.parametrize(("change", "says"), BAD)
def test_a_bad_recipe_is_refused_before_anything_is_rendered_or_written(tmp_path, capsys, change, says) -> None:
    pytest.importorskip("open_clip")
    file, out = changed(tmp_path, change), tmp_path / "out" / "bad.safetensors"
    assert main(["train", str(file), "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    left = {path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".sqlite"}
    assert left == {file} and not out.parent.exists()


def test_faults_of_all_kinds_come_together(tmp_path) -> None:
    change = {
        ("schedule", "learning_rate"): "fast",
        ("schedule", "warmup"): 3,
        ("schedule", "restart_after"): 99_999,
        ("train", 0, "top_crop"): 0.5,
        ("train", 1, "first_seed"): 1,
        ("train", 1, "drvies"): 3,
        ("student", "heads"): 7,
        ("frozen_images",): True,
        ("sead",): 3,
    }
    with pytest.raises(ConfigurationError) as caught:
        load_recipe(changed(tmp_path, change))
    for part in (
        "schedule.learning_rate must be a number, not 'fast'",
        "schedule: warmup must lie in [0, 1], not 3.0",
        "schedule: restart_after is 99999; it must be below 31200",
        "top_crop of what is simulated (0.5) and of the student (0.25) differ",
        "two parts of the data share seed 1",
        "train[1].simulate: unknown entry 'drvies'; did you mean 'drives'?",
        "student: width 96 must be a multiple of heads 7",
        "frozen_images needs an initial checkpoint",
        "unknown entry 'sead'; did you mean 'seed'?",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"), [("8e-4", 8e-4), ("1E5", 1e5), ("1.5e+2", 150.0), (".5e0", 0.5), ("3", 3.0)]
)
def test_numbers_are_what_everybody_means(tmp_path, text, value) -> None:
    file = tmp_path / "recipe.yaml"
    shipped = (CONFIG / "recipes" / "demo_single.yaml").read_text()
    file.write_text(
        shipped.replace("8.0e-4", text).replace("stem_width: 16", f"stem_width: 16, drop_path_rate: {text}")
    )
    recipe = load_recipe(file)
    assert recipe.schedule.learning_rate == value and isinstance(recipe.schedule.learning_rate, float)
    assert recipe.student.backbone_args["drop_path_rate"] == value


@pytest.mark.parametrize("text", ["010", "1:30", "2024-01-01", "'100'", "0b2"])
def test_texts_that_yaml_would_make_other_numbers_of_are_refused(tmp_path, text) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text((CONFIG / "recipes" / "demo_single.yaml").read_text().replace("seed: 0", f"seed: {text}"))
    with pytest.raises(ConfigurationError, match="seed must be a whole number, not '"):
        load_recipe(file)


def test_an_experiment_names_the_faults_of_all_its_recipes_once(tmp_path) -> None:
    values = yaml.safe_load((CONFIG / "experiments" / "long_tail.yaml").read_text())
    values["recipe"]["schedule"]["batch"] = "4"
    values["rows"][1]["change"] = {"student": {"block": "experts"}}
    values["rows"][2]["trained_as"] = "nobody"
    values["more_tests"]["flat"]["frames"] = 2.5
    values["rows"].append({"name": "baseline  FFN"})
    values["titel"] = ""
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigurationError) as caught:
        load_experiment(file)
    line = str(caught.value)
    assert line.count("schedule.batch must be a whole number, not '4'") == 1
    assert "sampled, feature-routed MoE: student.block must be one of plain, feature_experts, language_experts" in line
    assert "row '+ semantic routing': trained_as names 'nobody'" in line
    assert "more_tests.flat.simulate.frames must be a whole number, not 2.5" in line
    assert "the runs 'sampled-baseline-ffn-0' would overwrite each other" in line
    assert "unknown entry 'titel'; did you mean 'title'?" in line


def test_an_experiment_with_a_row_that_cannot_be_made_renders_nothing(tmp_path, capsys) -> None:
    values = yaml.safe_load((CONFIG / "experiments" / "long_tail.yaml").read_text())
    values["recipe"] |= {"data_folder": str(tmp_path / "data"), "frozen_images": False, "initial": None}
    values["rows"][1]["change"]["student"]["backbone"] = "no_such_net"
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(values))
    assert main(["experiment", str(file), "--folder", str(tmp_path / "runs")]) == 2
    assert "backbone 'no_such_net' could not be made" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [file]


def test_a_clip_that_cannot_be_made_renders_nothing(tmp_path, capsys) -> None:
    pytest.importorskip("open_clip")
    values = yaml.safe_load((CONFIG / "recipes" / "tiny_clip.yaml").read_text())
    values["data_folder"] = str(tmp_path / "data")
    values["model"]["model_cfg"]["embed_dims"] = 3
    file = tmp_path / "clip.yaml"
    file.write_text(yaml.safe_dump(values))
    assert main(["train-clip", str(file), "-o", str(tmp_path / "clip.safetensors")]) == 2
    assert "embed_dims" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [file]
