"""Encodings that are left to cv_bridge, with stand-ins for it; ``test/ros`` has the real one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.messages.bridge import image_bridge
from semlt3d_ros.messages.building import build_header
from semlt3d_ros.messages.decode import decode_image
from semlt3d_ros.messages.typestore import message_class

WORKING = """
import numpy as np

class CvBridge:
    def encoding_to_dtype_with_channels(self, encoding):
        if encoding != "16UC3":
            raise TypeError(f"Unrecognized image encoding [{encoding}]")
        return "uint16", 3

    def imgmsg_to_cv2(self, message, desired_encoding):
        assert desired_encoding == "rgb8"
        shape = message.height, message.step // 6, 3
        order = ">" if message.is_bigendian else "<"
        return (np.ndarray(shape, order + "u2", buffer=message.data)[:, : message.width] >> 8).astype(np.uint8)
"""
BUILT_FOR_ANOTHER_NUMPY = """
import os, signal

class CvBridge:
    def imgmsg_to_cv2(self, message, desired_encoding):
        os.kill(os.getpid(), signal.SIGSEGV)
"""


def image_message(encoding: str, width: int, step: int, data: np.ndarray, is_bigendian: int = 0) -> Any:
    return message_class("sensor_msgs/msg/Image")(
        header=build_header(message_class, 3, "cam"),
        height=2,
        width=width,
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=step,
        data=data,
    )


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """``install(text)``: a cv_bridge of that text, for this process and those that it starts."""

    def install_text(text: str) -> None:
        (tmp_path / "cv_bridge.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")

    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    image_bridge.cache_clear()
    yield install_text
    sys.modules.pop("cv_bridge", None)
    image_bridge.cache_clear()


def test_other_encodings_are_left_to_cv_bridge(install: Callable[[str], None]) -> None:
    install(WORKING)
    data = np.arange(40, dtype=np.uint8)
    decoded = decode_image(image_message("16UC3", 3, 20, data))
    assert decoded.tolist() == [[[1, 3, 5], [7, 9, 11], [13, 15, 17]], [[21, 23, 25], [27, 29, 31], [33, 35, 37]]]
    swapped = decode_image(image_message("16UC3", 3, 20, data, is_bigendian=1))
    assert swapped.tolist() == (decoded - 1).tolist()


def test_the_fast_path_is_kept(install: Callable[[str], None]) -> None:
    install(BUILT_FOR_ANOTHER_NUMPY)
    assert decode_image(image_message("mono8", 2, 2, np.arange(4, dtype=np.uint8))).shape == (2, 2, 3)
    assert image_bridge.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("encoding", "width", "step", "reason"),
    [
        ("yuv444", 3, 20, "encoding"),
        ("16UC3", 4, 20, "image_size"),
        ("16UC3", 3, 17, "image_size"),
        ("16UC3", 3, 21, "image_size"),
        ("16UC3", 0, 20, "image_size"),
    ],
)
def test_what_cv_bridge_cannot_read_is_rejected(
    install: Callable[[str], None], encoding: str, width: int, step: int, reason: str
) -> None:
    install(WORKING)
    with pytest.raises(InputRejected, match="image of frame 'cam'") as caught:
        decode_image(image_message(encoding, width, step, np.zeros(40, np.uint8)))
    assert caught.value.reason == reason


def test_without_cv_bridge_the_rejection_says_what_it_would_add(
    install: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    with pytest.raises(InputRejected, match=r"'16UC3' is not supported; use one of rgb8, .*cv_bridge.*not installed"):
        decode_image(image_message("16UC3", 3, 18, np.zeros(36, np.uint8)))


def test_a_cv_bridge_for_another_numpy_does_not_take_the_node_down(install: Callable[[str], None]) -> None:
    install(BUILT_FOR_ANOTHER_NUMPY)
    for _ in range(2):
        with pytest.raises(InputRejected, match="does not work with the installed NumPy") as caught:
            decode_image(image_message("16UC3", 3, 18, np.zeros(36, np.uint8)))
        assert caught.value.reason == "encoding"
    assert image_bridge.cache_info().misses == 1
    assert "cv_bridge" not in sys.modules
