"""Everything here runs in a sourced ROS 2 workspace that holds this package; without one there is nothing to run."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

if find_spec("rclpy") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def domain() -> int:
    """A ROS domain of this test run's own."""
    return 1 + os.getpid() % 100


@pytest.fixture(scope="session")
def ros_environment(domain: int) -> dict[str, str]:
    """For the processes that a test starts: that domain, on loopback alone."""
    return {**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
