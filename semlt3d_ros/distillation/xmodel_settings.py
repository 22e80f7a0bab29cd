"""How a LiDAR teacher learns from images in training; for recipes, which are read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule, share


@dataclass(frozen=True)
class XModel(Checked):
    """xModel-KD's contrast of points and pixels, after the abstract of Pathmanathan et al. (arXiv 2605.30111).

    Attributes:
        weight: how much the contrast counts.
        temperature: of InfoNCE.
        images: the image encoder: ``shipped`` or the checkpoint of a student, whose backbone it is, or the name of a
            timm model.
        pretrained: a timm model starts from timm's weights, which may be downloaded.
        learn_images: the image encoder learns along; otherwise it is frozen.
        strides: its maps that are looked at, pixels per cell; a pixel's feature is what they say there, joined.
        width: channels in which points and pixels are compared.
        features: what of a teacher is compared: the point head's features, or the trunk's map at the points.
        pairs: at most so many points of a step are compared, at most one in a cell of the finest map.
        alike: pixels whose features are more alike than this (cosine) are not told apart; 1 tells all apart.
        unlabelled: share of a step's frames that have no labels, where the recipe uses labels of a part of the frames.
        image_size, top_crop: images of recordings, width and height, and the share of the rows left out at the top;
            simulated ones are as they were rendered.
    """

    TITLE: ClassVar[str] = "xmodel"
    CHECKS: ClassVar[Checks] = (
        *not_negative("weight"),
        *positive("temperature", "width", "pairs"),
        *share("top_crop"),
        rule(lambda x: x.strides and min(x.strides) > 0, "strides must name at least one map, not {0.strides}"),
        rule(lambda x: 0 < x.alike <= 1, "alike must be above 0 and not above 1, not {0.alike}"),
        rule(lambda x: 0 < x.unlabelled < 1, "unlabelled must be above 0 and below 1, not {0.unlabelled}"),
        rule(lambda x: min(x.image_size) > 0, "image_size must be width and height, not {0.image_size}"),
    )

    weight: float = 0.1
    temperature: float = 0.07
    images: str = "shipped"
    pretrained: bool = False
    learn_images: bool = False
    strides: tuple[int, ...] = (8, 16)
    width: int = 64
    features: Literal["points", "map"] = "points"
    pairs: int = 2048
    alike: float = 1.0
    unlabelled: float = 0.5
    image_size: tuple[int, int] = (224, 128)
    top_crop: float = 0.25
