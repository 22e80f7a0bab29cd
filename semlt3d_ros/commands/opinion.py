"""``semlt3d opinion``: fit a second opinion to a checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import chain
from typing import TYPE_CHECKING

from semlt3d_ros.commands.output import Progress, for_people, print_json, progress_bar
from semlt3d_ros.commands.places import file_to_write, name_or_file, to_read
from semlt3d_ros.core.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from semlt3d_ros.core.detections import Detections
    from semlt3d_ros.core.frame import Frame
    from semlt3d_ros.inference.frame_detector import FrameDetector
    from semlt3d_ros.sensing.frame_builder import FrameBuilder

FIRST_SEED = 90_001
"""Drives that no recipe trains, validates or tests on."""
_FLAT = 0.35
"""Exponent of the simulated class frequencies: enough of the rare ones to be fitted."""
_MIN_VISIBLE_PIXELS = 24

HELP = "fit which boxes a CLIP is asked about, and how much it counts"
EXAMPLE = "semlt3d opinion --checkpoint build/demo.safetensors -o build/second_opinion.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "bags", nargs="*", type=to_read, metavar="BAG", help="bags with ground truth (default: simulated drives)"
    )
    parser.add_argument(
        "--checkpoint", type=to_read, metavar="FILE", help="default: the one that comes with the package"
    )
    parser.add_argument(
        "--settings",
        type=name_or_file,
        default="tiny",
        metavar="S",
        help="which CLIP, and how many crops: 'tiny', or a YAML file (docs/second_opinion.md; default: tiny)",
    )
    parser.add_argument("--drives", type=int, default=100, help="drives to simulate (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (the default) or cuda")
    parser.add_argument("-o", "--out", type=file_to_write, required=True, metavar="OUT", help="YAML file to write")
    parser.add_argument("--json", action="store_true", help="print the settings as JSON")


def run(options: argparse.Namespace) -> int:
    """Detect, look, fit, write."""
    import yaml

    from semlt3d_ros.checkpoints.shipped import chosen_checkpoint
    from semlt3d_ros.core.outputs import write_whole
    from semlt3d_ros.semantics.fusion import Fusion
    from semlt3d_ros.semantics.opinion_settings import Fitted, load_opinion_settings

    if options.drives < 1:
        raise ConfigurationError(f"--drives {options.drives}: at least one drive is needed")
    given = load_opinion_settings(options.settings)
    checkpoint = chosen_checkpoint(options.checkpoint)

    from semlt3d_ros.evaluation import EvaluationSettings, protocol_of
    from semlt3d_ros.inference.advised import clip_device
    from semlt3d_ros.inference.opening import load_detector
    from semlt3d_ros.semantics.clip import ClipEncoder
    from semlt3d_ros.semantics.second_opinion import SecondOpinion
    from semlt3d_ros.training.opinion import LOOKED_AT, fit_opinion

    detector = load_detector(checkpoint, options.device)
    encoder = ClipEncoder.load(given.model, given.pretrained, clip_device(options.device))
    # From the beginning: an earlier fit is no start for another checkpoint.
    plain = replace(given, crops=LOOKED_AT, values={}, least_ambiguity=0.0, fusion=Fusion(), fitted=Fitted())
    names, words = detector.classes.names, detector.classes.words()
    opinion = SecondOpinion(encoder, plain, names, detector.model_version, words)
    settings = EvaluationSettings(protocol=protocol_of(detector.classes), min_visible_pixels=_MIN_VISIBLE_PIXELS)
    with progress_bar("looking", for_people(options)) as progress:
        answers = _recorded(options.bags, detector, given.image_width, progress)
        if not options.bags:
            answers = _simulated(options.drives, detector, progress)
        fitted = fit_opinion(opinion, encoder.logit_scale, answers, settings, detector.model_version)
    fitted = replace(fitted, crops=given.crops)
    text = yaml.safe_dump(asdict(fitted), sort_keys=False, default_flow_style=None, width=120)
    write_whole(options.out, f"# Second opinions, fitted by 'semlt3d opinion' to {detector.model_version}.\n{text}")
    if options.json:
        print_json(asdict(fitted))
    else:
        print(f"{options.out}: fitted on {fitted.fitted.boxes} boxes, {fitted.fitted.hits} right pairs")
    return 0


def _simulated(drives: int, detector: FrameDetector, progress: Progress) -> Iterator[tuple[Frame, Detections]]:
    from semlt3d_ros.sensing.preparation import ImagePreparation
    from semlt3d_ros.simulation.drive import Drive, DriveConfig

    # As the drives that recipes train on, in images of the demo's size.
    kind = DriveConfig(0, 3, interval_s=(0.1, 0.7), objects=(16, 36), class_exponent=_FLAT, rig_jitter=0.5, lidar=None)
    preparation = ImagePreparation(detector.image_spec)
    for number in range(drives):
        progress(number, drives)
        drive = Drive(replace(kind, seed=FIRST_SEED + number))
        detector.reset()
        for index in range(len(drive)):
            frame = preparation.prepared(drive.frame(index))
            yield frame, detector.detect(frame)
    progress(drives, drives)


def _recorded(
    bags: list[Path], detector: FrameDetector, width: int, progress: Progress
) -> Iterator[tuple[Frame, Detections]]:
    from semlt3d_ros.bags.message import decoded
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.commands.detect import rig_of
    from semlt3d_ros.core.faults import FaultLog
    from semlt3d_ros.core.label_map import columns_for
    from semlt3d_ros.sensing.frame_builder import FrameBuilder

    for number, bag in enumerate(bags):
        with BagSource(bag) as source:
            builder = FrameBuilder(rig_of(source), detector.image_spec, with_labels=True, whole_width=width)
            messages = decoded(source.messages(topics=list(builder.topics)), FaultLog())
            parts = (builder.add(entry.topic, entry.type_name, message) for entry, message in messages)
            detector.reset()
            for frame in chain(chain.from_iterable(parts), _late(builder)):
                found = detector.detect(frame)
                if frame.labels is not None:
                    columns = columns_for(frame.labels.class_names, detector.classes, None)
                    yield replace(frame, labels=frame.labels.as_classes(columns, detector.classes.names)), found
        progress(number + 1, len(bags))


def _late(builder: FrameBuilder) -> Iterator[Frame]:
    """What waits when a bag has ended."""
    yield from builder.flush()
