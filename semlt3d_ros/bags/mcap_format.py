"""The records of MCAP files (mcap.dev/spec, version 0): op codes, packing, parsing, chunk compression."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple
from zlib import crc32

import lz4.frame  # type: ignore[import-untyped]
import zstandard

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX = range(0x01, 0x09)
STATISTICS, DATA_END = 0x0B, 0x0F

RECORD_HEAD = struct.Struct("<BQ")
"""Op code and length of what follows."""

MESSAGE_HEAD = struct.Struct("<HIQQ")
"""Channel, sequence, log time and publish time of a message."""

FOOTER_SIZE = RECORD_HEAD.size + 20

_LARGEST_CHUNK = 1 << 30
"""No writer makes chunks of a gigabyte; a forged size must not allocate more."""


class DamagedRecord(Exception):
    """Bytes that are not the record they claim to be."""


class Schema(NamedTuple):
    """A type definition; ``encoding`` is ``ros2msg`` or ``ros2idl`` in files of ROS 2."""

    id: int
    name: str
    encoding: str
    data: bytes


class Channel(NamedTuple):
    """A topic with a type."""

    id: int
    schema_id: int
    topic: str
    message_encoding: str
    metadata: dict[str, str]


class ChunkHead(NamedTuple):
    """What precedes the compressed records of a chunk; ``size`` counts the head itself."""

    start: int
    end: int
    uncompressed_size: int
    crc: int
    compression: str
    compressed_size: int
    size: int


class ChunkIndex(NamedTuple):
    """Where a chunk is, and which channels have messages in it; none where it was written without message indexes."""

    start: int
    end: int
    offset: int
    length: int
    channels: frozenset[int]
    message_index_length: int


class Statistics(NamedTuple):
    """What a writer has counted; ``channels_used`` are those with messages."""

    messages: int
    channels: int
    chunks: int
    channels_used: frozenset[int]


class Fields:
    """Reads the fields of one record in order.

    Raises:
        DamagedRecord: a field reaches beyond the record.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self.position = 0

    @property
    def finished(self) -> bool:
        """Whether all fields were read."""
        return self.position == len(self._data)

    def integer(self, size: int) -> int:
        """An unsigned integer of ``size`` bytes."""
        return int.from_bytes(self.raw(size), "little")

    def raw(self, size: int) -> memoryview:
        """The next ``size`` bytes."""
        end = self.position + size
        if end > len(self._data):
            raise DamagedRecord(f"a field of {size} bytes reaches beyond its record")
        part = self._data[self.position : end]
        self.position = end
        return part

    def sized(self) -> memoryview:
        """Bytes after their four-byte length."""
        return self.raw(self.integer(4))

    def text(self) -> str:
        """A string after its four-byte length."""
        try:
            return str(self.sized(), "utf-8")
        except UnicodeDecodeError as error:
            raise DamagedRecord("a name is not UTF-8") from error


def parse_schema(body: bytes | memoryview) -> Schema:
    """A SCHEMA record."""
    fields = Fields(body)
    return Schema(fields.integer(2), fields.text(), fields.text(), bytes(fields.sized()))


def parse_channel(body: bytes | memoryview) -> Channel:
    """A CHANNEL record."""
    fields = Fields(body)
    number, schema_id, topic, encoding = fields.integer(2), fields.integer(2), fields.text(), fields.text()
    pairs, metadata = Fields(fields.sized()), {}
    while not pairs.finished:
        key = pairs.text()
        metadata[key] = pairs.text()
    return Channel(number, schema_id, topic, encoding, metadata)


def parse_chunk_head(body: bytes | memoryview) -> ChunkHead:
    """The start of a CHUNK record."""
    fields = Fields(body)
    start, end, size, crc = fields.integer(8), fields.integer(8), fields.integer(8), fields.integer(4)
    compression = fields.text()
    return ChunkHead(start, end, size, crc, compression, fields.integer(8), fields.position)


def parse_chunk_index(body: bytes | memoryview) -> ChunkIndex:
    """A CHUNK_INDEX record."""
    fields = Fields(body)
    start, end, offset, length = (fields.integer(8) for _ in range(4))
    return ChunkIndex(start, end, offset, length, frozenset(_counts(fields.sized())), fields.integer(8))


def parse_statistics(body: bytes | memoryview) -> Statistics:
    """A STATISTICS record."""
    fields = Fields(body)
    messages, _, channels = fields.integer(8), fields.integer(2), fields.integer(4)
    _, chunks, _ = fields.raw(8), fields.integer(4), fields.raw(16)
    counts = _counts(fields.sized())
    return Statistics(messages, channels, chunks, frozenset(number for number, count in counts.items() if count))


def _counts(data: memoryview) -> dict[int, int]:
    try:
        return dict(struct.iter_unpack("<HQ", data))
    except struct.error as error:
        raise DamagedRecord(f"a table of {len(data)} bytes does not fit its entries") from error


def iterate_records(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Op code and body of the records in ``data``; stops before a record that is cut off."""
    position = 0
    while position + RECORD_HEAD.size <= len(data):
        code, size = RECORD_HEAD.unpack_from(data, position)
        position += RECORD_HEAD.size
        if position + size > len(data):
            return
        yield code, data[position : position + size]
        position += size


def pack_record(code: int, *parts: bytes | bytearray | memoryview) -> bytes:
    """A record of the given body parts."""
    return b"".join((RECORD_HEAD.pack(code, sum(len(part) for part in parts)), *parts))


def pack_text(text: str | bytes) -> bytes:
    """A string or bytes after the four-byte length."""
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<I", len(data)) + data


def pack_schema(schema: Schema) -> bytes:
    """A SCHEMA record."""
    names = pack_text(schema.name) + pack_text(schema.encoding)
    return pack_record(SCHEMA, struct.pack("<H", schema.id), names, pack_text(schema.data))


def pack_channel(channel: Channel) -> bytes:
    """A CHANNEL record."""
    metadata = b"".join(pack_text(key) + pack_text(value) for key, value in channel.metadata.items())
    return pack_record(
        CHANNEL,
        struct.pack("<HH", channel.id, channel.schema_id),
        pack_text(channel.topic) + pack_text(channel.message_encoding),
        pack_text(metadata),
    )


def decompress(head: ChunkHead, data: bytes | memoryview) -> memoryview:
    """The records of a whole chunk.

    Raises:
        DamagedRecord: the data is not what the head says.
    """
    if head.uncompressed_size > _LARGEST_CHUNK:
        raise DamagedRecord(f"a chunk claims {head.uncompressed_size} bytes")
    try:
        raw = _decompressor(head.compression)(data)
    except (zstandard.ZstdError, RuntimeError, ValueError, EOFError) as error:
        raise DamagedRecord(f"a chunk cannot be decompressed: {error}") from error
    if len(raw) != head.uncompressed_size or (head.crc and crc32(raw) != head.crc):
        raise DamagedRecord("a chunk does not match its size or checksum")
    return memoryview(raw)


def decompress_start(head: ChunkHead, data: bytes | memoryview) -> memoryview:
    """The records at the start of a chunk that was cut off, as far as its compression lets them be read."""
    try:
        return memoryview(_decompressor(head.compression)(data))
    except (zstandard.ZstdError, RuntimeError, ValueError, EOFError, DamagedRecord):
        return memoryview(b"")


def _decompressor(compression: str) -> Callable[[bytes | memoryview], bytes]:
    if compression == "":
        return bytes
    if compression == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress
    if compression == "lz4":
        return lz4.frame.LZ4FrameDecompressor().decompress
    raise DamagedRecord(f"chunk compression '{compression}' is not known; use zstd or lz4")
