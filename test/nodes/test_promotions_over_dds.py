"""The same with nodes that are processes, over DDS: no set is lost over a change, nor a vehicle over a bad model."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import stamp_of
from semlt3d_ros.middleware.topic_requests import call_trigger, set_parameter
from semlt3d_ros.nodes.detector_parameters import NODE_NAME
from semlt3d_ros.nodes.player import Player, PlayerOptions

WATCHED = Path(__file__).parent / "watched_node.py"


@pytest.fixture
def start(domain: int, recording: Any, versions: SimpleNamespace) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a node that runs the versions of the model folder."""
    processes: list[subprocess.Popen[str]] = []

    def make(*overrides: str) -> subprocess.Popen[str]:
        given = [f"cameras:=[{', '.join(recording.cameras)}]", f"model_folder:={versions.store.folder}"]
        given += ["watch_sets:=52", "diagnostics_period_s:=0.05", *overrides]
        command = [sys.executable, str(WATCHED), str(domain), *given]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    yield make
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


class Listener:
    """Hears a node's answers and diagnostics."""

    def __init__(self, middleware: Any) -> None:
        self.middleware = middleware
        self.answers: list[tuple[int, str]] = []
        self.status: dict[str, dict[str, str]] = {}
        middleware.create_subscription(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, self._answer)
        middleware.create_subscription(topics.DIAGNOSTICS, topics.DIAGNOSTIC_TYPE, self._report)

    def _answer(self, message: Any, _: int) -> None:
        self.answers.append((stamp_of(message), message.model_version))

    def _report(self, message: Any, _: int) -> None:
        self.status.update({each.name: {value.key: value.value for value in each.values} for each in message.status})

    def until(self, holds: Callable[[], bool]) -> None:
        assert self.middleware.spin(holds, 60), (self.answers[-3:], self.status.get("semlt3d: promotion"))


def play(middleware: Any, bag: Path) -> None:
    """In lockstep, so that every set that is lost is lost by the node."""
    Player(middleware, bag, PlayerOptions(rate=1000, lockstep=True, wait_for_subscribers_s=60)).play()


def test_a_promotion_loses_no_set_and_a_bad_one_goes_back(
    join: Callable[..., Any],
    start: Callable[..., subprocess.Popen[str]],
    versions: SimpleNamespace,
    recording: Any,
    tmp_path: Path,
) -> None:
    versions.kinds(newer="flat")
    bag = recording.of_sets(tmp_path / "drive.mcap", 52)
    process = start()
    heard = Listener(join())
    play(heard.middleware, bag)
    heard.until(lambda: len(heard.answers) == 52)
    versions.store.promote(versions.new)
    assert "in place of" in call_trigger(heard.middleware, NODE_NAME, "reload_model", 60)
    play(heard.middleware, bag)
    heard.until(lambda: len(heard.answers) == 104 and versions.store.history()[-1].confirmed)
    assert heard.answers[52:] == [(stamp, versions.new) for stamp, _ in heard.answers[:52]]
    set_parameter(heard.middleware, NODE_NAME, "follow_promotions", True, 60)
    versions.store.promote(versions.newer)  # it is followed without being called
    heard.until(lambda: heard.status["semlt3d: model"]["version"] == versions.newer)
    play(heard.middleware, bag)
    heard.until(lambda: len(heard.answers) == 156 and heard.status["semlt3d: model"]["version"] == versions.new)
    assert versions.store.current() == versions.new
    assert "its scores are others" in versions.store.history()[-1].why
    assert [stamp for stamp, _ in heard.answers[104:]] == [stamp for stamp, _ in heard.answers[:52]]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def test_a_model_that_kills_its_node_is_rolled_back_at_the_next_start(
    join: Callable[..., Any],
    start: Callable[..., subprocess.Popen[str]],
    versions: SimpleNamespace,
    recording: Any,
    tmp_path: Path,
) -> None:
    versions.kinds(new="dies")
    bag = recording.of_sets(tmp_path / "drive.mcap", 4)
    versions.store.promote(versions.new)
    heard = Listener(join())
    process = start("watch_crashes:=1")
    Player(heard.middleware, bag, PlayerOptions(rate=5, wait_for_subscribers_s=60)).play()
    assert process.wait(60) == -signal.SIGKILL
    assert versions.store.current() == versions.new
    heard.answers.clear()
    start("watch_crashes:=1")
    assert versions.store.current() == versions.old
    assert "1 of the nodes that ran it on trial have died" in versions.store.history()[-1].why
    play(heard.middleware, bag)
    heard.until(lambda: len(heard.answers) == 4)
    assert {version for _, version in heard.answers} == {versions.old}
