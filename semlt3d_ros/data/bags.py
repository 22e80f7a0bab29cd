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
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.data.bag_message import BagMessage, decoded
from semlt3d_ros.data.bag_metadata import METADATA_NAME, BagFolder, read_folder, write_metadata
from semlt3d_ros.data.bag_topics import TopicRecord
from semlt3d_ros.data.mcap_reader import McapReader
from semlt3d_ros.data.mcap_writer import McapWriter
from semlt3d_ros.data.sqlite_storage import SqliteReader, SqliteWriter
from semlt3d_ros.messages.typestore import serialize

__all__ = ["BagMessage", "BagSink", "BagSource", "decoded"]

Storage = Literal["mcap", "sqlite3"]
_READERS: dict[str, type[McapReader] | type[SqliteReader]] = {".mcap": McapReader, ".db3": SqliteReader}


class BagSource:
    """Reads a bag in log-time order. A context manager.

    Args:
        path: an ``.mcap`` or ``.db3`` file, or a folder of either, with or without ``metadata.yaml``. A file that is
            missing from a folder, or cannot be opened, does not take the others along.

    Attributes:
        topics: type name of each topic; of a topic that was recorded with several, the first.
        types: all type names of each topic.
        start, end: log times in nanoseconds of the first and the last message; 0 in an empty bag.

    Raises:
        ConfigurationError: there is no bag at ``path``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._stack = ExitStack()
        self._readers: list[McapReader | SqliteReader] = []
        self._folder_faults = FaultLog()
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        self.types: dict[str, tuple[str, ...]] = {}
        for topic, type_name in (pair for reader in self._readers for pair in reader.types):
            self.types[topic] = tuple(dict.fromkeys((*self.types.get(topic, ()), type_name)))
        self.topics = {topic: types[0] for topic, types in self.types.items()}
        self.start = min((reader.start for reader in self._readers if reader.start is not None), default=0)
        self.end = max((reader.end for reader in self._readers if reader.end is not None), default=0)

    @property
    def faults(self) -> FaultLog:
        """What of the bag is missing or could not be read; damage within is noticed only when it is reached.

        By file: ``missing_file``, ``unreadable_file``, ``cut_off``, ``damaged``, ``message_count``. What is harmless is
        no part of the bag that could be used.
        """
        return FaultLog([*self._folder_faults, *(fault for reader in self._readers for fault in reader.faults)])

    @property
    def truncated(self) -> bool:
        """Part of the bag is missing or could not be read: ``faults`` says which."""
        return any(not fault.harmless for fault in self.faults)

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

    def _open(self) -> None:
        if not self.path.is_dir():
            if not self.path.exists():
                raise ConfigurationError(f"there is no bag at {self.path}")
            self._readers.append(self._reader(self.path))
            return
        folder = read_folder(self.path)
        failure: ConfigurationError | None = None
        for file in folder.files:
            try:
                self._readers.append(self._reader(file))
            except ConfigurationError as error:
                failure = error
                text = f"cannot be read ({error}); copy it again, or record anew"
                self._folder_faults.add(str(file), "unreadable_file", text)
        if failure is not None and not self._readers:
            raise failure
        self._compare(folder)

    def _compare(self, folder: BagFolder) -> None:
        """Note what should be there and is not."""
        count = sum(reader.count for reader in self._readers)
        lost = max((folder.message_count or 0) - count, 0)
        share = f", {lost} of the bag's {folder.message_count} messages are not there" if lost else ""
        for name in folder.missing:
            text = f"is listed in {METADATA_NAME} and missing{share}; copy it into {self.path}"
            self._folder_faults.add(name, "missing_file", text)
        for name in folder.gaps:
            text = f"is missing between the other files of {self.path}; copy it there"
            self._folder_faults.add(name, "missing_file", text)
        if lost and not folder.missing:
            text = f"{METADATA_NAME} counts {folder.message_count} messages, {count} are there; copy the bag again"
            self._folder_faults.add(str(self.path), "message_count", text)

    def _reader(self, file: Path) -> McapReader | SqliteReader:
        content = self._decompressed(file) if file.suffix == ".zstd" else file
        if content.suffix not in _READERS:
            raise ConfigurationError(f"{file} is not a bag: give an .mcap or .db3 file, or the folder of a bag")
        reader = _READERS[content.suffix](content, name=str(file))
        self._stack.callback(reader.close)
        return reader

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
