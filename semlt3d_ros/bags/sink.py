"""Writing bags: rosbag2 folders (mcap or sqlite3) and single mcap files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Literal

from semlt3d_ros.bags.mcap_writer import McapWriter
from semlt3d_ros.bags.metadata import files_of_bag, write_metadata
from semlt3d_ros.bags.sqlite_storage import SqliteWriter
from semlt3d_ros.bags.topics import TopicRecord
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import Draft, resolved
from semlt3d_ros.messages.typestore import serialize

Storage = Literal["mcap", "sqlite3"]

_log = logging.getLogger(__name__)


class BagSink:
    """Writes a bag. A context manager.

    It is written under its unfinished name (``NAME.unfinished.mcap``, ``NAME.unfinished`` for a folder) and takes its
    own when it is closed; until then an earlier bag can be read under that name. Where the context ends by an error or
    an interruption, the bag is finished so far as it goes and stays under its unfinished name, which is logged.

    What was written survives the end of the process, except for the last second of it at most: mcap chunks are handed
    to the operating system, and sqlite3 rows committed, every 4 MiB and every second of writing, and by ``flush``.

    Args:
        path: ``NAME.mcap`` for a single file, any other name for a bag folder.
        storage: what a bag folder holds; a single file is always mcap.
        compress: compress with zstd: chunks of an mcap file, single messages of a sqlite3 file.
        overwrite: replace a bag that is there. Other files in a bag folder are left alone; recordings that are no part
            of that bag are refused.

    Attributes:
        path: where the bag will be.
        draft: where it is being written.

    Raises:
        ConfigurationError: the path is taken, cannot be written, or is being written by another process.
    """

    def __init__(
        self, path: str | Path, storage: Storage = "mcap", compress: bool = True, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        self._is_folder = self.path.suffix != ".mcap"
        self._storage = storage
        self._compress = compress
        self._overwrite = overwrite
        self._topics: dict[str, TopicRecord] = {}
        self._counts: dict[TopicRecord, int] = {}
        self._span: tuple[int, int] | None = None
        self._closed = False
        if storage not in ("mcap", "sqlite3"):
            raise ConfigurationError(f"storage '{storage}' is not known; use mcap or sqlite3")
        if self.path.suffix == ".db3" or (not self._is_folder and storage != "mcap"):
            raise ConfigurationError(f"{path}: a single file is always .mcap; give a folder's name for sqlite3")
        try:
            self._taken()
        except OSError as error:
            raise ConfigurationError(f"cannot write the bag {path}: {error.strerror or error}") from error
        self._draft = Draft(self.path, folder=self._is_folder, wait=False)
        self.draft = self._draft.draft
        name = f"{self._draft.path.name}_0.{_SUFFIX[storage]}"
        self._file = self.draft / name if self._is_folder else self.draft
        try:
            self._writer = McapWriter(self._file, compress) if storage == "mcap" else SqliteWriter(self._file, compress)
            self._write_metadata()
        except OSError as error:
            self._draft.discard()
            raise ConfigurationError(f"cannot write the bag {path}: {error.strerror or error}") from error
        except ConfigurationError:
            self._draft.discard()
            raise

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
        with self._named():
            self._writer.write(record, stamp, data)
        self._counts[record] += 1
        first, last = self._span or (stamp, stamp)
        self._span = min(first, stamp), max(last, stamp)

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        with self._named():
            self._writer.flush()

    def close(self) -> None:
        """Finish the bag: last messages, index, metadata, its own name. A second call does nothing.

        Raises:
            ConfigurationError: the place has been taken meanwhile; the bag stays under its unfinished name.
            OSError: the disk is full; likewise.
        """
        if self._closed:
            return
        self._closed = True
        try:
            with self._named():
                self._writer.close()
            self._write_metadata()
            self._draft.finish(replaced=self._taken())
        except BaseException:
            self._keep()
            raise

    def discard(self) -> None:
        """Give up a bag that is not finished: what was written of it is removed."""
        if not self._closed:
            self._closed = True
            with suppress(OSError):
                self._writer.close()
        self._draft.discard()

    def __enter__(self) -> BagSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif not self._closed:
            self._closed = True
            # What was written is worth an index; what goes wrong with that must not hide the error itself.
            with suppress(OSError, ConfigurationError):
                self._writer.close()
                self._write_metadata()
            self._keep()

    def _keep(self) -> None:
        """Leave the bag under its unfinished name, if there is anything in it."""
        if sum(self._counts.values()) == 0:
            self._draft.discard()
            return
        self._draft.keep()
        _log.warning("%s is not finished; what was written so far is in %s", self.path, self.draft)

    def _add_topic(self, topic: str, type_name: str) -> TopicRecord:
        record = TopicRecord(len(self._topics) + 1, topic, type_name)
        self._writer.add_topic(record)
        self._topics[topic] = record
        self._counts[record] = 0
        self._write_metadata()
        return record

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors of the disk say which file could not be written."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(self.draft)) from error

    def _taken(self) -> list[Path]:
        """The files of a bag that is there already.

        Raises:
            ConfigurationError: there is one, and it is not to be overwritten; or there are recordings of another.
        """
        place = resolved(self.path)
        if self._is_folder:
            taken, strange = files_of_bag(place) if place.is_dir() else ([], [])
        else:
            taken, strange = [place] if place.exists() else [], []
        if strange:
            raise ConfigurationError(
                f"{self.path} holds recordings that are no part of one bag, such as {strange[0].name}; choose another "
                "name, in it for example"
            )
        if taken and not self._overwrite:
            what = "holds a bag" if self._is_folder else "is there"
            raise ConfigurationError(f"{self.path} {what} already; choose another name or allow overwriting")
        return taken

    def _write_metadata(self) -> None:
        if self._is_folder:
            compressed_messages = self._compress and self._storage == "sqlite3"
            span = self._span or (0, 0)
            write_metadata(self.draft, self._storage, self._file.name, self._counts, span, compressed_messages)


_SUFFIX = {"mcap": "mcap", "sqlite3": "db3"}
