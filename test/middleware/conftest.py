"""Middleware objects and other processes that end with the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from semlt3d_ros.middleware.dds import DdsMiddleware


@pytest.fixture(scope="session")
def domain() -> int:
    """A ROS domain of this test run's own."""
    return 1 + os.getpid() % 100


@pytest.fixture
def join(domain: int) -> Iterator[Callable[[str], DdsMiddleware]]:
    """Makes participants, and shuts them down afterwards."""
    with ExitStack() as stack:

        def make(name: str = "test") -> DdsMiddleware:
            middleware = DdsMiddleware(name, domain)
            stack.callback(middleware.shutdown)
            return middleware

        yield make


@pytest.fixture
def peer(domain: int) -> Iterator[Callable[[dict], None]]:
    """Starts ``peer.py`` in a process of its own; returns when it is ready."""
    processes: list[subprocess.Popen[str]] = []

    def start(task: dict) -> None:
        command = [sys.executable, str(Path(__file__).parent / "peer.py"), str(domain), json.dumps(task)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    yield start
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
