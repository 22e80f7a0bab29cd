"""What PyTorch would find on this machine, without importing it: that takes seconds."""

from __future__ import annotations

import ctypes
import os
import runpy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_CPUINFO = Path("/proc/cpuinfo")
_CAPABILITIES = {
    "AVX512": {"avx512f", "avx512vl", "avx512bw", "avx512dq", "avx512cd", "fma"},
    "AVX2": {"avx2", "fma"},
}
"""By the name of PyTorch's kernels, best first, the flags that they need."""


@dataclass(frozen=True)
class TorchBuild:
    """An installed PyTorch.

    Attributes:
        version: such as ``"2.6.0+cu124"``.
        cuda: the CUDA it is built with; empty for a build without.
        rocm: the ROCm it is built with; empty for a build without.
    """

    version: str
    cuda: str
    rocm: str


def torch_build() -> TorchBuild:
    """The installed PyTorch, by the file that its package has for it.

    Raises:
        ImportError: there is none, or it is not whole.
    """
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        raise ImportError("not installed")
    folder = Path(spec.origin).parent
    if not any(folder.glob("_C.*")) or not (folder / "version.py").is_file():
        raise ImportError(f"not whole: {folder} lacks version.py or its compiled part")
    values = runpy.run_path(str(folder / "version.py"))
    return TorchBuild(str(values["__version__"]), values.get("cuda") or "", values.get("hip") or "")


def cpu_kernels() -> str:
    """Which of its kernels PyTorch takes on this CPU: ``AVX512``, ``AVX2`` or ``DEFAULT``."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return "DEFAULT"
    flags = next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
    return next((name for name, needed in _CAPABILITIES.items() if needed <= flags), "DEFAULT")


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Gpu:
    """The first GPU that a CUDA program gets.

    Attributes:
        name: of the device.
        memory_gib: its memory.
        driver_cuda: the newest CUDA that the driver can run, such as ``(12, 4)``.
    """

    name: str
    memory_gib: float
    driver_cuda: tuple[int, int]


def cuda_gpu(library: str = "libcuda.so.1") -> Gpu | None:
    """The first GPU by NVIDIA's driver itself, so that what hides GPUs from CUDA programs hides them here too.

    Args:
        library: of the driver.
    """
    try:
        driver: Any = ctypes.CDLL(library)
        count, device, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
            return None
        if driver.cuDeviceGet(ctypes.byref(device), 0) or driver.cuDeviceGetName(name, len(name), device):
            return None
        if driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device) or driver.cuDriverGetVersion(ctypes.byref(version)):
            return None
    except (OSError, AttributeError):
        return None
    major, minor = divmod(version.value, 1000)
    return Gpu(name.value.decode(errors="replace"), memory.value / 1024**3, (major, minor // 10))
