"""What a model wants to see of a camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semlt3d_ros.core.errors import ConfigurationError


@dataclass(frozen=True)
class ImageSpec:
    """The image a model takes from every camera.

    Attributes:
        width, height: pixels.
        top_crop: share of the full image's height cut off at the top (sky) before scaling, in [0, 1).
        resampling: ``area`` as the package's own models are trained; ``bicubic`` as the published ones are: Pillow's
            bicubic scaling until the smaller side fits, the middle of the columns, the lowest rows; ``top_crop`` is
            not used.

    Raises:
        ConfigurationError: values that no image has.
    """

    width: int
    height: int
    top_crop: float = 0.0
    resampling: Literal["area", "bicubic"] = "area"

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or not 0.0 <= self.top_crop < 1.0:
            raise ConfigurationError(
                f"image specification {self.width}x{self.height} with top_crop {self.top_crop}: "
                "sizes must be positive, top_crop in [0, 1)"
            )
