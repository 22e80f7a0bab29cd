"""The hook that images pass before they are written, to blur faces and number plates.

It is a function of the user's own, named ``module:function``, called as ``function(image, topic)`` with an (H, W, 3)
uint8 RGB image, which it may change, and its topic. It returns the image to write, of the same size, or None where
there is nothing to blur and the message is written as it came.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.messages.decode_images import decode_compressed_image, decode_image
from semlt3d_ros.messages.reencode import with_pixels
from semlt3d_ros.messages.topics import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE
from semlt3d_ros.messages.typestore import deserialize, serialize
from semlt3d_ros.recording.ring import Entry

Blur = Callable[[NDArray[np.uint8], str], "NDArray[np.uint8] | None"]


def load_blur(name: str) -> Blur:
    """The function ``module:function``.

    Raises:
        ConfigurationError: it cannot be imported; the module's own error is told.
    """
    module, _, function = name.partition(":")
    try:
        blur = getattr(importlib.import_module(module), function)
    except Exception as error:
        raise ConfigurationError(
            f"blur '{name}' cannot be imported: {type(error).__name__}: {error}; put its module where Python looks "
            "(PYTHONPATH), or set blur: null"
        ) from error
    if not callable(blur):
        raise ConfigurationError(f"blur '{name}' is no function")
    return blur  # type: ignore[no-any-return]


def blurred(entry: Entry, blur: Blur | None) -> bytes:
    """The message to write in place of one that was received.

    Raises:
        InputRejected: ``corrupt_message`` or as of decoding, an image that cannot be read, so neither blurred;
            ``blur``: the hook failed. Such a message must not be written.
    """
    if blur is None or entry.type_name not in (COMPRESSED_IMAGE_TYPE, IMAGE_TYPE):
        return entry.data
    message = deserialize(entry.data, entry.type_name)
    compressed = entry.type_name == COMPRESSED_IMAGE_TYPE
    image = decode_compressed_image(message) if compressed else decode_image(message)
    try:
        result = blur(image.copy(), entry.topic)
    except Exception as error:
        raise InputRejected("blur", f"the blurring failed: {type(error).__name__}: {error}") from error
    if result is None:
        return entry.data
    if not isinstance(result, np.ndarray) or result.shape != image.shape or result.dtype != np.uint8:
        kind = f"{result.shape} {result.dtype}" if isinstance(result, np.ndarray) else type(result).__name__
        raise InputRejected("blur", f"the blurring made {kind} of a {image.shape} uint8 image")
    return serialize(with_pixels(message, entry.type_name, result), entry.type_name)
