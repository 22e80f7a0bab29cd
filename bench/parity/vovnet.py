"""The papers' V2-99 against ``student.backbone.v2_99``."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.parity.fixtures import Comparison, Fixture, standard
from semlt3d_ros.student.backbone import v2_99
from semlt3d_ros.student.published.vovnet import timm_names

STAGES = {"stem_2": "stem", "stages_0": "stage2", "stages_1": "stage3", "stages_2": "stage4", "stages_3": "stage5"}
"""timm's modules by the original's names of what they give."""


@torch.inference_mode()
def compare(fixture: Fixture) -> Iterator[Comparison]:
    """Every stage of every image: its values or a sample of them, and mean and deviation of every channel."""
    network = v2_99().eval()
    load(network, timm_names(fixture.weights()))
    for image, given in fixture.info["inputs"].items():
        case = image.removeprefix("image/")
        for stage, output in outputs(network, standard(image, given["shape"])).items():
            yield from _stage(fixture, f"{case}.{stage}", output[0], case)


def load(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give a network all of its tensors but the counters of its batch norms.

    Raises:
        ValueError: others are missing, or some are none of its own.
    """
    loaded = network.load_state_dict(tensors, strict=False)
    missing = [key for key in loaded.missing_keys if not key.endswith("num_batches_tracked")]
    if missing or loaded.unexpected_keys:
        raise ValueError(f"missing: {missing}; unexpected: {loaded.unexpected_keys}")


def outputs(network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """The maps (1, C, H, W) after the stem and all stages."""
    found: dict[str, Tensor] = {}
    for name, module in network.named_children():
        image = module(image)
        if name in STAGES:
            found[STAGES[name]] = image
    return found


def _stage(fixture: Fixture, name: str, output: Tensor, case: str) -> Iterator[Comparison]:
    tolerances = fixture.info["tolerance"]
    early = tolerances["stem, stage2, stage3 (values, mean, std)"]
    deep = "stage4" in name or "stage5" in name
    channels = 32 if case == "odd" else 16
    found = {
        name: output,
        f"{name}.sample": output[::channels, ::2, ::2],
        f"{name}.mean": output.mean((1, 2)),
        f"{name}.std": output.std((1, 2), correction=0),
    }
    for key, values in found.items():
        if key in fixture.arrays:
            late = tolerances[f"stage4, stage5 ({'mean, std' if key.endswith(('.mean', '.std')) else 'values'})"]
            yield fixture.compare(key, values, fixture.arrays[key], late if deep else early)
