"""Network output to detections."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.rigid import wrap_angle
from semlt3d_ros.inference.vocabulary import Vocabulary
from semlt3d_ros.student.confidence_calibration import Calibration
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import range_scale

_RANKED_DISTANCES_M = (0.5, 1.0, 2.0, 4.0)


def localisation_confidence(scale_m: Tensor) -> Tensor:
    """How probably a radial error with Laplace scale ``scale_m`` (...) stays below 0.5, 1, 2 and 4 m, on average."""
    distances = torch.tensor(_RANKED_DISTANCES_M, device=scale_m.device)
    return (1.0 - (-distances / scale_m[..., None]).exp()).mean(dim=-1)


def class_logits(output: LayerOutput, config: StudentConfig) -> Tensor:
    """(B, Q, C) class logits: those of the classifier, mixed with the language-aligned ones by ``language_share``."""
    logits = output.logits.float()
    return logits if output.aligned is None else torch.lerp(logits, output.aligned.float(), config.language_share)


@torch.no_grad()
def postprocess(
    output: LayerOutput,
    stamps: list[int],
    config: StudentConfig,
    calibration: Calibration | None = None,
    vocabulary: Vocabulary | None = None,
) -> list[Detections]:
    """Boxes, confidences and range uncertainty per frame, best first.

    A class confidence is the class probability times the localisation confidence, so that ranking by it puts the
    better-placed box first. Of two boxes of one class closer than the suppression radius the lesser loses that class.

    Calibration comes last. It changes no order within a class, so suppression would come out the same after it; but
    score floor and box limit compare classes with each other, and would cut those whose honest confidences are low: the
    rare ones. This way which (box, class) pairs are given out, and with it average precision, does not depend on it.

    Args:
        output: of the last decoder layer, for B frames.
        stamps: their B stamps, nanoseconds.
        config: of the student.
        calibration: of all classes given out; None leaves the confidences as they are.
        vocabulary: classes that language adds or replaces; None for the trained ones.
    """
    boxes = output.boxes().float()
    scale_m = output.log_scale.float().clamp(-4.0, 4.0).exp() * range_scale(boxes[..., :3])
    logits, names = class_logits(output, config), config.class_names
    if vocabulary is not None:
        logits, names = vocabulary.extended(logits, output), vocabulary.class_names
    confidences = logits.sigmoid() * localisation_confidence(scale_m)[..., None]
    weights = scale_m.new_zeros(*scale_m.shape, 0) if output.routing is None else output.routing.weights.float()
    tensors = (boxes, confidences, scale_m * 2**0.5, weights)
    results = []
    for *frame, stamp in zip(*(tensor.cpu().numpy() for tensor in tensors), stamps, strict=True):
        rows, scores, sigma, experts = frame
        usable = np.isfinite(rows).all(-1) & np.isfinite(scores).all(-1)
        kept = suppressed(rows[usable, :2], scores[usable], config)
        order = np.argsort(-kept.max(axis=1, initial=0.0), kind="stable")[: config.max_boxes]
        order = order[kept[order].max(axis=1, initial=0.0) >= config.score_floor]
        given = kept[order] if calibration is None else calibration(kept[order])
        best_first = np.argsort(-given.max(axis=1, initial=0.0), kind="stable")
        order, given = order[best_first], given[best_first]
        best = rows[usable][order].astype(np.float64)
        results.append(
            Detections(
                stamp,
                Boxes3D(best[:, :3], best[:, 3:6], wrap_angle(best[:, 6]), best[:, 7:9]),
                given,
                names,
                experts[usable][order],
                depth_uncertainty=sigma[usable][order],
            )
        )
    return results


def suppressed(centers: NDArray, scores: NDArray, config: StudentConfig) -> NDArray[np.float32]:
    """Scores (N, C) with those zeroed that a better box of the class within the radius makes redundant.

    A box that is redundant itself makes none redundant. Of equal scores the first is the better one.

    Args:
        centers: (N, 2) in metres.
        scores: (N, C) confidences.
        config: with the radius, and the floor below which a score is none.
    """
    scores = np.where(scores >= config.score_floor, scores, 0.0).astype(np.float32)
    first, second = cKDTree(centers).query_pairs(config.suppression_radius_m, output_type="ndarray").T
    gaps = centers[first] - centers[second]
    close = np.sqrt((gaps * gaps).sum(axis=1)) < config.suppression_radius_m
    first, second = first[close], second[close]
    pairs, columns = np.nonzero((scores[first] > 0.0) & (scores[second] > 0.0))
    first, second = first[pairs], second[pairs]
    ahead = scores[first, columns] >= scores[second, columns]
    # An entry of the table, as its place in the flat one.
    classes = scores.shape[1]
    better, lesser = (np.where(ahead, *each) * classes + columns for each in ((first, second), (second, first)))
    flat = scores.reshape(-1)
    # From the best down, so that whether the better one of a pair is still there is settled when its turn comes.
    order = np.lexsort((better, -flat[better]))
    redundant = bytearray(flat.size)
    for winner, loser in zip(better[order].tolist(), lesser[order].tolist(), strict=True):
        if not redundant[winner]:
            redundant[loser] = 1
    flat[np.frombuffer(redundant, bool)] = 0.0
    return scores
