from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from semlt3d_ros.bags.message import BagMessage
from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.outputs import unfinished
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import StampedTransform, decode_point_cloud
from semlt3d_ros.messages.encode import encode_point_cloud, encode_transforms
from semlt3d_ros.messages.typestore import serialize, type_store

SECOND = 1_000_000_000
KINDS = [("one.mcap", "mcap"), ("folder", "mcap"), ("database", "sqlite3")]


def content(count: int = 60, points: int = 400) -> list[BagMessage]:
    """A cloud and a transform every tenth of a second, in the order of their log times."""
    rng = np.random.default_rng(0)
    entries = []
    for index in range(count):
        stamp = 5 * SECOND + index * SECOND // 10
        cloud = encode_point_cloud(PointCloud(rng.normal(size=(points, 3)).astype(np.float32)), stamp, "lidar")
        pose = encode_transforms([StampedTransform("odom", "base_link", stamp, np.eye(4))])
        entries.append(
            BagMessage(topics.POINTS, topics.POINT_CLOUD_TYPE, stamp, serialize(cloud, topics.POINT_CLOUD_TYPE))
        )
        entries.append(BagMessage(topics.TF, topics.TF_TYPE, stamp + 1000, serialize(pose, topics.TF_TYPE)))
    return entries


def write(
    path: Path, entries: list[BagMessage], storage: Any = "mcap", compress: bool = True, overwrite: bool = False
) -> Path:
    with BagSink(path, storage, compress, overwrite) as sink:
        for entry in entries:
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
    return path


def listed(messages: Iterator[BagMessage]) -> list[BagMessage]:
    return [message._replace(data=bytes(message.data)) for message in messages]


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(("name", "storage"), KINDS)
def test_bags_round_trip(tmp_path: Path, name: str, storage: str, compress: bool) -> None:
    entries = content()
    with BagSource(write(tmp_path / name, entries, storage, compress)) as bag:
        assert bag.topics == {topics.POINTS: topics.POINT_CLOUD_TYPE, topics.TF: topics.TF_TYPE}
        assert (bag.start, bag.end) == (entries[0].stamp, entries[-1].stamp)
        assert listed(bag.messages()) == entries
        assert listed(bag.messages()) == entries, "a bag can be read twice"
        assert not bag.truncated
        cloud = decode_point_cloud(next(bag.messages([topics.POINTS])).message())
        assert cloud.xyz.shape == (400, 3)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(("name", "storage"), KINDS)
def test_rosbags_reads_what_is_written(tmp_path: Path, name: str, storage: str, compress: bool) -> None:
    entries = content(20)
    path = write(tmp_path / name, entries, storage, compress)
    with AnyReader([path]) as reader:
        found = [(c.topic, c.msgtype, stamp, bytes(data)) for c, stamp, data in reader.messages()]
        connection, _, data = next(reader.messages())
        assert reader.deserialize(data, connection.msgtype).width == 400  # by the definition in the bag
        assert {c.topic: c.msgcount for c in reader.connections} == {topics.POINTS: 20, topics.TF: 20}
    assert found == [tuple(entry) for entry in entries]


@pytest.mark.parametrize(
    ("storage", "mode"),
    [
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
    ],
)
def test_what_rosbags_writes_is_read(tmp_path: Path, storage: StoragePlugin, mode: CompressionMode) -> None:
    entries = content(20)
    writer = Writer(tmp_path / "bag", version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        types = {entry.topic: entry.type_name for entry in entries}
        connections = {
            topic: writer.add_connection(topic, name, typestore=type_store()) for topic, name in types.items()
        }
        for entry in entries:
            writer.write(connections[entry.topic], entry.stamp, entry.data)
    with BagSource(tmp_path / "bag") as bag:
        assert listed(bag.messages()) == entries
        assert (bag.topics, bag.truncated) == (types, False)


@pytest.mark.parametrize(("name", "storage"), KINDS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_random_access_gives_what_filtering_gives(
    tmp_path_factory: pytest.TempPathFactory, name: str, storage: str, data: st.DataObject
) -> None:
    stamps = data.draw(st.lists(st.integers(0, 30), max_size=30))
    pick = data.draw(st.lists(st.booleans(), min_size=len(stamps), max_size=len(stamps)))
    entries = [
        BagMessage("/a" if first else "/b", topics.TF_TYPE, stamp, bytes([0, 1, 0, 0, index]))
        for index, (stamp, first) in enumerate(zip(stamps, pick, strict=True))
    ]
    path = tmp_path_factory.mktemp("bags") / name
    with BagSink(path, storage) as sink:
        for index, entry in enumerate(entries):
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
            if index % 7 == 6:
                sink.flush()  # several chunks, which overlap in time
    start, stop = (data.draw(st.none() | st.integers(-2, 32)) for _ in range(2))
    wanted = data.draw(st.sampled_from([None, ["/a"], ["/b"], ["/a", "/b"], [], ["/c"]]))
    expected = [
        entry
        for entry in sorted(entries, key=lambda entry: entry.stamp)
        if (wanted is None or entry.topic in wanted)
        and (start is None or entry.stamp >= start)
        and (stop is None or entry.stamp < stop)
    ]
    with BagSource(path) as bag:
        assert listed(bag.messages(wanted, start, stop)) == expected


def test_random_access_reads_only_the_chunks_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "bag.mcap"
    entries = content(40)
    with BagSink(path) as sink:
        for entry in entries:
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
            sink.flush()
    raw = bytearray(path.read_bytes())
    position = raw.index(b"\x28\xb5\x2f\xfd")
    raw[position + 8 : position + 40] = bytes(32)  # the first chunk can no longer be read
    path.write_bytes(raw)
    with BagSource(path) as bag:
        assert listed(bag.messages(start=7 * SECOND)) == [entry for entry in entries if entry.stamp >= 7 * SECOND]
        assert not bag.truncated
        assert len(listed(bag.messages())) == len(entries) - 1
        assert bag.truncated


def test_a_folder_of_several_files_is_one_bag(tmp_path: Path) -> None:
    entries = content(30)
    write(tmp_path / "bag", entries[:20])
    write(tmp_path / "more.mcap", entries[20:]).rename(tmp_path / "bag" / "bag_1.mcap")
    with BagSource(tmp_path / "bag") as bag:  # its metadata lists the first file only
        assert listed(bag.messages()) == entries


@pytest.mark.parametrize(("name", "storage"), KINDS[1:])
def test_folders_without_metadata_are_bags(tmp_path: Path, name: str, storage: str) -> None:
    entries = content(10)
    path = write(tmp_path / name, entries, storage)
    for text in ("", "rosbag2_bagfile_information: [", "\x00"):
        (path / "metadata.yaml").write_text(text)
        with BagSource(path) as bag:
            assert listed(bag.messages()) == entries
    (path / "metadata.yaml").unlink()
    with BagSource(path) as bag:
        assert listed(bag.messages()) == entries
    (file,) = path.iterdir()
    with BagSource(file) as bag:
        assert listed(bag.messages()) == entries


@pytest.mark.parametrize(("name", "storage"), KINDS)
def test_empty_bags_are_bags(tmp_path: Path, name: str, storage: str) -> None:
    with BagSource(write(tmp_path / name, [], storage)) as bag:
        assert (bag.topics, bag.start, bag.end, bag.truncated) == ({}, 0, 0, False)
        assert list(bag.messages()) == []


@pytest.mark.parametrize(("name", "storage"), KINDS)
def test_a_bag_is_not_overwritten_unasked(tmp_path: Path, name: str, storage: str) -> None:
    path = write(tmp_path / name, content(3), storage)
    with pytest.raises(ConfigurationError, match="already"):
        BagSink(path, storage)
    with BagSource(path) as bag:
        assert len(list(bag.messages())) == 6
    if path.is_dir():
        (path / "notes.txt").write_text("mine")
    with BagSink(path, storage, overwrite=True) as sink:
        sink.write("/x", topics.TF_TYPE, content(1)[1].data, 1)
    with BagSource(path) as bag:
        assert [message.topic for message in bag.messages()] == ["/x"]
    assert not path.is_dir() or (path / "notes.txt").read_text() == "mine"


def test_mistakes_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mcap").write_text("this is not a bag")
    (tmp_path / "text.db3").write_text("this is not a bag" * 100)
    (tmp_path / "void.mcap").write_bytes(b"")
    (tmp_path / "text.bag").write_text("ROS 1")
    for name in ("nowhere", "empty", "text.mcap", "text.db3", "void.mcap", "text.bag", "nowhere.db3"):
        with pytest.raises(ConfigurationError, match=name):
            BagSource(tmp_path / name)
    for path, storage in (("x.db3", "sqlite3"), ("x.mcap", "sqlite3"), ("x", "csv"), ("text.bag/x", "mcap")):
        with pytest.raises(ConfigurationError):
            BagSink(tmp_path / path, storage)  # type: ignore[arg-type]
    with BagSink(tmp_path / "types") as sink:
        sink.write("/tf", topics.TF_TYPE, content(1)[1].data, 1)
        with pytest.raises(ConfigurationError, match="carries tf2_msgs/msg/TFMessage"):
            sink.write("/tf", topics.MARKER_TYPE, b"", 2)
        with pytest.raises(ConfigurationError, match="'a/msg/B' is not known"):
            sink.write("/b", "a/msg/B", b"", 2)
    with BagSource(tmp_path / "types") as bag:
        assert len(list(bag.messages())) == 1
    with pytest.raises(ValueError, match="closed"):
        sink.write("/tf", topics.TF_TYPE, content(1)[1].data, 3)
    sink.close()


WRITER = """
import sys, time
from pathlib import Path
from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
with BagSource(sys.argv[1]) as source:
    sink = BagSink(sys.argv[2], sys.argv[3])
    for message in source.messages():
        sink.write(message.topic, message.type_name, message.data, message.stamp)
    sink.flush()
    for number in range(7):
        sink.write("/late", message.type_name, message.data, message.stamp + number)
print("written", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("name", "storage"), KINDS)
def test_a_killed_writer_loses_nothing_that_was_flushed(tmp_path: Path, name: str, storage: str) -> None:
    entries = content(30)
    write(tmp_path / "input.mcap", entries)
    command = [sys.executable, "-c", WRITER, str(tmp_path / "input.mcap"), str(tmp_path / name), storage]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        assert process.stdout is not None and process.stdout.readline() == b"written\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    assert not (tmp_path / name).exists()
    with BagSource(unfinished(tmp_path / name, folder=name != "one.mcap")) as bag:
        assert listed(bag.messages())[: len(entries)] == entries
        assert bag.topics.items() >= {topics.POINTS: topics.POINT_CLOUD_TYPE, topics.TF: topics.TF_TYPE}.items()
        assert listed(bag.messages([topics.TF], start=entries[-1].stamp))[:1] == entries[-1:]


def count(path: Path) -> int:
    with BagSource(path) as bag:
        assert not bag.truncated
        return len(list(bag.messages()))


@pytest.mark.parametrize(("name", "storage"), KINDS)
def test_an_earlier_bag_can_be_read_until_the_next_is_whole(tmp_path: Path, name: str, storage: Any) -> None:
    path = write(tmp_path / name, content(5), storage)
    with BagSink(path, storage, overwrite=True) as sink:
        for entry in content(2):
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
        sink.flush()
        assert count(path) == 10
    assert count(path) == 4
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize(("name", "storage"), KINDS)
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_run_that_fails_leaves_the_earlier_bag_and_a_readable_unfinished_one(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    storage: Any,
    failure: type[BaseException],
    earlier: bool,
) -> None:
    path = tmp_path / name
    if earlier:
        write(path, content(5), storage)
    with pytest.raises(failure), BagSink(path, storage, overwrite=True) as sink:
        for entry in content(2):
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
        raise failure
    assert count(path) == 10 if earlier else not path.exists()
    assert count(sink.draft) == 4
    (said,) = caplog.messages
    assert said == f"{path} is not finished; what was written so far is in {sink.draft}"
    write(path, content(3), storage, overwrite=True)
    assert count(path) == 6
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("name", "storage"), KINDS)
def test_of_a_run_that_wrote_nothing_nothing_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, storage: Any
) -> None:
    with pytest.raises(RuntimeError), BagSink(tmp_path / name, storage):
        raise RuntimeError
    assert (list(tmp_path.iterdir()), caplog.messages) == ([], [])


def test_all_files_of_an_earlier_bag_go_and_all_others_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "bag", content(5))
    write(tmp_path / "more.mcap", content(5)).rename(path / "bag_1.mcap")
    (path / "notes.txt").write_text("mine")
    for storage in ("sqlite3", "mcap"):
        write(path, content(2), storage, overwrite=True)
        suffix = {"mcap": "mcap", "sqlite3": "db3"}[storage]
        assert sorted(each.name for each in path.iterdir()) == [f"bag_0.{suffix}", "metadata.yaml", "notes.txt"]
        assert count(path) == 4


def test_a_bag_that_two_write_is_refused_to_the_second(tmp_path: Path) -> None:
    with BagSink(tmp_path / "bag.mcap") as sink:
        with pytest.raises(ConfigurationError, match="being written by another process"):
            BagSink(tmp_path / "bag.mcap", overwrite=True)
        (tmp_path / "bag.mcap").write_text("somebody was faster")
        sink.write("/x", topics.TF_TYPE, content(1)[1].data, 1)
        with pytest.raises(ConfigurationError, match="already"):
            sink.close()
    assert (tmp_path / "bag.mcap").read_text() == "somebody was faster"
    assert count(sink.draft) == 1


@pytest.mark.parametrize("strange", ["monday.mcap", "monday_0.db3", "bag_0 (1).mcap", "old.mcap.zstd"])
@pytest.mark.parametrize("with_bag", [False, True])
def test_recordings_of_other_bags_are_never_replaced(tmp_path: Path, strange: str, with_bag: bool) -> None:
    folder = tmp_path / "bag"
    folder.mkdir()
    if with_bag:
        write(folder, content(3))
    (folder / strange).write_bytes(b"precious")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ConfigurationError, match="no part of one bag, such as"):
        write(folder, content(2), overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


def test_a_bag_is_replaced_though_its_folder_was_renamed(tmp_path: Path) -> None:
    path = write(tmp_path / "bag", content(5)).rename(tmp_path / "renamed")
    write(tmp_path / "more.mcap", content(5)).rename(path / "bag_1.mcap")  # a killed recorder did not list it
    write(path, content(2), overwrite=True)
    assert sorted(each.name for each in path.iterdir()) == ["metadata.yaml", "renamed_0.mcap"]
    assert count(path) == 4


def test_the_current_folder_can_be_a_bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(Path(), content(2))
    assert sorted(os.listdir()) == ["here_0.mcap", "metadata.yaml"]


def test_a_pipe_is_no_bag(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mcap")
    with pytest.raises(ConfigurationError, match=r"pipe.mcap is not a bag: it is no plain file"):
        BagSource(tmp_path / "pipe.mcap")
