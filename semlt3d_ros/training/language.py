"""The language side of training: anchors of the classes, and what CLIP sees in the image regions of objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.regions import best_regions, crop_region
from semlt3d_ros.data.shards import FrameRegions
from semlt3d_ros.semantics.anchors import make_anchors
from semlt3d_ros.semantics.clip import ClipEncoder
from semlt3d_ros.semantics.prompts import DEFAULT_TEMPLATES
from semlt3d_ros.semantics.regions import RegionEmbedder
from semlt3d_ros.training.recipe import Recipe

_REGION_SIZE = 64
_LEAST_SHOWN_PX = 8.0


def cut_regions(frame: Frame) -> FrameRegions:
    """Regions of a frame's labelled objects, cut out of the view that shows each best; none of hidden or tiny ones."""
    found, crops = [], []
    if frame.labels is not None and frame.views:
        cameras = [(view.camera, view.T_ego_camera) for view in frame.views]
        boxes, visible = frame.labels.boxes, frame.labels.visible_pixels != 0
        for label, region in enumerate(best_regions(boxes, cameras, min_pixels=_LEAST_SHOWN_PX)):
            if region is not None and visible[label]:
                found.append(label)
                crops.append(crop_region(frame.views[region.view].image, region.window, _REGION_SIZE))
    stacked = np.stack(crops) if crops else np.zeros((0, _REGION_SIZE, _REGION_SIZE, 3), np.uint8)
    return FrameRegions(stacked, np.array(found, np.int64))


class Semantics:
    """Anchors and region embeddings of one CLIP.

    Args:
        recipe: says which CLIP; its student says for which classes and of which dimension.
        cache: folder for region embeddings, found again by content.

    Raises:
        ConfigurationError: the CLIP cannot be loaded, or its dimension is not the student's ``language_width``.
    """

    def __init__(self, recipe: Recipe, cache: Path) -> None:
        language, student = recipe.language, recipe.student
        encoder = ClipEncoder.load(language.model, language.pretrained)
        templates = language.templates or DEFAULT_TEMPLATES
        self.anchors: LanguageAnchors = make_anchors(encoder, student.class_names, templates)
        if self.anchors.dimension != student.language_width:
            raise ConfigurationError(
                f"recipe '{recipe.name}': language model '{language.model}' has dimension {self.anchors.dimension}, "
                f"the student's language_width is {student.language_width}; make them equal"
            )
        self._embedder, self._crop_images = RegionEmbedder(encoder, cache), language.crop_images
        self._known: dict[int, NDArray[np.float32]] = {}

    def describe(self) -> dict[str, Any]:
        """For a checkpoint's header: which CLIP the anchors are from, and the prompts they were made of."""
        return {"source": self.anchors.source, "prompts": list(self.anchors.prompts)}

    def embeddings(self, index: int, frame: Frame, regions: Callable[[int], FrameRegions]) -> NDArray[np.float32]:
        """(labels, d) embeddings of the regions of a frame's labels; NaN rows where there is no region.

        Args:
            index: number of the frame; what was embedded for it is remembered.
            frame: the frame.
            regions: gives the regions that are stored with a frame.
        """
        if index not in self._known:
            count = 0 if frame.labels is None else len(frame.labels.boxes)
            rows = np.full((count, self.anchors.dimension), np.nan, np.float32)
            found = regions(index)
            if self._crop_images and not len(found.labels):
                found = cut_regions(frame)
            if len(found.labels):
                rows[found.labels] = self._embedder.embed(found.crops)
            self._known[index] = rows
        return self._known[index]
