"""What a user gives in place of what stands in a recipe: recordings, classes, the checkpoint to start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semlt3d_ros.core.errors import ConfigurationError


@dataclass(frozen=True)
class Given:
    """Takes the place of entries of a recipe; what is empty or None leaves them.

    Attributes:
        bags: patterns of recordings, for all sources of the recipe that are recordings.
        validation_bags: patterns of those to calibrate and evaluate on, whole, in place of all validation sources.
        label_map: file or name of the label map of the recordings.
        classes: file or name of the class list.
        checkpoint: what to start from; its images keep their size.
        seed: decides weights, order and augmentation.
        everything: learn from all frames of recordings, so that none are left to calibrate and evaluate on.
    """

    bags: tuple[str, ...] = ()
    validation_bags: tuple[str, ...] = ()
    label_map: str | None = None
    classes: str | None = None
    checkpoint: Path | None = None
    seed: int | None = None
    everything: bool = False

    def applied(self, values: Any, place: str) -> Any:
        """The entries of a recipe with what was given.

        Args:
            values: of the recipe, as YAML gives them.
            place: names the recipe in messages.

        Raises:
            ConfigurationError: something was given for recordings, and the recipe has no source of them.
        """
        if not isinstance(values, Mapping):
            return values  # which is told where it is read
        changed = dict(values)
        for name, value in (("classes", self.classes), ("initial", self.checkpoint), ("seed", self.seed)):
            if value is not None:
                changed[name] = str(value) if isinstance(value, Path) else value
        if self.checkpoint is not None:
            changed.pop("image_size", None)
        if not self._of_recordings:
            return changed
        train, validation = _listed(values.get("train")), _listed(values.get("validation"))
        if not any(map(_is_recorded, train)):
            raise ConfigurationError(
                f"{place} learns from no recordings, which --bags, --validation-bags, --all and --label-map are about; "
                "give one whose train has 'bags', such as config/recipes/finetune.yaml"
            )
        if self.validation_bags or self.everything:
            # What was kept back for validation is not needed for that.
            train = [_whole(source) for source in train]
        if self.validation_bags:
            validation = [{"bags": list(self.validation_bags)}]
        changed["train"] = [self._replaced(source, self.bags) for source in train]
        changed["validation"] = [self._replaced(source, self.validation_bags or self.bags) for source in validation]
        return changed

    @property
    def _of_recordings(self) -> bool:
        return bool(self.bags or self.validation_bags or self.label_map or self.everything)

    def _replaced(self, source: Any, bags: Sequence[str]) -> Any:
        if not _is_recorded(source):
            return source
        new = {"bags": list(bags)} if bags else {}
        return {**source, **new, **({"label_map": self.label_map} if self.label_map else {})}

    def to_json(self) -> dict[str, Any]:
        """What was given, for the header of a checkpoint."""
        given = {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
            if value not in (None, (), False)
        }


def _listed(sources: Any) -> list[Any]:
    """The sources of a recipe, one alone as a list of one; what is no source stays what it is."""
    return list(sources) if isinstance(sources, list | tuple) else [] if sources is None else [sources]


def _is_recorded(source: Any) -> bool:
    return isinstance(source, Mapping) and "bags" in source


def _whole(source: Any) -> Any:
    """A source without ``part``."""
    return {key: value for key, value in source.items() if key != "part"} if _is_recorded(source) else source
