"""A copy of the running model learns from labelled events and from what is replayed, by a recipe that is written down.

The recipe of a round is a recipe as every other: ``semlt3d train`` trains by it, on as many machines as there are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from semlt3d_ros.adaptation.settings import SHIPPED, LoopSettings
from semlt3d_ros.core.classes import ClassList
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import whole, write_whole
from semlt3d_ros.core.yaml_file import read_yaml
from semlt3d_ros.datasets.bag_jobs import refuse_overlap
from semlt3d_ros.messages import topics
from semlt3d_ros.training.engine import STATE_NAME, Progress
from semlt3d_ros.training.ranks import Ranks
from semlt3d_ros.training.recipe import asks_lidar_teacher, load_recipe
from semlt3d_ros.training.run import provenance, train_recipe
from semlt3d_ros.training.student_task import rehearse

RECIPE, PARENT, CLASSES = "recipe.yaml", "parent.safetensors", "classes.yaml"
CANDIDATE = "candidate.safetensors"


def write_recipe(
    folder: Path, settings: LoopSettings, parent: Path, classes: ClassList | None, bags: Sequence[Path]
) -> Path:
    """Write the recipe of a round, and a copy of the model that it starts from, into the round's folder.

    Args:
        folder: of the round.
        settings: of the loop.
        parent: checkpoint of the running model.
        classes: what is to be learnt where it is more than the running model's classes; None leaves these.
        bags: labelled recordings to learn from.

    Raises:
        ConfigurationError: the loop's recipe cannot be read, or is none of a student.
    """
    values = _values(settings)
    with whole(folder / PARENT) as draft:
        shutil.copyfile(parent, draft)
    for name in ("student", "image_size", "classes", "initial_parts"):  # all of it is the running model's
        values.pop(name, None)
    values |= {"initial": str(folder / PARENT), "data_folder": str(settings.data_folder)}
    if classes is not None:
        write_whole(folder / CLASSES, yaml.safe_dump(classes.to_json(), sort_keys=False))
        values["classes"] = str(folder / CLASSES)
    events: dict[str, Any] = {"bags": [str(bag) for bag in bags], "labels": topics.TEACHER_LABELS}
    if settings.rig is not None:
        events["rig"] = str(settings.rig.absolute())
    if values.get("distillation"):
        teacher = settings.teacher if settings.teacher == SHIPPED else settings.teacher.absolute()
        values["distillation"] = {**values["distillation"], "teacher": str(teacher)}
        events["cloud_points"] = settings.cloud_points
    last = 1.0 - settings.calibration
    learnt = {**events, "part": [0.0, last], "clip_frames": 5, "share": 1.0 - settings.replay}
    replayed = _listed(values.get("train")) if settings.replay else []
    values["train"] = [*replayed, learnt if replayed else {**learnt, "share": 1.0}]
    judged = [{**events, "part": [last, 1.0]}] if settings.calibration else []
    values["validation"] = [*_listed(values.get("validation")), *judged]
    write_whole(folder / RECIPE, yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False))
    return folder / RECIPE


def follows_lidar(settings: LoopSettings) -> bool:
    """Whether the loop's recipe learns more from the LiDAR teacher than its boxes.

    Raises:
        ConfigurationError: the recipe cannot be read, or is none of a student.
    """
    return asks_lidar_teacher(_values(settings), f"recipe '{settings.recipe}'")


def _values(settings: LoopSettings) -> dict[str, Any]:
    values = read_yaml(settings.recipe, "recipe")
    if not isinstance(values, dict) or "teacher" in values:
        raise ConfigurationError(f"recipe '{settings.recipe}' is none of a student; see config/recipes/adapt.yaml")
    return values


def learn(folder: Path, device: str, told: Progress) -> Path:
    """Train the candidate of a round by its recipe, on from where an interrupted run was.

    Args:
        folder: of the round.
        device: where.
        told: called after every step; what it raises ends the run, which goes on the next time.

    Returns:
        The candidate's checkpoint.

    Raises:
        ConfigurationError: the recipe does not hold together.
    """
    recipe = load_recipe(folder / RECIPE)
    refuse_overlap(recipe.train, recipe.validation)
    rehearse(recipe)
    out = folder / CANDIDATE
    train_recipe(recipe, out, provenance(folder / RECIPE, recipe), True, False, True, Ranks(device=device), told)
    return out


def tidy(folder: Path) -> None:
    """Remove of a round that has ended what is large and of no more use; what people look at stays."""
    (folder / CANDIDATE).with_suffix(".training").joinpath(STATE_NAME).unlink(missing_ok=True)
    (folder / PARENT).unlink(missing_ok=True)


def _listed(sources: Any) -> list[Any]:
    return list(sources) if isinstance(sources, list) else [] if sources is None else [sources]
