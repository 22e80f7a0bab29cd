"""Class confidences of the best boxes of a frame, as a page of text."""

from __future__ import annotations

import numpy as np

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.viewing.style import best_detections

_BOXES = 12
_CLASSES = 3
_BAR_LENGTH = 10


def confidence_page(frame: Frame, detections: Detections | None, score_threshold: float) -> str:
    """Markdown: one row for each of the best boxes, with its distance and its most confident classes as bars."""
    missing = [f"missing: {', '.join(frame.missing)}"] if frame.missing else []
    if detections is None:
        return "\n\n".join(["no detections for this frame", *missing])
    order = best_detections(detections, score_threshold)
    summary = [f"{len(order)} boxes at {score_threshold:.2f} or above", *missing]
    if len(order) == 0:
        return "\n\n".join(summary)
    lines = ["", "| distance | classes |", "|---:|---|"]
    for index in order[:_BOXES]:
        distance = float(np.linalg.norm(detections.boxes.centers[index, :2]))
        confidences = detections.confidences[index]
        best = np.argsort(-confidences, kind="stable")[:_CLASSES]
        cells = [f"{_bar(confidences[i])} {detections.class_names[i]} {confidences[i]:.2f}" for i in best]
        lines.append(f"| {distance:.1f} m | {', '.join(cells)} |")
    return "\n".join(["\n\n".join(summary), *lines])


def _bar(share: float) -> str:
    return "█" * max(1, round(_BAR_LENGTH * float(share)))
