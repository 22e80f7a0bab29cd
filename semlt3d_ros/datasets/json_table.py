"""Tables that are one long JSON array of objects, read row by row: those of nuScenes have millions of rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from semlt3d_ros.core.errors import InputRejected

_CHUNK = 4 << 20
_LONGEST_ROW = 4 * _CHUNK
_BETWEEN = re.compile(r"[\s,]*")


def read_rows(path: Path, progress: Callable[[int], None] = lambda size: None) -> Iterator[dict[str, Any]]:
    """The rows of a table, one at a time; of the file no more than a few megabytes are in memory.

    Args:
        path: a JSON file that holds an array of objects.
        progress: called with the size of each part of the file that was read.

    Raises:
        InputRejected: ``missing_file``: it is not there or cannot be read; ``damaged_file``: it is no such array, or
            was cut off.
    """
    decode = json.JSONDecoder().raw_decode
    try:
        with path.open(encoding="utf-8") as file:
            text, place, opened = "", 0, False
            while True:
                match = _BETWEEN.match(text, place)
                place = match.end() if match else place
                row = None
                if place < len(text):
                    if not opened and text[place] != "[":
                        raise InputRejected("damaged_file", "not a table: it does not begin with '['")
                    if not opened:
                        opened, place = True, place + 1
                        continue
                    if text[place] == "]":
                        return
                    try:
                        row, place = decode(text, place)
                    except json.JSONDecodeError as error:
                        if len(text) - place > _LONGEST_ROW:
                            raise _damaged(str(error)) from None
                if row is None:
                    more = file.read(_CHUNK)
                    if not more:
                        raise _damaged("it ends in the middle")
                    progress(len(more))
                    text, place = text[place:] + more, 0
                elif isinstance(row, dict):
                    yield row
                else:
                    raise _damaged(f"{str(row)[:40]} is no row")
    except OSError as error:
        raise InputRejected("missing_file", f"{error.strerror}; is the download complete?") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise _damaged(str(error)) from None


def _damaged(why: str) -> InputRejected:
    return InputRejected("damaged_file", f"damaged ({why}); download it again")
