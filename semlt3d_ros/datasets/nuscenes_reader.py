"""Rows of nuScenes' tables, with progress, and what of them cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.datasets.json_table import read_rows
from semlt3d_ros.datasets.nuscenes_folder import NuScenesFolder


class TableReader:
    """Reads tables row by row and counts rows that cannot be used.

    Args:
        folder: where they are.
        progress: called with how many bytes were read, and how many there are.
        tables: all that will be read.
    """

    def __init__(self, folder: NuScenesFolder, progress: Callable[[int, int], None], tables: Sequence[str]) -> None:
        self.folder = folder
        self.faults = FaultLog()
        self._progress = progress
        self._read = 0
        self._size = sum(path.stat().st_size for name in tables if (path := folder.table(name)).is_file())

    def rows(self, table: str, take: Callable[[dict[str, Any]], None]) -> None:
        """Hand each row of a table to ``take``; a row that it cannot use is counted.

        Raises:
            ConfigurationError: the table is missing or damaged.
        """
        path = self.folder.table(table)
        try:
            for number, row in enumerate(read_rows(path, self._advance)):
                try:
                    take(row)
                except (KeyError, TypeError, ValueError, OverflowError) as error:
                    what = f"no '{error.args[0]}'" if isinstance(error, KeyError) else str(error)
                    self.faults.add(str(path), "row", f"row {number} (token {row.get('token')}) is left out: {what}")
        except InputRejected as error:
            raise ConfigurationError(f"{path}: {error}") from None

    def _advance(self, size: int) -> None:
        self._read += size
        self._progress(min(self._read, self._size), self._size)
