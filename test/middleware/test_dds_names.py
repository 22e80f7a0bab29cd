from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages.typestore import type_store
from semlt3d_ros.middleware.dds_domain import checked_domain_id, configuration, domain_id_from_environment
from semlt3d_ros.middleware.dds_types import dds_topic_name, dds_type, dds_type_name, ros_type_name, type_hash


def test_names_are_mangled_as_ros_2_does_it() -> None:
    assert dds_topic_name("/sensing/camera/CAM_FRONT/image") == "rt/sensing/camera/CAM_FRONT/image"
    assert dds_type_name("sensor_msgs/msg/PointCloud2") == "sensor_msgs::msg::dds_::PointCloud2_"


def test_type_hash_is_the_one_ros_2_publishes() -> None:
    # From ROS 2 Jazzy's std_msgs.
    expected = "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
    assert type_hash("std_msgs/msg/String") == expected


@given(st.from_regex(r"[a-z][a-z0-9_]{0,20}/msg/[A-Z][A-Za-z0-9]{0,20}", fullmatch=True))
def test_type_names_survive_the_round_trip(name: str) -> None:
    assert ros_type_name(dds_type_name(name)) == name


@pytest.mark.parametrize("topic", ["tf", "/tf/", "//tf", "/a topic", ""])
def test_topic_names_that_ros_2_would_not_take(topic: str) -> None:
    with pytest.raises(ConfigurationError, match="not an absolute ROS 2 topic name"):
        dds_topic_name(topic)


def test_every_known_type_has_type_information() -> None:
    for type_name in type_store().fielddefs:
        kind = dds_type(type_name)
        kind.__idl__.populate()
        assert kind.__idl__.idl_transformed_typename == dds_type_name(type_name)


def test_unknown_type_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'no_msgs/msg/Nothing' is not known"):
        dds_type("no_msgs/msg/Nothing")


def test_domain_comes_from_ros_domain_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    assert domain_id_from_environment() == 42
    monkeypatch.delenv("ROS_DOMAIN_ID")
    assert domain_id_from_environment() == 0


@pytest.mark.parametrize("value", ["many", "-1", "233", "1.5"])
def test_domains_without_ports_are_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="not a whole number from 0 to 232"):
        checked_domain_id(value)


def test_discovery_stays_on_this_machine_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
    assert '<NetworkInterface address="127.0.0.1"' in configuration()
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    monkeypatch.setenv("ROS_STATIC_PEERS", "10.0.0.7;10.0.0.8")
    assert "NetworkInterface" not in configuration()
    assert '<Peer address="10.0.0.7"/><Peer address="10.0.0.8"/>' in configuration()
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "GALAXY")
    with pytest.raises(ConfigurationError, match="'GALAXY'; use LOCALHOST"):
        configuration()
