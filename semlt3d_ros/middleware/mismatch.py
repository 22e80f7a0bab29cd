"""What to tell about two endpoints of one topic that can never match."""

from __future__ import annotations

from semlt3d_ros.middleware.port import QoS


def mismatch(topic: str, publishes: bool, ours: tuple[str, QoS], theirs: tuple[str, QoS], who: str = "") -> str:
    """Why nothing passes between us and another endpoint, and what to change; empty when they match.

    Args:
        topic: the topic's name.
        publishes: whether the other one is the publisher.
        ours, theirs: message type and quality of service.
        who: the other node's name, where it is known.
    """
    other = "publisher" if publishes else "subscription"
    node = f" (node {who})" if who else ""
    if theirs[0] != ours[0]:
        return (
            f"topic {topic}: a {other} of type {theirs[0]}{node} cannot be matched with our {ours[0]}; "
            "rename one of the topics"
        )
    offered, requested = (theirs[1], ours[1]) if publishes else (ours[1], theirs[1])
    if offered.reliable >= requested.reliable and offered.transient_local >= requested.transient_local:
        return ""
    return (
        f"topic {topic}: the publisher offers ({offered}) but the subscription requests ({requested}), so nothing will "
        f"arrive; make the {other}'s QoS{node} fit ours"
    )
