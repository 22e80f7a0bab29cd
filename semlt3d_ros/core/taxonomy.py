"""The 18 classes of the LT3D protocol (Peri et al., CoRL 2022), in the order of its development kit.

Ranges are metres from the ego vehicle within which a class is evaluated; the groups follow the class frequency in
nuScenes trainval (Few < 5,000 boxes, Medium < 50,000, Many above).
"""

from __future__ import annotations

from functools import lru_cache

from semlt3d_ros.core.classes import GROUPS, ClassInfo, ClassList, Group, list_of_names, shipped_list_of

__all__ = ["CLASSES", "CLASS_INDEX", "CLASS_NAMES", "GROUPS", "LT3D", "OWN", "class_list_of", "classes_of_group"]

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
    ClassInfo("personal_mobility", "pedestrian", 40.0, "few", "personal mobility device"),
    ClassInfo("pushable_pullable", "movable", 40.0, "medium", "pushable or pullable object"),
    ClassInfo("debris", "movable", 30.0, "few"),
    ClassInfo("traffic_cone", "movable", 30.0, "many"),
    ClassInfo("barrier", "movable", 30.0, "many"),
)

LT3D = ClassList("lt3d", CLASSES)
"""The list that is taken where nothing says otherwise."""

OWN = "own"
"""Name of a list that is put together of names."""

CLASS_NAMES: tuple[str, ...] = tuple(info.name for info in CLASSES)
CLASS_INDEX: dict[str, int] = {name: index for index, name in enumerate(CLASS_NAMES)}


def classes_of_group(group: Group) -> tuple[int, ...]:
    """Indices of the classes in a frequency group."""
    return tuple(index for index, info in enumerate(CLASSES) if info.group == group)


@lru_cache(maxsize=64)
def class_list_of(names: tuple[str, ...]) -> ClassList:
    """What is known of classes by their names alone, in their order.

    That is what a list says that comes with the package and has exactly these names, or else what LT3D's says of some.
    """
    if names == CLASS_NAMES:
        return LT3D
    shipped = None if set(names) <= set(CLASS_NAMES) else shipped_list_of(names)
    return list_of_names(names, shipped or LT3D, shipped.name if shipped else OWN)
