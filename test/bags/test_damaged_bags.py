"""Bags that were cut off, overwritten in part, or ran into a full disk."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.bags import mcap_format as fmt
from semlt3d_ros.bags.message import BagMessage
from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages import topics

COUNT = 60


def entry(index: int) -> BagMessage:
    return BagMessage("/t", topics.TF_TYPE, index, bytes([0, 1, 0, 0]) + index.to_bytes(4, "little") * 200)


def read(path: Path) -> tuple[list[int], bool]:
    """Stamps of the whole messages in a bag, each checked against what was written, and whether it is truncated."""
    with BagSource(path) as bag:
        found = list(bag.messages())
        for message in found:
            assert message._replace(data=bytes(message.data)) == entry(message.stamp)
        return [message.stamp for message in found], bag.truncated


def mcap(path: Path, compress: bool = True) -> bytes:
    with BagSink(path, compress=compress) as sink:
        for index in range(COUNT):
            message = entry(index)
            sink.write(message.topic, message.type_name, message.data, message.stamp)
            if index % 10 == 9:
                sink.flush()
    return path.read_bytes()


@pytest.mark.parametrize("compress", [True, False])
def test_a_truncated_mcap_yields_what_is_readable(tmp_path: Path, compress: bool) -> None:
    whole = mcap(tmp_path / "whole.mcap", compress)
    assert read(tmp_path / "whole.mcap") == (list(range(COUNT)), False)
    path = tmp_path / "cut.mcap"
    counts = []
    for share in range(1, 100, 3):
        path.write_bytes(whole[: len(whole) * share // 100])
        stamps, truncated = read(path)
        assert truncated or len(stamps) == COUNT
        assert stamps == list(range(len(stamps))), "what is there is there from the beginning"
        counts.append(len(stamps))
    assert counts == sorted(counts) and counts[-1] == COUNT
    if not compress:  # within the last chunk too
        assert any(count % 10 for count in counts)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_an_mcap_with_wrong_bytes_yields_right_messages_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "bag.mcap"
    damaged = bytearray(mcap(path))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    try:
        with BagSource(path) as bag:
            for message in bag.messages():
                assert len(message.data) <= len(damaged) * 100
    except ConfigurationError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("size", [8, 9, 20, 37, 40])
def test_the_stump_of_an_mcap_is_an_empty_bag(tmp_path: Path, size: int) -> None:
    whole = mcap(tmp_path / "bag.mcap")
    (tmp_path / "bag.mcap").write_bytes(whole[:size])
    assert read(tmp_path / "bag.mcap") == ([], True)


@pytest.mark.parametrize("value", [2**40, 2**63, 2**64 - 1])
def test_forged_offsets_and_lengths_are_survived(tmp_path: Path, value: int) -> None:
    whole = mcap(tmp_path / "bag.mcap")
    place = struct.unpack_from("<Q", whole, len(whole) - len(fmt.MAGIC) - 20)[0]
    while whole[place] != fmt.CHUNK_INDEX:
        place += fmt.RECORD_HEAD.size + fmt.RECORD_HEAD.unpack_from(whole, place)[1]
    for field in (16, 24):  # where the first chunk lies, and how long it is
        forged = bytearray(whole)
        struct.pack_into("<Q", forged, place + fmt.RECORD_HEAD.size + field, value)
        (tmp_path / "bag.mcap").write_bytes(forged)
        stamps, _ = read(tmp_path / "bag.mcap")
        assert stamps[-50:] == list(range(10, COUNT))


def test_zeros_after_a_power_loss_end_the_bag(tmp_path: Path) -> None:
    whole = mcap(tmp_path / "bag.mcap")
    cut = whole.rindex(b"\x28\xb5\x2f\xfd") - 60
    (tmp_path / "bag.mcap").write_bytes(whole[:cut] + bytes(5000))
    stamps, truncated = read(tmp_path / "bag.mcap")
    assert stamps == list(range(50)) and truncated


def test_messages_outside_chunks_are_read(tmp_path: Path) -> None:
    # As ros2 bag's storage preset "fastwrite" leaves them: no chunks, no index that leads to messages.
    path = tmp_path / "bag.mcap"
    channel = fmt.Channel(1, 1, "/t", "cdr", {"offered_qos_profiles": ""})
    parts = [fmt.MAGIC, fmt.pack_record(fmt.HEADER, fmt.pack_text("ros2"), fmt.pack_text("test"))]
    parts += [fmt.pack_schema(fmt.Schema(1, topics.TF_TYPE, "ros2msg", b"")), fmt.pack_channel(channel)]
    for index in reversed(range(COUNT)):
        parts.append(fmt.pack_record(fmt.MESSAGE, fmt.MESSAGE_HEAD.pack(1, 0, index, index), entry(index).data))
    end = [fmt.pack_record(fmt.DATA_END, bytes(4)), fmt.pack_record(fmt.FOOTER, bytes(20)), fmt.MAGIC]
    path.write_bytes(b"".join(parts + end))
    assert read(path) == (list(range(COUNT)), False)
    path.write_bytes(b"".join(parts)[:-1])
    assert read(path) == (list(range(1, COUNT)), True)


def test_chunks_without_a_message_index_are_read(tmp_path: Path) -> None:
    whole = mcap(tmp_path / "bag.mcap")
    summary = struct.unpack_from("<Q", whole, len(whole) - len(fmt.MAGIC) - 20)[0]
    parts = [whole[:summary]]
    for code, body in fmt.iterate_records(memoryview(whole)[summary : -len(fmt.MAGIC) - fmt.FOOTER_SIZE]):
        if code == fmt.CHUNK_INDEX:  # start, end, offset, length, then the offsets of the message indexes: none
            body = memoryview(bytes(body[:32]) + bytes(4) + bytes(8) + bytes(body[54:]))
        parts.append(fmt.pack_record(code, body))
    path = tmp_path / "other.mcap"
    path.write_bytes(b"".join(parts) + whole[-len(fmt.MAGIC) - fmt.FOOTER_SIZE :])
    assert read(path) == (list(range(COUNT)), False)
    with BagSource(path) as bag:
        assert [message.stamp for message in bag.messages(["/t"], 7, 9)] == [7, 8]


def test_unknown_records_and_encodings_are_passed_over(tmp_path: Path) -> None:
    whole = mcap(tmp_path / "bag.mcap")
    first_chunk = whole.index(struct.pack("<B", fmt.CHUNK), len(fmt.MAGIC) + 9 + 19)
    json_channel = fmt.pack_channel(fmt.Channel(9, 0, "/json", "json", {}))
    extra = json_channel + fmt.pack_record(0x90, b"private") + fmt.pack_record(0x7F, b"future")
    # Without the summary, whose offsets no longer fit.
    cut = whole.rindex(fmt.pack_record(fmt.DATA_END, bytes(4)))
    (tmp_path / "bag.mcap").write_bytes(whole[:first_chunk] + extra + whole[first_chunk:cut])
    assert read(tmp_path / "bag.mcap") == (list(range(COUNT)), True)
    with BagSource(tmp_path / "bag.mcap") as bag:
        assert list(bag.topics) == ["/t"]


def database(folder: Path) -> Path:
    with BagSink(folder, "sqlite3", compress=False) as sink:
        for index in range(COUNT):
            message = entry(index)
            sink.write(message.topic, message.type_name, message.data, message.stamp)
    return folder / f"{folder.name}_0.db3"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_database_yields_what_is_readable(tmp_path: Path, share: float) -> None:
    file = database(tmp_path / "bag")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share) // 4096 * 4096])
    stamps, truncated = read(file)
    assert truncated and stamps == sorted(stamps)
    assert len(stamps) >= COUNT * share - 25


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_database_with_wrong_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = database(tmp_path_factory.mktemp("damaged") / "bag")
    damaged = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(damaged)
    try:
        with BagSource(file) as bag:
            list(bag.messages())
    except ConfigurationError as error:
        assert str(file) in str(error)


def test_a_database_of_an_older_rosbag2_is_read(tmp_path: Path) -> None:
    # Foxy's schema: no definitions, no hashes, no table that says which schema it is.
    file = tmp_path / "old.db3"
    connection = sqlite3.connect(file)
    connection.executescript(
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT);"
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB);"
        f"INSERT INTO topics VALUES(1, '/t', '{topics.TF_TYPE}', 'cdr');"
    )
    connection.executemany(
        "INSERT INTO messages(topic_id, timestamp, data) VALUES(1, ?, ?)", [(k, entry(k).data) for k in range(COUNT)]
    )
    connection.commit()
    connection.close()
    assert read(file) == (list(range(COUNT)), False)


def test_a_full_disk_leaves_a_readable_bag_that_goes_on_when_there_is_room(tmp_path: Path, disk_of) -> None:
    path = tmp_path / "bag.mcap"
    with BagSink(path, compress=False) as sink:
        with disk_of(20_000):
            with pytest.raises(OSError):
                for index in range(COUNT):
                    message = entry(index)
                    sink.write(message.topic, message.type_name, message.data, message.stamp)
                    sink.flush()
            before, truncated = read(sink.draft)
            assert len(before) >= 15 and truncated
        sink.write(message.topic, message.type_name, entry(index + 1).data, index + 1)
    assert read(path) == ([*before, index, index + 1], False)


def test_a_full_disk_leaves_a_readable_database(tmp_path: Path, disk_of) -> None:
    with pytest.raises(OSError, match=r"bag\.unfinished"), BagSink(tmp_path / "bag", "sqlite3", compress=False) as sink:
        for index in range(COUNT):
            sink.write("/t", topics.TF_TYPE, entry(index).data, index)
        sink.flush()
        with disk_of((sink.draft / "bag_0.db3").stat().st_size + 150_000):
            for index in range(COUNT, 50 * COUNT):
                sink.write("/t", topics.TF_TYPE, entry(index).data, index)
                if index % 10 == 9:
                    sink.flush()
    assert not (tmp_path / "bag").exists()
    stamps, _ = read(sink.draft)
    assert stamps == list(range(len(stamps))) and COUNT <= len(stamps) < 50 * COUNT
