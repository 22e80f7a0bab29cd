"""docs/ros.md says what the code does."""

from __future__ import annotations

import ast
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


def reasons_of(path: Path) -> set[str]:
    """The reasons that a file gives for what it drops or tells: constants at the places where reasons stand."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        places: list[ast.expr] = []
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = {"InputRejected": 0, "TransformError": 0, "_Returned": 1, "Fault": 1, "note": 0, "_drop": 0}
            if name in place:
                places = node.args[place[name] : place[name] + 1]
            if name in ("add", "note") and len(node.args) >= 3:
                places = node.args[1:2]
            if name == "append" and isinstance(node.args[0], ast.Tuple):
                places = node.args[0].elts[:1]
        elif isinstance(node, ast.Subscript) and getattr(node.value, "attr", "") == "drops":
            places = [node.slice]
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("_TEXTS", "_REMEDIES"):
            assert isinstance(node.value, ast.Dict)
            places = [key for key in node.value.keys if key]
        found |= {place.value for place in places if isinstance(place, ast.Constant) and isinstance(place.value, str)}
    return found - {""}


def test_every_reason_of_the_input_is_in_its_table():
    package = ROOT / "semlt3d_ros"
    decoders = [path for path in package.glob("messages/decode*.py") if path.stem != "decode_detections"]
    files = [*package.glob("sensing/*.py"), *package.glob("core/*.py"), *decoders]
    reasons = set().union(*map(reasons_of, files))
    assert {"roi", "stamp", "late", "dark", "mounting", "sample_depth", "row_step", "transform_gap"} <= reasons
    tables = MANUAL[MANUAL.index("Why sets are lost, in") : MANUAL.index("## Rigs: adding a vehicle")]
    named = {name for row in re.findall(r"^\| (`.*?`) \|", tables, re.M) for name in re.findall(r"`(\w+)`", row)}
    assert reasons <= named, sorted(reasons - named)


def test_every_topic_and_service_is_named():
    outputs = [value for name, value in vars(DetectorParameters()).items() if name.endswith("_topic")]
    for name in (*outputs, RESET_MEMORY, RELOAD_MODEL):
        assert f"`{name.replace('~', '/semlt3d')}`" in MANUAL
    for name in (topics.TF, topics.TF_STATIC, topics.DIAGNOSTICS):
        assert f"`{name}`" in MANUAL


def test_every_rig_and_vehicle_is_named():
    for path in (ROOT / "config" / "rigs").glob("*.yaml"):
        assert f"| `{path.stem}` |" in MANUAL
    for path in (ROOT / "config" / "vehicles").glob("*.yaml"):
        assert f"`vehicle:={path.stem}`" in MANUAL


def test_every_launch_file_is_named():
    for path in (ROOT / "launch").iterdir():
        if path.is_file():
            assert f"ros2 launch semlt3d_ros {path.name}" in MANUAL


def test_every_link_leads_somewhere():
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in MANUAL.splitlines()}
    for target in re.findall(r"\]\(([^)]+)\)", MANUAL):
        if target.startswith("#"):
            assert target[1:] in headings, target
        else:
            assert (ROOT / "docs" / target).is_file(), target
