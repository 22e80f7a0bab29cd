"""Tables out of pandas pickles that may come from anybody.

A pickle can call any function it names. PandaSet ships its tables as pickled DataFrames, so they are read by an
unpickler that knows the handful of constructors a DataFrame of numbers and strings is made of, and refuses every other
name.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from semlt3d_ros.core.errors import ConfigurationError, InputRejected

_NUMPY_MULTIARRAY = ("_reconstruct", "scalar")
_ALLOWED: dict[str, tuple[str, ...]] = {
    "builtins": ("slice",),
    "numpy": ("ndarray", "dtype"),
    "numpy.core.multiarray": _NUMPY_MULTIARRAY,
    "numpy._core.multiarray": _NUMPY_MULTIARRAY,
    "numpy.core.numeric": ("_frombuffer",),
    "numpy._core.numeric": ("_frombuffer",),
    "pandas": ("DataFrame", "Index", "RangeIndex"),
    "pandas.core.frame": ("DataFrame",),
    "pandas.core.indexes.base": ("Index", "_new_Index"),
    "pandas.core.indexes.range": ("RangeIndex",),
    "pandas.core.internals.managers": ("BlockManager",),
    "pandas._libs.internals": ("_unpickle_block",),
}
"""Module -> names. pandas 3 writes ``pandas.DataFrame``; PandaSet's files have the names of pandas 0.24."""


class _ForbiddenName(pickle.UnpicklingError):
    """A pickle names something that no table needs."""


class _TableUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _ALLOWED.get(module, ()):
            raise _ForbiddenName(f"{module}.{name}")
        if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
            module = module.replace("numpy.core.", "numpy._core.")
        else:
            module = module.replace("numpy._core.", "numpy.core.")
        return super().find_class(module, name)


def read_table(path: Path, numbers: Sequence[str], others: Sequence[str] = ()) -> dict[str, NDArray]:
    """Columns of a pickled pandas DataFrame; what it is compressed with, if at all, its content says and not its name.

    Args:
        path: the file.
        numbers: columns of numbers; the table may have more than these and ``others``.
        others: columns of anything else.

    Returns:
        Column name -> (N,) array, float64 for ``numbers``, NaN where a single value is no number.

    Raises:
        InputRejected: ``missing_file``, ``damaged_file``; ``refused_file``: its pickle asks for anything but the parts
            of a table; ``columns``: it lacks one, or one does not hold numbers.
        ConfigurationError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise ConfigurationError(
            f"{path}: pandas is needed to read it; run: pip install 'semlt3d_ros[datasets]'"
        ) from None
    table = _unpickle(_unpacked(read_file(path)))
    if not isinstance(table, pandas.DataFrame):
        raise InputRejected("damaged_file", f"holds a {type(table).__name__}, expected a pandas DataFrame")
    missing = [name for name in (*numbers, *others) if name not in table.columns]
    if missing:
        raise InputRejected("columns", f"no column '{missing[0]}'; is this a PandaSet file?")
    columns = {name: table[name].to_numpy() for name in others}
    for name in numbers:
        # One word among numbers spoils its row, not the table.
        try:
            columns[name] = pandas.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
        except (TypeError, ValueError):
            columns[name] = np.full(len(table), np.nan)
        words = not pandas.api.types.is_numeric_dtype(table[name])
        if words and len(table) and not np.isfinite(columns[name]).any():
            raise InputRejected("columns", f"column '{name}' does not hold numbers; is this a PandaSet file?")
    return columns


def read_file(path: Path) -> bytes:
    """The content of a file.

    Raises:
        InputRejected: ``missing_file``: it is not there or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputRejected("missing_file", f"{error.strerror}; is the sequence folder complete?") from None


def _unpacked(content: bytes) -> bytes:
    for _ in range(_MOST_LAYERS):
        unpack = next((unpack for magic, unpack in _PACKERS.items() if content.startswith(magic)), None)
        if unpack is None:
            break
        try:
            content = unpack(content)
        except Exception as error:  # each packer has its own
            raise InputRejected("damaged_file", f"cannot be unpacked ({error}); download it again") from None
    return content


def _unzipped(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(archive.namelist()[0])


_MOST_LAYERS = 3
_PACKERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
    b"PK\x03\x04": _unzipped,
    b"\x28\xb5\x2f\xfd": lambda content: zstandard.ZstdDecompressor().decompressobj().decompress(content),
}
"""First bytes -> what unpacks it: all that pandas packs tables with."""


def _unpickle(content: bytes) -> Any:
    try:
        return _TableUnpickler(io.BytesIO(content)).load()
    except _ForbiddenName as error:
        raise InputRejected(
            "refused_file", f"refused, its pickle asks for '{error}', which no table needs; do not trust this file"
        ) from None
    except Exception as error:  # a damaged pickle makes any of pandas', NumPy's and pickle's constructors fail
        raise InputRejected("damaged_file", f"damaged pickle ({error}); download it again") from None
