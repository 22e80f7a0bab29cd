"""Detections of a drive made consistent: what is gained, what is dropped, and what is left as it is."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.labelling.consistent import consistent
from semlt3d_ros.labelling.settings import LabelSettings

FAMILIES = ("vehicle", "pedestrian", "movable")


def in_world(result, poses) -> list[dict[str, np.ndarray]]:
    """By name, x y z yaw of each frame's objects in the world."""
    frames = []
    for found, names, pose in zip(result.frames, result.track_ids, poses, strict=True):
        boxes = found.boxes.moved(pose)
        rows = np.concatenate([boxes.centers, boxes.yaw[:, None]], axis=1)
        frames.append(dict(zip(names, rows, strict=True)))
    return frames


def test_objects_keep_their_names_through_a_drive(drive, thing) -> None:
    things = [thing(0, (10, 3)), thing(0, (25, -4), (8.0, 0.0)), thing(1, (12, 6), (0.0, -1.2), -np.pi / 2)]
    found, poses = drive(things, 15, noise=0.1)
    result = consistent(found, poses, FAMILIES, prefix="a.")
    frames = in_world(result, poses)
    assert all(set(frame) == {"a.0", "a.1", "a.2"} for frame in frames)
    assert result.counts["tracks"] == 3 and result.counts["standing"] == 1 and result.counts["ghosts"] == 0
    for number, each in enumerate(things):
        away = [np.linalg.norm(frame[f"a.{number}"][:2] - each.at(k / 10)[:2]) for k, frame in enumerate(frames)]
        assert max(away) < 0.35
    moving = result.frames[7].boxes.moved(poses[7]).velocity
    names = result.track_ids[7]
    assert moving[names.index("a.1")] == pytest.approx([8.0, 0.0], abs=1.0)
    assert moving[names.index("a.0")] == pytest.approx([0.0, 0.0], abs=1e-9)


def test_boxes_are_nearer_to_the_truth_than_what_was_detected(drive, thing) -> None:
    things = [thing(0, (10, 3)), thing(0, (30, -4), (-7.0, 0.0), np.pi), thing(0, (5, 12), (0.0, 6.0), np.pi / 2)]
    found, poses = drive(things, 20, noise=0.3, flips=0.15, seed=3)
    result = consistent(found, poses, FAMILIES)

    def errors(boxes_of) -> tuple[float, float, float]:
        off, turned, jumps, last = [], [], [], None
        for frame, pose in enumerate(poses):
            rows = boxes_of(frame).moved(pose)
            here = []
            for each in things:
                away = np.linalg.norm(rows.centers[:, :2] - each.at(frame / 10)[:2], axis=1)
                nearest = away.argmin()
                off.append(away[nearest])
                turned.append(np.cos(rows.yaw[nearest] - each.heading) < 0)
                here.append(rows.centers[nearest, :2] - each.at(frame / 10)[:2])
            if last is not None:
                jumps += np.linalg.norm(np.array(here) - last, axis=1).tolist()
            last = np.array(here)
        return float(np.mean(off)), float(np.mean(turned)), float(np.mean(jumps))

    before, after = errors(lambda k: found[k].boxes), errors(lambda k: result.frames[k].boxes)
    assert after[0] < 0.6 * before[0]  # places
    assert before[1] > 0.05 and after[1] == 0.0  # headings that are the wrong way round
    assert after[2] < 0.4 * before[2]  # how much boxes jump from frame to frame


def test_ghosts_of_one_frame_go_and_gaps_are_filled(drive, thing) -> None:
    things = [thing(0, (10, 3)), thing(0, (20, -8)), thing(1, (9, -3))]
    # The second was seen once alone; the third was missed for three frames.
    found, poses = drive(things, 12, misses=lambda n, k: (n == 1 and k != 5) or (n == 2 and k in (4, 5, 6)))
    result = consistent(found, poses, FAMILIES)
    assert result.counts["ghosts"] == 1 and result.counts["filled"] == 3
    assert [len(frame) for frame in result.frames] == [2] * 12
    scores = [frame.confidences[:, 1].max() for frame in result.frames]
    assert scores[3] == pytest.approx(0.6) and scores[5] == pytest.approx(0.6 * LabelSettings().gap_share)
    assert in_world(result, poses)[5][result.track_ids[5][-1]][:2] == pytest.approx([9, -3], abs=0.05)


def test_a_single_frame_is_left_as_it_is(drive, thing) -> None:
    found, poses = drive([thing(0, (10, 3)), thing(1, (5, 1))], 1)
    result = consistent(found, poses, FAMILIES)
    assert len(result.frames[0]) == 2 and result.counts["ghosts"] == 0
    assert result.frames[0].boxes.centers == pytest.approx(found[0].boxes.centers)
    assert consistent([], [], FAMILIES).frames == []


def test_objects_of_other_kinds_are_other_objects(drive, thing) -> None:
    found, poses = drive([thing(0, (10, 3)), thing(1, (10.3, 3))], 6)
    assert consistent(found, poses, FAMILIES).counts["tracks"] == 2


def test_an_object_that_comes_back_late_is_another_one(drive, thing) -> None:
    patient = LabelSettings(longest_gap_s=0.45)
    found, poses = drive([thing(0, (10, 3))], 20, misses=lambda n, k: 5 <= k < 12)
    result = consistent(found, poses, FAMILIES, patient)
    assert result.counts["tracks"] == 2 and result.counts["filled"] == 0
    assert [len(frame) for frame in result.frames] == [1] * 5 + [0] * 7 + [1] * 8


def test_without_poses_nothing_is_taken_for_standing(drive, thing) -> None:
    found, _ = drive([thing(0, (14, 3))], 10, ego_mps=2.0)
    result = consistent(found, [None] * 10, FAMILIES)
    assert result.counts["tracks"] == 1 and result.counts["standing"] == 0
    for before, after in zip(found, result.frames, strict=True):
        assert np.linalg.norm(before.boxes.centers[0] - after.boxes.centers[0]) < 0.3


def test_what_the_teacher_hardly_believes_is_left_out(drive, thing) -> None:
    found, poses = drive([thing(0, (10, 3))], 5)
    for frame in found:
        frame.confidences *= 0.1
    result = consistent(found, poses, FAMILIES)
    assert result.counts["detections"] == 0 and all(not len(frame) for frame in result.frames)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(turn=st.floats(-3, 3), x=st.floats(-30, 30), y=st.floats(-30, 30), seed=st.integers(0, 2**31))
def test_where_the_world_begins_does_not_matter(drive, thing, turn, x, y, seed) -> None:
    things = [thing(0, (10, 3)), thing(0, (25, -4), (8.0, 0.0)), thing(1, (9, 5))]
    found, poses = drive(things, 6, noise=0.2, seed=seed)
    T = rigid.planar(x, y, turn)
    one, other = consistent(found, poses, FAMILIES), consistent(found, [T @ pose for pose in poses], FAMILIES)
    assert one.counts == other.counts and one.track_ids == other.track_ids
    for a, b in zip(one.frames, other.frames, strict=True):
        assert a.boxes.centers == pytest.approx(b.boxes.centers, abs=1e-6)
        assert np.cos(a.boxes.yaw - b.boxes.yaw) == pytest.approx(1.0, abs=1e-6)
        assert a.depth_uncertainty == pytest.approx(b.depth_uncertainty, abs=1e-4)


def test_settings_name_what_is_wrong() -> None:
    with pytest.raises(ConfigurationError, match=r"gate_m must be positive.*; fewest_hits must be positive"):
        LabelSettings(gate_m=-1.0, fewest_hits=0)


def test_one_object_that_is_seen_twice_is_labelled_once_and_two_objects_twice(drive, thing) -> None:
    near = [thing(0, (15.0, 4.0)), thing(0, (15.4, 4.0)), thing(1, (15.2, 4.0)), thing(1, (15.9, 4.0))]
    found, poses = drive(near, 8)
    for frame in found:
        frame.confidences[1] *= 0.7
    result = consistent(found, poses, FAMILIES)
    assert all(frame.class_ids.tolist() == [0, 1, 1] for frame in result.frames)
    assert result.counts["doubles"] == 8 and all("1" not in names for names in result.track_ids)
    assert all(frame.scores[0] > 0.59 for frame in result.frames), "the surer one stays"
