"""From the detections of each frame to tracks, in a frame of axes that does not move with the vehicle.

A Kalman filter of constant velocity follows each object; detections are assigned to objects by their distance from
where these are expected, all at once (as in AB3DMOT, Weng et al., IROS 2020, and CenterPoint, Yin et al., CVPR 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.labelling.settings import LabelSettings

Floats = NDArray[np.float64]

_FAR = 1e6
_STATES = 5
_FASTEST_MPS = 50.0


@dataclass
class Step:
    """An object at one frame.

    Attributes:
        frame: number of the frame.
        row: of the detection; -1 where it was not detected.
        predicted, predicted_covariance: x y z vx vy (5,) as expected from the frames before.
        mean, covariance: with the detection.
        transition: (5, 5) from the frame before.
    """

    frame: int
    row: int
    predicted: Floats
    predicted_covariance: Floats
    mean: Floats
    covariance: Floats
    transition: Floats


@dataclass
class Track:
    """An object in frames that follow each other without a gap, from its first to its last detection.

    Attributes:
        steps: frame by frame.
        family: its kind: detections of another one are not of it.
    """

    family: str
    steps: list[Step] = field(default_factory=list)

    @property
    def hits(self) -> list[Step]:
        """The steps with a detection."""
        return [step for step in self.steps if step.row >= 0]


def tracked(
    frames: Sequence[Detections], origins: Sequence[Floats], families: Sequence[str], settings: LabelSettings
) -> list[Track]:
    """The tracks of frames that follow each other.

    Args:
        frames: detections in axes that stay where they are, in the order of their stamps.
        origins: (3,) where the vehicle was in these axes, frame by frame.
        families: the kind of each class, such as its super-class.
        settings: how it is done.
    """
    alive: list[Track] = []
    ended: list[Track] = []
    for number, found in enumerate(frames):
        seconds = (found.stamp - frames[number - 1].stamp) * 1e-9 if number else 0.0
        for track in alive:
            track.steps.append(_predicted(track.steps[-1], number, seconds, settings))
        rows = np.flatnonzero(found.scores >= settings.score)
        kinds = [families[index] for index in found.class_ids[rows]]
        free = set(rows.tolist())
        for track, row in _assigned(alive, found, rows, kinds, seconds, settings):
            _correct(track.steps[-1], found, row, origins[number], settings)
            free.discard(row)
        for row in sorted(free):
            if found.scores[row] >= settings.start_score:
                alive.append(_started(number, found, row, families, origins[number], settings))
        over = [track for track in alive if _lost_s(track, frames) > settings.longest_gap_s]
        ended += over
        alive = [track for track in alive if not any(track is other for other in over)]
    return [_cut(track) for track in ended + alive]


def _predicted(last: Step, frame: int, seconds: float, settings: LabelSettings) -> Step:
    transition = np.eye(_STATES)
    transition[0, 3] = transition[1, 4] = seconds
    noise = np.zeros((_STATES, _STATES))
    variance = settings.acceleration_mps2**2
    for place, speed in ((0, 3), (1, 4)):
        noise[place, place] = variance * seconds**4 / 4
        noise[place, speed] = noise[speed, place] = variance * seconds**3 / 2
        noise[speed, speed] = variance * seconds**2
    noise[2, 2] = (0.2 * seconds) ** 2
    mean = transition @ last.mean
    covariance = transition @ last.covariance @ transition.T + noise
    return Step(frame, -1, mean, covariance, mean, covariance, transition)


def _assigned(
    tracks: Sequence[Track],
    found: Detections,
    rows: NDArray[np.int64],
    kinds: Sequence[str],
    seconds: float,
    settings: LabelSettings,
) -> list[tuple[Track, int]]:
    if not tracks or not len(rows):
        return []
    expected = np.array([track.steps[-1].predicted[:2] for track in tracks])
    spread = np.array([np.sqrt(track.steps[-1].predicted_covariance[[0, 1], [0, 1]].sum()) for track in tracks])
    away = np.linalg.norm(expected[:, None] - found.boxes.centers[rows][None, :, :2], axis=-1)
    # What is not seen for a while may be farther away; large objects are seen at either end.
    allowed = settings.gate_m + np.minimum(2.0 * spread, 2.0 + 2.0 * seconds)[:, None]
    allowed = allowed + 0.25 * found.boxes.sizes[rows, :2].max(axis=1)[None]
    other = np.array([[track.family != kind for kind in kinds] for track in tracks])
    cost = np.where((away <= allowed) & ~other, away, _FAR)
    pairs = zip(*linear_sum_assignment(cost), strict=True)
    return [(tracks[a], int(rows[b])) for a, b in pairs if cost[a, b] < _FAR]


def _correct(step: Step, found: Detections, row: int, origin: Floats, settings: LabelSettings) -> None:
    """Take a detection into a step that was predicted."""
    seen, deviation = _measured(found, row, origin, settings)
    known = np.isfinite(seen)
    H, R = np.eye(_STATES)[known], np.diag(deviation[known] ** 2)
    gain = step.covariance @ H.T @ np.linalg.inv(H @ step.covariance @ H.T + R)
    step.mean = step.mean + gain @ (seen[known] - H @ step.mean)
    step.covariance = (np.eye(_STATES) - gain @ H) @ step.covariance
    step.row = row


def _measured(found: Detections, row: int, origin: Floats, settings: LabelSettings) -> tuple[Floats, Floats]:
    """x y z vx vy (5,) of a detection, and their deviations."""
    boxes = found.boxes
    seen = np.concatenate([boxes.centers[row], boxes.velocity[row]])
    if not np.linalg.norm(seen[3:]) < _FASTEST_MPS:
        seen[3:] = np.nan
    position = settings.position_m + settings.position_per_m * np.linalg.norm(boxes.centers[row] - origin)
    # What the teacher is unsure of is seen less exactly.
    position *= 1.0 + 2.0 * (1.0 - float(found.scores[row]))
    return seen, np.array([position] * 3 + [settings.velocity_mps] * 2)


def _started(
    frame: int, found: Detections, row: int, families: Sequence[str], origin: Floats, settings: LabelSettings
) -> Track:
    seen, deviation = _measured(found, row, origin, settings)
    unknown = ~np.isfinite(seen[3:])
    mean = np.nan_to_num(seen)
    covariance = np.diag(np.concatenate([deviation[:3] ** 2, np.where(unknown, 8.0, deviation[3:]) ** 2]))
    step = Step(frame, row, mean, covariance, mean, covariance, np.eye(_STATES))
    return Track(families[int(found.class_ids[row])], [step])


def _lost_s(track: Track, frames: Sequence[Detections]) -> float:
    last = next(step for step in reversed(track.steps) if step.row >= 0)
    return (frames[track.steps[-1].frame].stamp - frames[last.frame].stamp) * 1e-9


def _cut(track: Track) -> Track:
    """Without what follows the last detection."""
    last = max(place for place, step in enumerate(track.steps) if step.row >= 0)
    return Track(track.family, track.steps[: last + 1])
