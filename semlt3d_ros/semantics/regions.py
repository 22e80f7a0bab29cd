"""What a CLIP sees in image regions, computed once: the results are kept on disk, found again by content."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import ConfigurationError, InputRejected

_FILE = "regions.sqlite"
_TABLE = "CREATE TABLE IF NOT EXISTS regions (key BLOB PRIMARY KEY, embedding BLOB NOT NULL) WITHOUT ROWID"
_WAIT_S = 60.0


class ImageEncoder(Protocol):
    """What regions are embedded with; ``ClipEncoder`` is one."""

    @property
    def identity(self) -> str:
        """Name and hash of the weights."""

    @property
    def dimension(self) -> int:
        """d, the width of the space."""

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(n, d) float32 rows of unit length."""


class RegionEmbedder:
    """Embeds crops; each content is computed once for each CLIP, by whichever process comes first.

    Args:
        encoder: the CLIP.
        cache: a folder to keep embeddings in, shared by all CLIPs and processes; None keeps nothing.

    Raises:
        ConfigurationError: the folder cannot be written.
    """

    def __init__(self, encoder: ImageEncoder, cache: Path | None = None) -> None:
        self.encoder = encoder
        self._path = None if cache is None else Path(cache) / _FILE
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._create(self._path)
            except (OSError, sqlite3.OperationalError) as error:
                raise ConfigurationError(f"region cache '{self._path}' cannot be written ({error})") from error

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (R, d) float32 of unit length for crops (R, S, S, 3) uint8; R may be 0.

        Raises:
            InputRejected: ``region``: the crops are of another shape or type, or have no pixels.
        """
        crops = np.asarray(crops)
        if crops.ndim != 4 or crops.shape[-1] != 3 or crops.dtype != np.uint8 or 0 in crops.shape[1:]:
            raise InputRejected(
                "region", f"crops of shape {crops.shape} and type {crops.dtype} are not (R, S, S, 3) uint8"
            )
        out = np.zeros((len(crops), self.encoder.dimension), np.float32)
        if self._path is None:
            return self.encoder.encode_images(list(crops)) if len(crops) else out
        keys = [self._key(crop) for crop in crops]
        with closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as database:
            missing = []
            for row, key in enumerate(keys):
                known = database.execute("SELECT embedding FROM regions WHERE key = ?", (key,)).fetchone()
                if known is not None and len(known[0]) == out[row].nbytes:
                    out[row] = np.frombuffer(known[0], np.float32)
                else:
                    missing.append(row)
            if missing:
                out[missing] = self.encoder.encode_images(list(crops[missing]))
                with database:
                    database.executemany(
                        "INSERT OR REPLACE INTO regions VALUES (?, ?)",
                        [(keys[row], out[row].tobytes()) for row in missing],
                    )
        return out

    def _key(self, crop: NDArray[np.uint8]) -> bytes:
        digest = hashlib.sha256(f"{self.encoder.identity} {crop.shape} ".encode())
        digest.update(np.ascontiguousarray(crop).data)
        return digest.digest()[:16]

    @staticmethod
    def _create(path: Path) -> None:
        """Open the cache, and replace one that is damaged: all it holds can be computed again."""
        try:
            with closing(sqlite3.connect(path, timeout=_WAIT_S)) as database, database:
                database.execute(_TABLE)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            path.unlink()
            with closing(sqlite3.connect(path, timeout=_WAIT_S)) as database, database:
                database.execute(_TABLE)
