"""semlt3d distil from the terminal: a round, the status, what does not fit."""

import json
from pathlib import Path

import pytest
import torch

from bench.small_robot import write_robot
from semlt3d_ros.adaptation.alone import alone
from semlt3d_ros.adaptation.models import ModelStore
from semlt3d_ros.adaptation.settings import load_settings
from semlt3d_ros.cli import main
from semlt3d_ros.nodes import distiller_child


@pytest.fixture
def robot(tmp_path, monkeypatch) -> Path:
    """A robot without events, whose distiller leaves the threads of the tests alone."""
    monkeypatch.setattr(distiller_child, "keep_within", lambda settings: torch.set_num_threads(1))
    path = write_robot(tmp_path, events=0)
    (tmp_path / "events").mkdir()
    return path


def told(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_it_says_what_it_waits_for_and_the_status_says_the_same(robot, capsys) -> None:
    assert main(["distil", str(robot), "--status", "--json"]) == 0
    assert told(capsys)["message"] == "nothing was learnt yet"
    assert main(["distil", str(robot), "--json"]) == 0
    waiting = told(capsys)
    assert waiting["state"] == "idle" and waiting["message"].startswith("0 new events, 4 are asked for")
    assert waiting["running_version"] == ModelStore(load_settings(robot).models).current()
    assert main(["distil", str(robot), "--status", "--json"]) == 0
    assert told(capsys) == waiting


def test_folders_may_be_given_and_nothing_is_written_into_events(robot, tmp_path, capsys) -> None:
    other = tmp_path / "elsewhere"
    assert main(["distil", str(robot), "--work", str(other), "--now", "--json"]) == 0
    assert "1 are asked for" in told(capsys)["message"] and (other / "status.json").is_file()
    events = str(load_settings(robot).events)
    assert main(["distil", str(robot), "--events", events, "--work", events]) == 2


def test_another_distiller_and_settings_that_do_not_fit_are_one_line(robot, capsys) -> None:
    with alone(load_settings(robot).work):
        assert main(["distil", str(robot)]) == 2
    assert "another distiller is at work" in capsys.readouterr().err
    robot.write_text(robot.read_text() + "held_bakc: 0.5\n")
    assert main(["distil", str(robot)]) == 2
    assert "did you mean 'held_back'" in capsys.readouterr().err


def test_a_missing_folder_of_events_is_a_failure(robot, tmp_path, capsys) -> None:
    assert main(["distil", str(robot), "--events", str(tmp_path / "none"), "--json"]) == 1
    assert "none is no folder of events" in told(capsys)["message"]
