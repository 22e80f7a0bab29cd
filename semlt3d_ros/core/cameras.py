"""Camera models: pinhole projection with the distortion models of ``sensor_msgs/CameraInfo``.

Camera frames follow REP-103: z forward, x right, y down. Pixel centres lie at integer coordinates, as in OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import InputRejected

DISTORTION_MODELS = ("", "plumb_bob", "rational_polynomial", "equidistant")
_POLYNOMIAL = (0, 4, 5, 8, 12, 14)
"""One formula, whose later coefficients are 0 where they are not given; OpenCV does not look at the model's name."""
_COEFFICIENTS = {"": (0,), "plumb_bob": _POLYNOMIAL, "rational_polynomial": _POLYNOMIAL, "equidistant": (0, 4)}
_NEWTON_STEPS = 20
_WIDEST = 10.0


@dataclass(frozen=True)
class CameraModel:
    """Intrinsics of one camera.

    Attributes:
        width, height: image size in pixels.
        K: (3, 3) float64 intrinsic matrix.
        distortion_model: one of ``DISTORTION_MODELS``; ``""`` is an ideal pinhole.
        D: distortion coefficients in OpenCV's order: k1 k2 p1 p2 k3 (plumb_bob), further k4 k5 k6 and thin prism
            s1..s4 (rational_polynomial), or k1..k4 of the angle (equidistant).

    Raises:
        InputRejected: ``intrinsics`` or ``distortion``: values that no camera has, or a model that is not known.
    """

    width: int
    height: int
    K: NDArray[np.float64]
    distortion_model: str = ""
    D: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        K = np.asarray(self.K, dtype=np.float64)
        D = np.asarray(self.D, dtype=np.float64).reshape(-1)
        object.__setattr__(self, "K", K)
        object.__setattr__(self, "D", D)
        if self.width <= 0 or self.height <= 0:
            raise InputRejected(
                "intrinsics",
                f"image size {self.width}x{self.height} is not positive; width and height must be those of the image",
            )
        if K.shape != (3, 3) or not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
            raise InputRejected(
                "intrinsics",
                f"K = {K.tolist()} is not an intrinsic matrix: fx and fy must be positive, all values finite; "
                "calibrate the camera anew",
            )
        if not np.allclose(K[2], (0.0, 0.0, 1.0), atol=1e-6) or abs(K[1, 0]) > 1e-6 * K[0, 0]:
            transposed = K[0, 2] == K[1, 2] == 0 and K[2, :2].any()
            raise InputRejected(
                "intrinsics",
                f"K = {K.tolist()} is not an intrinsic matrix: its rows must be (fx, s, cx), (0, fy, cy), (0, 0, 1)"
                + ("; it is transposed" if transposed else ""),
            )
        if self.distortion_model not in DISTORTION_MODELS:
            raise InputRejected(
                "distortion",
                f"distortion model '{self.distortion_model}' is not supported; "
                f"use one of {', '.join(DISTORTION_MODELS[1:])}",
            )
        if len(D) not in _COEFFICIENTS[self.distortion_model] and D.any():
            raise InputRejected(
                "distortion",
                f"{len(D)} coefficients do not fit '{self.distortion_model}', "
                f"which takes one of these numbers: {', '.join(map(str, _COEFFICIENTS[self.distortion_model]))}; "
                "calibrate the camera anew",
            )
        if D[12:].any():
            raise InputRejected(
                "distortion", "a tilted sensor (coefficients 13 and 14) is not supported; they must be 0"
            )
        if not np.isfinite(D).all():
            raise InputRejected("distortion", f"D = {D.tolist()} is not finite; calibrate the camera anew")

    @classmethod
    def from_numbers(cls, width: int, height: int, fx: float, fy: float, cx: float, cy: float) -> CameraModel:
        """An ideal pinhole of its focal lengths and principal point, all in pixels."""
        return cls(width, height, np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]))

    @property
    def is_pinhole(self) -> bool:
        """Whether the camera has no distortion."""
        return self.distortion_model != "equidistant" and not self.D.any()

    def pinhole(self) -> CameraModel:
        """The same camera without distortion."""
        return CameraModel(self.width, self.height, self.K)

    def resized(self, width: int, height: int) -> CameraModel:
        """The camera of this image resized to another size (the whole image, pixel centres aligned as by OpenCV)."""
        sx, sy = width / self.width, height / self.height
        # An image scaled by s maps pixel centre u to s * (u + 1/2) - 1/2.
        A = np.array([[sx, 0.0, 0.5 * sx - 0.5], [0.0, sy, 0.5 * sy - 0.5], [0.0, 0.0, 1.0]])
        return CameraModel(width, height, A @ self.K, self.distortion_model, self.D)

    def cropped(self, left: int, top: int, width: int, height: int) -> CameraModel:
        """The camera of a window of this image; the window may reach beyond the image."""
        K = self.K.copy()
        K[0, 2] -= left
        K[1, 2] -= top
        return CameraModel(width, height, K, self.distortion_model, self.D)

    def project(self, points: NDArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Project points of the camera frame.

        Args:
            points: (..., 3) metres, camera optical frame.

        Returns:
            Pixels (..., 2), and which of them are valid (...): in front of the camera, within the image, and within the
            field of view for which the distortion polynomial is monotonic (so nothing from outside folds back in).
        """
        p = np.asarray(points, dtype=np.float64)
        if self.distortion_model == "equidistant":
            radius = np.hypot(p[..., 0], p[..., 1])
            theta = np.arctan2(radius, p[..., 2])
            distorted = self._fisheye_radius(theta)
            scale = np.where(radius > 1e-12, distorted / np.maximum(radius, 1e-12), 1.0 / np.maximum(p[..., 2], 1e-12))
            xy = p[..., :2] * scale[..., None]
            # A fisheye sees beyond 90 degrees; only the folding point of its polynomial ends the view.
            front = theta <= self._fisheye_limit
        else:
            front = p[..., 2] > 1e-6
            xy = p[..., :2] / np.where(front, p[..., 2], 1.0)[..., None]
            front &= np.hypot(xy[..., 0], xy[..., 1]) <= self._radius_limit
            xy = self._distorted(xy)
        uv = xy @ self.K[:2, :2].T + self.K[:2, 2]
        inside = (uv[..., 0] >= -0.5) & (uv[..., 0] < self.width - 0.5)
        inside &= (uv[..., 1] >= -0.5) & (uv[..., 1] < self.height - 0.5)
        return uv, front & inside

    def unproject(self, pixels: NDArray) -> NDArray[np.float64]:
        """Viewing rays (..., 3) of unit length in the camera frame through pixels (..., 2)."""
        uv = np.asarray(pixels, dtype=np.float64)
        xy = (uv - self.K[:2, 2]) @ np.linalg.inv(self.K[:2, :2]).T
        if self.distortion_model == "equidistant":
            distorted = np.linalg.norm(xy, axis=-1)
            theta = np.clip(distorted, 0.0, self._fisheye_limit)
            for _ in range(_NEWTON_STEPS):
                step = 1e-6
                slope = (self._fisheye_radius(theta + step) - self._fisheye_radius(theta - step)) / (2 * step)
                theta = theta - (self._fisheye_radius(theta) - distorted) / np.maximum(slope, 1e-3)
                theta = np.clip(theta, 0.0, self._fisheye_limit)
            direction = xy / np.maximum(distorted, 1e-12)[..., None]
            return np.concatenate([direction * np.sin(theta)[..., None], np.cos(theta)[..., None]], axis=-1)
        if not self.is_pinhole:
            xy = self._undistorted(xy)
        rays = np.concatenate([xy, np.ones_like(xy[..., :1])], axis=-1)
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)

    def _fisheye_radius(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        k = np.zeros(4)
        k[: min(len(self.D), 4)] = self.D[:4]
        t2 = theta * theta
        return theta * (1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * k[3]))))

    @cached_property
    def _fisheye_limit(self) -> float:
        theta = np.linspace(0.0, np.pi, 1800)
        falling = np.flatnonzero(np.diff(self._fisheye_radius(theta)) <= 0)
        return float(theta[falling[0]]) if len(falling) else float(np.pi)

    def _polynomial(self) -> NDArray[np.float64]:
        k = np.zeros(14)
        k[: len(self.D)] = self.D
        return k

    def _distorted(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.is_pinhole:
            return xy
        k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, *_ = self._polynomial()
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return np.stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + s1 * r2 + s2 * r2 * r2,
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + s3 * r2 + s4 * r2 * r2,
            ],
            axis=-1,
        )

    @cached_property
    def _radius_limit(self) -> float:
        """Undistorted radius (tangent of the view angle) up to which pixels move outwards, in every direction.

        Decentring and thin prisms grow with the square of the radius and fold far points back long after the radial
        part has done its work, hence all directions; beyond ``_WIDEST`` no lens is described by these models.
        """
        if self.is_pinhole:
            return float("inf")
        radius = np.linspace(0.0, _WIDEST, 2000)
        azimuth = np.linspace(0.0, 2 * np.pi, 16, endpoint=False)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = self._distorted(np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth)], axis=-1))
            outwards = np.diff(np.linalg.norm(xy, axis=-1), axis=-1) > 0
        stops = np.flatnonzero(~outwards.all(axis=0))
        return float(radius[stops[0]]) if len(stops) else _WIDEST

    def _undistorted(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Newton's method on the distortion, kept within the monotonic part."""
        xy, limit, step = target.copy(), self._radius_limit, 1e-6
        step_x, step_y = np.array([step, 0.0]), np.array([0.0, step])
        for _ in range(_NEWTON_STEPS):
            error = self._distorted(xy) - target
            dx = (self._distorted(xy + step_x) - self._distorted(xy - step_x)) / (2 * step)
            dy = (self._distorted(xy + step_y) - self._distorted(xy - step_y)) / (2 * step)
            determinant = dx[..., 0] * dy[..., 1] - dy[..., 0] * dx[..., 1]
            determinant = np.where(np.abs(determinant) < 1e-6, 1e-6, determinant)
            xy = xy - np.stack(
                [
                    (error[..., 0] * dy[..., 1] - error[..., 1] * dy[..., 0]) / determinant,
                    (error[..., 1] * dx[..., 0] - error[..., 0] * dx[..., 1]) / determinant,
                ],
                axis=-1,
            )
            radius = np.linalg.norm(xy, axis=-1, keepdims=True)
            xy = np.where(radius > limit, xy * (limit / np.maximum(radius, 1e-12)), xy)
        return xy
