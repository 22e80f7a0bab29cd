"""Training state on disk, so that an interrupted run goes on where it was. Tensors in safetensors, the rest in JSON."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from semlt3d_ros.checkpoints.file import write_tensors
from semlt3d_ros.core.errors import ConfigurationError

_ENTRY = "semlt3d_training"
_PYTHON_VERSION = 3
"""Of the state of Python's generator."""


def save_state(
    path: Path,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: dict[str, float],
    extra: dict[str, Tensor],
) -> None:
    """Write modules, optimizer moments, random generators, progress counters and further tensors atomically."""
    tensors: dict[str, Tensor] = random_state()
    tensors |= {f"extra.{key}": value for key, value in extra.items()}
    for name, module in modules.items():
        tensors |= {f"module.{name}.{key}": value for key, value in module.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in moments.items()}
    # Tied or aliased tensors would be refused by safetensors; clones have their own storage.
    write_tensors(path, {key: value.clone() for key, value in tensors.items()}, {_ENTRY: json.dumps(progress)})


def load_state(
    path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Restore what ``save_state`` wrote and return the progress counters and the further tensors.

    Raises:
        ConfigurationError: the file is damaged or belongs to another recipe.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads((file.metadata() or {})[_ENTRY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        for name, module in modules.items():
            prefix = f"module.{name}."
            module.load_state_dict(
                {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
            )
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise ConfigurationError(
            f"training state '{path}' does not fit this recipe ({str(error).splitlines()[0]}); "
            "remove it to start afresh"
        ) from error
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            moments.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    set_random_state(tensors)
    return progress, {key[len("extra.") :]: value for key, value in tensors.items() if key.startswith("extra.")}


def random_state() -> dict[str, Tensor]:
    """The state of every global random generator: of torch, its GPU, NumPy and Python."""
    _, keys, place, has_gauss, gauss = np.random.get_state()
    _, words, spare = random.getstate()
    state = {
        "random.torch": torch.get_rng_state(),
        "random.numpy": torch.tensor([*map(float, keys), place, has_gauss, gauss], dtype=torch.float64),
        "random.python": torch.tensor([*words, float("nan") if spare is None else spare], dtype=torch.float64),
    }
    if torch.cuda.is_available():
        state["random.cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Tensor]) -> None:
    """Put back what ``random_state`` gave; a GPU's only where there is one."""
    torch.set_rng_state(state["random.torch"])
    *keys, place, has_gauss, gauss = state["random.numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, np.uint32), int(place), int(has_gauss), gauss))
    *words, spare = state["random.python"].tolist()
    random.setstate((_PYTHON_VERSION, tuple(map(int, words)), None if math.isnan(spare) else spare))
    if torch.cuda.is_available() and "random.cuda" in state:
        torch.cuda.set_rng_state(state["random.cuda"])
