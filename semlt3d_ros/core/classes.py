"""Class lists: what a detector tells apart. They are data, read from files and carried by checkpoints and bags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from semlt3d_ros.core.checks import Checked, Checks, positive, rule
from semlt3d_ros.core.shipped_files import shipped_file, shipped_files

Group = Literal["many", "medium", "few", ""]
"""Frequency of a class in the training data; empty where nobody counted."""

GROUPS: tuple[Group, ...] = ("many", "medium", "few")

ABSENT = -1
"""Stands for the index of a class that a list does not have."""

DEFAULT_RANGE_M = 50.0


@dataclass(frozen=True)
class ClassInfo(Checked):
    """One class.

    Attributes:
        name: as in messages.
        superclass: what its mistakes are forgiven for, such as ``vehicle``; its own name where empty.
        range_m: metres from the vehicle within which it is evaluated.
        group: its frequency group.
        words: what to call it in prompts; its name without underscores where empty.
    """

    TITLE: ClassVar[str] = "class '{0.name}'"
    CHECKS: ClassVar[Checks] = (
        rule(lambda info: info.name.strip() == info.name != "", "name must not be empty, nor have space around it"),
        *positive("range_m"),
    )

    name: str
    superclass: str = ""
    range_m: float = DEFAULT_RANGE_M
    group: Group = ""
    words: str = ""

    @property
    def family(self) -> str:
        """Its super-class, or itself where it has none."""
        return self.superclass or self.name


def frequency_groups(classes: Sequence[ClassInfo]) -> dict[str, tuple[int, ...]]:
    """Where the classes of each frequency group stand, of the groups that there are."""
    columns = {group: tuple(place for place, info in enumerate(classes) if info.group == group) for group in GROUPS}
    return {group: places for group, places in columns.items() if places}


@dataclass(frozen=True)
class ClassList(Checked):
    """Classes in the order of a detector's logits.

    Attributes:
        name: of the list, such as ``lt3d``.
        classes: at least one; no name comes twice.
    """

    TITLE: ClassVar[str] = "class list '{0.name}'"
    CHECKS: ClassVar[Checks] = (
        rule(lambda listed: listed.classes, "classes must not be empty"),
        rule(
            lambda listed: len({info.name for info in listed.classes}) == len(listed.classes),
            "a class is given twice",
        ),
    )

    name: str
    classes: tuple[ClassInfo, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(info.name for info in self.classes)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Names to places in the list."""
        return {name: place for place, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.classes)

    def __contains__(self, name: object) -> bool:
        return name in self.index

    def columns_from(self, names: Iterable[str]) -> tuple[int, ...]:
        """This list's index of each name, ``ABSENT`` where it has none."""
        return tuple(self.index.get(name, ABSENT) for name in names)

    def group_of(self, name: str) -> Group:
        """The frequency group of a class; empty for one that is in none, or not of the list."""
        return self.classes[self.index[name]].group if name in self.index else ""

    def of_group(self, group: Group) -> tuple[int, ...]:
        """Indices of the classes in a frequency group."""
        return tuple(place for place, info in enumerate(self.classes) if info.group == group)

    def extended(self, names: Iterable[str]) -> ClassList:
        """The list with those names behind that it does not have yet."""
        added = tuple(ClassInfo(name) for name in dict.fromkeys(names) if name not in self)
        return ClassList(self.name, self.classes + added) if added else self

    def words(self) -> dict[str, str]:
        """What to call those classes that are called otherwise than their names."""
        return {info.name: info.words for info in self.classes if info.words}

    def to_json(self) -> dict[str, Any]:
        """Plain values, which ``class_list_from_json`` reads."""
        return {"name": self.name, "classes": [asdict(info) for info in self.classes]}


def class_list_from_json(values: Any, place: str) -> ClassList:
    """A class list of plain values; ``place`` names them in messages.

    Raises:
        ConfigurationError: entries are unknown, missing or do not fit; all faults are named.
    """
    from semlt3d_ros.core.config import parse

    return parse(ClassList, values, place)


def load_class_list(path_or_name: Path | str) -> ClassList:
    """A class list from a YAML file, or one of those that come with the package by its name, such as ``nuscenes``.

    Raises:
        ConfigurationError: there is none, or its entries do not fit; all faults are named.
    """
    from semlt3d_ros.core.config import load

    return load(ClassList, shipped_file("classes", path_or_name), "class list")


def shipped_list_of(names: Iterable[str]) -> ClassList | None:
    """The list among those that come with the package that has exactly these classes, in any order."""
    wanted = set(names)
    return next((each for each in _all_shipped() if set(each.names) == wanted), None)


@cache
def _all_shipped() -> tuple[ClassList, ...]:
    return tuple(load_class_list(path) for path in shipped_files("classes").values())


def list_of_names(names: Iterable[str], known: ClassList, name: str = "own") -> ClassList:
    """A class list of names alone; what ``known`` knows of them is taken over."""
    infos = (known.classes[known.index[each]] if each in known else ClassInfo(each) for each in names)
    return ClassList(name, tuple(infos))
