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
class Recipe:
    """One training run.

    Attributes:
        name: name of the checkpoint.
        seed: decides weights, order and augmentation.
        data_folder: where simulated frames are stored and found again, relative to the current folder.
        train: what to simulate for training, one or more parts, in the order of the first pass.
        validation: what to simulate for validation; no two parts may share a seed.
        student: the model.
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
        crops = {part.top_crop for part in parts} | {self.student.top_crop}
        if len(crops) != 1:
            raise ConfigurationError(f"recipe '{self.name}': top_crop of train, validation and student differ: {crops}")


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from YAML.

    Raises:
        ConfigurationError: the file is absent or no YAML, or an entry is unknown, missing or does not fit.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"recipe '{path}' cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"recipe '{path}' is not YAML: {error}") from error
    parts: dict[str, Any] = {
        "validation": GenerationRecipe,
        "schedule": Schedule,
        "augmentation": Augmentation,
        "loss_weights": LossWeights,
    }
    if not isinstance(values, dict):
        raise ConfigurationError(f"recipe '{path}' must be a mapping of entries")
    for name, kind in parts.items():
        if name in values:
            values[name] = _build(kind, values[name], f"recipe '{path}', {name}")
    if "train" in values:
        parts_of_train = values["train"] if isinstance(values["train"], list) else [values["train"]]
        values["train"] = tuple(_build(GenerationRecipe, part, f"recipe '{path}', train") for part in parts_of_train)
    if "student" in values:
        values["student"] = StudentConfig.from_dict(values["student"])
    if "data_folder" in values:
        values["data_folder"] = Path(values["data_folder"])
    return _build(Recipe, values, f"recipe '{path}'")


def _build(kind: type[T], values: Any, place: str) -> T:
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
