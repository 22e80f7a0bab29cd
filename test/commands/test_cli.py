"""The command line as such: help, examples, exit statuses, one line per error."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections import Counter

import pytest

from semlt3d_ros import cli
from semlt3d_ros.commands import doctor, evaluate, import_dataset

COMMANDS = tuple(cli.COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_an_example_that_parses(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([name, "--help"])
    lines = capsys.readouterr().out.splitlines()
    example = lines[lines.index("example:") + 1]
    program, *words = shlex.split(example)
    assert (program, words[0]) == ("semlt3d", name)
    assert cli.build_parser().parse_args(words).run


@pytest.mark.parametrize("name", import_dataset.DATA_SETS)
def test_each_data_set_has_help_and_an_example_that_parses(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["import", name, "--help"])
    lines = capsys.readouterr().out.splitlines()
    program, *words = shlex.split(lines[lines.index("example:") + 1])
    assert [program, *words[:2]] == ["semlt3d", "import", name]
    assert cli.build_parser().parse_args(words).open_scenes


def test_help_lists_all_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(re.search(rf"\n    {name}\s", text) for name in COMMANDS)


HEAVY = {"torch", "torchvision", "timm", "open_clip", "cv2", "scipy", "matplotlib", "rerun", "pandas", "trimesh"}
LIGHT = HEAVY | {"numpy", "rosbags", "cyclonedds", "rich", "yaml", "pydantic"}
MODULES_AFTERWARDS = """
import sys
from semlt3d_ros import cli
try:
    status = cli.main()
except SystemExit as left:
    status = left.code
print(status, *{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def imported(*words, cwd=None):
    """Exit status of a command in a process of its own, and the packages it has imported."""
    command = [sys.executable, "-c", MODULES_AFTERWARDS, *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=cwd)
    status, *names = result.stderr.splitlines()[-1].split()
    return int(status), set(names)


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([name, "--help"] for name in cli.COMMANDS)])
def test_help_imports_nothing_that_takes_long(words):
    status, packages = imported(*words)
    assert status == 0 and not packages & LIGHT


@pytest.mark.parametrize("words", [["detekt"], ["detect", "drive.mcap", "--outt", "out.mcap"], []])
def test_usage_errors_import_nothing_that_takes_long(words):
    status, packages = imported(*words)
    assert status == 2 and not packages & LIGHT


def test_a_command_is_imported_without_the_others():
    program = "import sys; from semlt3d_ros import cli; cli.build_parser('play'); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    rooms = {name for name in result.stdout.split() if name.startswith("semlt3d_ros.commands.")}
    assert "semlt3d_ros.commands.play" in rooms
    assert not rooms & {f"semlt3d_ros.commands.{module}" for name, module in cli.COMMANDS.items() if name != "play"}


def test_doctor_imports_nothing_that_takes_long():
    status, packages = imported("doctor", "--json")
    assert status in (0, 1) and not packages & LIGHT
    status, packages = imported("doctor")
    assert status in (0, 1) and not packages & (LIGHT - {"rich"})


@pytest.mark.parametrize(
    "words",
    [
        ["detect", "none.mcap", "-o", "out.mcap"],
        ["detect", "noise.mcap", "-o", "out.mcap"],
        ["play", "none.mcap"],
        ["evaluate", "none.mcap", "--truth", "none.mcap"],
        ["node", "-p", "tolerence_s:=0.1"],
        ["node", "--params", "none.yaml"],
        ["set", "tolerance_s"],
        ["simulate", "out.mcap", "--size", "big"],
        ["import", "pandaset", "none", "out.mcap"],
        ["train", "none.yaml"],
        ["train", "bad.yaml"],
        ["calibrate", "none.safetensors", "bad.yaml", "-o", "out.safetensors"],
        ["experiment", "none.yaml"],
        ["train-clip", "none.yaml"],
        ["model", "bad.yaml"],
        ["demo", "--checkpoint", "none.safetensors"],
        ["anchors", "car", "--templates", "none.txt"],
    ],
)
def test_what_is_wrong_is_told_before_the_model_is_imported(words, tmp_path):
    (tmp_path / "noise.mcap").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "bad.yaml").write_text("name: bad\nlerning_rate: 1\n")
    status, packages = imported(*words, cwd=tmp_path)
    assert status == 2 and not packages & {"torch", "timm", "open_clip", "scipy", "matplotlib", "rerun", "pandas"}


@pytest.mark.parametrize("option", ["--checkpoint", "--vocabulary"])
def test_detect_looks_for_its_files_before_the_model_is_imported(drive, tmp_path, option):
    status, packages = imported("detect", drive, "-o", "out.mcap", option, "none.safetensors", cwd=tmp_path)
    assert status == 2 and "torch" not in packages and not list(tmp_path.iterdir())


def test_an_unknown_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["detekt"])
    assert "invalid choice: 'detekt'" in capsys.readouterr().err


def test_ctrl_c_gives_the_status_shells_expect(monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", interrupted)
    assert cli.main(["doctor"]) == 130


def test_sigterm_unwinds_the_command(monkeypatch):
    closed = []

    def terminated(options):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            closed.append(True)

    monkeypatch.setattr(doctor, "run", terminated)
    with pytest.raises(SystemExit, match="143"):
        cli.main(["doctor"])
    assert closed


def test_system_errors_are_one_line_too(monkeypatch, refusal, tmp_path):
    def full(options):
        raise OSError(28, "No space left on device", str(tmp_path / "out.mcap"))

    monkeypatch.setattr(evaluate, "run", full)
    assert refusal("evaluate", "a", "--truth", "b").endswith("out.mcap: No space left on device; make room")


def test_faults_of_the_program_keep_their_traceback(monkeypatch):
    def broken(options):
        raise ZeroDivisionError

    monkeypatch.setattr(doctor, "run", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


def test_a_reader_that_leaves_early_is_no_error():
    program = (
        "import sys; from semlt3d_ros import cli; from semlt3d_ros.commands import doctor;"
        "doctor.run = lambda options: print('x' * 1_000_000) or 0;"
        "sys.exit(cli.main(['doctor']))"
    )
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} | head -c 1"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("x", "")


def test_play_tells_what_it_sent_by_topic(monkeypatch, capsys):
    from semlt3d_ros.nodes import player

    summary = player.PlayerSummary(sent=Counter({"/tf": 3}), loops=1)
    monkeypatch.setattr(player, "run_player", lambda *arguments, **options: summary)
    assert cli.main(["play", "any.mcap", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sent"] == {"/tf": 3}


def test_ctrl_c_before_the_command_is_known_ends_it_too(monkeypatch, capsys):
    monkeypatch.setattr(cli, "build_parser", lambda _: signal.raise_signal(signal.SIGINT))
    assert cli.main(["doctor"]) == cli.INTERRUPTED
    assert capsys.readouterr().err == ""


def test_next_to_nothing_is_imported_before_ctrl_c_is_heeded():
    program = (
        "import sys; before = set(sys.modules); import semlt3d_ros.cli; "
        "print(*sorted(name for name in set(sys.modules) - before if 'semlt3d' in name or name == 'argparse'))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["semlt3d_ros", "semlt3d_ros.cli", "semlt3d_ros.core", "semlt3d_ros.core.errors"]


def test_names_that_are_no_text_are_printed(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    words = [sys.executable, "-m", "semlt3d_ros.cli", "simulate", folder, "--frames", "1", "--size", "56x32"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    assert "1 frames in" in result.stdout and "caf\\udce9" in result.stdout
