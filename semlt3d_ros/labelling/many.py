"""Many recordings through a teacher: one after the other, or side by side on Ray."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.inference.teacher import TeacherDetector
from semlt3d_ros.labelling.clouds import Progress
from semlt3d_ros.labelling.recording import LabelJob, Labelled, label_recording
from semlt3d_ros.sensing.rig import load_rig

_LONGEST_WAIT_S = 10.0
LOCAL = "local"
"""As ``ray``: a cluster of this machine alone."""

Result = Labelled | Semlt3dError | None
"""What came of a recording: labels, why there are none, or nothing since they were there before."""


def label_one(
    job: LabelJob, teacher: Path, rig: Path | None, device: str, progress: Progress = lambda done, of: None
) -> Labelled:
    """Label one recording; errors as of ``label_recording``, of the teacher and of the rig."""
    return label_recording(job, TeacherDetector.load(teacher, device), None if rig is None else load_rig(rig), progress)


def label_all(
    jobs: Sequence[LabelJob], teacher: Path, rig: Path | None, device: str, ray: str | None, progress: Progress
) -> list[tuple[LabelJob, Result]]:
    """Label recordings. Those with labels are left alone; what fails does not keep others from it.

    Args:
        jobs: the recordings; labels appear under their names when they are whole, so that a run that was interrupted
            goes on with the recordings it was at.
        teacher: checkpoint.
        rig: rig file, or None.
        device: where the teacher runs.
        ray: address of a Ray cluster, ``local`` for one of this machine; None labels one after the other.
        progress: told of recordings.

    Raises:
        ConfigurationError: the teacher or the rig cannot be used, or Ray is not there.
    """
    TeacherDetector.load(teacher, device)  # what is wrong with it is told at once
    if rig is not None:
        load_rig(rig)
    results: dict[int, Result] = {}
    todo = []
    for number, job in enumerate(jobs):
        if job.out.exists() and not job.overwrite:
            results[number] = None
        else:
            todo.append(number)
    progress(len(results), len(jobs))
    rest = [jobs[number] for number in todo]
    if not rest:
        return [(job, results[number]) for number, job in enumerate(jobs)]
    run = _here(rest, teacher, rig, device) if ray is None else _on_ray(rest, teacher, rig, device, ray)
    for place, result in run:
        results[todo[place]] = result
        progress(len(results), len(jobs))
    return [(job, results[number]) for number, job in enumerate(jobs)]


def _here(jobs: Sequence[LabelJob], teacher: Path, rig: Path | None, device: str) -> Iterator[tuple[int, Result]]:
    for place, job in enumerate(jobs):
        yield place, _tried(job, teacher, rig, device)


def _tried(job: LabelJob, teacher: Path, rig: Path | None, device: str) -> Labelled | Semlt3dError:
    try:
        return label_one(job, teacher, rig, device)
    except Semlt3dError as error:
        return error
    except OSError as error:
        return Semlt3dError(f"{job.bag}: {error}")


def _require_somebody(address: str) -> None:
    """Ray itself waits for minutes, and then ends the process; raises OSError where nobody listens."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _LONGEST_WAIT_S).close()


def _absolute(job: LabelJob) -> LabelJob:
    cache = None if job.cache is None else job.cache.absolute()
    return replace(job, bag=job.bag.absolute(), out=job.out.absolute(), cache=cache)


def _on_ray(
    jobs: Sequence[LabelJob], teacher: Path, rig: Path | None, device: str, address: str
) -> Iterator[tuple[int, Result]]:
    try:
        import ray
    except ImportError as error:
        raise ConfigurationError("--ray needs the package ray: pip install 'semlt3d_ros[ray]'") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that starts here tells nobody of itself
    where: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {"address": address}
    try:
        _require_somebody(address)
        ray.init(**where, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise ConfigurationError(f"--ray {address}: no Ray cluster can be reached there ({error})") from error
    try:
        needs = {"num_gpus": 1} if device.startswith("cuda") else {"num_cpus": 1}
        remote = ray.remote(**needs)(_tried)
        # Workers may be in another folder.
        shared = teacher.absolute(), None if rig is None else rig.absolute(), device
        waiting = {remote.remote(_absolute(job), *shared): place for place, job in enumerate(jobs)}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            for reference in done:
                place = waiting.pop(reference)
                try:
                    yield place, ray.get(reference)
                except ray.exceptions.RayError as error:  # a machine was lost
                    yield place, Semlt3dError(f"the worker has ended: {error}")
    finally:
        ray.shutdown()
