"""Simulated clouds beside recorded ones: how dense they are, what stands in them, and what a frame costs.

    python -m bench.clouds [BAG...] [--frames 12] [--json]

Recorded clouds are those of labelled bags; the simulated ones are of rough streets, scanned with the beam patterns of
the sensors that such recordings have, and with any (see ``simulation/lidar_models.py``). By rings about the ego
vehicle: points, share of squares of 1 m in which there is any, share of these in which something is higher than 0.3 m,
the 10th, 50th and 90th percentile of the lowest point of a square, and of the points on a car.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.teacher_real import labelled_frames
from semlt3d_ros.core.frame import Labels, PointCloud
from semlt3d_ros.core.taxonomy import CLASS_INDEX
from semlt3d_ros.simulation.drive import Drive
from semlt3d_ros.simulation.generation import GenerationRecipe
from semlt3d_ros.simulation.lidar_models import varied_lidar
from semlt3d_ros.training.teacher_task import points_in

RINGS = ((3, 8), (8, 15), (15, 25), (25, 40), (40, 60))
PERCENTILES = (10, 50, 90)
RECIPE = GenerationRecipe(300, frames=3, interval_s=0.1, lidar="varied", cameras=False, point_limit=40_000)


@dataclass
class Ring:
    """What was counted in a ring, over all frames."""

    points: list[int] = field(default_factory=list)
    covered: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    lowest: list[float] = field(default_factory=list)
    cars: list[int] = field(default_factory=list)


def counted(frames: Iterable[tuple[PointCloud, Labels]]) -> list[Ring]:
    """What there is in each of ``RINGS``."""
    rings = [Ring() for _ in RINGS]
    for cloud, labels in frames:
        distance = np.hypot(cloud.xyz[:, 0], cloud.xyz[:, 1])
        cars = labels[labels.class_ids == CLASS_INDEX["car"]]
        on_cars, away = points_in(cars.boxes, cloud, 0.1), np.hypot(*cars.boxes.centers[:, :2].T)
        for ring, (near, far) in zip(rings, RINGS, strict=True):
            xyz = cloud.xyz[(distance >= near) & (distance < far)]
            low, high = _squares(xyz)
            ring.points.append(len(xyz))
            ring.covered.append(len(low) / (np.pi * (far**2 - near**2)))
            ring.high.append(float((high - low > 0.3).mean()) if len(low) else 0.0)
            ring.lowest += low.tolist()
            ring.cars += on_cars[(away >= near) & (away < far) & (on_cars > 0)].tolist()
    return rings


def _squares(xyz: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest point of each square of 1 m in which there is any."""
    cells, index = np.unique(np.floor(xyz[:, :2]).astype(np.int64), axis=0, return_inverse=True)
    low, high = np.full(len(cells), np.inf, np.float32), np.full(len(cells), -np.inf, np.float32)
    np.minimum.at(low, index.reshape(-1), xyz[:, 2])
    np.maximum.at(high, index.reshape(-1), xyz[:, 2])
    return low, high


def simulated(pattern: str | None, frames: int) -> Iterable[tuple[PointCloud, Labels]]:
    """First frames of drives, all with one beam pattern or with any."""
    for seed in range(RECIPE.first_seed, RECIPE.first_seed + frames):
        lidar = varied_lidar(np.random.default_rng([seed, 4]), pattern)
        frame = Drive(replace(RECIPE.drive(seed), lidar=lidar)).frame(0)
        assert frame.points is not None and frame.labels is not None
        yield frame.points, frame.labels


def cost(drives: int) -> float:
    """CPU seconds per frame of whole drives."""
    began = time.process_time()
    for seed in range(RECIPE.first_seed, RECIPE.first_seed + drives):
        drive = Drive(RECIPE.drive(seed))
        for index in range(len(drive)):
            drive.frame(index)
    return (time.process_time() - began) / (drives * RECIPE.frames)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m bench.clouds``."""
    parser = argparse.ArgumentParser(prog="python -m bench.clouds", description=__doc__.split("\n\n")[0])
    parser.add_argument("bags", type=Path, nargs="*", help="labelled recordings")
    parser.add_argument("--frames", type=int, default=12, help="frames of each source")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    found: dict[str, list[Ring]] = {}
    for bag in given.bags:
        frames = [(frame.points, labels) for frame, labels in labelled_frames(bag) if frame.points is not None]
        found[bag.stem] = counted(frames[:: -(-len(frames) // given.frames)])
    for pattern in ("pandar64", "hdl64", "hdl32", None):
        found[f"simulated, {pattern or 'any LiDAR'}"] = counted(simulated(pattern, given.frames))
    report = {"rings_m": RINGS, "sources": {name: _plain(rings) for name, rings in found.items()}}
    report["cpu_s_per_frame"] = round(cost(given.frames), 3)
    print(json.dumps(report) if given.json else _table(report))
    return 0


def _plain(rings: list[Ring]) -> list[dict[str, Any]]:
    return [
        {
            "points": round(float(np.mean(ring.points))),
            "covered": round(float(np.mean(ring.covered)), 2),
            "high": round(float(np.mean(ring.high)), 2),
            "lowest_m": [round(float(value), 2) for value in np.percentile(ring.lowest or [np.nan], PERCENTILES)],
            "car_points": [round(float(value)) for value in np.percentile(ring.cars, PERCENTILES)] if ring.cars else [],
        }
        for ring in rings
    ]


def _table(report: dict[str, Any]) -> str:
    lines = []
    for name, rings in report["sources"].items():
        lines.append(name)
        for (near, far), ring in zip(report["rings_m"], rings, strict=True):
            lines.append(
                f"  {near:2d} to {far:2d} m: {ring['points']:6d} points, {ring['covered']:4.0%} covered, "
                f"{ring['high']:4.0%} high, lowest {ring['lowest_m']}, on cars {ring['car_points']}"
            )
    return "\n".join([*lines, f"{report['cpu_s_per_frame']:.3f} s of one core per simulated frame"])


if __name__ == "__main__":
    raise SystemExit(main())
