"""Training of the tiny CLIP: balanced crops of simulated objects, and captions made of what is known of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

import semlt3d_ros
from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule, share
from semlt3d_ros.core.config import load
from semlt3d_ros.core.outputs import require_place, write_whole
from semlt3d_ros.core.places import Output, refuse_losses
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.datasets.object_crops import ObjectCrops, render_crops
from semlt3d_ros.datasets.specs import GenerationRecipe
from semlt3d_ros.semantics.anchors import make_anchors
from semlt3d_ros.semantics.captions import caption
from semlt3d_ros.semantics.clip import ClipEncoder
from semlt3d_ros.semantics.tiny import TinyClip, ZeroShot, varied, zero_shot
from semlt3d_ros.training.state import load_state, save_state


@dataclass(frozen=True)
class ClipSchedule(Checked):
    """The optimisation: AdamW with a linear warm-up and a cosine decay.

    Attributes:
        images: training images in all, with repetitions.
        batch: images per step.
        learning_rate, weight_decay, warmup: peak rate, decay of weight matrices, share of the steps for warming up.
        save_every: steps between two saved states.
    """

    TITLE: ClassVar[str] = "schedule"
    CHECKS: ClassVar[Checks] = (
        rule(
            lambda s: s.batch >= 2 and s.images >= s.batch,
            "a contrastive loss needs batches of 2 or more, and at least one of them, not {0.batch} of {0.images}",
        ),
        *positive("learning_rate", "save_every"),
        *not_negative("weight_decay"),
        *share("warmup"),
    )

    images: int = 200_000
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    save_every: int = 100

    @property
    def steps(self) -> int:
        """Number of optimisation steps."""
        return self.images // self.batch

    def rate_at(self, step: int) -> float:
        """Learning rate of a step."""
        warm = max(1, round(self.warmup * self.steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / (self.steps - warm))))


def _disjoint(recipe: ClipRecipe) -> Iterator[str]:
    first, second = sorted((recipe.train, recipe.validation), key=lambda part: part.first_seed)
    if first.first_seed + first.drives > second.first_seed:
        yield f"train and validation share seed {second.first_seed}"


@dataclass(frozen=True)
class ClipRecipe(Checked):
    """A tiny CLIP and how it comes about.

    Attributes:
        name: its name.
        data_folder: where crops are stored and found again, relative to the current folder.
        train, validation: what to simulate; of every drive the first frame. They share no seed.
        model: ``model_cfg`` and ``preprocess_cfg``, as in ``open_clip_config.json``.
        seed: decides weights, order, captions and augmentation.
        schedule: the optimisation.
        min_visible_pixels: objects that the student's images show with fewer pixels are left out.
    """

    TITLE: ClassVar[str] = "recipe '{0.name}'"
    CHECKS: ClassVar[Checks] = (
        _disjoint,
        rule(lambda r: {"model_cfg", "preprocess_cfg"} <= set(r.model), "model needs model_cfg and preprocess_cfg"),
        *not_negative("seed", "min_visible_pixels"),
    )

    name: str
    data_folder: Path
    train: GenerationRecipe
    validation: GenerationRecipe
    model: dict[str, Any]
    seed: int = 0
    schedule: ClipSchedule = field(default_factory=ClipSchedule)
    min_visible_pixels: int = 6


def load_clip_recipe(path: Path) -> ClipRecipe:
    """Read a recipe from YAML.

    Raises:
        ConfigurationError: the file is absent or no YAML, or entries are unknown, missing or do not fit; all are named.
    """
    return load(ClipRecipe, path, "recipe")


Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def train_clip(recipe: ClipRecipe, out: Path, resume: bool, progress: Progress) -> dict[str, Any]:
    """Render what crops are missing, train, measure on seeds never trained on, write the CLIP and ``<out>.json``.

    Args:
        recipe: the recipe.
        out: safetensors file to write; the state of the run lies in a folder beside it.
        resume: go on where an interrupted run of the recipe stopped.
        progress: told of what is going on.

    Returns:
        ``checkpoint``, ``steps``, ``crops``, ``accuracy`` (mean recall of the classes), ``recall``, ``loss``,
        ``confusion``, ``logit_scale`` and ``parameters``.

    Raises:
        ConfigurationError: the recipe does not hold together, or open_clip is not installed.
    """
    figures, folder = out.with_suffix(".json"), out.with_suffix(".training")
    outputs = [Output("--out", out), Output("the figures", figures), Output("the run's folder", folder, "folder")]
    refuse_losses(outputs, [])
    require_place(out)
    torch.manual_seed(recipe.seed)
    clip = TinyClip(recipe.model)  # before anything is rendered: a model that cannot be built fails at once
    crops = {
        name: render_crops(
            recipe.data_folder, part, recipe.min_visible_pixels, lambda done, of: progress("rendering crops", done, of)
        )
        for name, part in (("train", recipe.train), ("validation", recipe.validation))
    }
    state = folder / "state.safetensors"
    state.parent.mkdir(parents=True, exist_ok=True)
    _optimise(clip, recipe, crops["train"], state, resume, progress)
    origin = {"version": semlt3d_ros.__version__, "recipe": json.loads(json.dumps(asdict(recipe), default=str))}
    clip.save(out, recipe.name, origin)
    encoder = ClipEncoder.load("tiny", out)
    found = measure(encoder, crops["validation"])
    result = {
        "checkpoint": str(out),
        "steps": recipe.schedule.steps,
        "crops": {name: len(part) for name, part in crops.items()},
        "accuracy": found.accuracy,
        "recall": found.recall,
        "loss": found.loss,
        "confusion": found.confusion.tolist(),
        "logit_scale": encoder.logit_scale,
        "parameters": sum(parameter.numel() for parameter in clip.model.parameters()),
    }
    write_whole(figures, json.dumps(result, indent=1) + "\n")
    return result


def measure(encoder: ClipEncoder, crops: ObjectCrops) -> ZeroShot:
    """How well a CLIP names crops, asked for the 18 classes by their names."""
    anchors = make_anchors(encoder, CLASS_NAMES)
    return zero_shot(anchors, encoder.encode_images(list(crops.images)), crops.class_ids, encoder.logit_scale)


def _optimise(
    clip: TinyClip, recipe: ClipRecipe, crops: ObjectCrops, state: Path, resume: bool, progress: Progress
) -> None:
    schedule = recipe.schedule
    matrices = [p for p in clip.parameters() if p.ndim > 1]
    others = [p for p in clip.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": schedule.weight_decay}, {"params": others, "weight_decay": 0.0}],
        fused=True,
    )
    start = 0
    if resume and state.exists():
        start = int(load_state(state, {"clip": clip}, optimizer)[0]["step"])
    clip.train()
    for step in range(start, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate_at(step)
        rng = np.random.default_rng([recipe.seed, step])
        rows = balanced_batch(crops.class_ids, schedule.batch, recipe.seed, step)
        captions = [caption(rng, CLASS_NAMES[crops.class_ids[r]], crops.sizes[r], crops.paints[r]) for r in rows]
        images = torch.from_numpy(crops.images[rows]).permute(0, 3, 1, 2).float() / 255.0
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        loss = clip(varied(images, clip.size, generator), captions)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimizer.step()
        clip.limit_temperature()
        progress(f"training, loss {loss.item():.2f}", step + 1, schedule.steps)
        if (step + 1) % schedule.save_every == 0 or step + 1 == schedule.steps:
            save_state(state, {"clip": clip}, optimizer, {"step": step + 1}, {})


def balanced_batch(class_ids: NDArray[np.int64], size: int, seed: int, step: int) -> NDArray[np.int64]:
    """Rows of one batch: all classes equally often, and the crops of a class all once before one comes again."""
    present = np.unique(class_ids)
    first = step * size
    places = np.arange(first, first + size)
    rows = np.empty(size, np.int64)
    for which, label in enumerate(present):
        mine = np.flatnonzero(places % len(present) == which)
        members = np.flatnonzero(class_ids == label)
        turns, within = np.divmod(places[mine] // len(present), len(members))
        orders: dict[int, NDArray[np.int64]] = {
            int(turn): np.random.default_rng([seed, int(label), int(turn)]).permutation(members)
            for turn in np.unique(turns)
        }
        rows[mine] = [orders[int(turn)][at] for turn, at in zip(turns, within, strict=True)]
    return rows
