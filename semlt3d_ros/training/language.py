"""The language side of training: anchors of the classes, and what CLIP sees in the image regions of objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.data.shards import FrameRegions
from semlt3d_ros.semantics.anchors import make_anchors
from semlt3d_ros.semantics.clip import ClipEncoder
from semlt3d_ros.semantics.prompts import DEFAULT_TEMPLATES
from semlt3d_ros.semantics.regions import RegionEmbedder
from semlt3d_ros.training.recipe import Recipe


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
        self._embedder = RegionEmbedder(encoder, cache)
        self._known: dict[int, NDArray[np.float32]] = {}

    def describe(self) -> dict[str, Any]:
        """For a checkpoint's header: which CLIP the anchors are from, and the prompts they were made of."""
        return {"source": self.anchors.source, "prompts": list(self.anchors.prompts)}

    def embeddings(
        self, index: int, labels: Labels | None, regions: Callable[[int], FrameRegions]
    ) -> NDArray[np.float32]:
        """(labels, d) embeddings of the regions of frame ``index``'s labels; NaN rows where there is no region."""
        if index not in self._known:
            rows = np.full((0 if labels is None else len(labels.boxes), self.anchors.dimension), np.nan, np.float32)
            found = regions(index)
            if len(found.labels):
                rows[found.labels] = self._embedder.embed(found.crops)
            self._known[index] = rows
        return self._known[index]
