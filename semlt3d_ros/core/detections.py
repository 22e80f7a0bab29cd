"""What the detector says about one frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.taxonomy import CLASS_NAMES, class_list_of


@lru_cache(maxsize=64)
def groups_of(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """The frequency group of each class, as far as it is known by its name; empty where it is not."""
    usable = tuple(name for name in dict.fromkeys(class_names) if name.strip() == name != "")
    return tuple(map(class_list_of(usable).group_of, class_names)) if usable else ("",) * len(class_names)


@dataclass
class Detections:
    """Detections of one frame, best first, in the ego frame (``base_link``) at ``stamp``.

    Attributes:
        stamp: integer nanoseconds, equal to the frame's.
        boxes: N boxes.
        confidences: (N, C) float32 per-class confidences in [0, 1]; they need not sum to one (sigmoid).
        class_names: the C names.
        expert_weights: (N, M) float32 share of each expert of the last layer; M = 0 without a mixture of experts.
        depth_uncertainty: (N,) float32 predicted standard deviation of the range in metres; NaN where unknown.
        cameras: names of the cameras that were seen.
        missing: names of the cameras that were masked.
        model_version: checkpoint identity, ``"<name>@<hash>"``.
        class_groups: the C frequency groups, empty where a class is in none; what is known by the names unless given.
        classifier_confidences: (N, C) float32 the detector's own confidences, where a second opinion is in
            ``confidences``; (N, 0) without one.
        second_opinion: (N, C) float32 the share in [0, 1] that the second opinion gave each class, 1 in all; nothing
            but 0 for a box that it was not asked about; (N, 0) without one.
    """

    stamp: int
    boxes: Boxes3D
    confidences: NDArray[np.float32]
    class_names: tuple[str, ...] = CLASS_NAMES
    expert_weights: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    depth_uncertainty: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    cameras: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    model_version: str = ""
    class_groups: tuple[str, ...] = ()
    classifier_confidences: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    second_opinion: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __post_init__(self) -> None:
        count = len(self.boxes)
        if len(self.class_groups) != len(self.class_names):
            self.class_groups = groups_of(self.class_names)
        self.confidences = np.asarray(self.confidences, np.float32).reshape(count, len(self.class_names))
        for name in ("expert_weights", "classifier_confidences", "second_opinion"):
            if len(getattr(self, name)) == 0:
                setattr(self, name, np.zeros((count, 0), np.float32))
        if len(self.depth_uncertainty) == 0:
            self.depth_uncertainty = np.full(count, np.nan, np.float32)
        for name in ("expert_weights", "depth_uncertainty", "classifier_confidences", "second_opinion"):
            if len(getattr(self, name)) != count:
                raise ValueError(f"Detections.{name} has {len(getattr(self, name))} rows for {count} boxes")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, mask: NDArray) -> Detections:
        """The detections chosen by an integer array or a boolean mask."""
        index = np.arange(len(self))[mask]
        return replace(
            self,
            boxes=self.boxes[index],
            confidences=self.confidences[index],
            expert_weights=self.expert_weights[index],
            depth_uncertainty=self.depth_uncertainty[index],
            classifier_confidences=self.classifier_confidences[index],
            second_opinion=self.second_opinion[index],
        )

    @property
    def class_ids(self) -> NDArray[np.int64]:
        """(N,) index of each box's most confident class."""
        return self.confidences.argmax(axis=1) if len(self) else np.zeros(0, np.int64)

    @property
    def scores(self) -> NDArray[np.float32]:
        """(N,) confidence of each box's most confident class."""
        return self.confidences.max(axis=1) if len(self) else np.zeros(0, np.float32)
