"""Drive, record, label, distil, judge, promote, drive again: in a city that is new to the student, then on real frames.

    make loop                     # or: python -m bench.loop --no-view
    python -m bench.loop --pandaset ../shared/data/pandaset/002

A robot with the shipped student drives where it has never been. Detector, event recorder and a player in place of the
sensors are processes on DDS; a round of ``semlt3d distil`` learns from the events, without any annotation; what the
gate lets through is promoted, and the robot drives again. Before and after are compared on ground truth that nobody
learnt from, there and in the city that the student knew. It goes on where it was interrupted; figures are in
``summary.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.loop import table
from bench.loop.driving import look, record_events
from bench.loop.place import Place, pandaset, winter
from bench.loop.robot import Robot
from semlt3d_ros.commands.live_run import NodeReport
from semlt3d_ros.commands.output import progress_bar, write_json
from semlt3d_ros.core.errors import Semlt3dError

_PANDASET = Path("../shared/data/pandaset/002")


def main() -> int:
    """Both robots, then the table."""
    options = _options()
    shown = not options.json
    options.out.mkdir(parents=True, exist_ok=True)
    clock = _Clock(options.out / "seconds.json")
    try:
        with progress_bar("simulating drives", shown) as progress, clock("simulate"):
            places = [winter(options.out / "winter", options.drives, os.cpu_count() or 1, progress)]
        if options.pandaset.is_dir():
            places.append(pandaset(options.out / "pandaset", options.pandaset))
        else:
            print(f"without real frames: there is no PandaSet in '{options.pandaset}' (--pandaset)", file=sys.stderr)
        results = [
            {
                "place": place.title,
                **run(place, Robot(options.out / place.name, options.out / "data"), clock, shown),
            }
            for place in places
        ]
    except Semlt3dError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    summary = {"places": results, "seconds": clock.seconds}
    write_json(options.out / "summary.json", summary)
    table.show(summary, options.out, options.json)
    if options.view:
        table.view(places[0], options.out / places[0].name)
    return 0


def run(place: Place, robot: Robot, clock: _Clock, shown: bool) -> dict[str, Any]:
    """The whole way in one place; stages that were done before are not done again.

    Args:
        place: where.
        robot: with the folders.
        clock: measures each stage.
        shown: whether progress is.
    """
    robot.prepare()

    def once(name: str, what: str, stage: Callable[[Callable[..., None]], Any]) -> Any:
        known = robot.recall(name)
        if known is None:
            with progress_bar(f"{place.name}: {what}", shown) as progress, clock(name):
                known = stage(lambda *told: progress(*told[-2:]))
            robot.remember(name, known)
        return known

    folder = robot.folder
    once("before", "driving", lambda told: plain(look(place, robot.models, folder / "before.mcap", told)))

    def record(told: Callable[..., None]) -> int:
        shutil.rmtree(robot.events, ignore_errors=True)  # of a run that was interrupted: half of the drives
        return record_events(place, robot.models, robot.events, folder / "logs", told)

    events = once("recorded", "recording events", record)
    learnt = robot.recall("learnt")
    if learnt is None:
        with clock("learn"):
            learnt = asdict(robot.learn(place, os.cpu_count() or 1))
        robot.remember("learnt", learnt)
    once("after", "driving again", lambda told: plain(look(place, robot.models, folder / "after.mcap", told)))
    figures = once("compared", "comparing", lambda told: robot.compare(place, told).to_json())
    return {"events": events, "round": learnt, "comparison": figures}


def plain(report: NodeReport) -> dict[str, Any]:
    """What a node said of itself, for a file."""
    return {**vars(report), "drops": dict(report.drops)}


class _Clock:
    """Adds up the seconds of stages by name, over all calls: ``with clock("learn"): ...``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
        self._running: list[tuple[str, float]] = []

    def __call__(self, name: str) -> _Clock:
        self._running.append((name, time.monotonic()))
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        name, start = self._running.pop()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
        self._path.write_text(json.dumps(self.seconds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.loop", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("build/loop"), metavar="DIR", help="default: build/loop")
    parser.add_argument(
        "--drives", type=int, default=28, metavar="N", help="drives to record from in the new city (default: 28)"
    )
    parser.add_argument(
        "--pandaset", type=Path, default=_PANDASET, metavar="DIR", help=f"a sequence (default: {_PANDASET})"
    )
    parser.add_argument(
        "--no-view", dest="view", action="store_false", help="end after the table, without opening the browser"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    options.out = options.out.absolute()
    return options


if __name__ == "__main__":
    sys.exit(main())
