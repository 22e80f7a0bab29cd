"""``semlt3d label``: from a recording to labels that people see and students learn from."""

import numpy as np
import pytest

from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.commands import label
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_labels
from semlt3d_ros.viewing.bags import BagFrames

SPEC = ImageSpec(48, 24, 0.2)


@pytest.fixture(scope="module")
def labels(drive, tmp_path_factory):
    """The labels of the drive, with all of it."""
    out = tmp_path_factory.mktemp("labels") / "labels.mcap"
    assert main(["label", str(drive), "-o", str(out), "--with-recording"]) == 0
    return out


def test_labels_are_seen_beside_the_images(labels, drive) -> None:
    frames = list(BagFrames([labels]))
    assert len(frames) == 4
    for frame, detections, truth in frames:
        assert len(frame.views) == 6 and detections is not None and truth is not None
        assert frame.points.classes is not None and (frame.points.classes >= 0).any()
    only = labels.parent / "only.mcap"
    assert main(["label", str(drive), "-o", str(only)]) == 0
    alone = list(BagFrames([only]))
    assert len(alone) == 4 and all(frame.points is not None and not frame.views for frame, _, _ in alone)
    beside = list(BagFrames([drive, only]))
    assert [frame.points.classes.tolist() for frame, _, _ in beside] == [
        frame.points.classes.tolist() for frame, _, _ in frames
    ]


def test_a_student_learns_from_them(labels, tmp_path) -> None:
    with Frames([DataSpec(bags=(str(labels),), labels=topics.TEACHER_LABELS)], tmp_path, SPEC, LT3D) as frames:
        learnt = [frames.frame(index) for index in range(4)]
    with BagSource(labels) as source:
        messages = decoded(source.messages(topics=[topics.TEACHER_LABELS]), FaultLog())
        written = [decode_labels(message, FaultLog(), "labels")[0] for _, message in messages]
    assert sum(len(frame.labels.boxes) for frame in learnt) > 4
    for frame, labels_ in zip(learnt, written, strict=True):
        assert frame.points is not None and len(frame.views) == 6
        assert frame.labels.class_ids.tolist() == labels_.class_ids.tolist()
        np.testing.assert_allclose(frame.labels.boxes.centers, labels_.boxes.centers, atol=1e-4)


def test_only_what_the_teacher_is_sure_of_is_an_object(labels, drive, tmp_path, answer) -> None:
    sure = answer("label", drive, "-o", tmp_path / "sure.mcap", "--score", "0.6", "--doubt", "0.3")
    unsure = answer("label", drive, "-o", tmp_path / "unsure.mcap", "--score", "0.2", "--doubt", "0.1")
    assert sure["clouds"] == unsure["clouds"] == 4
    assert sure["objects"] < unsure["objects"]
    assert sure["objects"] + sure["doubted"] < unsure["objects"] + unsure["doubted"]


def test_several_bags_go_into_a_folder_and_one_that_fails_stops_no_other(drive, tmp_path, answer, capsys) -> None:
    (tmp_path / "broken.mcap").write_bytes(b"no bag")
    words = ["label", str(tmp_path / "broken.mcap"), str(drive), "-o", str(tmp_path / "out")]
    assert main(words) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "broken.mcap: failed: " in lines[0] and "4 clouds labelled" in lines[1]
    assert main(words) == 1
    assert "labelled before" in capsys.readouterr().out
    (tmp_path / "broken.mcap").unlink()
    drive_twice = tmp_path / "again.mcap"
    drive_twice.symlink_to(drive)
    told = answer("label", drive, drive_twice, "-o", tmp_path / "out")
    assert told["failed"] == 0 and told["bags"][0]["skipped"] and told["bags"][1]["clouds"] == 4


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["a.mcap", "-o", "o.mcap", "--score", "0.1", "--doubt", "0.2"], "give 0 <= doubt <= score <= 1"),
        (["a.mcap", "-o", "o.mcap", "--cache-gib", "0"], "must be positive"),
        (["a.mcap", "./a.mcap", "-o", "o"], "two of the bags"),
        (["a.mcap", "b.mcap", "-o", "o.mcap"], "go into a folder"),
        (["a.mcap", "-o", "a.mcap"], "which is read"),
        (["b/a.mcap", "a/c.mcap", "-o", "b"], "which is read"),
        (["a.mcap", "-o", "o.mcap"], "a.mcap"),
    ],
)
def test_what_cannot_be_is_refused(words, text, refusal, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").mkdir()
    assert text in refusal("label", *words)
    assert [path.name for path in tmp_path.rglob("*")] == ["b"]


def test_events_of_two_robots_that_have_one_name_are_named_after_their_folders_too(tmp_path) -> None:
    bags = [tmp_path / robot / "events" / name for robot in ("a", "b") for name in ("1-always", "2-always")]
    assert label._names(bags[:3]) == ["a-events-1-always", "2-always", "b-events-1-always"]
    assert label._names(bags[:2]) == ["1-always", "2-always"]
    assert len(set(label._names([*bags, bags[0]]))) == 4, "what is named twice stays twice"
