"""``semlt3d check``: is a recording, or what runs live, fit for the detector and for learning?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from semlt3d_ros.commands.output import for_people, print_checks, print_json, progress_bar
from semlt3d_ros.commands.places import file_to_write, to_read
from semlt3d_ros.core.errors import ConfigurationError

if TYPE_CHECKING:
    from semlt3d_ros.checking.survey import Survey
    from semlt3d_ros.checking.verdict import Verdict
    from semlt3d_ros.sensing.rig import Rig

HELP = "tell whether a recording, or what runs live, is fit for the detector and for learning"
EXAMPLE = "semlt3d check build/demo/drive.mcap --picture build/rig.png"

UNFIT = 1
"""Exit status when what was checked is not fit for the use asked for."""
_LIVE_SECONDS = 10.0
_POLL_PERIOD_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("bag", type=to_read, nargs="?", metavar="BAG", help="the recording; none with --live")
    parser.add_argument("--live", action="store_true", help="look at what runs in this ROS domain instead")
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help=f"look at so much of the recording (default: all), or for so long (live, default: {_LIVE_SECONDS:g})",
    )
    parser.add_argument("--rig", type=to_read, metavar="FILE", help="rig file (default: found from the topic names)")
    parser.add_argument(
        "--picture",
        type=file_to_write,
        metavar="FILE",
        help="draw the rig from above and the LiDAR's points in the images",
    )
    parser.add_argument(
        "--need", choices=("detection", "learning"), default="detection", help="what the exit status tells of"
    )
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")


def run(options: argparse.Namespace) -> int:
    """Print a verdict on each thing; the exit status is 1 if something keeps from what is needed."""
    from semlt3d_ros.checking.verdict import to_json, unfit_for
    from semlt3d_ros.sensing.rig import load_rig

    if (options.bag is None) != options.live:
        raise ConfigurationError("give a bag, or --live to look at what runs; semlt3d check --help shows both")
    if options.seconds is not None and not options.seconds > 0:
        raise ConfigurationError(f"--seconds must be positive, not {options.seconds:g}")
    rig = load_rig(options.rig) if options.rig else None
    survey, verdicts = _check_live(options, rig) if options.live else _check_bag(options, rig)
    unfit = unfit_for(verdicts)
    if options.picture is not None:
        _draw(survey, options.picture)
    if options.json:
        print_json(to_json(verdicts))
    else:
        rows = ((verdict.status, verdict.subject, verdict.found, verdict.remedy) for verdict in verdicts)
        print_checks(str(options.bag or "live"), rows)
        for use, subjects in unfit.items():
            print(f"fit for {use}: " + (f"no ({', '.join(subjects)})" if subjects else "yes"))
        if options.picture is not None and survey.sample is not None:
            print(f"picture: {options.picture}")
    return UNFIT if unfit[options.need] else 0


def _check_bag(options: argparse.Namespace, rig: Rig | None) -> tuple[Survey, list[Verdict]]:
    from semlt3d_ros.bags.message import decoded
    from semlt3d_ros.bags.samples import read_samples
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.checking.checks import verdicts_of
    from semlt3d_ros.checking.survey import Survey
    from semlt3d_ros.checking.verdict import Verdict
    from semlt3d_ros.sensing.rig import rig_from_topics

    with BagSource(options.bag) as source, progress_bar("checking", for_people(options)) as progress:
        survey = Survey(rig or rig_from_topics(source.topics))
        stop = None if options.seconds is None else source.start + round(options.seconds * 1e9)
        end = min(source.end, stop or source.end)
        for entry, message in decoded(source.messages(topics=list(survey.arrivals), stop=stop), survey.faults):
            progress(entry.stamp - source.start, end - source.start)
            survey.add(entry.topic, entry.type_name, message, entry.stamp)
        survey.finish()
        if options.picture is not None and survey.sample is not None:
            sample = read_samples(source, survey.faults).get(survey.sample.stamp)
            survey.sample.region = survey.sample.region if sample is None else sample.region
        verdicts = verdicts_of(survey, source.topics)
        remedy = "what could be read is used; copy or record it again"
        recording = [Verdict("recording", "note", str(fault), remedy) for fault in source.faults if not fault.harmless]
        verdicts = [*recording, *verdicts]
    return survey, verdicts


def _check_live(options: argparse.Namespace, rig: Rig | None) -> tuple[Survey, list[Verdict]]:
    from functools import partial

    from semlt3d_ros.checking.checks import verdicts_of
    from semlt3d_ros.checking.survey import Survey
    from semlt3d_ros.commands.output import log_to_stderr
    from semlt3d_ros.middleware.dds import DdsMiddleware
    from semlt3d_ros.middleware.port import LATCHED, SENSOR_DATA, QoS
    from semlt3d_ros.sensing.rig import default_rig

    log_to_stderr()  # endpoints that can never match are named in the log
    middleware = DdsMiddleware("semlt3d_check")
    seconds = options.seconds or _LIVE_SECONDS
    try:
        survey = Survey(rig or default_rig())
        images = {camera.image_topic for camera in survey.rig.cameras} | {survey.rig.points_topic}
        for topic, type_name in survey.builder.topics.items():
            qos = LATCHED if topic == survey.rig.tf_static_topic else QoS(100, reliable=False)
            middleware.create_subscription(
                topic, type_name, partial(survey.add, topic, type_name), SENSOR_DATA if topic in images else qos
            )
        middleware.create_timer(_POLL_PERIOD_S, lambda: survey.poll(middleware.now()))
        with progress_bar("listening", for_people(options)) as progress:
            start = middleware.now()
            middleware.create_timer(_POLL_PERIOD_S, lambda: progress(middleware.now() - start, round(seconds * 1e9)))
            middleware.spin(timeout_s=seconds)
    finally:
        middleware.shutdown()
    survey.finish()
    return survey, verdicts_of(survey)


def _draw(survey: Survey, path: Path) -> None:
    from semlt3d_ros.checking.picture import save_picture

    if survey.sample is None:
        return
    save_picture(survey.sample, path)
