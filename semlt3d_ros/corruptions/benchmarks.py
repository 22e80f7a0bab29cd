"""Which corruptions there are, how strong their severities are, and how they meet the frames of a drive.

RoboBEV (Xie et al., TPAMI 2025): eight, each easy, moderate and hard. Dong et al. (CVPR 2023): those of its 27 that
cameras suffer, in five severities; without those that bend single objects, and those that RoboBEV has too.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import CameraView, Frame
from semlt3d_ros.corruptions import images

OfImage = Callable[[images.Image, int, np.random.Generator], images.Image]


@dataclass(frozen=True)
class Corruption:
    """One of them.

    Attributes:
        name: of it.
        strengths: by severity, from the mildest on.
        benchmark: that it is of.
        of_image: what becomes of each image; None of those that change no pixels of an image.
        kind: of the others: ``crash`` of cameras that are black throughout a drive; ``lost``: each image is black by
            chance; ``late``: each image is one that the camera took before; ``moved``: cameras sit elsewhere than they
            are said to.
    """

    name: str
    strengths: tuple[int, ...]
    benchmark: str
    of_image: OfImage | None = None
    kind: Literal["", "crash", "lost", "late", "moved"] = ""


_FIVE = (1, 2, 3, 4, 5)
ROBOBEV = (
    Corruption("brightness", (2, 4, 5), "RoboBEV", images.brightness),
    Corruption("low_light", (2, 3, 4), "RoboBEV", images.low_light),
    Corruption("fog", (2, 4, 5), "RoboBEV", images.fog),
    Corruption("snow", (1, 2, 3), "RoboBEV", images.snow),
    Corruption("motion_blur", (2, 4, 5), "RoboBEV", images.motion_blur),
    Corruption("color_quant", (1, 2, 3), "RoboBEV", images.color_quant),
    Corruption("camera_crash", (2, 4, 5), "RoboBEV", kind="crash"),
    Corruption("frame_lost", (2, 4, 5), "RoboBEV", kind="lost"),
)
DONG = (
    Corruption("rain", _FIVE, "Dong et al.", images.rain),
    Corruption("strong_sunlight", _FIVE, "Dong et al.", images.strong_sunlight),
    Corruption("gaussian_noise", _FIVE, "Dong et al.", images.gaussian_noise),
    Corruption("uniform_noise", _FIVE, "Dong et al.", images.uniform_noise),
    Corruption("impulse_noise", _FIVE, "Dong et al.", images.impulse_noise),
    Corruption("spatial_misalignment", _FIVE, "Dong et al.", kind="moved"),
    Corruption("temporal_misalignment", _FIVE, "Dong et al.", kind="late"),
)
_MOVED_M, _TURNED_RAD = 0.04, 0.004
"""Deviations of a camera's place and attitude, along and about each axis, times the strength."""
_LATE_IMAGES = 2
"""By which images are late, times the strength."""
CORRUPTIONS = {each.name: each for each in (*ROBOBEV, *DONG)}


def corruption_named(name: str) -> Corruption:
    """The corruption of a name.

    Raises:
        ConfigurationError: there is none; names those that there are.
    """
    if name not in CORRUPTIONS:
        raise ConfigurationError(f"corruption '{name}' is not known; use one of {', '.join(CORRUPTIONS)}")
    return CORRUPTIONS[name]


BENCHMARKS = {"robobev": ROBOBEV, "dong": DONG, "all": (*ROBOBEV, *DONG)}


def corruptions_named(names: Sequence[str]) -> tuple[Corruption, ...]:
    """The corruptions of names, or of the names of ``BENCHMARKS``; each once.

    Raises:
        ConfigurationError: a name is neither.
    """
    chosen: dict[str, Corruption] = {}
    for name in names:
        for each in BENCHMARKS.get(name) or (corruption_named(name),):
            chosen[each.name] = each
    return tuple(chosen.values())


def unknown_corruptions(names: Sequence[str]) -> list[str]:
    """What is wrong with names, for the checks of configurations."""
    try:
        corruptions_named(names)
    except ConfigurationError as error:
        return [f"corruptions: {error}"]
    return []


class Corruptor:
    """Corrupts the frames of drives; the same seed and the same frames give the same.

    Args:
        corruption: which.
        severity: from 1, the mildest, on.
        cameras: all cameras of the rig; those that crash are drawn from them.
        seed: decides what is left to chance.

    Raises:
        ConfigurationError: it has no such severity.
    """

    def __init__(self, corruption: Corruption, severity: int, cameras: Sequence[str], seed: int = 0) -> None:
        if not 1 <= severity <= len(corruption.strengths):
            raise ConfigurationError(
                f"corruption '{corruption.name}' has severities 1 to {len(corruption.strengths)}, not {severity}"
            )
        self.corruption, self._seed = corruption, seed
        self._past: dict[str, deque[images.Image]] = {}
        self._strength = corruption.strengths[severity - 1]
        rng = np.random.default_rng([seed, zlib.crc32(corruption.name.encode()), self._strength])
        # As often as a camera is drawn more than once, fewer crash; so it is in RoboBEV.
        crashing = self._strength if cameras and corruption.kind == "crash" else 0
        self._crashed = {cameras[number] for number in rng.choice(max(1, len(cameras)), size=crashing)}

    def __call__(self, frame: Frame) -> Frame:
        """The frame with its images and mountings as they come out; all else is left."""
        return replace(frame, views=tuple(self._view(frame, view) for view in frame.views))

    def _view(self, frame: Frame, view: CameraView) -> CameraView:
        image = self.image(view.image, frame.stamp, view.name)
        return replace(view, image=image, T_ego_camera=view.T_ego_camera @ self.mounting(view.name))

    def mounting(self, camera: str) -> rigid.Matrix:
        """(4, 4) from where a camera is said to be to where it seems to be; the same throughout a drive."""
        if self.corruption.kind != "moved":
            return np.eye(4)
        rng = np.random.default_rng([self._seed, zlib.crc32(camera.encode())])
        turn = rng.normal(0, _TURNED_RAD * self._strength, 3)
        moved = np.eye(4)
        moved[:3, :3] = cv2.Rodrigues(turn)[0]
        moved[:3, 3] = rng.normal(0, _MOVED_M * self._strength, 3)
        return moved

    def image(self, image: images.Image, stamp: int, camera: str) -> images.Image:
        """What becomes of an image of a camera that was taken at a stamp; to be asked in their order."""
        if self.corruption.kind == "moved":
            return image
        if self.corruption.kind == "late":
            past = self._past.setdefault(camera, deque(maxlen=_LATE_IMAGES * self._strength + 1))
            past.append(image)
            return past[0]
        rng = np.random.default_rng([self._seed, stamp & 0xFFFFFFFFFFFF, zlib.crc32(camera.encode())])
        if self.corruption.of_image is not None:
            return self.corruption.of_image(image, self._strength, rng)
        crashes = self.corruption.kind == "crash"
        lost = camera in self._crashed if crashes else rng.random() < self._strength / 6
        return np.zeros_like(image) if lost else image
