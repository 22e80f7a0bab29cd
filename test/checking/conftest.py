"""A simulated drive, made once, and its messages."""

import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main

FRAMES = 12


@pytest.fixture(scope="session")
def drive(tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "drive.mcap"
    words = ["simulate", str(path), "--seed", "5", "--frames", str(FRAMES), "--interval", "0.2", "--size", "112x64"]
    assert main(words) == 0
    return path


@pytest.fixture(scope="session")
def messages(drive):
    with BagSource(drive) as source:
        return [(entry.topic, entry.type_name, entry.message(), entry.stamp) for entry in source.messages()]
