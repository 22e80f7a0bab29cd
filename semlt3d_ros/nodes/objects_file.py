"""How detections become Autoware's objects, as a file says it; ``config/autoware/classes.yaml`` is the default."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from semlt3d_ros.core.yaml_file import read_yaml
from semlt3d_ros.messages.encode_objects import LABELS, ObjectOptions

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
"""Of LT3D's classes. Autoware's tracker knows the labels up to PEDESTRIAN alone, so what lies on the road is unknown to
it."""
WHAT = "objects_classes_file"
_CLOSE = 0.8


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
    from semlt3d_ros.core.config import ConfigurationFaults, parse

    if not file:
        return ObjectOptions(CLASSES)
    data, place = read_yaml(Path(file).expanduser(), WHAT), f"{WHAT} '{file}'"
    faults = _faults(data, tuple(class_names))
    try:
        options = parse(ObjectOptions, data, place)
    except ConfigurationFaults as error:
        raise ConfigurationFaults(place, (*faults, *error.faults)) from None
    if faults:
        raise ConfigurationFaults(place, faults)
    return options


def _faults(data: Any, class_names: tuple[str, ...]) -> list[str]:
    """What is wrong with the classes, beyond their form."""
    entries = data.get("classes") if isinstance(data, Mapping) else None
    if not isinstance(entries, Mapping):
        return []
    faults = []
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
    return faults
