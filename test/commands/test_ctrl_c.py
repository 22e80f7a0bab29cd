"""Ctrl-C in a terminal: SIGINT to the whole process group of a command, which ends in order and without a word."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.commands.live_run import free_domain
from semlt3d_ros.core.outputs import unfinished
from semlt3d_ros.messages import topics

LIMIT_S = 120
INTERRUPTED = (130, -signal.SIGINT)
"""Shells see 130 in both. Python itself ends by the signal where it met a class in the making, which runs as text."""
ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """A command in a process group of its own."""

    def __init__(self, words, log, folder):
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "semlt3d_ros.cli", *map(str, words)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            )

    @property
    def text(self):
        return self.log.read_text(errors="replace")

    def group(self):
        """Numbers of the processes of the command that run."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue  # it has just ended
            if int(group) == self.process.pid and state != "Z":
                found.append(int(stat.parent.name))
        return found

    def wait_for(self, condition):
        end = time.monotonic() + LIMIT_S
        while not condition():
            assert self.process.poll() is None, self.text
            assert time.monotonic() < end, self.text
            time.sleep(0.05)

    def ctrl_c(self):
        """The exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(LIMIT_S)


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    """``terminal(words...)``: starts commands in a ROS domain of their own, and ends what is left of them."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(free_domain()))
    monkeypatch.delenv("CYCLONEDDS_URI", raising=False)
    started = []

    def start(*words, folder=None):
        started.append(Terminal(words, tmp_path / f"log{len(started)}.txt", folder))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            os.killpg(each.process.pid, signal.SIGKILL)
            each.process.wait()


@pytest.fixture(scope="session")
def long_drive(drive, tmp_path_factory):
    """The drive over and over: minutes of work."""
    path = tmp_path_factory.mktemp("long") / "long.mcap"
    with BagSource(drive) as source, BagSink(path) as sink:
        entries, span = list(source.messages()), source.end - source.start + 10**8
        for lap in range(150):
            for entry in entries:
                message = entry.message()
                for header in [item.header for item in getattr(message, "transforms", [message])]:
                    total = header.stamp.sec * 10**9 + header.stamp.nanosec + lap * span
                    header.stamp.sec, header.stamp.nanosec = divmod(total, 10**9)
                sink.write(entry.topic, entry.type_name, message, entry.stamp + lap * span)
    return path


def clean(text):
    return not any(word in text for word in ("Traceback", "Error", "ERROR", "error:"))


def test_view_of_bags_ends_and_takes_its_server_along(terminal, drive):
    view = terminal("view", drive)
    view.wait_for(lambda: "Ctrl-C ends the viewer" in view.text)
    page = view.text.split("viewer: ")[1].split("?")[0]
    assert view.ctrl_c() in (0, *INTERRUPTED)
    assert clean(view.text), view.text
    import urllib.request

    with pytest.raises(OSError):
        urllib.request.urlopen(page, timeout=5)


def test_live_view_shows_what_was_received_without_a_detector(terminal, drive, tmp_path):
    view = terminal("view", "--save", tmp_path / "live.rrd")
    view.wait_for(lambda: "viewer: " in view.text)
    play = terminal("play", drive, "--rate", "0.3")
    assert play.process.wait(LIMIT_S) == 0
    time.sleep(1.0)
    assert view.ctrl_c() in (0, *INTERRUPTED)
    assert "\n4 frames" in view.text and clean(view.text), view.text
    assert (tmp_path / "live.rrd").stat().st_size > 10_000


def test_live_view_of_nothing_ends_and_says_so(terminal, tmp_path):
    view = terminal("view", "--save", tmp_path / "live.rrd")
    view.wait_for(lambda: "viewer: " in view.text)
    assert view.ctrl_c() in (0, *INTERRUPTED)
    assert "0 frames" in view.text and "nothing was received on" in view.text and clean(view.text), view.text


def test_detect_ends(terminal, long_drive, checkpoint, tmp_path):
    detect = terminal("detect", long_drive, "-o", tmp_path / "made" / "out.mcap", "--checkpoint", checkpoint)
    detect.wait_for(lambda: any((tmp_path / "made").glob("*")))
    time.sleep(1)
    assert detect.ctrl_c() in (0, *INTERRUPTED), detect.text
    assert clean(detect.text), detect.text


def test_evaluate_ends(terminal, long_drive, tmp_path):
    found = tmp_path / "found.mcap"
    with BagSource(long_drive) as source, BagSink(found) as sink:
        for entry in source.messages(topics=[topics.TRUTH_LONG_TAIL]):
            sink.write(topics.LONG_TAIL, entry.type_name, entry.data, entry.stamp)
    evaluate = terminal("evaluate", found, "--truth", long_drive)
    time.sleep(1.5)
    # A quick machine is done by then, and its figures speak of errors.
    assert evaluate.ctrl_c() == 0 or clean(evaluate.text), evaluate.text
    assert evaluate.process.returncode in (0, *INTERRUPTED) and "Traceback" not in evaluate.text


def test_play_ends(terminal, drive):
    play = terminal("play", drive, "--loop", "--rate", "0.5")
    play.wait_for(lambda: len(play.group()) > 0)
    time.sleep(2)
    assert play.ctrl_c() in (0, *INTERRUPTED)
    assert clean(play.text), play.text


def test_simulate_ends(terminal, tmp_path):
    out = tmp_path / "made" / "drive.mcap"
    simulate = terminal("simulate", out, "--frames", "400", "--size", "112x64")
    simulate.wait_for(lambda: any((tmp_path / "made").glob("*")))
    time.sleep(1)
    assert simulate.ctrl_c() in INTERRUPTED
    assert simulate.text == f"{out} is not finished; what was written so far is in {unfinished(out)}\n"


def test_train_ends_with_what_it_renders(terminal, tmp_path):
    train = terminal("train", ROOT / "config" / "recipes" / "demo_single.yaml", folder=tmp_path)
    train.wait_for(lambda: len(train.group()) >= 3)  # itself, the renderer, and multiprocessing's tracker
    time.sleep(3)
    assert train.ctrl_c() in INTERRUPTED and train.text == ""
    end = time.monotonic() + LIMIT_S
    while train.group():
        assert time.monotonic() < end
        time.sleep(0.05)
