"""ROS 2's topic and service names."""

from __future__ import annotations


def resolve_name(name: str, node_name: str, namespace: str = "/") -> str:
    """The absolute form of a name.

    Args:
        name: absolute (``/a``), relative (``a``), or private (``~/a``).
        node_name: the node's name.
        namespace: the node's namespace, absolute.
    """
    inside = namespace.rstrip("/")
    if name.startswith("/"):
        return name
    if name == "~" or name.startswith("~/"):
        return f"{inside}/{node_name}{name[1:]}"
    return f"{inside}/{name}"
