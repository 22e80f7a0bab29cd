"""Calibrations out of ``sensor_msgs/CameraInfo``: intrinsics, region of interest, binning, rectification.

After the message's own definition, REP-104 and ``image_geometry::PinholeCameraModel``, but for binned images, whose
pixel centres are kept where they are (image_geometry lets them move by a fraction of a pixel).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.plausibility import check_intrinsics

_SAME_ASPECT = 0.01
_ORTHONORMAL = 1e-3
_SHIFT_M = 1e-3

Note = tuple[str, str]
"""Reason and text of something that was put right."""


@dataclass(frozen=True)
class Calibration:
    """What a ``CameraInfo`` says about images.

    Attributes:
        camera: intrinsics of the full image, at the size for which they were calibrated.
        window: the region of interest in that image: left, top, width, height.
        binning: pixels of that image that make one of the camera's, in x and y.
        T_camera_image: (4, 4) the frame in which the images were taken to the camera's own, None where they are the
            same: rectified images are turned by R, and those of a second stereo camera moved by P's fourth column.
        frame_id: the message's frame.
        doubt: what is most unlikely about it, for a user to check; empty if nothing is.
        notes: what was put right.
    """

    camera: CameraModel
    window: tuple[int, int, int, int]
    binning: tuple[int, int] = (1, 1)
    T_camera_image: rigid.Matrix | None = None
    frame_id: str = ""
    doubt: str = ""
    notes: tuple[Note, ...] = ()
    _sizes: dict[tuple[int, int], tuple[CameraModel, str]] = field(default_factory=dict, repr=False, compare=False)

    def at(self, width: int, height: int) -> tuple[CameraModel, str]:
        """The camera of an image of this size, whole or cropped to the window, binned or not.

        Returns:
            The camera, and what was scaled if the image has another size of the same aspect ratio, else nothing.

        Raises:
            InputRejected: ``camera_info_size``: the image is neither the whole nor the window.
        """
        found = self._sizes.get((width, height))
        if found is None:
            found = self._sizes[width, height] = self._find(width, height)
        return found

    def _find(self, width: int, height: int) -> tuple[CameraModel, str]:
        whole = (0, 0, self.camera.width, self.camera.height)
        views = list(
            dict.fromkeys((window, bins) for bins in (self.binning, (1, 1)) for window in (self.window, whole))
        )
        for (left, top, columns, rows), (across, down) in views:
            if _is_part(width, columns, across) and _is_part(height, rows, down):
                if (left, top, width, height) == whole:
                    return self.camera, ""
                # What does not fill a bin at the right and at the bottom is in no pixel.
                view = self.camera.cropped(left, top, width * across, height * down)
                return view if (across, down) == (1, 1) else view.resized(width, height), ""
        for larger in (False, True):
            for (left, top, columns, rows), (across, down) in views:
                size = columns / across, rows / down
                if abs(size[0] * height / (size[1] * width) - 1) <= _SAME_ASPECT and (larger or width <= size[0]):
                    view = self.camera.cropped(left, top, columns, rows)
                    return view.resized(width, height), f"{self._for}, the images are {width}x{height}: it was scaled"
        swapped = "; its width and height are swapped" if (height, width) == whole[2:] else ""
        raise InputRejected(
            "camera_info_size",
            f"{self._for}, the image is {width}x{height}; they must have the same aspect ratio{swapped}; publish the "
            "calibration of the images that are published",
        )

    @property
    def _for(self) -> str:
        text = f"camera_info of frame '{self.frame_id}' is for {self.camera.width}x{self.camera.height}"
        left, top, columns, rows = self.window
        if (columns, rows) != (self.camera.width, self.camera.height):
            text += f" with a region of interest of {columns}x{rows} at ({left}, {top})"
        return text if self.binning == (1, 1) else f"{text} and a binning of {self.binning[0]}x{self.binning[1]}"


def decode_calibration(message: Any, rectified: bool = False) -> Calibration:
    """What ``sensor_msgs/CameraInfo`` says about raw images (by K and D), or about rectified ones (by P and R).

    Where K is empty P holds, and for rectified images K where P is.

    Raises:
        InputRejected: ``intrinsics`` or ``distortion``: not calibrated, or values that no camera has; ``roi``: a region
            of interest or a binning that does not fit the image.
    """
    frame_id = message.header.frame_id
    try:
        return _calibration(message, frame_id, rectified)
    except InputRejected as error:
        raise InputRejected(error.reason, f"camera_info of frame '{frame_id}': {error}") from error


def _calibration(message: Any, frame_id: str, rectified: bool) -> Calibration:
    width, height = int(message.width), int(message.height)
    K = np.array(message.k, dtype=np.float64).reshape(3, 3)
    P = np.array(message.p, dtype=np.float64).reshape(3, 4)
    K_given, P_given = bool(K.any()), bool(P[:, :3].any())
    if not K_given and not P_given:
        raise InputRejected(
            "intrinsics",
            "K is all zeros, the camera driver has no calibration; calibrate the camera and give its driver the result",
        )
    notes: list[Note] = []
    T_camera_image = None
    if P_given and (rectified or not K_given):
        if not K_given:
            notes.append(("intrinsics_from_p", f"K of frame '{frame_id}' is empty: P holds, without distortion"))
        if not np.isfinite(P).all() or P[0, 0] <= 0 or P[1, 1] <= 0:
            raise InputRejected(
                "intrinsics",
                f"P = {P.tolist()} must be finite, with positive fx and fy, for rectified images; calibrate the camera "
                "anew",
            )
        camera = CameraModel(width, height, P[:, :3])
        T_camera_image = _image_frame(message, P)
        if T_camera_image is not None and np.linalg.norm(T_camera_image[:3, 3]) > _SHIFT_M:
            x, y, z = T_camera_image[:3, 3]
            text = (
                f"P's fourth column places the camera at ({x:.3f}, {y:.3f}, {z:.3f}) m in frame '{frame_id}', as that "
                "of a second stereo camera in the frame of the first; if it is the camera's own, clear that column"
            )
            notes.append(("stereo_shift", text))
    elif rectified:
        notes.append(("intrinsics_from_k", f"P of frame '{frame_id}' is empty: K holds for its rectified images"))
        camera = CameraModel(width, height, _with_last_row(K))
    else:
        D = np.array(message.d, np.float64)
        camera = CameraModel(width, height, _with_last_row(K), message.distortion_model, D)
    window, binning = _window(message, width, height)
    doubt = check_intrinsics(camera)
    if doubt:
        doubt = f"camera_info of frame '{frame_id}': {doubt}"
    return Calibration(camera, window, binning, T_camera_image, frame_id, doubt, tuple(notes))


def _with_last_row(K: NDArray[np.float64]) -> NDArray[np.float64]:
    """K with its last row where a driver has left that out: nothing else can be meant."""
    if not K[2].any():
        K[2, 2] = 1.0
    return K


def _image_frame(message: Any, P: NDArray[np.float64]) -> rigid.Matrix | None:
    R = np.array(message.r, dtype=np.float64).reshape(3, 3)
    if not R.any():
        R = np.eye(3)
    if not (np.abs(R @ R.T - np.eye(3)) < _ORTHONORMAL).all() or not np.linalg.det(R) > 0:
        raise InputRejected("intrinsics", f"R = {R.tolist()} must be a rotation for rectified images")
    # A pixel of X (in the camera's frame) is P[:, :3] @ R @ X + P[:, 3] = P[:, :3] @ (R @ X - centre).
    centre = -np.linalg.solve(P[:, :3], P[:, 3])
    if np.array_equal(R, np.eye(3)) and not centre.any():
        return None
    return rigid.transform(R.T @ centre, R.T)


def _window(message: Any, width: int, height: int) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    roi = message.roi
    left, top = int(roi.x_offset), int(roi.y_offset)
    columns, rows = int(roi.width) or width - left, int(roi.height) or height - top
    binning = max(int(message.binning_x), 1), max(int(message.binning_y), 1)
    if columns <= 0 or rows <= 0 or left + columns > width or top + rows > height:
        raise InputRejected(
            "roi",
            f"the region of interest of {columns}x{rows} at ({left}, {top}) reaches beyond the {width}x{height} of the "
            "calibration; width and height must be the full image's, the region's is given in its pixels",
        )
    if binning[0] > columns or binning[1] > rows:
        raise InputRejected("roi", f"a binning of {binning[0]}x{binning[1]} leaves nothing of {columns}x{rows} pixels")
    return (left, top, columns, rows), binning


def _is_part(size: int, full: int, binned: int) -> bool:
    return size in (full // binned, -(-full // binned))
