"""Message classes to test with: rosbags' own, and stand-ins as strict as those that rclpy generates."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.messages.typestore import deserialize, message_class, serialize, type_store

_CODES = {"uint8": "B", "int8": "b", "float32": "f", "float64": "d", "int32": "i", "uint32": "I", "uint16": "H"}
_BASE, _NAME, _ARRAY, _SEQUENCE = 1, 2, 3, 4


def _default(kind: int, detail: Any) -> Any:
    if kind == _NAME:
        return _rclpy_class(detail)()
    if kind in (_ARRAY, _SEQUENCE):
        (element_kind, element), length = detail
        if element_kind == _BASE and element[0] in _CODES:
            return np.zeros(length, element[0]) if kind == _ARRAY else array.array(_CODES[element[0]])
        return []
    return {"string": "", "bool": False, "byte": b"\x00", "float32": 0.0, "float64": 0.0}.get(detail[0], 0)


def _check(kind: int, detail: Any, value: Any) -> None:
    """What the setters of rclpy's generated classes assert."""
    if kind == _NAME:
        assert type(value) is _rclpy_class(detail)
    elif kind == _BASE:
        expected = {"string": str, "bool": bool, "byte": bytes, "float32": float, "float64": float}
        assert isinstance(value, expected.get(detail[0], int)), (detail, value)
        assert detail[0] != "byte" or len(value) == 1
        if detail[0] in ("uint32", "int32", "uint8"):
            info = np.iinfo(detail[0])
            assert info.min <= value <= info.max
    else:
        (element_kind, element), length = detail
        if element_kind == _BASE and element[0] in _CODES:
            if kind == _ARRAY:
                assert isinstance(value, np.ndarray) and value.dtype == element[0] and value.size == length
            else:  # rclpy takes other sequences too, but at a cost that this package must not pay
                assert isinstance(value, array.array) and value.typecode == _CODES[element[0]]
        else:
            assert isinstance(value, list)
            for item in value:
                _check(int(element_kind), element, item)


_classes: dict[str, type] = {}


def _rclpy_class(type_name: str) -> type:
    if type_name in _classes:
        return _classes[type_name]
    constants, fields = type_store().fielddefs[type_name]
    known = {name: (int(kind), detail) for name, (kind, detail) in fields}

    class Message:
        __slots__ = tuple(known)

        def __init__(self, **given: Any) -> None:
            assert given.keys() <= known.keys(), given.keys() - known.keys()
            for name, (kind, detail) in known.items():
                setattr(self, name, given[name] if name in given else _default(kind, detail))

        def __setattr__(self, name: str, value: Any) -> None:
            _check(*known[name], value)
            object.__setattr__(self, name, value)

        @classmethod
        def get_fields_and_field_types(cls) -> dict[str, str]:
            return {name: str(detail) for name, (_, detail) in known.items()}

    for name, kind, value in constants:
        setattr(Message, name, bytes([value]) if kind == "byte" else value)
    Message.__name__ = type_name
    _classes[type_name] = Message
    return Message


@pytest.fixture(params=["rosbags", "rclpy"])
def types(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Gives message classes by type name, of either family."""
    return message_class if request.param == "rosbags" else _rclpy_class


@pytest.fixture
def rclpy_types() -> Callable[[str], Any]:
    """Gives classes that behave like rclpy's."""
    return _rclpy_class


@pytest.fixture(scope="session")
def sent() -> Callable[[Any, str], Any]:
    """Passes a message through CDR bytes."""
    return lambda message, type_name: deserialize(serialize(message, type_name), type_name)
