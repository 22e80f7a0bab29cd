"""One entry of a bag."""

from __future__ import annotations

from typing import Any, NamedTuple

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
