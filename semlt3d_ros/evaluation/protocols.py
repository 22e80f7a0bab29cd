"""What everybody must hold equal for figures to be comparable: the protocols of LT3D, of nuScenes, of any classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from semlt3d_ros.core import taxonomy
from semlt3d_ros.core.classes import ClassInfo, ClassList
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.label_map import LabelMap


@dataclass(frozen=True)
class Protocol:
    """A benchmark's classes and rules.

    Attributes:
        name: how it is chosen on the command line.
        classes: the classes that are evaluated, in the order of the table.
        merged: other names to the class each counts as.
        left_out: names of classes that the benchmark knows and does not evaluate.
        distances: centre distances in metres below which a prediction matches; a class's AP is the mean over them.
        tp_distance: the one of them at which true-positive errors, calibration and confusion are measured.
        min_recall: recalls up to this one do not count.
        min_precision: precision below this one counts as zero, the rest is rescaled to [0, 1].
        max_boxes: at most this many predictions of a frame count, the most confident ones.
        ap_weight: weight of mAP in the detection score (NDS), where each true-positive error has weight 1.
        exempt: class to the true-positive errors that mean nothing for it (a cone has no heading).
        half_turn: classes whose heading is known up to half a turn only.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    merged: Mapping[str, str] = field(default_factory=dict, hash=False)
    left_out: tuple[str, ...] = ()
    distances: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    tp_distance: float = 2.0
    min_recall: float = 0.0
    min_precision: float = 0.0
    max_boxes: int = 500
    ap_weight: float = 5.0
    exempt: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    half_turn: tuple[str, ...] = ("barrier",)

    def __post_init__(self) -> None:
        checks = (
            ("distances", bool(self.distances) and min(self.distances) > 0, "one or more positive metres"),
            ("tp_distance", self.tp_distance in self.distances, f"one of the distances {self.distances}"),
            ("min_recall", 0 <= self.min_recall < 1, "in [0, 1)"),
            ("min_precision", 0 <= self.min_precision < 1, "in [0, 1)"),
            ("max_boxes", self.max_boxes > 0, "positive"),
        )
        for name, holds, expected in checks:
            if not holds:
                value = getattr(self, name)
                raise ConfigurationError(f"protocol '{self.name}': '{name}' is {value!r}; it must be {expected}")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in order."""
        return tuple(info.name for info in self.classes)

    @property
    def known(self) -> ClassList:
        """All names that mean something to the protocol, whether they are evaluated or not."""
        others = dict.fromkeys((*self.merged, *self.left_out))
        return ClassList(self.name, self.classes + tuple(ClassInfo(name) for name in others))

    def class_of(self, name: str) -> int | None:
        """Index of the class that a name counts as; None where none."""
        name = self.merged.get(name, name)
        return self.class_names.index(name) if name in self.class_names else None

    def to_json(self) -> dict[str, Any]:
        """The rules as plain values; the classes by name."""
        hidden = ("classes", "merged", "left_out", "exempt")
        rules = {name: value for name, value in vars(self).items() if name not in hidden}
        return {**rules, "classes": {info.name: asdict(info) for info in self.classes}}


_EXEMPT = {"traffic_cone": ("aoe", "ave", "aae"), "barrier": ("ave", "aae")}


def protocol_of(classes: ClassList, label_map: LabelMap | None = None) -> Protocol:
    """LT3D's rules on the classes of any list, with their ranges, super-classes and frequency groups.

    Args:
        classes: the list.
        label_map: what names that the list does not have are called in it.
    """
    known = label_map.classes if label_map else {}
    merged = {name: to for name, to in known.items() if name not in classes and to in classes}
    return Protocol(classes.name, classes.classes, merged, exempt=_EXEMPT)


LT3D = protocol_of(taxonomy.LT3D)
"""18 classes, no floors (Peri et al., CoRL 2022, ``detection_lt3d.json``)."""

_PEDESTRIANS = ("adult", "child", "police_officer", "construction_worker")
_OF_NUSCENES = (
    *("car", "truck", "bus", "trailer", "construction_vehicle", "pedestrian", "motorcycle", "bicycle"),
    *("traffic_cone", "barrier"),
)
_BY_NAME = {
    **{info.name: info for info in taxonomy.LT3D.classes},
    "pedestrian": ClassInfo("pedestrian", "pedestrian", 40.0, "many"),
}

NUSCENES = Protocol(
    "nuscenes",
    tuple(_BY_NAME[name] for name in _OF_NUSCENES),
    merged=dict.fromkeys(_PEDESTRIANS, "pedestrian"),
    left_out=tuple(name for name in taxonomy.LT3D.names if name not in (*_OF_NUSCENES, *_PEDESTRIANS)),
    min_recall=0.1,
    min_precision=0.1,
    exempt=_EXEMPT,
)
"""nuScenes' own 10 classes, floors of 0.1 (Caesar et al., CVPR 2020, ``detection_cvpr_2019.json``).

Standing people are one class; emergency vehicles, strollers, personal mobility, carts and debris are not evaluated.
"""

PROTOCOLS: Mapping[str, Protocol] = {each.name: each for each in (LT3D, NUSCENES)}


def protocol_named(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        ConfigurationError: there is none.
    """
    if name not in PROTOCOLS:
        raise ConfigurationError(f"evaluation protocol '{name}' does not exist; use one of: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
