"""Results files of the nuScenes detection benchmark, which its development kit and server read: written, and read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid, taxonomy
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import list_of_names, load_class_list
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.outputs import write_whole
from semlt3d_ros.evaluation.attributes import attributes_from_motion
from semlt3d_ros.evaluation.selection import select_predictions
from semlt3d_ros.evaluation.settings import EvaluationSettings
from semlt3d_ros.evaluation.truth import TruthFrame

META = {"use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False, "use_external": False}
"""What detections were made from."""


def sample_results(
    sample_token: str,
    detections: Detections,
    T_world_ego: rigid.Matrix,
    settings: EvaluationSettings | None = None,
) -> list[dict[str, Any]]:
    """The results of one sample: the predictions that an evaluation with these settings would count.

    Args:
        sample_token: the sample's key in the data set.
        detections: in the ego frame.
        T_world_ego: (4, 4) pose of the ego vehicle in the global frame at the detections' stamp.
        settings: protocol and filters; LT3D unless given.

    Returns:
        Entries with ``translation`` (m), ``size`` (width, length, height in m), ``rotation`` (quaternion w, x, y, z)
        and ``velocity`` (m/s over ground, 0 where unknown) in the global frame, best first. The motion gives
        ``attribute_name``.
    """
    settings = settings or EvaluationSettings()
    _, predictions = select_predictions([detections], [()], settings)
    best = np.argsort(-predictions.scores, kind="stable")
    names = [settings.protocol.class_names[index] for index in predictions.class_ids[best]]
    boxes = detections.boxes[predictions.rows[best]]
    velocity = np.nan_to_num(boxes.velocity)
    attributes = attributes_from_motion(names, velocity)
    centers = rigid.apply(T_world_ego, boxes.centers)
    velocity = (np.pad(velocity, ((0, 0), (0, 1))) @ T_world_ego[:3, :3].T)[:, :2]
    rotations = _turned(rigid.quaternion_from_rotation(T_world_ego[:3, :3]), boxes.yaw)
    return [
        {
            "sample_token": sample_token,
            "translation": centers[row].tolist(),
            "size": boxes.sizes[row, [1, 0, 2]].tolist(),
            "rotation": rotations[row, [3, 0, 1, 2]].tolist(),
            "velocity": velocity[row].tolist(),
            "detection_name": name,
            "detection_score": float(predictions.scores[best[row]]),
            "attribute_name": attributes[row],
        }
        for row, name in enumerate(names)
    ]


def _turned(quaternion: NDArray[np.float64], yaw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternions (N, 4) x, y, z, w of turns by ``yaw`` (N,) about +z, followed by the turn of ``quaternion`` (4,)."""
    x, y, z, w = quaternion
    s, c = np.sin(yaw / 2), np.cos(yaw / 2)
    return np.stack([x * c + y * s, y * c - x * s, w * s + z * c, w * c - z * s], axis=1)


def write_results(path: Path, samples: Iterable[tuple[str, list[dict[str, Any]]]]) -> int:
    """Write a results file; its folder is made if need be.

    Args:
        path: the JSON file.
        samples: sample token and results of each sample.

    Returns:
        Number of samples.

    Raises:
        ConfigurationError: two samples have the same token.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    for token, entries in samples:
        if token in results:
            raise ConfigurationError(
                f"results file '{path}': the sample '{token}' comes twice; write one drive at a time"
            )
        results[token] = entries
    write_whole(path, json.dumps({"meta": META, "results": results}, allow_nan=False) + "\n")
    return len(results)


@dataclass(frozen=True)
class _Sample:
    """Results of one sample in the global frame: 12 numbers and a score each, class and attribute by number."""

    numbers: NDArray[np.float64]
    scores: NDArray[np.float32]
    classes: NDArray[np.int16]
    attributes: NDArray[np.int16]


class NuScenesResults:
    """A results file, read.

    Args:
        path: the JSON file.

    Attributes:
        path: of the file.
        class_names: the classes that are found in it, in the order in which they first occur.
        classes: the list they are from: nuScenes' ten, LT3D's, or themselves.
        faults: entries that make no box, and were left out.

    Raises:
        ConfigurationError: it is no results file; ``meta`` need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults = FaultLog()
        self._names: dict[str, int] = {}
        self._attributes: dict[str, int] = {}
        self._samples: dict[str, _Sample] = {}
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} cannot be read as a nuScenes results file: {error}") from None
        try:
            for token, entries in _results(text):
                self._samples[token] = self._read(token, entries)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"{path} is no nuScenes results file: {error}; its JSON must have 'results': sample token to boxes"
            ) from None
        self.class_names = tuple(self._names)
        lists = (load_class_list(name) for name in ("nuscenes", "lt3d"))
        known = next((each for each in lists if set(each.names) >= set(self.class_names)), None)
        self.classes = known or list_of_names(self.class_names, taxonomy.LT3D, "results")

    @property
    def tokens(self) -> Collection[str]:
        """Keys of the samples that have results, be they empty."""
        return self._samples.keys()

    def detections(self, frame: TruthFrame) -> tuple[Detections, tuple[str, ...]]:
        """A sample's detections in its ego frame, in the order of the file, and their attributes."""
        sample = self._samples[frame.token]
        numbers, count = sample.numbers, len(sample.scores)
        w, x, y, z = numbers[:, 6:10].T
        yaw = np.arctan2(2 * (x * y + w * z), w * w + x * x - y * y - z * z)
        boxes = Boxes3D(numbers[:, :3], numbers[:, [4, 3, 5]], yaw, numbers[:, 10:12])
        confidences = np.zeros((count, len(self.class_names)), np.float32)
        confidences[np.arange(count), sample.classes] = sample.scores
        names = tuple(self._attributes)
        moved = boxes.moved(rigid.inverse(frame.T_world_ego))
        found = Detections(frame.stamp, moved, confidences, self.class_names)
        return found, tuple(names[index] for index in sample.attributes.tolist())

    def _read(self, token: str, entries: Any) -> _Sample:
        if not isinstance(entries, list):
            raise ValueError(f"the results of sample {token} are no list")
        rows: list[list[float]] = []
        scores: list[float] = []
        kinds: list[tuple[int, int]] = []
        for place, entry in enumerate(entries):
            try:
                row = [*entry["translation"], *entry["size"], *entry["rotation"], *entry["velocity"]]
                numbers = [math.nan if number is None else float(number) for number in row]
                name, score = str(entry["detection_name"]), float(entry["detection_score"])
                if len(numbers) != 12 or not math.isfinite(sum(numbers[:10])):
                    raise ValueError("translation, size and rotation are not 3, 3 and 4 finite numbers")
                if not 0.0 <= score <= 1.0:
                    raise ValueError(f"detection_score {score} is not in [0, 1]")
            except (KeyError, TypeError, ValueError) as error:
                what = f"no '{error.args[0]}'" if isinstance(error, KeyError) else str(error)
                self.faults.add(str(self.path), "box", f"sample {token}, entry {place} is left out: {what}")
                continue
            attribute = str(entry.get("attribute_name", ""))
            rows.append(numbers)
            scores.append(score)
            kinds.append(
                (
                    self._names.setdefault(name, len(self._names)),
                    self._attributes.setdefault(attribute, len(self._attributes)),
                )
            )
        table = np.array(kinds, np.int16).reshape(-1, 2)
        return _Sample(
            np.array(rows, np.float64).reshape(-1, 12), np.array(scores, np.float32), table[:, 0], table[:, 1]
        )


_GAP = re.compile(r"[\s,]*")
_COLON = re.compile(r"\s*:\s*")


def _results(text: str) -> Iterator[tuple[str, Any]]:
    """Sample after sample of a results file: the lists of a whole validation split, read at once, fill the memory."""
    for name, place in _members(text, 0, whole=False):
        if name == "results":
            yield from _members(text, place, whole=True)
            return
    raise ValueError("it has no 'results'")


def _members(text: str, place: int, whole: bool) -> Iterator[tuple[str, Any]]:
    """The members of an object: their names, and their values if ``whole``, else where those begin."""
    decode = json.JSONDecoder().raw_decode
    place = _skip(_GAP, text, place)
    if text[place : place + 1] != "{":
        raise ValueError(f"an object is expected at character {place}")
    place += 1
    while True:
        place = _skip(_GAP, text, place)
        if text[place : place + 1] == "}":
            return
        name, place = decode(text, place)
        place = _skip(_COLON, text, place)
        if whole:
            value, place = decode(text, place)
            yield str(name), value
        else:
            yield str(name), place
            _, place = decode(text, place)


def _skip(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match else place
