"""How detections become Autoware's objects, as a file says it; ``config/autoware/classes.yaml`` is the default."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages.encode_objects import LABELS, ORIENTATIONS, ObjectOptions
from semlt3d_ros.middleware.parameters import check_values, parameter

CLASSES: dict[str, str] = {
    "car": "CAR",
    "truck": "TRUCK",
    "trailer": "TRAILER",
    "bus": "BUS",
    "construction_vehicle": "TRUCK",
    "bicycle": "BICYCLE",
    "motorcycle": "MOTORCYCLE",
    "emergency_vehicle": "CAR",
    "adult": "PEDESTRIAN",
    "child": "PEDESTRIAN",
    "police_officer": "PEDESTRIAN",
    "construction_worker": "PEDESTRIAN",
    "stroller": "PEDESTRIAN",
    "personal_mobility": "PEDESTRIAN",
    "pushable_pullable": "UNKNOWN",
    "debris": "UNKNOWN",
    "traffic_cone": "UNKNOWN",
    "barrier": "UNKNOWN",
}
"""Autoware's tracker knows the labels up to PEDESTRIAN alone, so what lies on the road is unknown to it."""
_CLOSE = 0.8


@dataclass(frozen=True)
class _Numbers:
    """The rest of the file; see ``ObjectOptions``."""

    orientation: str = parameter(ObjectOptions.orientation, "", choices=tuple(ORIENTATIONS))
    across_m: float = parameter(ObjectOptions.across_m, "", low=0, high=100)
    across_rad: float = parameter(ObjectOptions.across_rad, "", low=0, high=1)
    yaw_rad: float = parameter(ObjectOptions.yaw_rad, "", low=0, high=4)
    velocity_mps: float = parameter(ObjectOptions.velocity_mps, "", low=0, high=100)


def load_object_options(file: str, class_names: Iterable[str]) -> ObjectOptions:
    """Read how detections become objects.

    What the file leaves out is as in the default file, but for its classes: those are all that it names, and others are
    UNKNOWN. It may name classes that the model does not have, for they can be added while the node runs, unless one is
    so near to a class that it leaves out that it must be meant.

    Args:
        file: path of a YAML file; empty for the default.
        class_names: the model's classes.

    Raises:
        ConfigurationError: the file cannot be read, or lists all its faults.
    """
    if not file:
        return ObjectOptions(CLASSES)
    try:
        data = yaml.safe_load(Path(file).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"objects_classes_file '{file}' cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"objects_classes_file '{file}' is not YAML: {reason}") from error
    faults: list[str] = []
    if not isinstance(data, Mapping) or not isinstance(data.get("classes"), Mapping):
        raise ConfigurationError(
            f"objects_classes_file '{file}' has no entry 'classes' with a line such as 'car: CAR' for each class"
        )
    classes = _classes(data["classes"], tuple(class_names), faults)
    given = {str(name): (value, "the file") for name, value in data.items() if name != "classes"}
    numbers = check_values(_Numbers, given, faults)
    if faults:
        raise ConfigurationError(f"objects_classes_file '{file}': {'; '.join(faults)}")
    return ObjectOptions(classes, **numbers)


def _classes(entries: Mapping[Any, Any], class_names: tuple[str, ...], faults: list[str]) -> dict[str, str]:
    left_out = [name for name in class_names if name not in entries]
    for name, label in entries.items():
        if not isinstance(name, str) or not name:
            faults.append(f"classes: {name!r} is not the name of a class; put it in quotes")
        elif name not in class_names and (meant := difflib.get_close_matches(name, left_out, 1, _CLOSE)):
            faults.append(f"classes: the model has no class '{name}', did you mean '{meant[0]}'?")
        if not isinstance(label, str) or label not in LABELS:
            near = difflib.get_close_matches(str(label).upper(), LABELS, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(LABELS)}"
            faults.append(f"classes: {name}: Autoware has no label {label!r}, {hint}")
    return {name: label for name, label in entries.items() if isinstance(label, str) and label in LABELS}
