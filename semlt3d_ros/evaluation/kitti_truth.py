"""Ground truth of KITTI's own folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semlt3d_ros.datasets.kitti import open_kitti
from semlt3d_ros.evaluation.truth import TruthFrame


class KittiTruth:
    """The labels of one recording, as its bag would have them.

    Args:
        folder: frames of the object benchmark, or a raw drive with its tracklets.

    Raises:
        ConfigurationError: it cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._recording = open_kitti(folder)
        self.place = str(folder)
        self.faults = self._recording.faults

    def frames(self) -> Iterator[TruthFrame]:
        """Frame after frame. Results in KITTI's format are given in a camera's frame, so no pose is asked for."""
        for stamp, labels, sample in self._recording.truth():
            yield TruthFrame(stamp, sample.token, labels, np.eye(4), sample.region)
