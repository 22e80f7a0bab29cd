"""How often each clip is played, so that rare classes are seen more often than they occur.

Samplers give weights: how often a clip is played in a pass, on average. Who plays the clips rounds them by chance.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.checks import Checked, Checks, share
from semlt3d_ros.datasets.source import Part

Floats = NDArray[np.float64]

LEAST_WEIGHT = 0.1
"""A clip without rare objects is played once in so many passes at the least: its background is to be learnt too."""


@dataclass(frozen=True)
class Sampling(Checked):
    """How often clips are played.

    Attributes:
        kind: ``alike``: each once in a pass; ``repeat_factor``: clips with rare classes more often than once (LVIS,
            Gupta et al., CVPR 2019); ``class_balanced``: each class in about as many of the frames that are played
            (CBGS, Zhu et al., 2019). Both have to know the labels of all clips before the first one is played.
        rare_below: ``repeat_factor`` only, the share of frames from which on a class is not rare. One that occurs in a
            share f is repeated sqrt(rare_below / f) times.
    """

    TITLE: ClassVar[str] = "sampling"
    CHECKS: ClassVar[Checks] = share("rare_below")

    kind: Literal["alike", "repeat_factor", "class_balanced"] = "alike"
    rare_below: float = 0.1


def weighted(parts: Sequence[Part], sampling: Sampling, objects: Callable[[int], NDArray[np.int64]]) -> list[Part]:
    """Clips with their weights; how rare a class is decides what all parts hold together.

    Args:
        parts: the clips.
        sampling: by which rule; ``alike`` asks for no labels.
        objects: says how many objects that are learnt frame ``index`` has of each class.
    """
    if sampling.kind == "alike":
        return list(parts)
    clips = [[clip for block in part.blocks for clip in block] for part in parts]
    everything = list(itertools.chain.from_iterable(clips))
    holding = np.stack([np.sum([objects(index) > 0 for index in clip], axis=0) for clip in everything])
    weights = iter(clip_weights(sampling, holding, np.array([len(clip) for clip in everything])).tolist())
    return [replace(part, weights=[next(weights) for _ in own]) for part, own in zip(parts, clips, strict=True)]


def clip_weights(sampling: Sampling, holding: NDArray[np.int64], frames: NDArray[np.int64]) -> Floats:
    """(K,) how often each of K clips is played in a pass, on average.

    Args:
        sampling: by which rule.
        holding: (K, C) number of a clip's frames that hold each class.
        frames: (K,) number of a clip's frames.
    """
    if sampling.kind == "repeat_factor":
        return repeat_factors(holding, frames, sampling.rare_below)
    if sampling.kind == "class_balanced":
        return class_balanced(holding, frames)
    return np.ones(len(frames))


def repeat_factors(holding: NDArray[np.int64], frames: NDArray[np.int64], rare_below: float) -> Floats:
    """(K,) repeat factors of clips, 1 or more: that of the rarest class in them; arguments as of ``clip_weights``."""
    share = holding.sum(axis=0) / max(frames.sum(), 1)
    of_class = np.sqrt(np.maximum(1.0, rare_below / np.where(share > 0, share, 1.0)))
    result: Floats = np.where(holding > 0, of_class, 1.0).max(axis=1, initial=1.0)
    return result


def class_balanced(holding: NDArray[np.int64], frames: NDArray[np.int64]) -> Floats:
    """(K,) weights by which every class draws an equal share of the frames; arguments as of ``clip_weights``.

    A pass is as long as one that plays each clip once, but for the clips that are lifted to ``LEAST_WEIGHT``.
    """
    total = holding.sum(axis=0)
    of_class = np.where(total > 0, 1.0 / np.maximum(total, 1), 0.0)
    weights = (holding * of_class).sum(axis=1) / np.maximum(frames, 1)
    played = (weights * frames).sum()
    if played <= 0:
        return np.ones(len(frames))
    result: Floats = np.maximum(weights * frames.sum() / played, LEAST_WEIGHT)
    return result
