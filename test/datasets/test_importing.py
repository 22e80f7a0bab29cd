"""Many recordings into a folder of bags: which, under which names, and again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.datasets.importing import chosen_scenes
from semlt3d_ros.messages import topics

SCENES = ["scene-0001", "scene-0002", "scene-0010", "other"]


@pytest.fixture
def sequences(pandaset_drive: Any, tmp_path: Path) -> Path:
    for name in ("001", "002", "003"):
        shutil.copytree(pandaset_drive.folder, tmp_path / "in" / name)
    return tmp_path / "in"


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main(["import", "pandaset", *map(str, words), "--json"]) == 0
    answered: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answered


def test_each_sequence_becomes_a_bag_and_what_is_there_is_left_alone(
    sequences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    first = answer(capsys, sequences, out, "--scenes", "002")
    assert [bag["scene"] for bag in first["bags"]] == ["002"] and not first["skipped"]
    written = (out / "002.mcap").stat()
    (out / "001.unfinished.mcap").write_bytes(b"left by a run that was interrupted")
    again = answer(capsys, sequences, out)
    assert [bag["scene"] for bag in again["bags"]] == ["001", "003"]
    assert again["skipped"] == [str(out / "002.mcap")]
    assert (out / "002.mcap").stat().st_mtime_ns == written.st_mtime_ns
    assert sorted(path.name for path in out.iterdir()) == ["001.mcap", "002.mcap", "003.mcap"]
    assert again["images"] == sum(bag["images"] for bag in again["bags"]) == 2 * first["images"]
    assert again["boxes"] == {label: 2 * count for label, count in first["boxes"].items()}
    anew = answer(capsys, sequences, out, "--overwrite", "--frames", "1:3")
    assert [bag["frames"] for bag in anew["bags"]] == [2, 2, 2] and not anew["skipped"]
    with BagSource(out / "003.mcap") as source:
        assert len(list(source.messages([topics.TRUTH_SAMPLE]))) == 2


def test_people_are_told_what_was_skipped(sequences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["import", "pandaset", str(sequences), str(tmp_path / "out"), "--scenes", "1:2"]) == 0
    made, skipped = (line for line in capsys.readouterr().out.splitlines() if "002.mcap" in line)
    assert "4 frames with 24 images and 4 sweeps" in made and "4 Car" in made
    assert "left as it is; --overwrite" in skipped


def test_a_sequence_that_cannot_be_used_does_not_take_the_others_along(
    sequences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sequences / "002" / "lidar" / "poses.json").unlink()
    summary = answer(capsys, sequences, tmp_path / "out")
    assert [bag["scene"] for bag in summary["bags"]] == ["001", "003"]
    (fault,) = summary["faults"]
    assert (fault["place"], fault["reason"]) == ("002", "scene") and "there is no bag of it" in fault["text"]


def test_one_bag_for_many_sequences_is_refused(
    sequences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "pandaset", str(sequences), str(tmp_path / "out.mcap")]) == 2
    assert "3 recordings (001, 002, 003); give a folder" in capsys.readouterr().err
    assert main(["import", "pandaset", str(sequences), str(tmp_path / "out.mcap"), "--scenes", "003"]) == 0
    assert main(["import", "pandaset", str(sequences), str(tmp_path / "out.mcap"), "--scenes", "003"]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, SCENES),
        ("scene-0010,scene-0001", ["scene-0001", "scene-0010"]),
        ("scene-00*", SCENES[:3]),
        ("1:3", SCENES[1:3]),
        ("-1:", SCENES[-1:]),
        (":1, other", ["scene-0001", "other"]),
    ],
)
def test_scenes_are_chosen_by_name_pattern_and_place(wanted: str | None, expected: list[str]) -> None:
    assert chosen_scenes(SCENES, wanted, "here") == expected


@pytest.mark.parametrize("wanted", ["scene-0003", "scene-0001,none", "4:9", "1:x", "", " , "])
def test_scenes_that_are_not_there_are_refused(wanted: str) -> None:
    with pytest.raises(ConfigurationError, match="--scenes"):
        chosen_scenes(SCENES, wanted, "here")
