"""What a model wants to see of a camera."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageSpec:
    """The image a model takes from every camera.

    Attributes:
        width, height: pixels.
        top_crop: share of the full image's height cut off at the top (sky) before scaling, in [0, 1).
    """

    width: int
    height: int
    top_crop: float = 0.0
