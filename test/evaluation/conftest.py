"""Frames made of a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES


def boxes_at(positions: Sequence[tuple[float, float]], **changes: object) -> Boxes3D:
    count = len(positions)
    values: dict[str, np.ndarray] = {
        "centers": np.array([(x, y, 0.0) for x, y in positions]).reshape(count, 3),
        "sizes": np.tile([4.0, 2.0, 1.5], (count, 1)),
        "yaw": np.zeros(count),
        "velocity": np.zeros((count, 2)),
    }
    values.update({name: np.asarray(value, dtype=float) for name, value in changes.items()})
    return Boxes3D(**values)


@pytest.fixture
def truth() -> Callable[..., Labels]:
    """``truth([(x, y), ...], "car", yaw=[...])``."""

    def make(positions: Sequence[tuple[float, float]], name: str = "car", **changes: object) -> Labels:
        return Labels(boxes_at(positions, **changes), np.full(len(positions), CLASS_INDEX[name]))

    return make


@pytest.fixture
def found() -> Callable[..., Detections]:
    """``found([(x, y), ...], [score, ...], "car", yaw=[...])``."""

    def make(
        positions: Sequence[tuple[float, float]],
        scores: Sequence[float] = (),
        name: str = "car",
        stamp: int = 0,
        **changes: object,
    ) -> Detections:
        confidences = np.zeros((len(positions), len(CLASS_NAMES)))
        confidences[:, CLASS_INDEX[name]] = scores
        return Detections(stamp, boxes_at(positions, **changes), confidences)

    return make
