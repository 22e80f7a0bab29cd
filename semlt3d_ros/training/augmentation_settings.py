"""What training varies; for recipes, which are read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from semlt3d_ros.core.checks import Check, Checked, Checks, not_negative, rule, share
from semlt3d_ros.corruptions.benchmarks import unknown_corruptions


def factors(name: str) -> Check:
    """That an entry is the smallest and the largest factor of something."""
    return rule(
        lambda values: 0.5 <= getattr(values, name)[0] <= getattr(values, name)[1] <= 2.0,
        f"{name} must be the smallest and the largest factor, in [0.5, 2], not {{0.{name}}}",
    )


@dataclass(frozen=True)
class Augmentation(Checked):
    """What is varied in training: chances and strengths; see ``training.augmentation``.

    Attributes:
        mirror: chance to mirror the whole rig and its world left to right.
        rotate: turn the ego axes about the vertical by any angle, so that no direction is special; a number limits the
            turn to so many degrees either way.
        scale: smallest and largest factor by which the world grows, cameras and all: its images stay the same.
        zoom: smallest and largest factor by which each image is enlarged before it is cut to its size anew, anywhere.
        roll_deg: largest turn of each image in its plane, either way, as of a camera turned about its axis.
        grid_mask: chance to hide an image behind a grid of squares.
        brightness, contrast, tint: largest relative change, per rig, per rig and per colour channel.
        blur: chance to soften an image, as scaled-down camera images are softer than rendered ones.
        noise: largest pixel noise in grey levels, uniform.
        drop_camera: chance that one camera of a frame goes missing.
        corrupt: chance that the images of a clip are corrupted, by one of ``corruptions`` in one of its severities.
        corruptions: names of corruptions (``docs/robustness.md``), or ``robobev``, ``dong`` or ``all``.
    """

    TITLE: ClassVar[str] = "augmentation"
    CHECKS: ClassVar[Checks] = (
        *share("mirror", "grid_mask", "brightness", "contrast", "tint", "blur", "drop_camera", "corrupt"),
        *not_negative("rotate", "roll_deg", "noise"),
        *(factors(name) for name in ("scale", "zoom")),
        lambda a: unknown_corruptions(a.corruptions),
        rule(lambda a: a.corruptions or not a.corrupt, "corruptions must name some of which corrupt draws"),
    )

    mirror: float = 0.5
    rotate: bool | float = True
    scale: tuple[float, float] = (1.0, 1.0)
    zoom: tuple[float, float] = (1.0, 1.0)
    roll_deg: float = 0.0
    grid_mask: float = 0.0
    brightness: float = 0.3
    contrast: float = 0.3
    tint: float = 0.08
    blur: float = 0.3
    noise: float = 10.0
    drop_camera: float = 0.05
    corrupt: float = 0.0
    corruptions: tuple[str, ...] = ("robobev",)
