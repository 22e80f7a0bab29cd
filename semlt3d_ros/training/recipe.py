"""Recipes: everything that decides a training run, in one YAML file."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.evaluation.settings import EvaluationSettings
from semlt3d_ros.simulation.generate import GenerationRecipe
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.criterion import LossWeights
from semlt3d_ros.training.augmentation import Augmentation

T = TypeVar("T")


@dataclass(frozen=True)
class Schedule:
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
        ema: decay of the averaged weights, which are what is evaluated and saved.
        evaluate_every: steps between evaluations on validation frames; 0 evaluates only at the end.
        save_every: steps between saved training states.
        precision: ``"float32"`` or ``"bfloat16"`` (autocast).
    """

    frames: int = 20000
    batch: int = 4
    learning_rate: float = 8e-4
    backbone_rate: float = 1.0
    warmup: float = 0.05
    restart_after: int = 0
    restart_rate: float = 0.35
    weight_decay: float = 0.01
    clip: float = 5.0
    ema: float = 0.999
    evaluate_every: int = 500
    save_every: int = 200
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise ConfigurationError(f"schedule.precision is '{self.precision}'; use float32 or bfloat16")
        if not 0 <= self.restart_after < self.frames:
            raise ConfigurationError(f"schedule.restart_after is {self.restart_after}; it must be below {self.frames}")
        if self.frames < self.batch or self.batch < 1:
            raise ConfigurationError(f"schedule: {self.frames} frames do not fill one batch of {self.batch}")


@dataclass(frozen=True)
class Language:
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

    model: str = "tiny"
    pretrained: str | None = None
    templates: tuple[str, ...] = ()
    crop_images: bool = False
    min_visible_pixels: int = 24


@dataclass(frozen=True)
class Recipe:
    """One training run.

    Attributes:
        name: name of the checkpoint.
        seed: decides weights, order and augmentation.
        data_folder: where simulated frames are stored and found again, relative to the current folder.
        train: what to simulate for training, one or more parts, in the order of the first pass.
        validation: what to simulate for validation; no two parts may share a seed.
        student: the model.
        language: the CLIP that a student with language takes its anchors and its region semantics from.
        initial: a checkpoint to start from; tensors are taken over where name and shape fit.
        initial_parts: what to take over of it, as beginnings of tensor names; nothing given takes everything.
        frozen_images: keep backbone, pyramid and 2D head of ``initial`` as they are and learn the rest, on feature maps
            that are computed once and stored; goes with an augmentation that leaves the pixels alone.
        schedule: the optimisation.
        augmentation: what is varied.
        loss_weights: weights of the losses.
        min_visible_pixels: objects covering fewer pixels are neither trained on nor evaluated.
        evaluation_range_m: objects farther away are not evaluated.
        validation_frames: at most this many frames in the evaluations along the way; the last one takes all.
    """

    name: str
    data_folder: Path
    train: tuple[GenerationRecipe, ...]
    validation: GenerationRecipe
    seed: int = 0
    student: StudentConfig = field(default_factory=StudentConfig)
    language: Language = field(default_factory=Language)
    initial: Path | None = None
    initial_parts: tuple[str, ...] = ()
    frozen_images: bool = False
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: Augmentation = field(default_factory=Augmentation)
    loss_weights: LossWeights = field(default_factory=LossWeights)
    min_visible_pixels: int = 6
    evaluation_range_m: float = 40.0
    validation_frames: int = 90

    def __post_init__(self) -> None:
        parts = sorted([*self.train, self.validation], key=lambda part: part.first_seed)
        for first, second in itertools.pairwise(parts):
            if first.first_seed + first.drives > second.first_seed:
                raise ConfigurationError(f"recipe '{self.name}': two parts of the data share seed {second.first_seed}")
        if self.student.class_names != CLASS_NAMES:
            raise ConfigurationError(
                f"recipe '{self.name}': class_names of the student are not those of the labels; leave them out to "
                f"train for {', '.join(CLASS_NAMES)}"
            )
        if self.frozen_images and self.initial is None:
            raise ConfigurationError(f"recipe '{self.name}': frozen_images needs an initial checkpoint")
        if self.loss_weights.distillation > 0 and not self.student.language_width:
            raise ConfigurationError(f"recipe '{self.name}': distillation needs a student with language_width")
        crops = {part.top_crop for part in parts} | {self.student.top_crop}
        if len(crops) != 1:
            raise ConfigurationError(f"recipe '{self.name}': top_crop of train, validation and student differ: {crops}")


def settings_of(recipe: Recipe) -> EvaluationSettings:
    """What a recipe evaluates."""
    return EvaluationSettings(range_limit_m=recipe.evaluation_range_m, min_visible_pixels=recipe.min_visible_pixels)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from YAML.

    Raises:
        ConfigurationError: the file is absent or no YAML, or an entry is unknown, missing or does not fit.
    """
    return parse_recipe(read_yaml(path, "recipe"), f"recipe '{path}'")


def read_yaml(path: Path, kind: str) -> Any:
    """The values in a YAML file, which is a ``kind`` of thing in error messages.

    Raises:
        ConfigurationError: the file is absent or no YAML.
    """
    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{kind} '{path}' cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{kind} '{path}' is not YAML: {error}") from error


def parse_recipe(values: Any, place: str) -> Recipe:
    """A recipe from plain values; ``place`` names it in error messages.

    Raises:
        ConfigurationError: an entry is unknown, missing or does not fit.
    """
    if not isinstance(values, dict):
        raise ConfigurationError(f"{place} must be a mapping of entries")
    values = dict(values)
    parts: dict[str, Any] = {
        "validation": GenerationRecipe,
        "schedule": Schedule,
        "augmentation": Augmentation,
        "loss_weights": LossWeights,
        "language": Language,
    }
    for name, kind in parts.items():
        if name in values:
            values[name] = build(kind, values[name], f"{place}, {name}")
    if "train" in values:
        parts_of_train = values["train"] if isinstance(values["train"], list) else [values["train"]]
        values["train"] = tuple(build(GenerationRecipe, part, f"{place}, train") for part in parts_of_train)
    if "student" in values:
        values["student"] = StudentConfig.from_dict(values["student"])
    for name in ("data_folder", "initial"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    return build(Recipe, values, place)


def build(kind: type[T], values: Any, place: str) -> T:
    """A dataclass ``kind`` from plain values; ``place`` names it in error messages.

    Raises:
        ConfigurationError: an entry is unknown, missing or does not fit.
    """
    entries = {entry.name: entry for entry in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict):
        raise ConfigurationError(f"{place}: must be a mapping of entries, not {values!r}")
    for name in values:
        if name not in entries:
            near = difflib.get_close_matches(str(name), entries, n=1)
            raise ConfigurationError(
                f"{place}: unknown entry '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")
            )
    needed = [
        name
        for name, entry in entries.items()
        if entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING and name not in values
    ]
    if needed:
        raise ConfigurationError(f"{place}: missing {', '.join(needed)}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
