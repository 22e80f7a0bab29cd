"""No command loses what it was given or what was there before: all commands that write, whatever goes wrong."""

from __future__ import annotations

import argparse
import ast
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.nuscenes_layout import Drive
from semlt3d_ros import cli
from semlt3d_ros.cli import main
from semlt3d_ros.commands.places import READ, WRITTEN, bag_to_write, bags_to_write, folder_to_write
from semlt3d_ros.core.outputs import unfinished

PACKAGE = Path(cli.__file__).parent


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command by name; of those that have commands of their own, these."""
    return dict(commands_of(cli.build_parser(), ()))


def commands_of(
    parser: argparse.ArgumentParser, words: tuple[str, ...]
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    inner = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not inner:
        yield " ".join(words), parser
    for word, command in (pair for each in inner for pair in each.choices.items()):
        yield from commands_of(command, (*words, word))


def named(command: str, roles: Any) -> list[argparse.Action]:
    return [action for action in commands()[command]._actions if action.type in roles]


OUTPUTS = [(command, action.dest) for command in commands() for action in named(command, WRITTEN)]
PAIRS = [(command, out, read.dest) for command, out in OUTPUTS for read in named(command, READ)]


def words_for(command: str, given: dict[str, Path]) -> list[str]:
    """A command line with these options, and whatever else the command cannot do without."""
    words = command.split()
    for action in commands()[command]._actions:
        value = given.get(action.dest)
        if value is None and (action.required or not action.option_strings) and action.dest != "help":
            other = "result.safetensors" if action.type in WRITTEN else "other.safetensors"
            value = action.choices[0] if action.choices else "1" if action.type is int else Path(other)
        if value is not None:
            words += [*action.option_strings[-1:], str(value)]
    return words


def test_every_option_that_names_a_place_says_what_becomes_of_it() -> None:
    known = {*READ, *WRITTEN, None, int, float}
    for name, parser in commands().items():
        for action in parser._actions:
            assert action.type in known, f"{name} {action.dest}: take a type of commands/places.py"
            speaks = {f"{action.metavar or action.dest}".lower()} & {"file", "folder", "path", "bag", "dir", "out"}
            assert action.type is not None or not speaks, f"{name} {action.dest}: take a type of commands/places.py"


def state(folder: Path) -> dict[str, bytes | str]:
    """All that lies in a folder."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file and a bag folder that are precious, and other names for both."""
    (tmp_path / "in").mkdir()
    (tmp_path / "bag").mkdir()
    (tmp_path / "in" / "given.mcap").write_bytes(b"precious")
    (tmp_path / "bag" / "bag_0.mcap").write_bytes(b"precious")
    (tmp_path / "bag" / "metadata.yaml").write_bytes(b"precious")
    (tmp_path / "link.mcap").symlink_to(tmp_path / "in" / "given.mcap")
    (tmp_path / "same.mcap").hardlink_to(tmp_path / "in" / "given.mcap")
    (tmp_path / "linked_bag").symlink_to("bag")
    monkeypatch.chdir(tmp_path)
    return tmp_path


FILE_PLACES = ("in/given.mcap", "./none/../in/given.mcap", "link.mcap", "same.mcap")
BAG_PLACES = ("bag", "linked_bag", "bag/../bag", "bag/new.mcap", "linked_bag/new.mcap", "bag/bag_0.mcap")


@pytest.mark.parametrize(("command", "out", "read"), PAIRS)
def test_an_output_that_is_an_input_is_refused(
    command: str, out: str, read: str, here: Path, refusal: Callable[..., str]
) -> None:
    (action,) = (each for each in named(command, WRITTEN) if each.dest == out)
    cases = [("in/given.mcap", place) for place in FILE_PLACES] + [("bag", place) for place in BAG_PLACES]
    if action.type is bag_to_write:
        cases += [("in/given.mcap", "in"), ("link.mcap", "in"), ("bag/bag_0.mcap", "bag"), ("bag", ".")]
    before = state(here)
    for source, place in cases:
        more = (
            ["--overwrite"]
            if "overwrite" in vars(commands()[command].parse_args(words_for(command, {})[len(command.split()) :]))
            else []
        )
        line = refusal(*words_for(command, {read: Path(source), out: Path(place)}), *more)
        assert str(Path(place)) in line and ("which is read" in line or "is a folder; give" in line), line
        assert state(here) == before, (source, place)


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "d.mcap", "--truth", "t.mcap", "--out", "report", "--results", "report"],
        ["evaluate", "d.mcap", "--truth", "t.mcap", "--out", "report", "--results", "./report/report.json"],
        ["evaluate", "d.mcap", "--truth", "t.mcap", "--out", "report", "--results", "report/confusion.png"],
        ["train", "RECIPE", "-o", "x.training"],
        ["train", "RECIPE", "-o", "initial.safetensors"],
        ["train-clip", "CLIP", "-o", "x.json"],
        ["train-clip", "CLIP", "-o", "x.training"],
        ["experiment", "EXPERIMENT", "-o", "initial.safetensors"],
        ["experiment", "EXPERIMENT", "-o", "runs", "--folder", "runs"],
    ],
)
def test_two_results_in_one_place_and_files_that_recipes_name_are_refused(
    words: list[str], here: Path, refusal: Callable[..., str]
) -> None:
    root = PACKAGE.parent / "config"
    recipe = (root / "recipes" / "demo_clips.yaml").read_text()
    initial = next(line.split(":", 1)[1].strip() for line in recipe.splitlines() if line.startswith("initial:"))
    (here / "recipe.yaml").write_text(recipe.replace(initial, str(here / "initial.safetensors")))
    (here / "initial.safetensors").write_bytes(b"precious")
    (here / "experiment.yaml").write_text(
        "name: e\nrecipe: {data_folder: d, train: {first_seed: 5, drives: 1}, validation: {first_seed: 9, drives: 1}, "
        f"initial: {here / 'initial.safetensors'}}}\n"
        "test: {first_seed: 1, drives: 1}\nseeds: [0]\nbases: [{name: b}]\nrows: [{name: r}]\n"
    )
    files = {
        "RECIPE": "recipe.yaml",
        "CLIP": str(root / "recipes" / "tiny_clip.yaml"),
        "EXPERIMENT": "experiment.yaml",
    }
    before = state(here)
    line = refusal(*(files.get(word, word) for word in words))
    assert "is the place of" in line or "which is read" in line
    assert state(here) == before


# ---- what was there before outlives a run that fails ----


def saved_checkpoint(out: Path, checkpoint: Path) -> None:
    """As ``train`` and ``calibrate`` write what they have made."""
    from semlt3d_ros.checkpoints.checkpoint import load_student, save_checkpoint

    save_checkpoint(out, load_student(checkpoint)[0], "again", {})


def saved_clip(out: Path) -> None:
    import yaml

    from semlt3d_ros.semantics.tiny import TinyClip

    recipe = yaml.safe_load((PACKAGE.parent / "config" / "recipes" / "tiny_clip.yaml").read_text())
    TinyClip(recipe["model"]).save(out, "tiny", {})


def saved_experiment(out: Path) -> None:
    from semlt3d_ros.core.outputs import write_whole

    write_whole(out, "| table |\n" * 1000)


def saved_verdict(out: Path) -> None:
    """As ``models judge`` writes what it has found."""
    from semlt3d_ros.adaptation.verdict import Verdict
    from semlt3d_ros.adaptation.verdict_page import write_page

    write_page(Verdict(False, "new@1", "old@1", ("it is worse",) * 1000), out)


def begun_round(work: Path) -> None:
    """As ``distil`` writes down what it is about to do."""
    from semlt3d_ros.adaptation.plan import Plan, Rounds

    Rounds(work).begin(Plan(1, "", "old@1", tuple(f"event {number}" for number in range(99)), ()))


def added_version(models: Path, checkpoint: Path) -> None:
    """As ``distil`` promotes what it has learnt."""
    from semlt3d_ros.adaptation.models import ModelStore

    ModelStore(models).add(checkpoint, {})


def labelled_into(cache: Path, drive: Path) -> int:
    """As ``label`` does that keeps what students learn from."""
    out = cache.parent.parent / f"{cache.parent.name}.labels.mcap"
    return main(["label", str(drive), "-o", str(out), "--cache", str(cache), "--overwrite"])


class Inputs:
    """Runs each command that writes, for as much of it as writes a result to ``out``."""

    def __init__(
        self,
        drive: Path,
        checkpoint: Path,
        detections: Path,
        pandaset: Path,
        nuscenes: Path,
        kitti: Path,
        argoverse2: Path,
        weights: Path,
        published: Path,
    ) -> None:
        self.runs: dict[tuple[str, str], Callable[[Path], Any]] = {
            ("simulate", "out"): lambda out: main(
                ["simulate", str(out), "--frames", "2", "--size", "112x64", "--overwrite"]
            ),
            ("import pandaset", "out"): lambda out: main(
                ["import", "pandaset", str(pandaset), str(out), "--overwrite"]
            ),
            ("import nuscenes", "out"): lambda out: main(
                ["import", "nuscenes", str(nuscenes), str(out), "--overwrite"]
            ),
            ("import kitti", "out"): lambda out: main(["import", "kitti", str(kitti), str(out), "--overwrite"]),
            ("import argoverse2", "out"): lambda out: main(
                ["import", "argoverse2", str(argoverse2), str(out), "--overwrite"]
            ),
            ("detect", "out"): lambda out: main(
                ["detect", str(drive), "-o", str(out), "--checkpoint", str(checkpoint), "--overwrite"]
            ),
            ("label", "out"): lambda out: main(["label", str(drive), "-o", str(out), "--overwrite"]),
            ("label", "cache"): lambda out: labelled_into(out, drive),
            ("corrupt", "out"): lambda out: main(
                ["corrupt", str(drive), "-o", str(out), "--corruption", "fog", "--severity", "1", "--overwrite"]
            ),
            ("evaluate", "out"): lambda out: main(
                ["evaluate", str(detections), "--truth", str(drive), "--out", str(out)]
            ),
            ("evaluate", "results"): lambda out: main(
                ["evaluate", str(detections), "--truth", str(drive), "--results", str(out)]
            ),
            ("evaluate", "kitti"): lambda out: main(
                ["evaluate", str(detections), "--truth", str(drive), "--kitti", str(out)]
            ),
            ("view", "save"): lambda out: main(["view", str(drive), "--save", str(out)]),
            ("check", "picture"): lambda out: main(["check", str(drive), "--picture", str(out)]),
            ("demo", "out"): lambda out: main(
                ["demo", "--no-view", "--frames", "1", "--out", str(out), "--checkpoint", str(checkpoint)]
            ),
            ("anchors", "out"): lambda out: main(["anchors", "car", "bus", "-o", str(out)]),
            ("import-weights", "out"): lambda out: main(["import-weights", str(weights), "-o", str(out)]),
            ("export", "out"): lambda out: main(["export", str(published), "-o", str(out), "--cameras", "1"]),
            ("train", "out"): lambda out: saved_checkpoint(out, checkpoint),
            ("calibrate", "out"): lambda out: saved_checkpoint(out, checkpoint),
            ("opinion", "out"): lambda out: main(["opinion", "--drives", "1", "-o", str(out)]),
            ("train-clip", "out"): saved_clip,
            ("models judge", "out"): saved_verdict,
            ("distil", "work"): begun_round,
            ("distil", "models"): lambda out: added_version(out, checkpoint),
            ("experiment", "out"): saved_experiment,
            ("experiment", "folder"): lambda out: saved_checkpoint(out / "row-0.safetensors", checkpoint),
        }


@pytest.fixture(scope="session")
def writers(
    drive: Path, checkpoint: Path, published_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Callable[[Path], Any]]:
    folder = tmp_path_factory.mktemp("given")
    detections = folder / "detections.mcap"
    assert main(["detect", str(drive), "-o", str(detections), "--checkpoint", str(checkpoint)]) == 0
    Drive(scenes=1, samples=2).write(folder / "nuscenes")
    data_sets = small_pandaset(folder / "pandaset"), folder / "nuscenes"
    data_sets += small_kitti(folder / "training"), small_argoverse2(folder / "log")
    published = folder / "published.safetensors"
    assert main(["import-weights", str(published_weights), "-o", str(published), "--image-size", "64x32"]) == 0
    return Inputs(drive, checkpoint, detections, *data_sets, published_weights, published).runs


def small_kitti(folder: Path) -> Path:
    """A frame of the object benchmark that KITTI's importer begins to write: a sweep."""
    (folder / "calib").mkdir(parents=True)
    (folder / "velodyne").mkdir()
    rotation = "1 0 0 0 1 0 0 0 1"
    lines = ["P2: 700 0 300 40 0 700 100 0 0 0 1 0", f"R0_rect: {rotation}"]
    lines.append("Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0")
    (folder / "calib" / "000000.txt").write_text("\n".join(lines))
    np.ones((1000, 4), "<f4").tofile(folder / "velodyne" / "000000.bin")
    return folder


def small_argoverse2(folder: Path) -> Path:
    """A log that Argoverse 2's importer begins to write: a sweep."""
    pyarrow, feather = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.feather")
    (folder / "calibration").mkdir(parents=True)
    (folder / "sensors" / "lidar").mkdir(parents=True)
    zeros = {name: [0.0, 0.0] for name in ("qx", "qy", "qz", "tx_m", "ty_m", "tz_m")}
    poses = {"timestamp_ns": [10**9, 2 * 10**9], "qw": [1.0, 1.0], **zeros}
    feather.write_feather(pyarrow.table(poses), str(folder / "city_SE3_egovehicle.feather"))
    names = ("x", "y", "z", "intensity", "laser_number", "offset_ns")
    points = {name: np.random.default_rng(1).uniform(1, 9, 1000) for name in names}
    feather.write_feather(pyarrow.table(points), str(folder / "sensors" / "lidar" / f"{10**9}.feather"))
    return folder


def small_pandaset(folder: Path) -> Path:
    """A sequence that PandaSet's importer begins to write, in its own layout."""
    pandas = pytest.importorskip("pandas")
    import json

    import simplejpeg

    pose = {"position": {"x": 0.0, "y": 0.0, "z": 0.0}, "heading": {"w": 1.0, "x": 0.0, "y": 0.0, "z": 0.0}}
    stamps, poses = json.dumps([1.0, 1.1]), json.dumps([pose] * 2)
    names = ("front", "front_left", "front_right", "left", "right", "back")
    for part in ("lidar", *(f"camera/{name}_camera" for name in names)):
        (folder / part).mkdir(parents=True)
        (folder / part / "poses.json").write_text(poses)
        (folder / part / "timestamps.json").write_text(stamps)
        if part != "lidar":
            (folder / part / "intrinsics.json").write_text(json.dumps({"fx": 50.0, "fy": 50.0, "cx": 32.0, "cy": 24.0}))
    (folder / "annotations" / "cuboids").mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(2):
        cloud = pandas.DataFrame(random.normal(size=(500, 4)), columns=["x", "y", "z", "i"]).assign(t=1.0, d=0)
        cloud.to_pickle(folder / "lidar" / f"{index:02d}.pkl.gz")
        pandas.DataFrame({"label": []}).to_pickle(folder / "annotations" / "cuboids" / f"{index:02d}.pkl.gz")
        for name in names:
            image = random.integers(0, 255, (48, 64, 3), np.uint8)
            (folder / "camera" / f"{name}_camera" / f"{index:02d}.jpg").write_bytes(simplejpeg.encode_jpeg(image))
    return folder


SUFFIX = {"view": ".rrd", "check": ".png", "experiment": ".md", "results": ".json", "bag": ".mcap"}


@pytest.mark.parametrize(("command", "out"), OUTPUTS)
def test_an_earlier_result_outlives_a_full_disk(
    command: str,
    out: str,
    writers: dict[tuple[str, str], Callable[[Path], Any]],
    tmp_path: Path,
    capfd: Any,
    disk_of: Callable[[int], Any],
) -> None:
    from semlt3d_ros.core.errors import ConfigurationError

    assert writers.keys() == set(OUTPUTS), "every option of every command that writes"
    (action,) = (each for each in named(command, WRITTEN) if each.dest == out)
    suffix = (
        SUFFIX.get(command)
        or SUFFIX.get(out)
        or (".mcap" if action.type in (bag_to_write, bags_to_write) else ".safetensors")
    )
    if action.type is folder_to_write:
        place = tmp_path / "results"
        place.mkdir()
        for name in ("report.json", "confusion.png", "drive.mcap", "summary.json", "row-0.safetensors"):
            (place / name).write_bytes(b"earlier")
    else:
        place = tmp_path / f"result{suffix}"
        place.write_bytes(b"earlier")
    before = state(tmp_path)
    capfd.readouterr()
    with disk_of(300):
        try:
            status = writers[command, out](place)
        except ConfigurationError:
            status = cli.FAILED
    assert status == cli.FAILED
    assert "Traceback" not in capfd.readouterr().err
    kept = {name: content for name, content in state(tmp_path).items() if name in before}
    assert kept == before
    # Folders of a cache may be there without anything in them.
    new = [name for name in state(tmp_path).keys() - before.keys() if not (tmp_path / name).is_dir()]
    assert all("unfinished" in name for name in new), "only what says that it is none"


KILLED_AT_THE_END = """
import os, signal, sys
from pathlib import Path
{before}
os.replace = lambda *places: os.kill(os.getpid(), signal.SIGKILL)
{run}
"""
KILLED = {
    "bag.mcap": (
        "from semlt3d_ros.cli import main",
        "main(['simulate', OUT, '--frames', '1', '--size', '56x32', '--overwrite'])",
    ),
    "bag": (
        "from semlt3d_ros.bags.sink import BagSink",
        "os.replace = REPLACE\nwith BagSink(OUT, overwrite=True) as sink:\n"
        "    sink.write('/t', 'std_msgs/msg/String', b'\\0\\1\\0\\0\\1\\0\\0\\0\\0', 1); sink.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)",
    ),
    "drive.rrd": ("from semlt3d_ros.cli import main", "main(['view', DRIVE, '--save', OUT])"),
    "student.safetensors": (
        "from semlt3d_ros.checkpoints.checkpoint import load_student, save_checkpoint\n"
        "student = load_student(Path(CHECKPOINT))[0]",
        "save_checkpoint(Path(OUT), student, 'again', {})",
    ),
}


@pytest.mark.parametrize("name", KILLED)
def test_an_earlier_result_outlives_a_run_that_is_killed(
    name: str, drive: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out, (before, run) = tmp_path / name, KILLED[name]
    if name == "bag":
        out.mkdir()
    earlier = out / "bag_0.mcap" if name == "bag" else out
    earlier.write_bytes(b"earlier")
    constants = f"OUT, DRIVE, CHECKPOINT, REPLACE = {str(out)!r}, {str(drive)!r}, {str(checkpoint)!r}, os.replace"
    program = KILLED_AT_THE_END.format(before=f"{constants}\n{before}", run=run)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert earlier.read_bytes() == b"earlier"
    left = unfinished(out, folder=name == "bag")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, left.name])
    if "bag" in name:
        from semlt3d_ros.bags.source import BagSource

        with BagSource(left) as bag:
            assert len(list(bag.messages())) > 0


def test_a_detection_that_is_ended_says_where_it_is(drive: Path, checkpoint: Path, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from semlt3d_ros.cli import main\n"
        "from semlt3d_ros.inference.detector import Detector\n"
        "real, calls = Detector.detect, []\n"
        "def detect(self, frame):\n"
        "    calls.append(frame)\n"
        "    if len(calls) == 3: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return real(self, frame)\n"
        "Detector.detect = detect\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "out.mcap"
    words = ["detect", str(drive), "-o", str(out), "--checkpoint", str(checkpoint)]
    result = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=240)
    assert (result.returncode, result.stdout) == (128 + signal.SIGTERM, "")
    assert result.stderr == f"{out} is not finished; what was written so far is in {unfinished(out)}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.unfinished.mcap"]


WRITING = {"write_text", "write_bytes", "savefig", "save_file", "save", "savez", "replace", "rename", "open"}
ELSEWHERE = {
    "core/outputs.py",  # the piece itself
    "bags/mcap_writer.py",  # writes where BagSink tells it to
    "bags/source.py",  # unpacks into a temporary folder
    "viewing/server.py",  # its own temporary folder
    "commands/live_run.py",  # logs of child processes
    "training/record.py",  # a log that grows
    "adaptation/models.py",  # a link that is replaced in one step
    "recording/event.py",  # gives what is deleted another name first
    "recording/places.py",  # a list that grows
    "core/processes.py",  # asks the kernel
}


def test_nothing_is_written_but_by_the_one_piece() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if place in ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and writes(node):
                found.append(f"{place}:{node.lineno} {ast.unparse(node)[:80]}")
    assert found == []


def writes(call: ast.Call) -> bool:
    """Whether a call writes a file under a name that is not a draft's."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    text = ast.unparse(call)
    if name not in WRITING or "draft" in text or (name == "open" and not any(f"'{m}" in text for m in ("w", "x", "a"))):
        return False
    if name in ("save", "savez"):
        return text.startswith("np.") and "(folder /" not in text  # a shard's parts go to its draft folder
    return name not in ("replace", "rename") or text.startswith("os.")
