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

import pytest

from semlt3d_ros import cli
from semlt3d_ros.commands.places import READ, WRITTEN, bag_to_write, bags_to_write, folder_to_write
from semlt3d_ros.core.outputs import unfinished
from semlt3d_ros.recording.writer import LOCK

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


SUFFIX = {
    "view": ".rrd",
    "events view": ".rrd",
    "check": ".png",
    "experiment": ".md",
    "results": ".json",
    "bag": ".mcap",
}


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
    new = [name for name in new if Path(name).name != LOCK]
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
