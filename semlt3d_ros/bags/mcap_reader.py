"""Reads MCAP files, whole or cut off, in time order.

By hand, since the ``mcap`` package does not recover what a crash or a broken disk left: to seek it needs the footer,
and without one it ends with an exception at the first record that is not whole.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from semlt3d_ros.bags import mcap_format as fmt
from semlt3d_ros.bags.message import BagMessage
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import Fault

_LONGEST_RUN = 4 << 20
"""Messages outside chunks are read in runs of about this many bytes."""


class _Segment(NamedTuple):
    """A chunk, or a run of records outside chunks (``chunked`` False). Without ``channels`` it may hold any."""

    start: int
    end: int
    offset: int
    length: int
    channels: frozenset[int]
    chunked: bool


class McapReader:
    """One MCAP file.

    Random access goes by the chunk index at the file's end. A file without one, because its writer was killed or the
    file was cut off, is scanned once at opening; everything up to the damage is read, including the whole messages at
    the start of the last chunk. So is a file whose summary does not define all that its index refers to, or leaves
    messages out: writers may keep every part of it to themselves.

    Attributes:
        types: topic and type name of each channel with CDR messages, in the order of the channels' numbers.
        start, end: log times in nanoseconds of the first and last message; None without messages.
        count: number of messages.

    Args:
        path: the file.
        name: what faults call it, where that is not its path.

    Raises:
        ConfigurationError: the file cannot be opened or is not an MCAP file.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self.name = name or str(path)
        self.count = 0
        self._cut_off = False
        self._damaged: dict[int, str] = {}
        self._channels: dict[int, fmt.Channel] = {}
        self._schemas: dict[int, fmt.Schema] = {}
        self._segments: list[_Segment] = []
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise ConfigurationError(f"cannot open the bag {self.name}: {error.strerror}") from error
        try:
            self._size = path.stat().st_size
            if self._read(0, len(fmt.MAGIC)) != fmt.MAGIC:
                raise ConfigurationError(f"{self.name} is not an MCAP file: it does not begin with MCAP's magic bytes")
            if not self._read_index():
                self._forget()
                self._scan()
        except BaseException:
            self._file.close()
            raise
        self._types = {
            number: (channel.topic, self._schemas[channel.schema_id].name)
            for number, channel in sorted(self._channels.items())
            if channel.message_encoding == "cdr" and channel.schema_id in self._schemas
        }
        self.types = tuple(self._types.values())
        self.start = min((segment.start for segment in self._segments), default=None)
        self.end = max((segment.end for segment in self._segments), default=None)

    @property
    def truncated(self) -> bool:
        """Part of the file could not be read. Grows true while reading where a chunk turns out to be damaged."""
        return self._cut_off or bool(self._damaged)

    @property
    def faults(self) -> list[Fault]:
        """What of the file could not be read, as far as it was met yet, and topics that nobody here can read."""
        place, found = self.name, []
        if self._cut_off:
            text = f"breaks off after {self._size} bytes, its end is missing; copy it again if the original is whole"
            found.append(Fault(place, "cut_off", text))
        if self._damaged:
            what = f"{len(self._damaged)} of its parts cannot be read ({next(reversed(self._damaged.values()))})"
            found.append(Fault(place, "damaged", f"{what}; copy it again if the original is whole"))
        foreign = {
            f"{channel.topic} ({channel.message_encoding or 'no encoding'})"
            for number, channel in self._channels.items()
            if number not in self._types
        }
        if foreign:
            text = f"not read, since they are no CDR messages of a known type: {', '.join(sorted(foreign))}"
            found.append(Fault(place, "encoding", text, harmless=True))
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def messages(self, topics: Collection[str] | None, start: int | None, stop: int | None) -> Iterator[BagMessage]:
        """Messages of the topics (None: all) with ``start <= stamp < stop``, by log time, then as they were written."""
        channels = {number for number, (topic, _) in self._types.items() if topics is None or topic in topics}
        wanted = [
            segment
            for segment in sorted(self._segments, key=lambda item: (item.start, item.offset))
            if (stop is None or segment.start < stop)
            and (start is None or segment.end >= start)
            and not (segment.channels and channels.isdisjoint(segment.channels))
        ]
        pending: list[tuple[int, int, int, BagMessage]] = []
        for segment in wanted:
            while pending and pending[0][0] < segment.start:
                yield heapq.heappop(pending)[-1]
            for position, message in enumerate(self._segment_messages(segment, channels)):
                if (start is None or message.stamp >= start) and (stop is None or message.stamp < stop):
                    heapq.heappush(pending, (message.stamp, segment.offset, position, message))
        while pending:
            yield heapq.heappop(pending)[-1]

    def _segment_messages(self, segment: _Segment, channels: set[int]) -> Iterator[BagMessage]:
        for code, body in fmt.iterate_records(self._segment_records(segment)):
            if code == fmt.MESSAGE and len(body) >= fmt.MESSAGE_HEAD.size:
                channel, _, log_time, _ = fmt.MESSAGE_HEAD.unpack_from(body)
                if channel in channels:
                    yield BagMessage(*self._types[channel], log_time, body[fmt.MESSAGE_HEAD.size :])

    def _segment_records(self, segment: _Segment) -> memoryview:
        data = memoryview(self._read(segment.offset, segment.length))
        if not segment.chunked:
            return data
        try:
            if data[:1] != bytes([fmt.CHUNK]):
                raise fmt.DamagedRecord(f"there is no chunk at byte {segment.offset}")
            body = data[fmt.RECORD_HEAD.size :]
            head = fmt.parse_chunk_head(body)
            compressed = body[head.size :]
            if len(compressed) < head.compressed_size:
                self._cut_off = True
                return fmt.decompress_start(head, compressed)
            return fmt.decompress(head, compressed[: head.compressed_size])
        except fmt.DamagedRecord as error:
            self._damaged[segment.offset] = str(error)
            return memoryview(b"")

    def _read(self, offset: int, length: int) -> bytes:
        """Bytes of the file; fewer where it ends before, whatever a damaged record asks for."""
        if not 0 <= offset < self._size:
            return b""
        self._file.seek(offset)
        return self._file.read(min(length, self._size - offset))

    def _read_index(self) -> bool:
        """Read the summary at the end; False where there is none that leads to all messages and says what they are."""
        footer = self._read(self._size - fmt.FOOTER_SIZE - len(fmt.MAGIC), fmt.FOOTER_SIZE + len(fmt.MAGIC))
        if len(footer) != fmt.FOOTER_SIZE + len(fmt.MAGIC) or footer[-len(fmt.MAGIC) :] != fmt.MAGIC:
            return False
        code, size, summary_start = struct.unpack_from("<BQQ", footer)
        if (code, size) != (fmt.FOOTER, 20) or not 0 < summary_start < self._size:
            return False
        statistics: fmt.Statistics | None = None
        indices: list[fmt.ChunkIndex] = []
        summary = self._read(summary_start, self._size - summary_start)
        (crc,) = struct.unpack_from("<I", footer, fmt.FOOTER_SIZE - 4)
        if crc and crc32(summary[: -len(fmt.MAGIC) - 4]) != crc:
            return False
        try:
            for code, body in fmt.iterate_records(memoryview(summary)):
                if code == fmt.CHUNK_INDEX:
                    indices.append(fmt.parse_chunk_index(body))
                elif code == fmt.STATISTICS:
                    statistics = fmt.parse_statistics(body)
                else:
                    self._note_definition(code, body)
        except fmt.DamagedRecord:
            return False
        if statistics is None or self._damaged or not self._covers(statistics, indices, summary_start):
            return False
        self.count = statistics.messages
        self._segments = [
            _Segment(index.start, index.end, index.offset, index.length, index.channels, True) for index in indices
        ]
        return True

    def _covers(self, statistics: fmt.Statistics, indices: list[fmt.ChunkIndex], summary_start: int) -> bool:
        """Whether the summary defines every channel with its type, and its chunks hold every message."""
        used = statistics.channels_used.union(*(index.channels for index in indices))
        types = {channel.schema_id for channel in self._channels.values()} - {0}
        return (
            statistics.chunks == len(indices)
            and statistics.channels == len(self._channels)
            and used <= self._channels.keys()
            and types <= self._schemas.keys()
            and not any(self._messages_between(*gap) for gap in _gaps(indices, summary_start))
        )

    def _messages_between(self, position: int, end: int) -> bool:
        """Whether there are messages, or a chunk, between two places of the file; true too where nobody can tell."""
        while position + fmt.RECORD_HEAD.size <= end:
            code, size = fmt.RECORD_HEAD.unpack(self._read(position, fmt.RECORD_HEAD.size))
            if code in (0, fmt.MESSAGE, fmt.CHUNK):
                return True
            position += fmt.RECORD_HEAD.size + size
        return position != end

    def _forget(self) -> None:
        self._channels.clear()
        self._schemas.clear()
        self._damaged.clear()

    def _scan(self) -> None:
        """Find all chunks and messages by walking from record to record; stop at the first that is damaged."""
        position, run = len(fmt.MAGIC), _Run()
        ended = False
        while position + fmt.RECORD_HEAD.size <= self._size:
            code, size = fmt.RECORD_HEAD.unpack(self._read(position, fmt.RECORD_HEAD.size))
            length = fmt.RECORD_HEAD.size + size
            whole = position + length <= self._size
            if code in (fmt.DATA_END, fmt.FOOTER) and whole:
                ended = True
                break
            if code == fmt.CHUNK:
                self._scan_chunk(position, min(length, self._size - position))
            if not whole or code == 0:  # file systems fill with zeros what a power loss kept from being written
                break
            if code in (fmt.SCHEMA, fmt.CHANNEL):
                self._note_definition(code, memoryview(self._read(position, length))[fmt.RECORD_HEAD.size :])
            elif code == fmt.MESSAGE and size >= fmt.MESSAGE_HEAD.size:
                head = self._read(position + fmt.RECORD_HEAD.size, fmt.MESSAGE_HEAD.size)
                channel, _, log_time, _ = fmt.MESSAGE_HEAD.unpack(head)
                run.add(channel, log_time, position, length)
                self.count += 1
            if code == fmt.CHUNK or run.length >= _LONGEST_RUN:
                self._segments += run.finished()
            position += length
        self._segments += run.finished()
        self._cut_off = not ended

    def _scan_chunk(self, offset: int, length: int) -> None:
        records = self._segment_records(_Segment(0, 0, offset, length, frozenset(), True))
        times, channels = [], set()
        for code, body in fmt.iterate_records(records):
            if code == fmt.MESSAGE and len(body) >= fmt.MESSAGE_HEAD.size:
                channel, _, log_time, _ = fmt.MESSAGE_HEAD.unpack_from(body)
                times.append(log_time)
                channels.add(channel)
                self.count += 1
            else:
                self._note_definition(code, body)
        if times:
            self._segments.append(_Segment(min(times), max(times), offset, length, frozenset(channels), True))

    def _note_definition(self, code: int, body: memoryview) -> None:
        try:
            if code == fmt.SCHEMA:
                schema = fmt.parse_schema(body)
                self._schemas[schema.id] = schema
            elif code == fmt.CHANNEL:
                channel = fmt.parse_channel(body)
                self._channels[channel.id] = channel
        except fmt.DamagedRecord as error:
            self._damaged[-1 - len(self._damaged)] = f"a definition: {error}"


class _Run:
    """Collects messages outside chunks into one segment."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.length = 0
        self._offset = 0
        self._times: list[int] = []
        self._channels: set[int] = set()

    def add(self, channel: int, log_time: int, offset: int, length: int) -> None:
        """Count a message record in."""
        if not self._times:
            self._offset = offset
        self.length = offset + length - self._offset
        self._times.append(log_time)
        self._channels.add(channel)

    def finished(self) -> list[_Segment]:
        """The segment so far, if any; the next message begins another one."""
        if not self._times:
            return []
        segment = _Segment(
            min(self._times), max(self._times), self._offset, self.length, frozenset(self._channels), False
        )
        self._reset()
        return [segment]


def _gaps(indices: list[fmt.ChunkIndex], end: int) -> Iterator[tuple[int, int]]:
    """What of a file lies neither in chunks nor in the message indexes behind them."""
    position = len(fmt.MAGIC)
    for index in sorted(indices, key=lambda item: item.offset):
        yield position, index.offset
        position = index.offset + index.length + index.message_index_length
    yield position, end
