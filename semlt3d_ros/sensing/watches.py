"""What only a look at several messages of one source shows: stamps that do not advance, images without a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.messages.buffers import byte_buffer

_SECOND = 1_000_000_000
_REAL_CLOCK = 1_000_000_000 * _SECOND
"""September 2001: what begins at zero (a simulation, a machine's boot) does not get there."""
_SAMPLED_BYTES = 64
_SAMPLED_PIXELS = 24
_AVERAGED = 4
"""Each in each direction: samples, and neighbours that are averaged in each, so that noise is no picture."""
_FEW = 500
"""One sample of so many may be anything: a hot pixel, a light that leaks in."""
_SAME = 8
_BLACK, _WHITE = 16, 239
_AWHILE_IMAGES, _LEAST_IMAGES, _AWHILE_S = 20, 3, 2.0


class StampWatch:
    """Tells stamps that do not advance from messages that are delivered twice."""

    def __init__(self) -> None:
        self._stamp: int | None = None
        self._newest = 0
        self._content = b""
        self._repeats = 0

    def repeats(self, stamp: int, data: Any) -> int:
        """How many messages in a row, up to this one, had the stamp of one before although they say something else.

        Zero is no stamp, so that one counts whatever the message says, and the first one too after stamps of a real
        clock.

        Args:
            stamp: nanoseconds.
            data: the message's bytes, as any buffer; a few are compared.
        """
        content = _digest(data)
        self._newest = max(self._newest, stamp)
        if stamp != self._stamp:
            self._repeats = int(stamp <= 0 and self._newest > _REAL_CLOCK)
        elif stamp <= 0 or content != self._content:
            self._repeats += 1
        self._stamp, self._content = stamp, content
        return self._repeats


def _digest(data: Any) -> bytes:
    buffer = byte_buffer(data)
    return len(buffer).to_bytes(8, "little") + buffer[:: len(buffer) // _SAMPLED_BYTES + 1].tobytes()


@dataclass(frozen=True)
class NoPicture:
    """Why a camera's newest images show nothing.

    Attributes:
        reason: ``constant``, ``dark`` or ``bright``.
        text: numbers, and what to do.
        images: how many in a row.
    """

    reason: str
    text: str
    images: int


_TEXTS = {
    "constant": "they are all but of one colour; is the lens covered, or does the driver send empty or test images?",
    "dark": "they are nearly black; check lens, exposure and gain",
    "bright": "they are nearly white; check exposure and gain",
}


class PictureWatch:
    """Tells a camera whose images have shown nothing for a while: twenty in a row, or two seconds.

    Night and tunnels have lights, and are no such thing.
    """

    def __init__(self) -> None:
        self._start = 0
        self._newest = 0
        self._run = 0
        self._images = 0
        self._reason = ""
        self._range = (0, 0)

    def look(self, image: NDArray[np.uint8], stamp: int) -> NoPicture | None:
        """Look at an image (H, W, 3) of a stamp in nanoseconds; tells why there has been no picture for a while."""
        self._images += 1
        reason = self._fault(image)
        if not reason or reason != self._reason or stamp < self._start:
            self._start = stamp
            self._run = self._run if reason and reason == self._reason else 0
        self._reason, self._newest = reason, stamp
        self._run += bool(reason)
        awhile = self._run >= _LEAST_IMAGES and self._newest - self._start >= _AWHILE_S * _SECOND
        return self._told if self._run >= _AWHILE_IMAGES or awhile else None

    def at_end(self) -> NoPicture | None:
        """Why none of the images had a picture in it, however few there were; None if one had."""
        return self._told if self._images and self._run == self._images else None

    @property
    def _told(self) -> NoPicture:
        low, high = self._range
        return NoPicture(
            self._reason,
            f"{self._run} images in a row show nothing, all but a few pixels lie between {low} and {high} of 255: "
            + _TEXTS[self._reason],
            self._run,
        )

    def _fault(self, image: NDArray[np.uint8]) -> str:
        height, width = image.shape[:2]
        down, across = height // _SAMPLED_PIXELS + 1, width // _SAMPLED_PIXELS + 1
        rows, columns = -(-height // down), -(-width // across)
        total, count = np.zeros((rows, columns, 3), np.uint16), 0
        for top in range(min(_AVERAGED, down)):
            for left in range(min(_AVERAGED, across)):
                part = image[top::down, left::across]
                if part.shape == total.shape:
                    total, count = total + part, count + 1
        pixels = np.sort((total // count).reshape(-1, 3), axis=0)
        few = len(pixels) // _FEW
        low, high = pixels[few].astype(int), pixels[-1 - few].astype(int)
        self._range = int(low.min()), int(high.max())
        if high.max() < _BLACK:
            return "dark"
        if low.min() > _WHITE:
            return "bright"
        return "constant" if (high - low).max() <= _SAME else ""
