"""One entry of a bag."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.messages.typestore import deserialize


class BagMessage(NamedTuple):
    """A serialised message of a bag.

    Attributes:
        topic: topic name.
        type_name: ``"pkg/msg/Name"``.
        stamp: log time in nanoseconds: when it was recorded, not the stamp in its header.
        data: CDR bytes with the four-byte header.
    """

    topic: str
    type_name: str
    stamp: int
    data: bytes | memoryview

    def message(self) -> Any:
        """The message itself.

        Raises:
            InputRejected: ``corrupt_message``: the bytes are not a message of this type.
            ConfigurationError: the type is not known.
        """
        return deserialize(self.data, self.type_name)


def decoded(entries: Iterable[BagMessage], faults: FaultLog) -> Iterator[tuple[BagMessage, Any]]:
    """Entries of bags with their messages; those that cannot be read are left out.

    Args:
        entries: the entries, each read by its own type: a topic may have been recorded with several.
        faults: gets what was left out, by topic: ``corrupt_message``, ``type``.
    """
    for entry in entries:
        try:
            message = entry.message()
        except InputRejected as error:
            faults.reject(entry.topic, error)
        except ConfigurationError as error:
            faults.add(entry.topic, "type", str(error))
        else:
            yield entry, message
