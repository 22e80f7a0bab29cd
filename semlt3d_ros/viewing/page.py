"""A page of text with its pictures in the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import Draft
from semlt3d_ros.viewing.server import INSTALL_HINT, ViewerServer
from semlt3d_ros.viewing.shown import interruptible


def view_page(page: Path, pictures: Sequence[Path], save: Path | None = None, open_browser: bool = True) -> None:
    """Show a page beside its pictures in the browser until Ctrl-C, or write them to a recording.

    Args:
        page: Markdown.
        pictures: PNG or JPEG files, in the order of their tabs.
        save: an ``.rrd`` file to write instead.
        open_browser: open the user's browser; the address is printed in any case.

    Raises:
        ConfigurationError: rerun is not installed, or a file cannot be read or written.
    """
    try:
        import rerun
    except ImportError as error:
        raise ConfigurationError(INSTALL_HINT) from error
    with ExitStack() as stack, interruptible() as stop:
        recording = rerun.RecordingStream("semlt3d")
        stack.callback(recording.disconnect)
        if save is not None:
            draft = Draft(save, wait=False)
            stack.callback(draft.discard)
            recording.set_sinks(rerun.FileSink(draft.draft))
            _log(rerun, recording, page, pictures)
            recording.flush()
            recording.disconnect()
            draft.finish()
            print(f"{len(pictures)} pictures and a page in {save}", flush=True)
            return
        server = stack.enter_context(ViewerServer())
        recording.set_sinks(rerun.GrpcSink(server.data_url))
        _log(rerun, recording, page, pictures)
        recording.flush()
        print(f"viewer: {server.page_url}\nCtrl-C ends the viewer", flush=True)
        if open_browser:
            server.open_browser()
        stop.wait()


def _log(rerun: Any, recording: Any, page: Path, pictures: Sequence[Path]) -> None:
    from rerun import blueprint

    text = page.read_text(encoding="utf-8")
    # What the pictures' places in the page would show is in the tabs beside it.
    lines = [line for line in text.splitlines() if not line.startswith("![")]
    recording.send_blueprint(
        blueprint.Blueprint(
            blueprint.Horizontal(
                blueprint.TextDocumentView(origin="page", name=page.stem),
                blueprint.Tabs(
                    *(blueprint.Spatial2DView(origin=f"pictures/{each.stem}", name=each.stem) for each in pictures)
                ),
            ),
            collapse_panels=True,
        )
    )
    recording.log("page", rerun.TextDocument("\n".join(lines), media_type="text/markdown"), static=True)
    for each in pictures:
        recording.log(f"pictures/{each.stem}", rerun.EncodedImage(path=each), static=True)
