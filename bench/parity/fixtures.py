"""Fixtures of published modules: tensors made by a rule, and what the originals gave for them.

A fixture is a JSON file that says everything and an ``.npz`` with the outputs. Weights and inputs come from their keys
alone: the CRC-32 of the key seeds a generator, whose uniform numbers ``u`` and their standardised form ``z`` enter a
formula.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "parity"
"""Where the fixtures are looked for."""


def uniform(key: str, shape: Sequence[int]) -> Tensor:
    """Numbers in [0, 1) that belong to a key."""
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    return torch.rand(tuple(shape), generator=generator)


def standard(key: str, shape: Sequence[int]) -> Tensor:
    """The same numbers with mean 0 and variance 1."""
    return (uniform(key, shape) - 0.5) * 12**0.5


def weight(key: str, shape: Sequence[int], rules: Iterable[Mapping[str, Any]]) -> Tensor:
    """The tensor of a key: the formula of the first rule that fits.

    Args:
        key: name of the tensor.
        shape: of it.
        rules: each with ``match``, a regular expression, ``value``, a formula of ``u``, ``z`` and ``fan_in``, and
            perhaps ``dim``, the number of dimensions it is for.
    """
    shape = tuple(shape)
    names = {"u": uniform(key, shape), "z": standard(key, shape), "fan_in": math.prod(shape[1:]), "abs": abs}
    for rule in rules:
        if re.search(rule["match"], key) and rule.get("dim", len(shape)) == len(shape):
            return torch.as_tensor(eval(rule["value"], {"__builtins__": {}}, names))
    raise KeyError(f"no rule makes a weight for '{key}'")


def sha256(tensor: Tensor) -> str:
    """First 16 digits of the hash of a tensor's numbers."""
    return hashlib.sha256(tensor.detach().float().contiguous().numpy().astype("<f4").tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Comparison:
    """How far one output lies from the original's.

    Attributes:
        fixture, output: what was compared.
        difference: the largest absolute one; infinite where shapes differ.
        tolerance: what the fixture allows.
    """

    fixture: str
    output: str
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether it is close enough; a NaN is not."""
        return self.difference <= self.tolerance


@dataclass(frozen=True)
class Fixture:
    """One fixture.

    Attributes:
        path: its JSON file.
    """

    path: Path

    @property
    def name(self) -> str:
        """Its name."""
        return self.path.stem

    @cached_property
    def info(self) -> dict[str, Any]:
        """What the JSON file says."""
        return dict(json.loads(self.path.read_text(encoding="utf-8")))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes of the module."""
        return dict(self.info["config"])

    @cached_property
    def arrays(self) -> dict[str, NDArray]:
        """The original's outputs, and inputs that no rule makes."""
        with np.load(self.path.with_suffix(".npz")) as archive:
            return {name: archive[name] for name in archive.files}

    def weights(self) -> dict[str, Tensor]:
        """All weights by the original's keys, copies of shared ones and constants included.

        Raises:
            ValueError: one does not have the numbers that the fixture was made with.
        """
        made: dict[str, Tensor] = {}
        for entry in self.info["weights"]:
            tensor = weight(entry["key"], entry["shape"], self.info["weight_rules"])
            # A last bit that comes out differently is harmless, so the sum decides where the hash does not.
            off = abs(float(tensor.double().sum()) - entry["sum"])
            if sha256(tensor) != entry["sha256"] and off > 1e-5 * entry["abs_sum"]:
                raise ValueError(f"{self.name}: '{entry['key']}' is not the tensor that the fixture was made with")
            made[entry["key"]] = tensor
        made |= {copy: made[key] for copy, key in self.info["aliases"].items()}
        return made | {key: torch.tensor(values) for key, values in self.info["constants"].items()}

    def hashes_that_differ(self) -> list[str]:
        """Keys of weights that are not equal to the last bit."""
        made = self.weights()
        return [entry["key"] for entry in self.info["weights"] if sha256(made[entry["key"]]) != entry["sha256"]]

    def compare(self, output: str, mine: Tensor | ArrayLike, stored: ArrayLike, tolerance: float) -> Comparison:
        """Hold one output against the stored one."""
        return Comparison(self.name, output, largest_difference(mine, stored), tolerance)


def largest_difference(mine: Tensor | ArrayLike, stored: ArrayLike) -> float:
    """Largest absolute difference of two arrays; infinite where their shapes differ, NaN where a number is none."""
    mine = mine.detach().cpu().numpy() if isinstance(mine, Tensor) else np.asarray(mine)
    wanted = np.asarray(stored)
    if mine.shape != wanted.shape:
        return math.inf
    return float(np.abs(mine.astype(np.float64) - wanted.astype(np.float64)).max(initial=0.0))


def fixtures(folder: Path = FOLDER) -> list[Fixture]:
    """All fixtures of a folder, by name; none where there is no folder."""
    return [Fixture(path) for path in sorted(folder.glob("*.json")) if path.with_suffix(".npz").is_file()]
