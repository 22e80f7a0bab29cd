"""CDR of messages that are mostly one long array of records, written from arrays: a column at a time, for all records.

Building a message object for each of 200 boxes and writing it field by field takes longer than everything else that a
node does besides its model. The bytes are those that rosbags and rclpy write of the same message: XCDR1, little endian,
every number aligned to its size as counted from the end of the four-byte header.

The layout comes from the message definitions, so that it is right for every distribution of ROS 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Nodetype

from semlt3d_ros.messages.typestore import Serialized, serialize, type_store

Values = dict[str, Any]
"""By field name, of all N records of a type:

* a number, or a message made of numbers of one kind (``Pose``, ``Vector3``): an array (N, ...) with all of them in the
  order of the definition, or what can be broadcast to it;
* a text: N of them, one for all, or ``Chosen`` from few;
* an array of numbers: an array (N, length);
* another message: ``Values`` of its fields;
* an array of other messages: a sequence of ``Values``, one for each place in it; every record has as many.

What is not given is zero or empty.
"""


class Chosen(NamedTuple):
    """N texts, each of which is one of few.

    Attributes:
        texts: to choose from.
        indices: (N,) which of them.
    """

    texts: Sequence[str]
    indices: NDArray[np.int64]


_HEADER = 4
_GREATEST_ALIGNMENT = 8
_NUMBERS = {
    "bool": "u1", "byte": "u1", "char": "u1", "int8": "i1", "uint8": "u1", "int16": "<i2", "uint16": "<u2",
    "int32": "<i4", "uint32": "<u4", "int64": "<i8", "uint64": "<u8", "float32": "<f4", "float64": "<f8",
}  # fmt: skip


def serialize_records(message: Any, type_name: str, count: int, values: Values) -> Serialized:
    """CDR bytes of a message whose last field is an array of messages, which is given as columns.

    Args:
        message: a message of rosbags' classes with all but that array, which is empty.
        type_name: its type.
        count: N, the number of records.
        values: the records.

    Raises:
        KeyError: ``values`` has a field that the records do not have.
    """
    head = np.frombuffer(serialize(message, type_name), np.uint8)
    _, (_, ((_, record_type), _)) = _fields(type_name)[-1]
    columns: list[_Column] = []
    for column in _columns(record_type, values):
        if not columns or not columns[-1].takes_in(column):
            columns.append(column)
    start = len(head) - _HEADER
    end, places = _places(start, count, columns)
    # What is aligned is what follows the header.
    whole = np.zeros(_GREATEST_ALIGNMENT + -(-end // _GREATEST_ALIGNMENT) * _GREATEST_ALIGNMENT, np.uint8)
    data, message_start = whole[_GREATEST_ALIGNMENT:], _GREATEST_ALIGNMENT - _HEADER
    whole[message_start : message_start + len(head)] = head
    data[:start].view("<u4")[-1] = count  # the head ends with the length of the array
    for column, begins in zip(columns, places, strict=True):
        column.put(data, begins)
    return Serialized(whole[message_start : _GREATEST_ALIGNMENT + end].data, type_name)


class _Column(Protocol):
    """A field of all records.

    Attributes:
        alignment: where it may begin: at multiples of this.
        size: bytes, of all records (N, 1) or of each alike.
    """

    alignment: int
    size: int | NDArray[np.int64]

    def takes_in(self, other: _Column) -> bool:
        """Make the next column a part of this one, if that can be."""

    def put(self, data: NDArray[np.uint8], places: NDArray[np.int64]) -> None:
        """Write it to ``data`` at ``places`` (N,), which are aligned."""


class _Numbers:
    """Numbers of one size, as many in every record: one field, or several that follow each other without a gap."""

    def __init__(self, kind: str, width: int, values: Any = None) -> None:
        size = np.dtype(kind).itemsize
        self._width = width
        self.alignment = size if width else 1
        self.size: int | NDArray[np.int64] = width * size
        # The data are zero as they come.
        self._parts = [] if values is None or not width else [(0, np.asarray(values, kind).reshape(-1, width))]

    def takes_in(self, other: _Column) -> bool:
        """Make a column that follows this one without a gap a part of it, if it is one."""
        if not isinstance(other, _Numbers) or other.alignment != self.alignment:
            return False
        self._parts += [(self._width + start, values) for start, values in other._parts]
        self._width += other._width
        self.size = self._width * self.alignment
        return True

    def put(self, data: NDArray[np.uint8], places: NDArray[np.int64]) -> None:
        for start, values in self._parts:
            columns = np.arange(start, start + values.shape[1])
            data.view(values.dtype)[(places // self.alignment)[:, None] + columns] = values


class _Text:
    alignment = 4

    def takes_in(self, other: _Column) -> bool:
        return False


class _Texts(_Text):
    def __init__(self, texts: Sequence[str] | Chosen) -> None:
        choices = texts.texts if isinstance(texts, Chosen) else texts
        encoded = [text.encode() + b"\0" for text in choices]
        self._letters = np.frombuffer(b"".join(encoded), np.uint8)
        lengths = np.array([len(text) for text in encoded], np.int64)
        starts = lengths.cumsum() - lengths
        chosen = texts.indices if isinstance(texts, Chosen) else slice(None)
        self._lengths, self._starts = lengths[chosen], starts[chosen]
        self.size: int | NDArray[np.int64] = 4 + self._lengths[:, None]

    def put(self, data: NDArray[np.uint8], places: NDArray[np.int64]) -> None:
        data.view("<u4")[places // 4] = self._lengths
        lengths = self._lengths
        letter = np.arange(lengths.sum()) - (lengths.cumsum() - lengths).repeat(lengths)
        data[(places + 4).repeat(lengths) + letter] = self._letters[self._starts.repeat(lengths) + letter]


class _SameText(_Text):
    def __init__(self, text: str) -> None:
        self._letters = np.frombuffer(text.encode() + b"\0", np.uint8)
        self.size: int | NDArray[np.int64] = 4 + len(self._letters)

    def put(self, data: NDArray[np.uint8], places: NDArray[np.int64]) -> None:
        data.view("<u4")[places // 4] = len(self._letters)
        if len(self._letters) > 1:  # the data are zero as they come
            data[(places + 4)[:, None] + np.arange(len(self._letters))] = self._letters


_same_text = lru_cache(maxsize=100)(_SameText)


def _fields(type_name: str) -> Sequence[tuple[str, Any]]:
    """Names and descriptions of a type's fields, in order; see ``rosbags.interfaces.typing.FieldDesc``."""
    return type_store().fielddefs[type_name][1]


def _columns(type_name: str, values: Values) -> Iterator[_Column]:
    fields = _fields(type_name)
    unknown = values.keys() - {name for name, _ in fields}
    if unknown:
        raise KeyError(f"{type_name} has no {', '.join(sorted(unknown))}")
    for name, (kind, detail) in fields:
        value = values.get(name)
        if kind == Nodetype.SEQUENCE:
            yield from _sequence(detail[0], value)
        elif kind == Nodetype.BASE and detail[0] == "string":
            yield _same_text(value or "") if value is None or isinstance(value, str) else _Texts(value)
        elif not isinstance(value, dict) and (numbers := _numbers(kind, detail)):
            yield _Numbers(*numbers, value)
        else:
            yield from _columns(detail, value or {})


def _sequence(element: Any, value: Any) -> Iterator[_Column]:
    kind, detail = element
    if kind == Nodetype.NAME:
        places = value or ()
        yield _Numbers("<u4", 1, len(places))
        for each in places:
            yield from _columns(detail, each)
    else:
        length = 0 if value is None else value.shape[1]
        yield _Numbers("<u4", 1, length)
        yield _Numbers(_NUMBERS[detail[0]], length, value)


@cache
def _numbers(kind: Nodetype, detail: Any) -> tuple[str, int] | None:
    """How many numbers of which kind a field is; None where it is not numbers of one kind and fixed count alone."""
    if kind == Nodetype.BASE:
        return (_NUMBERS[detail[0]], 1) if detail[0] in _NUMBERS else None
    if kind == Nodetype.ARRAY:
        found = _numbers(*detail[0])
        return found and (found[0], found[1] * detail[1])
    if kind == Nodetype.SEQUENCE:
        return None
    parts = [_numbers(*description) for _, description in _fields(detail)]
    kinds = {part[0] for part in parts if part is not None}
    if None in parts or len(kinds) != 1:
        return None
    return kinds.pop(), sum(part[1] for part in parts if part is not None)


def _places(start: int, count: int, columns: Sequence[_Column]) -> tuple[int, list[NDArray[np.int64]]]:
    """Where the records end, and where each column's fields (N,) begin, if the first record may begin at ``start``."""
    # Where a field lies depends on where its record begins, but only by the remainder: all that can be, at once (N, R).
    alignment = columns[0].alignment
    ends = np.tile(np.arange(0, _GREATEST_ALIGNMENT, alignment, dtype=np.int32), (count, 1))
    begins = []
    for column in columns:
        begins.append((ends + (column.alignment - 1)) & -column.alignment)
        ends = begins[-1] + column.size
    # Which remainder it is, each record learns from the one before.
    firsts, first = [], start
    for row in ends.tolist():
        first += -first % alignment
        firsts.append(first)
        remainder = first % _GREATEST_ALIGNMENT
        first += row[remainder // alignment] - remainder
    chosen = np.array(firsts, np.int64)
    rows, remainders = np.arange(count), chosen % _GREATEST_ALIGNMENT
    base, which = chosen - remainders, remainders // alignment
    return first, [base + begin[rows, which] for begin in begins]
