"""Label maps: what the names of one class list are called in another. What has no name there is ignored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from semlt3d_ros.core.checks import Checked, Checks, rule
from semlt3d_ros.core.classes import ClassList
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.shipped_files import shipped_file, shipped_files


@dataclass(frozen=True)
class LabelMap(Checked):
    """From the labels of a data set to the classes of a list.

    A label that leads nowhere marks something that is neither one of the classes nor background: training and
    evaluation ignore what lies there.

    Attributes:
        source: whose labels, such as ``nuscenes_categories``.
        target: name of the class list.
        classes: label to class.
        ignored: labels that no class fits.
    """

    TITLE: ClassVar[str] = "label map"
    CHECKS: ClassVar[Checks] = (
        rule(lambda labels: labels.classes, "classes must not be empty"),
        rule(
            lambda labels: not set(labels.classes) & set(labels.ignored),
            "a label is both among classes and ignored",
        ),
    )

    source: str
    target: str
    classes: dict[str, str]
    ignored: tuple[str, ...] = field(default=())

    @property
    def labels(self) -> set[str]:
        """All labels that it knows."""
        return {*self.classes, *self.ignored}

    def unnamed(self, labels: Iterable[str]) -> str:
        """What to tell of labels that it does not know, which are ignored as well; empty if it knows them all."""
        unknown = [label for label in labels if label not in self.labels]
        if not unknown:
            return ""
        return (
            f"the label map '{self.source}' to '{self.target}' does not name the labels {', '.join(unknown)} of the "
            "ground truth; what has them is ignored"
        )

    def columns(self, labels: Iterable[str], target: ClassList) -> tuple[int, ...]:
        """The class of each label in a list, ``ABSENT`` for what is to be ignored."""
        return target.columns_from(self.classes.get(label, "") for label in labels)


def load_label_map(path_or_name: Path | str) -> LabelMap:
    """A label map from a YAML file, or one of those that come with the package by its name.

    Raises:
        ConfigurationError: there is none, or its entries do not fit; all faults are named.
    """
    from semlt3d_ros.core.config import load

    return load(LabelMap, shipped_file("label_maps", path_or_name), "label map")


def columns_for(labels: Sequence[str], target: ClassList, label_map: LabelMap | None = None) -> tuple[int, ...]:
    """The class of each label in a list, ``ABSENT`` for what is to be ignored.

    Args:
        labels: the class names that some ground truth is given in.
        target: the detector's classes.
        label_map: how to get there. None takes labels that are classes themselves for what they say; where there are
            others, the shipped map that knows them all and leads to the most classes of the list.

    Raises:
        ConfigurationError: no label leads to a class, or the label map is one to this list and leads to a class that is
            not in it; names the remedy.
    """
    if label_map is not None and label_map.target == target.name:
        unknown = [name for name in dict.fromkeys(label_map.classes.values()) if name not in target.names]
        if unknown:
            raise ConfigurationError(
                f"the label map '{label_map.source}' to '{label_map.target}' leads to {', '.join(unknown)}, but the "
                f"classes of '{target.name}' are {', '.join(target.names)}; correct the names in one of them"
            )
    if label_map is None and not set(labels) <= set(target.names):
        label_map = _shipped_map(set(labels), target)
    columns = target.columns_from(labels) if label_map is None else label_map.columns(labels, target)
    if labels and all(column < 0 for column in columns):
        how = f"by the label map '{label_map.source}' to '{label_map.target}'" if label_map else "as they are"
        raise ConfigurationError(
            f"none of the labels {', '.join(labels)} is, {how}, a class of '{target.name}' "
            f"({', '.join(target.names)}); give a label map"
        )
    return columns


def _shipped_map(labels: set[str], target: ClassList) -> LabelMap | None:
    """The map to take for labels that are not all classes; None where their own names say more."""
    best, most = None, len(labels & set(target.names))
    for each in _all_shipped().values():
        reached = {each.classes[label] for label in labels & set(each.classes)} & set(target.names)
        if labels <= each.labels and len(reached) > most:
            best, most = each, len(reached)
    return best


def _all_shipped() -> Mapping[str, LabelMap]:
    return {name: load_label_map(path) for name, path in shipped_files("label_maps").items()}
