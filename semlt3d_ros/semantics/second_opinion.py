"""A second opinion on detections: a CLIP names what ambiguous boxes show in the whole images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.crops import crop_region
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.regions import best_regions
from semlt3d_ros.semantics.anchors import make_anchors
from semlt3d_ros.semantics.clip import ClipEncoder
from semlt3d_ros.semantics.fusion import ambiguity
from semlt3d_ros.semantics.opinion_settings import OpinionSettings

_NONE = 1e-9
_MOST_SAMPLES = 2
"""Each way for a pixel of a crop, each from four pixels: more look no different and take longer."""
"""Less ambiguous than this is a box without any confidence."""


@dataclass(frozen=True)
class Look:
    """What a CLIP saw in some of the boxes of a frame.

    Attributes:
        rows: (R,) numbers of the boxes.
        cosines: (R, K) of their crops with the K names.
    """

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]


class SecondOpinion:
    """Names ambiguous boxes and fuses that with the classifier's confidences.

    Args:
        encoder: the CLIP.
        settings: which boxes, and how much it counts.
        class_names: of the checkpoint.
        version: of the checkpoint.
        words: what to call some of the classes.

    Attributes:
        settings: as given.
        identity: of the CLIP.
        asked: boxes looked at so far.

    Raises:
        ConfigurationError: the settings were fitted for another CLIP or other classes, or no prompts can be made of the
            names.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        settings: OpinionSettings,
        class_names: Sequence[str],
        version: str = "",
        words: Mapping[str, str] | None = None,
    ) -> None:
        settings.check_fit(encoder.identity, class_names, version)
        self._encoder, self.settings, self.identity = encoder, settings, encoder.identity
        self._trained = self._anchors = make_anchors(encoder, tuple(class_names), words=words)
        self.asked = 0

    def named(self, vocabulary: LanguageAnchors | None) -> LanguageAnchors:
        """The anchors of the checkpoint's classes, those of a vocabulary in their place or behind them.

        Anchors of this very CLIP are taken as they are; of those of another one, the prompts are asked for.

        Raises:
            ConfigurationError: a prompt cannot be read.
        """
        if vocabulary is None:
            return self._trained
        rows = vocabulary.embeddings
        if vocabulary.source != self.identity:
            rows = self._embedded(vocabulary)
        known = dict(zip(self._trained.names, self._trained.embeddings, strict=True))
        known.update(zip(vocabulary.names, rows, strict=True))
        return LanguageAnchors(tuple(known), np.stack([*known.values()]), (), self.identity)

    def use(self, anchors: LanguageAnchors) -> None:
        """Name boxes by other anchors, as ``named`` gave them, from the next frame on."""
        self._anchors = anchors

    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        """The detections with a second opinion in their confidences, best first; the classifier's own stay beside.

        Boxes that were not looked at keep their confidences. Detections of other classes than those asked for, as just
        after these have changed, come back as they are.

        Args:
            frame: what the detections are of.
            detections: with calibrated confidences, best first.
        """
        anchors = self._anchors
        if detections.class_names != anchors.names:
            return detections
        own = detections.confidences
        confidences, opinion = own.copy(), np.zeros_like(own)
        look = self.look(frame, detections, self.ambiguous(detections), anchors)
        if len(look.rows):
            fusion = self.settings.fusion
            shares = fusion.shares(look.cosines, self._encoder.logit_scale)
            confidences[look.rows] = fusion(own[look.rows], shares, anchors.names)
            opinion[look.rows] = np.exp(shares)
        fused = replace(detections, confidences=confidences, classifier_confidences=own, second_opinion=opinion)
        return fused[np.argsort(-fused.scores, kind="stable")]

    def ambiguous(self, detections: Detections) -> NDArray[np.int64]:
        """(R,) numbers of the boxes to look at, the most ambiguous first."""
        values = np.array([self.settings.values.get(name, 1.0) for name in detections.class_names])
        doubt = ambiguity(detections.confidences, values)
        order = np.argsort(-doubt, kind="stable")[: self.settings.crops]
        return order[doubt[order] >= max(self.settings.least_ambiguity, _NONE)]

    def look(
        self, frame: Frame, detections: Detections, rows: NDArray[np.int64], anchors: LanguageAnchors | None = None
    ) -> Look:
        """Look at some of the boxes; those that no camera shows well enough are left out.

        Args:
            frame: with the images.
            detections: all of its boxes.
            rows: (R,) which of them.
            anchors: the names to compare with; those in use unless given.
        """
        images = [view.image if view.whole is None else view.whole.image for view in frame.views]
        cameras = [
            (view.camera if view.whole is None else view.whole.camera, view.T_ego_camera) for view in frame.views
        ]
        regions = best_regions(detections.boxes[rows], cameras, min_pixels=self.settings.least_pixels)
        seen = [(row, region) for row, region in zip(rows, regions, strict=True) if region is not None]
        anchors = anchors or self._anchors
        if not seen:
            return Look(np.zeros(0, np.int64), np.zeros((0, len(anchors)), np.float32))
        size = self._encoder.image_size
        crops = np.stack([crop_region(images[region.view], region.window, size, _MOST_SAMPLES) for _, region in seen])
        self.asked += len(crops)
        cosines = anchors.similarity(self._encoder.encode_crops(crops))
        usable = np.isfinite(cosines).all(axis=1)
        return Look(np.array([row for row, _ in seen], np.int64)[usable], cosines[usable])

    def _embedded(self, vocabulary: LanguageAnchors) -> NDArray[np.float32]:
        """What this CLIP makes of the names of a vocabulary, by its prompts where it has some."""
        if not vocabulary.prompts:
            return make_anchors(self._encoder, vocabulary.names).embeddings
        return (
            self._encoder.encode_text(vocabulary.prompts).reshape(len(vocabulary), -1, self._encoder.dimension).mean(1)
        )
