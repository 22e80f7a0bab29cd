"""The result of an evaluation: figures and their means."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.classes import GROUPS
from semlt3d_ros.core.outputs import write_whole
from semlt3d_ros.evaluation.confidence_calibration import Reliability, reliability
from semlt3d_ros.evaluation.outcomes import ERRORS, LEVELS
from semlt3d_ros.evaluation.segmentation import Segmentation
from semlt3d_ros.evaluation.settings import EvaluationSettings


def _no_predictions() -> Reliability:
    return reliability([], [])


@dataclass
class ClassResult:
    """Figures of one class.

    Attributes:
        name, group: the class and its frequency group, empty where it is in none.
        truth: number of true boxes that counted.
        predictions: number of predictions that counted.
        ap_by_level: level of the hierarchy (0, 1, 2) to distance in metres to AP in [0, 1]; empty without true boxes,
            unless the settings count such classes as zero (as for ``errors``).
        errors: ``ate`` (m), ``ase``, ``aoe`` (rad), ``ave`` (m/s), ``aae`` to the true-positive error, 1 where nothing
            is known of it; without those that mean nothing for the class.
        precision: distance in metres to the precision (101,) at recalls 0, 0.01 ... 1; empty without true boxes.
        reliability: confidence against precision of the predictions that are confident enough for it.
    """

    name: str
    group: str
    truth: int
    predictions: int
    ap_by_level: dict[int, dict[float, float]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    precision: dict[float, NDArray[np.float64]] = field(default_factory=dict)
    reliability: Reliability = field(default_factory=_no_predictions)

    @property
    def ap_by_distance(self) -> dict[float, float]:
        """Distance in metres to AP in [0, 1]."""
        return self.ap_by_level.get(0, {})

    @property
    def ap(self) -> float | None:
        """Mean AP over the distances, or None without true boxes."""
        return self.hierarchical_ap(0)

    def hierarchical_ap(self, level: int) -> float | None:
        """Mean AP over the distances when confusions up to a level of the hierarchy are forgiven."""
        return mean_of(self.ap_by_level.get(level, {}).values())


@dataclass
class Report:
    """Figures of one evaluation.

    Attributes:
        settings: what was evaluated.
        frames: number of frames.
        classes: one result for each class of the protocol, in its order.
        unknown_classes: names in the detections that the protocol does not know; what they found did not count.
        attributes_known: whether any true box came with an attribute.
        confusions: (K + 1, K + 1) what true boxes of each class (and nothing, last row) were taken for (and missed,
            last column).
        reliability: confidence against precision of the confident predictions of all classes.
        segmentation: how well it was told what points lie on; None where nobody told or nobody knows.
    """

    settings: EvaluationSettings
    frames: int
    classes: tuple[ClassResult, ...]
    unknown_classes: tuple[str, ...]
    attributes_known: bool
    confusions: NDArray[np.int64]
    reliability: Reliability
    segmentation: Segmentation | None = None

    @property
    def ap(self) -> dict[str, float | None]:
        """Class to AP, the mean over the distances; None for classes that do not count."""
        return {result.name: result.ap for result in self.classes}

    @property
    def map(self) -> float | None:
        """Mean AP over the classes that count; None if there are none."""
        return self.lca[0]["all"]

    @property
    def groups(self) -> dict[str, float | None]:
        """Frequency group (``many``, ``medium``, ``few``) to the mean AP of its classes that count; or nothing."""
        return {group: self.lca[0][group] for group in self._groups}

    @property
    def _groups(self) -> tuple[str, ...]:
        return GROUPS if any(result.group for result in self.classes) else ()

    @property
    def lca(self) -> dict[int, dict[str, float | None]]:
        """Level of the hierarchy to the mean AP of all classes (``all``) and of each frequency group.

        At level 0 that is ordinary AP. At level 1 a false positive on an object of the same super-class is left out of
        the curve, at level 2 one on an object of any class (LT3D's hierarchical AP at LCA = 0, 1, 2).
        """
        return {
            level: {
                "all": mean_of(result.hierarchical_ap(level) for result in self.classes),
                **{
                    group: mean_of(each.hierarchical_ap(level) for each in self.of_group(group))
                    for group in self._groups
                },
            }
            for level in LEVELS
        }

    @property
    def errors(self) -> dict[str, float | None]:
        """Mean true-positive errors over the classes that count and for which the error means something."""
        return {name: mean_of(result.errors.get(name) for result in self.classes) for name in ERRORS}

    @property
    def nds(self) -> float | None:
        """nuScenes' detection score: mAP (weight 5) and the five errors turned into scores, ``max(0, 1 - error)``.

        As in nuScenes an error of which nothing is known is 1: without attributes NDS is 0.9 at most.
        """
        if self.map is None:
            return None
        errors = (1.0 if error is None else error for error in self.errors.values())
        weight = self.settings.protocol.ap_weight
        scores = [max(0.0, 1.0 - error) for error in errors]
        return float((weight * self.map + sum(scores)) / (weight + len(scores)))

    @property
    def calibration_error(self) -> float | None:
        """Expected calibration error over the confident predictions of all classes."""
        return self.reliability.error

    @property
    def mean_calibration_error(self) -> float | None:
        """Mean over the classes of their expected calibration errors; rare classes weigh as much as common ones."""
        return mean_of(result.reliability.error for result in self.classes)

    @property
    def classes_without_truth(self) -> tuple[str, ...]:
        """Names of the classes that have no true boxes."""
        return tuple(result.name for result in self.classes if result.truth == 0)

    def of_group(self, group: str) -> tuple[ClassResult, ...]:
        """Results of the classes of a frequency group."""
        return tuple(result for result in self.classes if result.group == group)

    def to_json(self) -> dict[str, Any]:
        """All figures as plain values, ready for ``json.dumps``; figures that do not exist are None."""
        return {
            "frames": self.frames,
            "settings": self.settings.to_json(),
            "map": {"all": self.map, **self.groups},
            "nds": self.nds,
            "lca": {str(level): means for level, means in self.lca.items()},
            "errors": self.errors,
            "attributes_known": self.attributes_known,
            "calibration": {**self.reliability.to_json(), "mean_over_classes": self.mean_calibration_error},
            "classes_without_truth": list(self.classes_without_truth),
            "unknown_classes": list(self.unknown_classes),
            **({} if self.segmentation is None else {"segmentation": self.segmentation.to_json()}),
            "classes": {result.name: _class_json(result) for result in self.classes},
            "confusions": {
                "rows": "true class, nothing last; columns: predicted class, missed last",
                "counts": self.confusions.tolist(),
            },
        }

    def save(self, path: Path, more: Mapping[str, Any] | None = None) -> None:
        """Write ``to_json()``, and ``more`` entries, to a file; its folder is made if need be."""
        write_whole(path, json.dumps({**self.to_json(), **(more or {})}, indent=2) + "\n")


def mean_of(values: Iterable[float | None]) -> float | None:
    """Mean of the values that exist, None if none does."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _class_json(result: ClassResult) -> dict[str, Any]:
    return {
        "group": result.group,
        "truth": result.truth,
        "predictions": result.predictions,
        "ap": result.ap,
        "ap_by_distance": {f"{distance:g}": ap for distance, ap in result.ap_by_distance.items()},
        "ap_by_lca": {str(level): result.hierarchical_ap(level) for level in LEVELS},
        "errors": {name: result.errors.get(name) for name in ERRORS},
        "calibration": result.reliability.to_json(),
    }
