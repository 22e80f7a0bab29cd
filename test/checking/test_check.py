"""Each thing that keeps a recording from use is named, with its remedy; a good one has nothing against it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from semlt3d_ros.checking.checks import verdicts_of
from semlt3d_ros.checking.survey import Survey
from semlt3d_ros.checking.verdict import unfit_for
from semlt3d_ros.core import rigid
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_transforms
from semlt3d_ros.messages.encode import encode_transforms
from semlt3d_ros.sensing.rig import rig_from_topics

replace = dataclasses.replace
FRAMES = 12


def survey_of(messages):
    survey = Survey(rig_from_topics({topic: kind for topic, kind, _, _ in messages}))
    for entry in messages:
        survey.add(*entry)
    survey.finish()
    return survey


def changed(messages, change):
    """Messages after ``change(topic, message, index of its topic)``: another one, or None to leave it out."""
    counts: dict[str, int] = {}
    result = []
    for topic, kind, message, stamp in messages:
        index = counts[topic] = counts.get(topic, -1) + 1
        other = change(topic, message, index)
        if other is not None:
            result.append((topic, kind, other, stamp))
    return result


def check(messages, change=lambda topic, message, index: message):
    verdicts = verdicts_of(survey_of(changed(messages, change)))
    assert all(verdict.found for verdict in verdicts)
    assert all(verdict.remedy for verdict in verdicts if verdict.status != "ok")
    return {verdict.subject: verdict for verdict in verdicts}


def stamped(message, nanoseconds):
    stamp = replace(message.header.stamp, sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return replace(message, header=replace(message.header, stamp=stamp))


def nanoseconds(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def moved(message, matrix_of):
    """A TFMessage whose transforms are ``matrix_of(transform)``."""
    return encode_transforms([replace(each, matrix=matrix_of(each)) for each in decode_transforms(message)])


FRONT = topics.camera_image_topic("CAM_FRONT")
LEFT = topics.camera_image_topic("CAM_FRONT_LEFT")


def test_nothing_is_held_against_a_good_drive(messages):
    verdicts = check(messages)
    assert {subject: verdict.found for subject, verdict in verdicts.items() if verdict.status != "ok"} == {}
    assert unfit_for(verdicts.values()) == {"detection": [], "learning": []}
    assert f"{FRAMES} at 5.0 Hz" in verdicts["CAM_FRONT images"].found
    assert "z 1.5" in verdicts["CAM_FRONT mounting"].found
    assert f"{FRAMES} of {FRAMES} sets" in verdicts["labels"].found


def test_a_camera_that_is_not_there_is_told_with_the_topics_that_are(messages):
    renamed = [("/front/image" if topic == FRONT else topic, *rest) for topic, *rest in messages]
    survey = Survey(rig_from_topics({topic: kind for topic, kind, _, _ in messages}))
    for entry in renamed:
        survey.add(*entry)
    survey.finish()
    verdicts = {v.subject: v for v in verdicts_of(survey, {topic: kind for topic, kind, _, _ in renamed})}
    assert verdicts["CAM_FRONT images"].status == "bad"
    assert FRONT in verdicts["CAM_FRONT images"].found
    assert "/front/image" in verdicts["CAM_FRONT images"].remedy
    assert "CAM_FRONT (" in verdicts["sets"].found


def test_stamps_that_do_not_rise(messages):
    verdicts = check(messages, lambda topic, message, _: stamped(message, 10**18) if topic == LEFT else message)
    assert verdicts["CAM_FRONT_LEFT images"].status == "bad"
    assert LEFT in verdicts["CAM_FRONT_LEFT images"].found


def test_images_that_are_lost(messages):
    verdicts = check(messages, lambda topic, message, i: None if topic == LEFT and i in (3, 7) else message)
    assert verdicts["CAM_FRONT_LEFT images"].status == "note"
    assert "2 gaps" in verdicts["CAM_FRONT_LEFT images"].found
    assert "CAM_FRONT_LEFT (2)" in verdicts["sets"].found


def test_a_clock_that_is_not_the_recorders(messages):
    late = [(topic, kind, message, stamp + 5 * 10**9) for topic, kind, message, stamp in messages]
    verdict = {v.subject: v for v in verdicts_of(survey_of(late))}["CAM_FRONT images"]
    assert verdict.status == "note" and "+5.00 s" in verdict.found


def test_a_camera_of_another_phase_is_given_its_offset(messages):
    verdict = check(
        messages,
        lambda topic, message, _: stamped(message, nanoseconds(message) + 80_000_000) if topic == LEFT else message,
    )["CAM_FRONT_LEFT timing"]
    assert verdict.status == "note"
    assert "time_offset_s: 0.080" in verdict.remedy


def test_no_calibration(messages):
    verdicts = check(
        messages, lambda topic, message, _: None if topic == topics.camera_info_topic("CAM_FRONT_LEFT") else message
    )
    assert verdicts["CAM_FRONT_LEFT images"].status == "bad"
    assert verdicts["CAM_FRONT_LEFT calibration"].status == "bad"
    assert "camera_info" in verdicts["CAM_FRONT_LEFT calibration"].found
    assert "CAM_FRONT_LEFT mounting" not in verdicts  # nothing is known of it, nor wrong with it


def test_a_clock_that_is_not_the_others_is_no_phase(messages):
    verdicts = check(
        messages,
        lambda topic, message, _: stamped(message, nanoseconds(message) - 10**18) if topic == LEFT else message,
    )
    assert "s off the other cameras'" in verdicts["CAM_FRONT_LEFT images"].found
    assert "CAM_FRONT_LEFT timing" not in verdicts and verdicts["CAM_BACK timing"].status == "ok"


def test_one_camera_need_not_see_all_of_the_lidar(messages):
    only = [entry for entry in messages if topics.camera_of(entry[0]) in (None, "CAM_FRONT")]
    assert check(only)["LiDAR in images"].status == "ok"


def test_a_calibration_that_is_none(messages):
    topic_of_info = topics.camera_info_topic("CAM_FRONT_LEFT")
    verdicts = check(
        messages,
        lambda topic, message, _: replace(message, k=np.full(9, np.nan)) if topic == topic_of_info else message,
    )
    assert verdicts["CAM_FRONT_LEFT calibration"].status == "bad"
    assert topic_of_info in verdicts["CAM_FRONT_LEFT calibration"].found


def test_a_calibration_that_changes(messages):
    topic_of_info = topics.camera_info_topic("CAM_FRONT_LEFT")
    verdict = check(
        messages,
        lambda topic, message, i: replace(message, k=message.k * 1.01) if topic == topic_of_info and i else message,
    )["CAM_FRONT_LEFT calibration"]
    infos = sum(topic == topic_of_info for topic, *_ in messages)
    assert verdict.status == ("note" if infos > 1 else "ok")
    assert infos > 1


def test_no_transforms(messages):
    verdicts = check(messages, lambda topic, message, _: None if topic == topics.TF_STATIC else message)
    assert verdicts["sets"].status == "bad"
    assert "no_transform" in verdicts["sets"].found
    assert verdicts["CAM_FRONT mounting"].status == "bad"
    assert "/tf_static" in verdicts["CAM_FRONT mounting"].remedy


@pytest.mark.parametrize(
    ("turn", "status", "words"),
    [(rigid.transform(rotation=np.diag([-1.0, -1.0, 1.0])), "note", "rolled by"), (None, "bad", "body frame")],
)
def test_a_mounting_that_cannot_be(messages, turn, status, words):
    def matrix_of(each):
        if each.child != "CAM_FRONT":
            return each.matrix
        return rigid.planar(1.5, 0.0, 0.0, 1.5) if turn is None else each.matrix @ turn

    verdicts = check(messages, lambda topic, m, _: moved(m, matrix_of) if topic == topics.TF_STATIC else m)
    assert verdicts["CAM_FRONT mounting"].status == status and words in verdicts["CAM_FRONT mounting"].found
    assert FRONT in verdicts["CAM_FRONT mounting"].found and verdicts["CAM_BACK mounting"].status == "ok"


def test_another_base_frame(messages):
    def rename(transform):
        return transform.matrix

    def change(topic, message, _):
        if topic not in (topics.TF, topics.TF_STATIC):
            return message
        renamed = [
            replace(each, parent=each.parent.replace("base_link", "car"), child=each.child.replace("base_link", "car"))
            for each in decode_transforms(message)
        ]
        return encode_transforms(renamed)

    verdict = check(messages, change)["tf"]
    assert verdict.status == "bad"
    assert "'base_link' is not among them" in verdict.found and "car" in verdict.found


@pytest.mark.parametrize(("degrees", "status", "words"), [(90, "bad", "sideways"), (180, "note", "backwards")])
def test_a_base_frame_whose_axes_are_turned(messages, degrees, status, words):
    turn = rigid.planar(0.0, 0.0, np.radians(degrees))

    def change(topic, message, _):
        if topic == topics.TF:
            return moved(message, lambda each: each.matrix @ turn)
        return message

    verdict = check(messages, change)["ego motion"]
    assert verdict.status == status
    assert words in verdict.found


def test_a_pose_that_jumps(messages):
    def change(topic, message, index):
        if topic == topics.TF and index >= FRAMES // 2:
            return moved(message, lambda each: rigid.planar(500.0, 0.0, 0.0) @ each.matrix)
        return message

    verdict = check(messages, change)["ego motion"]
    assert verdict.status == "bad" and "jumps" in verdict.found


def test_a_drive_that_stands(messages):
    verdict = check(
        messages, lambda topic, message, _: moved(message, lambda each: np.eye(4)) if topic == topics.TF else message
    )["ego motion"]
    assert verdict.status == "note" and "stands" in verdict.found


def test_a_base_frame_above_the_ground(messages):
    def change(topic, message, _):
        if topic != topics.TF_STATIC:
            return message
        return moved(message, lambda each: rigid.transform((0, 0, -1.2)) @ each.matrix)

    verdict = check(messages, change)["ground"]
    assert verdict.status == "note" and "-1.2" in verdict.found


def test_clouds_of_another_time(messages):
    verdicts = check(
        messages,
        lambda topic, message, _: (
            stamped(message, nanoseconds(message) + 10**11) if topic == topics.POINTS else message
        ),
    )
    assert verdicts["LiDAR"].status == "bad"
    assert f"0 of {FRAMES} sets" in verdicts["LiDAR"].found
    assert unfit_for(verdicts.values()) == {"detection": [], "learning": ["LiDAR"]}


def test_no_lidar_and_no_labels(messages):
    gone = (topics.POINTS, topics.TRUTH_LONG_TAIL)
    survey = Survey(rig_from_topics({topic: kind for topic, kind, _, _ in messages}))
    for topic, *rest in messages:
        if topic not in gone:
            survey.add(topic, *rest)
    survey.finish()
    verdicts = verdicts_of(survey)
    assert unfit_for(verdicts) == {"detection": [], "learning": ["labels"]}
    assert next(verdict for verdict in verdicts if verdict.subject == "LiDAR").status == "note"


def test_labels_of_other_stamps(messages):
    verdict = check(
        messages,
        lambda topic, message, _: (
            stamped(message, nanoseconds(message) + 5_000_000) if topic == topics.TRUTH_LONG_TAIL else message
        ),
    )["labels"]
    assert verdict.status == "bad" and "none with the stamp of a set" in verdict.found


def test_labels_are_counted_by_their_own_names(messages):
    def change(topic, message, _):
        if topic != topics.TRUTH_LONG_TAIL:
            return message
        items = [
            replace(each, class_name=f"my_{each.class_name}" if at else "")
            for at, each in enumerate(message.detections)
        ]
        return replace(message, class_names=[f"my_{name}" for name in message.class_names], detections=items)

    verdict = check(messages, change)["labels"]
    assert "my_" in verdict.found and f"of no class {FRAMES}" in verdict.found


def test_labels_that_lie_beside_the_points(messages):
    def change(topic, message, _):
        if topic != topics.TRUTH_LONG_TAIL:
            return message
        return replace(
            message,
            detections=[
                replace(
                    each,
                    pose=replace(each.pose, position=replace(each.pose.position, z=each.pose.position.z + 30.0)),
                )
                for each in message.detections
            ],
        )

    verdict = check(messages, change)["labels"]
    assert verdict.status == "note" and "no LiDAR point" in verdict.found


def test_a_lidar_that_looks_elsewhere(messages):
    def change(topic, message, _):
        if topic != topics.TF_STATIC:
            return message
        # Every camera looks up into the sky.
        return moved(
            message,
            lambda each: (
                each.matrix
                if each.child == topics.LIDAR_FRAME
                else each.matrix @ rigid.transform(rotation=(np.sin(np.radians(25)), 0, 0, np.cos(np.radians(25))))
            ),
        )

    assert check(messages, change)["LiDAR in images"].status == "note"


def test_no_fault_goes_untold(messages):
    """One broken image in twelve, one transform of nobody's camera: nothing that hinders, and still it is said."""
    nan = float("nan")

    def change(topic, message, index):
        if topic == LEFT and index == 4:
            return replace(message, data=message.data[:100])
        if topic == topics.TF_STATIC:
            first = message.transforms[0]
            gyro = replace(first.transform, rotation=replace(first.transform.rotation, w=nan))
            return replace(
                message, transforms=[*message.transforms, replace(first, child_frame_id="gyro", transform=gyro)]
            )
        return message

    verdicts = check(messages, change)
    assert unfit_for(verdicts.values()) == {"detection": [], "learning": []}
    assert "gyro" in verdicts["tf"].found
    assert any(LEFT in verdict.found and verdict.status == "note" for verdict in verdicts.values())
