"""Corruptions of single images: the methods that RoboBEV and ImageNet-C (Hendrycks and Dietterich, ICLR 2019) describe.

Images are (H, W, 3) uint8 RGB of any size; a generator decides what is left to chance. ``strength`` is one of the five
levels of ImageNet-C, 1 to 5; which of them a benchmark calls easy or hard is said in ``corruptions.benchmarks``.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

_BRIGHTER = (0.1, 0.2, 0.3, 0.4, 0.5)
_DARKER = (0.6, 0.5, 0.4, 0.3, 0.2)
_FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
_BLUR = ((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0))
# How many flakes (mean, deviation), size, least, length of their streaks, and how much the image is whitened.
_SNOW = (
    (0.1, 0.3, 3.0, 0.5, 10, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 0.55),
)
_REFERENCE_WIDTH = 800
"""Blurs and flakes are as long in pixels as they are told for images of this width, in which RoboBEV looks."""


def brightness(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """Too much light: the value of each colour grows."""
    hsv = cv2.cvtColor(_unit(image), cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] + _BRIGHTER[strength - 1], 0, 1)
    return _bytes(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def low_light(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """A dark scene: the exposure falls, and noise of photons and of the sensor remains (Poisson and normal)."""
    exposure = _DARKER[strength - 1]
    dark = np.float32(exposure) * _unit(image) ** np.float32(2.0 - exposure)
    photons = 255.0 * exposure
    noisy = rng.poisson(dark * photons) / photons + rng.normal(0, 0.02 + 0.01 * strength, image.shape)
    return _bytes(noisy.astype(np.float32))


def fog(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """Fog in clouds: white fractal noise laid over the image."""
    thick, decay = _FOG[strength - 1]
    picture = _unit(image)
    most = max(float(picture.max()), 1e-3)
    clouds = plasma(max(image.shape[:2]), decay, rng)[: image.shape[0], : image.shape[1], None]
    return _bytes((picture + thick * clouds) * most / (most + thick))


def snow(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """Falling snow: streaks of flakes before a whitened scene."""
    mean, deviation, size, least, streak, kept = _SNOW[strength - 1]
    height, width = image.shape[:2]
    flakes = rng.normal(mean, deviation, (height, width)).astype(np.float32)
    crop = max(1, round(height / size)), max(1, round(width / size))
    flakes = cv2.resize(flakes[: crop[0], : crop[1]], (width, height), interpolation=cv2.INTER_LINEAR)
    flakes = np.where(flakes < least, 0.0, np.clip(flakes, 0, 1)).astype(np.float32)
    flakes = cv2.filter2D(flakes, -1, line_kernel(_pixels(streak, width), rng.uniform(-135.0, -45.0)))
    picture = _unit(image)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
    white = np.maximum(picture, grey * 1.5 + 0.5)
    scene = np.float32(kept) * picture + np.float32(1 - kept) * white
    return _bytes(scene + flakes[..., None] + np.rot90(flakes, 2)[..., None])


def motion_blur(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """The vehicle moves on while the shutter is open: everything is smeared along a line."""
    radius, deviation = _BLUR[strength - 1]
    kernel = line_kernel(
        _pixels(2 * radius + 1, image.shape[1]), rng.uniform(-45.0, 45.0), deviation / (2 * radius + 1)
    )
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)  # type: ignore[return-value]


def color_quant(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """Fewer bits a colour, 5 less ``strength``: as of bad compression."""
    step = 1 << (8 - max(1, 5 - strength))
    result: Image = (image // step * step).astype(np.uint8)
    return result


def gaussian_noise(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """Normal noise of the sensor, with the deviations of Dong et al. (CVPR 2023)."""
    return _bytes(_unit(image) + rng.normal(0, _NOISE[strength - 1], image.shape).astype(np.float32))


def uniform_noise(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """Uniform noise, with the widths of Dong et al."""
    wide = _NOISE[strength - 1]
    return _bytes(_unit(image) + rng.uniform(-wide, wide, image.shape).astype(np.float32))


def impulse_noise(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """Values that are black or white, as of a broken sensor or line (ImageNet-C's shares)."""
    drawn = rng.random(image.shape)
    share = _IMPULSES[strength - 1]
    result: Image = np.where(drawn < share / 2, 0, np.where(drawn < share, 255, image)).astype(np.uint8)
    return result


_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)
_IMPULSES = (0.03, 0.06, 0.09, 0.17, 0.27)


def rain(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """Rain: thin bright streaks that fall alike, before a scene that is a little darker."""
    height, width = image.shape[:2]
    drops = (rng.random((height, width)) < _RAIN[strength - 1]).astype(np.float32)
    streaks = cv2.filter2D(drops, -1, line_kernel(_pixels(24 + 4 * strength, width), rng.uniform(75.0, 105.0)))
    streaks = np.clip(streaks * np.float32(_pixels(24, width)), 0, 1)[..., None] * np.float32(0.5)
    return _bytes(_unit(image) * np.float32(1 - 0.05 * strength) * (1 - streaks) + np.float32(0.85) * streaks)


def strong_sunlight(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """The sun in the upper half of the picture: a disk that is white, and what it outshines around it."""
    height, width = image.shape[:2]
    radius = _SUN[strength - 1] * width / _SUN_WIDTH
    x, y = rng.uniform(0, width), rng.uniform(0, height / 3)
    away = np.hypot(np.arange(width)[None] - x, np.arange(height)[:, None] - y) / max(radius, 1.0)
    glare = np.exp(-np.maximum(away - 1.0, 0.0) / 1.5)[..., None].astype(np.float32)
    return _bytes(_unit(image) * (1 - glare) + glare)


_RAIN = (0.002, 0.004, 0.007, 0.011, 0.016)
_SUN = (30.0, 40.0, 50.0, 60.0, 70.0)
_SUN_WIDTH = 1600
"""Dong et al. give the sun's radius in pixels of nuScenes' images."""


def plasma(size: int, decay: float, rng: np.random.Generator) -> Floats:
    """(size, size) fractal noise in [0, 1] by octaves of half the height and twice the frequency per ``decay``."""
    result, height, cells = np.zeros((size, size), np.float32), 1.0, 2
    while cells < 2 * size:
        coarse = rng.uniform(-1, 1, (cells + 1, cells + 1)).astype(np.float32)
        result += np.float32(height) * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        height, cells = height / decay, cells * 2
    low, high = float(result.min()), float(result.max())
    scaled: Floats = ((result - low) / max(high - low, 1e-6)).astype(np.float32)
    return scaled


def line_kernel(length: int, degrees: float, deviation: float = 0.5) -> Floats:
    """A normalised kernel that smears along a line, the most at its middle; ``deviation`` as a share of ``length``."""
    side = max(1, length) | 1
    middle = side // 2
    along = np.linspace(-middle, middle, 8 * side + 1)
    weight = np.exp(-0.5 * (along / max(deviation * side, 1e-6)) ** 2)
    x = np.rint(middle + along * np.cos(np.radians(degrees))).astype(int)
    y = np.rint(middle - along * np.sin(np.radians(degrees))).astype(int)
    kernel = np.zeros((side, side), np.float32)
    np.add.at(kernel, (np.clip(y, 0, side - 1), np.clip(x, 0, side - 1)), weight)
    normalised: Floats = kernel / kernel.sum()
    return normalised


def _pixels(length: float, width: int) -> int:
    """A length in an image of a width, at least so long that it is seen."""
    return max(3, round(length * width / _REFERENCE_WIDTH))


def _unit(image: Image) -> Floats:
    return image.astype(np.float32) / np.float32(255)


def _bytes(values: NDArray) -> Image:
    return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
