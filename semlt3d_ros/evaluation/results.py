"""What evaluation takes besides bags: results in a benchmark's own format, and ground truth of a data set's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import TrueFrame


class Results(Protocol):
    """Detections in a benchmark's own format, which names frames by their keys.

    Attributes:
        place: the file or folder.
        faults: what of it could not be used.
        class_names: the classes that occur.
        count: how many frames it has.
    """

    place: Path
    faults: FaultLog
    class_names: tuple[str, ...]
    count: int

    def find(self, frame: TrueFrame) -> Detections | None:
        """The detections of a frame, in its ego frame; None where the results have no such frame."""


class TruthFolder(Protocol):
    """Ground truth of a data set's folder.

    Attributes:
        place: the folder.
        faults: what of it could not be used; grows while it is read.
    """

    place: Path
    faults: FaultLog

    def frames(self) -> Iterator[TrueFrame]:
        """The frames with ground truth, in the order of their stamps."""
