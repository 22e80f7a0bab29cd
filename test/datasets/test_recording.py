"""What a program of one's own hands to the writer of bags, and what it is told of what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.datasets import own
from semlt3d_ros.messages import topics

STAMP = 1_500_000_000_123_456_789
CAMERA = own.CameraModel.from_numbers(8, 6, 5, 5, 4, 3)


def labels(ids: list[int]) -> own.Labels:
    boxes = own.Boxes3D.from_poses([own.transform([place, 0, 1]) for place in ids], [[4, 2, 1.5]] * len(ids))
    return own.Labels(boxes, np.array(ids, int), class_names=("car", "person"))


def test_what_is_of_no_class_is_written_and_not_counted_as_one(tmp_path: Path) -> None:
    with own.recording_to(tmp_path / "own.mcap") as bag:
        bag.truth(STAMP, labels([0, ABSENT]), own.SampleInfo("own", "drive"))
        assert bag.boxes == {"car": 1, "of no class": 1}
    with BagSource(tmp_path / "own.mcap") as source:
        (entry,) = source.messages([topics.TRUTH_LONG_TAIL])
    assert [item.class_name for item in entry.message().detections] == ["car", ""]


@pytest.mark.parametrize("stamp", [-5, 1.5, float("nan"), 10**19])
def test_stamps_are_whole_nanoseconds(tmp_path: Path, stamp: int) -> None:
    with own.recording_to(tmp_path / "own.mcap") as bag:
        for write in (
            lambda: bag.mounts({"FRONT": np.eye(4)}, stamp),
            lambda: bag.pose(stamp, np.eye(4)),
            lambda: bag.odometry(stamp, np.eye(4)),
            lambda: bag.image("FRONT", stamp, b"", CAMERA),
            lambda: bag.sweep(stamp, own.PointCloud(np.zeros((1, 3), np.float32))),
            lambda: bag.truth(stamp, labels([0]), own.SampleInfo("own", "drive")),
        ):
            with pytest.raises(ConfigurationError, match="whole nanoseconds"):
                write()


def test_stamps_of_any_whole_kind_are_taken(tmp_path: Path) -> None:
    with own.recording_to(tmp_path / "own.mcap") as bag:
        for stamp in (np.int64(STAMP), np.uint64(STAMP + 1), 1.5e18):
            bag.truth(stamp, labels([0]), own.SampleInfo("own", "drive"))
    with BagSource(tmp_path / "own.mcap") as source:
        found = [entry.stamp for entry in source.messages([topics.TRUTH_LONG_TAIL])]
    assert found == [15 * 10**17, STAMP, STAMP + 1]


def test_a_camera_whose_name_cannot_be_part_of_a_topic_is_named(tmp_path: Path) -> None:
    with (
        own.recording_to(tmp_path / "own.mcap") as bag,
        pytest.raises(ConfigurationError, match=r"'rig/front'.*no '/'"),
    ):
        bag.image("rig/front", STAMP, b"", CAMERA)
