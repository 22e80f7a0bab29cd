"""docs/ros.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.parameters import describe_parameters, live_parameters
from semlt3d_ros.nodes import detector_report
from semlt3d_ros.nodes.detector import RELOAD_MODEL, RESET_MEMORY
from semlt3d_ros.nodes.detector_parameters import DetectorParameters
from semlt3d_ros.nodes.ros_main import PlayerParameters
from semlt3d_ros.nodes.watchdog import WATCHDOG
from semlt3d_ros.sensing.camera_input import CameraState

ROOT = Path(__file__).resolve().parents[2]
MANUAL = (ROOT / "docs" / "ros.md").read_text(encoding="utf-8")


def parameter_table(kind: type) -> str:
    """The manual's table of a node's parameters."""
    live = live_parameters(kind)
    rows = ["| parameter | default | | meaning |", "|---|---|---|---|"]
    for name, _, default, description in describe_parameters(kind):
        rows.append(f"| `{name}` | {shown(default)} | {'live' if name in live else ''} | {description} |")
    return "\n".join(rows)


def shown(default: Any) -> str:
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, list):
        return f"`[{', '.join(map(str, default))}]`"
    return f"`{default}`" if default != "" else "empty"


@pytest.mark.parametrize("kind", [DetectorParameters, PlayerParameters], ids=lambda kind: kind.__name__)
def test_every_parameter_is_in_its_table(kind: type):
    assert parameter_table(kind) in MANUAL, f"put this in its place:\n{parameter_table(kind)}"


def test_every_status_is_named():
    names = {
        value for value in vars(detector_report).values() if isinstance(value, str) and value.startswith("semlt3d: ")
    }
    assert len(names) > 5
    for name in (*names, WATCHDOG):
        assert f"| `{name}" in MANUAL, name


def test_every_state_of_a_camera_is_named():
    for state in get_args(CameraState):
        assert f"| `{state}` |" in MANUAL


def test_every_topic_and_service_is_named():
    outputs = [value for name, value in vars(DetectorParameters()).items() if name.endswith("_topic")]
    for name in (*outputs, RESET_MEMORY, RELOAD_MODEL):
        assert f"`{name.replace('~', '/semlt3d')}`" in MANUAL
    for name in (topics.TF, topics.TF_STATIC, topics.DIAGNOSTICS):
        assert f"`{name}`" in MANUAL


def test_every_rig_is_named():
    for path in (ROOT / "config" / "rigs").glob("*.yaml"):
        assert f"| `{path.stem}` |" in MANUAL


def test_every_link_leads_somewhere():
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in MANUAL.splitlines()}
    for target in re.findall(r"\]\(([^)]+)\)", MANUAL):
        if target.startswith("#"):
            assert target[1:] in headings, target
        else:
            assert (ROOT / "docs" / target).is_file(), target
