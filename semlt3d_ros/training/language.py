"""The language side of training: anchors of the classes, and what CLIP sees in the image regions of objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from semlt3d_ros.core.crops import crop_region
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.regions import LEAST_SHOWN_PX, Region, best_regions
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.datasets.shards import FrameRegions
from semlt3d_ros.losses.targets import SeenRegions
from semlt3d_ros.semantics.anchors import make_anchors
from semlt3d_ros.semantics.clip import ClipEncoder
from semlt3d_ros.semantics.prompts import DEFAULT_TEMPLATES
from semlt3d_ros.semantics.regions import RegionEmbedder
from semlt3d_ros.training.recipe import Recipe

_WARMER = 1.5
"""The temperature of distillation over the CLIP's own."""
LEAST_CUT_PX = 8.0
"""Width and height of what is cut out of images; stored regions of labels are sharper, and may be of less."""


def regions_of(frame: Frame, min_visible_pixels: int, min_pixels: float) -> dict[int, Region]:
    """Regions of a frame's labels in the views that show them best, by number of the label.

    Args:
        frame: with labels; one without has no regions.
        min_visible_pixels: labels known to cover fewer pixels, since they are small or hidden, have none.
        min_pixels: least width and height of what is shown of a box.
    """
    if frame.labels is None:
        return {}
    visible = frame.labels.visible_pixels
    chosen = np.flatnonzero((visible < 0) | (visible >= min_visible_pixels))
    cameras = [(view.camera, view.T_ego_camera) for view in frame.views]
    found = best_regions(frame.labels.boxes[chosen], cameras, min_pixels=min_pixels)
    return {int(label): region for label, region in zip(chosen, found, strict=True) if region is not None}


class Semantics:
    """Anchors and region embeddings of one CLIP.

    Args:
        recipe: says which CLIP; its student says for which classes and of which dimension.
        cache: folder for region embeddings, found again by content.

    Attributes:
        anchors: of the student's classes.
        temperature: at which distributions over classes are distilled.

    Raises:
        ConfigurationError: the CLIP cannot be loaded, or its dimension is not the student's ``language_width``.
    """

    def __init__(self, recipe: Recipe, cache: Path) -> None:
        language, student = recipe.language, recipe.student
        encoder = ClipEncoder.load(language.model, language.pretrained)
        templates = language.templates or DEFAULT_TEMPLATES
        self.anchors: LanguageAnchors = make_anchors(
            encoder, student.class_names, templates, words=recipe.class_list.words()
        )
        if self.anchors.dimension != student.language_width:
            raise ConfigurationError(
                f"recipe '{recipe.name}': language model '{language.model}' has dimension {self.anchors.dimension}, "
                f"the student's language_width is {student.language_width}; make them equal"
            )
        self._embedder, self._language = RegionEmbedder(encoder, cache), language
        self._size = encoder.image_size  # smaller crops would be blurred by what enlarges them for the CLIP
        self.temperature = recipe.loss_weights.temperature or _WARMER / encoder.logit_scale
        self._known: dict[int, SeenRegions] = {}

    def describe(self) -> dict[str, Any]:
        """For a checkpoint's header: which CLIP the anchors are from, and the prompts they were made of."""
        return {"source": self.anchors.source, "prompts": list(self.anchors.prompts)}

    def seen(self, index: int, frames: Frames) -> SeenRegions:
        """What the CLIP sees of the labels of frame ``index``; it is remembered."""
        if index not in self._known:
            self._known[index] = self._look(frames.frame(index), frames.regions(index))
        return self._known[index]

    def nothing(self, frame: Frame) -> SeenRegions:
        """What is seen of the labels of a frame whose regions nobody has."""
        count = 0 if frame.labels is None else len(frame.labels.boxes)
        return SeenRegions(np.full((count, self.anchors.dimension), np.nan, np.float32), np.zeros(count, np.int64))

    def _look(self, frame: Frame, stored: FrameRegions) -> SeenRegions:
        cut = self._language.crop_images and not len(stored.labels)
        least = LEAST_CUT_PX if cut else LEAST_SHOWN_PX
        found = regions_of(frame, self._language.min_visible_pixels, least)
        if cut:
            images = [view.image for view in frame.views]
            crops = {label: crop_region(images[r.view], r.window, self._size) for label, r in found.items()}
        else:
            crops = {label: crop for label, crop in zip(stored.labels, stored.crops, strict=True) if label in found}
        seen = self.nothing(frame)
        if crops:
            labels = list(crops)
            seen.embeddings[labels] = self._embedder.embed(np.stack(list(crops.values())))
            seen.views[labels] = [found[label].view for label in labels]
        return seen
