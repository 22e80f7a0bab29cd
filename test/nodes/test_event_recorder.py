"""The event recorder over DDS, a process of its own: events hold what was sent, byte for byte; and who lists them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.topic_requests import call_trigger
from semlt3d_ros.nodes.event_recorder import EventRecorder
from semlt3d_ros.nodes.event_recorder_parameters import RECORDER_NAME
from semlt3d_ros.nodes.player import Player, PlayerOptions
from semlt3d_ros.recording.event import events_of

SETS = 30


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "recording.yaml"
    path.write_text("triggers: {service: {}}\n")
    return path


@pytest.fixture
def record(domain: int, recording: Any, settings: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts ``semlt3d record``; returns when it is ready."""
    processes: list[subprocess.Popen[str]] = []

    def start(*overrides: str) -> subprocess.Popen[str]:
        given = [f"cameras:=[{', '.join(recording.cameras)}]", "diagnostics_period_s:=0.1", *overrides]
        words = ["record", tmp_path / "events", "--recording", settings, *(w for each in given for w in ("-p", each))]
        process = subprocess.Popen(
            [sys.executable, "-m", "semlt3d_ros.cli", *map(str, words)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
        )
        processes.append(process)
        assert process.stderr is not None
        said = ""
        while "ready in ROS domain" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


class Heard:
    """The recorder's diagnostics."""

    def __init__(self, middleware: Any) -> None:
        self.middleware, self.status = middleware, dict[str, dict[str, str]]()
        middleware.create_subscription(topics.DIAGNOSTICS, topics.DIAGNOSTIC_TYPE, self._hear)

    def _hear(self, message: Any, _: int) -> None:
        self.status |= {each.name: {value.key: value.value for value in each.values} for each in message.status}

    def until(self, holds: Callable[[], bool]) -> None:
        assert self.middleware.spin(holds, 60), self.status


def content(bag: Path, kinds: tuple[str, ...]) -> list[tuple[str, bytes]]:
    with BagSource(bag) as source:
        return [(each.topic, bytes(each.data)) for each in source.messages() if each.type_name in kinds]


def test_what_was_sent_before_and_after_somebody_asked_is_an_event(
    join: Callable[..., Any], record: Callable[..., Any], recording: Any, tmp_path: Path, capsys: Any
) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", SETS)
    process = record("pre_roll_s:=60.0", "post_roll_s:=60.0", "longest_s:=600.0")
    heard = Heard(join())
    Player(heard.middleware, bag, PlayerOptions(rate=20, wait_for_subscribers_s=60)).play()
    sent = content(bag, (topics.IMAGE_TYPE, topics.COMPRESSED_IMAGE_TYPE, topics.CAMERA_INFO_TYPE))
    images = [(topic, data) for topic, data in sent if not topic.endswith("camera_info")]

    def received() -> int:
        entry = heard.status.get("semlt3d recorder: input", {})
        return sum(int(entry.get(f"received.{topic}", 0)) for topic in {topic for topic, _ in images})

    heard.until(lambda: received() == len(images))
    assert "is being recorded" in call_trigger(heard.middleware, RECORDER_NAME, "record", 60)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    (event,), faults = events_of(tmp_path / "events")
    assert not faults and event.triggers == ("service",) and event.lost == 0 and event.name.endswith("-service")
    found = content(event.folder, (topics.IMAGE_TYPE, topics.COMPRESSED_IMAGE_TYPE))
    # DDS fills up what it sends to whole words.
    assert sorted(found) == sorted((topic, data + bytes(-len(data) % 4)) for topic, data in images)
    assert content(event.folder, (topics.TF_TYPE,)), "where the cameras are is there too"

    def events(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        what, *names = words
        status = main(["events", what, str(tmp_path / "events"), *names])
        told = capsys.readouterr()
        return status, told.out + told.err

    status, text = events("list", "--json")
    assert status == 0 and json.loads(text)["events"][0]["triggers"] == ["service"]
    assert json.loads(events("list", "--trigger", "flicker", "--json")[1])["events"] == []
    assert events("protect", event.name)[0] == 0 and "protected" in events("list")[1]
    status, text = events("delete", event.name)
    assert status != 0 and "unprotect first, or give --force" in text and event.folder.exists()
    events("unprotect", event.name)
    assert events("view", event.name, "--save", str(tmp_path / "event.rrd"))[0] == 0
    assert (tmp_path / "event.rrd").stat().st_size > 10_000
    assert events("delete", event.name)[0] == 0 and not event.folder.exists()
    status, text = events("delete", "../events")
    assert status != 0 and "give names as" in text


def test_without_a_trigger_for_it_the_service_says_so(memory: Any, tmp_path: Path) -> None:
    settings = tmp_path / "recording.yaml"
    settings.write_text("triggers: {always: {}}\n")
    middleware = memory(f"events:={tmp_path / 'events'}", f"recording_file:={settings}")
    node = EventRecorder(middleware)
    answers: list[tuple[bool, str]] = []
    middleware.triggers["~/record"](lambda well, text: answers.append((well, text)))
    assert answers == [(False, "the recording file has no trigger of kind service")]
    assert node.close()


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ((), "the parameter 'events' is empty; name a folder"),
        (("events:=x", "recording_file:=none.yaml"), "none.yaml"),
        (("events:=x", "pre_roll_s:=50.0", "longest_s:=20.0"), "longest_s 20.0 is less than pre_roll_s 50.0"),
    ],
)
def test_what_does_not_fit_is_told_at_once(
    memory: Any, overrides: tuple[str, ...], text: str, tmp_path: Path, monkeypatch: Any
) -> None:
    from semlt3d_ros.core.errors import ConfigurationError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=text):
        EventRecorder(memory(*overrides))
    assert not (tmp_path / "x").exists()
