"""Frames of one vehicle, with detections and ground truth, in a rerun recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import CameraView, Frame, Labels
from semlt3d_ros.core.labelled_region import LabelledRegion
from semlt3d_ros.core.rigid import quaternion_from_yaw
from semlt3d_ros.viewing.confidences import confidence_page
from semlt3d_ros.viewing.projection import project_outlines
from semlt3d_ros.viewing.region import lines_from_above, lines_in_image
from semlt3d_ros.viewing.style import Layer, camera_rows, colors_of_points, detection_layer, truth_layer

TIMELINE = "time"
_JPEG_QUALITY = 80
_SLOWEST_ARROW = 0.5
"""m/s below which a velocity is not drawn: its direction is noise."""
_MOST_POINTS = 60_000
"""Denser clouds are thinned: a browser has to draw them, and a recording to hold them."""
_TRAIL_FRAMES = 500
_FAR_M = 100.0
"""Length of borders that have no end."""
_COLORED_HEIGHTS_M = (-1.5, 4.0)
"""Between these heights points run through all colours; the ground is not at the dark end."""
_HEADING_SHARE = 0.15


class VehicleLog:
    """Logs frames of one vehicle.

    Entities, below ``prefix``: ``cameras/<name>`` (image) with ``detections`` and ``truth`` (outlines) below,
    ``world/ego`` with ``points``, ``detections``, ``velocities`` and ``truth``, ``world/trajectory``, ``confidences``;
    where ground truth is not complete all around, ``labelled`` below cameras and ``world/ego`` has the borders. All are
    on the timeline ``time`` at the frames' stamps.

    Args:
        recording: rerun's stream.
        rerun: the library, which may be missing and is imported by who asks for it.
        score_threshold: detections with a lower confidence are left out.
        image_width: wider images are scaled down to this width.
        prefix: of all entities, such as ``before/``.
    """

    def __init__(self, recording: Any, rerun: Any, score_threshold: float, image_width: int, prefix: str = "") -> None:
        self._recording, self._rr, self._prefix = recording, rerun, prefix
        self._score_threshold, self._image_width = score_threshold, image_width
        self._bordered: set[str] = set()
        self._trajectory: deque[NDArray[np.float64]] = deque(maxlen=_TRAIL_FRAMES)
        recording.log(f"{prefix}world", rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)

    def add(self, frame: Frame, detections: Detections | None = None, labels: Labels | None = None) -> None:
        """Log one frame; arguments as of ``RerunSink.add``."""
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

    def layout(self, frame: Frame, name: str = "") -> Any:
        """Cameras in two rows above, the 3D view and the confidences below; ``name`` stands above it all."""
        blueprint = self._rr.blueprint
        rows = [
            blueprint.Horizontal(
                *(blueprint.Spatial2DView(origin=f"{self._prefix}cameras/{camera}", name=camera) for camera in names)
            )
            for names in camera_rows(frame.views)
            if names
        ]
        space = blueprint.Horizontal(
            blueprint.Spatial3DView(
                origin=f"{self._prefix}world/ego",
                contents=f"{self._prefix}world/**",
                name="around the vehicle",
                eye_controls=blueprint.EyeControls3D(position=(-30, 0, 26), look_target=(0, 0, 0), eye_up=(0, 0, 1)),
            ),
            blueprint.TextDocumentView(origin=f"{self._prefix}confidences", name="class confidences"),
            column_shares=[2, 1],
        )
        parts, shares = [*rows, space], [*(1.0 for _ in rows), 2.0]
        if name:
            heading = self._rr.TextDocument(f"## {name}", media_type="text/markdown")
            self._recording.log(f"{self._prefix}name", heading, static=True)
            parts.insert(0, blueprint.TextDocumentView(origin=f"{self._prefix}name", name=name))
            shares.insert(0, _HEADING_SHARE)
        return blueprint.Vertical(*parts, row_shares=shares)

    def _log(self, entity: str, what: Any) -> None:
        self._recording.log(self._prefix + entity, what)

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


def _at_most(view: CameraView, width: int) -> CameraView:
    """The view, scaled down if it is wider than ``width``."""
    if view.image.shape[1] <= width:
        return view
    height = round(view.image.shape[0] * width / view.image.shape[1])
    image = cv2.resize(view.image, (width, height), interpolation=cv2.INTER_AREA)
    return CameraView(
        view.name, view.stamp, image.astype(np.uint8), view.camera.resized(width, height), view.T_ego_camera
    )
