"""The 18 classes of the LT3D protocol (Peri et al., CoRL 2022), in the order of its development kit.

Ranges are metres from the ego vehicle within which a class is evaluated; the groups follow the class frequency in
nuScenes trainval (Few < 5,000 boxes, Medium < 50,000, Many above).
"""

from __future__ import annotations

from semlt3d_ros.core.classes import GROUPS, ClassInfo, ClassList, Group

__all__ = ["CLASSES", "CLASS_INDEX", "CLASS_NAMES", "GROUPS", "LT3D", "classes_of_group"]

CLASSES: tuple[ClassInfo, ...] = (
    ClassInfo("car", "vehicle", 50.0, "many"),
    ClassInfo("truck", "vehicle", 50.0, "many"),
    ClassInfo("trailer", "vehicle", 50.0, "medium"),
    ClassInfo("bus", "vehicle", 50.0, "medium"),
    ClassInfo("construction_vehicle", "vehicle", 50.0, "medium"),
    ClassInfo("bicycle", "vehicle", 40.0, "medium"),
    ClassInfo("motorcycle", "vehicle", 40.0, "medium"),
    ClassInfo("emergency_vehicle", "vehicle", 50.0, "few"),
    ClassInfo("adult", "pedestrian", 40.0, "many"),
    ClassInfo("child", "pedestrian", 40.0, "few"),
    ClassInfo("police_officer", "pedestrian", 40.0, "few"),
    ClassInfo("construction_worker", "pedestrian", 40.0, "medium"),
    ClassInfo("stroller", "pedestrian", 40.0, "few"),
    ClassInfo("personal_mobility", "pedestrian", 40.0, "few"),
    ClassInfo("pushable_pullable", "movable", 40.0, "medium"),
    ClassInfo("debris", "movable", 30.0, "few"),
    ClassInfo("traffic_cone", "movable", 30.0, "many"),
    ClassInfo("barrier", "movable", 30.0, "many"),
)

LT3D = ClassList("lt3d", CLASSES)
"""The list that is taken where nothing says otherwise."""

CLASS_NAMES: tuple[str, ...] = tuple(info.name for info in CLASSES)
CLASS_INDEX: dict[str, int] = {name: index for index, name in enumerate(CLASS_NAMES)}


def classes_of_group(group: Group) -> tuple[int, ...]:
    """Indices of the classes in a frequency group."""
    return tuple(index for index, info in enumerate(CLASSES) if info.group == group)
