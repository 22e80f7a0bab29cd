"""The rig from above, and the LiDAR's points in every image: whether the mounting is right is seen at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import CameraView, Frame
from semlt3d_ros.core.outputs import whole
from semlt3d_ros.viewing.region import lines_in_image

_COLUMNS = 3
_REACH_M = 2.0
"""Length of the drawn fields of view."""
_FAR_M = 50.0
_DPI = 110


def save_picture(frame: Frame, path: Path) -> None:
    """Draw one frame of a rig.

    Left: cameras from above, with their fields of view and heights. Right: the images with the LiDAR
    points in them, coloured by distance, and with the borders of what is labelled where that is not everything.

    Args:
        frame: images, and points if there are any.
        path: a picture file; its ending decides the format, PNG without one.

    Raises:
        ConfigurationError: there is no such format, or the place cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = max(1, -(-len(frame.views) // _COLUMNS))
    figure = Figure(figsize=(5 + 4 * _COLUMNS, max(5.0, 2.6 * rows)), layout="constrained")
    kind, known = path.suffix[1:] or "png", FigureCanvasAgg(figure).get_supported_filetypes()
    if kind.lower() not in known:
        raise ConfigurationError(f"picture {path}: '.{kind}' is no kind of picture; use one of {', '.join(known)}")
    grid = figure.add_gridspec(rows, 1 + _COLUMNS, width_ratios=[1.25] + [1] * _COLUMNS)
    _draw_rig(figure.add_subplot(grid[:, 0]), frame)
    for index, view in enumerate(frame.views):
        axes = figure.add_subplot(grid[index // _COLUMNS, 1 + index % _COLUMNS])
        _draw_image(axes, frame, view)
    with whole(path) as draft:
        figure.savefig(draft, dpi=_DPI, bbox_inches="tight", format=kind)


def _draw_rig(axes: Any, frame: Frame) -> None:
    """Ahead is up and left is left, as from the driver's seat."""

    def place(points: Any) -> Any:
        points = np.asarray(points, np.float64)
        return np.stack([-points[..., 1], points[..., 0]], axis=-1)

    axes.set_title("from above: the axes of the base frame, cameras with their heights", fontsize=9)
    axes.set_aspect("equal")
    for tip, color in (((1.2, 0.0), "red"), ((0.0, 0.8), "green")):
        axes.annotate("", place(tip), (0.0, 0.0), arrowprops={"arrowstyle": "->", "color": color})
    reach = _REACH_M
    for index, view in enumerate(frame.views):
        color, position = f"C{index}", view.T_ego_camera[:3, 3]
        edge = np.array([[0.0, 0.0], [view.camera.width - 1.0, 0.0]])
        edge[:, 1] = (view.camera.height - 1) / 2
        rays = view.camera.unproject(edge) @ view.T_ego_camera[:3, :3].T
        corners = place(np.concatenate([position[None], position + _REACH_M * rays]))
        axes.fill(corners[:, 0], corners[:, 1], color=color, alpha=0.2)
        axes.plot(*corners[0], "o", color=color)
        axes.annotate(f"{view.name}\nz {position[2]:.2f}", corners.mean(axis=0), fontsize=7, ha="center", color=color)
        reach = max(reach, float(np.abs(corners).max()) + 1)
    if frame.points is not None:
        above = place(frame.points.xyz[(np.abs(frame.points.xyz[:, :2]) < reach).all(axis=1)])
        axes.plot(above[:, 0], above[:, 1], ",", color="0.6", zorder=0)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_xlabel("metres; left of the vehicle is left")
    axes.set_ylabel("metres ahead")


def _draw_image(axes: Any, frame: Frame, view: CameraView) -> None:
    axes.imshow(view.image)
    axes.set_title(view.name, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_autoscale_on(False)
    for points, color in lines_in_image(frame.region, view):
        axes.plot(*points.T, color=np.array(color) / 255, linewidth=1)
    if frame.points is None:
        return
    points = rigid.apply(rigid.inverse(view.T_ego_camera), frame.points.xyz)
    pixels, seen = view.camera.project(points)
    distance = np.linalg.norm(points[seen], axis=1)
    axes.scatter(
        pixels[seen, 0], pixels[seen, 1], c=np.log(np.clip(distance, 1.0, _FAR_M)), s=1.5, cmap="turbo_r", linewidths=0
    )
    axes.set_xlim(-0.5, view.camera.width - 0.5)
    axes.set_ylim(view.camera.height - 0.5, -0.5)
