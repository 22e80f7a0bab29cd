"""Frames and detections into a rerun recording."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.core.outputs import Draft
from semlt3d_ros.viewing.server import INSTALL_HINT
from semlt3d_ros.viewing.vehicle_log import TIMELINE, VehicleLog

_log = logging.getLogger(__name__)

_LONGEST_FLUSH_S, _FLUSH_STEP_S = 600.0, 0.5
_PROBE_BYTES = 1 << 16


class RerunSink:
    """Writes frames to a rerun recording: to a file, to a viewer's server, or to both. A context manager.

    The file takes its name when the recording ends; where it ends by an error or an interruption, an earlier one stays,
    and what was recorded so far keeps its unfinished name, which is logged.

    Entities are those of ``VehicleLog``; of several columns each has its name as prefix. The layout is sent with the
    first frame of each, when its cameras are known.
    """

    def __init__(
        self,
        file: Path | None = None,
        server_url: str | None = None,
        score_threshold: float = 0.3,
        image_width: int = 800,
        columns: Sequence[str] = ("",),
    ) -> None:
        """Open the recording.

        Args:
            file: an ``.rrd`` file to write; its folder is made if need be.
            server_url: ``ViewerServer.data_url``.
            score_threshold: detections with a lower confidence are left out.
            image_width: wider images are scaled down to this width, which keeps recordings small.
            columns: names of what is shown side by side; a single one needs none.

        Raises:
            ConfigurationError: rerun is not installed, there is neither a file nor a server to write to, or the file
                cannot be written.
        """
        try:
            import rerun
            import rerun.blueprint
        except ImportError as error:
            raise ConfigurationError(INSTALL_HINT) from error
        self._rr = rerun
        self._ended = False
        self._names = tuple(columns)
        self._first: dict[int, Frame] = {}
        self._named = file
        if file is None and server_url is None:
            raise ConfigurationError("a recording needs a file or a viewer's server to go to")
        self._draft = None if file is None else Draft(file, wait=False)
        outputs: list[Any] = []
        if self._draft is not None:
            _try_to_write(self._draft)
            outputs.append(rerun.FileSink(self._draft.draft))
        if server_url is not None:
            outputs.append(rerun.GrpcSink(server_url))
        self._recording = rerun.RecordingStream("semlt3d")
        self._recording.set_sinks(*outputs)
        self._columns = [
            VehicleLog(self._recording, rerun, score_threshold, image_width, f"{name}/" if name else "")
            for name in columns
        ]

    def add(
        self, frame: Frame, detections: Detections | None = None, labels: Labels | None = None, column: int = 0
    ) -> None:
        """Log one frame.

        Args:
            frame: images of any size; the picture of a missing camera goes blank.
            detections: None where the detector gave no answer.
            labels: ground truth; the frame's own unless given.
            column: which of the columns it belongs to.
        """
        if column not in self._first:
            self._first[column] = frame
            self._recording.send_blueprint(self._layout())
        self._columns[column].add(frame, detections, labels)

    def _layout(self) -> Any:
        """Columns side by side, as far as their cameras are known."""
        blueprint = self._rr.blueprint
        columns = [self._columns[at].layout(frame, self._names[at]) for at, frame in sorted(self._first.items())]
        return blueprint.Blueprint(
            columns[0] if len(columns) == 1 else blueprint.Horizontal(*columns),
            blueprint.TimePanel(timeline=TIMELINE, state="collapsed"),
            collapse_panels=True,
        )

    def flush(self) -> None:
        """Hand over what is buffered.

        Raises:
            OSError: the file could not be written: the disk is full.
            Semlt3dError: the viewer's server has gone.
        """
        deadline = time.monotonic() + _LONGEST_FLUSH_S
        while True:
            try:
                # In small steps: rerun waits in native code, for ever where its writing thread has ended meanwhile.
                self._recording.flush(timeout_sec=_FLUSH_STEP_S)
                return
            except (RuntimeError, ValueError) as error:
                if "File-writer" in str(error) and self._draft is not None:
                    what = f"the recording could not be written ({error}); is the disk full?"
                    raise OSError(errno.EIO, what, str(self._draft.path)) from error
                if "timed out" not in str(error) or time.monotonic() > deadline:
                    what = "the viewer's server has ended, what it had not taken yet is lost"
                    raise Semlt3dError(f"{what}: {error}") from error

    def close(self) -> None:
        """Hand over what is buffered, end the recording, and give the file its name. A second call does nothing.

        Raises:
            OSError: the file could not be written; there is none, and an earlier one stays.
            Semlt3dError: the viewer's server has gone; the file is whole.
        """
        self._end(whole=True)

    def __enter__(self) -> RerunSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(whole=error is None)

    def _end(self, whole: bool) -> None:
        if self._ended:
            return
        self._ended = True
        written = bool(self._first)
        try:
            if whole or (written and self._draft is not None):
                self.flush()
        except OSError:
            whole = written = False
            raise
        finally:
            self._recording.disconnect()
            if self._draft is not None:
                self._put(self._draft, whole, written)

    def _put(self, draft: Draft, whole: bool, written: bool) -> None:
        if whole:
            draft.finish()
        elif written:
            draft.keep()
            _log.warning("%s is not finished; what was recorded so far is in %s", self._named, draft.draft)
        else:
            draft.discard()


def _try_to_write(draft: Draft) -> None:
    """Rerun waits for ever where not even the head of its file can be written.

    Raises:
        ConfigurationError: nothing can be written there.
    """
    try:
        with draft.draft.open("wb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
            file.truncate(0)
    except OSError as error:
        draft.discard()
        raise ConfigurationError(f"cannot write {draft.path}: {error.strerror or error}") from error
