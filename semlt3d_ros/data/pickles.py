"""Tables out of pandas pickles that may come from anybody.

A pickle can call any function it names. PandaSet ships its tables as pickled DataFrames, so they are read by an
unpickler that knows the handful of constructors a DataFrame of numbers and strings is made of, and refuses every other
name.
"""

from __future__ import annotations

import gzip
import io
import pickle
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import ConfigurationError

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
    """Columns of a gzip-compressed, pickled pandas DataFrame.

    Args:
        path: the ``.pkl.gz`` file.
        numbers: columns of numbers; the table may have more than these and ``others``.
        others: columns of anything else.

    Returns:
        Column name -> (N,) array, float64 for ``numbers``.

    Raises:
        ConfigurationError: pandas is not installed; the file is missing, damaged, no DataFrame, or lacks a column; or
            its pickle asks for anything but the parts of a table.
    """
    try:
        import pandas
    except ImportError:
        raise ConfigurationError(
            f"{path}: pandas is needed to read it; run: pip install 'semlt3d_ros[datasets]'"
        ) from None
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read()
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file; is the sequence folder complete?") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"{path}: not a whole gzip file ({error}); download it again") from None
    table = _unpickle(path, content)
    if not isinstance(table, pandas.DataFrame):
        raise ConfigurationError(f"{path}: holds a {type(table).__name__}, expected a pandas DataFrame")
    missing = [name for name in (*numbers, *others) if name not in table.columns]
    if missing:
        raise ConfigurationError(f"{path}: no column '{missing[0]}'; is this a PandaSet file?")
    columns = {name: table[name].to_numpy() for name in others}
    for name in numbers:
        try:
            columns[name] = table[name].to_numpy(dtype=np.float64)
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"{path}: column '{name}' does not hold numbers; is this a PandaSet file?"
            ) from None
    return columns


def _unpickle(path: Path, content: bytes) -> Any:
    try:
        return _TableUnpickler(io.BytesIO(content)).load()
    except _ForbiddenName as error:
        raise ConfigurationError(
            f"{path}: refused, its pickle asks for '{error}', which no table needs; do not trust this file"
        ) from None
    except Exception as error:  # a damaged pickle makes any of pandas', NumPy's and pickle's constructors fail
        raise ConfigurationError(f"{path}: damaged pickle ({error}); download it again") from None
