from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores

from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.messages import topics, typestore
from semlt3d_ros.messages.encode import encode_diagnostics, encode_image, encode_point_cloud, encode_transforms
from semlt3d_ros.messages.typestore import (
    OWN_MESSAGES,
    definition_text,
    deserialize,
    message_class,
    serialize,
    store_of,
    type_store,
)

SAMPLES = {
    topics.IMAGE_TYPE: serialize(encode_image(np.zeros((3, 4, 3), np.uint8), 5, "cam"), topics.IMAGE_TYPE),
    topics.POINT_CLOUD_TYPE: serialize(
        encode_point_cloud(PointCloud(np.ones((4, 3), np.float32)), 5, "lidar"), topics.POINT_CLOUD_TYPE
    ),
    topics.DIAGNOSTIC_TYPE: serialize(
        encode_diagnostics([("camera", 1, "late", {"age_ms": 3})], 5), topics.DIAGNOSTIC_TYPE
    ),
    topics.TF_TYPE: serialize(encode_transforms([]), topics.TF_TYPE),
}


@pytest.mark.parametrize(
    ("type_name", "type_hash"),
    [
        (
            "vision_msgs/msg/Detection3DArray",
            "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
        ),
        ("std_msgs/msg/String", "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"),
    ],
)
def test_types_have_the_hashes_of_ros(type_name: str, type_hash: str) -> None:
    assert type_store().hash_rihs01(type_name) == type_hash


def test_every_topic_of_the_convention_has_a_known_type() -> None:
    names = [topics.POINTS, topics.TF, topics.TF_STATIC, topics.ODOMETRY, topics.TRUTH_LONG_TAIL, topics.TRUTH_OBJECTS]
    names += [topics.DETECTIONS, topics.LONG_TAIL, topics.MARKERS, topics.DIAGNOSTICS, topics.camera_info_topic("A")]
    names += [topics.camera_image_topic("A"), topics.camera_image_topic("A", compressed=False)]
    for name in names:
        type_name = topics.default_type(name)
        assert type_name is not None, name
        assert message_class(type_name).__msgtype__ == type_name
    assert topics.default_type("/elsewhere") is None
    assert topics.camera_of(topics.camera_image_topic("CAM_FRONT")) == "CAM_FRONT"
    assert topics.camera_of(topics.POINTS) is None


@pytest.mark.parametrize(
    ("distribution", "store"),
    [
        ("humble", Stores.ROS2_HUMBLE),
        ("jazzy", Stores.ROS2_JAZZY),
        ("kilted", Stores.ROS2_KILTED),
        ("", Stores.ROS2_JAZZY),
        ("foxy", Stores.ROS2_JAZZY),
        ("noetic", Stores.ROS2_JAZZY),
        ("of_the_future", Stores.ROS2_JAZZY),
    ],
)
def test_definitions_are_those_of_the_sourced_distribution(distribution: str, store: Stores) -> None:
    assert store_of(distribution) is store


def test_lyrical_and_rolling_take_what_rosbags_has() -> None:
    known = {name for name in Stores.__members__ if name.startswith("ROS2_")}
    assert store_of("lyrical").name == ("ROS2_LYRICAL" if "ROS2_LYRICAL" in known else "ROS2_JAZZY")
    assert store_of("rolling").name == max(known)


@pytest.mark.parametrize("distribution", ["humble", "jazzy", "lyrical"])
def test_every_supported_distribution_has_the_types_spoken_here(distribution: str) -> None:
    program = """
from semlt3d_ros.messages import topics, typestore
for name in [value for key, value in vars(topics).items() if key.endswith("_TYPE")]:
    typestore.message_class(name)
for name in typestore.OWN_MESSAGES:
    print(typestore.type_store().hash_rihs01(f"semlt3d_ros/msg/{name}"))
"""
    environment = {**os.environ, "ROS_DISTRO": distribution}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    here = [type_store().hash_rihs01(f"semlt3d_ros/msg/{name}") for name in OWN_MESSAGES]
    assert done.stdout.split() == here, "this package's messages are the same everywhere"


def test_every_field_of_the_own_messages_is_documented_right_above_it() -> None:
    folder = Path(__file__).resolve().parents[2] / "msg"
    assert {path.stem for path in folder.glob("*.msg")} == set(OWN_MESSAGES)
    for name in OWN_MESSAGES:
        about, *blocks = definition_text(name).strip().split("\n\n")
        assert about.startswith("#") and all(line.startswith("#") for line in about.splitlines())
        for block in blocks:
            assert block.startswith("#"), f"{name}: {block}"


def test_an_installed_package_brings_its_own_definitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "LongTailDetection.msg").write_text("int32 installed")
    monkeypatch.setattr(typestore.resources, "files", {"semlt3d_ros.messages": tmp_path}.__getitem__)
    assert definition_text("LongTailDetection") == "int32 installed"
    assert "class_names" in definition_text("LongTailDetectionArray"), "the source tree's where there is no other"


def test_unknown_types_and_definitions_are_named() -> None:
    with pytest.raises(ConfigurationError, match="'std_msgs/msg/Nothing' is not known"):
        message_class("std_msgs/msg/Nothing")
    with pytest.raises(ConfigurationError, match="semlt3d_ros/msg/Nothing"):
        definition_text("Nothing")


@given(st.sampled_from(sorted(SAMPLES)), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_are_rejected_or_read_but_raise_nothing_else(type_name: str, data: st.DataObject) -> None:
    damaged = bytearray(SAMPLES[type_name])
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(0, len(damaged))) :]
    try:
        deserialize(bytes(damaged), type_name)
    except InputRejected as error:
        assert error.reason == "corrupt_message"
