"""``semlt3d label``: recordings through a LiDAR teacher, as labels for people and for students."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semlt3d_ros.commands.output import for_people, print_faults, print_json, progress_bar
from semlt3d_ros.commands.places import bag_to_write, folder_to_write, outputs_of, refuse_losses_of, to_read
from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.core.outputs import resolved
from semlt3d_ros.core.places import Output

if TYPE_CHECKING:
    from semlt3d_ros.labelling.recording import LabelJob, Labelled

HELP = "label recordings with a LiDAR teacher: boxes that are consistent over time, and what each point lies on"
EXAMPLE = "semlt3d label build/demo/drive.mcap -o build/labels.mcap"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("bags", type=to_read, nargs="+", metavar="BAG", help="bags with clouds of a LiDAR and tf")
    parser.add_argument(
        "-o", "--out", type=bag_to_write, required=True, metavar="OUT", help="bag to write; of several bags, a folder"
    )
    parser.add_argument("--teacher", type=to_read, metavar="FILE", help="default: the one that comes with the package")
    parser.add_argument(
        "--score", type=float, default=0.3, metavar="S", help="least confidence of labels (default: 0.3)"
    )
    parser.add_argument(
        "--doubt",
        type=float,
        default=0.1,
        metavar="S",
        help="what it is surer of than this, but less than --score, is learnt neither as an object nor as background "
        "(default: 0.1)",
    )
    parser.add_argument(
        "--with-recording", action="store_true", help="write all of the recording too, to be learnt from"
    )
    parser.add_argument("--cache", type=folder_to_write, metavar="FOLDER", help="keep what students learn from")
    parser.add_argument("--cache-gib", type=float, default=20.0, metavar="G", help="at most so much (default: 20)")
    parser.add_argument("--rig", type=to_read, metavar="FILE", help="rig file (default: found from the topic names)")
    parser.add_argument("--device", default="cpu", help="cpu (the default: repeatable) or cuda")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="several bags at once, on a Ray cluster; 'local' starts one on this machine"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace labels that are there")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")


def run(options: argparse.Namespace) -> int:
    """Label all bags; labels of several that are there already are kept."""
    if not 0 <= options.doubt <= options.score <= 1:
        raise ConfigurationError(
            f"--doubt {options.doubt:g} and --score {options.score:g}: give 0 <= doubt <= score <= 1"
        )
    if options.cache_gib <= 0:
        raise ConfigurationError(f"--cache-gib {options.cache_gib:g} must be positive")
    several = len(options.bags) > 1
    outs = [options.out / f"{name}.mcap" for name in _names(options.bags)] if several else [options.out]
    if len(set(outs)) < len(outs):
        raise ConfigurationError(
            f"two of the bags would be labelled in the same file of {options.out}; name each once, or rename one"
        )
    if several and options.out.suffix == ".mcap":
        raise ConfigurationError(f"--out {options.out}: the labels of several bags go into a folder")
    others = [each for each in outputs_of(options) if each.option != "--out"]
    refuse_losses_of(options, [*(Output("--out", out, "bag") for out in outs), *others])

    from semlt3d_ros.checkpoints.shipped import shipped_teacher
    from semlt3d_ros.labelling.recording import LabelJob

    jobs = [
        LabelJob(
            bag,
            out,
            score=options.score,
            doubt=options.doubt,
            cache=options.cache,
            cache_gib=options.cache_gib,
            with_recording=options.with_recording,
            overwrite=options.overwrite,
        )
        for bag, out in zip(options.bags, outs, strict=True)
    ]
    teacher = options.teacher or shipped_teacher()
    if several:
        return _several(jobs, teacher, options)
    from semlt3d_ros.labelling.many import label_one

    with progress_bar("labelling", for_people(options)) as progress:
        labelled = label_one(jobs[0], teacher, options.rig, options.device, progress)
    if options.json:
        print_json(labelled.to_json())
        return 0
    print(f"{summary(labelled)}, in {jobs[0].out}")
    print_faults(labelled.faults)
    return 0


def _names(bags: Sequence[Path]) -> list[str]:
    """A name for each bag: its own; where events of several robots have the same, with the folders that they lie in."""
    counts = Counter(bag.stem for bag in bags)
    places = [resolved(bag) for bag in bags]
    shared = Path(os.path.commonpath([place.parent for place in places]))
    return [
        bag.stem if counts[bag.stem] == 1 else "-".join(place.relative_to(shared).with_suffix("").parts)
        for bag, place in zip(bags, places, strict=True)
    ]


def _several(jobs: list[LabelJob], teacher: Path, options: argparse.Namespace) -> int:
    from semlt3d_ros.labelling.many import label_all

    with progress_bar("labelling", for_people(options)) as progress:
        results = label_all(jobs, teacher, options.rig, options.device, options.ray, progress)
    failed = [job for job, result in results if isinstance(result, Semlt3dError)]
    if options.json:
        print_json({"bags": [_told(job, result) for job, result in results], "failed": len(failed)})
        return 1 if failed else 0
    for job, result in results:
        if result is None:
            print(f"{job.bag}: labelled before, in {job.out}")
        elif isinstance(result, Semlt3dError):
            print(f"{job.bag}: failed: {result}")
        else:
            print(f"{job.bag}: {summary(result)}, in {job.out}")
            print_faults(result.faults)
    return 1 if failed else 0


def _told(job: LabelJob, result: Labelled | Semlt3dError | None) -> dict[str, Any]:
    place = {"bag": str(job.bag), "out": str(job.out)}
    if result is None:
        return {**place, "skipped": True}
    return {**place, "error": str(result)} if isinstance(result, Semlt3dError) else {**place, **result.to_json()}


def summary(labelled: Labelled) -> str:
    """One line for people."""
    counts = labelled.counts
    parts = [
        f"{counts['clouds']} clouds labelled",
        f"{counts['tracks']} objects ({counts['standing']} of them stand)",
        f"{counts['objects']} boxes",
        f"{counts['ghosts']} ghosts dropped",
    ]
    notes: dict[str, str] = {
        "without_cloud": "frames of images without a cloud",
        "empty": "empty clouds",
        "without_pose": "clouds without ego pose, of which no object is known to stand",
        "kept": "clouds kept for students",
        "known": "clouds that students know already",
    }
    parts += [f"{counts[name]} {text}" for name, text in notes.items() if counts[name]]
    return ", ".join(parts)
