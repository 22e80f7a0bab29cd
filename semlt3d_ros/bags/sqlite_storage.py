"""The sqlite3 storage of rosbag2: one ``.db3`` file."""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import zstandard

from semlt3d_ros.bags.message import BagMessage
from semlt3d_ros.bags.topics import TopicRecord
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import Fault

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_DAMAGE = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file raises; the second comes from sqlite's own messages, which quote the file."""

_COMMIT_BYTES = 4 << 20
_COMMIT_SECONDS = 1.0

_SCHEMA = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, serialization_format TEXT NOT NULL,
    offered_qos_profiles TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
    encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
    data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
INSERT INTO schema(schema_version, ros_distro) VALUES (4, 'jazzy');
"""
"""rosbag2's sqlite3 schema, version 4 (Jazzy)."""


class _Row(NamedTuple):
    """A row of the table of messages."""

    stamp: int
    id: int
    topic: int


class SqliteReader:
    """One ``.db3`` file; its tables say all that is needed, ``metadata.yaml`` is not read.

    Attributes:
        types: topic and type name of each entry in the table of topics with CDR messages, as they were added.
        start, end: log times in nanoseconds of the first and last message; None without messages.
        count: number of messages.

    Args:
        path: the file.
        name: what faults call it, where that is not its path.

    Raises:
        ConfigurationError: the file cannot be opened or is not a bag.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        self.name = name or str(path)
        self._log = path.with_name(path.name + "-wal")
        self._cut_off = False
        self._unreadable: set[int] = set()
        self.count = 0
        self.start: int | None = None
        self.end: int | None = None
        if not path.is_file():
            raise ConfigurationError(f"cannot open the bag {self.name}: no such file")
        try:
            self._connection, rows = self._open()
        except _DAMAGE as error:
            raise ConfigurationError(
                f"{self.name} is not a sqlite3 bag or its list of topics is lost: {error}"
            ) from error
        self._types = {
            number: (name, type_name) for number, name, type_name, encoding in sorted(rows) if encoding == "cdr"
        }
        self.types = tuple(self._types.values())
        self._foreign = sorted({f"{name} ({encoding})" for _, name, _, encoding in rows if encoding != "cdr"})
        self._salvaged: list[_Row] | None = None
        try:
            self.start, self.end = self._span()
        except _DAMAGE:
            self._cut_off = True
        if self._cut_off:
            self._salvaged = self._salvage()
            self.count = len(self._salvaged)
            self.start = self._salvaged[0].stamp if self._salvaged else None
            self.end = self._salvaged[-1].stamp if self._salvaged else None

    @property
    def truncated(self) -> bool:
        """Part of the file could not be read. Grows true while reading where the file turns out to be damaged."""
        return self._cut_off or bool(self._unreadable)

    @property
    def faults(self) -> list[Fault]:
        """What of the file could not be read, as far as it was met yet, and topics that nobody here can read."""
        place, found, remedy = self.name, [], "copy it again if the original is whole"
        if self._cut_off:
            text = f"is damaged or cut off, or its log {self._log.name} cannot be used; {remedy}"
            found.append(Fault(place, "cut_off", text))
        if self._unreadable:
            text = f"{len(self._unreadable)} of its messages cannot be read; {remedy}"
            found.append(Fault(place, "damaged", text))
        if self._foreign:
            text = f"not read, since they are no CDR messages: {', '.join(self._foreign)}"
            found.append(Fault(place, "encoding", text, harmless=True))
        return found

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def messages(self, topics: Collection[str] | None, start: int | None, stop: int | None) -> Iterator[BagMessage]:
        """Messages of the topics (None: all) with ``start <= stamp < stop``, by log time, then as they were written."""
        numbers = {number for number, (topic, _) in self._types.items() if topics is None or topic in topics}
        lowest = self.start if start is None else start
        highest = self.end if stop is None else stop - 1
        if not numbers or lowest is None or highest is None:
            return
        for row in self._rows(numbers, lowest, highest):
            data = self._data(row)
            if data is None:
                self._unreadable.add(row.id)
            else:
                yield BagMessage(*self._types[row.topic], row.stamp, data)

    def _open(self) -> tuple[sqlite3.Connection, list[tuple[int, str, str, str]]]:
        query = "SELECT id, name, type, serialization_format FROM topics"
        uri = self.path.resolve().as_uri()
        # A write-ahead log that a killed recorder left can be read only where its folder can be written; without that,
        # what the main file holds is what there is. A file that is shorter than its header says opens with
        # writable_schema only.
        for options, forced in (("?mode=ro", False), ("?immutable=1", False), ("?immutable=1", True)):
            connection = sqlite3.connect(uri + options, uri=True, check_same_thread=False)
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            try:
                if forced:
                    connection.execute("PRAGMA writable_schema=ON")
                self._cut_off = forced or ("immutable" in options and self._log.exists())
                return connection, connection.execute(query).fetchall()
            except _DAMAGE as error:
                connection.close()
                failure = error
        raise failure

    def _span(self) -> tuple[int | None, int | None]:
        # Two queries of one value each go by the index; one of two values would scan the table.
        first, last = self._connection.execute(
            "SELECT (SELECT MIN(timestamp) FROM messages), (SELECT MAX(timestamp) FROM messages)"
        ).fetchone()
        (self.count,) = self._connection.execute("SELECT COUNT(*) FROM messages").fetchone()
        if first is not None and not (isinstance(first, int) and isinstance(last, int)):
            raise sqlite3.DatabaseError("a time is not a number")
        return first, last

    def _rows(self, topics: set[int], lowest: int, highest: int) -> Iterator[_Row]:
        """Rows in time order; where the index fails, those that can be reached without it."""
        done = (lowest, -1)
        if self._salvaged is None:
            query = (
                f"SELECT timestamp, id, topic_id FROM messages WHERE topic_id IN ({','.join(map(str, topics))}) "
                "AND timestamp BETWEEN ? AND ? ORDER BY timestamp, id"
            )
            try:
                for row in map(_Row._make, self._connection.execute(query, (lowest, highest))):
                    yield row
                    done = row.stamp, row.id
                return
            except _DAMAGE:
                self._cut_off = True
                self._salvaged = self._salvage()
        for row in self._salvaged:
            if row.topic in topics and done < (row.stamp, row.id) and row.stamp <= highest:
                yield row

    def _salvage(self) -> list[_Row]:
        """The rows that can be reached without the index, in time order."""
        found: list[_Row] = []
        query = "SELECT timestamp, id, topic_id FROM messages NOT INDEXED WHERE typeof(timestamp) = 'integer'"
        with suppress(*_DAMAGE):
            for row in self._connection.execute(query):
                found.append(_Row._make(row))  # what was found before an error counts
        return sorted(found)

    def _data(self, row: _Row) -> bytes | None:
        try:
            (data,) = self._connection.execute("SELECT data FROM messages WHERE id = ?", (row.id,)).fetchone()
            if not isinstance(data, bytes):
                return None
            # CDR begins with a zero byte, so compressed messages are told apart without the bag's metadata.
            compressed = data[:4] == _ZSTD_MAGIC
            return zstandard.ZstdDecompressor().decompressobj().decompress(data) if compressed else data
        except (*_DAMAGE, TypeError, zstandard.ZstdError):
            return None


class SqliteWriter:
    """Writes one ``.db3`` file; what was written is committed every 4 MiB and every second.

    ``rosbags`` has a writer of its own, but it commits once, at the end: of a recorder that is killed nothing is left.

    Args:
        path: the file.
        compress: compress each message with zstd (rosbag2's compression mode ``message``).

    Raises:
        OSError: the file cannot be written, or the disk is full; from all methods.
    """

    def __init__(self, path: Path, compress: bool) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1) if compress else None
        self._types: set[str] = set()
        with _told():
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # The write-ahead log makes commits cheap and survives the end of this process at any point.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        self._begin()

    def add_topic(self, topic: TopicRecord) -> None:
        """Make a topic known."""
        if topic.type_name not in self._types:
            self._types.add(topic.type_name)
            self._execute(
                "INSERT INTO message_definitions(topic_type, encoding, encoded_message_definition, "
                "type_description_hash) VALUES(?, 'ros2msg', ?, ?)",
                (topic.type_name, topic.definition, topic.type_hash),
            )
        self._execute(
            "INSERT INTO topics VALUES(?, ?, ?, 'cdr', ?, ?)",
            (topic.number, topic.name, topic.type_name, topic.qos_yaml, topic.type_hash),
        )

    def write(self, topic: TopicRecord, stamp: int, data: bytes | bytearray | memoryview) -> None:
        """Append a message."""
        stored = self._compressor.compress(data) if self._compressor else data
        self._execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", (topic.number, stamp, stored))
        self._bytes += len(stored)
        if self._bytes >= _COMMIT_BYTES or time.monotonic() - self._begun >= _COMMIT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Commit what was written."""
        if self._connection.in_transaction:  # a full disk may have ended it
            self._execute("COMMIT")
        self._begin()

    def close(self) -> None:
        """Commit and leave a single file without a log beside it."""
        with _told(), closing(self._connection):
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
            self._connection.execute("PRAGMA journal_mode=DELETE")

    def _begin(self) -> None:
        self._execute("BEGIN")
        self._bytes, self._begun = 0, time.monotonic()

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> None:
        with _told():
            self._connection.execute(statement, values)


@contextmanager
def _told() -> Iterator[None]:
    """What the database cannot write is the disk's fault, as with any other file."""
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(errno.EIO, str(error)) from error
