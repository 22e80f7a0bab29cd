"""Bags in the viewer."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.samples import read_samples
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.core.outputs import resolved
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import (
    decode_detection3d,
    decode_labels,
    decode_long_tail,
    decode_point_cloud,
    stamp_of,
)
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import Rig, rig_from_topics
from semlt3d_ros.viewing.rerun_sink import RerunSink
from semlt3d_ros.viewing.server import ViewerServer
from semlt3d_ros.viewing.shown import Shown, Tell, interruptible, tell_nothing

_ANOTHER_DRIVE_NS = 60_000_000_000
"""Drives that begin farther apart are others."""


class BagFrames:
    """The frames of several bags on one timeline: sensors from any of them, detections and ground truth by stamp.

    Bags without cameras give frames without images, one for each stamp of detections or ground truth, or for each cloud
    of a teacher.

    Attributes:
        drops: messages and sets that made no frame, by reason; filled by iterating.
        faults: what was wrong with messages, and what belongs to no frame; filled by iterating.
        incomplete: what is missing of the bags; filled by iterating.
    """

    def __init__(self, bags: Sequence[Path], rig: Rig | None = None) -> None:
        """Choose bags.

        Args:
            bags: paths of bags, in any order; one that is given twice counts once.
            rig: cameras and topics; by default found from the topics' names.
        """
        self._bags = list({resolved(Path(bag)): Path(bag) for bag in bags}.values())
        self._rig = rig
        self.drops: Counter[str] = Counter()
        self.faults = FaultLog()
        self.incomplete = FaultLog()

    def __iter__(self) -> Iterator[Shown]:
        """As ``frames``."""
        return self.frames()

    def frames(self) -> Generator[Shown, None, None]:
        """Frames in the order of their log times, each with its detections and its ground truth.

        Raises:
            ConfigurationError: a path is not a bag, or there is nothing to see in any of them.
        """
        self.drops.clear()
        self.faults.clear()
        self.incomplete.clear()
        with ExitStack() as stack:
            sources = [stack.enter_context(BagSource(bag)) for bag in self._bags]
            there = {topic: kind for source in sources for topic, kind in source.topics.items()}
            found, truth = self._read_detections(sources), self._read_truth(sources)
            regions = self._read_regions(sources)
            if self._rig or any(topics.camera_of(topic) for topic in there):
                rig = self._rig or rig_from_topics(there)
                if topics.TEACHER_POINTS in there:  # they say more than the LiDAR's own
                    rig = replace(rig, points_topic=topics.TEACHER_POINTS)
                frames = self._sensor_frames(sources, rig)
            elif topics.TEACHER_POINTS in there:
                frames = self._cloud_frames(sources)
            elif found or truth:
                frames = (Frame(stamp, ()) for stamp in sorted(found.keys() | truth.keys()))
            else:
                why = FaultLog(fault for source in sources for fault in source.faults).reasons()
                raise ConfigurationError(
                    f"nothing to see in {', '.join(map(str, self._bags))}: neither cameras, nor detections, nor ground "
                    f"truth; topics: {', '.join(sorted(there)) or 'none'}{'; ' + why if why else ''}"
                )
            shown: set[int] = set()
            try:
                for frame in frames:
                    shown.add(frame.stamp)
                    region = regions.get(frame.stamp, frame.region)
                    yield replace(frame, region=region), found.get(frame.stamp), truth.get(frame.stamp)
                for what, stamps in (("detections", found.keys()), ("ground truth", truth.keys())):
                    self._note_unmatched(what, len(stamps - shown), len(stamps))
            finally:
                frames.close()  # it tells what was wrong so far
                for source in sources:
                    self.incomplete.extend(source.faults)

    def _note_unmatched(self, what: str, unmatched: int, count: int) -> None:
        if unmatched:
            other = "; are they of another drive?" if unmatched == count else ""
            self.faults.add(what, "unmatched", f"{unmatched} of {count} have a stamp that no frame has{other}")

    def _read_detections(self, sources: list[BagSource]) -> dict[int, Detections]:
        found: dict[int, Detections] = {}
        # The package's own message says more: all confidences, velocities, missing cameras.
        for topic in (topics.DETECTIONS, topics.LONG_TAIL):
            for type_name, message in self._messages(sources, topic, (topics.DETECTION_3D_TYPE, topics.LONG_TAIL_TYPE)):
                if type_name == topics.LONG_TAIL_TYPE:
                    detections = decode_long_tail(message, self.faults, topic)
                else:
                    detections = decode_detection3d(message, self.faults, topic, ())
                found[detections.stamp] = detections
        return found

    def _read_truth(self, sources: list[BagSource]) -> dict[int, Labels]:
        messages = self._messages(sources, topics.TRUTH_LONG_TAIL, (topics.LONG_TAIL_TYPE,))
        return {stamp: labels for labels, stamp in (decode_labels(message, self.faults) for _, message in messages)}

    def _read_regions(self, sources: list[BagSource]) -> dict[int, LabelledRegion]:
        before = tuple(self.faults)
        samples = [each for source in sources for each in read_samples(source, self.faults).items()]
        self.drops += Counter({fault.reason: fault.count for fault in self.faults.since(before)})
        return {stamp: sample.region for stamp, sample in samples}

    def _messages(self, sources: list[BagSource], topic: str, types: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        """The messages of a topic that have one of the types, each with its type."""
        before = tuple(self.faults)
        for source in sources:
            for entry, message in decoded(source.messages(topics=[topic]), self.faults):
                if entry.type_name in types:
                    yield entry.type_name, message
                else:
                    self.faults.add(topic, "type", f"{entry.type_name} is not shown; {' or '.join(types)} is")
        self.drops += Counter({fault.reason: fault.count for fault in self.faults.since(before)})

    def _cloud_frames(self, sources: list[BagSource]) -> Generator[Frame, None, None]:
        """The clouds that a teacher has coloured, which are in the ego frame already."""
        for _, message in self._messages(sources, topics.TEACHER_POINTS, (topics.POINT_CLOUD_TYPE,)):
            try:
                yield Frame(stamp_of(message), (), points=decode_point_cloud(message))
            except InputRejected as error:
                self.faults.reject(topics.TEACHER_POINTS, error)

    def _sensor_frames(self, sources: list[BagSource], rig: Rig) -> Generator[Frame, None, None]:
        builder = FrameBuilder(rig, with_points=True)
        messages = heapq.merge(*(source.messages(topics=builder.topics) for source in sources), key=lambda m: m.stamp)
        unread = FaultLog()

        def shown(frame: Frame) -> Frame:
            # What a recording itself says of its points is in terms of its ground truth, not of what was detected.
            if rig.points_topic == topics.TEACHER_POINTS or frame.points is None:
                return frame
            return replace(frame, points=replace(frame.points, classes=None))

        try:
            for entry, message in decoded(messages, unread):
                yield from map(shown, builder.add(entry.topic, entry.type_name, message))
            yield from map(shown, builder.flush())
        finally:
            self.faults.extend([*unread, *builder.faults])
            self.drops += builder.drops + builder.dropped_sets + Counter({each.reason: each.count for each in unread})


def view_bags(
    bags: Sequence[Path],
    save: Path | None = None,
    serve: bool | None = None,
    limit: int | None = None,
    score_threshold: float = 0.3,
    rig: Rig | None = None,
    open_browser: bool = True,
    tell: Tell = tell_nothing,
    beside: Sequence[Path] = (),
) -> int:
    """Show bags in the browser until Ctrl-C, write them to a recording, or both.

    Args:
        bags: bags that belong together, such as a drive and the detections made of it.
        save: an ``.rrd`` file to write, for ``rerun FILE`` or the viewer's web page.
        serve: whether to serve the viewer on this machine; by default only when nothing is saved.
        limit: at most this many frames.
        score_threshold: detections with a lower confidence are left out.
        rig: cameras and topics; by default found from the topics' names.
        open_browser: open the user's browser; the address is printed in any case.
        tell: called with what was wrong with messages and what is missing of the bags, once all is read.
        beside: bags to show in a second column, on the same time line, such as the same drive with other detections.
            Each column has the name of its last bag. Another drive is moved in time, so that both begin together.

    Returns:
        The number of frames shown.

    Raises:
        ConfigurationError: rerun is not installed, a path is not a bag, or the bags make no frame.
        KeyboardInterrupt: only a file is written, and Ctrl-C came before its end: it stays unfinished.
    """
    serve = save is None if serve is None else serve
    columns = [BagFrames(each, rig) for each in (bags, beside) if each]
    names = _names(bags, beside) if beside else ("",)
    # Before anything is opened or written: bags that cannot be shown must not cost an earlier recording.
    shown = [_begun(frames, each) for frames, each in zip(columns, (bags, beside), strict=False)]
    with ExitStack() as stack, interruptible() as stop:
        server = stack.enter_context(ViewerServer()) if serve else None
        sink = stack.enter_context(RerunSink(save, server.data_url if server else None, score_threshold, columns=names))
        if server:
            print(f"viewer: {server.page_url}", flush=True)
            if open_browser:
                server.open_browser()
        count, terminal = 0, Console(stderr=True)
        everything = _merged(shown)
        quiet = not terminal.is_terminal
        for each in track(everything, "reading bags", limit, console=terminal, transient=True, disable=quiet):
            sink.add(*each[1:], column=each[0])
            count += 1
            if stop.is_set() and server is None:
                raise KeyboardInterrupt  # half a recording must not take the place of a whole one
            if stop.is_set() or count == limit:
                break
        sink.flush() if server else sink.close()
        print(f"{count} frames" + (f" in {save}" if save else ""), flush=True)
        for _, frames_of in shown:
            frames_of.close()
        faults, incomplete = (
            [fault for each in columns for fault in getattr(each, kind)] for kind in ("faults", "incomplete")
        )
        tell(faults, incomplete)
        if server:
            print("Ctrl-C ends the viewer", flush=True)
            stop.wait()
    return count


def _names(bags: Sequence[Path], beside: Sequence[Path]) -> tuple[str, str]:
    """Of the last bag of each side, with as many folders as it takes to tell them apart."""
    sides = [resolved(Path(side[-1])) for side in (bags, beside)]
    parts = [[*side.parts[1:-1], side.name.removesuffix(".mcap")] for side in sides]
    for depth in range(1, max(map(len, parts)) + 1):
        first, second = ("_".join(part[-depth:]) for part in parts)
        if first != second:
            return first, second
    return f"{parts[0][-1]}_left", f"{parts[1][-1]}_right"


def _begun(frames: BagFrames, bags: Sequence[Path]) -> tuple[Shown, Generator[Shown, None, None]]:
    """The first frame of bags, and those after it.

    Raises:
        ConfigurationError: there is none.
    """
    shown = frames.frames()
    first = next(shown, None)
    if first is None:
        why = FaultLog([*frames.incomplete, *frames.faults]).reasons()
        raise ConfigurationError(
            f"no frame could be made of {', '.join(map(str, bags))}: {why + '; ' if why else ''}"
            f"dropped: {', '.join(f'{reason} {n}' for reason, n in frames.drops.items()) or 'nothing'}"
        )
    return first, shown


_Placed = tuple[int, Frame, Detections | None, Labels | None]


def _merged(columns: Sequence[tuple[Shown, Generator[Shown, None, None]]]) -> Iterator[_Placed]:
    """The frames of all columns in the order of their stamps, each with the number of its column."""
    start = columns[0][0][0].stamp

    def placed(number: int) -> Iterator[_Placed]:
        first, others = columns[number]
        late = first[0].stamp - start
        move = late if abs(late) > _ANOTHER_DRIVE_NS else 0
        for frame, found, labels in itertools.chain([first], others):
            yield number, replace(frame, stamp=frame.stamp - move) if move else frame, found, labels

    return heapq.merge(*map(placed, range(len(columns))), key=lambda each: each[1].stamp)
