"""What doctor finds, on machines of several kinds."""

import json

import pytest

from semlt3d_ros.cli import main
from semlt3d_ros.commands import doctor
from semlt3d_ros.student import detector


@pytest.fixture
def machine(monkeypatch, checkpoint):
    """A machine with weights and without ROS 2."""
    monkeypatch.setattr(detector, "default_checkpoint", lambda: checkpoint)
    for name in ("ROS_DISTRO", "AMENT_PREFIX_PATH", "RMW_IMPLEMENTATION", "ROS_DOMAIN_ID"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def checks():
    return {check.name: check for check in doctor.examine()}


def test_a_complete_machine_is_ready(machine, capsys):
    assert main(["doctor", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ready"] is True
    found = {check["name"]: check for check in result["checks"]}
    assert found["PyTorch"]["status"] == found["cyclonedds"]["status"] == found["shipped weights"]["status"] == "ok"
    assert found["ROS 2"]["status"] == "note"


def test_the_table_names_every_check(machine, capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in checks())


def test_missing_weights_are_an_error_with_a_remedy(machine, tmp_path, capsys):
    machine.setattr(detector, "default_checkpoint", lambda: tmp_path / "none.safetensors")
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ready"] is False
    assert "semlt3d train" in checks()["shipped weights"].advice


def test_a_sourced_ros_is_seen(machine):
    machine.setenv("ROS_DISTRO", "jazzy")
    machine.setenv("AMENT_PREFIX_PATH", "/opt/ros/jazzy")
    found = checks()
    assert (found["ROS 2"].status, found["ROS 2"].found) == ("ok", "jazzy")
    assert found["RMW"].status == "ok"
    machine.setenv("RMW_IMPLEMENTATION", "rmw_zenoh_cpp")
    assert "rmw_cyclonedds_cpp" in checks()["RMW"].advice


@pytest.mark.parametrize(
    ("value", "status"), [("", "ok"), ("7", "ok"), ("232", "ok"), ("233", "missing"), ("x", "missing")]
)
def test_the_domain_must_be_one(machine, value, status):
    machine.setenv("ROS_DOMAIN_ID", value)
    assert checks()["ROS_DOMAIN_ID"].status == status


def test_a_package_that_is_not_there_is_told_how_to_get(machine):
    check = doctor._package("no-such-package", "dds", "talking")
    assert check.status == "note"
    assert "pip install 'semlt3d_ros[dds]'" in check.advice
