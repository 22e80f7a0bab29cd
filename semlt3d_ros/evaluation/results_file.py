"""Detections as a results file of the nuScenes detection benchmark, which its development kit and server read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import write_whole
from semlt3d_ros.evaluation.attributes import attributes_from_motion
from semlt3d_ros.evaluation.selection import select_predictions
from semlt3d_ros.evaluation.settings import EvaluationSettings

META = {"use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False, "use_external": False}
"""What detections were made from."""


def sample_results(
    sample_token: str,
    detections: Detections,
    T_world_ego: rigid.Matrix,
    settings: EvaluationSettings | None = None,
) -> list[dict[str, Any]]:
    """The results of one sample: the predictions that an evaluation with these settings would count.

    Args:
        sample_token: the sample's key in the data set.
        detections: in the ego frame.
        T_world_ego: (4, 4) pose of the ego vehicle in the global frame at the detections' stamp.
        settings: protocol and filters; LT3D unless given.

    Returns:
        Entries with ``translation`` (m), ``size`` (width, length, height in m), ``rotation`` (quaternion w, x, y, z)
        and ``velocity`` (m/s over ground, 0 where unknown) in the global frame, best first. The motion gives
        ``attribute_name``.
    """
    settings = settings or EvaluationSettings()
    _, predictions = select_predictions([detections], [()], settings)
    best = np.argsort(-predictions.scores, kind="stable")
    names = [settings.protocol.class_names[index] for index in predictions.class_ids[best]]
    boxes = detections.boxes[predictions.rows[best]]
    velocity = np.nan_to_num(boxes.velocity)
    attributes = attributes_from_motion(names, velocity)
    centers = rigid.apply(T_world_ego, boxes.centers)
    velocity = (np.pad(velocity, ((0, 0), (0, 1))) @ T_world_ego[:3, :3].T)[:, :2]
    rotations = _turned(rigid.quaternion_from_rotation(T_world_ego[:3, :3]), boxes.yaw)
    return [
        {
            "sample_token": sample_token,
            "translation": centers[row].tolist(),
            "size": boxes.sizes[row, [1, 0, 2]].tolist(),
            "rotation": rotations[row, [3, 0, 1, 2]].tolist(),
            "velocity": velocity[row].tolist(),
            "detection_name": name,
            "detection_score": float(predictions.scores[best[row]]),
            "attribute_name": attributes[row],
        }
        for row, name in enumerate(names)
    ]


def _turned(quaternion: NDArray[np.float64], yaw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternions (N, 4) x, y, z, w of turns by ``yaw`` (N,) about +z, followed by the turn of ``quaternion`` (4,)."""
    x, y, z, w = quaternion
    s, c = np.sin(yaw / 2), np.cos(yaw / 2)
    return np.stack([x * c + y * s, y * c - x * s, w * s + z * c, w * c - z * s], axis=1)


def write_results(path: Path, samples: Iterable[tuple[str, list[dict[str, Any]]]]) -> int:
    """Write a results file; its folder is made if need be.

    Args:
        path: the JSON file.
        samples: sample token and results of each sample.

    Returns:
        Number of samples.

    Raises:
        ConfigurationError: two samples have the same token.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    for token, entries in samples:
        if token in results:
            raise ConfigurationError(
                f"results file '{path}': the sample '{token}' comes twice; write one drive at a time"
            )
        results[token] = entries
    write_whole(path, json.dumps({"meta": META, "results": results}, allow_nan=False) + "\n")
    return len(results)
