"""Frames and detections into a rerun recording."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.core.frame import CameraView, Frame, Labels
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.core.outputs import Draft
from semlt3d_ros.core.rigid import quaternion_from_yaw
from semlt3d_ros.viewing.confidences import confidence_page
from semlt3d_ros.viewing.projection import project_outlines
from semlt3d_ros.viewing.region import lines_from_above, lines_in_image
from semlt3d_ros.viewing.server import INSTALL_HINT
from semlt3d_ros.viewing.style import Layer, camera_rows, colors_of_points, detection_layer, truth_layer

_log = logging.getLogger(__name__)

TIMELINE = "time"
_JPEG_QUALITY = 80
_LONGEST_FLUSH_S, _FLUSH_STEP_S = 600.0, 0.5
_PROBE_BYTES = 1 << 16
_SLOWEST_ARROW = 0.5
"""m/s below which a velocity is not drawn: its direction is noise."""
_MOST_POINTS = 60_000
"""Denser clouds are thinned: a browser has to draw them, and a recording to hold them."""
_TRAIL_FRAMES = 500
_FAR_M = 100.0
"""Length of borders that have no end."""
_COLORED_HEIGHTS_M = (-1.5, 4.0)
"""Between these heights points run through all colours; the ground is not at the dark end."""


class RerunSink:
    """Writes frames to a rerun recording: to a file, to a viewer's server, or to both. A context manager.

    The file takes its name when the recording ends; where it ends by an error or an interruption, an earlier one stays,
    and what was recorded so far keeps its unfinished name, which is logged.

    Entities: ``cameras/<name>`` (image) with ``detections`` and ``truth`` (outlines) below, ``world/ego`` with
    ``points``, ``detections``, ``velocities`` and ``truth``, ``world/trajectory``, ``confidences``; where ground truth
    is not complete all around, ``labelled`` below cameras and ``world/ego`` has the borders. All are on the timeline
    ``time`` at the frames' stamps. The layout is sent with the first frame, when the cameras are known.
    """

    def __init__(
        self,
        file: Path | None = None,
        server_url: str | None = None,
        score_threshold: float = 0.3,
        image_width: int = 800,
    ) -> None:
        """Open the recording.

        Args:
            file: an ``.rrd`` file to write; its folder is made if need be.
            server_url: ``ViewerServer.data_url``.
            score_threshold: detections with a lower confidence are left out.
            image_width: wider images are scaled down to this width, which keeps recordings small.

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
        self._score_threshold = score_threshold
        self._image_width = image_width
        self._laid_out, self._ended = False, False
        self._bordered: set[str] = set()
        self._named = file
        self._trajectory: deque[NDArray[np.float64]] = deque(maxlen=_TRAIL_FRAMES)
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
        self._recording.log("world", rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)

    def add(self, frame: Frame, detections: Detections | None = None, labels: Labels | None = None) -> None:
        """Log one frame.

        Args:
            frame: images of any size; the picture of a missing camera goes blank.
            detections: None where the detector gave no answer.
            labels: ground truth; the frame's own unless given.
        """
        if not self._laid_out:
            self._recording.send_blueprint(self._layout(frame))
            self._laid_out = True
        self._recording.set_time(TIMELINE, timestamp=np.datetime64(frame.stamp, "ns"))
        views = [_at_most(view, self._image_width) for view in frame.views]
        for view in views:
            jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(view.image), quality=_JPEG_QUALITY)
            self._log(f"cameras/{view.name}", self._rr.EncodedImage(contents=jpeg, media_type="image/jpeg"))
        for name in frame.missing:
            self._log(f"cameras/{name}", self._rr.Clear(recursive=True))
        self._log_pose(frame)
        self._log_points(frame, () if detections is None else detections.class_names)
        labels = frame.labels if labels is None else labels
        self._log_region(frame.region, views)
        found = None if detections is None else detection_layer(detections, self._score_threshold, frame, labels)
        self._log_layer("detections", found, views, labelled=True)
        self._log_velocities(found)
        self._log_layer("truth", None if labels is None else truth_layer(labels, frame.region), views, labelled=False)
        page = confidence_page(frame, detections, self._score_threshold)
        self._log("confidences", self._rr.TextDocument(page, media_type="text/markdown"))

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
        written = self._laid_out
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

    def _log(self, entity: str, what: Any) -> None:
        self._recording.log(entity, what)

    def _log_pose(self, frame: Frame) -> None:
        if frame.T_world_ego is None:
            return
        pose = frame.T_world_ego
        self._log("world/ego", self._rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        self._trajectory.append(pose[:3, 3])
        self._log("world/trajectory", self._rr.LineStrips3D([np.array(self._trajectory)], colors=[(150, 150, 150)]))

    def _log_points(self, frame: Frame, class_names: Sequence[str]) -> None:
        """Points in the colours of what they lie on; where nobody knows that, of their heights."""
        if frame.points is None or len(frame.points) == 0:
            self._log("world/ego/points", self._rr.Clear(recursive=False))
            return
        points = frame.points[:: -(-len(frame.points) // _MOST_POINTS)]
        xyz = points.xyz
        shade = np.round(np.interp(xyz[:, 2], _COLORED_HEIGHTS_M, (0, 255))).astype(np.uint8)
        colors = cv2.applyColorMap(shade[:, None], cv2.COLORMAP_TURBO).reshape(-1, 3)[:, ::-1]
        told = colors_of_points(points, class_names)
        colors = colors if told is None else told
        self._log("world/ego/points", self._rr.Points3D(xyz, colors=colors, radii=self._rr.Radius.ui_points(1.0)))

    def _log_region(self, region: LabelledRegion, views: list[CameraView]) -> None:
        """Borders of what is labelled, in every image and on the ground."""
        flat = {f"cameras/{view.name}/labelled": lines_in_image(region, view) for view in views}
        drawn = {entity: lines for entity, lines in flat.items() if lines}
        for entity, lines in drawn.items():
            strips = [line.points for line in lines]
            self._log(
                entity,
                self._rr.LineStrips2D(
                    strips, colors=[line.color for line in lines], radii=self._rr.Radius.ui_points(0.6)
                ),
            )
        above = lines_from_above(region, _FAR_M)
        if above:
            strips = [np.column_stack([line.points, np.zeros(len(line.points))]) for line in above]
            colors = [line.color for line in above]
            self._log(
                "world/ego/labelled", self._rr.LineStrips3D(strips, colors=colors, radii=self._rr.Radius.ui_points(0.6))
            )
        there = {*drawn, *(["world/ego/labelled"] if above else ())}
        for entity in self._bordered - there:
            self._log(entity, self._rr.Clear(recursive=False))
        self._bordered = there

    def _log_layer(self, name: str, layer: Layer | None, views: list[CameraView], labelled: bool) -> None:
        """Boxes in space, and their outlines in every image."""
        if layer is None or not layer.texts:
            for entity in ("world/ego", *(f"cameras/{view.name}" for view in views)):
                self._log(f"{entity}/{name}", self._rr.Clear(recursive=False))
            return
        boxes = self._rr.Boxes3D(
            centers=layer.boxes.centers,
            half_sizes=layer.boxes.sizes / 2,
            quaternions=quaternion_from_yaw(layer.boxes.yaw),
            colors=layer.colors,
            labels=layer.texts,
            show_labels=labelled,
            fill_mode=None if labelled else self._rr.components.FillMode.MajorWireframe,
        )
        self._log(f"world/ego/{name}", boxes)
        for view in views:
            self._log_outlines(f"cameras/{view.name}/{name}", layer, project_outlines(layer.boxes, view), labelled)

    def _log_outlines(
        self, entity: str, layer: Layer, outlines: list[list[NDArray[np.float64]]], labelled: bool
    ) -> None:
        owners = [index for index, outline in enumerate(outlines) for _ in outline]
        if not owners:
            self._log(entity, self._rr.Clear(recursive=False))
            return
        strips = self._rr.LineStrips2D(
            [line for outline in outlines for line in outline],
            colors=[layer.colors[index] for index in owners],
            radii=self._rr.Radius.ui_points(
                [1.0 if labelled and index not in layer.faint else 0.6 for index in owners]
            ),
        )
        self._log(entity, strips)

    def _log_velocities(self, layer: Layer | None) -> None:
        if layer is None:
            self._log("world/ego/velocities", self._rr.Clear(recursive=False))
            return
        velocity = layer.boxes.velocity
        moving = np.flatnonzero(np.linalg.norm(velocity, axis=1) > _SLOWEST_ARROW)
        arrows = self._rr.Arrows3D(
            vectors=np.concatenate([velocity[moving], np.zeros((len(moving), 1))], axis=1),
            origins=layer.boxes.centers[moving],
            colors=[layer.colors[index] for index in moving],
        )
        self._log("world/ego/velocities", arrows)

    def _layout(self, frame: Frame) -> Any:
        """Cameras in two rows above, the 3D view and the confidences below."""
        blueprint = self._rr.blueprint
        rows = [
            blueprint.Horizontal(*(blueprint.Spatial2DView(origin=f"cameras/{name}", name=name) for name in names))
            for names in camera_rows(frame.views)
            if names
        ]
        space = blueprint.Horizontal(
            blueprint.Spatial3DView(
                origin="world/ego",
                contents="world/**",
                name="around the vehicle",
                eye_controls=blueprint.EyeControls3D(position=(-30, 0, 26), look_target=(0, 0, 0), eye_up=(0, 0, 1)),
            ),
            blueprint.TextDocumentView(origin="confidences", name="class confidences"),
            column_shares=[2, 1],
        )
        return blueprint.Blueprint(
            blueprint.Vertical(*rows, space, row_shares=[*(1 for _ in rows), 2]),
            blueprint.TimePanel(timeline=TIMELINE, state="collapsed"),
            collapse_panels=True,
        )


def _at_most(view: CameraView, width: int) -> CameraView:
    """The view, scaled down if it is wider than ``width``."""
    if view.image.shape[1] <= width:
        return view
    height = round(view.image.shape[0] * width / view.image.shape[1])
    image = cv2.resize(view.image, (width, height), interpolation=cv2.INTER_AREA)
    return CameraView(
        view.name, view.stamp, image.astype(np.uint8), view.camera.resized(width, height), view.T_ego_camera
    )


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
