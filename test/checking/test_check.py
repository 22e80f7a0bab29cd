"""Each thing that keeps a recording from use is named, with its remedy; a good one has nothing against it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from semlt3d_ros.checking.checks import verdicts_of
from semlt3d_ros.checking.survey import Survey
from semlt3d_ros.checking.verdict import unfit_for
from semlt3d_ros.cli import main
from semlt3d_ros.core import rigid
from semlt3d_ros.data.bags import BagSink, BagSource
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_transforms
from semlt3d_ros.messages.encode import encode_transforms
from semlt3d_ros.sensing.rig import rig_from_topics

replace = dataclasses.replace
FRAMES = 12


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "drive.mcap"
    words = ["simulate", str(path), "--seed", "5", "--frames", str(FRAMES), "--interval", "0.2", "--size", "112x64"]
    assert main(words) == 0
    return path


@pytest.fixture(scope="module")
def messages(drive):
    with BagSource(drive) as source:
        return [(entry.topic, entry.type_name, entry.message(), entry.stamp) for entry in source.messages()]


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


def test_the_command_prints_a_table_and_draws_a_picture(drive, tmp_path, capsys):
    picture = tmp_path / "deep" / "rig.png"
    assert main(["check", str(drive), "--picture", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "fit for detection: yes" in out and "fit for learning: yes" in out and str(picture) in out
    image = cv2.imread(str(picture))
    # Points in the colours of their distance lie in the images, which are at the right of the drawing.
    hsv = cv2.cvtColor(image[:, image.shape[1] // 3 :], cv2.COLOR_BGR2HSV)
    assert ((hsv[..., 1] > 200) & (hsv[..., 2] > 150)).mean() > 0.01


def test_exit_status_and_json_tell_scripts(messages, tmp_path, capsys):
    bag = tmp_path / "unlabelled.mcap"
    with BagSink(bag) as sink:
        for topic, kind, message, stamp in messages:
            if topic != topics.TRUTH_LONG_TAIL:
                sink.write(topic, kind, message, stamp)
    assert main(["check", str(bag), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["fit_for_detection"], result["fit_for_learning"]) == (True, False)
    assert {"subject", "status", "found", "remedy", "spoils"} == set(result["checks"][0])
    assert main(["check", str(bag), "--need", "learning"]) == 1
    assert "fit for learning: no (labels)" in capsys.readouterr().out


def test_a_part_of_a_recording(drive, capsys):
    assert main(["check", str(drive), "--seconds", "1.0", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    images = next(check for check in result["checks"] if check["subject"] == "CAM_FRONT images")
    assert images["found"].startswith("5 at")


def test_a_bag_that_breaks_off(drive, tmp_path, capsys):
    cut = tmp_path / "cut.mcap"
    content = drive.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    main(["check", str(cut), "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["checks"][0]["subject"] == "recording" and result["checks"][0]["status"] == "note"


@pytest.mark.parametrize(
    ("words", "said"), [([], "--live"), (["BAG", "--live"], "--live"), (["BAG", "--seconds", "0"], "--seconds")]
)
def test_options_that_do_not_fit(drive, capsys, words, said):
    assert main(["check", *(str(drive) if word == "BAG" else word for word in words)]) == 2
    assert said in capsys.readouterr().err


def test_what_runs_live_is_checked(drive, domain, monkeypatch, capsys):
    pytest.importorskip("cyclonedds")
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    player = subprocess.Popen([sys.executable, "-m", "semlt3d_ros.cli", "play", str(drive), "--loop"])
    try:
        status = main(["check", "--live", "--seconds", "8", "--json"])
    finally:
        player.terminate()
        player.wait(30)
    result = json.loads(capsys.readouterr().out)
    subjects = {check["subject"]: check for check in result["checks"]}
    assert subjects["CAM_FRONT mounting"]["status"] == "ok"
    assert [check for check in result["checks"] if check["status"] == "bad"] == []
    assert result["fit_for_detection"] and status == 0


def test_nothing_live_is_no_fit(domain, monkeypatch, capsys):
    pytest.importorskip("cyclonedds")
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain + 101 if domain < 100 else domain))
    assert main(["check", "--live", "--seconds", "0.5"]) == 1
    assert "fit for detection: no" in capsys.readouterr().out


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
