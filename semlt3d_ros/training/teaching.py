"""What a LiDAR teacher says of training frames."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from semlt3d_ros.checkpoints.shipped import chosen_teacher
from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ABSENT, ClassList
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.core.label_map import columns_for
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.distillation.settings import Distillation, PseudoLabels
from semlt3d_ros.inference.teacher import TeacherDetector
from semlt3d_ros.inference.teacher_cache import Taught, TeacherCache, digest_of
from semlt3d_ros.losses.signal import SignalBefore, TeacherSignal
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.training.clouds import CloudFrames

_RECENT = 16
"""Frames of which is remembered what the teacher says; more than a step plays."""


@dataclass
class TaughtBefore:
    """What a teacher says of the frame before another one.

    Attributes:
        said: that.
        T_before_now: (4, 4) from the ego frame of the other to that of the frame before.
    """

    said: Taught
    T_before_now: rigid.Matrix


class Teaching:
    """A teacher that looks at the clouds of training frames, when they are loaded for the first time.

    That is done where frames are loaded, so on the processor: loader processes share no accelerator with the student.

    Args:
        settings: which teacher.
        frames: the training frames.
        classes: the student's, which the teacher's are translated to.
        folder: where the run's data lies.

    Attributes:
        width: channels of its features.

    Raises:
        ConfigurationError: the teacher cannot be used, or knows none of the classes.
    """

    def __init__(self, settings: Distillation, frames: Frames, classes: ClassList, folder: Path) -> None:
        self._detector = TeacherDetector.load(chosen_teacher(settings.teacher))
        self._clouds, self._classes, self._pseudo = CloudFrames(frames), classes, settings.pseudo_labels
        self._columns = np.array(columns_for(self._detector.class_names, classes, None), np.int64)
        samdistill = settings.samdistill
        self._looks_back = samdistill is not None and bool(samdistill.alignment or samdistill.context)
        # Drives are played in order: what is said of a frame is asked for again as that of the frame before.
        self._recently = functools.lru_cache(_RECENT)(self._taught)
        self._cache = TeacherCache(folder / "teacher", self._detector, settings.cache_gib * 2**30)
        self._pose = functools.cache(lambda index: frames.frame(index).T_world_ego)
        self._keys: dict[int, str] = {}  # of clouds that were read once, so that they need not be again
        self.width = sum(self._detector.config.up_widths)

    @property
    def model_version(self) -> str:
        """Identity of the teacher."""
        return self._detector.model_version

    def taught(self, index: int) -> Taught | None:
        """What the teacher says of training frame ``index``; None where it has no points."""
        return self._recently(index)

    def _taught(self, index: int) -> Taught | None:
        known = self._cache.kept(self._keys[index]) if index in self._keys else None
        if known is not None:
            return known
        now, *past = self._clouds.sweeps(index, self._detector.config.sweeps)
        if not len(now.points):
            return None
        self._keys[index] = digest_of(now, past)
        return self._cache.taught(now, past)

    def before(self, index: int) -> TaughtBefore | None:
        """What it says of the frame before; None where there is none, none with points, or nothing tells the motion."""
        earlier = self._clouds.before(index) if self._looks_back else None
        said = None if earlier is None else self.taught(earlier)
        if earlier is None or said is None:
            return None
        T_world_now, T_world_then = self._pose(index), self._pose(earlier)
        if T_world_now is None or T_world_then is None:
            return None
        return TaughtBefore(said, rigid.inverse(T_world_then) @ T_world_now)

    def signal(
        self, said: Sequence[Taught | None], batch: Batch, before: Sequence[TaughtBefore | None] = ()
    ) -> TeacherSignal:
        """What the teacher said of the frames of a batch as it was recorded, in the student's classes.

        Args:
            said: of each frame.
            batch: the frames.
            before: of those before them; nothing given where nobody looks back.
        """
        grid = self._cache.grid
        count, shape = len(self._classes), (grid.rows, grid.columns)
        most = max([1, *(len(each.boxes) for each in said if each is not None)])
        signal = TeacherSignal(
            grid,
            torch.from_numpy(self._detector.T_ego_model.astype(np.float32)),
            torch.tensor([each is not None for each in said]),
            torch.zeros(len(said), self.width, *shape, dtype=torch.float16),
            torch.zeros(len(said), count, *shape, dtype=torch.float16),
            torch.full((len(said), 9, *shape), torch.nan, dtype=torch.float16),
            torch.zeros(len(said), *shape, dtype=torch.bool),
            torch.zeros(len(said), most, 9),
            torch.zeros(len(said), most, count),
            torch.from_numpy(np.isin(np.arange(count), self._columns)),
            batch.intrinsics,
        )
        for row, each in enumerate(said):
            if each is None:
                continue
            signal.bev[row] = torch.from_numpy(each.bev)
            signal.heat[row] = torch.from_numpy(self._translated(each.heat))
            signal.cells[row] = torch.from_numpy(each.cells)
            signal.occupied[row] = torch.from_numpy(each.occupied)
            signal.boxes[row, : len(each.boxes)] = torch.from_numpy(each.boxes)
            signal.scores[row, : len(each.boxes)] = torch.from_numpy(self._scores(each))
        if self._looks_back:
            signal.before = self._signal_before(before)
        return signal

    def _signal_before(self, before: Sequence[TaughtBefore | None]) -> SignalBefore:
        grid, count = self._cache.grid, len(before)
        result = SignalBefore(
            torch.tensor([each is not None for each in before]),
            torch.zeros(count, self.width, grid.rows, grid.columns, dtype=torch.float16),
            torch.eye(4).repeat(count, 1, 1),
        )
        for row, each in enumerate(before):
            if each is not None:
                result.bev[row] = torch.from_numpy(each.said.bev)
                result.T_before_now[row] = torch.from_numpy(each.T_before_now.astype(np.float32))
        return result

    def labelled(self, frame: Frame, said: Taught | None) -> Frame:
        """A frame without labels with those that the teacher gives it, where that is asked for."""
        if self._pseudo is None or frame.labels is not None or said is None:
            return frame
        return replace(frame, labels=pseudo_labels(said, self._scores(said), self._classes, self._pseudo))

    def _scores(self, said: Taught) -> np.ndarray:
        """(K, n) float32 confidences of the boxes in the student's classes."""
        return self._translated(said.scores.T).T.astype(np.float32)

    def _translated(self, values: np.ndarray) -> np.ndarray:
        """Values (teacher's classes, ...) for the student's classes, the most of those that become one."""
        result = np.zeros((len(self._classes), *values.shape[1:]), values.dtype)
        for own, theirs in zip(self._columns, values, strict=True):
            if own != ABSENT:
                np.maximum(result[own], theirs, out=result[own])
        return result


def pseudo_labels(said: Taught, scores: np.ndarray, classes: ClassList, settings: PseudoLabels) -> Labels:
    """The teacher's boxes as labels: of a class where it is sure, of none, so not judged, where it is in doubt.

    Args:
        said: the boxes.
        scores: (K, n) confidences of the classes.
        classes: what the columns are.
        settings: what sure and in doubt are.
    """
    best = scores.max(axis=1, initial=0.0)
    kept = best >= settings.doubt
    rows = said.boxes[kept].astype(np.float64)
    kinds = np.where(best[kept] >= settings.score, scores[kept].argmax(axis=1), ABSENT)
    boxes = Boxes3D(rows[:, :3], rows[:, 3:6], rows[:, 6], rows[:, 7:9])
    return Labels(boxes, kinds, class_names=classes.names)
