"""The sqlite3 storage of rosbag2: one ``.db3`` file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

import zstandard

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.data.bag_message import BagMessage
from semlt3d_ros.data.bag_topics import TopicRecord

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
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


class SqliteReader:
    """One ``.db3`` file; its tables say all that is needed, ``metadata.yaml`` is not read.

    Attributes:
        topics: type name of each topic with CDR messages.
        start, end: log times in nanoseconds of the first and last message; None without messages.
        truncated: part of the file could not be read. Grows true while reading where the file turns out to be damaged.

    Raises:
        ConfigurationError: the file cannot be opened or is not a bag.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.truncated = False
        self.start: int | None = None
        self.end: int | None = None
        if not path.is_file():
            raise ConfigurationError(f"cannot open the bag {path}: no such file")
        try:
            self._connection, rows = self._open()
        except sqlite3.Error as error:
            raise ConfigurationError(f"{path} is not a sqlite3 bag or its list of topics is lost: {error}") from error
        self._types = {number: (name, type_name) for number, name, type_name, encoding in rows if encoding == "cdr"}
        self.topics = dict(self._types.values())
        try:
            self.start, self.end = self._connection.execute(
                "SELECT MIN(timestamp), MAX(timestamp) FROM messages"
            ).fetchone()
            self._salvaged = None
        except sqlite3.Error:
            self.truncated = True
            self._salvaged = self._salvage()
            self.start = self._salvaged[0][0] if self._salvaged else None
            self.end = self._salvaged[-1][0] if self._salvaged else None

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
        rows = self._indexed_rows(numbers, lowest, highest)
        if self._salvaged is not None:
            rows = self._salvaged_rows(numbers, lowest, highest)
        try:
            for number, stamp, data in rows:
                yield BagMessage(*self._types[number], stamp, self._inflated(data))
        except sqlite3.Error:
            self.truncated = True

    def _open(self) -> tuple[sqlite3.Connection, list[tuple[int, str, str, str]]]:
        query = "SELECT id, name, type, serialization_format FROM topics"
        uri = self.path.resolve().as_uri()
        # A write-ahead log that a killed recorder left can be read only where its folder can be written; without that,
        # what the main file holds is what there is.
        for options in ("?mode=ro", "?immutable=1"):
            connection = sqlite3.connect(uri + options, uri=True, check_same_thread=False)
            try:
                return connection, connection.execute(query).fetchall()
            except sqlite3.Error as error:
                connection.close()
                failure = error
        raise failure

    def _indexed_rows(self, numbers: set[int], lowest: int, highest: int) -> Iterator[tuple[int, int, bytes]]:
        query = (
            f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({','.join(map(str, sorted(numbers)))}) "
            "AND timestamp BETWEEN ? AND ? ORDER BY timestamp, id"
        )
        yield from self._connection.execute(query, (lowest, highest))

    def _salvage(self) -> list[tuple[int, int, int]]:
        """(stamp, row, topic number) of the rows that can be reached without the index, in time order."""
        found: list[tuple[int, int, int]] = []
        try:
            for row in self._connection.execute("SELECT timestamp, id, topic_id FROM messages NOT INDEXED"):
                found.append(row)
        except sqlite3.Error:
            pass
        return sorted(found)

    def _salvaged_rows(self, numbers: set[int], lowest: int, highest: int) -> Iterator[tuple[int, int, bytes]]:
        for stamp, row, number in self._salvaged or ():
            if number in numbers and lowest <= stamp <= highest:
                try:
                    (data,) = self._connection.execute("SELECT data FROM messages WHERE id = ?", (row,)).fetchone()
                except sqlite3.Error:
                    continue
                yield number, stamp, data

    @staticmethod
    def _inflated(data: bytes) -> bytes:
        # CDR begins with a zero byte, so compressed messages are told apart without the bag's metadata.
        return zstandard.ZstdDecompressor().decompressobj().decompress(data) if data[:4] == _ZSTD_MAGIC else data


class SqliteWriter:
    """Writes one ``.db3`` file; what was written is committed every 4 MiB and every second.

    Args:
        path: the file.
        compress: compress each message with zstd (rosbag2's compression mode ``message``).

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, compress: bool) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1) if compress else None
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # The write-ahead log makes commits cheap and survives the end of this process at any point.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise OSError(f"cannot write {path}: {error}") from error
        self._types: set[str] = set()
        self._begin()

    def add_topic(self, topic: TopicRecord) -> None:
        """Make a topic known."""
        if topic.type_name not in self._types:
            self._types.add(topic.type_name)
            self._connection.execute(
                "INSERT INTO message_definitions(topic_type, encoding, encoded_message_definition, "
                "type_description_hash) VALUES(?, 'ros2msg', ?, ?)",
                (topic.type_name, topic.definition, topic.type_hash),
            )
        self._connection.execute(
            "INSERT INTO topics VALUES(?, ?, ?, 'cdr', ?, ?)",
            (topic.number, topic.name, topic.type_name, topic.qos_yaml, topic.type_hash),
        )

    def write(self, topic: TopicRecord, stamp: int, data: bytes | memoryview) -> None:
        """Append a message."""
        stored = self._compressor.compress(data) if self._compressor else data
        self._connection.execute(
            "INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", (topic.number, stamp, stored)
        )
        self._bytes += len(stored)
        if self._bytes >= _COMMIT_BYTES or time.monotonic() - self._begun >= _COMMIT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Commit what was written."""
        self._connection.execute("COMMIT")
        self._begin()

    def close(self) -> None:
        """Commit and leave a single file without a log beside it."""
        with closing(self._connection):
            self._connection.execute("COMMIT")
            self._connection.execute("PRAGMA journal_mode=DELETE")

    def _begin(self) -> None:
        self._connection.execute("BEGIN")
        self._bytes, self._begun = 0, time.monotonic()
