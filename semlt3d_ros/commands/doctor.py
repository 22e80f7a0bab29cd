"""``semlt3d doctor``: what this machine has and lacks, and what to do about each."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import sys
import webbrowser
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from semlt3d_ros.commands.machine import TorchBuild, cpu_kernels, cuda_gpu, torch_build, usable_cores
from semlt3d_ros.commands.output import print_checks, print_json

HELP = "tell what this machine has and lacks, and what to do about each"
EXAMPLE = "semlt3d doctor --json"

Status = Literal["ok", "note", "missing"]
"""``missing`` keeps a command from working; a ``note`` only narrows what is possible."""

_PACKAGES = (
    ("cyclonedds", "dds", "the live node and player without ROS 2"),
    ("rerun-sdk", "view", "the viewer"),
    ("trimesh", "simulation", "the simulated world"),
    ("embreex", "simulation", "the simulated world"),
    ("onnxruntime", "onnx", "exporting published models, and running them there"),
    ("open_clip_torch", "language", "training language anchors; never needed to run"),
    ("pandas", "datasets", "importing PandaSet"),
    ("pyarrow", "datasets", "importing Argoverse 2"),
)
_LITTLE_DISK = 2 * 1000**3


@dataclass
class Check:
    """One thing looked at: what was found, and what to do if that is not enough."""

    name: str
    status: Status
    found: str
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def run(options: argparse.Namespace) -> int:
    """Print all checks; the exit status is 1 if one is ``missing``."""
    checks = examine()
    ready = all(check.status != "missing" for check in checks)
    if options.json:
        print_json({"ready": ready, "checks": [asdict(check) for check in checks]})
    else:
        print_checks("This machine", ((check.status, check.name, check.found, check.advice) for check in checks))
    return 0 if ready else 1


def examine() -> list[Check]:
    """All checks, in the order in which they matter."""
    return [
        _python(),
        *_torch(),
        *(_package(*each) for each in _PACKAGES),
        _checkpoint(),
        *_ros(),
        _domain(),
        _browser(),
        _disk(),
    ]


def _python() -> Check:
    return Check("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def _torch() -> list[Check]:
    try:
        build = torch_build()
    except ImportError as error:
        return [Check("PyTorch", "missing", str(error), "run make setup, or pip install torch")]
    threads = os.environ.get("OMP_NUM_THREADS")
    cpu = f"{usable_cores()} of {os.cpu_count()} cores, {cpu_kernels()} kernels"
    if threads:
        cpu += f", OMP_NUM_THREADS={threads}"
    return [Check("PyTorch", "ok", build.version), Check("CPU", "ok", cpu), _gpu(build)]


def _gpu(build: TorchBuild) -> Check:
    slower = "everything runs on the CPU, slower"
    if build.rocm:
        advice = 'ask it: python -c "import torch; print(torch.cuda.is_available())"'
        return Check(
            "GPU", "note", f"PyTorch is built for ROCm {build.rocm}; whether it finds one, only it knows", advice
        )
    gpu = cuda_gpu()
    if gpu is None:
        advice = f"{slower}; for a GPU install NVIDIA's driver and a CUDA build of PyTorch"
        return Check("GPU", "note", "none that PyTorch can use", advice)
    found = f"{gpu.name}, {gpu.memory_gib:.0f} GiB"
    if not build.cuda:
        advice = f"{slower}; install a CUDA build of PyTorch (pytorch.org says which)"
        return Check("GPU", "note", f"{found}, but PyTorch is built without CUDA", advice)
    if gpu.driver_cuda[0] < int(build.cuda.partition(".")[0]):
        can = ".".join(map(str, gpu.driver_cuda))
        advice = f"{slower}; update NVIDIA's driver, or install a PyTorch built with CUDA {can} or older"
        return Check("GPU", "note", f"{found}, but its driver can do CUDA {can}, PyTorch wants {build.cuda}", advice)
    return Check("GPU", "ok", f"{found}, CUDA {build.cuda}", "the node's parameter device: cuda uses it")


def _package(name: str, extra: str, purpose: str) -> Check:
    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "note", "not installed", f"for {purpose}: pip install 'semlt3d_ros[{extra}]'")


def _checkpoint() -> Check:
    from semlt3d_ros.checkpoints.shipped import default_checkpoint
    from semlt3d_ros.core.tensor_file import read_tensor_file

    path = default_checkpoint()
    if not path.is_file():
        advice = "train it with semlt3d train, or name another in the node's parameter checkpoint"
        return Check("shipped weights", "missing", f"no {path}", advice)
    content, metadata = read_tensor_file(path)
    digest, header = hashlib.sha256(content).hexdigest(), json.loads(metadata["semlt3d"])
    classes = f"{len(header['config']['class_names'])} classes"
    return Check("shipped weights", "ok", f"{path}, {classes}, {len(content) / 1e6:.1f} MB, sha256 {digest[:12]}")


def _ros() -> list[Check]:
    distribution = os.environ.get("ROS_DISTRO", "")
    if not distribution or not os.environ.get("AMENT_PREFIX_PATH"):
        installed = sorted(path.parent.name for path in Path("/opt/ros").glob("*/setup.bash"))
        if installed:
            advice = f"installed but not sourced: source /opt/ros/{installed[-1]}/setup.bash"
        else:
            advice = "not needed: node and player speak DDS by themselves, and ROS 2 machines see them"
        return [Check("ROS 2", "note", "not in this shell", advice)]
    rmw = os.environ.get("RMW_IMPLEMENTATION", "")
    checks = [Check("ROS 2", "ok", distribution)]
    if "zenoh" in rmw:
        advice = "zenoh does not talk to DDS: export RMW_IMPLEMENTATION=rmw_cyclonedds_cpp or rmw_fastrtps_cpp"
        checks.append(Check("RMW", "note", rmw, advice))
    else:
        checks.append(Check("RMW", "ok", rmw or "the distribution's default"))
    return checks


def _domain() -> Check:
    value = os.environ.get("ROS_DOMAIN_ID", "")
    if not value:
        return Check("ROS_DOMAIN_ID", "ok", "not set, so 0")
    if value.isdigit() and int(value) <= 232:
        return Check("ROS_DOMAIN_ID", "ok", value)
    return Check("ROS_DOMAIN_ID", "missing", value, "set it to a whole number from 0 to 232")


def _browser() -> Check:
    try:
        webbrowser.get()
    except webbrowser.Error:
        advice = "save recordings with semlt3d view --save FILE.rrd and open them on another machine"
        return Check("browser", "note", "none found", advice)
    return Check("browser", "ok", "found; the viewer opens in it")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    found = f"{free / 1e9:.1f} GB free here"
    if free < _LITTLE_DISK:
        return Check("disk", "note", found, "recordings need space: free some")
    return Check("disk", "ok", found)
