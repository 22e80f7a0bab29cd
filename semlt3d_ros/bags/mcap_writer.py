"""Writes MCAP files of which a crash takes no more than the last chunk.

By hand, since the ``mcap`` package's writer ends a chunk by its size alone: what a recorder of few or small messages
has taken in would stay in memory, and be lost with the process, for minutes.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path
from zlib import crc32

import zstandard

from semlt3d_ros.bags import mcap_format as fmt
from semlt3d_ros.bags.topics import TopicRecord

_CHUNK_BYTES = 4 << 20
_CHUNK_SECONDS = 1.0
_ZSTD_LEVEL = 1
"""Images are compressed already; higher levels cost time and gain nothing on points."""


class McapWriter:
    """One MCAP file with ROS 2's profile, readable by ``ros2 bag``, Foxglove and rosbags.

    Messages are gathered in chunks, which are handed to the operating system when they reach 4 MiB or hold messages for
    a second. What was handed over survives the end of this process; ``McapReader`` reads such a file.

    Args:
        path: the file; one that is there is replaced.
        compress: compress chunks with zstd.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, compress: bool) -> None:
        self._file = path.open("wb", buffering=0)
        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL) if compress else None
        self._schema_records: list[bytes] = []
        self._channel_records: list[bytes] = []
        self._schemas: dict[str, int] = {}
        self._counts: dict[int, int] = {}
        self._chunk_indices: list[bytes] = []
        self._start, self._end = 0, 0
        self._write(fmt.MAGIC + fmt.pack_record(fmt.HEADER, fmt.pack_text("ros2"), fmt.pack_text("semlt3d_ros")))
        self._begin_chunk()

    def add_topic(self, topic: TopicRecord) -> None:
        """Make a topic known; its number is the channel's."""
        schema_id = self._schemas.get(topic.type_name)
        if schema_id is None:
            schema_id = self._schemas[topic.type_name] = len(self._schemas) + 1
            schema = fmt.Schema(schema_id, topic.type_name, "ros2msg", topic.definition.encode())
            self._schema_records.append(fmt.pack_schema(schema))
            self._append(self._schema_records[-1])
        metadata = {"offered_qos_profiles": topic.qos_yaml, "topic_type_hash": topic.type_hash}
        channel = fmt.Channel(topic.number, schema_id, topic.name, "cdr", metadata)
        self._channel_records.append(fmt.pack_channel(channel))
        self._append(self._channel_records[-1])
        self._counts[topic.number] = 0

    def write(self, topic: TopicRecord, stamp: int, data: bytes | bytearray | memoryview) -> None:
        """Append a message."""
        sequence = self._counts[topic.number] & 0xFFFFFFFF
        head = fmt.MESSAGE_HEAD.pack(topic.number, sequence, stamp, stamp)
        self._times.setdefault(topic.number, []).append((stamp, self._chunk_size))
        self._append(fmt.pack_record(fmt.MESSAGE, head, data))
        self._counts[topic.number] += 1
        if self._chunk_size >= _CHUNK_BYTES or time.monotonic() - self._chunk_begun >= _CHUNK_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Hand the current chunk to the operating system."""
        if not self._times:
            return
        raw = b"".join(self._chunk)
        data = self._compressor.compress(raw) if self._compressor else raw
        compression = fmt.pack_text("zstd" if self._compressor else "")
        stamps = [stamp for entries in self._times.values() for stamp, _ in entries]
        start, end = min(stamps), max(stamps)
        offset = self._file.tell()
        chunk = fmt.pack_record(
            fmt.CHUNK,
            struct.pack("<QQQI", start, end, len(raw), crc32(raw)) + compression + struct.pack("<Q", len(data)),
            data,
        )
        indices, places = [], []
        position = offset + len(chunk)
        for number, entries in self._times.items():
            places.append(struct.pack("<HQ", number, position))
            table = b"".join(struct.pack("<QQ", stamp, place) for stamp, place in sorted(entries))
            indices.append(fmt.pack_record(fmt.MESSAGE_INDEX, struct.pack("<H", number), fmt.pack_text(table)))
            position += len(indices[-1])
        self._write(b"".join((chunk, *indices)))
        self._chunk_indices.append(
            fmt.pack_record(
                fmt.CHUNK_INDEX,
                struct.pack("<QQQQ", start, end, offset, len(chunk)),
                fmt.pack_text(b"".join(places)),
                struct.pack("<Q", position - offset - len(chunk)),
                compression,
                struct.pack("<QQ", len(data), len(raw)),
            )
        )
        first = len(self._chunk_indices) == 1
        self._start = start if first else min(self._start, start)
        self._end = end if first else max(self._end, end)
        self._begin_chunk()

    def close(self) -> None:
        """Write the last chunk and the index, and close the file."""
        with self._file:
            self.flush()
            self._write_summary()

    def _write_summary(self) -> None:
        self._write(fmt.pack_record(fmt.DATA_END, struct.pack("<I", 0)))
        summary_start = self._file.tell()
        summary = b"".join((*self._schema_records, *self._channel_records, self._statistics(), *self._chunk_indices))
        footer = struct.pack("<BQQQ", fmt.FOOTER, 20, summary_start, 0)
        self._write(summary + footer + struct.pack("<I", crc32(footer, crc32(summary))) + fmt.MAGIC)

    def _statistics(self) -> bytes:
        counts = b"".join(struct.pack("<HQ", number, count) for number, count in self._counts.items())
        return fmt.pack_record(
            fmt.STATISTICS,
            struct.pack(
                "<QHIIII",
                sum(self._counts.values()),
                len(self._schemas),
                len(self._counts),
                0,
                0,
                len(self._chunk_indices),
            ),
            struct.pack("<QQ", self._start, self._end),
            fmt.pack_text(counts),
        )

    def _append(self, record: bytes) -> None:
        self._chunk.append(record)
        self._chunk_size += len(record)

    def _begin_chunk(self) -> None:
        self._chunk: list[bytes] = []
        self._chunk_size = 0
        self._chunk_begun = time.monotonic()
        self._times: dict[int, list[tuple[int, int]]] = {}

    def _write(self, data: bytes) -> None:
        position = self._file.tell()
        view = memoryview(data)
        try:
            while view:  # a raw file may take part of the data only
                view = view[self._file.write(view) :]
        except OSError:
            # Half a record would hide everything that is written after it, should the disk have room again.
            self._file.seek(position)
            self._file.truncate()
            raise
