"""One run of an experiment: a network of either kind is trained by its recipe and judged on a test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint
from semlt3d_ros.checkpoints.file import header_of, metadata_of
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.datasets.opening import Frames, make_ready
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.evaluation.evaluator import evaluate
from semlt3d_ros.evaluation.report import Report
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.inference.teacher import TeacherDetector
from semlt3d_ros.training.clouds import CloudFrames
from semlt3d_ros.training.corrupting import robustness_of
from semlt3d_ros.training.engine import STATE_NAME
from semlt3d_ros.training.feature_cache import FeatureCache
from semlt3d_ros.training.frames import image_spec_of as image_spec_of_student
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.paired import Kept
from semlt3d_ros.training.recipe import Recipe, settings_of
from semlt3d_ros.training.run import train_recipe
from semlt3d_ros.training.run_teacher import image_spec_of, train_teacher
from semlt3d_ros.training.teacher_recipe import TeacherRecipe
from semlt3d_ros.training.teacher_task import looked_at, report_of
from semlt3d_ros.training.validation import detected


def train_trial(recipe: Recipe | TeacherRecipe, checkpoint: Path) -> None:
    """Train to a checkpoint, on from where it was interrupted; its state is left only until then."""
    if isinstance(recipe, TeacherRecipe):
        train_teacher(recipe, checkpoint, {}, resume=True, validated=False)
    else:
        train_recipe(recipe, checkpoint, {}, resume=True, validated=False)
    (checkpoint.with_suffix(".training") / STATE_NAME).unlink(missing_ok=True)


def prepare_trials(trials: Sequence[tuple[Recipe | TeacherRecipe, Mapping[str, DataSpec]]], processes: int) -> None:
    """Make the frames that trials learn from and are judged on, each once.

    Args:
        trials: recipes and their test sets.
        processes: that render.
    """
    wanted: dict[tuple[Path, ImageSpec], list[DataSpec]] = {}
    for recipe, tests in trials:
        images = image_spec_of(recipe) if isinstance(recipe, TeacherRecipe) else image_spec_of_student(recipe.student)
        wanted.setdefault((recipe.data_folder, images), []).extend((*recipe.train, *tests.values()))
    for (folder, images), specs in wanted.items():
        make_ready(specs, folder, images, processes)


def steps_of(checkpoint: Path) -> int:
    """The optimisation steps behind a checkpoint."""
    steps: int = header_of(checkpoint, metadata_of(checkpoint))["provenance"]["steps"]
    return steps


def judge_trial(
    recipe: Recipe | TeacherRecipe,
    checkpoint: Path,
    test: DataSpec,
    corruptions: Sequence[str] = (),
    kept: Path | None = None,
) -> dict[str, Any]:
    """The figures of a checkpoint on a test set; those of a student under corruptions too, as ``robustness``.

    Args:
        recipe: what was trained by.
        checkpoint: to be judged.
        test: the test set.
        corruptions: by name.
        kept: where a student's answers are kept, to be compared with those of others; None does not keep them.
    """
    if isinstance(recipe, TeacherRecipe):
        report = _of_teacher(recipe, checkpoint, test)
        return {"nds": report.nds, **report.to_json()}
    return _of_student(recipe, checkpoint, test, corruptions, kept)


def _of_student(
    recipe: Recipe, checkpoint: Path, test: DataSpec, corruptions: Sequence[str], kept: Path | None
) -> dict[str, Any]:
    trained = read_checkpoint(checkpoint)
    student = trained.student(_device())
    student.config = recipe.student
    if recipe.frozen_images:
        student.features.cache = FeatureCache(recipe.data_folder / "features", student.features)
    with open_frames([test], recipe.data_folder, recipe.student) as frames:
        detector = Detector(student, trained.version, _device())
        settings, drives = settings_of(recipe), frames.drives()
        answers = [
            (number, *answer) for number, drive in enumerate(drives) for answer in detected(detector, frames, [drive])
        ]
        report = evaluate((answer[1:] for answer in answers), settings)
        values = {"nds": report.nds, **report.to_json()}
        if kept is not None:
            Kept.of(answers, len(drives), settings).save(kept)
        if corruptions:
            student.features.cache = None  # nothing of it is asked for again
            values["robustness"] = robustness_of(detector, frames, settings, corruptions, report).to_json()
        return values


def _of_teacher(recipe: TeacherRecipe, checkpoint: Path, test: DataSpec) -> Report:
    detector = TeacherDetector.load(checkpoint, _device())
    with Frames([test], recipe.data_folder, image_spec_of(recipe), recipe.class_list) as frames:
        return report_of(list(looked_at(detector, CloudFrames(frames), frames.drives())), recipe)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
