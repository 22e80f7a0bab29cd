"""nuScenes folders that are half downloaded, damaged or odd: what is missing is told, and the rest goes in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from bench.nuscenes_layout import Drive, token
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import Fault
from semlt3d_ros.datasets import json_table
from semlt3d_ros.datasets.importing import import_scenes
from semlt3d_ros.datasets.json_table import read_rows
from semlt3d_ros.datasets.nuscenes import open_nuscenes
from semlt3d_ros.datasets.nuscenes_folder import open_folder
from semlt3d_ros.messages import topics

SAMPLES = 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nuscenes") / "data"
    Drive(scenes=2, samples=SAMPLES, sweeps=False).write(folder)
    return folder


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return shutil.copytree(whole, tmp_path / "data")


def imported(root: Path, out: Path) -> tuple[list[Any], list[Fault]]:
    folder = open_folder(root)
    answer = import_scenes(open_nuscenes(folder, list(folder.scenes)), out)
    return list(answer.bags), list(answer.faults)


def files(root: Path, channel: str) -> list[Path]:
    return sorted((root / "samples" / channel).iterdir())


def table(root: Path, name: str) -> Path:
    return root / "v1.0-mini" / f"{name}.json"


def change(root: Path, name: str, how: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Edit the rows of a table."""
    rows = json.loads(table(root, name).read_text())
    how(rows)
    table(root, name).write_text(json.dumps(rows, indent=0))


def test_missing_files_are_counted_by_folder_and_the_rest_goes_in(root: Path, tmp_path: Path) -> None:
    for path in files(root, "CAM_BACK")[1:]:
        path.unlink()
    files(root, "LIDAR_TOP")[0].unlink()
    shutil.rmtree(root / "samples" / "CAM_FRONT_LEFT")
    bags, faults = imported(root, tmp_path / "out")
    assert sum(bag["images"] for bag in bags) == 6 * 2 * SAMPLES - 5 - 6
    assert sum(bag["sweeps"] for bag in bags) == 2 * SAMPLES - 1
    assert [bag["labelled"] for bag in bags] == [SAMPLES, SAMPLES]
    told = {Path(fault.place).name: fault for fault in faults}
    assert {name: fault.count for name, fault in told.items()} == {"CAM_BACK": 5, "LIDAR_TOP": 1, "CAM_FRONT_LEFT": 6}
    assert all(fault.reason == "missing_file" and not fault.harmless for fault in faults)
    assert told["CAM_FRONT_LEFT"].text.count(".jpg") == 3, "the first of them by name"


def test_without_the_front_camera_truth_goes_with_the_next(root: Path, tmp_path: Path) -> None:
    """Frames are centred on the first camera that the bag has."""
    shutil.rmtree(root / "samples" / "CAM_FRONT")
    imported(root, tmp_path / "out")
    with BagSource(tmp_path / "out" / "scene-0001.mcap") as source:
        stamps = {
            topic: [entry.stamp for entry in source.messages([topic])]
            for topic in (topics.TRUTH_LONG_TAIL, topics.camera_image_topic("CAM_FRONT_RIGHT"))
        }
    truth, right = stamps.values()
    assert truth == right and len(truth) == SAMPLES


def test_scenes_without_files_have_no_bags_and_are_told_together(tmp_path: Path) -> None:
    """As when one of the ten parts of trainval is there, and the tables of all."""
    root = tmp_path / "data"
    Drive(scenes=6, samples=2, sweeps=False, files=1).write(root)
    bags, faults = imported(root, tmp_path / "out")
    assert [bag["scene"] for bag in bags] == ["scene-0001"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scene-0001.mcap"]
    told = {fault.place: fault for fault in faults if fault.reason == "scene"}
    (fault,) = told.values()
    assert fault.place == "scene-0002, scene-0003, scene-0004, ..." and fault.count == 5
    missing = [fault for fault in faults if fault.reason == "missing_file"]
    assert len(missing) == 7 and all(fault.count == 10 for fault in missing)


def test_without_any_file_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Drive(scenes=2, samples=2, sweeps=False, files=0).write(tmp_path / "data")
    assert main(["import", "nuscenes", str(tmp_path / "data"), str(tmp_path / "out")]) == 2
    assert "none of the files of the scene is there" in capsys.readouterr().err


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def _odd_length(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"123")


def _not_finite(path: Path) -> None:
    values = np.fromfile(path, np.float32).reshape(-1, 5)
    values[3, 1] = np.nan
    values.tofile(path)


@pytest.mark.parametrize(
    ("channel", "damage", "reason", "images", "sweeps"),
    [
        ("CAM_BACK", _cut, "corrupt_jpeg", 6 * SAMPLES - 1, SAMPLES),
        ("CAM_BACK", lambda path: path.write_bytes(b""), "encoding", 6 * SAMPLES - 1, SAMPLES),
        ("CAM_BACK", lambda path: path.write_bytes(b"<html>not found</html>"), "encoding", 6 * SAMPLES - 1, SAMPLES),
        ("LIDAR_TOP", _odd_length, "damaged_file", 6 * SAMPLES, SAMPLES - 1),
        ("LIDAR_TOP", lambda path: path.write_bytes(b""), "damaged_file", 6 * SAMPLES, SAMPLES - 1),
        ("LIDAR_TOP", _not_finite, "point", 6 * SAMPLES, SAMPLES),
    ],
)
def test_a_damaged_file_is_named_and_left_out(
    root: Path, tmp_path: Path, channel: str, damage: Callable[[Path], Any], reason: str, images: int, sweeps: int
) -> None:
    path = next(path for path in files(root, channel) if "scene-0001" in path.name)
    damage(path)
    bags, (fault,) = imported(root, tmp_path / "out")
    assert (fault.place, fault.reason, fault.count) == (str(path), reason, 1)
    assert (bags[0]["images"], bags[0]["sweeps"], bags[0]["labelled"]) == (images, sweeps, SAMPLES)


def test_an_image_with_something_after_its_end_is_whole(root: Path, tmp_path: Path) -> None:
    path = files(root, "CAM_BACK")[0]
    path.write_bytes(path.read_bytes() + b"\0" * 40)
    bags, faults = imported(root, tmp_path / "out")
    assert sum(bag["images"] for bag in bags) == 12 * SAMPLES and not faults


def test_images_of_another_size_than_their_calibration_are_told(root: Path, tmp_path: Path) -> None:
    for path in files(root, "CAM_FRONT"):
        path.write_bytes(simplejpeg.encode_jpeg(np.full((9, 16, 3), 90, np.uint8)))
    _, faults = imported(root, tmp_path / "out")
    assert {fault.reason for fault in faults} == {"intrinsics"}
    assert "CAM_FRONT" in faults[0].text


@pytest.mark.parametrize(
    ("name", "row", "changes", "lost"),
    [
        ("sample_data", 0, {"timestamp": "later"}, "images"),
        ("sample_data", 0, {"filename": None, "is_key_frame": None, "timestamp": None}, "images"),
        ("ego_pose", 0, {"translation": [1.0, 2.0]}, "images"),
        ("ego_pose", 0, {"rotation": None}, "images"),
        ("sample_annotation", 0, {"size": [1.0, 2.0, float("nan")]}, "boxes"),
        ("sample_annotation", 0, {"size": [0.0, 2.0, 1.0]}, "boxes"),
        ("sample_annotation", 0, {"instance_token": "nobody"}, "boxes"),
        ("instance", 0, {"category_token": "nothing"}, "boxes"),
    ],
)
def test_a_row_that_cannot_be_used_is_counted_and_left_out(
    root: Path, tmp_path: Path, name: str, row: int, changes: dict[str, Any], lost: str
) -> None:
    clean, _ = imported(root, tmp_path / "clean")
    change(root, name, lambda rows: rows[row].update(changes))
    bags, faults = imported(root, tmp_path / "out")
    assert faults and all(fault.place.startswith(str(root / "v1.0-mini")) for fault in faults)
    before, after = clean[0], bags[0]
    if lost == "images":
        assert after["images"] == before["images"] - 1 and after["boxes"] == before["boxes"]
    else:
        assert sum(after["boxes"].values()) < sum(before["boxes"].values()) and after["images"] == before["images"]


def test_keys_need_not_be_hexadecimal(root: Path, tmp_path: Path) -> None:
    """Sets in nuScenes' layout from elsewhere name things as they please."""
    key = token("sample", "scene-0001", 0)
    for path in (root / "v1.0-mini").glob("*.json"):
        path.write_text(path.read_text().replace(key, "the first one é"))
    bags, faults = imported(root, tmp_path / "out")
    assert [bag["labelled"] for bag in bags] == [SAMPLES, SAMPLES] and not faults


def test_instances_of_unknown_categories_keep_their_names(root: Path, tmp_path: Path) -> None:
    change(root, "category", lambda rows: [row.update(name="vehicle.tram") for row in rows if row["name"] == "animal"])
    change(root, "instance", lambda rows: rows[0].update(category_token=token("category", "animal")))
    bags, faults = imported(root, tmp_path / "out")
    assert bags[0]["boxes"]["vehicle.tram"] and not faults


def test_without_the_table_of_boxes_there_is_no_truth(root: Path, tmp_path: Path) -> None:
    table(root, "sample_annotation").unlink()
    bags, (fault,) = imported(root, tmp_path / "out")
    assert [bag["labelled"] for bag in bags] == [0, 0]
    assert fault.harmless and "sample_annotation" in fault.text


@pytest.mark.parametrize("name", ["scene", "sample_data", "ego_pose", "sample_annotation", "sensor"])
def test_a_damaged_table_is_refused_by_name(root: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    _cut(table(root, name))
    assert main(["import", "nuscenes", str(root), str(root.parent / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name}.json" in line and "download it again" in line


def test_scenes_of_one_name_are_refused_and_none_leaves_the_folder(root: Path, tmp_path: Path) -> None:
    change(root, "scene", lambda rows: rows[1].update(name="../other"))
    out = tmp_path / "bags" / "here"
    imported(root, out)
    assert sorted(path.name for path in out.iterdir()) == [".._other.mcap", "scene-0001.mcap"]
    assert list(out.parent.iterdir()) == [out]
    change(root, "scene", lambda rows: rows[1].update(name="scene-0001"))
    with pytest.raises(ConfigurationError, match="two scenes are called 'scene-0001'"):
        open_folder(root)
    change(root, "scene", lambda rows: rows[1].pop("name"))
    with pytest.raises(ConfigurationError, match="a scene has no 'name'"):
        open_folder(root)


def test_missing_tables_are_named(root: Path) -> None:
    table(root, "ego_pose").unlink()
    with pytest.raises(ConfigurationError, match=r"tables are missing: ego_pose; download"):
        open_folder(root)


def test_which_version_is_meant(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match="not a nuScenes folder"):
        open_folder(tmp_path)
    assert open_folder(root / "v1.0-mini").root == open_folder(root).root.resolve()
    shutil.copytree(root / "v1.0-mini", root / "v1.0-trainval")
    with pytest.raises(ConfigurationError, match=r"v1\.0-mini, v1\.0-trainval; say which with --version"):
        open_folder(root)
    with pytest.raises(ConfigurationError, match=r"has no version 'v1\.0-test'"):
        open_folder(root, "v1.0-test")
    words = ["import", "nuscenes", str(root), str(tmp_path / "o.mcap"), "--version", "v1.0-trainval", "--scenes", "0:1"]
    assert main([*words, "--key-frames", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bags"][0]["scene"] == "scene-0001"


def test_tables_are_not_read_for_what_is_there_already(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", "nuscenes", str(root), str(tmp_path / "out"), "--json"]
    assert main(words) == 0
    _cut(table(root, "sample_data"))
    assert main(words) == 0
    assert main([*words, "--overwrite"]) == 2
    capsys.readouterr()


# ---- tables ----

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=8), VALUES, max_size=4), max_size=6), st.integers(1, 40), st.booleans()
)
def test_rows_are_those_of_the_whole_file_wherever_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], size: int, plain: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "table.json"
    path.write_text(json.dumps(rows, indent=None if plain else 0, ensure_ascii=plain), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_table, "_CHUNK", size)
        assert list(read_rows(path)) == rows


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"a": 1}', '[{"a": 1}, {"b"', '[{"a" 1}]', "null"])
def test_what_is_no_table_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(InputRejected):
        list(read_rows(tmp_path / "t.json"))


def test_what_never_ends_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_table, "_CHUNK", 100)
    monkeypatch.setattr(json_table, "_LONGEST_ROW", 1_000)
    (tmp_path / "t.json").write_text('[{"a": "' + "x" * 100_000)
    read: list[int] = []
    with pytest.raises(InputRejected):
        list(read_rows(tmp_path / "t.json", read.append))
    assert sum(read) < 2_000


def test_progress_is_the_size_of_the_file(whole: Path) -> None:
    steps: list[int] = []
    assert len(list(read_rows(table(whole, "sample_data"), steps.append))) > 20
    assert sum(steps) == table(whole, "sample_data").stat().st_size
