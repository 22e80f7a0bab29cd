"""The command line as such: help, examples, exit statuses, one line per error."""

import json
import shlex
import signal
import subprocess
import sys
from collections import Counter

import pytest

from semlt3d_ros import cli
from semlt3d_ros.commands import doctor, evaluate

COMMANDS = ("demo", "simulate", "import", "detect", "node", "play", "evaluate", "view", "train", "doctor")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_an_example_that_parses(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([name, "--help"])
    lines = capsys.readouterr().out.splitlines()
    example = lines[lines.index("example:") + 1]
    program, *words = shlex.split(example)
    assert (program, words[0]) == ("semlt3d", name)
    assert cli.build_parser().parse_args(words).run


def test_help_lists_all_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"\n    {name} " in text for name in COMMANDS)


def test_help_needs_no_heavy_package():
    program = (
        "import sys, semlt3d_ros.cli as cli; cli.build_parser();"
        "print({'torch', 'numpy', 'cv2', 'rich', 'yaml'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "set()"


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
    assert refusal("evaluate", "a", "--truth", "b").endswith("out.mcap: No space left on device")


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
