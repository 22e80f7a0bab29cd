"""The robot drives: detector and event recorder as processes on DDS, beside a player in place of the sensors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import yaml

from bench.live_nodes import words_of
from bench.loop.place import Place
from semlt3d_ros.commands.live_run import NodeReport, child, isolate, record_live_run
from semlt3d_ros.commands.output import Progress
from semlt3d_ros.core.errors import Semlt3dError
from semlt3d_ros.messages import topics
from semlt3d_ros.recording.event import events_of

_RELIABLE = "image_reliability:=reliable"
_LONGEST_DRIVE_S, _READY_S, _PAUSE_S = 300.0, 60.0, 2.5
"""The pause between two drives is longer than pre-roll and post-roll together, so that no event is of two."""
_SPANS = ("pre_roll_s:=1.0", "post_roll_s:=0.5")
_TRIGGERS = {
    "triggers": {
        "rare_class": {"groups": ["few"], "pause_s": 0.0},
        "flicker": {"worth": 1.5, "pause_s": 0.0},
        "driving": {"kind": "topic", "topic": topics.LONG_TAIL, "type": topics.LONG_TAIL_TYPE, "pause_s": 0.0},
    }
}
"""The city is new: besides what is rare or flickers, all that the detector sees is worth keeping."""


def look(place: Place, models: Path, out: Path, progress: Progress) -> NodeReport:
    """Drive once with the model that runs, and record what it finds.

    Args:
        place: where.
        models: the model folder.
        out: bag of the detections.
        progress: told how many are answered.
    """
    node = words_of((f"model_folder:={models}", *place.node))
    return record_live_run(place.watched, out, place.rate, node, place.watched_sets, progress)


def record_events(place: Place, models: Path, events: Path, logs: Path, progress: Progress) -> int:
    """Drive all the drives, one after the other, with the event recorder at work.

    Args:
        place: where.
        models: the model folder.
        events: folder that the recorder writes into.
        logs: folder for what the processes say.
        progress: told of every drive.

    Returns:
        How many events there are.

    Raises:
        Semlt3dError: a process ended badly, or nothing was recorded.
    """
    from semlt3d_ros.middleware.dds import DdsMiddleware

    isolate()
    logs.mkdir(parents=True, exist_ok=True)
    triggers = logs / "recording.yaml"
    triggers.write_text(yaml.safe_dump(_TRIGGERS))
    seen: set[str] = set()
    with ExitStack() as stack:
        middleware = DdsMiddleware("semlt3d_loop")
        stack.callback(middleware.shutdown)
        middleware.create_subscription(
            topics.DIAGNOSTICS,
            topics.DIAGNOSTIC_TYPE,
            lambda message, _: seen.update(status.name.partition(":")[0] for status in message.status),
        )
        asked = words_of((_RELIABLE, *_SPANS, *place.recorder))
        recording = ["record", str(events), "--recording", str(triggers), *asked]
        running = [
            stack.enter_context(child("event recorder", recording, logs / "recorder.log")),
            stack.enter_context(
                child("detector node", _node(_RELIABLE, f"model_folder:={models}", *place.node), logs / "node.log")
            ),
        ]
        if not middleware.spin(lambda: len(seen) >= len(running), _READY_S):
            raise Semlt3dError(f"detector and recorder were not there after {_READY_S:.0f} s; see {logs}")
        for done, drive in enumerate(place.drives, 1):
            with child("player", ["play", str(drive), "--rate", str(place.rate)], logs / "player.log") as player:
                if not middleware.spin(lambda player=player: not player.running, _LONGEST_DRIVE_S):  # type: ignore[misc]
                    raise player.failure(f"has not ended within {_LONGEST_DRIVE_S:.0f} s")
                player.check()
            middleware.spin(timeout_s=_PAUSE_S)
            for each in running:
                each.check()
            progress(done, len(place.drives))
    found, faults = events_of(events)
    if not found:
        raise Semlt3dError(f"nothing was recorded into {events}: {'; '.join(faults) or f'see {logs}'}")
    return len(found)


def _node(*parameters: str) -> Sequence[str]:
    return ["node", *words_of(parameters)]
