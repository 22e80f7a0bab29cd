"""What data sets say about their frames, to ``semlt3d_ros/DatasetSample`` and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.frame import SampleInfo
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.messages.building import build_header, build_matrix_pose, numeric_sequence
from semlt3d_ros.messages.decode_geometry import matrix_of
from semlt3d_ros.messages.topics import SAMPLE_TYPE
from semlt3d_ros.messages.typestore import MessageTypes, message_class


def encode_sample(sample: SampleInfo, stamp: int, frame_id: str, types: MessageTypes = message_class) -> Any:
    """``semlt3d_ros/DatasetSample`` of the frame at ``stamp`` (nanoseconds), windows given in ``frame_id``."""
    region = sample.region
    return types(SAMPLE_TYPE)(
        header=build_header(types, stamp, frame_id),
        data_set=sample.data_set,
        scene=sample.scene,
        token=sample.token,
        attributes=list(sample.attributes),
        visibility=numeric_sequence(types(SAMPLE_TYPE), np.asarray(sample.visibility, np.float32)),
        labelled=[_window(types, window) for window in region.windows],
        labelled_range=region.range_m if math.isfinite(region.range_m) else 0.0,
        left_out=[_window(types, window) for window in region.left_out],
    )


def decode_sample(message: Any) -> SampleInfo:
    """What a data set says about a frame, of ``semlt3d_ros/DatasetSample``.

    Raises:
        InputRejected: ``sample``: a window, or the range, is none.
    """
    return SampleInfo(
        data_set=message.data_set,
        scene=message.scene,
        token=message.token,
        attributes=tuple(message.attributes),
        visibility=tuple(float(share) for share in message.visibility),
        region=LabelledRegion(
            tuple(_read_window(window) for window in message.labelled),
            tuple(_read_window(window) for window in message.left_out),
            _read_range(message.labelled_range),
        ),
    )


def _window(types: MessageTypes, window: ViewWindow) -> Any:
    return types("semlt3d_ros/msg/ViewWindow")(
        camera=build_matrix_pose(types, window.T_ego_camera),
        left=window.left,
        top=window.top,
        right=window.right,
        bottom=window.bottom,
    )


def _read_window(message: Any) -> ViewWindow:
    bounds = message.left, message.top, message.right, message.bottom
    if not all(map(math.isfinite, bounds)) or message.left >= message.right or message.top >= message.bottom:
        text = ", ".join(f"{bound:g}" for bound in bounds)
        raise InputRejected("sample", f"a window's bounds left, top, right, bottom are {text}; they must ascend")
    return ViewWindow(
        matrix_of(message.camera.position, message.camera.orientation, "ego", "window"), *map(float, bounds)
    )


def _read_range(value: float) -> float:
    if not value >= 0:
        raise InputRejected("sample", f"labelled_range is {value:g}; give metres, or 0 for no limit")
    return float(value) or math.inf
