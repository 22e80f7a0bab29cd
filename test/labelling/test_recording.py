"""Recordings through a teacher: what is written, and what becomes of recordings that are not as they should be."""

from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.inference.teacher import TeacherDetector
from semlt3d_ros.labelling.recording import LabelJob, label_recording
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode_colored import UNKNOWN_CODE

PERIOD = 100_000_000


@pytest.fixture
def label(teachers, recording, tmp_path):
    """Labels a recording of messages; gives counts and reasons of faults."""
    detector = TeacherDetector.load(teachers[0])

    def run(messages, **options):
        bag = tmp_path / f"{len(list(tmp_path.iterdir()))}.mcap"
        job = LabelJob(recording.write(bag, messages), tmp_path / "labels.mcap", overwrite=True, **options)
        done = label_recording(job, detector)
        return done.counts, {fault.reason for fault in done.faults if not fault.harmless}

    return run


def written(path):
    with BagSource(path) as source:
        found = {topic: [] for topic in source.topics}
        for entry, message in decoded(source.messages(), FaultLog()):
            found[entry.topic].append(message)
    return found


def test_every_cloud_has_labels_and_coloured_points(label, messages, cloud, tmp_path) -> None:
    clouds = [cloud(seed) for seed in range(3)]
    counts, faults = label(messages(clouds))
    assert counts["clouds"] == 3 and not counts["without_pose"] and not faults
    found = written(tmp_path / "labels.mcap")
    assert found.keys() == {topics.LONG_TAIL, topics.DETECTIONS, topics.TEACHER_LABELS, topics.TEACHER_POINTS}
    assert all(len(each) == 3 for each in found.values())
    message = found[topics.TEACHER_POINTS][0]
    layout = np.dtype([("xyz", "<f4", 3), ("rgb", "<u4"), ("class", "<u2")])
    table = np.frombuffer(message.data.tobytes(), layout)
    assert message.header.frame_id == topics.BASE_FRAME
    np.testing.assert_allclose(table["xyz"], clouds[0].xyz + np.float32([1.0, 0.0, 1.8]), atol=1e-4)
    inside = np.abs(table["xyz"][:, :2]).max(axis=1) < 12.7
    assert (table["class"][inside] < 8).all() and (table["class"][table["xyz"][:, 0] > 12.9] == UNKNOWN_CODE).all()


def test_the_recording_comes_along_without_the_labels_of_another_run(label, messages, cloud, tmp_path) -> None:
    given = messages([cloud(seed) for seed in range(2)])
    label(given, with_recording=True)
    first = written(tmp_path / "labels.mcap")
    assert len(first[topics.POINTS]) == 2 and len(first[topics.TF]) == 2
    again = [
        (topics.TEACHER_POINTS, kind, message, stamp) for topic, kind, message, stamp in given if topic == topics.POINTS
    ]
    counts, _ = label([*given, *again], with_recording=True)
    assert counts["clouds"] == 2 and len(written(tmp_path / "labels.mcap")[topics.TEACHER_POINTS]) == 2


def test_without_ego_poses_clouds_are_labelled_and_counted(label, messages, cloud) -> None:
    counts, faults = label(messages([cloud(seed) for seed in range(3)], poses=False))
    assert (counts["clouds"], counts["without_pose"], counts["standing"]) == (3, 3, 0) and not faults


def test_any_topic_of_clouds_will_do_where_there_is_one(label, messages, cloud) -> None:
    assert label(messages([cloud()], topic="/velodyne_points"))[0]["clouds"] == 1


BAD = {
    "empty": PointCloud(np.zeros((0, 3), np.float32)),
    "not finite": PointCloud(np.full((50, 3), np.nan, np.float32)),
    "times out of range": PointCloud(np.ones((50, 3), np.float32), None, np.full(50, 1e9, np.float32)),
    "times not finite": PointCloud(np.ones((50, 3), np.float32), None, np.full(50, np.nan, np.float32)),
    "intensities not finite": PointCloud(np.ones((50, 3), np.float32), np.full(50, np.inf, np.float32)),
}


@pytest.mark.parametrize("kind", BAD)
def test_clouds_that_are_bad_cost_no_others(kind, label, messages, cloud) -> None:
    clouds = [cloud(seed) for seed in range(4)]
    counts, _ = label(messages([*clouds[:2], BAD[kind], *clouds[2:]]))
    assert counts["clouds"] == 5
    assert counts["empty"] == (kind in ("empty", "not finite"))


def test_clouds_where_no_lidar_sees_are_counted(label, messages, cloud) -> None:
    far = PointCloud(np.full((50, 3), 1e30, np.float32))
    counts, faults = label(messages([cloud(), far, cloud(1)]))
    assert counts["clouds"] == 2 and faults == {"cloud_far"}


def test_long_drives_are_placed_from_their_beginning(label, messages, cloud) -> None:
    """Transforms are read before clouds, more of them than live nodes keep."""
    counts, faults = label(messages([cloud(seed, 200) for seed in range(130)]))
    assert counts["clouds"] == 130 and counts.get("without_pose", 0) == 0 and not faults


def test_a_million_points_are_labelled(label, messages, cloud, tmp_path) -> None:
    assert label(messages([cloud(count=1_000_000)]))[0]["clouds"] == 1
    assert written(tmp_path / "labels.mcap")[topics.TEACHER_POINTS][0].width == 1_000_000


def test_clouds_in_an_unknown_frame_are_counted_or_an_error(label, messages, cloud) -> None:
    good, lost = messages([cloud()]), messages([cloud()], frame="nowhere")
    shifted = [(topic, kind, message, stamp + PERIOD) for topic, kind, message, stamp in lost]
    counts, faults = label([*good, *shifted])
    assert counts["clouds"] == 1 and faults == {"points_no_transform"}
    with pytest.raises(Semlt3dError, match=r"no cloud of .* could be labelled: .*nowhere.*tf_static"):
        label(lost)


def test_a_bag_without_a_lidar_is_an_error(label, messages, recording) -> None:
    with pytest.raises(ConfigurationError, match=r"no cloud to label on .*it has none"):
        label(messages([]))
    with pytest.raises(ConfigurationError, match="no cloud to label"):
        label([*recording.static_messages(), *recording.set_messages(0)])


def test_which_of_two_topics_is_asked(label, messages, cloud) -> None:
    both = [*messages([cloud()], topic="/a"), *messages([cloud()], topic="/b")]
    with pytest.raises(ConfigurationError, match="it has /a, /b; name one in a rig file"):
        label(both)


def test_cameras_and_a_lidar_that_never_overlap_are_an_error(label, messages, cloud, recording) -> None:
    images = [*recording.static_messages(), *(each for n in range(3) for each in recording.set_messages(n))]
    with pytest.raises(Semlt3dError, match=r"no cloud of .* could be labelled: .*(synchronise|no cloud near)"):
        label([*messages([cloud(seed) for seed in range(3)]), *images])


def test_nothing_is_left_where_nothing_was_labelled(label, messages, cloud, tmp_path) -> None:
    (tmp_path / "labels.mcap").write_bytes(b"earlier")
    with pytest.raises(Semlt3dError):
        label(messages([cloud()], frame="nowhere"))
    assert (tmp_path / "labels.mcap").read_bytes() == b"earlier"


def test_what_students_learn_from_is_kept_by_teacher(teachers, messages, cloud, recording, tmp_path) -> None:
    bag = recording.write(tmp_path / "drive.mcap", messages([cloud(seed) for seed in range(3)]))
    job = LabelJob(bag, tmp_path / "labels.mcap", cache=tmp_path / "cache", overwrite=True)
    for teacher, kept, known in ((0, 3, 0), (0, 0, 3), (1, 3, 0)):
        counts = label_recording(job, TeacherDetector.load(teachers[teacher])).counts
        assert (counts["kept"], counts["known"]) == (kept, known)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 6
    tight = replace(job, cache=tmp_path / "tight", cache_gib=1e-9)
    assert label_recording(tight, TeacherDetector.load(teachers[0])).counts["kept"] == 3
