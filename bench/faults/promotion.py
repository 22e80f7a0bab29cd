"""Kills what adds, promotes and rolls back models at random moments; what runs is always a whole version."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.small_robot import STUDENT
from semlt3d_ros.adaptation.models import CURRENT, ModelStore
from semlt3d_ros.checkpoints.checkpoint import read_checkpoint, save_checkpoint
from semlt3d_ros.student.student import Student

_LONGEST_S = 0.5
IDLE = "between two"


def _save(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    save_checkpoint(path, Student(STUDENT), "small", {})
    return path


def _work(folder: Path, seed: int, pipe: int) -> None:
    """Promote and roll back for ever; says over a pipe what it is at, and what ran after it."""
    choice, store = random.Random(seed), ModelStore(folder / "models")
    checkpoint = folder / "candidate.safetensors"

    def told(what: str) -> None:
        os.write(pipe, f"{what} {store.current()}\n".encode())

    for number in range(1, 10_000):
        _save(checkpoint, 1000 * seed + number)
        told("add")
        version = store.add(checkpoint, {"origin": "test"}, {"promoted": True})
        told("promote")
        store.promote(version.name)
        told("confirm")
        if choice.random() < 0.5:
            store.confirm()
        elif len(store.history()) > 1:
            told("roll_back")
            store.roll_back("test")
        told(IDLE)


def kill_promotions(folder: Path, kills: int, seed: int) -> Iterator[Counter[str]]:
    """Kill it until so many kills fell within a step; yields, after each, in which steps they fell.

    Args:
        folder: for the models.
        kills: how many.
        seed: decides the moments.

    Raises:
        AssertionError: something was lost.
    """
    choice, total = random.Random(seed), Counter[str]()
    store = ModelStore(folder / "models")
    store.promote(store.add(_save(folder / "first.safetensors", seed), {"origin": "test"}).name)
    number = 0
    while total.total() - total[IDLE] < kills:
        number += 1
        before = set(version.name for version in store.versions()[0])
        step, current = _killed(folder, 1000 * seed + number, choice.uniform(0.0, _LONGEST_S))
        check(store, before, step, current)
        total[step] += 1
        yield total


def _killed(folder: Path, seed: int, after_s: float) -> tuple[str, str]:
    """In which step it was killed, and what ran when that began."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reads)
            _work(folder, seed, writes)
        finally:
            os._exit(1)
    os.close(writes)
    said = os.read(reads, 100)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the model store ended with an error of its own"
    with os.fdopen(reads, "rb") as rest:
        lines = (said + rest.read()).decode().splitlines()
    step, _, current = lines[-1].rpartition(" ")
    return step, current


def check(store: ModelStore, before: set[str], step: str, current: str) -> None:
    """What runs is whole, is what ran or what the step was to run, and nothing that was there is lost."""
    running = store.current()
    assert running is not None, "nothing runs any more"
    store.verify(running)
    assert read_checkpoint(store.folder / CURRENT).version == running
    if step not in ("promote", "roll_back"):
        assert running == current, f"{step} has changed what runs"
    versions, faults = store.versions()
    assert not faults, faults
    assert before <= {store.verify(version.name).name for version in versions}, "a version is lost"
    history = store.history()
    assert history[-1].name == running and all(store.path(entry.name).is_file() for entry in history)
