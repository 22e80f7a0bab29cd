"""Mountings and calibrations that cannot be true of a camera on a vehicle, on their way through the frame builder."""

from __future__ import annotations

import numpy as np
import pytest

from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.decode import StampedTransform
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.preparation import ImageSpec

START = 1_700_000_000 * 1_000_000_000
PERIOD = 100_000_000
SPEC = ImageSpec(32, 20)


OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def _mounted(drive, matrix: np.ndarray) -> tuple:
    links = [StampedTransform("base_link", name, 0, drive.T_base_camera) for name in "AC"]
    links.append(StampedTransform("base_link", "B", 0, matrix))
    return topics.TF_STATIC, topics.TF_TYPE, encode.encode_transforms(links)


@pytest.mark.parametrize("heading", [0.0, 2.0, -1.0])
def test_a_body_frame_in_place_of_the_optical_one_is_refused(drive, feed, heading):
    builder = FrameBuilder(drive.rig, SPEC)
    messages = [_mounted(drive, rigid.planar(1.0, 0.0, heading, 1.5)), *drive.infos()]
    frames = feed(builder, [*messages, *[m for i in range(5) for m in drive.round(i)]])
    assert [frame.missing for frame in frames] == [("B",)] * 5 and builder.drops == {"mounting": 5}
    status = builder.camera_status["B"]
    assert (status.state, status.reason) == ("rejected", "mounting")
    assert (
        "+90 degrees" in status.detail
        and "REP-103" in status.detail
        and topics.camera_image_topic("B") in status.detail
    )
    ((fault),) = drive.told(builder, "mounting")
    assert fault.line == status.detail and fault.count == 5
    frames = feed(builder, [_mounted(drive, drive.T_base_camera), *drive.round(5)])
    assert frames[0].missing == () and builder.camera_status["B"].state == "ok"


def test_a_set_in_which_no_camera_sits_right_is_dropped_for_that(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    links = [StampedTransform("base_link", name, 0, rigid.transform((1500.0, 0, 1500.0), OPTICAL)) for name in "ABC"]
    messages = [(topics.TF_STATIC, topics.TF_TYPE, encode.encode_transforms(links)), *drive.infos()]
    assert not feed(builder, [*messages, *drive.round(0)])
    assert builder.dropped_sets == {"mounting": 1} and builder.drops == {"mounting": 3}


@pytest.mark.parametrize(
    ("position", "turn", "words"),
    [
        ((0, 0, 1.5), np.diag([-1.0, -1.0, 1.0]), "rolled by"),
        ((0, 0, 1.5), np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), "rolled by"),
        ((0, 0, -6.0), np.eye(3), "far below"),
        ((0, 0, -1.5), np.eye(3), "(0.0, 0.0, -1.5) m, far below"),
        ((25.0, 0, 1.5), np.eye(3), "25 m from the base frame"),
        ((0, 0, 1.5), np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), "straight down"),
    ],
)
def test_mountings_that_can_hardly_be_meant_are_told(drive, feed, position, turn, words):
    builder = FrameBuilder(drive.rig, SPEC)
    frames = feed(builder, [_mounted(drive, rigid.transform(position, OPTICAL @ turn)), *drive.infos()])
    frames += feed(builder, drive.round(0))
    assert [frame.missing for frame in frames] == [()]
    status = builder.camera_status["B"]
    assert (status.state, status.reason) == ("implausible", "implausible") and words in status.detail
    assert [fault.line for fault in drive.told(builder, "implausible")] == [status.detail]


def test_a_calibration_that_can_hardly_be_meant_is_told(drive, feed):
    builder = FrameBuilder(drive.rig, SPEC)
    odd = CameraModel(64, 48, np.array([[50.0, 0, 31.5], [0, 90.0, 23.5], [0, 0, 1]]))
    (frame,) = feed(builder, [*drive.ready(), drive.info("B", odd), drive.info("B", odd), *drive.round(0)])
    status = builder.camera_status["B"]
    assert frame.missing == () and status.state == "implausible"
    assert topics.camera_info_topic("B") in status.detail and "fx 50 and fy 90" in status.detail
    assert [fault.line for fault in drive.told(builder, "implausible")] == [status.detail]
