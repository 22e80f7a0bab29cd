"""The loop on the robot in the viewer: where it stands, its learning curves, what the gate said, gains and losses.

It reads what a loop leaves in its work folder, and nothing else of it: ``status.json``, and of each round ``log.jsonl``
of the training, ``verdict.json``, and the pictures and the page of the verdict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import whole
from semlt3d_ros.viewing.server import INSTALL_HINT, ViewerServer
from semlt3d_ros.viewing.shown import interruptible

_STATES = ("state", "message", "round", "running_version", "candidate_version", "reason_not_promoted")
_PICTURES = (".png", ".jpg")
_REFRESH_S = 2.0


@dataclass
class Round:
    """One round, as far as it has come.

    Attributes:
        name: of its folder.
        curve: step, and losses by name.
        result: ``result.json``; empty while it goes on.
        page: the verdict for people; empty where there is none.
        pictures: files of the verdict: figures, and frames in which the two models differ.
    """

    name: str
    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    page: str = ""
    pictures: list[Path] = field(default_factory=list)


def read_rounds(work: Path) -> Iterator[Round]:
    """The rounds of a work folder, in order; what cannot be read of one is left out."""
    for folder in sorted(path for path in (work / "rounds").glob("*") if path.is_dir()):
        found = Round(folder.name, result=_json(folder / "result.json"))
        with suppress(OSError):
            for line in (folder / "candidate.training" / "log.jsonl").read_text().splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    found.curve.append((int(entry["step"]), {k: float(v) for k, v in entry["losses"].items()}))
        with suppress(OSError):
            found.page = (folder / "verdict" / "verdict.md").read_text()
        if (folder / "verdict").is_dir():
            found.pictures = sorted(path for path in (folder / "verdict").iterdir() if path.suffix in _PICTURES)
        yield found


def status_page(work: Path) -> str:
    """Where the loop stands, in Markdown.

    Raises:
        ConfigurationError: the folder is none of a loop.
    """
    status = _json(work / "status.json")
    if not status and not (work / "rounds").is_dir():
        raise ConfigurationError(f"'{work}' is no work folder of a loop: it has no status.json; see semlt3d distil")
    lines = ["# The loop on the robot", "", "| | |", "|---|---|"]
    lines += [
        f"| {name.replace('_', ' ')} | {status[name]} |" for name in _STATES if status.get(name) not in (None, "")
    ]
    for what, done, total in (
        ("recordings labelled", "recordings_replayed", "recordings_total"),
        ("training steps", "training_step", "training_steps"),
        ("labels kept, rejected", "pseudo_labels_kept", "pseudo_labels_rejected"),
    ):
        lines.append(f"| {what} | {status.get(done, 0)} / {status.get(total, 0)} |")
    for name in ("held_back", "regression"):
        before, after = status.get(f"running_{name}"), status.get(f"candidate_{name}")
        if before is not None and after is not None:
            lines.append(f"| mAP {name.replace('_', '-')}, before and after | {before:.4f} / {after:.4f} |")
    return "\n".join([*lines, "", "## Rounds", "", *(_line_of(each) for each in read_rounds(work))]) + "\n"


def view_loop(work: Path, save: Path | None = None, open_browser: bool = True) -> None:
    """Show a loop in the browser, as it goes on, until Ctrl-C; or save what there is.

    Args:
        work: the loop's folder.
        save: an ``.rrd`` file; nothing is opened then.
        open_browser: False prints the address alone.

    Raises:
        ConfigurationError: the folder is none of a loop, rerun is not installed, or the file cannot be written.
    """
    page = status_page(work)
    try:
        import rerun
    except ImportError as error:
        raise ConfigurationError(INSTALL_HINT) from error
    recording = rerun.RecordingStream("semlt3d_loop")
    rounds = list(read_rounds(work))
    if save is not None:
        with whole(save) as draft:
            recording.set_sinks(rerun.FileSink(draft))
            _log(recording, rerun, page, rounds)
            recording.flush()
            recording.disconnect()
        return
    with interruptible() as stop, ViewerServer() as server:
        recording.set_sinks(rerun.GrpcSink(server.data_url))
        print(f"viewer: {server.page_url}", flush=True)
        if open_browser:
            server.open_browser()
        _log(recording, rerun, page, rounds)
        while not stop.wait(_REFRESH_S):
            former, page, rounds = (page, rounds), status_page(work), list(read_rounds(work))
            if (page, rounds) != former:
                _log(recording, rerun, page, rounds)
        recording.disconnect()


def _layout(rounds: list[Round]) -> Any:
    """Status and curves, the last verdict, and its pictures side by side."""
    import rerun.blueprint as layout

    judged = [each for each in rounds if each.page]
    columns = [
        layout.Vertical(
            layout.TextDocumentView(origin="status", name="status"),
            layout.TimeSeriesView(origin="curves", name="losses"),
        )
    ]
    for each in judged[-1:]:
        columns.append(
            layout.TextDocumentView(origin=f"rounds/{each.name}/verdict", name=f"verdict, round {each.name}")
        )
        views = [
            layout.Spatial2DView(origin=f"rounds/{each.name}/{path.stem}", name=path.stem.replace("_", " "))
            for path in each.pictures
        ]
        columns += [layout.Grid(*views)] if views else []
    return layout.Blueprint(layout.Horizontal(*columns), collapse_panels=True)


def _log(recording: Any, rerun: Any, page: str, rounds: list[Round]) -> None:
    recording.send_blueprint(_layout(rounds))
    markdown = rerun.MediaType.MARKDOWN
    recording.log("status", rerun.TextDocument(page, media_type=markdown), static=True)
    for each in rounds:
        for step, losses in each.curve:
            recording.set_time("step", sequence=step)
            for name, value in losses.items():
                recording.log(f"curves/{each.name}/{name}", rerun.Scalars(value))
        if each.page:
            document = rerun.TextDocument(each.page, media_type=markdown)
            recording.log(f"rounds/{each.name}/verdict", document, static=True)
        for path in each.pictures:
            image = cv2.imread(str(path))
            if image is not None:
                recording.log(f"rounds/{each.name}/{path.stem}", rerun.Image(image[..., ::-1]), static=True)


def _line_of(round_: Round) -> str:
    outcome = round_.result.get("outcome", "goes on")
    return f"* {round_.name}: {outcome}. {round_.result.get('message', '')}".rstrip()


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
