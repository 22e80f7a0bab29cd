"""What doctor finds, on machines of several kinds."""

import ctypes
import json
import os
import platform
from types import SimpleNamespace

import pytest

from semlt3d_ros.checkpoints import shipped
from semlt3d_ros.cli import main
from semlt3d_ros.commands import doctor
from semlt3d_ros.commands import machine as machine_of
from semlt3d_ros.commands.machine import TorchBuild


@pytest.fixture
def machine(monkeypatch, checkpoint):
    """A machine with weights and without ROS 2."""
    monkeypatch.setattr(shipped, "default_checkpoint", lambda: checkpoint)
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
    machine.setattr(shipped, "default_checkpoint", lambda: tmp_path / "none.safetensors")
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ready"] is False
    assert "semlt3d train" in checks()["shipped weights"].advice


class Driver:
    """NVIDIA's driver, as far as it is asked here: one GPU."""

    def __init__(self, initialised=0, count=1, version=12040):
        self.initialised, self.count, self.version = initialised, count, version

    def cuInit(self, flags):
        return self.initialised

    def cuDeviceGetCount(self, count):
        count._obj.value = self.count
        return 0

    def cuDeviceGet(self, device, ordinal):
        device._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, name, length, device):
        name.value = b"Fast One"
        return 0

    def cuDeviceTotalMem_v2(self, memory, device):
        memory._obj.value = 24 * 1024**3
        return 0

    def cuDriverGetVersion(self, version):
        version._obj.value = self.version
        return 0


@pytest.fixture
def gpu_check(machine):
    """What doctor says of the GPU, with a driver (None: there is none) and a build of PyTorch."""

    def check(driver, build):
        def open_library(name):
            if driver is None:
                raise OSError(f"{name}: cannot open shared object file")
            return driver

        machine.setattr(ctypes, "CDLL", open_library)
        machine.setattr(doctor, "torch_build", lambda: build)
        return checks()["GPU"]

    return check


def test_a_gpu_is_found_by_its_driver(gpu_check):
    check = gpu_check(Driver(), TorchBuild("2.6.0+cu124", "12.4", ""))
    assert (check.status, check.found) == ("ok", "Fast One, 24 GiB, CUDA 12.4")


@pytest.mark.parametrize(
    ("driver", "build", "words"),
    [
        (None, TorchBuild("2.6.0+cu124", "12.4", ""), "none that PyTorch can use"),
        (Driver(initialised=100), TorchBuild("2.6.0+cu124", "12.4", ""), "none that PyTorch can use"),
        (Driver(count=0), TorchBuild("2.6.0+cu124", "12.4", ""), "none that PyTorch can use"),
        (Driver(), TorchBuild("2.6.0+cpu", "", ""), "built without CUDA"),
        (Driver(version=11080), TorchBuild("2.6.0+cu124", "12.4", ""), "CUDA 11.8, PyTorch wants 12.4"),
        (Driver(), TorchBuild("2.6.0+rocm6.2", "", "6.2"), "ROCm 6.2"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_told_why(gpu_check, driver, build, words):
    check = gpu_check(driver, build)
    assert check.status == "note" and words in check.found and check.advice


def test_pytorch_is_described_as_it_describes_itself():
    import torch

    assert machine_of.torch_build() == TorchBuild(torch.__version__, torch.version.cuda or "", torch.version.hip or "")
    if platform.machine() == "x86_64" and "ATEN_CPU_CAPABILITY" not in os.environ:
        assert machine_of.cpu_kernels() == torch.backends.cpu.get_cpu_capability()


def test_a_pytorch_that_is_not_there_or_not_whole_is_missing(machine, tmp_path):
    def with_torch(found):
        machine.setattr(machine_of, "find_spec", lambda name: found)
        return checks()["PyTorch"]

    assert with_torch(None).status == "missing"
    half = SimpleNamespace(origin=str(tmp_path / "torch" / "__init__.py"))
    assert with_torch(half).status == "missing" and "not whole" in with_torch(half).found


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
