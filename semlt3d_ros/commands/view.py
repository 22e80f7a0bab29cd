"""``semlt3d view``: bags or a running vehicle in the browser, or as a recording for later."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from semlt3d_ros.commands.output import print_faults
from semlt3d_ros.commands.places import file_to_write, to_read
from semlt3d_ros.core.errors import ConfigurationError

if TYPE_CHECKING:
    from semlt3d_ros.sensing.rig import Rig

HELP = "show bags, or without any what runs live, in the viewer: images with boxes, points, 3D boxes, confidences"
EXAMPLE = "semlt3d view build/demo/drive.mcap build/demo/detections.mcap"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "bags",
        type=to_read,
        nargs="*",
        metavar="BAG",
        help="bags to show on one time line (none: live), or the folder of a verdict",
    )
    parser.add_argument(
        "--beside",
        type=to_read,
        nargs="+",
        default=[],
        metavar="BAG",
        help="bags to show in a second column, such as the same drive with what another model found; another drive is "
        "moved in time, so that both begin together",
    )
    parser.add_argument(
        "--loop",
        type=to_read,
        metavar="FOLDER",
        help="show the loop on the robot instead: the work folder of `semlt3d distil`",
    )
    parser.add_argument(
        "--save",
        type=file_to_write,
        metavar="FILE.rrd",
        help="write a recording; bags are then not opened in the browser",
    )
    parser.add_argument(
        "--min-score", type=float, default=0.3, metavar="S", help="hide weaker detections (default: 0.3)"
    )
    parser.add_argument("--rig", type=to_read, metavar="FILE", help="rig file (default: found from the topic names)")


def run(options: argparse.Namespace) -> int:
    """Show until Ctrl-C, or save."""
    if options.beside and (options.loop is not None or not options.bags):
        raise ConfigurationError(
            "--beside shows bags beside others; name those first: semlt3d view BAG... --beside BAG..."
        )
    if options.loop is not None:
        if options.bags:
            raise ConfigurationError("--loop shows a work folder, not bags; leave one of them out")
        from semlt3d_ros.viewing.loop import view_loop

        view_loop(options.loop, options.save)
        return 0
    verdict = next((bag for bag in (*options.bags, *options.beside) if (bag / "verdict.json").is_file()), None)
    if verdict is not None and (len(options.bags) > 1 or options.beside):
        raise ConfigurationError(f"'{verdict}' is a verdict, which is shown alone: semlt3d view {verdict}")
    if verdict is not None:
        return _view_verdict(options)
    from semlt3d_ros.sensing.rig import default_rig, load_rig
    from semlt3d_ros.viewing import view_bags

    if not 0 <= options.min_score <= 1:
        raise ConfigurationError(f"--min-score {options.min_score:g}: confidences lie in [0, 1]")
    rig = load_rig(options.rig) if options.rig else None
    if options.bags:
        view_bags(
            options.bags,
            save=options.save,
            score_threshold=options.min_score,
            rig=rig,
            tell=print_faults,
            beside=options.beside,
        )
    else:
        _view_live(rig or default_rig(), options)
    return 0


def _view_verdict(options: argparse.Namespace) -> int:
    from semlt3d_ros.viewing.page import view_page

    (folder,) = options.bags
    view_page(folder / "verdict.md", [*folder.glob("*.png"), *sorted(folder.glob("*.jpg"))], options.save)
    return 0


def _view_live(rig: Rig, options: argparse.Namespace) -> None:
    from semlt3d_ros.middleware.dds import DdsMiddleware
    from semlt3d_ros.middleware.port import LATCHED, QoS
    from semlt3d_ros.viewing.live import view_live

    middleware = DdsMiddleware("semlt3d_viewer")

    def subscribe(topic: str, type_name: str, callback: Callable[[Any, int], None]) -> object:
        qos = LATCHED if topic == rig.tf_static_topic else QoS(depth=20)
        return middleware.create_subscription(topic, type_name, callback, qos)

    try:
        view_live(
            subscribe,
            middleware.spin,
            rig,
            save=options.save,
            score_threshold=options.min_score,
            every=middleware.create_timer,
            tell=print_faults,
        )
    finally:
        middleware.shutdown()
