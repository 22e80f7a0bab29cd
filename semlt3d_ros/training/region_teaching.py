"""What a CLIP sees in image regions of training frames: those of the labels, and of what a student detects."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from semlt3d_ros.checkpoints.shipped import chosen_student
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.crops import crop_region
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.kept_arrays import KeptArrays
from semlt3d_ros.core.regions import LEAST_SHOWN_PX, Region, best_regions
from semlt3d_ros.datasets.shards import FrameRegions
from semlt3d_ros.distillation.settings import Regions
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.losses.signal import RegionSignal
from semlt3d_ros.semantics.anchors import make_anchors
from semlt3d_ros.semantics.clip import ClipEncoder
from semlt3d_ros.semantics.prompts import DEFAULT_TEMPLATES
from semlt3d_ros.training.frames import image_spec_of
from semlt3d_ros.training.language import LEAST_CUT_PX, regions_of
from semlt3d_ros.training.recipe import Recipe

_SAME_M = 1.0
"""A detection so near a label is of the same object, of which the label's region is the better one."""
_KEYS = ("boxes", "embeddings", "views")


@dataclass
class SeenBoxes:
    """What is seen in the regions of a frame.

    Attributes:
        boxes: (R, 9) float32 x y z l w h yaw vx vy in the ego frame.
        embeddings: (R, d) float32 of unit length.
        views: (R,) int64.
    """

    boxes: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    views: NDArray[np.int64]


class RegionTeaching:
    """A CLIP that looks at regions of training frames; what it has seen is kept on disk.

    Args:
        settings: which regions.
        recipe: names the CLIP; its student's images are looked at.
        limit_bytes: how much is kept.

    Attributes:
        width: of the CLIP's space.

    Raises:
        ConfigurationError: the CLIP or the student that detects cannot be used.
    """

    def __init__(self, settings: Regions, recipe: Recipe, limit_bytes: float) -> None:
        self._settings, self._least = settings, recipe.language.min_visible_pixels
        self._clip = ClipEncoder.load(recipe.language.model, recipe.language.pretrained)
        self.width = self._clip.dimension
        templates = recipe.language.templates or DEFAULT_TEMPLATES
        anchors = make_anchors(self._clip, recipe.student.class_names, templates, words=recipe.class_list.words())
        self._anchors = torch.from_numpy(anchors.embeddings)
        language_width = recipe.student.language_width
        if language_width and language_width != self.width:
            raise ConfigurationError(
                f"recipe '{recipe.name}': language model '{recipe.language.model}' has dimension {self.width}, the "
                f"student's language_width is {language_width}; make them equal"
            )
        student = chosen_student(settings.student)
        self._detector = None if student is None else _detector_of(student, recipe)
        looker = "" if self._detector is None else f"{self._detector.model_version} {settings.score} {settings.most}"
        maker = f"regions {self._clip.identity} {looker} {self._least}"
        self._kept = KeptArrays(recipe.data_folder / "regions", maker, limit_bytes)

    def seen(self, frame: Frame, stored: FrameRegions) -> SeenBoxes:
        """What is seen in a frame as it was recorded; ``stored`` are regions of its labels that were kept with it."""
        digest = hashlib.blake2b(digest_size=20)
        for view in frame.views:
            digest.update(np.ascontiguousarray(view.image).data)
        labels = frame.labels
        digest.update(b"" if labels is None else np.ascontiguousarray(labels.boxes.centers).data)
        name = digest.hexdigest()
        known = self._kept.read(name, _KEYS)
        if known is None:
            known = vars(self._look(frame, stored))
            self._kept.keep(name, known)
        return SeenBoxes(*(known[key] for key in _KEYS))

    def signal(self, seen: Sequence[SeenBoxes]) -> RegionSignal:
        """What is seen in the frames of a batch."""
        most = max((len(each.boxes) for each in seen), default=0)
        boxes = torch.zeros(len(seen), most, 9)
        embeddings = torch.full((len(seen), most, self.width), torch.nan)
        views = torch.zeros(len(seen), most, dtype=torch.int64)
        for row, each in enumerate(seen):
            count = len(each.boxes)
            boxes[row, :count] = torch.from_numpy(each.boxes)
            embeddings[row, :count] = torch.from_numpy(each.embeddings)
            views[row, :count] = torch.from_numpy(each.views)
        likest = (embeddings.nan_to_num() @ self._anchors.T).argmax(-1)
        return RegionSignal(boxes, embeddings, views, likest, self._clip.logit_scale)

    def _look(self, frame: Frame, stored: FrameRegions) -> SeenBoxes:
        found = _of_labels(frame, stored, self._least, self._clip.image_size)
        if self._detector is not None:
            self._detector.reset()
            detections = self._detector.detect(frame)
            sure = np.flatnonzero(detections.scores >= self._settings.score)
            sure = sure[np.argsort(-detections.scores[sure], kind="stable")][: self._settings.most]
            others = detections.boxes[sure]
            if frame.labels is not None and len(frame.labels.boxes):
                labelled = frame.labels.boxes.centers[None, :, :2]
                away = np.linalg.norm(others.centers[:, None, :2] - labelled, axis=-1).min(axis=1)
                others = others[away > _SAME_M]
            found += _of_boxes(frame, others, self._clip.image_size)
        boxes = np.array([row for row, _, _ in found], np.float32).reshape(-1, 9)
        views = np.array([view for _, view, _ in found], np.int64)
        return SeenBoxes(boxes, self._clip.encode_images([crop for _, _, crop in found]), views)


_Cut = tuple[NDArray[np.float64], int, NDArray[np.uint8]]
"""A box x y z l w h yaw vx vy, the view that shows it, and the crop of that."""


def _of_labels(frame: Frame, stored: FrameRegions, min_visible_pixels: int, size: int) -> list[_Cut]:
    """The regions of labels: as they were kept with the frame, or cut out of its images."""
    if frame.labels is None:
        return []
    regions = regions_of(frame, min_visible_pixels, LEAST_SHOWN_PX if len(stored.labels) else LEAST_CUT_PX)
    rows = _rows(frame.labels.boxes)
    if len(stored.labels):
        kept = dict(zip(stored.labels.tolist(), stored.crops, strict=True))
        return [(rows[each], region.view, kept[each]) for each, region in regions.items() if each in kept]
    return [(rows[each], region.view, _cut(frame, region, size)) for each, region in regions.items()]


def _of_boxes(frame: Frame, boxes: Boxes3D, size: int) -> list[_Cut]:
    cameras = [(view.camera, view.T_ego_camera) for view in frame.views]
    found = best_regions(boxes, cameras, min_pixels=LEAST_CUT_PX)
    shown = [(row, region) for row, region in zip(_rows(boxes), found, strict=True) if region is not None]
    return [(row, region.view, _cut(frame, region, size)) for row, region in shown]


def _cut(frame: Frame, region: Region, size: int) -> NDArray[np.uint8]:
    return crop_region(frame.views[region.view].image, region.window, size)


def _rows(boxes: Boxes3D) -> NDArray[np.float64]:
    return np.concatenate([boxes.centers, boxes.sizes, boxes.yaw[:, None], boxes.velocity], axis=1)


def _detector_of(path: Path, recipe: Recipe) -> Detector:
    detector = Detector.load(path)
    wanted = image_spec_of(recipe.student)
    if detector.image_spec != wanted:
        raise ConfigurationError(
            f"recipe '{recipe.name}': the student '{path}' of distillation.regions takes images of "
            f"{detector.image_spec}, the recipe's those of {wanted}; name another one, or null for labels alone"
        )
    return detector
