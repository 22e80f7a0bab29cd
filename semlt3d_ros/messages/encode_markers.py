"""Boxes to markers for RViz."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.rigid import quaternion_from_yaw
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASSES
from semlt3d_ros.messages.building import build_header, build_pose, build_vector, numeric_sequence
from semlt3d_ros.messages.typestore import MessageTypes, message_class

GROUP_COLORS: dict[str, tuple[float, float, float]] = {
    "many": (0.20, 0.60, 1.00),
    "medium": (1.00, 0.75, 0.10),
    "few": (1.00, 0.25, 0.35),
    "": (0.70, 0.70, 0.70),
}
"""RGB in 0..1 of each frequency group, and of classes in no group."""

_UPRIGHT = (0.0, 0.0, 0.0, 1.0)
_SLOWEST_ARROW = 0.5
"""m/s below which a velocity is drawn as nothing: its direction is noise."""
_LEAST_SCORE = 0.005
"""A class that would be written with a score of 0.00 is not written."""
_UNCERTAINTY_WIDTH_M = 0.3
_LEAST_EXTENT_M = 0.01
"""RViz refuses shapes without extent."""


@dataclass(frozen=True)
class MarkerOptions:
    """What is drawn of each box.

    Attributes:
        threshold: least score of a box that is drawn.
        text_classes: most likely classes that are written beside a box with their scores, at least 1.
        velocities: draw velocities as arrows, as long as the box moves in one second.
        covariance: draw the uncertainty of the distance as an ellipsoid along the viewing ray, from one standard
            deviation before the centre of the box to one behind it.
        lifetime_s: after so long without a new set nothing is left on the screen, even if the node has died; 0: never.
    """

    threshold: float = 0.0
    text_classes: int = 3
    velocities: bool = True
    covariance: bool = False
    lifetime_s: float = 1.0


_DEFAULT_OPTIONS = MarkerOptions()


def encode_markers(
    detections: Detections,
    frame_id: str,
    options: MarkerOptions = _DEFAULT_OPTIONS,
    types: MessageTypes = message_class,
) -> Any:
    """``visualization_msgs/MarkerArray``: a DELETEALL, then the markers of each box.

    Namespaces: ``boxes`` (cubes, the more opaque the more confident), ``names`` (texts), ``velocities`` (arrows),
    ``covariance`` (ellipsoids). Colours go by frequency group (``GROUP_COLORS``).

    The DELETEALL comes in the same message, so that RViz shows exactly this set whatever it has missed. Boxes that are
    not finite are left out, and so are velocities and uncertainties that are not known.

    Args:
        detections: boxes in ``frame_id``; distances are from its origin.
        frame_id: frame of the boxes.
        options: what is drawn.
        types: gives the message classes.
    """
    marker = types("visualization_msgs/msg/Marker")
    blank = _blank_marker(types, detections.stamp, frame_id)
    markers = [marker(**(blank | {"action": marker.DELETEALL}))]
    blank["lifetime"] = _duration(types, options.lifetime_s)
    boxes = detections.boxes
    drawable = np.isfinite(boxes.centers).all(axis=1) & np.isfinite(boxes.sizes).all(axis=1) & np.isfinite(boxes.yaw)
    for row in np.flatnonzero(drawable & (detections.scores >= options.threshold)):
        shapes = _shapes(types, detections, int(row), options)
        markers += [marker(**(blank | {"ns": space, "id": int(row)} | fields)) for space, fields in shapes.items()]
    return types("visualization_msgs/msg/MarkerArray")(markers=markers)


def _shapes(types: MessageTypes, detections: Detections, row: int, options: MarkerOptions) -> dict[str, dict[str, Any]]:
    """By namespace, the fields in which the markers of one box differ from a blank one."""
    confidences, boxes = detections.confidences[row], detections.boxes
    best = int(confidences.argmax())
    name = detections.class_names[best]
    rgb = GROUP_COLORS[CLASSES[CLASS_INDEX[name]].group if name in CLASS_INDEX else ""]
    center, size = boxes.centers[row], boxes.sizes[row]
    shapes = {
        "boxes": _cube(types, center, size, float(boxes.yaw[row]), _color(types, rgb, 0.25 + 0.5 * confidences[best])),
        "names": _text(types, center, size, _best_classes(detections, row, options.text_classes)),
    }
    speed = float(np.hypot(*boxes.velocity[row]))
    if options.velocities and _SLOWEST_ARROW <= speed < np.inf:
        shapes["velocities"] = _arrow(types, center, boxes.velocity[row], speed, _color(types, rgb, 0.9))
    distance, deviation = float(np.linalg.norm(center)), float(detections.depth_uncertainty[row])
    if options.covariance and 0 < deviation < np.inf and distance > 0:
        shapes["covariance"] = _ellipsoid(types, center, center / distance, deviation, _color(types, rgb, 0.3))
    return shapes


def _best_classes(detections: Detections, row: int, count: int) -> str:
    """A line such as ``"stroller 0.87"`` for each of the ``count`` best classes of a box; the best is always there."""
    confidences = detections.confidences[row]
    ranked = np.argsort(-confidences, kind="stable")[: max(count, 1)]
    return "\n".join(
        f"{detections.class_names[index]} {confidences[index]:.2f}"
        for rank, index in enumerate(ranked)
        if rank == 0 or confidences[index] >= _LEAST_SCORE
    )


def _cube(
    types: MessageTypes, center: NDArray[np.float64], size: NDArray[np.float64], yaw: float, color: Any
) -> dict[str, Any]:
    return {
        "type": types("visualization_msgs/msg/Marker").CUBE,
        "pose": build_pose(types, center, quaternion_from_yaw(yaw)),
        "scale": build_vector(types, np.maximum(size, _LEAST_EXTENT_M)),
        "color": color,
    }


def _text(types: MessageTypes, center: NDArray[np.float64], size: NDArray[np.float64], text: str) -> dict[str, Any]:
    above = (center[0], center[1], center[2] + size[2] / 2 + 0.5)
    return {
        "type": types("visualization_msgs/msg/Marker").TEXT_VIEW_FACING,
        "pose": build_pose(types, above, _UPRIGHT),
        "scale": build_vector(types, (0.0, 0.0, 0.6)),
        "color": _color(types, (1.0, 1.0, 1.0), 1.0),
        "text": text,
    }


def _arrow(
    types: MessageTypes, center: NDArray[np.float64], velocity: NDArray[np.float64], speed: float, color: Any
) -> dict[str, Any]:
    heading = quaternion_from_yaw(np.arctan2(velocity[1], velocity[0]))
    return {
        "type": types("visualization_msgs/msg/Marker").ARROW,
        "pose": build_pose(types, center, heading),
        "scale": build_vector(types, (speed, 0.15, 0.15)),
        "color": color,
    }


def _ellipsoid(
    types: MessageTypes, center: NDArray[np.float64], ray: NDArray[np.float64], deviation: float, color: Any
) -> dict[str, Any]:
    # Half the turn from the x axis to the ray; straight back has no axis of its own, any upright one will do.
    turn = np.array([0.0, -ray[2], ray[1], 1.0 + ray[0]])
    length = float(np.linalg.norm(turn))
    quaternion = turn / length if length > 1e-6 else np.array([0.0, 0.0, 1.0, 0.0])
    extent = (max(2 * deviation, _LEAST_EXTENT_M), _UNCERTAINTY_WIDTH_M, _UNCERTAINTY_WIDTH_M)
    return {
        "type": types("visualization_msgs/msg/Marker").SPHERE,
        "pose": build_pose(types, center, quaternion),
        "scale": build_vector(types, extent),
        "color": color,
    }


def _color(types: MessageTypes, rgb: tuple[float, float, float], alpha: float) -> Any:
    return types("std_msgs/msg/ColorRGBA")(r=rgb[0], g=rgb[1], b=rgb[2], a=float(alpha))


def _duration(types: MessageTypes, seconds: float) -> Any:
    sec, nanosec = divmod(round(seconds * 1e9), 1_000_000_000)
    return types("builtin_interfaces/msg/Duration")(sec=sec, nanosec=nanosec)


def _blank_marker(types: MessageTypes, stamp: int, frame_id: str) -> dict[str, Any]:
    """Every field of a marker, made once for all markers: rosbags' classes have no defaults."""
    image, mesh = types("sensor_msgs/msg/CompressedImage"), types("visualization_msgs/msg/MeshFile")
    nothing = np.zeros(0, np.uint8)
    return {
        "header": build_header(types, stamp, frame_id),
        "ns": "",
        "id": 0,
        "type": 0,
        "action": 0,
        "pose": build_pose(types, (0.0, 0.0, 0.0), _UPRIGHT),
        "scale": build_vector(types, (0.0, 0.0, 0.0)),
        "color": _color(types, (0.0, 0.0, 0.0), 0.0),
        "lifetime": _duration(types, 0.0),
        "frame_locked": False,
        "points": [],
        "colors": [],
        "texture_resource": "",
        "texture": image(header=build_header(types, 0, ""), format="", data=numeric_sequence(image, nothing)),
        "uv_coordinates": [],
        "text": "",
        "mesh_resource": "",
        "mesh_file": mesh(filename="", data=numeric_sequence(mesh, nothing)),
        "mesh_use_embedded_materials": False,
    }
