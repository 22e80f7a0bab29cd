"""What a bag says about a topic: type, definition, type hash and quality of service."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import yaml

from semlt3d_ros.messages.typestore import message_class, type_store

_FOREVER = {"sec": 9223372036, "nsec": 854775807}


class TopicRecord(NamedTuple):
    """A topic of a bag that is being written; ``number`` counts from 1."""

    number: int
    name: str
    type_name: str

    @property
    def definition(self) -> str:
        """The type's definition with those of the types in it, as ``ros2msg``."""
        return _definition(self.type_name)[0]

    @property
    def type_hash(self) -> str:
        """The type's hash, ``RIHS01_...``."""
        return _definition(self.type_name)[1]

    @property
    def qos(self) -> list[dict[str, Any]]:
        """Offered quality of service: ``ros2 bag play`` must latch static transforms, or late listeners miss them."""
        static = self.name == "/tf_static"
        return [
            {
                "history": "keep_last",
                "depth": 1 if static else 10,
                "reliability": "reliable",
                "durability": "transient_local" if static else "volatile",
                "deadline": dict(_FOREVER),
                "lifespan": dict(_FOREVER),
                "liveliness": "automatic",
                "liveliness_lease_duration": dict(_FOREVER),
                "avoid_ros_namespace_conventions": False,
            }
        ]

    @property
    def qos_yaml(self) -> str:
        """``qos`` as the text that storages keep."""
        return yaml.safe_dump(self.qos, sort_keys=False).strip()


@cache
def _definition(type_name: str) -> tuple[str, str]:
    message_class(type_name)
    store = type_store()
    return store.generate_msgdef(type_name, ros_version=2)[0], store.hash_rihs01(type_name)
