"""Where a robot drives: recordings to learn from, a drive to look at, frames with ground truth that judge."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from semlt3d_ros.adaptation.gate import GateSettings
from semlt3d_ros.commands.output import Progress
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.generation import GenerationRecipe
from semlt3d_ros.simulation.lidar_models import varied_lidar
from semlt3d_ros.simulation.simulate import simulate

FIRST_SEED, WATCHED_SEED, JUDGED_SEED = 950_000, 955_000, 956_000
"""Of the drives to learn from, the one to look at, and those with ground truth; recipes of the package have others."""
_FRAMES, _INTERVAL_S = 16, 0.25
_WATCHED_FRAMES, _WATCHED_INTERVAL_S = 60, 0.2
_PANDASET_FRAMES = 21
_HALVES, _PANDASET_RATE = ("longest_s:=1.0", "pre_roll_s:=0.0", "post_roll_s:=0.5"), 0.65
"""A second of playing is 0.65 s: the 13 recorded frames become two events, one to learn from and one that judges."""
_EXPONENT = 0.5
"""A flatter class mix than the real one, so that a few minutes of driving pass every class."""
_LIDAR_SEED = 5
_RANGE_M = 40.0
_RIGS = Path(__file__).resolve().parents[2] / "config" / "rigs"


@dataclass(frozen=True)
class Place:
    """One.

    Attributes:
        name: of a folder.
        title: for people.
        drives: bags that the robot records from, in turns.
        watched: a bag to look at, before and after.
        watched_sets: how many camera sets it holds.
        judged: frames with ground truth that nobody learnt from.
        recorder: parameters of the event recorder.
        node: parameters of the detector.
        loop: entries of the loop's settings in place of those of ``config/adaptation.yaml``.
        gate: how before and after are compared on ``judged``.
        rate: speed at which drives are played, relative to the recording's.
    """

    name: str
    title: str
    drives: tuple[Path, ...]
    watched: Path
    watched_sets: int
    judged: DataSpec
    recorder: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    loop: dict[str, Any] = field(default_factory=dict)
    gate: GateSettings = field(default_factory=GateSettings)
    rate: float = 1.0


def winter(folder: Path, drives: int, workers: int, progress: Progress) -> Place:
    """A simulated city under snow, in dusk and mist, which the shipped student has never seen.

    Args:
        folder: for its bags; those that are there are not made again.
        drives: how many to record from.
        workers: processes that render.
        progress: told of every drive.
    """
    wanted = [(folder / f"drive_{number:02d}.mcap", FIRST_SEED + number) for number in range(drives)]
    watched = folder / "drive.mcap"
    jobs = [
        (watched, _config(WATCHED_SEED, _WATCHED_FRAMES, _WATCHED_INTERVAL_S)),
        *((path, _config(seed, _FRAMES, _INTERVAL_S)) for path, seed in wanted),
    ]
    _simulate_all([job for job in jobs if not job[0].exists()], workers, progress)
    judged = GenerationRecipe(
        first_seed=JUDGED_SEED,
        drives=60,
        frames=3,
        interval_s=0.5,
        drives_per_shard=30,
        class_exponent=_EXPONENT,
        city="winter",
    )
    return Place(
        "winter",
        "a new city: snow, dusk, mist",
        tuple(path for path, _ in wanted),
        watched,
        _WATCHED_FRAMES,
        DataSpec(simulate=judged),
        gate=GateSettings(range_limit_m=_RANGE_M, min_visible_pixels=6),
    )


def _config(seed: int, frames: int, interval_s: float) -> DriveConfig:
    """A drive of the robot in winter, always with the same rig and LiDAR."""
    lidar = varied_lidar(np.random.default_rng(_LIDAR_SEED), "hdl32")
    return DriveConfig(
        seed,
        frames=frames,
        interval_s=interval_s,
        objects=(16, 36),
        class_exponent=_EXPONENT,
        lidar=lidar,
        rough=True,
        city="winter",
    )


def _simulate_all(jobs: Sequence[tuple[Path, DriveConfig]], workers: int, progress: Progress) -> None:
    if not jobs:
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(_simulate, *zip(*jobs, strict=True)), 1):
            progress(done, len(jobs))


def _simulate(path: Path, config: DriveConfig) -> None:
    simulate(path, config, progress=False)


def pandaset(folder: Path, source: Path) -> Place:
    """Real frames without annotations: the first 13 of a sequence are recorded, the others judge.

    Args:
        folder: for its bags.
        source: PandaSet's sequence.
    """
    from semlt3d_ros.datasets.pandaset import import_pandaset

    parts = {"drive": (0, _PANDASET_FRAMES), "drive_00": (0, 13), "judged": (13, _PANDASET_FRAMES)}
    paths = {name: folder / f"{name}.mcap" for name in parts}
    for name, (first, stop) in parts.items():
        if not paths[name].exists():
            import_pandaset(source, paths[name], frames=slice(first, stop))
    return Place(
        "pandaset",
        "real streets: PandaSet, cars",
        (paths["drive_00"],),
        paths["drive"],
        _PANDASET_FRAMES,
        DataSpec(bags=(str(paths["judged"]),)),
        recorder=(f"rig_file:={_RIGS / 'pandaset.yaml'}", *_HALVES),
        node=(f"rig_file:={_RIGS / 'pandaset.yaml'}",),
        # Little more than a second of driving. The tiny CLIP has never seen a real image.
        loop={
            "rig": str(_RIGS / "pandaset.yaml"),
            "least_new": 2,
            "held_back": 0.25,
            "calibration": 0.0,
            "naming": None,
            # The teacher finds its cars (docs/teacher.md), and a student that has never seen a camera is sure of few.
            "support": 0.0,
            "gate": {"least_drives": 3, "clip_frames": 1, "range_limit_m": _RANGE_M},
        },
        gate=GateSettings(range_limit_m=_RANGE_M, least_drives=4, clip_frames=2),
        rate=_PANDASET_RATE,
    )
