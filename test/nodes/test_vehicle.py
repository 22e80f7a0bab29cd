"""Vehicle files."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import yaml

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.nodes import vehicle as module
from semlt3d_ros.nodes.vehicle import MODEL_PARAMETERS, Vehicle, read_vehicle, rig_on_screen
from semlt3d_ros.sensing.rig import load_rig

ROOT = Path(__file__).resolve().parents[2]
RIGS = {path.stem: path for path in (ROOT / "config" / "rigs").glob("*.yaml")}


def written(folder: Path, content: object) -> Path:
    path = folder / "vehicle.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_everything_may_be_said_and_nothing_need_be(tmp_path: Path) -> None:
    for name in ("city.safetensors", "labels.yaml", "my_rig.yaml"):
        (tmp_path / name).touch()
    content = {
        "namespace": "/front/unit",
        "name": "eyes",
        "rig": "my_rig.yaml",
        "remaps": {"~/objects": "/perception/objects", "/tf": "tf"},
        "parameters": {"score_threshold": 0.2, "objects_classes_file": "labels.yaml", "class_thresholds": ["car=0.3"]},
        "model": {"checkpoint": "city.safetensors", "device": "cuda:1"},
    }
    assert read_vehicle(written(tmp_path, content), RIGS) == Vehicle(
        "/front/unit",
        "eyes",
        str(tmp_path / "my_rig.yaml"),
        (("~/objects", "/perception/objects"), ("/tf", "tf")),
        {
            "score_threshold": 0.2,
            "objects_classes_file": str(tmp_path / "labels.yaml"),
            "class_thresholds": ["car=0.3"],
            "checkpoint": str(tmp_path / "city.safetensors"),
            "device": "cuda:1",
        },
    )
    assert read_vehicle(written(tmp_path, {}), RIGS) == Vehicle()
    assert read_vehicle(written(tmp_path, "name:\nremaps:\n"), RIGS) == Vehicle()


def test_a_rig_by_name_and_a_rig_within(tmp_path: Path) -> None:
    assert read_vehicle(written(tmp_path, {"rig": "webcam"}), RIGS).rig == str(RIGS["webcam"])
    rig = {"cameras": [{"name": "LEFT"}, {"name": "RIGHT"}], "base_frame": "body", "points_topic": "/cloud"}
    file = written(tmp_path, {"name": "eyes", "rig": rig})
    assert read_vehicle(file, RIGS).rig == str(file)
    assert load_rig(file).camera_names == ("LEFT", "RIGHT")
    assert rig_on_screen(file) == ("body", "/cloud", ("LEFT", "RIGHT"))
    broken = written(tmp_path, {"rig": {"cameras": [{"name": "LEFT", "topic": "/left"}]}})
    with pytest.raises(ConfigurationError, match=r"vehicle\.yaml.*topic"):
        load_rig(broken)


def test_a_checkpoint_in_a_model_folder_is_named_from_there(tmp_path: Path) -> None:
    content = {"model": {"model_folder": "models", "checkpoint": "city.safetensors", "vocabulary_file": ""}}
    (tmp_path / "models").mkdir()
    assert read_vehicle(written(tmp_path, content), RIGS).parameters == {
        "model_folder": str(tmp_path / "models"),
        "checkpoint": "city.safetensors",
        "vocabulary_file": "",
    }


def test_all_faults_are_told_at_once_in_one_line(tmp_path: Path) -> None:
    content = {
        "namspace": "front",
        "namespace": "front unit",
        "name": 7,
        "rig": "submarine",
        "remaps": {"~/objects": "objects here", 3: "/a"},
        "parameters": {"use_sim_time": True, "top_k": {"a": 1}, "cameras": [], "device": "cpu", "rig_file": "x"},
        "model": {"checkpoint": "nowhere.safetensors", "devise": "cpu", "device": "cpu"},
    }
    with pytest.raises(ConfigurationError) as caught:
        read_vehicle(written(tmp_path, content), RIGS)
    text = str(caught.value)
    for part in (
        "no entry 'namspace', did you mean 'namespace'?",
        "namespace: 'front unit' is none",
        "name: 7 is not a text",
        "'submarine' is neither a file nor one of autoware_sample, nuscenes",
        "remaps: 'objects here' is not a name",
        "remaps: 3 is not a name",
        "use_sim_time is said when launching",
        "top_k: {'a': 1} is no truth value",
        "cameras: [] is no truth value",
        f"checkpoint: '{tmp_path / 'nowhere.safetensors'}' is not a file",
        "model: there is no entry 'devise', did you mean 'device'?",
        "device is among both 'model' and 'parameters'",
        "there is a 'rig', and 'rig_file' among the parameters",
    ):
        assert part in text, text
    assert "\n" not in text and text.startswith(f"vehicle file '{tmp_path / 'vehicle.yaml'}': ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- car\n", "holds none of namespace, name, rig"),
        ("", "holds none of namespace, name, rig"),
        ("name: [", "is not YAML"),
        ("remaps: [a]", "lines such as '~/objects: /perception/objects' are needed"),
        ("parameters: 3", "lines such as 'score_threshold: 0.2' are needed"),
        ("model: city.safetensors", "lines such as 'checkpoint: city.safetensors' are needed"),
        ("rig: [a]", "neither a name, a path, nor a rig"),
    ],
)
def test_what_has_another_form_is_refused(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_vehicle(written(tmp_path, content), RIGS)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_vehicle(tmp_path / "nowhere.yaml", RIGS)


@pytest.mark.parametrize(
    ("topic", "place"),
    [
        ("~/markers", "/viz/boxes"),
        ("~/debug/A/image", "/front/eyes/images/a"),
        ("~/detections", "/front/eyes/detections"),
        ("/tf", "/front/tf"),
    ],
)
def test_topics_are_found_where_they_are_remapped_to(topic: str, place: str) -> None:
    remaps = (("/front/eyes/markers", "/viz/boxes"), ("~/debug/A/image", "~/images/a"), ("/tf", "tf"))
    assert Vehicle(remaps=remaps).topic(topic, "/front", "eyes") == place


@pytest.mark.parametrize("text", ["", "cameras: [1]", "cameras: 3", "- a", "cameras: [{name: A}", "rig: autoware"])
def test_a_rig_that_cannot_be_read_is_left_to_the_node(tmp_path: Path, text: str) -> None:
    assert rig_on_screen(written(tmp_path, text)) == ("", "", ())
    assert rig_on_screen(tmp_path / "nowhere.yaml") == rig_on_screen(None) == ("", "", ())


def test_the_model_entries_are_those_of_the_example_file() -> None:
    example = yaml.safe_load((ROOT / "config" / "model.yaml").read_text(encoding="utf-8"))
    assert set(MODEL_PARAMETERS) == set(example["/**"]["ros__parameters"])


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "vehicles").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_vehicle_of_the_package_fits(path: Path) -> None:
    read = read_vehicle(path, RIGS)
    assert load_rig(read.rig).cameras
    assert path.read_text(encoding="utf-8").startswith("# "), "says what vehicle it is"


def test_launch_can_import_it_without_what_pip_brings() -> None:
    allowed = {*sys.stdlib_module_names, "yaml"}
    todo, seen = ["semlt3d_ros.nodes.launch_arguments"], set()
    while todo:
        name = todo.pop()
        seen.add(name)
        source = Path(module.__file__).parents[1].joinpath(*name.split(".")[1:])
        source = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for other in imported:
                if other.startswith("semlt3d_ros"):
                    parents = [other.rsplit(".", depth)[0] for depth in range(other.count("."))]
                    todo += [part for part in (other, *parents) if part not in seen]
                else:
                    assert other.split(".")[0] in allowed, (name, other)
