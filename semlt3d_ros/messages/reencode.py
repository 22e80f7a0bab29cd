"""Image messages with other pixels: header, size and encoding stay, so that nobody notices but by looking."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.messages.building import numeric_sequence
from semlt3d_ros.messages.topics import COMPRESSED_IMAGE_TYPE

_QUALITY = 95
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_CODES = {
    "bgr8": cv2.COLOR_RGB2BGR,
    "rgba8": cv2.COLOR_RGB2RGBA,
    "bgra8": cv2.COLOR_RGB2BGRA,
    "mono8": cv2.COLOR_RGB2GRAY,
}
_BAYER = {"bayer_rggb8": "rggb", "bayer_bggr8": "bggr", "bayer_gbrg8": "gbrg", "bayer_grbg8": "grbg"}


def with_pixels(message: Any, type_name: str, image: NDArray[np.uint8]) -> Any:
    """The message with an RGB image (H, W, 3) in place of its own; it is changed itself.

    Raw images of an encoding that cannot be written here become ``rgb8``; JPEGs stay JPEGs, PNGs PNGs.

    Raises:
        InputRejected: ``encoding``: the image cannot be compressed.
    """
    if type_name == COMPRESSED_IMAGE_TYPE:
        message.data = numeric_sequence(type(message), np.frombuffer(_compressed(message, image), np.uint8))
        return message
    encoding = message.encoding.lower()
    pixels = _in_encoding(image, encoding)
    if pixels is None:
        message.encoding, pixels = "rgb8", image
    message.height, message.width = image.shape[:2]
    message.step = pixels[0].size
    message.data = numeric_sequence(type(message), np.ascontiguousarray(pixels).reshape(-1))
    return message


def keeps_encoding(encoding: str) -> bool:
    """Whether raw images of an encoding stay in it."""
    return encoding.lower() in {"rgb8", *_CODES, *_BAYER}


def _compressed(message: Any, image: NDArray[np.uint8]) -> bytes:
    if bytes(message.data[:8]) == _PNG_MAGIC:
        well, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if not well:
            raise InputRejected("encoding", "an image could not be written as PNG")
        return data.tobytes()
    jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(image), _QUALITY, "RGB", "420")
    return jpeg


def _in_encoding(image: NDArray[np.uint8], encoding: str) -> NDArray | None:
    if encoding == "rgb8":
        return image
    if encoding in _CODES:
        return np.asarray(cv2.cvtColor(image, _CODES[encoding]))
    if encoding in _BAYER:
        mosaic = np.empty(image.shape[:2], np.uint8)
        for place, color in enumerate(_BAYER[encoding]):
            rows, columns = divmod(place, 2)
            mosaic[rows::2, columns::2] = image[rows::2, columns::2, "rgb".index(color)]
        return mosaic
    return None
