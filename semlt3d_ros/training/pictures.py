"""Pictures of validation frames: what was there, and what was found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.viewing.picture import draw_frame

_PICTURES = 4
_MOST_FRAMES = 10
"""Frames that are detected in for one picture, so that memory takes part in it."""
_THRESHOLD = 0.2


def drawn(detector: Detector, frames: Frames, range_m: float) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Names and pictures of frames of a few drives, spread over all of them.

    Args:
        detector: what it finds is drawn if its confidence is 0.2 or more.
        frames: with truth.
        range_m: metres from the vehicle to the edge of the view from above.
    """
    drives = frames.drives()
    chosen = sorted({len(drives) * number // _PICTURES for number in range(_PICTURES)})
    for number, drive in enumerate(drives[place] for place in chosen):
        detector.reset()
        for index in drive[: 1 + min(len(drive) // 2, _MOST_FRAMES)]:
            frame = frames.frame(index)
            found = detector.detect(frame)
        yield f"drive_{number}", draw_frame(frame, found, None, _THRESHOLD, range_m=range_m)
