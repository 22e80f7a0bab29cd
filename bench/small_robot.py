"""A robot that is small enough to go through its whole loop in seconds: events, a model that runs, settings."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml

from semlt3d_ros.adaptation.models import ModelStore
from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
from semlt3d_ros.checkpoints.teacher import save_teacher
from semlt3d_ros.core.point_classes import point_class_names
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.recording.event import EVENT_FILE, EventRecord
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.simulate import simulate
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.teacher import Teacher

STUDENT = StudentConfig(
    image_width=96,
    image_height=42,
    top_crop=0.25,
    backbone_args={"channels": [4, 8, 8, 8], "stem_width": 4},
    width=16,
    heads=2,
    feed_forward=16,
    anchors=8,
    proposals=4,
    depth_bins=4,
    layers=1,
)
TEACHER = TeacherConfig(
    pillar_m=0.64,
    pillar_layers=(8,),
    block_layers=(1, 1, 1),
    block_widths=(8, 8, 8),
    up_widths=(4, 4, 4),
    shared_width=8,
    head_width=4,
    point_classes=point_class_names(CLASS_NAMES),
    score=0.0,
    detections=6,
)
NAMES = tuple(f"20260101T00000{number}-always" for number in range(6))
"""Of the events; by their names two of the six are held back."""
SIMULATED = {"frames": 1, "drives_per_shard": 2, "image_size": [96, 56], "top_crop": 0.25, "objects": [6, 8]}
STEPS = 6
SETTINGS = "adaptation.yaml"


def write_event(folder: Path, seed: int, frames: int = 3) -> None:
    """An event of a simulated drive."""
    config = DriveConfig(seed, frames=frames, interval_s=0.2, image_size=(96, 56), objects=(6, 8))
    simulate(folder, config, progress=False)
    bags = tuple(path.name for path in folder.glob("*.mcap"))
    (folder / EVENT_FILE).write_text(EventRecord(("always",), seed, seed + 1, bags, "small@0").to_json())


def write_robot(folder: Path, events: int = len(NAMES), **settings: object) -> Path:
    """Events, teacher, models and settings of a small robot.

    Args:
        folder: for all of it.
        events: how many of them.
        settings: entries in place of those of the loop's settings.

    Returns:
        The file of settings.
    """
    for number, name in enumerate(NAMES[:events]):
        write_event(folder / "events" / name, 30 + number)
    torch.manual_seed(0)
    save_teacher(folder / "teacher.safetensors", _sure(Teacher(TEACHER)), "teacher", {})
    save_checkpoint(folder / "small.safetensors", Student(STUDENT), "small", {})
    store = ModelStore(folder / "models")
    store.promote(store.add(folder / "small.safetensors", {"origin": "test"}).name)
    recipe = {
        "name": "adapted",
        "data_folder": "unused",
        "train": [{"first_seed": 500, "drives": 2, **SIMULATED}],
        "validation": {"first_seed": 510, "drives": 1, **SIMULATED},
        "schedule": {"frames": 2 * STEPS, "batch": 2, "save_every": 1, "log_every": 1, "evaluate_every": 0},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    values = {
        **{name: str(folder / name) for name in ("events", "models", "work")},
        "recipe": "recipe.yaml",
        "teacher": str(folder / "teacher.safetensors"),
        "regression": [{"first_seed": 520, "drives": 2, **SIMULATED}],
        "least_new": 4,
        "free_gib": 0.0,
        "priority": "normal",
        "calibration": 0.0,
        "score": 0.1,
        "gate": {"resamples": 20, "pictures": 1, "slower": 1e6, "larger": 1e6},
        **settings,
    }
    path = folder / SETTINGS
    path.write_text(yaml.safe_dump(json.loads(json.dumps(values))))
    return path


def _sure(teacher: Teacher) -> Teacher:
    """A teacher that has learnt nothing, and is sure of what it says all the same."""
    with torch.no_grad():
        for name, value in teacher.named_parameters():
            if name.endswith("heat.1.bias"):
                value.add_(4.0)
    return teacher
