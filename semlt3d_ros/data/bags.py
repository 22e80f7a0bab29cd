"""Bags: rosbag2 folders (mcap or sqlite3), single mcap files and single ``.db3`` files."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal

import zstandard

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.data.bag_message import BagMessage
from semlt3d_ros.data.bag_metadata import METADATA_NAME, storage_files, write_metadata
from semlt3d_ros.data.bag_topics import TopicRecord
from semlt3d_ros.data.mcap_reader import McapReader
from semlt3d_ros.data.mcap_writer import McapWriter
from semlt3d_ros.data.sqlite_storage import SqliteReader, SqliteWriter
from semlt3d_ros.messages.typestore import serialize

__all__ = ["BagMessage", "BagSink", "BagSource"]

Storage = Literal["mcap", "sqlite3"]


class BagSource:
    """Reads a bag in log-time order. A context manager.

    Args:
        path: an ``.mcap`` or ``.db3`` file, or a folder of either, with or without ``metadata.yaml``.

    Attributes:
        topics: type name of each topic.
        start, end: log times in nanoseconds of the first and the last message; 0 in an empty bag.

    Raises:
        ConfigurationError: there is no bag at ``path``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._stack = ExitStack()
        self._readers: list[McapReader | SqliteReader] = []
        try:
            for file in self._files():
                reader = self._reader(file)
                self._stack.callback(reader.close)
                self._readers.append(reader)
        except BaseException:
            self._stack.close()
            raise
        self.topics: dict[str, str] = {}
        for reader in self._readers:
            self.topics.update(reader.topics)
        self.start = min((reader.start for reader in self._readers if reader.start is not None), default=0)
        self.end = max((reader.end for reader in self._readers if reader.end is not None), default=0)

    @property
    def truncated(self) -> bool:
        """Part of the bag could not be read; damage within is noticed only when it is reached."""
        return any(reader.truncated for reader in self._readers)

    def messages(
        self, topics: Collection[str] | None = None, start: int | None = None, stop: int | None = None
    ) -> Iterator[BagMessage]:
        """Messages in the order of their log times; those of the same time in the order in which they were written.

        Args:
            topics: names of the topics wanted; None for all.
            start: first log time in nanoseconds; found through the bag's index.
            stop: log time in nanoseconds before which to stop.
        """
        parts = (reader.messages(topics, start, stop) for reader in self._readers)
        return heapq.merge(*parts, key=lambda message: message.stamp)

    def close(self) -> None:
        """Close the bag's files."""
        self._stack.close()

    def __enter__(self) -> BagSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _files(self) -> list[Path]:
        if self.path.is_dir():
            return storage_files(self.path)
        if not self.path.exists():
            raise ConfigurationError(f"there is no bag at {self.path}")
        return [self.path]

    def _reader(self, file: Path) -> McapReader | SqliteReader:
        if file.suffix == ".zstd":
            file = self._decompressed(file)
        if file.suffix == ".mcap":
            return McapReader(file)
        if file.suffix == ".db3":
            return SqliteReader(file)
        raise ConfigurationError(f"{file} is not a bag: give an .mcap or .db3 file, or the folder of a bag")

    def _decompressed(self, file: Path) -> Path:
        """rosbag2's compression mode ``file``: the whole file has to be unpacked to be read at random."""
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="semlt3d_bag_"))
        unpacked = Path(folder) / file.with_suffix("").name
        try:
            with file.open("rb") as packed, unpacked.open("wb") as plain:
                zstandard.ZstdDecompressor().copy_stream(packed, plain)
        except zstandard.ZstdError as error:
            raise ConfigurationError(f"{file} cannot be decompressed: {error}") from error
        return unpacked


class BagSink:
    """Writes a bag. A context manager.

    What was written survives the end of the process, except for the last second of it at most: mcap chunks are handed
    to the operating system, and sqlite3 rows committed, every 4 MiB and every second of writing, and by ``flush``.

    Args:
        path: ``NAME.mcap`` for a single file, any other name for a bag folder.
        storage: what a bag folder holds; a single file is always mcap.
        compress: compress with zstd: chunks of an mcap file, single messages of a sqlite3 file.
        overwrite: replace a bag that is there. Other files in a bag folder are left alone.

    Raises:
        ConfigurationError: the path is taken, or cannot be written.
    """

    def __init__(
        self, path: str | Path, storage: Storage = "mcap", compress: bool = True, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        self._folder = None if self.path.suffix == ".mcap" else self.path
        self._storage = storage
        self._compress = compress
        self._topics: dict[str, TopicRecord] = {}
        self._counts: dict[TopicRecord, int] = {}
        self._span: tuple[int, int] | None = None
        self._closed = False
        if storage not in ("mcap", "sqlite3"):
            raise ConfigurationError(f"storage '{storage}' is not known; use mcap or sqlite3")
        if self.path.suffix == ".db3" or (self._folder is None and storage != "mcap"):
            raise ConfigurationError(f"{path}: a single file is always .mcap; give a folder's name for sqlite3")
        try:
            self._make_room(overwrite)
            self._file = self._folder / f"{self.path.name}_0.{_SUFFIX[storage]}" if self._folder else self.path
            self._writer = (
                McapWriter(self._file, compress, overwrite) if storage == "mcap" else SqliteWriter(self._file, compress)
            )
        except OSError as error:
            raise ConfigurationError(f"cannot write the bag {self.path}: {error.strerror or error}") from error
        self._write_metadata()

    def write(self, topic: str, type_name: str, message: object, stamp: int) -> None:
        """Append a message.

        Args:
            topic: topic name.
            type_name: ``"pkg/msg/Name"``.
            message: a message of rosbags' classes, or its CDR bytes.
            stamp: log time in nanoseconds, not negative; need not ascend, but readers are faster where it does.

        Raises:
            ConfigurationError: the type is not known, or the topic has another type in this bag.
            OSError: the disk is full; what was flushed before is safe, and writing may go on when there is room.
            ValueError: the bag is closed.
        """
        if self._closed:
            raise ValueError(f"the bag {self.path} is closed")
        record = self._topics.get(topic) or self._add_topic(topic, type_name)
        if record.type_name != type_name:
            raise ConfigurationError(f"topic {topic} carries {record.type_name} in {self.path}, not {type_name}")
        data = message if isinstance(message, (bytes, bytearray, memoryview)) else serialize(message, type_name)
        self._writer.write(record, stamp, data)
        self._counts[record] += 1
        first, last = self._span or (stamp, stamp)
        self._span = min(first, stamp), max(last, stamp)

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._writer.flush()

    def close(self) -> None:
        """Finish the bag: last messages, index, metadata. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._writer.close()
            self._write_metadata()

    def __enter__(self) -> BagSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error too: what was written is worth an index.
        self.close()

    def _add_topic(self, topic: str, type_name: str) -> TopicRecord:
        record = TopicRecord(len(self._topics) + 1, topic, type_name)
        self._writer.add_topic(record)
        self._topics[topic] = record
        self._counts[record] = 0
        self._write_metadata()
        return record

    def _make_room(self, overwrite: bool) -> None:
        if self._folder is None:
            if self.path.exists() and not overwrite:
                raise ConfigurationError(f"{self.path} is there already; choose another name or allow overwriting")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return
        taken = [file for file in self.path.iterdir() if _is_bag_file(file)] if self.path.is_dir() else []
        if taken and not overwrite:
            raise ConfigurationError(f"{self.path} holds a bag already; choose another name or allow overwriting")
        for file in taken:
            file.unlink()
        self.path.mkdir(parents=True, exist_ok=True)

    def _write_metadata(self) -> None:
        if self._folder:
            compressed_messages = self._compress and self._storage == "sqlite3"
            span = self._span or (0, 0)
            write_metadata(
                self._folder, self._storage, self._file.name, self._counts, span, compressed_messages, self._closed
            )


_SUFFIX = {"mcap": "mcap", "sqlite3": "db3"}


def _is_bag_file(path: Path) -> bool:
    return (
        path.name == METADATA_NAME
        or any(part in (".mcap", ".db3") for part in path.suffixes[-2:])
        or ".db3-" in path.name
    )
