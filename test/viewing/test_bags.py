"""Bags on one timeline, and the recording they become."""

from __future__ import annotations

import signal
from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import SampleInfo
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import encode_sample
from semlt3d_ros.viewing import view_bags
from semlt3d_ros.viewing.bags import BagFrames, _merged, _names
from semlt3d_ros.viewing.rerun_sink import RerunSink


def test_frames_meet_their_detections_and_truth_by_stamp(drive_bag, detections_bag, frame):
    shown = list(BagFrames([detections_bag, drive_bag]))
    assert [f.stamp for f, _, _ in shown] == [frame.stamp + k * 700_000_000 for k in range(3)]
    assert [d is not None for _, d, _ in shown] == [True, False, True]
    for each, _, labels in shown:
        assert {view.name for view in each.views} == {view.name for view in frame.views}
        assert len(labels.boxes) == 3
        assert len(each.points) == len(frame.points)
        assert each.T_world_ego is not None
    np.testing.assert_allclose(shown[0][0].views[0].T_ego_camera, frame.views[0].T_ego_camera, atol=1e-6)


def test_what_a_recording_leaves_out_is_known_frame_by_frame(tmp_path, drive_bag, frame):
    region = LabelledRegion((ViewWindow(frame.views[0].T_ego_camera, -0.5, -0.4, 0.5, 0.4),), range_m=40.0)
    part = tmp_path / "part.mcap"
    with BagSink(part) as sink:
        for stamp, entry in ((frame.stamp, region), (5, LabelledRegion(range_m=3.0))):
            sample = encode_sample(SampleInfo("own", "s", region=entry), stamp, "base_link")
            sink.write(topics.TRUTH_SAMPLE, topics.SAMPLE_TYPE, sample, stamp)
    regions = [each.region for each, _, _ in BagFrames([drive_bag, part])]
    np.testing.assert_allclose(regions[0].windows[0].T_ego_camera, region.windows[0].T_ego_camera, atol=1e-9)
    assert regions[0].range_m == 40.0 and regions[1:] == [LabelledRegion()] * 2


def test_bags_without_cameras_show_their_boxes(detections_bag):
    shown = list(BagFrames([detections_bag]))
    assert [len(d) for _, d, _ in shown] == [4, 4]
    assert all(f.views == () for f, _, _ in shown)


def test_a_damaged_message_is_counted_and_the_rest_is_shown(tmp_path, drive_bag):
    damaged = tmp_path / "damaged.mcap"
    with BagSource(drive_bag) as source, BagSink(damaged) as sink:
        for number, entry in enumerate(source.messages()):
            data = bytes(entry.data)
            # Cut an image short, in the middle of the bag.
            cut = number > 20 and entry.topic.endswith("CAM_BACK/image/compressed")
            sink.write(entry.topic, entry.type_name, data[: len(data) // 2] if cut else data, entry.stamp)
    frames = BagFrames([damaged])
    shown = list(frames)
    assert len(shown) == 3
    assert sum(frames.drops.values()) == 2
    assert [f.missing for f, _, _ in shown] == [(), ("CAM_BACK",), ("CAM_BACK",)]


def test_saved_recording_holds_every_frame(tmp_path, drive_bag, detections_bag, frame, logged):
    path = tmp_path / "made" / "drive.rrd"
    assert view_bags([drive_bag, detections_bag], save=path) == 3
    rows = logged(path)
    stamps = [frame.stamp + index * 700_000_000 for index in range(3)]
    for entity in ("/cameras/CAM_FRONT", "/world/ego/detections", "/world/ego/truth", "/confidences"):
        assert [np.datetime64(row["time"], "ns").astype(int) for row in rows[entity]] == stamps, entity
    assert [bool(row.get("Boxes3D:labels")) for row in rows["/world/ego/detections"]] == [True, False, True]
    assert "no detections" in rows["/confidences"][1]["TextDocument:text"][0]


def test_an_earlier_recording_outlives_ctrl_c_and_a_failure(tmp_path, drive_bag, logged, monkeypatch, caplog):
    path, begun = tmp_path / "one.rrd", tmp_path / "one.unfinished.rrd"
    path.write_bytes(b"earlier")
    real, calls = RerunSink.add, []

    def interrupted_at_the_second(self, *shown, **column):
        calls.append(shown)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        if len(calls) == 4:
            raise ZeroDivisionError
        real(self, *shown, **column)

    monkeypatch.setattr(RerunSink, "add", interrupted_at_the_second)
    for error, frames in ((KeyboardInterrupt, 2), (ZeroDivisionError, 1)):
        with pytest.raises(error):
            view_bags([drive_bag], save=path)
        assert len(logged(begun)["/cameras/CAM_BACK"]) == frames
    assert caplog.messages == [f"{path} is not finished; what was recorded so far is in {begun}"] * 2
    assert path.read_bytes() == b"earlier"
    monkeypatch.undo()
    assert view_bags([drive_bag], save=path) > 2
    assert list(tmp_path.glob("*.rrd")) == [path]


def test_limit(tmp_path, drive_bag, logged):
    path = tmp_path / "one.rrd"
    assert view_bags([drive_bag], save=path, limit=1) == 1
    assert len(logged(path)["/cameras/CAM_BACK"]) == 1


def test_bags_with_nothing_to_see_are_named(tmp_path, drive_bag):
    empty = tmp_path / "empty.mcap"
    with BagSource(drive_bag) as source, BagSink(empty) as sink:
        for entry in source.messages(topics=["/tf"]):
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
    with pytest.raises(ConfigurationError, match=r"empty\.mcap.*topics: /tf"):
        view_bags([empty], save=tmp_path / "x.rrd")
    with pytest.raises(ConfigurationError, match="absent"):
        view_bags([tmp_path / "absent.mcap"], save=tmp_path / "x.rrd")


def test_images_without_transforms_say_why_there_is_no_frame(tmp_path, drive_bag):
    blind = tmp_path / "blind.mcap"
    with BagSource(drive_bag) as source, BagSink(blind) as sink:
        for entry in source.messages():
            if entry.topic != "/tf_static":
                sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
    with pytest.raises(ConfigurationError, match="no_transform 3"):
        view_bags([blind], save=tmp_path / "x.rrd")


def test_a_bag_that_is_given_twice_is_shown_once(drive_bag, tmp_path):
    (tmp_path / "same.mcap").symlink_to(drive_bag)
    once = [frame.stamp for frame, _, _ in BagFrames([drive_bag])]
    assert [frame.stamp for frame, _, _ in BagFrames([drive_bag, tmp_path / "same.mcap", drive_bag])] == once


def test_two_drives_side_by_side(tmp_path, drive_bag, detections_bag, logged, frame):
    path = tmp_path / "both.rrd"
    assert view_bags([drive_bag, detections_bag], save=path, beside=[drive_bag]) == 6
    rows = logged(path)
    left, right = detections_bag.stem, drive_bag.stem
    for name in (left, right):
        assert len(rows[f"/{name}/cameras/CAM_BACK"]) == 3 and f"/{name}/world/ego/points" in rows
        assert rows[f"/{name}/name"][0]["TextDocument:text"] == [f"## {name}"]
    assert "Boxes3D:centers" in rows[f"/{left}/world/ego/detections"][0]
    assert not any("Boxes3D:centers" in row for row in rows[f"/{right}/world/ego/detections"])


def test_another_drive_is_moved_so_that_both_begin_together(frame):
    def drive(start):
        shown = ((replace(frame, stamp=start + k * 100), None, None) for k in range(3))
        return next(shown), shown

    for late, moved in ((3_600_000_000_000, 0), (50, 50)):
        merged = list(_merged([drive(frame.stamp), drive(frame.stamp + late)]))
        assert [(number, each.stamp - frame.stamp) for number, each, _, _ in merged] == sorted(
            [(number, k * 100 + number * moved) for number in range(2) for k in range(3)], key=lambda each: each[1]
        )


def test_the_same_bags_twice_are_told_apart(tmp_path, drive_bag, logged):
    view_bags([drive_bag], save=tmp_path / "both.rrd", beside=[drive_bag])
    names = {entity.split("/")[1] for entity in logged(tmp_path / "both.rrd")}
    assert {f"{drive_bag.stem}_left", f"{drive_bag.stem}_right"} <= names


def test_columns_are_named_by_what_tells_them_apart(tmp_path):
    def named(left, right):
        return _names([tmp_path / left], [tmp_path / right])

    assert named("drive/before.mcap", "drive/after.mcap") == ("before", "after")
    assert named("before/found.mcap", "after/found.mcap") == ("before_found", "after_found")
    assert named("run.1", "run.2") == ("run.1", "run.2")
    assert named("run", "run") == ("run_left", "run_right")
