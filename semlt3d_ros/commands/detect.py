"""``semlt3d detect``: the detections of a recorded drive, as a bag."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from semlt3d_ros.commands.output import (
    Progress,
    came_to_nothing,
    faults_json,
    for_people,
    print_faults,
    print_json,
    progress_bar,
)
from semlt3d_ros.commands.places import bag_to_write, name_or_file, to_read
from semlt3d_ros.core.errors import ConfigurationError, InputRejected, Semlt3dError
from semlt3d_ros.core.faults import FaultLog

if TYPE_CHECKING:
    from semlt3d_ros.bags.sink import BagSink
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.core.frame import Frame
    from semlt3d_ros.inference.frame_detector import FrameDetector
    from semlt3d_ros.sensing.frame_builder import FrameBuilder
    from semlt3d_ros.sensing.rig import Rig

_SETS = "sets of images"

HELP = "detect in a bag; write the detections into another"
EXAMPLE = "semlt3d detect build/demo/drive.mcap -o build/offline.mcap"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("bag", type=to_read, metavar="BAG", help="bag with camera images, calibration and tf")
    parser.add_argument("-o", "--out", type=bag_to_write, required=True, metavar="OUT", help="bag to write")
    parser.add_argument(
        "--checkpoint", type=to_read, metavar="FILE", help="default: the one that comes with the package"
    )
    parser.add_argument(
        "--vocabulary", type=to_read, metavar="FILE", help="classes to add or replace, made by 'semlt3d anchors'"
    )
    parser.add_argument(
        "--second-opinion",
        type=name_or_file,
        metavar="S",
        help="ask a CLIP about ambiguous boxes: 'tiny', or a YAML file of settings (docs/second_opinion.md)",
    )
    parser.add_argument(
        "--device", default="cpu", help="cpu (the default: repeatable), cuda, or onnxruntime (exported)"
    )
    parser.add_argument("--rig", type=to_read, metavar="FILE", help="rig file (default: found from the topic names)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bag")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")


def run(options: argparse.Namespace) -> int:
    """Detect in every set; what is written stays when this is interrupted."""
    from semlt3d_ros.bags.sink import BagSink
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.checkpoints.shipped import chosen_checkpoint
    from semlt3d_ros.semantics.anchors import load_anchors
    from semlt3d_ros.semantics.opinion_settings import load_opinion_settings
    from semlt3d_ros.sensing.rig import load_rig

    with BagSource(options.bag) as source:
        rig = load_rig(options.rig) if options.rig else rig_of(source)
        checkpoint = chosen_checkpoint(options.checkpoint)
        vocabulary = load_anchors(options.vocabulary) if options.vocabulary else None
        if options.second_opinion:
            load_opinion_settings(options.second_opinion)
        # The model comes last: what is wrong with the rest shall be told at once.
        from semlt3d_ros.inference.opening import load_detector
        from semlt3d_ros.sensing.frame_builder import FrameBuilder

        detector: FrameDetector = load_detector(checkpoint, options.device)
        if options.second_opinion:
            from semlt3d_ros.inference.advised import advised

            detector = advised(detector, options.second_opinion, options.device)
        if vocabulary:
            detector.set_vocabulary(vocabulary)
        builder = FrameBuilder(rig, detector.image_spec, whole_width=detector.whole_width)
        with BagSink(options.out, overwrite=options.overwrite) as sink:
            with progress_bar("detecting", for_people(options)) as progress:
                answers = detect(source, builder, detector, sink, progress)
            outcome = _Outcome(builder, answers, source, dict(detector.memory_resets))
            if not answers.processed:
                # Within the context: an earlier bag is worth more than one without detections.
                outcome.print(options)
                raise outcome.failure()
    outcome.print(options)
    return 0


def rig_of(source: BagSource) -> Rig:
    """The rig of a bag by the names of its topics.

    Raises:
        ConfigurationError: they name none; tells what could not be read of the bag too.
    """
    from semlt3d_ros.sensing.rig import rig_from_topics

    try:
        return rig_from_topics(source.topics)
    except ConfigurationError as error:
        why = source.faults.reasons()
        raise ConfigurationError(f"{source.path}: {error}{'; ' + why if why else ''}") from error


@dataclass
class Answers:
    """What became of a bag: sets answered, sets the detector refused, by reason, and what was wrong with messages."""

    processed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: FaultLog = field(default_factory=FaultLog)

    @property
    def corrupt(self) -> Counter[str]:
        """Messages nobody can read, by reason."""
        unread = [fault for fault in self.faults if fault.place != _SETS]
        return sum((Counter({fault.reason: fault.count}) for fault in unread), Counter())


def detect(
    source: BagSource,
    builder: FrameBuilder,
    detector: FrameDetector,
    sink: BagSink,
    progress: Progress,
    change: Callable[[str, str, Any], Any] | None = None,
) -> Answers:
    """Detect in all sets of a bag, exactly as the live node does.

    Args:
        source: the bag.
        builder: makes its sets.
        detector: detects in them.
        sink: gets the detections.
        progress: is told of nanoseconds that are read, and of how many there are.
        change: gives what is seen in place of a message, by topic, type name and message.
    """
    from semlt3d_ros.bags.message import decoded

    answers = Answers()
    for entry, message in decoded(source.messages(topics=list(builder.topics)), answers.faults):
        progress(entry.stamp - source.start, source.end - source.start)
        seen = message if change is None else change(entry.topic, entry.type_name, message)
        _answer(builder.add(entry.topic, entry.type_name, seen), builder, detector, sink, answers)
    _answer(builder.flush(), builder, detector, sink, answers)
    return answers


def _answer(
    frames: list[Frame], builder: FrameBuilder, detector: FrameDetector, sink: BagSink, answers: Answers
) -> None:
    from semlt3d_ros.messages import topics
    from semlt3d_ros.messages.encode import encode_detection3d, encode_long_tail

    base = builder.rig.base_frame
    for frame in frames:
        if builder.reset_before(frame):
            detector.reset()
        try:
            detections = detector.detect(frame)
        except InputRejected as error:
            answers.refused[error.reason] += 1
            answers.faults.reject(_SETS, error)
            continue
        answers.processed += 1
        sink.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, encode_long_tail(detections, base), frame.stamp)
        sink.write(topics.DETECTIONS, topics.DETECTION_3D_TYPE, encode_detection3d(detections, base), frame.stamp)


class _Outcome:
    """What a run says at its end."""

    def __init__(
        self, builder: FrameBuilder, answers: Answers, source: BagSource, memory_resets: dict[str, int]
    ) -> None:
        drops = builder.dropped_sets + answers.refused
        self.faults = [*builder.faults, *answers.faults]
        self.incomplete = list(source.faults)
        self.counts: dict[str, Any] = {
            "sets_in": answers.processed + drops.total(),
            "sets_processed": answers.processed,
            "drops": dict(drops),
            "message_drops": dict(builder.drops + answers.corrupt),
            "memory_resets": memory_resets,
            "truncated": source.truncated,
        }
        self._bag = source.path

    def print(self, options: argparse.Namespace) -> None:
        """Counts, then faults."""
        counts = self.counts
        if options.json:
            print_json({**counts, **faults_json(self.faults, self.incomplete)})
            return
        written = f", in {options.out}" if counts["sets_processed"] else ""
        print(f"{counts['sets_processed']} of {counts['sets_in']} sets detected{written}")
        for kind, title in (("drops", "sets dropped"), ("message_drops", "messages dropped")):
            if counts[kind]:
                print(f"{title}: {_listed(counts[kind])}")
        print_faults(self.faults, self.incomplete)

    def failure(self) -> Semlt3dError:
        """The error of a run that has detected nothing."""
        what = f"no set of images in {self._bag} was detected in ({self.counts['sets_in']} came together)"
        dropped = self.counts["message_drops"]
        otherwise = f"dropped: {_listed(dropped)}" if dropped else "it holds no images"
        return came_to_nothing(what, [*self.incomplete, *self.faults], otherwise)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
