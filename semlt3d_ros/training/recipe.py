"""Recipes: everything that decides a training run, in one YAML file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from semlt3d_ros.checkpoints.shipped import SHIPPED, default_checkpoint
from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule, share
from semlt3d_ros.core.classes import ClassList, load_class_list, shipped_list_of
from semlt3d_ros.core.config import parse
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import class_list_of
from semlt3d_ros.core.yaml_file import read_yaml
from semlt3d_ros.datasets.specs import DataSpec, shared_seeds
from semlt3d_ros.distillation.settings import Distillation
from semlt3d_ros.evaluation.protocols import protocol_of
from semlt3d_ros.evaluation.settings import EvaluationSettings
from semlt3d_ros.losses.denoising_settings import DenoisingSettings
from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.training.augmentation_settings import Augmentation
from semlt3d_ros.training.given import Given
from semlt3d_ros.training.hiding_settings import Hiding
from semlt3d_ros.training.samplers import Sampling

_MOST_WORKERS = 8


@dataclass(frozen=True)
class Schedule(Checked):
    """How long and how fast to learn.

    Attributes:
        frames: training frames seen in all.
        batch: frames per step.
        learning_rate: peak of AdamW's learning rate, after warm-up, before the cosine decay to 1 % of it.
        backbone_rate: learning rate of the backbone relative to the rest.
        warmup: share of the first cycle's steps spent on warm-up.
        restart_after: frames of the first cycle; then the rate jumps back and decays once more (SGDR, Loshchilov and
            Hutter, ICLR 2017). 0 for a single cycle.
        restart_rate: peak of the second cycle relative to ``learning_rate``.
        weight_decay: of AdamW.
        clip: largest gradient norm.
        keep_statistics: leave the means and deviations of batch normalisation as they are in the checkpoint that is
            started from, instead of taking those of each batch: few recordings, all much alike, say little of others.
        ema: decay of the averaged weights, which are what is evaluated and saved.
        evaluate_every: steps between evaluations on validation frames; 0 evaluates only at the end.
        save_every: steps between saved training states.
        log_every: steps between two lines of losses in the log.
        precision: ``"float32"`` or ``"bfloat16"`` (autocast, where the device has arithmetic for it).
        workers: processes that load frames ahead; None takes some beside a GPU and none on the CPU, where they would
            take its time from the learning.
    """

    TITLE: ClassVar[str] = "schedule"
    CHECKS: ClassVar[Checks] = (
        *positive("frames", "batch", "learning_rate", "clip", "save_every", "log_every"),
        *not_negative("backbone_rate", "restart_rate", "weight_decay", "evaluate_every"),
        rule(lambda s: s.workers is None or s.workers >= 0, "workers must not be negative, not {0.workers}"),
        *share("warmup", "ema"),
        rule(
            lambda s: 0 <= s.restart_after < s.frames,
            "restart_after is {0.restart_after}; it must be below {0.frames}, and not negative",
        ),
        rule(lambda s: s.frames >= s.batch, "{0.frames} frames do not fill one batch of {0.batch}"),
        rule(lambda s: s.precision in ("float32", "bfloat16"), "precision is {0.precision!r}; use float32 or bfloat16"),
    )

    frames: int = 20000
    batch: int = 4
    learning_rate: float = 8e-4
    backbone_rate: float = 1.0
    warmup: float = 0.05
    restart_after: int = 0
    restart_rate: float = 0.35
    weight_decay: float = 0.01
    clip: float = 5.0
    keep_statistics: bool = False
    ema: float = 0.999
    evaluate_every: int = 500
    save_every: int = 200
    log_every: int = 50
    precision: Literal["float32", "bfloat16"] = "float32"
    workers: int | None = None

    def workers_for(self, device: str) -> int:
        """Loader processes of a process that computes on a device."""
        if self.workers is not None:
            return self.workers
        return min(_MOST_WORKERS, max(1, (os.cpu_count() or 1) - 1)) if device.startswith("cuda") else 0


@dataclass(frozen=True)
class Language(Checked):
    """Where the meaning of class names, and of image regions, comes from.

    Attributes:
        model: an open_clip model name, or ``tiny``, the one that comes with the package.
        pretrained: an open_clip tag or a path to weights; not needed for ``tiny``.
        templates: prompt templates with one ``{}``; none takes the default ones.
        crop_images: cut the regions of objects out of the training images where none are stored with the frames; for
            images sharp enough that a CLIP makes something of them.
        min_visible_pixels: objects that cover fewer pixels of the training images have no region, which would show what
            hides them; those whose pixels nobody counted have.
    """

    TITLE: ClassVar[str] = "language"
    CHECKS: ClassVar[Checks] = (
        rule(
            lambda language: all(template.count("{}") == 1 for template in language.templates),
            "templates must each hold one {{}} where the name goes, not {0.templates}",
        ),
        *not_negative("min_visible_pixels"),
    )

    model: str = "tiny"
    pretrained: str | None = None
    templates: tuple[str, ...] = ()
    crop_images: bool = False
    min_visible_pixels: int = 24


def _listed(recipe: Recipe) -> Iterator[str]:
    """That the class list can be read."""
    try:
        if recipe.classes is not None:
            load_class_list(recipe.classes)
    except ConfigurationError as error:
        yield f"classes: {error}"


def _images_that_fit(recipe: Recipe) -> Iterator[str]:
    for spec in (*recipe.train, *recipe.validation):
        yield from unfit_images(spec, recipe.student)


def _sam_over_cells(recipe: Recipe) -> Iterator[str]:
    """That SAM's features lie over cells of the student."""
    samdistill = None if recipe.distillation is None else recipe.distillation.samdistill
    if samdistill is not None and samdistill.sam is not None and samdistill.sam_stride not in recipe.student.strides:
        strides = list(recipe.student.strides)
        yield f"distillation.samdistill.sam_stride is {samdistill.sam_stride}, none of the student's strides {strides}"


def _hidden_from_all(recipe: Recipe) -> Iterator[str]:
    """That what is hidden is told by nobody but a CLIP, which is there if it is to tell."""
    hidden, followed = recipe.hidden, recipe.distillation
    if hidden is None:
        return
    if hidden.named and not recipe.student.language_width:
        yield "hidden.named needs a student with language_width, which has a CLIP"
    if followed is not None and (followed.follows_lidar or followed.monostl is not None):
        yield "hidden hides classes, which the teachers of distillation go by, but for regions: leave one of them out"
    if followed is not None and followed.regions is not None and not hidden.boxes:
        yield "without hidden.boxes nobody knows where the regions of distillation.regions are: leave one of them out"
    by_class = {
        f"sampling '{recipe.sampling.kind}'": recipe.sampling.kind != "alike",
        "loss_weights.class_overlap": recipe.loss_weights.class_overlap > 0,
    }
    for name in (name for name, used in by_class.items() if used):
        yield f"{name} goes by the classes that hidden hides: leave one of them out"


def unfit_images(spec: DataSpec, student: StudentConfig) -> Iterator[str]:
    """What keeps a student from looking at what is simulated: images cropped otherwise, or of another size."""
    part = spec.simulate
    if part is None:
        return
    size, wanted = list(part.cropped_size), [student.image_width, student.image_height]
    if part.top_crop != student.top_crop:
        yield f"top_crop of what is simulated ({part.top_crop}) and of the student ({student.top_crop}) differ"
    elif size != wanted:
        yield (
            f"image_size {list(part.image_size)} and top_crop {part.top_crop} give images of {size}, the student's "
            f"image_width and image_height are {wanted}"
        )


@dataclass(frozen=True)
class Recipe(Checked):
    """One training run.

    Attributes:
        name: name of the checkpoint.
        seed: decides weights, order and augmentation.
        data_folder: where frames are stored and found again, relative to the current folder.
        train: what to learn from, one or more sources, in the order of the first pass.
        validation: what to calibrate and evaluate on; nothing of it is learnt from, and no two parts share a seed.
        classes: the class list that is learnt: a file, or the name of one that comes with the package. None takes the
            student's ``class_names`` and what is known by them, LT3D's list by default.
        student: the model; its ``class_names`` are those of ``classes``, where that is given. Without it, the model of
            ``initial``.
        image_size: width and height of the student's images, in place of the model's: larger ones show more of what is
            far, and are more work.
        language: the CLIP that a student with language takes its anchors and its region semantics from.
        initial: a checkpoint to start from, ``shipped`` for the one that comes with the package; tensors are taken over
            where name and shape fit, heads by the names of their classes (``checkpoints.adoption``).
        initial_parts: what to take over of it, as beginnings of tensor names; nothing given takes everything.
        initial_share: of the weights that are taken over in those of the checkpoint: a half forgets little of what
            ``initial`` knew and keeps most of what was learnt (WiSE-FT, ``training.blending``).
        frozen_images: keep backbone, pyramid and 2D head of ``initial`` as they are and learn the rest, on feature maps
            that are computed once and stored; goes with an augmentation that leaves the pixels alone.
        sampling: how often the clips of ``train`` are played.
        schedule: the optimisation.
        augmentation: what is varied.
        loss_weights: weights of the losses.
        denoising: how denoising queries are made.
        distillation: which LiDAR teacher is followed besides the labels, and how.
        hidden: objects whose class is not told, for experiments.
        min_visible_pixels: objects covering fewer pixels are neither trained on nor evaluated.
        evaluation_range_m: objects farther away are not evaluated.
        validation_frames: at most this many frames in the evaluations along the way; the last one takes all.
    """

    TITLE: ClassVar[str] = "recipe '{0.name}'"
    CHECKS: ClassVar[Checks] = (
        rule(lambda r: r.train, "train needs at least one source"),
        rule(lambda r: r.validation, "validation needs at least one source"),
        _listed,
        lambda r: shared_seeds((*r.train, *r.validation)),
        rule(lambda r: not r.frozen_images or r.initial is not None, "frozen_images needs an initial checkpoint"),
        rule(lambda r: 0 <= r.initial_share < 1, "initial_share must be 0 or more and below 1, not {0.initial_share}"),
        rule(lambda r: not r.initial_share or r.initial is not None, "initial_share needs an initial checkpoint"),
        rule(
            lambda r: not (r.frozen_images and r.augmentation.corrupt),
            "augmentation.corrupt changes images, of which frozen_images stores the features; leave one of them out",
        ),
        rule(
            lambda r: r.loss_weights.distillation <= 0 or r.student.language_width,
            "distillation needs a student with language_width",
        ),
        _images_that_fit,
        rule(
            lambda r: r.distillation is not None or any(spec.labelled for spec in r.train),
            "there is nothing to learn from: no source of train is labelled, and there is no distillation",
        ),
        rule(lambda r: all(spec.labelled for spec in r.validation), "validation needs labelled sources"),
        rule(
            lambda r: all(s.simulate is None or s.simulate.cameras for s in (*r.train, *r.validation)),
            "students learn from images: cameras: false is for the recipes of LiDAR teachers",
        ),
        _sam_over_cells,
        _hidden_from_all,
        *positive("evaluation_range_m", "validation_frames"),
        *not_negative("seed", "min_visible_pixels"),
    )

    name: str
    data_folder: Path
    train: tuple[DataSpec, ...]
    validation: tuple[DataSpec, ...]
    seed: int = 0
    classes: str | None = None
    student: StudentConfig = field(default_factory=StudentConfig)
    image_size: tuple[int, int] | None = None
    language: Language = field(default_factory=Language)
    initial: Path | None = None
    initial_parts: tuple[str, ...] = ()
    initial_share: float = 0.0
    frozen_images: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: Augmentation = field(default_factory=Augmentation)
    loss_weights: LossWeights = field(default_factory=LossWeights)
    denoising: DenoisingSettings = field(default_factory=DenoisingSettings)
    distillation: Distillation | None = None
    hidden: Hiding | None = None
    min_visible_pixels: int = 6
    evaluation_range_m: float = 40.0
    validation_frames: int = 90

    def __post_init__(self) -> None:
        if self.image_size is not None:
            width, height = self.image_size
            object.__setattr__(self, "student", replace(self.student, image_width=width, image_height=height))
        super().__post_init__()
        object.__setattr__(self, "student", replace(self.student, class_names=self.class_list.names))

    @cached_property
    def class_list(self) -> ClassList:
        """What is known of the classes, in the order of the student's logits.

        Raises:
            ConfigurationError: there is no such list.
        """
        if self.classes is not None:
            return load_class_list(self.classes)
        known = class_list_of(self.student.class_names)
        if self.start is None or shipped_list_of(known.names) is not None:
            return known
        return _of_checkpoint(self.start, known)

    @property
    def start(self) -> Path | None:
        """The checkpoint to start from."""
        return None if self.initial is None else start_of(self.initial)


def _of_checkpoint(path: Path, known: ClassList) -> ClassList:
    """What a checkpoint says of its classes, where they are those that are known by their names alone."""
    from semlt3d_ros.checkpoints.checkpoint import read_classes  # imports torch

    kept = read_classes(path)
    return kept if kept.names == known.names else known


def settings_of(recipe: Recipe) -> EvaluationSettings:
    """What a recipe evaluates."""
    return EvaluationSettings(
        protocol_of(recipe.class_list),
        range_limit_m=recipe.evaluation_range_m,
        min_visible_pixels=recipe.min_visible_pixels,
    )


def asks_lidar_teacher(values: Mapping[str, Any], title: str) -> bool:
    """Whether a recipe, which need not be complete, follows a LiDAR teacher.

    Args:
        values: of the recipe, as they are written.
        title: of the recipe, for errors.

    Raises:
        ConfigurationError: its ``distillation`` does not fit.
    """
    given = values.get("distillation")
    return bool(given) and parse(Distillation, given, title).follows_lidar


def load_recipe(path: Path, given: Given | None = None) -> Recipe:
    """Read a recipe from YAML.

    Args:
        path: the file.
        given: in place of some of its entries.

    Raises:
        ConfigurationError: the file is absent or no YAML, or entries are unknown, missing or do not fit; all are named.
    """
    place = f"recipe '{path}'"
    values = read_yaml(path, "recipe")
    return parse_recipe(values if given is None else given.applied(values, place), place)


def parse_recipe(values: Any, place: str) -> Recipe:
    """A recipe from the entries of a YAML file; raises ``ConfigurationError`` with everything that does not fit."""
    return parse(Recipe, _with_student(values), place)


def _with_student(values: Any) -> Any:
    """The entries of a recipe with the student of the checkpoint that it starts from, unless they have one."""
    if not isinstance(values, Mapping) or "student" in values or not isinstance(values.get("initial"), str):
        return values
    # Only here, since it imports torch: most mistakes are told without.
    from semlt3d_ros.checkpoints.checkpoint import read_config

    config = read_config(start_of(Path(values["initial"])))
    return {**values, "student": json.loads(json.dumps(config.to_dict()))}


def start_of(initial: Path) -> Path:
    """The file that a recipe's ``initial`` means."""
    return default_checkpoint() if str(initial) == SHIPPED else initial
