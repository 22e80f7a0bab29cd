"""PandaSet's semantic labels of points (``annotations/semseg``), which some of its sequences have."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.point_classes import UNKNOWN, point_class_names
from semlt3d_ros.datasets.pandaset_files import PandaSetSequence
from semlt3d_ros.datasets.pandaset_labels import LABELS
from semlt3d_ros.datasets.pickles import read_file, read_table

NO_OBJECTS: dict[str, str] = {
    **dict.fromkeys(
        ("Ground", "Road", "Lane Line Marking", "Stop Line Marking", "Other Road Marking", "Sidewalk", "Driveway"),
        "ground",
    ),
    "Building": "building",
    "Vegetation": "vegetation",
    **dict.fromkeys(("Signs", "Construction Signs", "Other Static Object"), "other"),
}
"""PandaSet's classes of points that are no objects -> the kind of background (``core.point_classes``)."""
NOTHING = ("Smoke", "Exhaust", "Spray or rain", "Reflection")
"""Those of points that lie on nothing: of them nobody knows."""
_INDEX = {name: index for index, name in enumerate(point_class_names(LABELS))}


class PointLabels:
    """What the points of a sequence lie on.

    Args:
        sequence: of which ``faults`` gets what cannot be used.
    """

    def __init__(self, sequence: PandaSetSequence) -> None:
        self._sequence = sequence
        self._folder = sequence.folder / "annotations" / "semseg"
        self._table: dict[int, int] | None = None
        if self._folder.is_dir():  # a quarter of the sequences have none
            try:
                self._table = self._read_names()
            except InputRejected as error:
                text = f"{error}; points are without classes"
                sequence.faults.add(str(self._folder / "classes.json"), error.reason, text)

    def read(self, frame: int, rows: NDArray[np.int64], count: int) -> NDArray[np.int16] | None:
        """(N,) index into ``point_class_names(LABELS)`` of each point, ``UNKNOWN`` where nobody knows; or None.

        Args:
            frame: index of the frame.
            rows: (N,) rows of the sweep's file that the points are of.
            count: rows of that file.
        """
        if self._table is None:
            return None
        path = self._sequence.frame_file(self._folder, frame)
        try:
            numbers = read_table(path, ("class",))["class"]
            if len(numbers) != count:
                raise InputRejected("semseg", f"{len(numbers)} classes for {count} points; download both again")
        except InputRejected as error:
            text = f"frame {frame}: {error}; its points are without classes"
            self._sequence.faults.add(str(path), error.reason, text)
            return None
        values, place = np.unique(numbers[rows], return_inverse=True)
        found = np.array([self._table.get(int(value), UNKNOWN) if np.isfinite(value) else UNKNOWN for value in values])
        return found.astype(np.int16)[place] if len(values) else np.zeros(0, np.int16)

    def _read_names(self) -> dict[int, int]:
        """PandaSet's number -> index; numbers of classes that this package does not know are left out."""
        try:
            names = json.loads(read_file(self._folder / "classes.json"))
            named = {int(number): str(name) for number, name in names.items()}
        except (ValueError, AttributeError, RecursionError) as error:
            raise InputRejected("damaged_file", f"expected numbers and names ({error}); download it again") from None
        known = {number: point_class(name) for number, name in named.items()}
        return {number: index for number, index in known.items() if index is not None}


def point_class(name: str) -> int | None:
    """Index into ``point_class_names(LABELS)`` of one of PandaSet's classes of points; None where there is none."""
    return UNKNOWN if name in NOTHING else _INDEX.get(NO_OBJECTS.get(name, name))
