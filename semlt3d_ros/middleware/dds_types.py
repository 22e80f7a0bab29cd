"""ROS 2 message types as Cyclone DDS sees them.

The classes made here carry type information only. Samples travel as the CDR bytes that ``rosbags`` reads and writes,
untouched, which is what makes large images affordable in Python.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from cyclonedds.idl import IdlStruct, make_idl_struct, types
from rosbags.interfaces import Nodetype

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages.typestore import type_store

_BASE_TYPES: dict[str, Any] = {
    "bool": bool,
    "byte": types.byte,
    "char": types.uint8,
    "octet": types.byte,
    "int8": types.int8,
    "uint8": types.uint8,
    "int16": types.int16,
    "uint16": types.uint16,
    "int32": types.int32,
    "uint32": types.uint32,
    "int64": types.int64,
    "uint64": types.uint64,
    "float32": types.float32,
    "float64": types.float64,
    "string": str,
}


class RawCdr:
    """Mixed into a generated type: (de)serialisation hands the CDR bytes (with their four-byte header) through."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self, **_options: Any) -> bytes:
        """The bytes themselves."""
        return self.data

    @classmethod
    def deserialize(cls, data: bytes, **_options: Any) -> RawCdr:
        """Wrap the bytes themselves."""
        return cls(data)

    deserialize_key = deserialize


def dds_topic_name(topic: str) -> str:
    """The DDS name of an absolute ROS 2 topic: ``/tf`` becomes ``rt/tf``.

    Raises:
        ConfigurationError: the name is not absolute.
    """
    if not topic.startswith("/") or topic.endswith("/") or "//" in topic or " " in topic:
        raise ConfigurationError(f"topic '{topic}' is not an absolute ROS 2 topic name such as /tf_static")
    return "rt" + topic


def dds_type_name(type_name: str) -> str:
    """The DDS name of a ROS 2 message type: ``pkg/msg/Name`` becomes ``pkg::msg::dds_::Name_``."""
    package, kind, name = type_name.split("/")
    return f"{package}::{kind}::dds_::{name}_"


def ros_type_name(dds_type: str) -> str:
    """The ROS 2 name of a DDS type, or the DDS name itself where it is not one of ROS 2's."""
    return dds_type.replace("::dds_::", "::").removesuffix("_").replace("::", "/")


def type_hash(type_name: str) -> str:
    """The type's REP-2011 hash, ``RIHS01_...``."""
    return type_store().hash_rihs01(type_name)


@cache
def dds_type(type_name: str) -> type:
    """The class to create a Cyclone DDS topic of a ROS 2 message type with; its instances are ``RawCdr``.

    Raises:
        ConfigurationError: the type is not in the type store.
    """
    structure = _structure(type_name)
    namespace = {name: RawCdr.__dict__[name] for name in ("__init__", "serialize", "deserialize", "deserialize_key")}
    for name, function in namespace.items():
        setattr(structure, name, function)
    return structure


@cache
def _structure(type_name: str) -> type[IdlStruct]:
    definitions = type_store().fielddefs
    if type_name not in definitions:
        raise ConfigurationError(f"message type '{type_name}' is not known; it must be one of the package's type store")
    _, fields = definitions[type_name]
    return make_idl_struct(
        type_name.rsplit("/", 1)[1],
        dds_type_name(type_name).replace("::", "."),
        {name: _field(description) for name, description in fields},
        dataclassify=False,
    )


def _field(description: Any) -> Any:
    kind, detail = description
    if kind == Nodetype.NAME:
        return _structure(detail)
    if kind == Nodetype.BASE:
        name, bound = detail
        return types.bounded_str[bound] if name == "string" and bound else _BASE_TYPES[name]
    element, count = detail
    if kind == Nodetype.ARRAY:
        return types.array[_field(element), count]
    return types.sequence[_field(element), count] if count else types.sequence[_field(element)]
