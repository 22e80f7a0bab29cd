"""Arrays on disk that can be computed again: found by name, bounded in size."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from semlt3d_ros.core.outputs import whole

_SWEEP_EVERY = 200
"""Files that are written between two looks at how much there is."""
_SUFFIX = ".safetensors"


class KeptArrays:
    """What somebody has made, so that it need not be made again.

    What others have made is never read. Several processes may share a folder.

    Args:
        folder: where the files lie, those of other makers too.
        maker: who makes them, such as the version of a model.
        limit_bytes: when all makers' files are more, those that were not read for the longest time go.

    Attributes:
        counts: how often something was ``read``, ``computed`` or ``damaged``, and how many files were ``evicted``.
    """

    def __init__(self, folder: Path, maker: str, limit_bytes: float) -> None:
        self._folder, self._limit = folder / hashlib.sha256(maker.encode()).hexdigest()[:16], limit_bytes
        self._written = 0
        self.counts: Counter[str] = Counter()

    def read(self, name: str, keys: Iterable[str]) -> dict[str, NDArray] | None:
        """The arrays ``keys`` of what is kept under a name; None where nothing is, or it cannot be read."""
        path = self._path(name)
        try:
            arrays = load(path.read_bytes())
            result = {key: arrays[key] for key in keys}
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError):
            self.counts["damaged"] += 1
            return None
        self.counts["read"] += 1
        return result

    def keep(self, name: str, arrays: Mapping[str, NDArray]) -> None:
        """Write arrays under a name, a hexadecimal digest of what they were made from."""
        self.counts["computed"] += 1
        with whole(self._path(name), durable=False) as draft:
            # They lie in a row without checksums: found again, they are read in a fifth of the time of an archive.
            draft.write_bytes(save({key: np.ascontiguousarray(values) for key, values in arrays.items()}))
        self._written += 1
        if self._written % _SWEEP_EVERY == 1:
            self._evict()

    def knows(self, name: str) -> bool:
        """Whether something is kept under a name."""
        return self._path(name).exists()

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name[2:]}{_SUFFIX}"

    def _evict(self) -> None:
        found = []
        for path in self._folder.parent.glob(f"*/*/*{_SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process was faster
                continue
            found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._limit:
                break
            path.unlink(missing_ok=True)
            total -= size
            self.counts["evicted"] += 1
