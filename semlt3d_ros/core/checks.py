"""What must hold between the entries of a configuration, so that everything that does not is told at once.

@dataclass(frozen=True)
class Shape(Checked):
    CHECKS: ClassVar[Checks] = (
        *positive("width", "heads"),
        rule(lambda shape: shape.width % shape.heads == 0, "width {0.width} must be a multiple of {0.heads}"),
    )

    width: int = 96
    heads: int = 4
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar, TypeAlias

from semlt3d_ros.core.errors import ConfigurationError

Check: TypeAlias = Callable[[Any], Iterable[str]]
"""Takes a configuration and gives a line for everything that does not hold."""

Checks: TypeAlias = tuple[Check, ...]


class UnfitEntry(Exception):
    """A check asks for an entry whose value was refused already: what the check is about cannot be told."""


class Checked:
    """Base of a dataclass that cannot be made with entries that do not hold together.

    Attributes:
        TITLE: what it is in error messages; ``{0.name}`` stands for its entry ``name``.
        CHECKS: what must hold.

    Raises:
        ConfigurationError: everything that does not hold.
    """

    TITLE: ClassVar[str] = "configuration"
    CHECKS: ClassVar[Checks] = ()

    @classmethod
    def in_full(cls, values: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """The entries of a file under the names they have here, where it may say the same more briefly."""
        return values

    def __post_init__(self) -> None:
        faults = faults_of(self)
        if faults:
            raise ConfigurationError(f"{self.TITLE.format(self)}: {'; '.join(faults)}")


def rule(holds: Callable[[Any], bool], words: str) -> Check:
    """A check of one condition.

    Args:
        holds: whether it holds.
        words: what to say where it does not; ``{0.name}`` stands for the value of the entry ``name``.
    """
    return lambda values: () if holds(values) else (words.format(_AsWritten(values)),)


def positive(*names: str) -> Checks:
    """Checks that numbers are above 0."""
    return tuple(_bounds(name, lambda value: value > 0, "be positive") for name in names)


def not_negative(*names: str) -> Checks:
    """Checks that numbers are 0 or more."""
    return tuple(_bounds(name, lambda value: value >= 0, "not be negative") for name in names)


def share(*names: str) -> Checks:
    """Checks that numbers lie in [0, 1]."""
    return tuple(_bounds(name, lambda value: 0 <= value <= 1, "lie in [0, 1]") for name in names)


def usable(parts: Iterable[Any], *names: str) -> Iterator[Any]:
    """The entries ``names`` of several configurations; those that were refused already are left out."""
    for part, name in itertools.product(parts, names):
        with suppress(UnfitEntry):
            yield getattr(part, name)


def faults_of(values: Any) -> list[str]:
    """A line for everything that does not hold; checks that need an entry without a usable value are left out."""
    faults: list[str] = []
    for check in getattr(values, "CHECKS", ()):
        with suppress(UnfitEntry):
            faults.extend(check(values))
    return faults


class _AsWritten:
    """The entries of a configuration as people write them: lists, not tuples."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._values, name)
        return list(value) if isinstance(value, tuple) else value


def _bounds(name: str, holds: Callable[[Any], bool], words: str) -> Check:
    return rule(lambda values: holds(getattr(values, name)), f"{name} must {words}, not {{0.{name}}}")
