from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import DiagnosticEntry, encode_diagnostics, encode_label_info
from semlt3d_ros.messages.typestore import type_store

VISION_HASHES = {
    "Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "Detection3D": "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "BoundingBox3D": "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "VisionClass": "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
    "VisionInfo": "95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
}
"""RIHS01 hashes that rosidl computes for vision_msgs 4.1.1 on Jazzy."""


def test_label_info_numbers_the_classes_as_their_confidences_are(types: Any) -> None:
    message = encode_label_info(CLASS_NAMES, 1_500_000_000, "base_link", 0.25, types)
    assert [item.class_id for item in message.class_map] == list(range(len(CLASS_NAMES)))
    assert tuple(item.class_name for item in message.class_map) == CLASS_NAMES
    assert (message.header.frame_id, message.header.stamp.nanosec) == ("base_link", 500_000_000)
    assert message.threshold == 0.25


def test_label_info_can_be_sent(sent: Callable[[Any, str], Any]) -> None:
    message = sent(encode_label_info(["car", "fallen tree"], 7, "base_link", np.float32(0.5)), topics.LABEL_INFO_TYPE)
    assert [(item.class_id, item.class_name) for item in message.class_map] == [(0, "car"), (1, "fallen tree")]
    assert encode_label_info([], 7, "base_link", 0).class_map == []


@pytest.mark.parametrize(("name", "type_hash"), VISION_HASHES.items())
def test_vision_messages_are_those_of_the_real_package(name: str, type_hash: str) -> None:
    """A receiver with another type hash would warn, or not match at all."""
    assert type_store().hash_rihs01(f"vision_msgs/msg/{name}") == f"RIHS01_{type_hash}"


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_diagnostics_have_the_level_that_the_class_wants(types: Any, level: int) -> None:
    message = encode_diagnostics(
        [DiagnosticEntry("cameras", level, "CAM_LEFT stopped", {"age_ms": 12.5})], 7, types=types
    )
    status = types("diagnostic_msgs/msg/DiagnosticStatus")
    assert message.status[0].level == (status.OK, status.WARN, status.ERROR, status.STALE)[level]
    assert type(message.status[0].level) is type(status.OK)
    assert [(item.key, item.value) for item in message.status[0].values] == [("age_ms", "12.5")]


def test_diagnostics_can_be_sent(sent: Callable[[Any, str], Any]) -> None:
    message = sent(encode_diagnostics([("a", 2, "b", {}), ("c", 0, "", {"k": None})], 7), topics.DIAGNOSTIC_TYPE)
    assert [(item.name, item.level) for item in message.status] == [("a", 2), ("c", 0)]
