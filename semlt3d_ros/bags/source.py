"""Reading bags: rosbag2 folders (mcap or sqlite3), single mcap files and single ``.db3`` files."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import zstandard

from semlt3d_ros.bags.mcap_reader import McapReader
from semlt3d_ros.bags.message import BagMessage
from semlt3d_ros.bags.metadata import METADATA_NAME, BagFolder, read_folder
from semlt3d_ros.bags.sqlite_storage import SqliteReader
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import FaultLog

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
        """Note what should be there and is not, and what is there and should not be."""
        metadata = str(self.path / METADATA_NAME)
        if folder.unreadable:
            text = f"{folder.unreadable}; whether files are missing at the end cannot be told"
            self._folder_faults.note(metadata, "metadata", text)
        if folder.unlisted:
            names = ", ".join(folder.unlisted)
            text = f"does not list {names}; read all the same, move away what is of another recording"
            self._folder_faults.note(metadata, "unlisted_file", text)
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
        if not file.is_file():  # opening a pipe would wait for whoever writes to it
            raise ConfigurationError(f"{file} is not a bag: it is no plain file")
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
