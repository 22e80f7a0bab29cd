"""PandaSet's cuboids as ground truth with its own labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.datasets.pandaset_files import Cuboids, PandaSetSequence
from semlt3d_ros.datasets.recording import UNKNOWN_LABEL

_ANNOTATED = (
    *("Car", "Pickup Truck", "Medium-sized Truck", "Semi-truck", "Towed Object", "Bus"),
    *("Other Vehicle - Construction Vehicle", "Emergency Vehicle", "Bicycle", "Motorcycle", "Motorized Scooter"),
    *("Pedestrian", "Pedestrian with Object", "Personal Mobility Device", "Rolling Containers", "Cones", "Pylons"),
    *("Road Barriers", "Temporary Construction Barriers", "Other Vehicle - Uncommon", "Other Vehicle - Pedicab"),
    *("Train", "Trolley", "Tram / Subway", "Animals - Bird", "Animals - Other", "Signs", "Construction Signs"),
)
_OF_CHILDREN = {label: f"{label} (Child)" for label in ("Pedestrian", "Pedestrian with Object")}

LABELS: tuple[str, ...] = (*_ANNOTATED, *_OF_CHILDREN.values(), UNKNOWN_LABEL)
"""PandaSet's labels, those of pedestrians of age "Child" for themselves, and what stands for any other."""


@dataclass(frozen=True)
class FrameTruth:
    """One frame's ground truth.

    Attributes:
        labels: boxes in the ego frame, in terms of ``LABELS``.
        unknown: the labels of those boxes that are no label of PandaSet's list.
        duplicates: second boxes of the front LiDAR, which are left out.
        odd: what is wrong with rows of the file that make no box, by row.
    """

    labels: Labels
    unknown: tuple[str, ...]
    duplicates: int
    odd: dict[int, str]


class TruthReader:
    """Ground truth of a sequence, with velocities from the objects' tracks."""

    def __init__(self, sequence: PandaSetSequence) -> None:
        self._sequence = sequence
        self._cuboids = lru_cache(maxsize=4)(sequence.cuboids)

    def read(self, frame: int, points: NDArray[np.float64] | None, T_ego_world: Matrix) -> FrameTruth:
        """One frame's ground truth.

        Args:
            frame: index of the frame.
            points: (P, 3) the sweep in the world frame, counted in each box; None where there is none.
            T_ego_world: (4, 4) ego <- world at the frame's stamp.

        Raises:
            InputRejected: the annotation file is missing, damaged or refused.
        """
        cuboids = self._cuboids(frame)
        boxes = cuboids.boxes
        boxes = Boxes3D(boxes.centers, boxes.sizes, boxes.yaw, self._velocities(frame, cuboids))
        labels = Labels(
            boxes.moved(T_ego_world),
            np.array([_label_of(*each) for each in zip(cuboids.labels, cuboids.ages, strict=True)], dtype=np.int64),
            cuboids.track_ids,
            np.full(len(boxes), -1)
            if points is None
            else np.array([len(found) for found in points_in_boxes(boxes, points)], dtype=np.int64),
            class_names=LABELS,
        )
        unknown = tuple(label for label in cuboids.labels if label not in _ANNOTATED)
        return FrameTruth(labels, unknown, cuboids.duplicates, cuboids.odd)

    def _velocities(self, frame: int, cuboids: Cuboids) -> NDArray[np.float64]:
        """(N, 2) m/s in the world frame, from the frames before and after; NaN for an object seen in one frame only."""
        neighbours = [other for other in (frame - 1, frame, frame + 1) if 0 <= other < len(self._sequence)]
        tracks = {other: self._positions(other) for other in neighbours}
        velocities = np.full((len(cuboids.boxes), 2), np.nan)
        for row, identity in enumerate(cuboids.track_ids):
            seen = [other for other in neighbours if identity in tracks[other]]
            first, last = seen[0], seen[-1]
            if cuboids.stationary[row]:
                velocities[row] = 0.0
            elif first < last:
                seconds = (self._sequence.lidar.stamps[last] - self._sequence.lidar.stamps[first]) * 1e-9
                velocities[row] = (tracks[last][identity] - tracks[first][identity])[:2] / seconds
        return velocities

    def _positions(self, frame: int) -> dict[str, NDArray[np.float64]]:
        try:
            cuboids = self._cuboids(frame)
        except InputRejected:
            return {}  # a neighbour, which is told in its own turn if it is wanted
        return dict(zip(cuboids.track_ids, cuboids.boxes.centers, strict=True))


def _label_of(label: str, age: str) -> int:
    known = label if label in _ANNOTATED else UNKNOWN_LABEL
    return LABELS.index(_OF_CHILDREN.get(known, known) if age == "Child" else known)


def points_in_boxes(boxes: Boxes3D, points: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Indices of the points (P, 3) in each of N boxes; box by box, since N x P booleans would fill the memory."""
    tree = cKDTree(points[:, :2])
    reach = np.linalg.norm(boxes.sizes[:, :2], axis=1) / 2
    near = tree.query_ball_point(boxes.centers[:, :2], reach + 1e-6) if len(boxes) else []
    found = []
    for row, candidates in enumerate(near):
        indices = np.sort(np.array(candidates, dtype=np.int64))
        found.append(indices[boxes[row : row + 1].contains(points[indices])[0]])
    return found
