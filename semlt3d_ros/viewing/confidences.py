"""The best boxes of a frame as a page of text: their distances, class confidences and experts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.viewing.style import best_detections

_BOXES = 12
_CLASSES = 3
_BAR_LENGTH = 10
_LEAST_SHARE = 0.01


def confidence_page(frame: Frame, detections: Detections | None, score_threshold: float) -> str:
    """Markdown: one row for each of the best boxes, with its distance and its most confident classes as bars.

    The distance comes with its predicted standard deviation where there is one, and a column tells the experts that had
    a share in the box where the model has experts.
    """
    missing = [f"missing: {', '.join(frame.missing)}"] if frame.missing else []
    if detections is None:
        return "\n\n".join(["no detections for this frame", *missing])
    order = best_detections(detections, score_threshold)
    summary = [f"{len(order)} boxes at {score_threshold:.2f} or above", *missing]
    if len(order) == 0:
        return "\n\n".join(summary)
    experts = detections.expert_weights.shape[1] > 0
    lines = ["", "| distance | classes |" + " experts |" * experts, "|---:|---|" + "---|" * experts]
    for index in order[:_BOXES]:
        distance = float(np.linalg.norm(detections.boxes.centers[index, :2]))
        confidences = detections.confidences[index]
        best = np.argsort(-confidences, kind="stable")[:_CLASSES]
        cells = [f"{_bar(confidences[i])} {detections.class_names[i]} {confidences[i]:.2f}" for i in best]
        spread = float(detections.depth_uncertainty[index])
        reach = f"{distance:.1f} ± {spread:.1f} m" if np.isfinite(spread) else f"{distance:.1f} m"
        shares = f" {_shares(detections.expert_weights[index])} |" if experts else ""
        lines.append(f"| {reach} | {', '.join(cells)} |{shares}")
    return "\n".join(["\n\n".join(summary), *lines])


def _shares(weights: NDArray[np.float32]) -> str:
    taken = [index for index in np.argsort(-weights, kind="stable") if weights[index] >= _LEAST_SHARE]
    return ", ".join(f"{index}: {weights[index]:.2f}" for index in taken)


def _bar(share: float) -> str:
    return "█" * max(1, round(_BAR_LENGTH * float(share)))
