"""The ground truth of nuScenes' own tables, without importing them into bags first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.datasets.nuscenes import sample_truth
from semlt3d_ros.datasets.nuscenes_folder import NuScenesFolder
from semlt3d_ros.datasets.nuscenes_tables import read_tables
from semlt3d_ros.datasets.recording import Progress
from semlt3d_ros.evaluation.truth import TruthFrame

_RACK = "static_object.bicycle_rack"


class NuScenesTruth:
    """Samples as nuScenes' benchmark has them: around the vehicle at the end of the LiDAR's sweep.

    The ego frame has the axes of the global one, since distances and headings are judged there; points of radars count
    as those of the LiDAR, and bicycle racks come along.

    Args:
        folder: from ``nuscenes_folder.open_folder``.
        scenes: names.
        tokens: only scenes with one of these samples; None for all.
        progress: called with how much of the tables is read and how much there is.

    Raises:
        ConfigurationError: a table is missing or damaged, or the version has no ground truth.
    """

    def __init__(
        self,
        folder: NuScenesFolder,
        scenes: Sequence[str],
        tokens: Collection[str] | None = None,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.place = f"{folder.root / folder.version}"
        self._tables = read_tables(folder, scenes, files=False, progress=progress)
        self._wanted = None if tokens is None else set(tokens)
        if self._tables.annotations is None:
            raise ConfigurationError(f"{self.place} has no ground truth: its tables hold no boxes")
        self.faults = FaultLog(self._tables.faults)

    def frames(self) -> Iterator[TruthFrame]:
        """Sample after sample, scene by scene."""
        self.faults = FaultLog(self._tables.faults)
        tables = self._tables
        poses = dict(zip(tables.data_samples.tolist(), tables.data_poses, strict=True))
        for scene in range(len(tables.scene_names)):
            samples = tables.samples_of(scene)
            if self._wanted is not None and not any(tables.sample_tokens[each] in self._wanted for each in samples):
                continue
            for sample in samples:
                if sample not in poses or np.isnan(poses[sample]).any():
                    text = f"the sample {tables.sample_tokens[sample]} has no pose of the LiDAR's, and is left out"
                    self.faults.add(self.place, "pose", text)
                else:
                    yield self._frame(sample, poses[sample][:3])

    def _frame(self, sample: int, position: np.ndarray) -> TruthFrame:
        tables = self._tables
        T_world_ego = rigid.transform(position)
        found = sample_truth(tables, sample, rigid.inverse(T_world_ego))
        assert found is not None and tables.annotations is not None
        labels = found.labels
        if found.odd:
            self.faults.add(self.place, "box", "boxes without extent are left out", found.odd)
        labels.lidar_points = labels.lidar_points + found.radar_points
        names = labels.class_names
        racks = labels.class_ids == (names.index(_RACK) if _RACK in names else len(names))
        return TruthFrame(
            int(tables.sample_stamps[sample]),
            tables.sample_tokens[sample],
            labels,
            T_world_ego,
            racks=labels.boxes[racks] if racks.any() else Boxes3D.empty(),
        )
