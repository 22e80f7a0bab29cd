"""Square windows cut out of images, such as those of ``core.regions``."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_LEAST_CONTRAST = 6.0
_DARK, _BRIGHT = 10.0, 245.0


def crop_region(
    image: NDArray[np.uint8], window: tuple[float, float, float, float], size: int, most_samples: int | None = None
) -> NDArray[np.uint8]:
    """The square window of an image (H, W, 3), scaled to (size, size, 3) with linear interpolation and area averaging.

    What lies beyond the border repeats the border.

    Args:
        image: to cut from.
        window: left, top, right, bottom in pixels.
        size: of the sides of the crop.
        most_samples: each way for a pixel of the crop, to bound the time that a large window takes; None takes as many
            as it takes to skip nothing.
    """
    left, top, right, bottom = window
    oversampling = max(1, int(np.ceil((right - left) / size)))
    samples = size * (oversampling if most_samples is None else min(oversampling, most_samples))
    # Only what the window reaches: OpenCV takes no images with sides beyond 32767 pixels, and needs no more.
    (first, last), (above, below) = (
        np.clip((np.floor(low), np.ceil(high)), 0, length - 1).astype(int)
        for low, high, length in ((left, right, image.shape[1]), (top, bottom, image.shape[0]))
    )
    reached = image[above : below + 1, first : last + 1]
    across, down = (right - left) / samples, (bottom - top) / samples
    to_image = np.array([[across, 0.0, left - first + 0.5 * across], [0.0, down, top - above + 0.5 * down]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(reached, to_image, (samples, samples), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    scaled = cut if samples == size else cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA)
    return scaled.astype(np.uint8, copy=False)


def with_full_contrast(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image (H, W, 3) whose darkest and brightest hundredth lie at the ends of the range, its colours as they are.

    In dusk and mist all values lie close together, which a CLIP that has seen daylight does not read. An image of one
    colour stays as it is.
    """
    low, high = np.percentile(image, (1, 99))
    if high - low < _LEAST_CONTRAST:
        return image
    stretched = (image.astype(np.float32) - low) * ((_BRIGHT - _DARK) / (high - low)) + _DARK
    return np.clip(np.rint(stretched), 0, 255).astype(np.uint8)
