"""Calibrations and mountings that cannot be true of a camera on a vehicle.

Where no useful answer is possible they are rejected; where it is merely most unlikely that they are meant, they are
told. Fisheyes, telephoto lenses, cropped sensors, cameras on trucks and cameras that look down are none of either.
"""

from __future__ import annotations

import math

import numpy as np

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.rigid import Matrix

_WIDEST_TANGENT = 10.0
"""Tangent of half the angle of view that images of pinhole-like models may have (168 degrees; ``core/cameras.py``)."""
_NARROWEST_DEG = (1.0, 5.0)
_SKEW = (0.5, 0.05)
"""Shares of fx."""
_ASPECT = (10.0, 1.3)
_OFFSET = (3.0, 0.75)
"""Distance of the principal point from the centre of the image, in image sizes; 0.5 is the image's edge."""
_CORNER = 0.35
"""The same where it is off in both axes, as K of an image twice as large is."""
_UP, _DOWN = 0.98, 0.9
"""Height component of the direction of view: 78 degrees up, 64 degrees down."""
_LEAST_REACHED = (0.1, 0.5)
"""Shares of the image for which a distortion knows where they look."""
_SAMPLES = 16
"""Pixels in each direction."""
_ROLLED_DEG = 60.0
_FARTHEST_M = (100.0, 10.0)
_DEEPEST_M, _BELOW_M = 2.5, 1.0
"""Below the base frame, which may be on the roof; and where the other cameras show that it is not."""

OPTICAL = "the camera's optical frame (z forward, x right, y down, REP-103)"


def check_intrinsics(camera: CameraModel) -> str:
    """What is most unlikely about a calibration at the camera's full size, with numbers; empty if nothing is.

    Raises:
        InputRejected: ``intrinsics``: no camera can have it.
    """
    fx, fy, cx, cy, skew = (camera.K[place] for place in ((0, 0), (1, 1), (0, 2), (1, 2), (0, 1)))
    size = f"{camera.width}x{camera.height}"
    tangents = np.array([camera.width / fx, camera.height / fy]) / 2
    fisheye = camera.distortion_model == "equidistant"
    angles = np.degrees(2 * (tangents if fisheye else np.arctan(tangents)))
    view = (
        f"fx {fx:g} and fy {fy:g} give an image of {size} a field of view of {angles[0]:.1f} by {angles[1]:.1f} degrees"
    )
    # A fisheye's circle may be much smaller than its image.
    if angles.min() > 360 if fisheye else (tangents > _WIDEST_TANGENT).any():
        units = "; K seems to be in units of the image's size, not in pixels" if max(fx, fy, cx, cy) < 10 else ""
        raise InputRejected("intrinsics", f"{view}, more than its model can have{units}; calibrate the camera anew")
    if angles.max() < _NARROWEST_DEG[0]:
        raise InputRejected("intrinsics", f"{view}; fx and fy must be in pixels; calibrate the camera anew")
    ratio = max(fx / fy, fy / fx)
    if ratio > _ASPECT[0]:
        raise InputRejected("intrinsics", f"fx {fx:g} and fy {fy:g} are too far apart for one lens")
    if abs(skew) > _SKEW[0] * fx:
        raise InputRejected(
            "intrinsics", f"the skew {skew:g} (row 1, column 2 of K) does not fit fx {fx:g}; is K transposed?"
        )
    offset = np.abs([(cx + 0.5) / camera.width - 0.5, (cy + 0.5) / camera.height - 0.5])
    centre = f"the principal point ({cx:g}, {cy:g}) lies far from the centre of an image of {size}"
    if offset.max() > _OFFSET[0]:
        raise InputRejected("intrinsics", f"{centre}; width and height must be those for which K was calibrated")
    reached = 1.0 if fisheye or camera.is_pinhole else _reached(camera)
    bent = f"D = {camera.D.tolist()} does not describe a lens: it tells for {reached:.0%} of the image where it looks"
    if reached < _LEAST_REACHED[0]:
        raise InputRejected("distortion", f"{bent}; calibrate the camera anew")
    doubts = []
    if reached < _LEAST_REACHED[1]:
        doubts.append(bent)
    if angles.max() < _NARROWEST_DEG[1]:
        doubts.append(view)
    if ratio > _ASPECT[1]:
        doubts.append(f"fx {fx:g} and fy {fy:g} are far apart")
    if abs(skew) > _SKEW[1] * fx:
        doubts.append(f"the skew {skew:g} is large for fx {fx:g}")
    if offset.max() > _OFFSET[1] or offset.min() > _CORNER:
        doubts.append(f"{centre}: is K of another image size?")
    return "; ".join(doubts) + "; calibrate the camera anew" if doubts else ""


def _reached(camera: CameraModel) -> float:
    """Share of the image whose pixels a ray leads to."""
    columns, rows = (np.linspace(0, size - 1, _SAMPLES) for size in (camera.width, camera.height))
    pixels = np.stack(np.meshgrid(columns, rows), axis=-1)
    with np.errstate(all="ignore"):
        there, _ = camera.project(camera.unproject(pixels))
        return float((np.linalg.norm(there - pixels, axis=-1) < 1.0).mean())


def check_mounting(T_base_camera: Matrix, usual_height: float = 0.0) -> str:
    """What is most unlikely about a camera's place on the vehicle, with numbers; empty if nothing is.

    Args:
        T_base_camera: (4, 4) the camera's optical frame in the base frame (REP-103: x forward, y left, z up).
        usual_height: median height of the rig's cameras above the base frame in metres.

    Raises:
        InputRejected: ``mounting``: nothing that the camera sees can be placed.
    """
    # Plain numbers, and words only where they are needed: this is asked for every camera of every set.
    x, y, z = T_base_camera[:3, 3].tolist()
    distance, up = math.hypot(x, y, z), float(T_base_camera[2, 2])

    def looks() -> str:
        elevation = math.degrees(math.asin(min(max(up, -1.0), 1.0)))
        return f"the camera looks {elevation:+.0f} degrees from the horizon"

    def placed() -> str:
        return f"it is placed at ({x:.1f}, {y:.1f}, {z:.1f}) m"

    if up > _UP:
        raise InputRejected(
            "mounting",
            f"{looks()}, straight up: its frame is a body frame (x forward, z up); name {OPTICAL} in the images' "
            "header or as frame_id in the rig",
        )
    if distance > _FARTHEST_M[0]:
        raise InputRejected(
            "mounting", f"{placed()}, {distance:.0f} m from the base frame; correct its transform (metres)"
        )
    doubts = []
    if up < -_DOWN:
        doubts.append(f"{looks()}, straight down; it should lie in {OPTICAL}")
    elif up < _DOWN:
        roll = math.degrees(math.atan2(T_base_camera[2, 0], -T_base_camera[2, 1]))
        if abs(roll) > _ROLLED_DEG:
            heading = math.degrees(math.atan2(T_base_camera[1, 2], T_base_camera[0, 2]))
            doubts.append(
                f"the camera, which looks to {heading:.0f} degrees, is rolled by {roll:.0f} degrees: its y axis does "
                f"not point down; it should lie in {OPTICAL}"
            )
    else:
        doubts.append(f"{looks()}, nearly straight up; it should lie in {OPTICAL}")
    if distance > _FARTHEST_M[1]:
        doubts.append(f"{placed()}, {distance:.0f} m from the base frame; correct its transform (metres)")
    if z < -(_BELOW_M if usual_height > 0 else _DEEPEST_M):
        doubts.append(f"{placed()}, far below the base frame; correct its transform (z up)")
    return "; ".join(doubts)
