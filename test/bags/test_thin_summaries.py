"""MCAP files of the ``mcap`` package's writer, whose options leave out any part of the summary."""

from __future__ import annotations

import itertools
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType, Writer

from semlt3d_ros.bags import mcap_format as fmt
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.messages import topics

OPTIONS = ("use_chunking", "use_statistics", "use_summary_offsets", "repeat_schemas", "repeat_channels")
COUNT = 40
TYPES = {"/a": topics.TF_TYPE, "/b": topics.IMAGE_TYPE, "/late": topics.TF_TYPE}


def data(index: int) -> bytes:
    return bytes([0, 1, 0, 0]) + index.to_bytes(4, "little") * 20


EXPECTED = [(("/a", "/b")[index % 2], index, data(index)) for index in range(COUNT)] + [("/late", COUNT, data(COUNT))]


def written(**options: Any) -> bytes:
    """Forty messages on two topics, in several chunks; a third topic's definition comes at the end."""
    stream = BytesIO()
    writer = Writer(stream, chunk_size=500, **options)
    writer.start("ros2", "peer")

    def channel(topic: str) -> int:
        schema = writer.register_schema(TYPES[topic], "ros2msg", b"")
        return writer.register_channel(topic, "cdr", schema)

    channels = {topic: channel(topic) for topic in ("/a", "/b")}
    for topic, stamp, content in EXPECTED:
        if topic not in channels:
            channels[topic] = channel(topic)
            writer.add_attachment(0, 0, "calibration.yaml", "text/yaml", b"fx: 1" * 100)
            writer.add_metadata("car", {"plate": "none"})
        writer.add_message(channels[topic], stamp, content, stamp)
    writer.finish()
    return stream.getvalue()


def check(path: Path) -> None:
    with BagSource(path) as bag:
        assert bag.topics == TYPES
        assert [(m.topic, m.stamp, bytes(m.data)) for m in bag.messages()] == EXPECTED
        assert [m.stamp for m in bag.messages(["/b"], 10, 20)] == [11, 13, 15, 17, 19]
        assert [m.topic for m in bag.messages(["/late"])] == ["/late"]
        assert (bag.start, bag.end, list(bag.faults)) == (0, COUNT, [])


@pytest.mark.parametrize("compression", list(CompressionType))
def test_whatever_the_writer_leaves_out_of_the_summary_all_is_read(
    tmp_path: Path, compression: CompressionType
) -> None:
    path = tmp_path / "bag.mcap"
    indices = (IndexType.ALL, IndexType.NONE, IndexType.CHUNK, IndexType.MESSAGE, IndexType.MESSAGE | IndexType.CHUNK)
    for index_types in indices:
        for values in itertools.product((True, False), repeat=len(OPTIONS)):
            options = dict(zip(OPTIONS, values, strict=True))
            path.write_bytes(written(compression=compression, index_types=index_types, **options))
            check(path)


def records(content: bytes) -> list[tuple[int, bytes]]:
    return [(code, bytes(body)) for code, body in fmt.iterate_records(memoryview(content)[len(fmt.MAGIC) :])]


def assembled(parts: list[tuple[int, bytes]], summary_at: int | None) -> bytes:
    """A file of the records up to DATA_END and, from index ``summary_at`` on, of a summary, with a footer that fits."""
    content, summary_start = fmt.MAGIC, 0
    for number, (code, body) in enumerate(parts):
        if number == summary_at:
            summary_start = len(content)
        content += fmt.pack_record(code, body)
    return content + fmt.pack_record(fmt.FOOTER, struct.pack("<QQI", summary_start, 0, 0)) + fmt.MAGIC


def whole() -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
    """The records of the data section, and those of the summary."""
    parts = records(written(compression=CompressionType.NONE))
    end = next(number for number, (code, _) in enumerate(parts) if code == fmt.DATA_END)
    return parts[: end + 1], [(code, body) for code, body in parts[end + 1 :] if code != fmt.FOOTER]


@pytest.mark.parametrize("left_out", [fmt.SCHEMA, fmt.CHANNEL, fmt.STATISTICS, fmt.CHUNK_INDEX])
@pytest.mark.parametrize("which", ["all", "first", "last"])
def test_one_definition_less_in_the_summary_loses_nothing(tmp_path: Path, left_out: int, which: str) -> None:
    front, summary = whole()
    places = [number for number, (code, _) in enumerate(summary) if code == left_out]
    gone = {"all": places, "first": places[:1], "last": places[-1:]}[which]
    assert gone
    thin = [record for number, record in enumerate(summary) if number not in gone]
    path = tmp_path / "bag.mcap"
    path.write_bytes(assembled(front + thin, len(front)))
    check(path)


def test_messages_beside_chunks_are_found_though_the_index_knows_chunks_only(tmp_path: Path) -> None:
    front, summary = whole()
    chunks = [number for number, (code, _) in enumerate(front) if code == fmt.CHUNK]
    loose: list[tuple[int, bytes]] = []
    for code, body in front:
        if code == fmt.CHUNK and len(loose) < chunks[1]:
            head = fmt.parse_chunk_head(body)
            loose += records(fmt.MAGIC + body[head.size :])  # the first chunk's records, unpacked
        elif not (code == fmt.MESSAGE_INDEX and len(loose) < chunks[1]):
            loose.append((code, body))
    first = next(number for number, (code, _) in enumerate(summary) if code == fmt.CHUNK_INDEX)
    shift = len(assembled(loose, None)) - len(assembled(front, None))
    moved = []
    for number, (code, body) in enumerate(summary):
        if code == fmt.CHUNK_INDEX and number != first:
            (offset,) = struct.unpack_from("<Q", body, 16)
            body = body[:16] + struct.pack("<Q", offset + shift) + body[24:]
        elif code == fmt.STATISTICS:
            body = body[:18] + struct.pack("<I", len(chunks) - 1) + body[22:]
        if number != first or code != fmt.CHUNK_INDEX:
            moved.append((code, body))
    path = tmp_path / "bag.mcap"
    path.write_bytes(assembled(loose + moved, len(loose)))
    check(path)


def test_op_codes_of_later_versions_and_of_vendors_are_passed_over(tmp_path: Path) -> None:
    front, summary = whole()
    path = tmp_path / "bag.mcap"
    for place in (1, len(front) // 2, len(front) - 1):
        odd = [*front[:place], (0x42, b"from the future"), (0x91, b"private"), *front[place:]]
        for tail in (summary, [], [(0x42, b"x"), *summary, (0x91, b"")]):
            path.write_bytes(assembled(odd + tail, len(odd) if tail else None))
            check(path)


def test_the_peer_reads_what_is_checked_here(tmp_path: Path) -> None:
    front, summary = whole()
    found = make_reader(BytesIO(assembled(front + summary, len(front)))).iter_messages()
    assert [(channel.topic, message.log_time, message.data) for _, channel, message in found] == EXPECTED


def test_the_whole_summary_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a large bag must not mean reading it."""
    from semlt3d_ros.bags.mcap_reader import McapReader

    monkeypatch.setattr(McapReader, "_scan", lambda reader: pytest.fail("it was scanned"))
    path = tmp_path / "bag.mcap"
    path.write_bytes(written())
    check(path)


def test_topics_nobody_here_can_read_are_noted(tmp_path: Path) -> None:
    stream = BytesIO()
    writer = Writer(stream)
    writer.start("ros2", "peer")
    for topic, encoding in (("/json", "json"), ("/proto", "protobuf"), ("/untyped", "cdr")):
        writer.add_message(writer.register_channel(topic, encoding, 0), 1, b"{}", 1)
    writer.finish()
    path = tmp_path / "bag.mcap"
    path.write_bytes(stream.getvalue())
    with BagSource(path) as bag:
        (fault,) = bag.faults
        assert bag.topics == {} and not bag.truncated and fault.harmless
        assert "/json (json), /proto (protobuf), /untyped (cdr)" in fault.line


def test_a_summary_with_wrong_bytes_is_not_trusted(tmp_path: Path) -> None:
    """A changed letter in it would give topics other names, or other types."""
    path, content = tmp_path / "bag.mcap", written()
    begin = content.rindex(TYPES["/late"].encode())
    for place in [*range(begin, begin + 8), *range(content.rindex(b"/late"), content.rindex(b"/late") + 5)]:
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        check(path)
