"""semlt3d evaluate --corrupt on a real bag with a real checkpoint."""

import json
import re
from contextlib import suppress

import pytest

from semlt3d_ros.cli import main
from semlt3d_ros.commands import detect as detecting
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.simulate import simulate

FRAMES = 2


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    out = tmp_path_factory.mktemp("drive") / "drive.mcap"
    simulate(out, DriveConfig(5, frames=FRAMES, image_size=(224, 128), objects=(16, 20)), progress=False)
    return out


def evaluate(bag, *words) -> int:
    return main(["evaluate", "--truth", str(bag), *map(str, words)])


def told(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_it_is_what_corrupting_detecting_and_evaluating_give(bag, tmp_path, capsys) -> None:
    out = tmp_path / "robust"
    assert evaluate(bag, "--corrupt", "color_quant,camera_crash", "--out", out, "--json") == 0
    figures = told(capsys)
    assert list(figures["corrupted"]) == ["color_quant", "camera_crash"]
    assert [len(each) for each in figures["corrupted"].values()] == [3, 3]
    assert json.loads((out / "robustness.json").read_text()) == figures
    assert (out / "robustness.png").stat().st_size > 10_000
    assert len(list((out / "detections").iterdir())) == 7
    corrupted, found = tmp_path / "crash.mcap", tmp_path / "found.mcap"
    main(["corrupt", str(bag), "-o", str(corrupted), "--corruption", "camera_crash", "--severity", "3"])
    main(["detect", str(corrupted), "-o", str(found)])
    capsys.readouterr()
    assert main(["evaluate", str(found), "--truth", str(bag), "--json"]) == 0
    assert told(capsys)["map"]["all"] == figures["corrupted"]["camera_crash"][2]["map"]
    main(["detect", str(bag), "-o", str(found), "--overwrite"])
    capsys.readouterr()
    main(["evaluate", str(found), "--truth", str(bag), "--json"])
    assert told(capsys)["map"]["all"] == figures["clean"]["map"] > figures["corrupted"]["camera_crash"][2]["map"]
    baseline = tmp_path / "baseline.json"
    baseline.write_bytes((out / "robustness.json").read_bytes())
    words = ("--corrupt", "color_quant,camera_crash", "--baseline", baseline)
    assert evaluate(bag, *words, "--out", out) == 0
    assert re.search(r"mean .* 1\.000", capsys.readouterr().out)


def test_it_goes_on_where_it_was(bag, tmp_path, monkeypatch, capsys) -> None:
    done, detect = [], detecting.detect

    def interrupted(*arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(arguments)
        return detect(*arguments)

    out, words = tmp_path / "robust", ("--corrupt", "brightness", "--out", tmp_path / "robust", "--json")
    monkeypatch.setattr(detecting, "detect", interrupted)
    with suppress(KeyboardInterrupt):
        evaluate(bag, *words)
    assert sorted(path.name for path in (out / "detections").glob("*[!d].mcap")) == ["brightness_1.mcap", "clean.mcap"]
    again = []
    monkeypatch.setattr(detecting, "detect", lambda *arguments: again.append(1) or detect(*arguments))
    capsys.readouterr()
    assert evaluate(bag, *words) == 0
    assert len(again) == 2 and len(told(capsys)["corrupted"]["brightness"]) == 3


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["found.mcap", "--corrupt", "fog", "--out", "x"], "leave out 'found.mcap'"),
        (["--corrupt", "fog"], "needs --out FOLDER"),
        (["--corrupt", "hail", "--out", "x"], "corruption 'hail' is not known; use one of brightness"),
        (["--corrupt", "fog", "--out", "x", "--kitti", "y"], "--kitti does not go with --corrupt"),
        (["--corrupt", "fog", "--out", "x", "--baseline", "nothing.json"], "nothing.json is no robustness.json"),
        ([], "no DETECTIONS"),
        (["found.mcap", "--rig", "rig.yaml"], "--rig goes with --corrupt"),
    ],
)
def test_options_that_do_not_go_together(bag, words, text, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluate(bag, *words) != 0
    assert text in capsys.readouterr().err


def test_detections_of_another_drive_are_not_taken_for_these(bag, tmp_path, capsys) -> None:
    other = tmp_path / "drive.mcap"
    simulate(other, DriveConfig(6, frames=3, image_size=(224, 128), objects=(16, 20)), progress=False)
    assert evaluate(bag, "--corrupt", "brightness", "--out", tmp_path / "robust") == 0
    assert evaluate(other, "--corrupt", "brightness", "--out", tmp_path / "robust") != 0
    assert re.search(r"holds detections of .* on drive\.mcap \(\d+-\d+\); give another folder", capsys.readouterr().err)
