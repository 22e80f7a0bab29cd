"""Images of data sets as they lie on the disk: whether they are whole, and how large."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from semlt3d_ros.datasets.pickles import read_file
from semlt3d_ros.messages.decode_images import compressed_image_size, decode_compressed_image

_END_OF_JPEG = b"\xff\xd9"


class CompressedFile:
    """The parts of a ``CompressedImage`` that its decoder looks at."""

    format = ""

    def __init__(self, content: bytes, frame_id: str) -> None:
        self.data = np.frombuffer(content, np.uint8)
        self.header = SimpleNamespace(frame_id=frame_id)


def whole_image_size(content: bytes, frame_id: str) -> tuple[int, int]:
    """(width, height) of a JPEG or PNG that is there to its last byte.

    A JPEG that ends as JPEGs do is believed; anything else is decoded, at the least cost.

    Args:
        content: the file.
        frame_id: what to call it in messages.

    Raises:
        InputRejected: it is neither, damaged or cut off.
    """
    message = CompressedFile(content, frame_id)
    size = compressed_image_size(message)
    if not (content.startswith(b"\xff\xd8") and content.endswith(_END_OF_JPEG)):
        decode_compressed_image(message, at_least=(1, 1))
    return size


def read_image(path: Path) -> tuple[bytes, int, int]:
    """A JPEG or PNG as it is, with its width and height.

    Raises:
        InputRejected: it is missing, or one that this package's reader refuses.
    """
    content = read_file(path)
    return content, *whole_image_size(content, path.name)
