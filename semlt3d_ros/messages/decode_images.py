"""Images out of ``sensor_msgs/Image`` and ``sensor_msgs/CompressedImage``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.messages.bridge import image_bridge
from semlt3d_ros.messages.buffers import byte_buffer

Image = NDArray[np.uint8]

_MAX_PIXELS = 1 << 27
"""Above every camera; a forged header must not make the decoder allocate gigabytes."""

_CUT_OFF = "see whether driver, connection or recorder cut it off"

_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


_LEAST_BITS, MOST_BITS = 10, 16


class SampleDepth:
    """How many bits the 16-bit samples of one camera use: the fewest of 10, 12, 14, 16 that hold all seen so far.

    Sensors of 10 to 14 bits are mostly sent as 16 bits that they do not fill. The depth only grows, so that a camera's
    images keep one scale however dark a scene is.

    Attributes:
        brightest: the largest sample so far; 0 before the first image of 16 bits.
    """

    def __init__(self) -> None:
        self.brightest = 0

    @property
    def bits(self) -> int:
        """The depth."""
        return max(_LEAST_BITS, self.brightest.bit_length() + self.brightest.bit_length() % 2)

    def to_bytes(self, samples: NDArray[np.uint16]) -> Image:
        """The upper eight of the bits in use, of samples of any shape."""
        self.brightest = max(self.brightest, int(samples.max(initial=0)))
        return (samples >> (self.bits - 8)).astype(np.uint8)


class _FullDepth(SampleDepth):
    """Takes all 16 bits as used."""

    def to_bytes(self, samples: NDArray[np.uint16]) -> Image:
        return (samples >> (MOST_BITS - 8)).astype(np.uint8)


_FULL_DEPTH = _FullDepth()


def _by_code(code: int) -> Callable[[NDArray], Image]:
    return lambda pixels: cv2.cvtColor(pixels, code)


_CONVERSIONS: dict[str, tuple[int, Callable[[NDArray], Image]]] = {
    "rgb8": (3, lambda pixels: pixels),
    "bgr8": (3, _by_code(cv2.COLOR_BGR2RGB)),
    "rgba8": (4, _by_code(cv2.COLOR_RGBA2RGB)),
    "bgra8": (4, _by_code(cv2.COLOR_BGRA2RGB)),
    "mono8": (1, _by_code(cv2.COLOR_GRAY2RGB)),
    # OpenCV's older names (BayerBG for RGGB) start at the second row and column; these start where ROS does.
    "bayer_rggb8": (1, _by_code(cv2.COLOR_BayerRGGB2RGB)),
    "bayer_bggr8": (1, _by_code(cv2.COLOR_BayerBGGR2RGB)),
    "bayer_gbrg8": (1, _by_code(cv2.COLOR_BayerGBRG2RGB)),
    "bayer_grbg8": (1, _by_code(cv2.COLOR_BayerGRBG2RGB)),
    "yuv422": (2, _by_code(cv2.COLOR_YUV2RGB_UYVY)),
    "uyvy": (2, _by_code(cv2.COLOR_YUV2RGB_UYVY)),
    "yuv422_yuy2": (2, _by_code(cv2.COLOR_YUV2RGB_YUY2)),
    "yuyv": (2, _by_code(cv2.COLOR_YUV2RGB_YUY2)),
}
"""Bytes per pixel and conversion of each encoding (``sensor_msgs/image_encodings.hpp``)."""

_WIDE = {
    "rgb16": "rgb8",
    "bgr16": "bgr8",
    "rgba16": "rgba8",
    "bgra16": "bgra8",
    "mono16": "mono8",
    "bayer_rggb16": "bayer_rggb8",
    "bayer_bggr16": "bayer_bggr8",
    "bayer_gbrg16": "bayer_gbrg8",
    "bayer_grbg16": "bayer_grbg8",
}
"""Encodings of 16 bits, each with that of 8 bits that it becomes."""

_PAIRED = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv")


def decode_image(message: Any, depth: SampleDepth = _FULL_DEPTH) -> Image:
    """The RGB image (H, W, 3) uint8 of ``sensor_msgs/Image``.

    ``rgb8`` comes back as a view into the message's data, read-only where that is. Encodings that are not read here are
    left to cv_bridge, if there is one.

    Args:
        message: the message.
        depth: which bits of 16-bit samples its camera uses, and learns of them; by default all 16.

    Raises:
        InputRejected: ``encoding``: not one that is known; ``image_size``: width, height and step do not fit each other
            or the data.
    """
    encoding = message.encoding.lower()
    narrow = _WIDE.get(encoding, encoding)
    if narrow not in _CONVERSIONS:
        return _decode_by_bridge(message)
    channels, convert = _CONVERSIONS[narrow]
    rows = _rows(message, encoding, channels if narrow == encoding else 2 * channels)
    if narrow != encoding:
        rows = depth.to_bytes(np.ascontiguousarray(rows).view(">u2" if message.is_bigendian else "<u2"))
    return convert(rows.reshape(len(rows), -1, channels) if channels > 1 else rows)


def _decode_by_bridge(message: Any) -> Image:
    what = f"{_place(message)}: encoding '{message.encoding}' is not supported"
    bridge, why_not = image_bridge()
    if bridge is None:
        raise InputRejected("encoding", f"{what}; use one of {', '.join((*_CONVERSIONS, *_WIDE))} ({why_not})")
    try:
        rows = _rows(message, message.encoding, bridge.pixel_bytes(message.encoding))
        return bridge.rgb(message.encoding, rows, int(message.width), int(message.is_bigendian))
    except InputRejected:
        raise
    except Exception as error:  # by CvBridgeError, TypeError, AttributeError, ... it says that it cannot
        raise InputRejected("encoding", f"{what}, nor by cv_bridge ({error}); use rgb8 or bgr8") from error


def decode_compressed_image(
    message: Any, at_least: tuple[int, int] | None = None, depth: SampleDepth = _FULL_DEPTH, exact: bool = False
) -> Image:
    """The RGB image (H, W, 3) uint8 of ``sensor_msgs/CompressedImage`` with a JPEG or PNG in it.

    What it is, is read from the data: the ``format`` strings of drivers are too varied to trust.

    Args:
        message: the message.
        at_least: (width, height) that the caller needs: a JPEG is then decoded straight to the smallest eighth of its
            size (1/8, 2/8, ... 8/8) of which neither side is smaller than this. Other formats come at full size.
        depth: as of ``decode_image``, for PNGs of 16 bits.
        exact: decode JPEGs as libjpeg does unless told otherwise, and so OpenCV and Pillow do; else faster by a sixth,
            and nearly so.

    Raises:
        InputRejected: ``encoding``: neither JPEG nor PNG; ``corrupt_jpeg``, ``corrupt_png``; ``image_size``.
    """
    data = byte_buffer(message.data)
    width, height = _compressed_size(message, data)
    if bytes(data[:3]) == _JPEG_MAGIC:
        return _decode_jpeg(message, data, at_least or (width, height), exact)
    return _decode_png(message, data, depth)


def compressed_image_size(message: Any) -> tuple[int, int]:
    """(width, height) of the image in ``sensor_msgs/CompressedImage``, without decoding it.

    Raises:
        InputRejected: as by ``decode_compressed_image``.
    """
    return _compressed_size(message, byte_buffer(message.data))


def _compressed_size(message: Any, data: NDArray[np.uint8]) -> tuple[int, int]:
    if bytes(data[:3]) == _JPEG_MAGIC:
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError as error:
            raise InputRejected("corrupt_jpeg", f"{_place(message)}: the JPEG header is damaged ({error})") from error
    elif bytes(data[:8]) == _PNG_MAGIC and len(data) >= 24:
        width, height = (int(value) for value in np.frombuffer(bytes(data[16:24]), ">u4"))
    else:
        raise InputRejected(
            "encoding",
            f"{_place(message)}: format '{message.format}' with {len(data)} bytes is neither JPEG nor PNG; "
            "publish one of them",
        )
    if not 0 < width * height <= _MAX_PIXELS:
        raise InputRejected("image_size", f"{_place(message)}: {width}x{height} is not the size of a camera image")
    return width, height


def _decode_jpeg(message: Any, data: NDArray[np.uint8], at_least: tuple[int, int], exact: bool) -> Image:
    # The fast DCT saves a sixth of the time at full size for errors of at most 5 of 255, 1 on average; the fast chroma
    # upsampling saves next to nothing for errors of 25.
    width, height = at_least
    try:
        return simplejpeg.decode_jpeg(data, "RGB", fastdct=not exact, min_width=width, min_height=height, min_factor=1)
    except ValueError as error:
        raise InputRejected("corrupt_jpeg", f"{_place(message)}: the JPEG is damaged ({error}); {_CUT_OFF}") from error


def _decode_png(message: Any, data: NDArray[np.uint8], depth: SampleDepth) -> Image:
    image = None
    if b"IEND" in bytes(data[-16:]):
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image is None:
        raise InputRejected("corrupt_png", f"{_place(message)}: the PNG is damaged or cut off; {_CUT_OFF}")
    return cv2.cvtColor(depth.to_bytes(image) if image.dtype == np.uint16 else image, cv2.COLOR_BGR2RGB)


def _rows(message: Any, encoding: str, pixel_bytes: int) -> NDArray[np.uint8]:
    """The rows (H, W x bytes of a pixel) of an image, without what pads them: a view into its data."""
    data = byte_buffer(message.data)
    _check_geometry(message, encoding, pixel_bytes, len(data))
    height, step = int(message.height), int(message.step)
    return data[: step * height].reshape(height, step)[:, : int(message.width) * pixel_bytes]


def _check_geometry(message: Any, encoding: str, pixel_bytes: int, available: int) -> None:
    width, height, step = int(message.width), int(message.height), int(message.step)
    problem = ""
    if width <= 0 or height <= 0:
        problem = "width and height must be positive"
    elif width * height > _MAX_PIXELS:
        problem = "no camera has so many pixels"
    elif encoding in _PAIRED and width % 2:
        problem = f"{encoding} needs an even width"
    elif encoding.startswith("bayer") and (width < 4 or height < 4):
        problem = "a Bayer image needs at least 4x4 pixels"
    elif step < width * pixel_bytes:
        problem = f"step {step} is less than the {width * pixel_bytes} bytes of a row"
    elif available < step * height:
        problem = f"the data has {available} bytes, step x height is {step * height}"
    if problem:
        raise InputRejected("image_size", f"{_place(message)}: {width}x{height} {encoding}: {problem}")


def _place(message: Any) -> str:
    return f"image of frame '{message.header.frame_id}'"
