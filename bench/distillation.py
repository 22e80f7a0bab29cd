"""What following teachers costs a training step: ``python -m bench.distillation [--json] [--repeats 12] [--batch 4]``.

The student of ``config/recipes/cmkd.yaml`` learns from labels alone, with each way to follow a teacher, and with all of
them, in turns on the same frames. What the teachers say of the frames is kept on disk already, and reading it counts.
Times are CPU times of one thread for loading and learning of a step; each figure is a median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from rich.console import Console
from rich.table import Table
from timm.models import save_for_hf

from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
from semlt3d_ros.distillation.settings import Cmkd, Distillation, MonoStl, PseudoLabels, SamDistill
from semlt3d_ros.simulation.generation import GenerationRecipe
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.engine import Engine
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.recipe import Recipe, load_recipe
from semlt3d_ros.training.student_task import StudentTask

TARGET = 1.3
RECIPE = Path(__file__).resolve().parents[1] / "config" / "recipes" / "cmkd.yaml"
SAM = {"embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": [1], "img_size": 224, "window_size": 7}
"""A small encoder of SAM's kind, with features as wide as those of the real one."""


def ways(folder: Path, student: StudentConfig) -> dict[str, dict[str, Any]]:
    """Entries of ``distillation`` by what is measured; teachers that are not shipped have learnt nothing."""
    depth, sam = folder / "depth.safetensors", folder / "sam"
    save_checkpoint(depth, Student(replace(student, input="depth")), "depth", {})
    save_for_hf(timm.create_model("samvit_base_patch16", num_classes=0, **SAM), sam, model_args=SAM)
    return {
        "CMKD": {"cmkd": Cmkd(), "pseudo_labels": PseudoLabels()},
        "MonoSTL": {"monostl": MonoStl(depth)},
        "SAMDistill": {"samdistill": SamDistill()},
        "SAMDistill and SAM": {"samdistill": SamDistill(sam=str(sam))},
    }


def recipes(folder: Path) -> dict[str, Recipe]:
    """The recipe without a teacher and with each way to follow one."""
    plain = load_recipe(RECIPE)
    spec = plain.train[0]
    assert isinstance(spec.simulate, GenerationRecipe)
    drives = replace(spec, simulate=replace(spec.simulate, drives=8, drives_per_shard=4, frames=2), share=None)
    plain = replace(plain, train=(drives,), data_folder=folder, distillation=None)
    each = ways(folder, plain.student)
    together = {key: value for entries in each.values() for key, value in entries.items()}
    each["all"] = together
    following = {name: replace(plain, distillation=Distillation(**entries)) for name, entries in each.items()}
    return {"labels alone": plain, **following}


def measure(repeats: int, batch: int, folder: Path) -> dict[str, Any]:
    """Median seconds of a step by name, and their ratios to that without a teacher."""
    with ExitStack() as stack:
        engines: dict[str, Engine] = {}
        for name, recipe in recipes(folder).items():
            frames = stack.enter_context(open_frames(recipe.train, folder, recipe.student))
            frames.wait(len(frames) - 1)
            schedule = replace(recipe.schedule, batch=batch, frames=batch * 1000)
            place = folder / name.replace(" ", "_")
            place.mkdir(exist_ok=True)
            engines[name] = Engine(StudentTask(replace(recipe, schedule=schedule), frames), schedule, place)
        times: dict[str, list[float]] = {name: [] for name in engines}
        orders = {name: engine.task.order(batch, 1000, 0) for name, engine in engines.items()}
        warm = -(-16 // batch)  # a pass over all frames, after which all is on disk
        for number in range(warm + repeats):
            for name in sorted(engines, reverse=bool(number % 2)):
                start = time.process_time()
                engines[name].train_step(engines[name].task.load(next(orders[name])))
                if number >= warm:
                    times[name].append(time.process_time() - start)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    return {"target": TARGET, "batch": batch, "seconds": seconds, "ratio": ratios(seconds)}


def ratios(seconds: Mapping[str, float]) -> dict[str, float]:
    """Times over that without a teacher."""
    return {name: value / seconds["labels alone"] for name, value in seconds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.distillation", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--repeats", type=int, default=12, help="steps of each (default 12)")
    parser.add_argument("--batch", type=int, default=4, help="frames of a step (default 4)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options.repeats, options.batch, Path(folder))
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    table = Table("learns from", "seconds a step", "ratio", title=f"A training step of {options.batch} frames")
    for name, value in figures["seconds"].items():
        table.add_row(name, f"{value:.3f}", f"{figures['ratio'][name]:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
