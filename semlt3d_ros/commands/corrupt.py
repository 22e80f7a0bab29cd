"""``semlt3d corrupt``: a recording as it would be in bad weather, with a broken camera, or through a bad line."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING, Any

from semlt3d_ros.commands.output import (
    came_to_nothing,
    faults_json,
    for_people,
    print_faults,
    print_json,
    progress_bar,
)
from semlt3d_ros.commands.places import bag_to_write, refuse_losses_of, to_read
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import FaultLog

if TYPE_CHECKING:
    from semlt3d_ros.bags.message import BagMessage
    from semlt3d_ros.bags.sink import BagSink
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.commands.corrupt_messages import MessageCorruptor
    from semlt3d_ros.commands.output import Progress

HELP = "corrupt the images of a bag: weather, noise, motion, broken cameras (RoboBEV, Dong et al.)"
EXAMPLE = "semlt3d corrupt build/demo/drive.mcap --corruption fog --severity 2 -o build/fog.mcap"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("bag", type=to_read, metavar="BAG", help="bag with camera images")
    parser.add_argument("-o", "--out", type=bag_to_write, required=True, metavar="OUT", help="bag to write")
    parser.add_argument("--corruption", required=True, metavar="NAME", help="docs/robustness.md lists them")
    parser.add_argument("--severity", type=int, required=True, metavar="N", help="from 1, the mildest, to 3 or 5")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides what is left to chance (default: 0)")
    parser.add_argument("--rig", type=to_read, metavar="FILE", help="rig file (default: found from the topic names)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bag")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")


def run(options: argparse.Namespace) -> int:
    """Copy the bag, its images corrupted."""
    refuse_losses_of(options)
    from semlt3d_ros.bags.sink import BagSink
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.commands.corrupt_messages import MessageCorruptor
    from semlt3d_ros.corruptions.benchmarks import Corruptor, corruption_named
    from semlt3d_ros.sensing.rig import load_rig, rig_from_topics

    corruption = corruption_named(options.corruption)
    with BagSource(options.bag) as source:
        rig = load_rig(options.rig) if options.rig else rig_from_topics(source.topics)
        corruptor = Corruptor(corruption, options.severity, rig.camera_names, options.seed)
        faults, counts = FaultLog(), Counter[str]()
        with BagSink(options.out, overwrite=options.overwrite) as sink:
            with progress_bar("corrupting", for_people(options)) as progress:
                copy(source, sink, MessageCorruptor(source, rig, corruptor), counts, faults, progress)
            if not counts["changed"]:
                raise came_to_nothing(
                    f"nothing of {options.bag} was corrupted", [*source.faults, *faults], "it has no images"
                )
        incomplete = list(source.faults)
    what = "messages with transforms" if corruption.kind == "moved" else "images"
    told: dict[str, Any] = {what: counts["changed"], "left_as_they_are": counts["left"]}
    if options.json:
        print_json({**told, **faults_json(faults, incomplete)})
        return 0
    print(f"{counts['changed']} {what} corrupted, in {options.out}")
    print_faults(faults, incomplete)
    return 0


def copy(
    source: BagSource,
    sink: BagSink,
    change: MessageCorruptor,
    counts: Counter[str],
    faults: FaultLog,
    progress: Progress,
) -> None:
    """Write all messages; those that cannot be read are written as they are, and told."""
    for entry in source.messages():
        progress(entry.stamp - source.start, source.end - source.start)
        data: Any = entry.data
        if entry.topic in change.touches:
            try:
                message = entry.message()
                _note_encoding(entry, message, faults)
                data = change(entry.topic, entry.type_name, message)
                counts["changed"] += 1
            except InputRejected as error:
                faults.reject(entry.topic, error)
                counts["left"] += 1
        sink.write(entry.topic, entry.type_name, data, entry.stamp)


def _note_encoding(entry: BagMessage, message: Any, faults: FaultLog) -> None:
    from semlt3d_ros.messages import topics
    from semlt3d_ros.messages.reencode import keeps_encoding

    if entry.type_name == topics.IMAGE_TYPE and not keeps_encoding(message.encoding):
        text = f"images of encoding '{message.encoding}' become rgb8"
        faults.add(entry.topic, "encoding", text, harmless=True)
