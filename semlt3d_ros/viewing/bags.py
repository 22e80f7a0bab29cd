"""Bags in the viewer."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.data.bags import BagSource
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_detection3d, decode_labels, decode_long_tail
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import Rig, rig_from_topics
from semlt3d_ros.viewing.rerun_sink import RerunSink
from semlt3d_ros.viewing.server import ViewerServer
from semlt3d_ros.viewing.shown import Shown, interruptible

Decoded = TypeVar("Decoded")


class BagFrames:
    """The frames of several bags on one timeline: sensors from any of them, detections and ground truth by stamp.

    Bags without cameras give frames without images, one for each stamp of detections or ground truth.

    Attributes:
        drops: messages and sets that made no frame, by reason; filled by iterating.
    """

    def __init__(self, bags: Sequence[Path], rig: Rig | None = None) -> None:
        """Choose bags.

        Args:
            bags: paths of bags, in any order.
            rig: cameras and topics; by default found from the topics' names.
        """
        self._bags = [Path(bag) for bag in bags]
        self._rig = rig
        self.drops: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Shown]:
        """Frames in the order of their log times, each with its detections and its ground truth.

        Raises:
            ConfigurationError: a path is not a bag, or there is nothing to see in any of them.
        """
        self.drops.clear()
        with ExitStack() as stack:
            sources = [stack.enter_context(BagSource(bag)) for bag in self._bags]
            there = {topic: kind for source in sources for topic, kind in source.topics.items()}
            found, truth = self._read_detections(sources), self._read_truth(sources)
            if self._rig or any(topics.camera_of(topic) for topic in there):
                frames = self._sensor_frames(sources, self._rig or rig_from_topics(there))
            elif found or truth:
                frames = (Frame(stamp, ()) for stamp in sorted(found.keys() | truth.keys()))
            else:
                raise ConfigurationError(
                    f"nothing to see in {', '.join(map(str, self._bags))}: neither cameras, nor detections, nor ground "
                    f"truth; topics: {', '.join(sorted(there)) or 'none'}"
                )
            for frame in frames:
                yield frame, found.get(frame.stamp), truth.get(frame.stamp)

    def _read_detections(self, sources: list[BagSource]) -> dict[int, Detections]:
        found = {d.stamp: d for d in self._decoded(sources, topics.DETECTIONS, decode_detection3d)}
        # The package's own message says more: all confidences, velocities, missing cameras.
        return found | {d.stamp: d for d in self._decoded(sources, topics.LONG_TAIL, decode_long_tail)}

    def _read_truth(self, sources: list[BagSource]) -> dict[int, Labels]:
        return {stamp: labels for labels, stamp in self._decoded(sources, topics.TRUTH_LONG_TAIL, decode_labels)}

    def _decoded(self, sources: list[BagSource], topic: str, decode: Callable[[Any], Decoded]) -> Iterator[Decoded]:
        for source in sources:
            for entry in source.messages(topics=[topic]):
                try:
                    yield decode(entry.message())
                except InputRejected as rejection:
                    self.drops[rejection.reason] += 1

    def _sensor_frames(self, sources: list[BagSource], rig: Rig) -> Iterator[Frame]:
        builder = FrameBuilder(rig, with_points=True)
        messages = heapq.merge(*(source.messages(topics=builder.topics) for source in sources), key=lambda m: m.stamp)
        for entry in messages:
            try:
                message = entry.message()
            except InputRejected as rejection:
                self.drops[rejection.reason] += 1
                continue
            yield from builder.add(entry.topic, entry.type_name, message)
        yield from builder.flush()
        self.drops += builder.drops + builder.dropped_sets


def view_bags(
    bags: Sequence[Path],
    save: Path | None = None,
    serve: bool | None = None,
    limit: int | None = None,
    score_threshold: float = 0.3,
    rig: Rig | None = None,
    open_browser: bool = True,
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

    Returns:
        The number of frames shown.

    Raises:
        ConfigurationError: rerun is not installed, a path is not a bag, or the bags make no frame.
    """
    serve = save is None if serve is None else serve
    frames = BagFrames(bags, rig)
    shown = iter(frames)
    # Before anything is opened or written: bags that cannot be shown must not cost an earlier recording.
    first = next(shown, None)
    if first is None:
        raise ConfigurationError(
            f"no frame could be made of {', '.join(map(str, bags))}; "
            f"dropped: {', '.join(f'{reason} {n}' for reason, n in frames.drops.items()) or 'nothing'}"
        )
    with ExitStack() as stack, interruptible() as stop:
        server = stack.enter_context(ViewerServer()) if serve else None
        sink = RerunSink(save, server.data_url if server else None, score_threshold)
        stack.callback(sink.close)
        if server:
            print(f"viewer: {server.page_url}", flush=True)
            if open_browser:
                server.open_browser()
        count, terminal = 0, Console(stderr=True)
        everything = itertools.chain([first], shown)
        quiet = not terminal.is_terminal
        for each in track(everything, "reading bags", limit, console=terminal, transient=True, disable=quiet):
            sink.add(*each)
            count += 1
            if stop.is_set() or count == limit:
                break
        sink.flush()
        print(f"{count} frames" + (f" in {save}" if save else ""), flush=True)
        if server:
            print("Ctrl-C ends the viewer", flush=True)
            stop.wait()
    return count
