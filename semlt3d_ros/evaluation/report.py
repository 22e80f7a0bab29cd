"""The result of an evaluation: figures, JSON, a table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from semlt3d_ros.core.taxonomy import GROUPS
from semlt3d_ros.evaluation.settings import EvaluationSettings

_ERROR_TITLES = {"ate": "ATE m", "ase": "ASE", "aoe": "AOE rad", "ave": "AVE m/s"}


@dataclass
class ClassResult:
    """Figures of one class.

    Attributes:
        name, group: the class and its frequency group.
        truth: number of true boxes that counted.
        predictions: number of predictions that counted.
        ap_by_distance: distance in metres to AP in [0, 1]; empty without true boxes.
        errors: ``ate`` (m), ``ase``, ``aoe`` (rad), ``ave`` (m/s) to the true-positive error; empty without true boxes,
            and without those that mean nothing for the class.
        precision: distance in metres to the precision (101,) at recalls 0, 0.01 ... 1; empty without true boxes.
    """

    name: str
    group: str
    truth: int
    predictions: int
    ap_by_distance: dict[float, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    precision: dict[float, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def ap(self) -> float | None:
        """Mean AP over the distances, or None without true boxes."""
        return _mean(self.ap_by_distance.values())


@dataclass
class Report:
    """Figures of one evaluation.

    Attributes:
        settings: what was evaluated.
        frames: number of frames.
        classes: one result for each class of the taxonomy, in its order.
        unknown_classes: names in the detections that are not in the taxonomy; what they found did not count.
    """

    settings: EvaluationSettings
    frames: int
    classes: tuple[ClassResult, ...]
    unknown_classes: tuple[str, ...] = ()

    @property
    def ap(self) -> dict[str, float | None]:
        """Class to AP, the mean over the distances; None for classes without true boxes."""
        return {result.name: result.ap for result in self.classes}

    @property
    def map(self) -> float | None:
        """Mean AP over the classes that have true boxes; None if there are none."""
        return _mean(result.ap for result in self.classes)

    @property
    def groups(self) -> dict[str, float | None]:
        """Frequency group (``many``, ``medium``, ``few``) to the mean AP of its classes that have true boxes."""
        return {group: _mean(result.ap for result in self.classes if result.group == group) for group in GROUPS}

    @property
    def errors(self) -> dict[str, float | None]:
        """Mean true-positive errors over the classes that have true boxes and for which the error means something.

        ``aae``, nuScenes' attribute error, is None: there are no attributes here.
        """
        means = {name: _mean(result.errors.get(name) for result in self.classes) for name in _ERROR_TITLES}
        return {**means, "aae": None}

    @property
    def classes_without_truth(self) -> tuple[str, ...]:
        """Names of the classes that have no true boxes and are left out of every mean."""
        return tuple(result.name for result in self.classes if result.truth == 0)

    def to_json(self) -> dict[str, Any]:
        """All figures as plain values, ready for ``json.dumps``; figures that do not exist are None."""
        return {
            "frames": self.frames,
            "settings": asdict(self.settings),
            "map": {"all": self.map, **self.groups},
            "errors": self.errors,
            "classes_without_truth": list(self.classes_without_truth),
            "unknown_classes": list(self.unknown_classes),
            "classes": {result.name: _class_json(result, self.settings) for result in self.classes},
        }

    def save(self, path: Path) -> None:
        """Write ``to_json()`` to a file; its folder is made if need be."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")

    def to_table(self, title: str | None = None) -> Table:
        """A table of the classes, the groups and the mean."""
        distances = self.settings.distances
        table = Table(title=title or f"{self.frames} frames", title_justify="left")
        table.add_column("class")
        headings = ["group", "truth", "predicted", "AP", *(f"@{d:g} m" for d in distances), *_ERROR_TITLES.values()]
        for heading in headings:
            table.add_column(heading, justify="left" if heading == "group" else "right")
        for result in self.classes:
            table.add_row(
                *(result.name, result.group, str(result.truth), str(result.predictions), _text(result.ap)),
                *(_text(result.ap_by_distance.get(distance)) for distance in distances),
                *(_text(result.errors.get(name)) for name in _ERROR_TITLES),
            )
        table.add_section()
        for group in GROUPS:
            self._add_mean(table, group, [result for result in self.classes if result.group == group])
        self._add_mean(table, "all", self.classes)
        notes = {
            "without truth, left out of the means": self.classes_without_truth,
            "detected but not evaluated": self.unknown_classes,
        }
        table.caption = "\n".join(f"{note}: {', '.join(names)}" for note, names in notes.items() if names)
        table.caption_justify = "left"
        return table

    def _add_mean(self, table: Table, name: str, results: Iterable[ClassResult]) -> None:
        results = list(results)
        table.add_row(
            *(f"mean {name}", "" if name == "all" else name),
            *(str(sum(result.truth for result in results)), str(sum(result.predictions for result in results))),
            _text(_mean(result.ap for result in results)),
            *(_text(_mean(r.ap_by_distance.get(distance) for r in results)) for distance in self.settings.distances),
            *(_text(_mean(r.errors.get(error) for r in results)) for error in _ERROR_TITLES),
            style="bold",
        )


def _class_json(result: ClassResult, settings: EvaluationSettings) -> dict[str, Any]:
    return {
        "group": result.group,
        "truth": result.truth,
        "predictions": result.predictions,
        "ap": result.ap,
        "ap_by_distance": {f"{distance:g}": result.ap_by_distance.get(distance) for distance in settings.distances},
        "errors": {name: result.errors.get(name) for name in _ERROR_TITLES},
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
