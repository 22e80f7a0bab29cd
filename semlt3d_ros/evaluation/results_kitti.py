"""Results in the format of KITTI's object benchmark: a folder with a text file for each frame, written and read."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.classes import ClassList, list_of_names, load_class_list
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.kitti_text import (
    T_BASE_CAMERA0,
    KittiObject,
    boxes_from,
    format_line,
    objects_from,
    parse_line,
    windows_of,
)
from semlt3d_ros.core.label_map import load_label_map
from semlt3d_ros.core.outputs import whole
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.core.shipped_files import shipped_files
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.evaluation.selection import select_predictions
from semlt3d_ros.evaluation.settings import EvaluationSettings

_SUFFIX = ".txt"
_OF_LABELS = "kitti_types"


class Keyed(Protocol):
    """What is asked of a frame whose detections are looked for.

    Attributes:
        stamp: nanoseconds.
        token: its key, after which its file is named.
    """

    @property
    def stamp(self) -> int:
        """Of the frame."""

    @property
    def token(self) -> str:
        """Of the frame."""


@dataclass(frozen=True)
class KittiView:
    """The camera whose image a frame's results are about.

    Attributes:
        T_camera0_ego: (4, 4) rectified camera 0, in which boxes are given, <- ego frame.
        projection: (3, 4) points of that frame to pixels.
        image_size: width and height in pixels.
    """

    T_camera0_ego: Matrix
    projection: NDArray[np.float64]
    image_size: tuple[int, int]


def types_of(class_names: Iterable[str]) -> dict[str, str]:
    """What KITTI calls classes: by the shipped label map that leads to the most of them; else what they are called."""
    names = list(class_names)
    maps = (load_label_map(path) for path in shipped_files("label_maps").values())
    known = [each.classes for each in maps if each.source == _OF_LABELS]
    best: Mapping[str, str] = max(known, key=lambda each: len(set(each.values()) & set(names)), default={})
    types = {name: label for label, name in reversed(list(best.items()))}  # a class's first label stands
    return {name: types.get(name, name) for name in names}


def sample_results(
    detections: Detections, view: KittiView, settings: EvaluationSettings | None = None
) -> list[KittiObject]:
    """The results of one frame: the predictions that an evaluation with these settings would count, best first.

    Boxes of which the image shows nothing are left out, as the benchmark has it.

    Args:
        detections: in the ego frame.
        view: the camera.
        settings: protocol and filters; LT3D unless given.
    """
    settings = settings or EvaluationSettings()
    windows = windows_of(detections.boxes, view.T_camera0_ego, view.projection, view.image_size)
    detections = detections[np.array([window is not None for window in windows], np.bool_)]
    _, predictions = select_predictions([detections], [()], settings)
    best = np.argsort(-predictions.scores, kind="stable")
    types = types_of(settings.protocol.class_names)
    names = [types[settings.protocol.class_names[index]] for index in predictions.class_ids[best]]
    boxes, scores = detections.boxes[predictions.rows[best]], predictions.scores[best]
    return objects_from(boxes, names, map(float, scores), view.T_camera0_ego, view.projection, view.image_size)


def write_results(folder: Path, frames: Iterable[tuple[str, Sequence[KittiObject]]]) -> int:
    """Write a folder of results; a frame without any has an empty file.

    Args:
        folder: it is made if need be; files of the same frames in it are replaced.
        frames: key of each frame, after which its file is named, and its results.

    Returns:
        Number of frames.

    Raises:
        ConfigurationError: two frames have the same key, or one that names no file; or files of others lie there.
    """
    written: set[str] = set()
    with whole(folder, folder=True) as draft:
        for token, objects in frames:
            name = f"{token}{_SUFFIX}"
            if not token or Path(name).name != name:
                raise ConfigurationError(f"results '{folder}': the key '{token}' of a frame names no file")
            if name in written:
                text = f"the frame '{token}' comes twice; write one recording at a time"
                raise ConfigurationError(f"results '{folder}': {text}")
            written.add(name)
            (draft / name).write_text("".join(f"{format_line(each)}\n" for each in objects))
        others = sorted(path.name for path in folder.glob(f"*{_SUFFIX}") if path.name not in written)
        if others:
            text = f"it holds files of other frames, such as {others[0]}, which would count as results too"
            raise ConfigurationError(f"results '{folder}': {text}; choose another folder")
    return len(written)


def is_results(path: Path) -> bool:
    """Whether a path is a folder of text files and of nothing that a bag consists of."""
    return (
        path.is_dir() and any(path.glob(f"*{_SUFFIX}")) and not any(path.glob("*.mcap")) and not any(path.glob("*.db3"))
    )


class KittiResults:
    """A folder of results, read.

    Args:
        path: the folder.
        T_ego_camera0: (4, 4) ego frame <- the frame that boxes are given in; that of KITTI's recordings unless given.

    Attributes:
        path: the folder.
        class_names: the types that occur, in the order in which they first do.
        classes: the list that they are from: KITTI's, another that has them all, or themselves.
        faults: lines that are no results, and were left out.

    Raises:
        ConfigurationError: it cannot be read, or holds no result.
    """

    def __init__(self, path: Path, T_ego_camera0: Matrix = T_BASE_CAMERA0) -> None:
        self.path = path
        self.faults = FaultLog()
        self._T_ego_camera0 = T_ego_camera0
        self._frames: dict[str, list[KittiObject]] = {}
        names: dict[str, None] = {}
        for file in sorted(path.glob(f"*{_SUFFIX}")):
            found = self._frames[file.stem] = self._read(file)
            names.update(dict.fromkeys(each.type for each in found))
        if not self._frames:
            raise ConfigurationError(f"{path}: no results in KITTI's format; it has no file such as 000000{_SUFFIX}")
        self.class_names = tuple(names)
        self.classes = _list_of(self.class_names)

    @property
    def tokens(self) -> Collection[str]:
        """Keys of the frames that have results, be they empty."""
        return self._frames.keys()

    def detections(self, frame: Keyed) -> tuple[Detections, tuple[str, ...]]:
        """A frame's detections in its ego frame, in the order of its file; KITTI has no attributes."""
        found = self._frames[frame.token]
        confidences = np.zeros((len(found), len(self.class_names)), np.float32)
        for row, each in enumerate(found):
            confidences[row, self.class_names.index(each.type)] = each.score
        boxes = boxes_from(found, self._T_ego_camera0)
        return Detections(frame.stamp, boxes, confidences, self.class_names), ()

    def _read(self, file: Path) -> list[KittiObject]:
        found = []
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file} cannot be read as results in KITTI's format: {error}") from None
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                result = parse_line(line)
                if math.isnan(result.score):
                    raise ValueError("it has no score, so it is a label and no result")
            except ValueError as error:
                self.faults.add(str(file), "result", f"line {number} is left out: {error}")
                continue
            if not 0.0 <= result.score <= 1.0:
                # Any score is one in KITTI, which only ranks them.
                text = f"line {number}: the score {result.score:g} is no confidence in [0, 1]; it is cut to that"
                self.faults.note(str(file), "score", text)
                result = replace(result, score=min(max(result.score, 0.0), 1.0))
            if result.labelled:
                found.append(result)
        return found


def _list_of(names: tuple[str, ...]) -> ClassList:
    """The first list that has all of them, KITTI's foremost."""
    lists = (load_class_list(name) for name in ("kitti", *shipped_files("classes")))
    return next((each for each in lists if set(names) <= set(each.names)), None) or list_of_names(names, LT3D)
