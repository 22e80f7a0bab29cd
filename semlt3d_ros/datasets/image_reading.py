"""Image files of data sets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from semlt3d_ros.datasets.pickles import read_file
from semlt3d_ros.messages.decode_images import compressed_image_size, decode_compressed_image


def read_image(path: Path) -> tuple[bytes, int, int]:
    """A JPEG or PNG as it is, with its width and height.

    Raises:
        InputRejected: it is missing, or one that this package's reader refuses.
    """
    content = read_file(path)
    header = SimpleNamespace(frame_id=path.name)
    message = SimpleNamespace(data=np.frombuffer(content, np.uint8), format="", header=header)
    width, height = compressed_image_size(message)
    decode_compressed_image(message, at_least=(1, 1))  # to its last byte, at the least cost
    return content, width, height
