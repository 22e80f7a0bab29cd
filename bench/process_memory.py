"""What a process holds, as the kernel counts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

_BLOCKS = 10
_T_95 = 2.306
"""Student's t of 95 % on both sides, for the slope through ten blocks."""


@dataclass(frozen=True)
class Holding:
    """What a process holds at one moment.

    Attributes:
        rss_mib: memory that is resident.
        anonymous_mib: of it, what is its own and no file's.
        shared_mib: of it, shared memory.
        threads: of the process.
        files: that it has open.
        cpu_s: processor time since its start.
    """

    rss_mib: float
    anonymous_mib: float
    shared_mib: float
    threads: int
    files: int
    cpu_s: float


def holding(pid: int) -> Holding:
    """What the process holds now.

    Raises:
        OSError: there is no such process.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {name: value.split() for name, value in (line.split(":", 1) for line in lines)}
    times = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return Holding(
        *(int(fields[name][0]) / 1024 for name in ("VmRSS", "RssAnon", "RssShmem")),
        int(fields["Threads"][0]),
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
        (int(times[11]) + int(times[12])) / 100,
    )


def slope(hours: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """By how much values grow in an hour, by least squares, and half the width of its 95 % interval.

    Samples that follow each other are alike, which makes the usual interval too narrow: the line goes through the means
    of ten blocks, each much longer than what the samples have in common.

    Args:
        hours: (N,) when.
        values: (N,) what.

    Raises:
        ValueError: there are fewer than 20 samples.
    """
    if len(hours) < 2 * _BLOCKS:
        raise ValueError(f"{len(hours)} samples are too few for a slope; measure for longer")
    x = np.array([block.mean() for block in np.array_split(hours, _BLOCKS)])
    y = np.array([block.mean() for block in np.array_split(values, _BLOCKS)])
    away = x - x.mean()
    grows = float(away @ y / (away @ away))
    rest = y - y.mean() - grows * away
    deviation = float(np.sqrt(rest @ rest / (_BLOCKS - 2) / (away @ away)))
    return grows, _T_95 * deviation
