"""A LiDAR teacher that learns from labelled clouds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semlt3d_ros.checkpoints.teacher import read_teacher
from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame, Labels, PointCloud
from semlt3d_ros.datasets.object_bank import ObjectBank
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.datasets.pasting import paste
from semlt3d_ros.distillation.xmodel import FusionEncoder
from semlt3d_ros.evaluation.evaluator import evaluate
from semlt3d_ros.evaluation.report import Report
from semlt3d_ros.evaluation.segmentation import count_points, segmentation_of
from semlt3d_ros.inference.teacher import TeacherDetector, teacher_points
from semlt3d_ros.losses.targets import collate_targets
from semlt3d_ros.losses.teacher_losses import teacher_losses
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.teacher.teacher import Teacher
from semlt3d_ros.training.cloud_augmentation import random_change, with_noise
from semlt3d_ros.training.clouds import CloudFrames
from semlt3d_ros.training.cross_modal import contrast, divided, fusion_encoder, labelled_part, views_of, with_own_labels
from semlt3d_ros.training.precision import autocast
from semlt3d_ros.training.ranks import Ranks
from semlt3d_ros.training.streams import StreamFrame, play, single_frames
from semlt3d_ros.training.task import Task
from semlt3d_ros.training.teacher_recipe import TeacherRecipe, teacher_settings
from semlt3d_ros.training.validation import first_frames, judged


@dataclass
class TeacherSample:
    """What a step learns from.

    Attributes:
        clouds: (N_i, 5) points of each frame, as the teacher takes them.
        point_classes: (N_i,) what they lie on, -1 where unknown.
        frames: labels and labelled regions; without images and points.
        T_new_ego: (B, 4, 4) what augmentation did to the points already, and still has to do to the labels.
        window: place of the part to look at, as shares of the room there is.
        views: images of the frames, where they are learnt from.
    """

    clouds: list[NDArray[np.float32]]
    point_classes: list[NDArray[np.int64]]
    frames: list[Frame]
    T_new_ego: NDArray[np.float32]
    window: tuple[float, float]
    views: Batch | None = None


class TeacherTask(Task[TeacherSample]):
    """Training of a teacher.

    Args:
        recipe: the run.
        frames: training frames with labels and points.
        validation: frames for the evaluations along the way; without them there are none.
        ranks: the processes that share the steps, and where this one computes.

    Raises:
        ConfigurationError: the checkpoint to start from cannot be used.
    """

    def __init__(
        self, recipe: TeacherRecipe, frames: Frames, validation: Frames | None = None, ranks: Ranks | None = None
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.frames = recipe, CloudFrames(frames)
        self.validation = None if validation is None else CloudFrames(validation)
        self.ranks = ranks or Ranks()
        self.teacher = Teacher(recipe.teacher).to(self.ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.initial is not None:
            adopt_teacher(self.teacher, read_teacher(recipe.initial).tensors)
        self.model = self.teacher
        self.modules = {"teacher": self.teacher}
        self._fusion: FusionEncoder | None = None
        if recipe.xmodel is not None:
            self._fusion = fusion_encoder(recipe.xmodel, recipe.teacher).to(self.ranks.device)
            self.modules["fusion"] = self._fusion
        self._labelled = labelled_part(frames.parts(), recipe.labels, recipe.seed)
        self._bank: ObjectBank | None = None
        if recipe.paste is not None:
            names, sweeps = recipe.class_list.names, recipe.teacher.sweeps
            self._bank = self.frames.objects(recipe.data_folder, recipe.paste_drives, sweeps, names)
        self._T_model_ego = rigid.inverse(np.array(recipe.teacher.T_ego_model))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All of it, and of what it learns with."""
        return [
            {"params": [each for each in module.parameters() if each.requires_grad], "scale": 1.0}
            for module in self.modules.values()
        ]

    def order(self, batch: int, steps: int, first_step: int) -> Iterator[list[StreamFrame]]:
        """Single frames in any order; those without labels for their share."""
        parts = single_frames(self.frames.frames.parts())
        if self._labelled is not None:
            labelled, others = divided(parts, self._labelled)
            share = None if self.recipe.xmodel is None else self.recipe.xmodel.unlabelled
            parts = [labelled] if share is None else [replace(labelled, share=1 - share), replace(others, share=share)]
        return play(parts, batch, steps, self.recipe.seed, first_step)

    def wait(self, played: Sequence[StreamFrame]) -> None:
        """Return once the frames are rendered."""
        for place in played:
            self.frames.frames.wait(place.index)

    def load(self, played: Sequence[StreamFrame]) -> TeacherSample:
        """The clouds, augmented by chances that follow from the seed and from what is played."""
        parts = [self._loaded(place) for place in played]
        chance = np.random.default_rng([self.recipe.seed, 1, *(place.clip for place in played)])
        across, along = chance.random(2)
        frames = [frame for _, _, frame, _ in parts]
        return TeacherSample(
            [cloud for cloud, _, _, _ in parts],
            [classes for _, classes, _, _ in parts],
            [replace(frame, views=()) for frame in frames],
            np.stack([change for _, _, _, change in parts]).astype(np.float32),
            (across, along),
            None if self._fusion is None else views_of(frames),
        )

    def _loaded(self, place: StreamFrame) -> tuple[NDArray[np.float32], NDArray[np.int64], Frame, NDArray[np.float64]]:
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, 0, place.clip, place.index])
        sweeps = int(
            rng.integers(min(recipe.augmentation.fewest_sweeps, recipe.teacher.sweeps), recipe.teacher.sweeps + 1)
        )
        frame, cloud = self.frames.cloud(place.index, sweeps)
        if self._labelled is not None:
            frame, cloud = with_own_labels(frame, cloud, place.index in self._labelled)
        if recipe.paste is not None and self._bank is not None and frame.labels is not None:
            cloud, frame.labels = paste(cloud, frame.labels, self._bank, rng, recipe.paste)
        cloud = with_noise(cloud, recipe.augmentation, rng)
        labels = None if frame.labels is None else where_seen(frame.labels, cloud, recipe.fewest_points)
        change = random_change(recipe.augmentation, rng)
        points = teacher_points(cloud, self._T_model_ego @ change)
        unknown = np.full(len(cloud), -1, np.int64)
        classes = unknown if cloud.classes is None else cloud.classes.astype(np.int64)
        return points, classes, replace(frame, points=None, labels=labels), change

    def start(self, streams: int) -> None:
        """Nothing is remembered."""

    def restored(self, tensors: dict[str, Tensor]) -> None:
        """Nothing is remembered."""

    def begin_step(self, share: float) -> None:
        """Training mode."""
        for module in self.modules.values():
            module.train()

    def losses(self, sample: TeacherSample, carried: None) -> tuple[dict[str, Tensor], None]:
        """Losses of the teacher on the window of this step."""
        recipe, device = self.recipe, self.ranks.device
        config = recipe.window_at(*sample.window)
        targets = collate_targets(sample.frames, np.inf, 0)
        targets = targets.transformed(torch.from_numpy(sample.T_new_ego))
        T_model_ego = torch.from_numpy(self._T_model_ego.astype(np.float32)).expand(len(sample.frames), 4, 4)
        targets = targets.transformed(T_model_ego).to(device)
        total = self.ranks.total
        with autocast(device, recipe.schedule.precision):
            output = self.teacher([torch.from_numpy(points).to(device) for points in sample.clouds], config)
            contrasted = {}
            if self._fusion is not None and sample.views is not None:
                moved = [self._T_model_ego @ change for change in sample.T_new_ego]
                contrasted["xmodel"] = contrast(self._fusion, output, moved, config, sample.views, total)
        classes = [torch.from_numpy(each) for each in sample.point_classes]
        losses = teacher_losses(output, targets, classes, recipe.teacher, config.grid, recipe.loss_weights, total)
        return losses | contrasted, None

    def evaluate(self, model: nn.Module, limit: int | None = None) -> Report | None:
        """A teacher's figures on validation frames, which the processes divide among themselves."""
        if self.validation is None:
            return None
        assert isinstance(model, Teacher)
        detector = TeacherDetector(model, self.recipe.name, self.ranks.device, self.recipe.class_list)
        drives = first_frames(self.validation.frames.drives(), limit)
        found = list(looked_at(detector, self.validation, drives[self.ranks.own(len(drives))]))
        parts = [found] if self.ranks.size == 1 else self.ranks.gathered(found)
        if not self.ranks.leads:
            return None
        return report_of([each for part in parts for each in part], self.recipe)


@dataclass(frozen=True)
class Looked:
    """What a teacher says of a labelled cloud, and the truth.

    Attributes:
        found, labels: detections and truth; what lies where ground truth is not complete is in neither.
        points: (n, n + 1) points by true and predicted class; None where nobody tells or knows what they lie on.
    """

    found: Detections
    labels: Labels
    points: NDArray[np.int64] | None


def looked_at(detector: TeacherDetector, frames: CloudFrames, drives: Sequence[range]) -> Iterator[Looked]:
    """What a teacher says of labelled clouds; of points those of the present turn are judged."""
    for drive in drives:
        for index in drive:
            frame, cloud = frames.cloud(index, detector.config.sweeps)
            if frame.labels is None:
                continue
            sight, points = detector.look(cloud, frame.stamp), None
            if sight.point_classes is not None and frame.points is not None and frame.points.classes is not None:
                told = sight.point_classes[: len(frame.points)]  # the present turn comes first
                points = count_points(frame.points.classes, told, len(detector.config.point_classes))
            yield Looked(*judged(sight.detections, frame.labels, frame), points)


def report_of(looked: Sequence[Looked], recipe: TeacherRecipe) -> Report:
    """Figures of what a teacher said."""
    counted = [each.points for each in looked if each.points is not None]
    report = evaluate(((each.found, each.labels) for each in looked), teacher_settings(recipe))
    return replace(report, segmentation=segmentation_of(counted, recipe.teacher.point_classes))


def where_seen(labels: Labels, cloud: PointCloud, fewest: int) -> Labels:
    """The labels of objects on which points lie; those with fewer than ``fewest`` are of no class, so not judged."""
    counts = points_in(labels.boxes, cloud)
    classes = np.where(counts >= fewest, labels.class_ids, ABSENT)
    return replace(labels, class_ids=classes, lidar_points=counts)[counts > 0]


def points_in(boxes: Boxes3D, cloud: PointCloud, margin: float = 0.05) -> NDArray[np.int64]:
    """(N,) how many points lie in each box, enlarged by ``margin`` metres on every side."""
    order = np.argsort(cloud.xyz[:, 0])
    sorted_xyz = cloud.xyz[order]
    reach = np.hypot(boxes.sizes[:, 0], boxes.sizes[:, 1]) / 2 + 2 * margin
    ends = np.searchsorted(sorted_xyz[:, 0], np.stack([boxes.centers[:, 0] - reach, boxes.centers[:, 0] + reach]))
    counts = np.zeros(len(boxes), np.int64)
    for number, (first, last) in enumerate(ends.T):
        strip = sorted_xyz[first:last]
        near = strip[np.abs(strip[:, 1] - boxes.centers[number, 1]) <= reach[number]]
        counts[number] = boxes[number : number + 1].contains(near, margin).sum()
    return counts


def adopt_teacher(teacher: Teacher, tensors: dict[str, Tensor]) -> None:
    """Take over the tensors whose name and shape fit."""
    own = teacher.state_dict()
    fitting = {name: values for name, values in tensors.items() if name in own and own[name].shape == values.shape}
    teacher.load_state_dict({**own, **fitting})
