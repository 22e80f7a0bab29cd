"""The demo, live: processes, DDS, recording, figures; and what it says when a process dies."""

import json
import socket
import time
from contextlib import suppress

import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.commands import live_run
from semlt3d_ros.commands.demo import summarize
from semlt3d_ros.commands.live_run import NodeReport, child, free_domain
from semlt3d_ros.core.errors import Semlt3dError
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.evaluation import evaluate
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import encode_diagnostics
from semlt3d_ros.nodes.detector_report import latency_entry, sets_entry
from semlt3d_ros.nodes.statistics import STAGES, SetCounters, StageLatencies


@pytest.fixture
def own_environment(monkeypatch):
    """The demo chooses its DDS domain through the environment; put back what it changes."""
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "CYCLONEDDS_URI"):
        monkeypatch.setenv(name, "")


@pytest.mark.usefixtures("own_environment")
def test_the_demo_from_drive_to_figures(checkpoint, tmp_path, capsys):
    out = tmp_path / "demo"
    out.mkdir()
    for stale in ("drive.mcap", "detections.mcap", "summary.json"):
        (out / stale).write_text("left behind by an earlier run")
    words = ["demo", "--no-view", "--frames", "4", "--out", str(out), "--checkpoint", str(checkpoint)]
    assert main(words) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary) == {"sets_in", "sets_processed", "drops", "latency_ms", "ap", "map"}
    assert 4 <= summary["sets_in"] == summary["sets_processed"] + sum(summary["drops"].values())
    assert summary["sets_processed"] > 0
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]
    assert set(summary["ap"]) == set(CLASS_NAMES)
    assert set(summary["map"]) == {"many", "medium", "few", "all"}
    with BagSource(out / "detections.mcap") as source:
        answers = sum(1 for _ in source.messages(topics=[topics.LONG_TAIL]))
        assert {topics.DETECTIONS, topics.MARKERS, topics.DIAGNOSTICS} < set(source.topics)
    assert answers == summary["sets_processed"]
    table = capsys.readouterr().out
    assert "camera sets in" in table and "mean AP few" in table


@pytest.mark.usefixtures("own_environment")
def test_a_node_that_dies_is_heard(tmp_path, capsys):
    broken = tmp_path / "broken.safetensors"
    broken.write_text("no weights")
    words = ["demo", "--no-view", "--frames", "1", "--out", str(tmp_path / "demo"), "--checkpoint", str(broken)]
    assert main(words) == 2
    errors = capsys.readouterr().err
    assert "semlt3d: error: the detector node ended with status 2" in errors
    assert "broken.safetensors' is not a readable safetensors file" in errors


def test_a_child_that_fails_shows_the_end_of_its_log(tmp_path, capsys):
    with child("player", ["play", str(tmp_path / "none.mcap")], tmp_path / "log") as player:
        end = time.monotonic() + 60
        while player.running and time.monotonic() < end:
            time.sleep(0.05)
        with pytest.raises(Semlt3dError, match="the player ended with status 2"):
            player.check()
    assert "none.mcap" in capsys.readouterr().err


def test_a_child_ends_with_its_context(tmp_path, drive):
    with child("player", ["play", str(drive)], tmp_path / "log") as player:
        assert player.running
    assert not player.running


def diagnostics(processed, dropped):
    counters, latencies = SetCounters(), StageLatencies()
    counters.sets_in, counters.sets_processed = processed + sum(dropped.values()), processed
    counters.drops.update(dropped)
    for total in range(processed):
        latencies.add(dict.fromkeys(STAGES, 1.0), 10.0 + total)
    return encode_diagnostics([sets_entry(counters, 0.0), latency_entry(latencies)], 1)


def test_the_nodes_last_report_counts():
    report = NodeReport()
    assert not report.settled
    report.take(diagnostics(0, {}), received=1)
    report.take(diagnostics(3, {"superseded": 2, "no_transform": 1}), received=2)
    report.take(encode_diagnostics([("somebody else", 0, "", {"drops.x": "9"})], 1), received=3)
    assert (report.stamp, report.sets_in, report.sets_processed) == (2, 6, 3)
    assert report.drops == {"superseded": 2, "no_transform": 1}
    assert report.latency_ms == {"p50": 11.0, "p99": pytest.approx(11.98)}
    assert report.settled


def test_sets_that_never_reached_the_node_are_counted():
    report = NodeReport()
    report.take(diagnostics(3, {"superseded": 2}), received=1)
    summary = summarize(report, evaluate([]), sets_sent=7)
    assert summary["sets_in"] == 7
    assert summary["drops"] == {"superseded": 2, "not_received": 2}


def test_domains_in_use_are_left_alone(monkeypatch):
    assert 1 <= free_domain() <= 101
    monkeypatch.setattr(live_run, "_LAST_DOMAIN", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
        with suppress(OSError):  # if somebody else is there: as good
            somebody.bind(("127.0.0.1", 7400 + 250 + 10))
        with pytest.raises(Semlt3dError, match="in use"):
            free_domain()


def test_an_earlier_demo_outlives_an_interrupted_one(checkpoint, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    out = tmp_path / "demo"
    out.mkdir()
    for earlier in ("drive.mcap", "detections.mcap", "summary.json"):
        (out / earlier).write_text("earlier")
    monkeypatch.setattr(live_run, "record_live_run", interrupted)
    words = ["demo", "--no-view", "--frames", "1", "--out", str(out), "--checkpoint", str(checkpoint)]
    assert main(words) == 130
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(
        ("drive.mcap", "detections.mcap", "summary.json"), "earlier"
    )
    assert (tmp_path / "demo.unfinished" / "drive.mcap").exists()
