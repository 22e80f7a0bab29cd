"""Which CLIP gives second opinions, on which boxes, and how much they count: a small YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.shipped_files import shipped_file
from semlt3d_ros.semantics.fusion import Fusion

KIND = "second_opinion"
"""Folder of the shipped ones under ``config``."""


@dataclass(frozen=True)
class Fitted(Checked):
    """What a fusion was fitted on.

    Attributes:
        checkpoint: the detector's version.
        clip: identity of the CLIP.
        boxes, hits: how many (box, class) pairs, and how many of them were right.
    """

    TITLE: ClassVar[str] = "fitted"

    checkpoint: str = ""
    clip: str = ""
    boxes: int = 0
    hits: int = 0


@dataclass(frozen=True)
class OpinionSettings(Checked):
    """Second opinions.

    Attributes:
        model, pretrained: the CLIP, as ``ClipEncoder.load`` takes it.
        crops: most boxes of a set that are looked at.
        image_width: images that crops are cut from are at least so wide, in pixels, where the camera's are.
        least_pixels: least width and height of what a crop shows of its box; smaller ones say nothing.
        values: what it is worth to know a class, by name; 1 for those that are not listed. Rare ones are worth more.
        least_ambiguity: boxes that are less ambiguous (``fusion.ambiguity``) are not looked at.
        fusion: how opinions count.
        fitted: what that was fitted on; empty where it was not.
    """

    TITLE: ClassVar[str] = "second opinion"
    CHECKS: ClassVar[Checks] = (
        *positive("crops", "image_width"),
        *not_negative("least_pixels", "least_ambiguity"),
        rule(lambda s: all(value >= 0 for value in s.values.values()), "values must not be negative"),
    )

    model: str = "tiny"
    pretrained: str | None = None
    crops: int = 12
    image_width: int = 800
    least_pixels: float = 3.0
    values: dict[str, float] = field(default_factory=dict)
    least_ambiguity: float = 0.0
    fusion: Fusion = field(default_factory=Fusion)
    fitted: Fitted = field(default_factory=Fitted)

    def check_fit(self, clip: str, trained: Sequence[str], version: str) -> None:
        """Refuse a fit of another CLIP or of other classes; another checkpoint of the same classes will do.

        Args:
            clip: identity of the CLIP at hand.
            trained: the classes of the checkpoint.
            version: of the checkpoint, for the message.

        Raises:
            ConfigurationError: the fusion was fitted for something else.
        """
        remedy = "fit it anew with 'semlt3d opinion', or leave its fusion and fitted out"
        if self.fitted.clip and self.fitted.clip != clip:
            raise ConfigurationError(
                f"second opinion: fitted for CLIP '{self.fitted.clip}', this is '{clip}'; {remedy}"
            )
        listed = self.fusion.weights.keys()
        if listed and listed != set(trained):
            odd = sorted(listed ^ set(trained))
            raise ConfigurationError(
                f"second opinion: fitted for {self.fitted.checkpoint or 'other classes'}, but the classes of {version} "
                f"are others ({', '.join(odd[:5])}{', ...' if len(odd) > 5 else ''}); {remedy}"
            )


def load_opinion_settings(path_or_name: Path | str) -> OpinionSettings:
    """Read a file, or the one of that name that comes with the package (``tiny``).

    Raises:
        ConfigurationError: there is none, it is no YAML, or entries do not fit; all are named.
    """
    from semlt3d_ros.core.config import load

    return load(OpinionSettings, shipped_file(KIND, path_or_name), "second opinion")
