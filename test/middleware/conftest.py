"""Middleware objects and other processes that end with the test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from semlt3d_ros.middleware.dds import DdsMiddleware

ROS = pytest.param(
    "ros",
    marks=pytest.mark.skipif(find_spec("rclpy") is None, reason="no ROS 2 workspace is sourced for this Python"),
)


def make_middleware(adapter: str, name: str, domain: int, overrides: tuple[str, ...] = (), **options: Any) -> Any:
    """A participant through one of the port's adapters."""
    if adapter == "dds":
        return DdsMiddleware(name, domain, parameter_overrides=overrides, **options)
    from semlt3d_ros.middleware.ros import RosMiddleware

    arguments = ["--ros-args", *(word for text in overrides for word in ("-p", text))]
    return RosMiddleware(name, arguments, domain_id=domain, **options)


@pytest.fixture(params=["dds", ROS])
def join(request: pytest.FixtureRequest, domain: int) -> Iterator[Callable[..., Any]]:
    """Makes participants through each adapter in turn, and shuts them down afterwards."""
    with ExitStack() as stack:

        def make(name: str = "test", *overrides: str, **options: Any) -> Any:
            middleware = make_middleware(request.param, name, domain, overrides, **options)
            stack.callback(middleware.shutdown)
            return middleware

        yield make


@pytest.fixture
def join_dds(domain: int) -> Iterator[Callable[..., DdsMiddleware]]:
    """The same, on DDS alone: for what the port leaves open."""
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
