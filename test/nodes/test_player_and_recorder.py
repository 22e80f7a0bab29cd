"""Playing and recording over DDS, between processes where that matters."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import unfinished
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import stamp_of
from semlt3d_ros.messages.typestore import message_class, serialize
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.middleware.port import QoS
from semlt3d_ros.nodes import player
from semlt3d_ros.nodes.bag_recorder import run_recorder
from semlt3d_ros.nodes.player import CLOCK, CLOCK_TYPE, Player, PlayerOptions

Join = Callable[..., DdsMiddleware]
FAST = PlayerOptions(rate=1000, wait_for_subscribers_s=60)
RECORD = """
import sys
from pathlib import Path
from semlt3d_ros.nodes.bag_recorder import run_recorder
topics = dict(pair.split("=") for pair in sys.argv[3:])
sys.exit(run_recorder(Path(sys.argv[1]), topics, int(sys.argv[2])))
"""


def contents(bag: Path) -> dict[str, list[bytes]]:
    """CDR bytes by topic, without DDS' padding."""
    found: dict[str, list[bytes]] = {}
    with BagSource(bag) as source:
        for message in source.messages():
            found.setdefault(message.topic, []).append(bytes(message.data))
    return found


def wait_for(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_played_is_recorded_in_another_process(
    domain: int, recording: Any, tmp_path: Path, ending: signal.Signals
) -> None:
    own_domain = domain + 100  # the others take a killed process for alive for a while
    bag = recording.of_sets(tmp_path / "drive.mcap", 10)
    out = tmp_path / "recorded.mcap"
    with BagSource(bag) as source:
        pairs = [f"{topic}={kind}" for topic, kind in source.topics.items()]
    process = subprocess.Popen([sys.executable, "-c", RECORD, str(out), str(own_domain), *pairs])
    middleware = DdsMiddleware("test", own_domain)
    try:
        summary = Player(middleware, bag, FAST).play()
        played = contents(bag)
        total = sum(map(len, played.values()))
        wait_for(lambda: sum(map(len, contents(unfinished(out)).values())) == total)
        assert not out.exists()
        process.send_signal(ending)
        assert process.wait(60) == (0 if ending == signal.SIGTERM else -signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        middleware.shutdown()
    assert (summary.loops, summary.rejected, summary.skipped_topics) == (1, 0, ())
    out = out if ending == signal.SIGTERM else unfinished(out)
    assert [path.name for path in tmp_path.glob("recorded*")] == [out.name]
    recorded = contents(out)
    assert recorded.keys() == played.keys()
    for topic, messages in played.items():
        assert summary.sent[topic] == len(messages)
        assert all(after.startswith(before) for after, before in zip(recorded[topic], messages, strict=True))
    with BagSource(out) as source:
        assert sum(1 for _ in source.messages()) == total
        assert source.truncated == (ending == signal.SIGKILL)


def test_recorder_refuses_to_overwrite(domain: int, tmp_path: Path) -> None:
    out = tmp_path / "there.mcap"
    out.write_bytes(b"precious")
    with pytest.raises(ConfigurationError, match=re.escape(str(out))):
        run_recorder(out, {"/tf": topics.TF_TYPE}, domain)
    assert out.read_bytes() == b"precious"


def listen(middleware: DdsMiddleware, bag: Path) -> list[tuple[str, Any]]:
    """Collects what is played, in order."""
    heard: list[tuple[str, Any]] = []
    with BagSource(bag) as source:
        for topic, kind in {**source.topics, CLOCK: CLOCK_TYPE}.items():
            middleware.create_subscription(
                topic, kind, lambda message, _, topic=topic: heard.append((topic, message)), QoS(depth=500)
            )
    return heard


def test_clock_runs_ahead_of_the_messages(join: Join, recording: Any, tmp_path: Path) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", 5)
    middleware = join()
    heard = listen(middleware, bag)
    summary = Player(middleware, bag, FAST).play()
    total = sum(summary.sent.values())
    assert middleware.spin(lambda: sum(topic != CLOCK for topic, _ in heard) == total, 60)
    clock = 0
    for topic, message in heard:
        if topic == CLOCK:
            clock = message.clock.sec * 1_000_000_000 + message.clock.nanosec
        elif topic == topics.camera_image_topic("CAM_FRONT"):
            assert stamp_of(message) == clock
    assert clock == recording.stamp_of_set(4)


def test_rate_stretches_time(join: Join, recording: Any, tmp_path: Path) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", 3)
    middleware = join()
    listen(middleware, bag)
    summary = Player(middleware, bag, PlayerOptions(rate=0.5, wait_for_subscribers_s=60)).play()
    assert summary.duration_s >= 0.2 / 0.5


def test_loop_starts_again_until_stopped(join: Join, recording: Any, tmp_path: Path) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", 2)
    middleware = join()
    heard = listen(middleware, bag)
    middleware.create_timer(0.05, lambda: middleware.stop() if len(heard) > 60 else None)
    summary = Player(middleware, bag, PlayerOptions(rate=5, loop=True, wait_for_subscribers_s=60)).play()
    assert summary.loops >= 3
    assert summary.sent[topics.TF_STATIC] in (summary.loops, summary.loops + 1)


def test_only_the_topics_asked_for_are_played(join: Join, recording: Any, tmp_path: Path) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", 2)
    options = PlayerOptions(rate=1000, topics=[topics.TF], wait_for_subscribers_s=0.1)
    assert Player(join(), bag, options).play().sent == {topics.TF: 2}
    with pytest.raises(ConfigurationError, match="has no topic /nothing; it has "):
        Player(join(), bag, PlayerOptions(topics=["/nothing"]))


def test_a_player_that_waits_for_listeners_says_so(
    join: Join, recording: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bag = recording.of_sets(tmp_path / "drive.mcap", 1)
    monkeypatch.setattr(player, "_SILENT_WAIT_S", 0.1)
    with caplog.at_level("INFO"):
        Player(join(), bag, PlayerOptions(rate=1000, wait_for_subscribers_s=0.3)).play()
    assert caplog.messages[:2] == [
        "nobody listens yet; waiting up to 0.2 s",
        "nobody listens to the recording's topics; playing anyway",
    ]


def test_rates_that_make_no_sense() -> None:
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigurationError, match="rate"):
            PlayerOptions(rate=rate)


def test_damaged_messages_and_broken_off_recordings_are_played_as_far_as_they_go(
    join: Join, recording: Any, tmp_path: Path
) -> None:
    bag = tmp_path / "drive.mcap"
    with BagSink(bag, compress=False) as sink:
        for index in range(40):
            for topic, kind, message, stamp in recording.set_messages(index):
                sink.write(topic, kind, message, stamp)
            sink.write("/broken", "std_msgs/msg/String", b"\x00\x01\x00\x00\xff\xff\xff\x7f", stamp)
            sink.flush()
    bag.write_bytes(bag.read_bytes()[: bag.stat().st_size // 2])
    options = PlayerOptions(rate=1000, wait_for_subscribers_s=0.1)
    summary = Player(join(), bag, options).play()
    assert summary.truncated
    assert 5 < summary.rejected < 40
    assert abs(summary.sent[topics.TF] - summary.rejected) <= 1
    (fault,) = summary.faults
    assert (fault.place, fault.reason, fault.count) == ("/broken", "corrupt_message", summary.rejected)
    assert [fault.place for fault in summary.incomplete] == [str(bag)]


def test_a_topic_of_two_types_is_played_with_both(join: Join, tmp_path: Path) -> None:
    """A camera that was restarted with another transport, in the middle of the recording."""
    database = tmp_path / "two.db3"
    kinds = {1: "std_msgs/msg/String", 2: "std_msgs/msg/Int32", 3: "alien_msgs/msg/Hello"}
    contents = {1: {"data": "hello"}, 2: {"data": 7}}
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executescript(FOREIGN_SCHEMA)
        for number, kind in kinds.items():
            connection.execute("INSERT INTO topics VALUES (?, '/t', ?, 'cdr', '')", (number, kind))
        for index in range(6):
            number = 1 + index // 3
            data = serialize(message_class(kinds[number])(**contents[number]), kinds[number])
            connection.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", (index, number, 10**9 + index, data))
        connection.execute("INSERT INTO messages VALUES (9, 3, 2000000000, ?)", (b"\x00\x01\x00\x00",))
    heard: list[Any] = []
    listeners = [join(f"listener{number}") for number in (1, 2)]
    for listener, kind in zip(listeners, kinds.values(), strict=False):
        listener.create_subscription("/t", kind, lambda message, _: heard.append(message.data), QoS(depth=20))
    summary = Player(join(), database, PlayerOptions(rate=1000, topics=["/t"])).play()
    for listener in listeners:
        listener.spin(lambda: len(heard) == 6, 10)
    assert sorted(map(str, heard)) == ["7"] * 3 + ["hello"] * 3
    assert (summary.sent, summary.rejected, summary.skipped_topics) == ({"/t": 6}, 0, ("/t",))


FOREIGN_SCHEMA = (
    "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, "
    "serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);"
    "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL, "
    "data BLOB NOT NULL);"
)


def test_topics_of_unknown_types_are_left_out(join: Join, tmp_path: Path) -> None:
    database = tmp_path / "foreign.db3"
    write_foreign_bag(database)
    options = PlayerOptions(rate=1000, wait_for_subscribers_s=0.1)
    summary = Player(join(), database, options).play()
    assert summary.skipped_topics == ("/foreign",)
    assert summary.sent == {"/text": 1}
    (fault,) = summary.faults
    assert fault.place == "/foreign" and "alien_msgs/msg/Hello" in fault.line


def write_foreign_bag(path: Path) -> None:
    """A sqlite3 bag without metadata, one of whose types is nobody's."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(FOREIGN_SCHEMA)
        text = serialize(message_class("std_msgs/msg/String")(data="hello"), "std_msgs/msg/String")
        for number, (name, kind) in enumerate((("/text", "std_msgs/msg/String"), ("/foreign", "alien_msgs/msg/Hello"))):
            connection.execute("INSERT INTO topics VALUES (?, ?, ?, 'cdr', '')", (number, name, kind))
            connection.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", (number, number, 10**9 + number, text))
