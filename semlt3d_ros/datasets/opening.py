"""From the sources that a recipe lists to frames in the student's classes."""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.classes import ClassList
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Frame, Labels, PointCloud
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.label_map import LabelMap, columns_for, load_label_map
from semlt3d_ros.core.point_classes import in_terms_of
from semlt3d_ros.datasets.bag_jobs import jobs_of
from semlt3d_ros.datasets.generate import shard_paths
from semlt3d_ros.datasets.recorded import RecordedFrames, decode_all, wait_for
from semlt3d_ros.datasets.shards import FrameRegions
from semlt3d_ros.datasets.simulated import Rendering, SimulatedFrames, digest
from semlt3d_ros.datasets.source import Clips, FrameSource, Part
from semlt3d_ros.datasets.specs import DataSpec

Progress = Callable[[str, float, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def open_source(spec: DataSpec, folder: Path, image_spec: ImageSpec) -> FrameSource:
    """The frames of one source, in its own labels; what is missing of them is rendered or decoded.

    Args:
        spec: which source.
        folder: where frames are kept and found again.
        image_spec: the images wanted of recordings; simulated ones are what their recipe makes them.

    Raises:
        ConfigurationError: a bag cannot be used.
    """
    return _open([spec], folder, image_spec, here=True, progress=tell_nobody)[0]


def tell_nobody(what: str, done: float, of: int) -> None:
    """Tell nobody."""


def _open(
    specs: Sequence[DataSpec], folder: Path, image_spec: ImageSpec, here: bool, progress: Progress, processes: int = 1
) -> list[FrameSource]:
    jobs = {number: jobs_of(spec, folder, image_spec) for number, spec in enumerate(specs) if spec.bags}
    everything = list({job.folder: job for each in jobs.values() for job in each}.values())
    if here:
        decode_all(everything, lambda done, of: progress("decoding bags", done, of))
    else:
        wait_for(everything)
    recorded = {
        number: RecordedFrames(each, specs[number].clip_frames, specs[number].part) for number, each in jobs.items()
    }
    simulated = [spec.simulate for spec in specs if spec.simulate is not None]
    shards = [path for recipe in simulated for path in shard_paths(folder / digest(recipe), recipe)]
    _note_use([*(job.folder for job in everything), *shards])
    rendering = Rendering(folder, simulated, processes, here)
    return [
        recorded[number] if spec.simulate is None else SimulatedFrames(folder, spec.simulate, rendering)
        for number, spec in enumerate(specs)
    ]


def make_ready(specs: Sequence[DataSpec], folder: Path, image_spec: ImageSpec, processes: int = 1) -> None:
    """Render and decode what is missing of sources, and return when all is there: for processes that may start none.

    Args:
        specs: the sources; what several of them ask for is made once.
        folder: where frames are kept and found again.
        image_spec: the images wanted of recordings.
        processes: that render.

    Raises:
        ConfigurationError: a bag cannot be used, or rendering ended before its end.
    """
    sources = _open(specs, folder, image_spec, here=True, progress=tell_nobody, processes=processes)
    try:
        for source in sources:
            for index in range(len(source)):
                source.wait(index)
    finally:
        for source in sources:
            source.close()


def _note_use(folders: Sequence[Path]) -> None:
    """Let folders' times say that they are in use: who bounds a data folder removes what was not used for longest."""
    for folder in folders:
        with suppress(OSError):  # it is not there yet, or is somebody else's
            os.utime(folder)


class Frames:
    """The frames of several sources, one source after the other, their labels in the student's classes.

    As a context manager it ends on leaving what goes on in the background; what was rendered is kept and found again.

    Args:
        specs: the sources.
        folder: where frames are kept and found again.
        image_spec: the images wanted.
        classes: what labels become; those that are none of them are ``ABSENT``.
        here: whether this process renders and decodes what is missing; another one does otherwise.
        progress: told of decoding.

    Attributes:
        faults: what of recordings could not be used.

    Raises:
        ConfigurationError: a bag cannot be used, or none of the labels of a source is one of the classes.
    """

    def __init__(
        self,
        specs: Sequence[DataSpec],
        folder: Path,
        image_spec: ImageSpec,
        classes: ClassList,
        here: bool = True,
        progress: Progress = tell_nobody,
    ) -> None:
        self._specs, self._classes = list(specs), classes
        maps = [None if spec.label_map is None else load_label_map(spec.label_map) for spec in specs]
        self._sources = _open(specs, folder, image_spec, here, progress)
        try:
            self._columns = [
                _columns(source, classes, label_map) if spec.labelled else {}
                for source, label_map, spec in zip(self._sources, maps, specs, strict=True)
            ]
        except ConfigurationError:
            self.close()
            raise
        self._ends = list(itertools.accumulate(map(len, self._sources)))
        self.faults = FaultLog(
            fault for source in self._sources if isinstance(source, RecordedFrames) for fault in source.faults
        )

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """What the frames are, source by source."""
        return [source.provenance for source in self._sources]

    def parts(self) -> list[Part]:
        """The clips to train on, by source."""
        return [Part(clips, spec.share) for clips, spec in zip(self._clips(whole=False), self._specs, strict=True)]

    def drives(self) -> list[range]:
        """Frames that follow each other, from the beginning of a drive to its end, to evaluate on."""
        return [clip for blocks in self._clips(whole=True) for block in blocks for clip in block]

    def wait(self, index: int) -> None:
        """Return once frame ``index`` can be read."""
        number, local = self._locate(index)
        self._sources[number].wait(local)

    def frame(self, index: int) -> Frame:
        """Frame ``index``, once it is there.

        Raises:
            ConfigurationError: rendering ended before.
        """
        number, local = self._locate(index)
        frame = self._sources[number].frame(local)
        if not self._specs[number].labelled:
            return replace(frame, labels=None, points=_without_classes(frame.points))
        if frame.points is not None:
            frame.points.classes = self._point_classes(number, frame.points.classes, frame.labels)
        frame.labels = self._translated(number, frame.labels)
        return frame

    def labels(self, index: int) -> Labels | None:
        """The labels of frame ``index``, without touching its images; raises the same as ``frame``."""
        number, local = self._locate(index)
        if not self._specs[number].labelled:
            return None
        return self._translated(number, self._sources[number].labels(local))

    def regions(self, index: int) -> FrameRegions:
        """Stored image regions of frame ``index``'s objects, possibly none."""
        number, local = self._locate(index)
        return self._sources[number].regions(local)

    def close(self) -> None:
        """End what goes on in the background."""
        for source in self._sources:
            source.close()

    def __enter__(self) -> Frames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        number = bisect.bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)

    def _translated(self, number: int, labels: Labels | None) -> Labels | None:
        if labels is None or labels.class_names == self._classes.names:
            return labels
        return labels.as_classes(self._columns[number].get(labels.class_names, ()), self._classes.names)

    def _point_classes(
        self, number: int, classes: NDArray[np.int16] | None, labels: Labels | None
    ) -> NDArray[np.int16] | None:
        """What points lie on in the student's classes; None where no labels say which list it was told in."""
        if labels is None or classes is None:
            return None
        same = labels.class_names == self._classes.names
        columns = range(len(self._classes.names)) if same else self._columns[number].get(labels.class_names)
        return None if columns is None else in_terms_of(classes, columns, len(self._classes.names))

    def _clips(self, whole: bool) -> list[Clips]:
        starts = [0, *self._ends[:-1]]
        return [
            [[range(clip.start + start, clip.stop + start) for clip in block] for block in source.clips(whole)]
            for source, start in zip(self._sources, starts, strict=True)
        ]


def _without_classes(points: PointCloud | None) -> PointCloud | None:
    return None if points is None else replace(points, classes=None)


_Columns = dict[tuple[str, ...], tuple[int, ...]]


def _columns(source: FrameSource, classes: ClassList, label_map: LabelMap | None) -> _Columns:
    """The class of each label, for every list of labels that a source has."""
    return {names: columns_for(names, classes, label_map) for names in source.label_lists}
