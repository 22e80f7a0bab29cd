"""Pictures of frames in which one of two models found what the other did not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.adaptation.comparison import Compared
from semlt3d_ros.adaptation.verdict import Picture
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.evaluation.protocols import Protocol
from semlt3d_ros.viewing.annotate import draw_text
from semlt3d_ros.viewing.picture import draw_frame

_THRESHOLD = 0.2
"""Weaker detections are neither counted nor drawn."""
_APART = 10
"""Frames between two pictures: neighbours look alike."""
_HEADING_PX = 22
_IMAGE_WIDTH = 320


@dataclass(frozen=True)
class Difference:
    """What changed in a frame: names of objects that only the candidate, or only the running model, found."""

    place: int
    gained: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def balance(self) -> int:
        """Objects gained less objects lost."""
        return len(self.gained) - len(self.lost)


def differences(found: Compared, frames: Frames, protocol: Protocol, name: str, count: int) -> list[Picture]:
    """The frames with the largest gains and the largest losses, the running model above, the candidate below.

    Args:
        found: what both answered.
        frames: what was compared on.
        protocol: says what is near enough.
        name: of the set of frames; the pictures' names begin with it.
        count: of gains and of losses, at most so many each.
    """
    changed = [
        _difference(place, found.running.answers[place], found.candidate.answers[place], protocol)
        for place in range(len(found.frames))
    ]
    drawn = []
    for what, sign in (("gain", 1), ("loss", -1)):
        best = sorted((each for each in changed if sign * each.balance > 0), key=lambda each: -sign * each.balance)
        for number, each in enumerate(_spread(best, count), 1):
            drawn.append(_drawn(found, frames, each, f"{name}_{what}_{number}.jpg"))
    return drawn


def _spread(ranked: list[Difference], count: int) -> list[Difference]:
    chosen: list[Difference] = []
    for each in ranked:
        if len(chosen) < count and all(abs(each.place - other.place) >= _APART for other in chosen):
            chosen.append(each)
    return chosen


def _difference(
    place: int,
    running: tuple[int, Detections, Labels],
    candidate: tuple[int, Detections, Labels],
    protocol: Protocol,
) -> Difference:
    labels = running[2]
    before, after = (_seen(each, labels, protocol) for each in (running[1], candidate[1]))
    names = np.array(labels.names, dtype=object)
    return Difference(place, tuple(names[after & ~before]), tuple(names[before & ~after]))


def _seen(found: Detections, labels: Labels, protocol: Protocol) -> NDArray[np.bool_]:
    """(N,) which objects of the protocol's classes have a confident detection of their class near them."""
    confident = found[found.scores >= _THRESHOLD]
    offsets = labels.boxes.centers[:, None, :2] - confident.boxes.centers[None, :, :2]
    near = np.hypot(offsets[..., 0], offsets[..., 1]) < protocol.tp_distance
    detected = np.array([confident.class_names[index] for index in confident.class_ids], dtype=object)
    named = np.array(labels.names, dtype=object)
    ours = np.array([name != "" and protocol.class_of(name) is not None for name in named], bool)
    return np.asarray((near & (named[:, None] == detected[None, :])).any(axis=1) & ours)


def _drawn(found: Compared, frames: Frames, difference: Difference, name: str) -> Picture:
    frame = frames.frame(found.frames[difference.place])
    parts = []
    for heading, side in (("running", found.running), ("candidate", found.candidate)):
        picture = draw_frame(frame, side.answers[difference.place][1], None, _THRESHOLD, _IMAGE_WIDTH)
        bar = np.full((_HEADING_PX, picture.shape[1], 3), 60, np.uint8)
        draw_text(bar, heading, (6, 15), (255, 255, 255))
        parts += [bar, picture]
    texts = [f"found anew: {_counted(difference.gained)}"] if difference.gained else []
    texts += [f"lost: {_counted(difference.lost)}"] if difference.lost else []
    return Picture(name, "; ".join(texts), np.concatenate(parts))


def _counted(names: tuple[str, ...]) -> str:
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
