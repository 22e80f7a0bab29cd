"""PandaSet's cuboids as ground truth with the 18 classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.core.taxonomy import CLASS_INDEX
from semlt3d_ros.datasets.pandaset_files import Cuboids, PandaSetSequence

CLASS_OF_LABEL: dict[str, str | None] = {
    "Car": "car",
    "Pickup Truck": "truck",
    "Medium-sized Truck": "truck",
    "Semi-truck": "truck",
    "Towed Object": "trailer",
    "Bus": "bus",
    "Other Vehicle - Construction Vehicle": "construction_vehicle",
    "Emergency Vehicle": "emergency_vehicle",
    "Bicycle": "bicycle",
    "Motorcycle": "motorcycle",
    "Motorized Scooter": "motorcycle",
    "Pedestrian": "adult",
    "Pedestrian with Object": "adult",
    "Personal Mobility Device": "personal_mobility",
    "Rolling Containers": "pushable_pullable",
    "Cones": "traffic_cone",
    "Pylons": "traffic_cone",
    "Road Barriers": "barrier",
    "Temporary Construction Barriers": "barrier",
    "Other Vehicle - Uncommon": None,
    "Other Vehicle - Pedicab": None,
    "Train": None,
    "Trolley": None,
    "Tram / Subway": None,
    "Animals - Bird": None,
    "Animals - Other": None,
    "Signs": None,
    "Construction Signs": None,
}
"""PandaSet's label -> class, or None where no class fits. Pedestrians of age "Child" become ``child``."""


@dataclass(frozen=True)
class FrameTruth:
    """One frame's ground truth.

    Attributes:
        labels: boxes in the ego frame.
        class_names: class of each box.
        dropped: number of boxes by PandaSet label without a class.
        duplicates: second boxes of the front LiDAR, which are left out.
        odd: what is wrong with rows of the file that make no box, by row.
    """

    labels: Labels
    class_names: tuple[str, ...]
    dropped: Counter[str]
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
        names = [_class_of(label, age) for label, age in zip(cuboids.labels, cuboids.ages, strict=True)]
        kept = np.array([name is not None for name in names], dtype=bool)
        boxes = cuboids.boxes[kept]
        boxes.velocity = self._velocities(frame, cuboids)[kept]
        class_names = tuple(name for name in names if name is not None)
        labels = Labels(
            boxes.moved(T_ego_world),
            np.array([CLASS_INDEX[name] for name in class_names], dtype=np.int64),
            tuple(identity for identity, keep in zip(cuboids.track_ids, kept, strict=True) if keep),
            np.full(len(boxes), -1)
            if points is None
            else np.array([len(found) for found in points_in_boxes(boxes, points)], dtype=np.int64),
        )
        dropped = Counter(label for label, keep in zip(cuboids.labels, kept, strict=True) if not keep)
        return FrameTruth(labels, class_names, dropped, cuboids.duplicates, cuboids.odd)

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


def _class_of(label: str, age: str) -> str | None:
    name = CLASS_OF_LABEL.get(label)
    return "child" if name == "adult" and age == "Child" else name


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
