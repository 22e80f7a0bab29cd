"""Configurations: from the values in a file to a dataclass, with every fault of the file told at once.

The dataclass says it all. Names that it does not have are refused, with the nearest one that it has. So are values of
another type, by pydantic and strictly: a whole number is a number too, a list becomes a tuple, a text a path; nothing
else is converted. What must hold between entries (``core.checks``) is checked wherever the entries are usable.

Importing this module imports pydantic; modules that only define configurations leave that to their loading functions.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from semlt3d_ros.core.checks import Checked, UnfitEntry, faults_of
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.yaml_file import read_yaml, unknown

T = TypeVar("T")

_UNFIT: Any = object()
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_WORDS = {
    bool: ("true or false", "true or false values"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
    Path: ("a path", "paths"),
    type(None): ("null", "nulls"),
}
_MOST_SHOWN = 80


class ConfigurationFaults(ConfigurationError):
    """A configuration that does not fit.

    Attributes:
        faults: a line for each thing that does not, each with the path of its entry.
    """

    def __init__(self, place: str, faults: Iterable[str]) -> None:
        self.faults = tuple(dict.fromkeys(faults))
        super().__init__(f"{place}: {'; '.join(self.faults)}")


def load(kind: type[T], path: Path, what: str) -> T:
    """A ``kind`` of dataclass from a YAML file, which is a ``what`` in messages.

    Raises:
        ConfigurationError: the file cannot be read or is no YAML, or its entries do not fit; all faults are named.
    """
    return parse(kind, read_yaml(path, what), f"{what} '{path}'")


def parse(kind: type[T], values: Any, place: str) -> T:
    """A ``kind`` of dataclass from plain values, as YAML and JSON give them; ``place`` names them in messages.

    Raises:
        ConfigurationError: entries are unknown, missing or do not fit; all faults are named.
    """
    if not isinstance(values, Mapping):
        found = "it is empty" if values is None else f"not {shown(values)}"
        raise ConfigurationError(f"{place} must be a mapping of entries, {found}")
    faults: list[str] = []
    made: T = _entries(kind, values, "", faults)
    if faults:
        raise ConfigurationFaults(place, faults)
    return made


def fitted(hint: Any, value: Any) -> Any:
    """A value as the type that a field is annotated with.

    Raises:
        ValueError: it is not of that type; the message is what is expected, such as "a whole number".
    """
    try:
        text = json.dumps(_with_numbers(hint, value), allow_nan=False)
        if _plain(value):
            return _adapter(hint).validate_json(text)
    except (ValidationError, ValueError, TypeError, RecursionError):
        pass
    expected = words(hint)
    raise ValueError(expected if _finite(value) else expected.replace("number", "finite number"))


def words(hint: Any, many: bool = False) -> str:
    """What values of a type are called, one or ``many``."""
    if hint in _WORDS:
        return _WORDS[hint][many]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (Union, types.UnionType):
        return " or ".join(words(each, many) for each in inner)
    if origin is tuple:
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return f"{'lists' if many else 'a list'} of {count}{words(inner[0], many=True)}"
    return "mappings" if many else "a mapping"


def shown(value: Any) -> str:
    """A value, short enough for a message."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _entries(kind: Any, values: Any, path: str, faults: list[str]) -> Any:
    """The dataclass; where something does not fit, only what does of it; nothing where the values are no mapping."""
    if not isinstance(values, Mapping):
        faults.append(f"{path}: must be a mapping of entries, not {shown(values)}")
        return _UNFIT
    values = kind.in_full(values) if issubclass(kind, Checked) else values
    before, place = len(faults), f"{path}: " if path else ""
    hints, known = _hints(kind), {entry.name: entry for entry in dataclasses.fields(kind)}
    # Names that are like none come together: of another kind of file there are many.
    strange: dict[str, list[str]] = {}
    for name in values:
        if name not in known:
            strange.setdefault(unknown(name, known), []).append(repr(str(name)))
    faults += [f"{place}unknown entry {', '.join(names)}; {remedy}" for remedy, names in strange.items()]
    fit: dict[str, Any] = {}
    missing = []
    for name, entry in known.items():
        if name in values:
            value = _value(hints[name], values[name], f"{path}.{name}" if path else name, faults)
            if value is not _UNFIT:
                fit[name] = value
        elif entry.default is not dataclasses.MISSING:
            fit[name] = entry.default
        elif entry.default_factory is not dataclasses.MISSING:
            fit[name] = entry.default_factory()
        else:
            missing.append(name)
    if missing:
        faults.append(f"{place}missing {', '.join(missing)}")
    partly = _partly(kind, fit, known.keys() - fit.keys())
    faults += [f"{place}{fault}" for fault in faults_of(partly)]
    if len(faults) == before:
        try:
            return kind(**fit)
        except ConfigurationError as error:
            faults.append(f"{place}{error}")
    return partly


def _value(hint: Any, value: Any, path: str, faults: list[str]) -> Any:
    """A value as its type, or ``_UNFIT``; lists and mappings part by part, so that each is told of by its own path."""
    if dataclasses.is_dataclass(hint):
        return _entries(hint, value, path, faults)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType) and isinstance(value, Mapping):
        kinds = [each for each in inner if dataclasses.is_dataclass(each)]
        if len(kinds) == 1:
            return _entries(kinds[0], value, path, faults)
    if origin is tuple and inner[-1] is Ellipsis:
        if dataclasses.is_dataclass(inner[0]) and isinstance(value, Mapping):
            return (_value(inner[0], value, path, faults),)  # one alone needs no list around it
        if isinstance(value, list | tuple):
            parts = [_value(inner[0], each, f"{path}[{index}]", faults) for index, each in enumerate(value)]
            return _UNFIT if any(part is _UNFIT for part in parts) else tuple(parts)
    elif origin is dict and dataclasses.is_dataclass(inner[1]) and isinstance(value, Mapping):
        named = {str(name): _value(inner[1], each, f"{path}.{name}", faults) for name, each in value.items()}
        return _UNFIT if any(part is _UNFIT for part in named.values()) else named
    try:
        return fitted(hint, value)
    except ValueError as error:
        faults.append(f"{path} must be {error}, not {shown(value)}")
        return _UNFIT


def _partly(kind: Any, fit: Mapping[str, Any], unfit: Iterable[str]) -> Any:
    """An object of a dataclass that refuses to give the entries that have no usable value."""
    refused = frozenset(unfit)

    def get(self: Any, name: str) -> Any:
        if name in refused:
            raise UnfitEntry(name)
        return object.__getattribute__(self, name)

    made: Any = object.__new__(type(kind.__name__, (kind,), {"__getattribute__": get}))
    for name, value in fit.items():
        object.__setattr__(made, name, value)
    return made


def _plain(value: Any) -> bool:
    """Whether JSON keeps a value as it is; it would turn names that are no texts into texts."""
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _plain(each) for name, each in value.items())
    return all(map(_plain, value)) if isinstance(value, list | tuple) else True


def _with_numbers(hint: Any, value: Any) -> Any:
    """YAML 1.1, of which ROS 2's tools read parameters, takes 1e-3 as a text; everybody means a number."""
    if isinstance(value, list | tuple) and get_args(hint):
        return [_with_numbers(hint, each) for each in value]
    inner = get_args(hint) or (hint,)
    means_number = float in inner and str not in inner
    return float(value) if means_number and isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _finite(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    # Of JSON, strictly, a list is taken as a tuple and a text as a path; of Python's values it would not be.
    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))
