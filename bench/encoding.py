"""Publishing 200 boxes: messages written from arrays, against a message object for every box, as is usual.

Both ways end with the CDR bytes that are published; they must be the same. The functions named ``..._by_field`` are the
usual way, and independent of the encoders; tests compare with them too.

    python -m bench.encoding [--boxes 200] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.rigid import quaternion_from_yaw
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES, CLASSES
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.building import build_header, build_pose, build_vector, numeric_sequence
from semlt3d_ros.messages.encode import MarkerOptions
from semlt3d_ros.messages.encode_markers import class_colors
from semlt3d_ros.messages.typestore import MessageTypes, message_class, serialize

ROUNDS = 30
UPRIGHT = (0.0, 0.0, 0.0, 1.0)


def detection3d_by_field(
    detections: Detections, frame_id: str, top_k: int = 3, types: MessageTypes = message_class
) -> Any:
    """``vision_msgs/Detection3DArray``."""
    return _detection3d_array(
        detections.boxes[_best_first(detections)],
        detections.confidences[_best_first(detections)],
        detections.class_names,
        ("",) * len(detections),
        (detections.stamp, frame_id),
        max(1, top_k),
        types,
    )


def labels_detection3d_by_field(labels: Labels, stamp: int, frame_id: str, types: MessageTypes = message_class) -> Any:
    """``vision_msgs/Detection3DArray`` of ground truth."""
    return _detection3d_array(
        labels.boxes, _one_hot(labels.class_ids), CLASS_NAMES, labels.track_ids, (stamp, frame_id), 1, types
    )


def long_tail_by_field(detections: Detections, frame_id: str, types: MessageTypes = message_class) -> Any:
    """``semlt3d_ros/LongTailDetectionArray``."""
    order = _best_first(detections)
    confidences = detections.confidences[order]
    record = types("semlt3d_ros/msg/LongTailDetection")
    return types("semlt3d_ros/msg/LongTailDetectionArray")(
        header=build_header(types, detections.stamp, frame_id),
        class_names=list(detections.class_names),
        cameras=list(detections.cameras),
        missing_cameras=list(detections.missing),
        model_version=detections.model_version,
        detections=[
            _long_tail_detection(
                detections.boxes,
                row,
                confidences[rank],
                detections.class_names,
                types,
                **{
                    name: numeric_sequence(record, np.asarray(getattr(detections, name)[row], np.float32))
                    for name in ("classifier_confidences", "second_opinion", "expert_weights")
                },
                depth_uncertainty=float(detections.depth_uncertainty[row]),
                track_id="",
                lidar_points=-1,
                visible_pixels=-1,
            )
            for rank, row in enumerate(order)
        ],
    )


def labels_long_tail_by_field(labels: Labels, stamp: int, frame_id: str, types: MessageTypes = message_class) -> Any:
    """``semlt3d_ros/LongTailDetectionArray`` of ground truth."""
    confidences = _one_hot(labels.class_ids)
    empty = numeric_sequence(types("semlt3d_ros/msg/LongTailDetection"), np.zeros(0, np.float32))
    return types("semlt3d_ros/msg/LongTailDetectionArray")(
        header=build_header(types, stamp, frame_id),
        class_names=list(CLASS_NAMES),
        cameras=[],
        missing_cameras=[],
        model_version="ground_truth",
        detections=[
            _long_tail_detection(
                labels.boxes,
                row,
                confidences[row],
                CLASS_NAMES,
                types,
                classifier_confidences=empty,
                second_opinion=empty,
                expert_weights=empty,
                depth_uncertainty=float("nan"),
                track_id=labels.track_ids[row],
                lidar_points=int(labels.lidar_points[row]),
                visible_pixels=int(labels.visible_pixels[row]),
            )
            for row in range(len(labels.boxes))
        ],
    )


def _long_tail_detection(
    boxes: Boxes3D,
    row: int,
    confidences: NDArray[np.float32],
    class_names: tuple[str, ...],
    types: MessageTypes,
    **others: Any,
) -> Any:
    message = types("semlt3d_ros/msg/LongTailDetection")
    best = int(confidences.argmax())
    name = class_names[best]
    return message(
        pose=build_pose(types, boxes.centers[row], quaternion_from_yaw(boxes.yaw[row])),
        size=build_vector(types, boxes.sizes[row]),
        velocity=build_vector(types, (*boxes.velocity[row], 0.0)),
        score=float(confidences[best]),
        class_name=name,
        group=CLASSES[CLASS_INDEX[name]].group if name in CLASS_INDEX else "",
        class_confidences=numeric_sequence(message, np.asarray(confidences, np.float32)),
        **others,
    )


def _detection3d_array(
    boxes: Boxes3D,
    confidences: NDArray[np.float32],
    class_names: tuple[str, ...],
    identities: tuple[str, ...],
    stamp_and_frame: tuple[int, str],
    top_k: int,
    types: MessageTypes,
) -> Any:
    header, no_covariance = build_header(types, *stamp_and_frame), np.zeros(36)

    def detection(row: int) -> Any:
        pose = build_pose(types, boxes.centers[row], quaternion_from_yaw(boxes.yaw[row]))
        ranked = np.argsort(-confidences[row], kind="stable")[:top_k]
        return types("vision_msgs/msg/Detection3D")(
            header=header,
            results=[
                types("vision_msgs/msg/ObjectHypothesisWithPose")(
                    hypothesis=types("vision_msgs/msg/ObjectHypothesis")(
                        class_id=class_names[index], score=float(confidences[row, index])
                    ),
                    pose=types("geometry_msgs/msg/PoseWithCovariance")(pose=pose, covariance=no_covariance),
                )
                for index in ranked
            ],
            bbox=types("vision_msgs/msg/BoundingBox3D")(center=pose, size=build_vector(types, boxes.sizes[row])),
            id=identities[row],
        )

    return types("vision_msgs/msg/Detection3DArray")(
        header=header,
        detections=[detection(row) for row in range(len(boxes))],
    )


def _best_first(detections: Detections) -> NDArray[np.int64]:
    return np.argsort(-detections.scores, kind="stable")


def _one_hot(class_ids: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.eye(len(CLASS_NAMES), dtype=np.float32)[class_ids]


def markers_by_field(
    detections: Detections,
    frame_id: str,
    options: MarkerOptions,
    types: MessageTypes = message_class,
) -> Any:
    """``visualization_msgs/MarkerArray``."""
    marker = types("visualization_msgs/msg/Marker")
    blank = _blank_marker(types, detections.stamp, frame_id)
    made = [marker(**(blank | {"action": marker.DELETEALL}))]
    blank["lifetime"] = _duration(types, options.lifetime_s)
    boxes = detections.boxes
    drawable = np.isfinite(boxes.centers).all(axis=1) & np.isfinite(boxes.sizes).all(axis=1) & np.isfinite(boxes.yaw)
    for row in np.flatnonzero(drawable & (detections.scores >= options.threshold)):
        shapes = _shapes(types, detections, int(row), options)
        made += [marker(**(blank | {"ns": space, "id": int(row)} | fields)) for space, fields in shapes.items()]
    return types("visualization_msgs/msg/MarkerArray")(markers=made)


def _shapes(types: MessageTypes, detections: Detections, row: int, options: MarkerOptions) -> dict[str, dict[str, Any]]:
    """By namespace, the fields in which the markers of one box differ from a blank one."""
    confidences, boxes = detections.confidences[row], detections.boxes
    best = int(confidences.argmax())
    rgb = class_colors(detections.class_names, detections.class_groups)[best]
    center, size = boxes.centers[row], boxes.sizes[row]
    opacity = 0.25 + 0.5 * float(confidences[best])
    shapes = {
        "boxes": _cube(types, center, size, float(boxes.yaw[row]), _color(types, rgb, opacity)),
        "names": _text(types, center, size, _best_classes(detections, row, options.text_classes), options.text_m),
    }
    speed = float(np.hypot(*boxes.velocity[row]))
    if options.velocities and 0.5 <= speed < np.inf:
        shapes["velocities"] = _arrow(types, center, boxes.velocity[row], speed, _color(types, rgb, 0.9))
    distance, deviation = _length(center), float(detections.depth_uncertainty[row])
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
        if rank == 0 or float(confidences[index]) >= 0.1
    )


def _cube(
    types: MessageTypes, center: NDArray[np.float64], size: NDArray[np.float64], yaw: float, color: Any
) -> dict[str, Any]:
    return {
        "type": types("visualization_msgs/msg/Marker").CUBE,
        "pose": build_pose(types, center, quaternion_from_yaw(yaw)),
        "scale": build_vector(types, np.maximum(size, 0.01)),
        "color": color,
    }


def _text(
    types: MessageTypes, center: NDArray[np.float64], size: NDArray[np.float64], text: str, height: float
) -> dict[str, Any]:
    above = (center[0], center[1], center[2] + size[2] / 2 + 0.3 + (text.count("\n") + 1) * (1.4 * height / 2))
    return {
        "type": types("visualization_msgs/msg/Marker").TEXT_VIEW_FACING,
        "pose": build_pose(types, above, UPRIGHT),
        "scale": build_vector(types, (0.0, 0.0, height)),
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
    length = _length(turn)
    quaternion = turn / length if length > 1e-6 else np.array([0.0, 0.0, 1.0, 0.0])
    extent = (max(2 * deviation, 0.01), 0.3, 0.3)
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
        "pose": build_pose(types, (0.0, 0.0, 0.0), UPRIGHT),
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


def _length(vector: NDArray[np.float64]) -> float:
    # np.linalg.norm rounds a single vector otherwise than many at once.
    return float(np.sqrt((vector * vector).sum()))


BY_FIELD: dict[str, tuple[str, Callable[..., Any], Callable[..., Any]]] = {
    "LongTailDetectionArray": (topics.LONG_TAIL_TYPE, encode.encode_long_tail, long_tail_by_field),
    "Detection3DArray": (topics.DETECTION_3D_TYPE, encode.encode_detection3d, detection3d_by_field),
    "MarkerArray": (topics.MARKER_TYPE, encode.encode_markers, markers_by_field),
}
"""By message: its type, the encoder, and the usual way."""


def example(count: int) -> Detections:
    """Boxes with confidences, velocities and experts, as random as can be."""
    random = np.random.default_rng(count)
    boxes = Boxes3D(
        random.uniform(-40, 40, (count, 3)),
        random.uniform(0.2, 8, (count, 3)),
        random.uniform(-3.1, 3.1, count),
        random.normal(size=(count, 2)) * 3,
    )
    return Detections(
        1_700_000_000_250_000_000,
        boxes,
        random.random((count, len(CLASS_NAMES))),
        expert_weights=random.random((count, 4)).astype(np.float32),
        depth_uncertainty=random.uniform(0, 3, count).astype(np.float32),
        cameras=topics.NUSCENES_CAMERAS,
        model_version="demo@0",
    )


def measure(count: int) -> list[dict[str, Any]]:
    """Milliseconds of both ways, in turns, for each message."""
    detections, rows = example(count), []
    for name, (type_name, from_arrays, by_field) in BY_FIELD.items():
        rest = ("base_link", MarkerOptions()) if name == "MarkerArray" else ("base_link",)
        times: dict[str, list[float]] = {"from_arrays": [], "by_field": []}
        for _ in range(ROUNDS):
            start = time.thread_time()
            ours = from_arrays(detections, *rest)
            between = time.thread_time()
            theirs = serialize(by_field(detections, *rest), type_name)
            times["by_field"].append(time.thread_time() - between)
            times["from_arrays"].append(between - start)
            assert ours == theirs, f"{name}: the bytes differ"
        medians = {way: 1e3 * statistics.median(values) for way, values in times.items()}
        rows.append({"message": name, "bytes": len(ours), **medians})
    return rows


def show(rows: list[dict[str, Any]], count: int) -> None:
    """Print the table."""
    table = Table(title=f"{count} boxes; the bytes of both ways are the same")
    for heading in ("message", "bytes", "field by field, ms", "from arrays, ms", "times"):
        table.add_column(heading, justify="left" if heading == "message" else "right")
    for row in rows:
        before, after = row["by_field"], row["from_arrays"]
        table.add_row(row["message"], f"{row['bytes']:,}", f"{before:.2f}", f"{after:.2f}", f"{before / after:.1f}")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print figures for programs")
    options = parser.parse_args()
    rows = measure(options.boxes)
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows, options.boxes)


if __name__ == "__main__":
    main()
