"""cv_bridge, where ROS has one: image encodings beyond those that are read here."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PROBE_TIMEOUT_S = 60.0
_PROBE = """
from types import SimpleNamespace
import numpy as np
from cv_bridge import CvBridge
pixels = np.arange(12, dtype=np.uint8)
message = SimpleNamespace(encoding="rgb16", height=1, width=2, step=12, data=pixels, is_bigendian=0)
assert CvBridge().imgmsg_to_cv2(message, "rgb8").shape == (1, 2, 3)
"""


class ImageBridge:
    """Reads images by cv_bridge; whatever it cannot read raises what cv_bridge raises.

    Args:
        bridge: a ``cv_bridge.CvBridge``.
    """

    def __init__(self, bridge: Any) -> None:
        self._bridge = bridge

    def pixel_bytes(self, encoding: str) -> int:
        """Bytes of one pixel."""
        depth, channels = self._bridge.encoding_to_dtype_with_channels(encoding)
        return np.dtype(depth).itemsize * int(channels)

    def rgb(self, encoding: str, rows: NDArray[np.uint8], width: int, is_bigendian: int) -> NDArray[np.uint8]:
        """The RGB image (H, W, 3) of rows (H, W x bytes of a pixel) without padding, which cv_bridge would misread."""
        height, step = rows.shape
        message = SimpleNamespace(
            encoding=encoding,
            height=height,
            width=width,
            step=step,
            data=np.ascontiguousarray(rows).reshape(-1),
            is_bigendian=is_bigendian,
        )
        return np.asarray(self._bridge.imgmsg_to_cv2(message, desired_encoding="rgb8"))


@lru_cache(maxsize=1)
def image_bridge() -> tuple[ImageBridge | None, str]:
    """cv_bridge, or None and the reason why it is not there.

    The first call starts a process: a cv_bridge that was built for another NumPy ends the process that uses it, and
    that must not be the node. (Built for NumPy 1, it is imported under NumPy 2 with a complaint, and then crashes.)
    """
    if importlib.util.find_spec("cv_bridge") is None:
        return None, "cv_bridge, which would add more, is not installed"
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
        usable = probe.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        usable = False
    if not usable:
        return None, f"cv_bridge, which would add more, does not work with the installed NumPy {np.__version__}"
    from cv_bridge import CvBridge

    return ImageBridge(CvBridge()), ""
