"""What RViz is told to show is what the node publishes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from semlt3d_ros.messages import topics
from semlt3d_ros.middleware.port import RELIABLE
from semlt3d_ros.nodes.outputs import DEBUG_IMAGE

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "config" / "semlt3d.rviz").read_text(encoding="utf-8"))
MANAGER = CONFIG["Visualization Manager"]
DISPLAYS: list[dict[str, Any]] = MANAGER["Displays"]

COMMON = {"Class", "Name", "Enabled", "Value"}
TOPIC = {"Depth", "Durability Policy", "History Policy", "Reliability Policy", "Value"}
CLOUD = {"Alpha", "Channel Name", "Color Transformer", "Decay Time", "Position Transformer", "Size (Pixels)", "Style"}
PROPERTIES = {
    "Grid": {"Alpha", "Cell Size", "Color", "Line Style", "Normal Cell Count", "Plane", "Plane Cell Count"}
    | {"Reference Frame"},
    "Axes": {"Length", "Radius", "Reference Frame"},
    "TF": {"Frame Timeout", "Marker Scale", "Show Arrows", "Show Axes", "Show Names", "Update Interval"},
    "PointCloud2": CLOUD
    | {"Autocompute Intensity Bounds", "Max Color", "Min Color", "Selectable", "Topic", "Use rainbow"},
    "MarkerArray": {"Namespaces", "Topic"},
    "Image": {"Topic"},
}
"""The properties used here of each of ``rviz_default_plugins``' displays, by their names in its source (Jazzy)."""


def displays(kind: str) -> list[dict[str, Any]]:
    return [display for display in DISPLAYS if display["Class"] == f"rviz_default_plugins/{kind}"]


def strings(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)
    elif isinstance(node, str):
        yield node


def test_displays_and_their_properties_are_rviz_own():
    for display in DISPLAYS:
        room, _, kind = display["Class"].partition("/")
        assert room == "rviz_default_plugins" and kind in PROPERTIES
        assert set(display) <= COMMON | PROPERTIES[kind], display["Name"]
        assert display["Enabled"] == display["Value"]
        if "Topic" in display:
            assert set(display["Topic"]) == TOPIC
    names = [display["Name"] for display in DISPLAYS]
    assert len(names) == len(set(names)), "window positions go by name"


def test_six_annotated_images():
    shown = {display["Name"]: display["Topic"]["Value"] for display in displays("Image")}
    node = topics.DETECTIONS.rpartition("/")[0]
    assert shown == {name: DEBUG_IMAGE.format(name).replace("~", node) for name in topics.NUSCENES_CAMERAS}
    for display in displays("Image"):
        # The node's own, which it offers so; six at once in best effort are more than a socket's usual buffer.
        assert RELIABLE.reliable and display["Topic"]["Reliability Policy"] == "Reliable"


def test_cloud_and_boxes_come_from_the_topics_of_the_default_rig():
    (cloud,), (boxes,) = displays("PointCloud2"), displays("MarkerArray")
    assert cloud["Topic"]["Value"] == topics.POINTS and cloud["Topic"]["Reliability Policy"] == "Best Effort"
    assert boxes["Topic"]["Value"] == topics.MARKERS


def test_covariance_is_there_but_off():
    (boxes,) = displays("MarkerArray")
    assert boxes["Namespaces"] == {"boxes": True, "names": True, "velocities": True, "covariance": False}


def test_everything_is_seen_from_the_vehicle():
    assert MANAGER["Global Options"]["Fixed Frame"] == topics.BASE_FRAME
    # What is told to look at another frame (-f) does so in everything.
    frames = [view["Target Frame"] for view in (MANAGER["Views"]["Current"], *MANAGER["Views"]["Saved"])]
    frames += [display["Reference Frame"] for display in (*displays("Grid"), *displays("Axes"))]
    assert len(frames) == 4 and set(frames) == {"<Fixed Frame>"}


def test_every_image_has_its_place_in_the_window():
    geometry = CONFIG["Window Geometry"]
    state = bytes.fromhex(geometry["QMainWindow State"])
    panels = [panel["Name"] for panel in CONFIG["Panels"]]
    for name in (*topics.NUSCENES_CAMERAS, *panels):
        assert name in geometry
        length = (2 * len(name)).to_bytes(4, "big")
        assert length + name.encode("utf-16-be") in state, "RViz would open it as a window of its own"


def test_launch_remaps_exactly_what_rviz_shows_of_the_node():
    tree = ast.parse((ROOT / "launch" / "detector.launch.py").read_text(encoding="utf-8"))
    wanted = ("CAMERAS", "RVIZ_TOPICS")
    constants = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in wanted]
    values: dict[str, Any] = {}
    exec(compile(ast.Module(constants, []), "detector.launch.py", "exec"), values)
    shown = {text for text in strings(MANAGER) if text.startswith("/semlt3d/")}
    assert {f"/semlt3d/{topic}" for topic in values["RVIZ_TOPICS"]} == shown
