"""Recipes of LiDAR teachers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule, share
from semlt3d_ros.core.classes import ClassList, load_class_list
from semlt3d_ros.core.config import parse
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.point_classes import point_class_names
from semlt3d_ros.core.taxonomy import class_list_of
from semlt3d_ros.datasets.pasting import PasteSettings
from semlt3d_ros.datasets.specs import DataSpec, shared_seeds
from semlt3d_ros.distillation.xmodel_settings import XModel
from semlt3d_ros.evaluation.protocols import protocol_of
from semlt3d_ros.evaluation.settings import EvaluationSettings
from semlt3d_ros.losses.teacher_weights import TeacherLossWeights
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.training.augmentation_settings import factors
from semlt3d_ros.training.recipe import Schedule


@dataclass(frozen=True)
class CloudAugmentation(Checked):
    """What is varied of clouds in training.

    Attributes:
        mirror: chance to mirror the world left to right.
        rotate: turn the ego axes about the vertical by any angle.
        scale: smallest and largest factor by which the world grows.
        shift_m: deviation of a shift, along and across.
        lift_m: deviation of a shift upwards: where the ground is under base_link differs from vehicle to vehicle.
        tilt_deg: deviation of roll and pitch of the world, as of roads that are not level.
        drop_points: points are dropped with a chance that is drawn up to this.
        drop_intensity: chance that a cloud has no intensity.
        jitter_m: deviation of each point.
        fewest_sweeps: fewest clouds seen together, where there are more.
    """

    TITLE: ClassVar[str] = "augmentation"
    CHECKS: ClassVar[Checks] = (
        *share("mirror", "drop_points", "drop_intensity"),
        *not_negative("shift_m", "lift_m", "tilt_deg", "jitter_m"),
        *positive("fewest_sweeps"),
        factors("scale"),
    )

    mirror: float = 0.5
    rotate: bool = True
    scale: tuple[float, float] = (0.92, 1.08)
    shift_m: float = 0.3
    lift_m: float = 0.1
    tilt_deg: float = 0.5
    drop_points: float = 0.5
    drop_intensity: float = 0.4
    jitter_m: float = 0.01
    fewest_sweeps: int = 1


def _window_that_fits(recipe: TeacherRecipe) -> Iterator[str]:
    try:
        recipe.window_at(0.0, 0.0)
    except ConfigurationError as error:
        yield f"window_m {recipe.window_m}: {error}"


def _listed(recipe: TeacherRecipe) -> Iterator[str]:
    try:
        if recipe.classes is not None:
            load_class_list(recipe.classes)
    except ConfigurationError as error:
        yield f"classes: {error}"


@dataclass(frozen=True)
class TeacherRecipe(Checked):
    """One training run of a teacher.

    Attributes:
        name: name of the checkpoint.
        data_folder: where frames are stored and found again, relative to the current folder.
        train: what to learn from.
        validation: what to evaluate on.
        seed: decides weights, order and augmentation.
        classes: the class list that is learnt: a file, or the name of one that comes with the package; by default
            LT3D's.
        teacher: the model; its ``class_names`` are those of ``classes``.
        learn_points: learn what points lie on too, where clouds say it.
        initial: a teacher's checkpoint to start from; tensors are taken over where name and shape fit.
        schedule: the optimisation.
        augmentation: what is varied.
        paste: paste objects of rare classes into clouds, from others of the training data; nothing for not.
        paste_drives: from how many drives objects are collected, before training begins.
        loss_weights: weights of the losses.
        labels: share of the training frames whose labels are used, drawn by the seed. The others are left out, or, with
            ``xmodel``, looked at without labels.
        xmodel: learn from images too, which the teacher does without at work; needs frames with images.
        window_m: side of the part of the world that a step looks at in a cloud, anywhere in the range; 0 looks at all.
        fewest_points: objects on which fewer points lie are neither learnt nor taken for background.
        evaluation_range_m: objects farther away are not evaluated.
        validation_frames: at most so many frames in the evaluations along the way.
    """

    TITLE: ClassVar[str] = "recipe '{0.name}'"
    CHECKS: ClassVar[Checks] = (
        rule(lambda r: r.train and r.validation, "needs train and validation data"),
        rule(lambda r: all(s.labelled for s in (*r.train, *r.validation)), "teachers need labelled sources"),
        _listed,
        lambda r: shared_seeds((*r.train, *r.validation)),
        rule(lambda r: 0 < r.labels <= 1, "labels must be above 0 and not above 1, not {0.labels}"),
        rule(
            lambda r: r.paste is None or (r.xmodel is None and r.labels == 1),
            "paste does not go with xmodel, whose images do not show what is pasted, nor with a part of the labels",
        ),
        rule(
            lambda r: r.xmodel is None or all(s.simulate is None or s.simulate.cameras for s in r.train),
            "xmodel needs images: simulate with cameras: true",
        ),
        rule(
            lambda r: r.xmodel is None or r.xmodel.features != "points" or r.learn_points,
            "xmodel.features: points needs learn_points; use map",
        ),
        _window_that_fits,
        *not_negative("seed", "window_m"),
        *positive("fewest_points", "evaluation_range_m", "validation_frames", "paste_drives"),
    )

    name: str
    data_folder: Path
    train: tuple[DataSpec, ...]
    validation: tuple[DataSpec, ...]
    seed: int = 0
    classes: str | None = None
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    learn_points: bool = True
    initial: Path | None = None
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: CloudAugmentation = field(default_factory=CloudAugmentation)
    paste: PasteSettings | None = None
    paste_drives: int = 400
    loss_weights: TeacherLossWeights = field(default_factory=TeacherLossWeights)
    labels: float = 1.0
    xmodel: XModel | None = None
    window_m: float = 0.0
    fewest_points: int = 3
    evaluation_range_m: float = 40.0
    validation_frames: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        names = self.class_list.names
        tasks = self.teacher.tasks if self.teacher.class_names == names else ()
        points = point_class_names(names) if self.learn_points else ()
        suppression = self.teacher.suppression_m2 if tasks else ()
        fitted = replace(self.teacher, class_names=names, tasks=tasks, point_classes=points, suppression_m2=suppression)
        object.__setattr__(self, "teacher", fitted)

    @cached_property
    def class_list(self) -> ClassList:
        """What is known of the classes, in the order of the teacher's.

        Raises:
            ConfigurationError: there is no such list.
        """
        return class_list_of(self.teacher.class_names) if self.classes is None else load_class_list(self.classes)

    @property
    def start(self) -> Path | None:
        """The checkpoint to start from."""
        return self.initial

    def window_at(self, across: float, along: float) -> TeacherConfig:
        """The teacher's config for a window; its place as shares of the room there is, along x and y.

        Raises:
            ConfigurationError: the network cannot look at such a part.
        """
        config = self.teacher
        if not self.window_m:
            return config
        # Whole cells of the coarsest map, so that every place has the same chance to be learnt.
        unit = config.pillar_m * math.prod(config.block_strides)
        side = max(1, round(self.window_m / unit)) * unit
        x0, y0, z0, x1, y1, z1 = config.point_range
        left = x0 + math.floor(across * max(0.0, x1 - x0 - side) / unit) * unit
        low = y0 + math.floor(along * max(0.0, y1 - y0 - side) / unit) * unit
        return replace(config, point_range=(left, low, z0, min(left + side, x1), min(low + side, y1), z1))


def teacher_settings(recipe: TeacherRecipe) -> EvaluationSettings:
    """What a teacher's recipe evaluates."""
    return EvaluationSettings(protocol_of(recipe.class_list), range_limit_m=recipe.evaluation_range_m)


def parse_teacher_recipe(values: Any, place: str) -> TeacherRecipe:
    """A recipe from the entries of a YAML file; raises ``ConfigurationError`` with everything that does not fit."""
    return parse(TeacherRecipe, values, place)
