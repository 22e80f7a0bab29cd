"""The teacher as labelling and training use it: a cloud in; detections, classes of points and maps out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semlt3d_ros.checkpoints.teacher import read_teacher
from semlt3d_ros.core import rigid
from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ClassList
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.taxonomy import class_list_of
from semlt3d_ros.inference.detector import checked_device
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.decoding import best_cells, cell_boxes, circle_suppressed
from semlt3d_ros.teacher.teacher import Teacher, TeacherOutput

LONGEST_LAG_S = 1.0
"""Points that claim to be older are taken for this old: no network has learnt from older ones."""


def teacher_points(cloud: PointCloud, T_model_ego: rigid.Matrix) -> NDArray[np.float32]:
    """(N, 5) points as a teacher takes them: x, y, z in its frame, intensity (0 where unknown), seconds ago."""
    values = np.zeros((len(cloud), 5), np.float32)
    T = T_model_ego.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):  # points that are nowhere are left out by the network
        values[:, :3] = cloud.xyz @ T[:3, :3].T + T[:3, 3]
    if cloud.intensity is not None:
        values[:, 3] = cloud.intensity
    if cloud.time is not None:
        values[:, 4] = np.clip(np.nan_to_num(-cloud.time, nan=0.0), 0.0, LONGEST_LAG_S)
    return values


@dataclass
class TeacherSight:
    """What a teacher says of one cloud.

    The maps lie in the teacher's own frame (``TeacherDetector.grid``, ``T_ego_model``); what they say of boxes, and
    detections, are in the ego frame.

    Attributes:
        detections: best first; the confidences of a box are those of its task's classes at its cell.
        point_classes: (N,) int16 index into the config's ``point_classes``, -1 out of range; None where the teacher has
            none.
        point_scores: (N,) float32 probability of that class, 0 out of range; None with ``point_classes``.
        bev: (C, rows, columns) float16 features.
        heat: (n, rows, columns) float16 probabilities of the classes.
        cells: (9, rows, columns) float16 the box at every cell, of the task that says most there, x and y relative to
            the cell's centre along the ego axes: x y z l w h yaw vx vy.
        occupied: (rows, columns) bool, cells that hold points.
    """

    detections: Detections
    point_classes: NDArray[np.int16] | None
    point_scores: NDArray[np.float32] | None
    bev: NDArray[np.float16]
    heat: NDArray[np.float16]
    cells: NDArray[np.float16]
    occupied: NDArray[np.bool_]


class TeacherDetector:
    """A teacher ready to run; deterministic on the CPU.

    Attributes:
        model_version: identity of the checkpoint.
        classes: what it tells apart.
        T_ego_model: (4, 4) from its own frame to the ego frame.
    """

    def __init__(
        self,
        teacher: Teacher,
        model_version: str,
        device: torch.device | str = "cpu",
        classes: ClassList | None = None,
    ) -> None:
        """Set up.

        Args:
            teacher: weights and config.
            model_version: what detections are marked with.
            device: where to run.
            classes: the teacher's; what is known by their names unless given.
        """
        self._teacher = teacher.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = torch.device(device)
        self.model_version = model_version
        self.classes = classes or class_list_of(teacher.config.class_names)
        self.T_ego_model: rigid.Matrix = np.array(teacher.config.T_ego_model, np.float64)
        self._T_model_ego = rigid.inverse(self.T_ego_model)
        index = {name: column for column, name in enumerate(teacher.config.class_names)}
        self._columns = [np.array([index[name] for name in task], np.int64) for task in teacher.config.tasks]

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> TeacherDetector:
        """Load a checkpoint.

        Raises:
            ConfigurationError: the checkpoint cannot be used, or the device is not there.
        """
        checked_device(device)
        checkpoint = read_teacher(Path(path))
        return cls(checkpoint.teacher(device), checkpoint.version, device, checkpoint.classes)

    @property
    def config(self) -> TeacherConfig:
        """Of the network."""
        return self._teacher.config

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the confidences' columns."""
        return self.config.class_names

    @property
    def grid(self) -> BevGrid:
        """Where the cells of the maps are, in the teacher's own frame."""
        return self._teacher.grid

    @torch.inference_mode()
    def look(self, cloud: PointCloud, stamp: int = 0) -> TeacherSight:
        """Detect objects in a cloud, and tell what its points lie on.

        Args:
            cloud: in the ego frame, with past sweeps accumulated (``core.sweeps``) as the config asks for.
            stamp: of the detections.
        """
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            output = self._teacher([torch.from_numpy(teacher_points(cloud, self._T_model_ego)).to(self._device)])
        heat, cells = self._maps(output)
        point_classes, point_scores = self._points(output, len(cloud))
        return TeacherSight(
            self._detections(output, stamp),
            point_classes,
            point_scores,
            output.bev[0].cpu().numpy().astype(np.float16),
            heat.cpu().numpy().astype(np.float16),
            cells.astype(np.float16),
            output.occupied[0].cpu().numpy(),
        )

    def _detections(self, output: TeacherOutput, stamp: int) -> Detections:
        config = self.config
        rows, confidences = [], []
        for maps, columns, squared in zip(output.tasks, self._columns, config.suppression_m2, strict=True):
            found = circle_suppressed(best_cells(maps, config)[0], squared)
            heat = maps["heat"][0].float().sigmoid().flatten(1)[:, found.cells].T.cpu().numpy()
            told = np.zeros((len(heat), len(config.class_names)), np.float32)
            told[:, columns] = heat
            rows.append(found.boxes.cpu().numpy().astype(np.float64))
            confidences.append(told)
        told = np.concatenate(confidences)
        order = np.argsort(-told.max(axis=1, initial=0.0), kind="stable")
        boxes = self._in_ego(np.concatenate(rows)[order])
        return Detections(
            stamp,
            boxes,
            told[order],
            config.class_names,
            model_version=self.model_version,
            class_groups=tuple(info.group for info in self.classes.classes),
        )

    def _in_ego(self, rows: NDArray[np.float64]) -> Boxes3D:
        boxes = Boxes3D(rows[:, :3], rows[:, 3:6], rows[:, 6], rows[:, 7:9])
        return boxes.moved(self.T_ego_model)

    def _maps(self, output: TeacherOutput) -> tuple[Tensor, NDArray[np.float32]]:
        """Probabilities (n, rows, columns) and boxes (9, rows, columns) of all cells."""
        grid = self.grid
        heat = output.bev.new_zeros(len(self.class_names), grid.rows, grid.columns, dtype=torch.float32)
        tasks, boxes = [], []
        for maps, columns in zip(output.tasks, self._columns, strict=True):
            probability = maps["heat"][0].float().sigmoid()
            heat[torch.as_tensor(columns, device=heat.device)] = probability
            tasks.append(probability.amax(0))
            boxes.append(cell_boxes(maps, self.config)[0])
        best = torch.stack(tasks).argmax(0)
        chosen = torch.stack(boxes).gather(0, best[None, None].expand(1, 9, -1, -1))[0]
        rows = chosen.flatten(1).T.cpu().numpy().astype(np.float64)
        boxes_ego = self._in_ego(rows)
        centers = np.concatenate([grid.centers().reshape(-1, 2), np.zeros((len(rows), 1))], axis=1)
        relative = boxes_ego.centers - rigid.apply(self.T_ego_model, centers)
        cells = np.concatenate(
            [
                relative[:, :2],
                boxes_ego.centers[:, 2:],
                boxes_ego.sizes,
                boxes_ego.yaw[:, None],
                boxes_ego.velocity,
            ],
            axis=1,
        )
        return heat, cells.T.reshape(9, grid.rows, grid.columns).astype(np.float32)

    def _points(self, output: TeacherOutput, count: int) -> tuple[NDArray[np.int16] | None, NDArray[np.float32] | None]:
        if output.point_logits is None:
            return None, None
        score, index = output.point_logits.float().softmax(1).max(1)
        kept = output.pillars.kept.cpu().numpy()
        classes, scores = np.full(count, -1, np.int16), np.zeros(count, np.float32)
        classes[kept], scores[kept] = index.cpu().numpy(), score.cpu().numpy()
        return classes, scores
