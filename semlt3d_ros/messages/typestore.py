"""Message classes and CDR for machines without ROS: rosbags' types, vision_msgs, Autoware's objects and our own."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from semlt3d_ros.core.errors import ConfigurationError, InputRejected, TypeNotInstalledError
from semlt3d_ros.messages.autoware_definitions import AUTOWARE_DEFINITIONS
from semlt3d_ros.messages.vision_definitions import VISION_DEFINITIONS

_UNREADABLE = (SerdeError, struct.error, ValueError, IndexError, OverflowError, MemoryError)

MessageTypes = Callable[[str], Any]
"""Gives the class of ``"pkg/msg/Name"``. Encoders take one, so that they build rclpy's messages as well as rosbags'."""

OWN_MESSAGES = ("ViewWindow", "DatasetSample", "DistillationStatus", "LongTailDetection", "LongTailDetectionArray")
"""Names of this package's messages; each comes after the messages it contains."""

_GROWN = ("LongTailDetection", "LongTailDetectionArray")
_ADDED_FIELDS = ("float32[] classifier_confidences", "float32[] second_opinion")
"""Fields that one message did not always have; recordings without them stay readable."""


def definition_text(name: str) -> str:
    """The text of ``msg/<name>.msg``, from the installed package or, in a source tree, from its ``msg`` folder.

    Raises:
        ConfigurationError: the file is in neither place.
    """
    installed = resources.files("semlt3d_ros.messages") / "definitions" / f"{name}.msg"
    in_source_tree = Path(__file__).resolve().parents[2] / "msg" / f"{name}.msg"
    for place in (installed, in_source_tree):
        if place.is_file():
            return place.read_text(encoding="utf-8")
    raise ConfigurationError(
        f"the definition of semlt3d_ros/msg/{name} is neither at {installed} nor at {in_source_tree}; "
        "reinstall the package"
    )


def store_of(distribution: str) -> Stores:
    """The definitions of a ROS 2 distribution: a few messages differ from one to the next.

    Args:
        distribution: ``ROS_DISTRO`` as a sourced ROS sets it. ``rolling`` takes the newest that rosbags knows; an empty
            name, one it does not know, and those before Humble take Jazzy's.
    """
    known = sorted(name for name in Stores.__members__ if name >= "ROS2_HUMBLE")
    wanted = known[-1] if distribution == "rolling" else f"ROS2_{distribution.upper()}"
    return Stores[wanted] if wanted in known else Stores.ROS2_JAZZY


@lru_cache(maxsize=1)
def type_store() -> Typestore:
    """The shared type store. Do not register anything on it: bags with other types bring their own definitions."""
    store = get_typestore(store_of(os.environ.get("ROS_DISTRO", "")))
    definitions = VISION_DEFINITIONS | AUTOWARE_DEFINITIONS
    definitions.update({f"semlt3d_ros/msg/{name}": definition_text(name) for name in OWN_MESSAGES})
    for type_name, text in definitions.items():
        store.register(get_types_from_msg(text, type_name))
    return store


@lru_cache(maxsize=1)
def _former_store() -> Typestore:
    """Detections as they were recorded before they had the fields of a second opinion."""
    store = get_typestore(store_of(os.environ.get("ROS_DISTRO", "")))
    for name in _GROWN:
        text = "\n".join(line for line in definition_text(name).splitlines() if line not in _ADDED_FIELDS)
        store.register(get_types_from_msg(text, f"semlt3d_ros/msg/{name}"))
    return store


def message_class(type_name: str) -> Any:
    """The dataclass of ``"pkg/msg/Name"``; it takes all fields as keyword arguments.

    Raises:
        TypeNotInstalledError: it is not known.
    """
    try:
        return type_store().types[type_name]
    except KeyError:
        raise TypeNotInstalledError(
            f"message type '{type_name}' is not known; use 'package/msg/Name' of ROS 2's common interfaces, "
            "vision_msgs, autoware_perception_msgs or semlt3d_ros"
        ) from None


class Serialized(bytes):
    """The CDR bytes of a message, written by this package: nobody need check that they are one.

    Attributes:
        type_name: the message's type.
    """

    type_name: str

    def __new__(cls, data: bytes | memoryview, type_name: str) -> Serialized:
        """``data`` as a message of the type."""
        made = super().__new__(cls, data)
        made.type_name = type_name
        return made


def serialize(message: object, type_name: str) -> bytes:
    """CDR bytes (little endian, with the four-byte header) of a message of rosbags' classes."""
    message_class(type_name)
    return bytes(type_store().serialize_cdr(message, type_name))


def deserialize(data: bytes | memoryview, type_name: str) -> Any:
    """The message in CDR bytes of either byte order. Its arrays are read-only views into ``data`` where possible.

    Detections of older recordings lack the attributes of a second opinion.

    Raises:
        InputRejected: ``corrupt_message``: the bytes are not a message of this type.
        ConfigurationError: the type is not known.
    """
    message_class(type_name)
    try:
        return type_store().deserialize_cdr(data, type_name)
    except _UNREADABLE as error:
        if type_name.removeprefix("semlt3d_ros/msg/") in _GROWN:
            with suppress(*_UNREADABLE):
                return _former_store().deserialize_cdr(data, type_name)
        raise InputRejected("corrupt_message", f"{len(data)} bytes are not a {type_name}: {error}") from error
