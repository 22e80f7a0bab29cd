"""``semlt3d check``: table, picture, JSON and exit status, of bags and of what runs live."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.core import rigid
from semlt3d_ros.core.frame import SampleInfo
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode_geometry import stamp_of
from semlt3d_ros.messages.encode import encode_sample
from semlt3d_ros.viewing.region import LEFT_OUT_COLOR


def test_the_command_prints_a_table_and_draws_a_picture(drive, tmp_path, capsys):
    picture = tmp_path / "deep" / "rig.png"
    assert main(["check", str(drive), "--picture", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "fit for detection: yes" in out and "fit for learning: yes" in out and str(picture) in out
    image = cv2.imread(str(picture))
    # Points in the colours of their distance lie in the images, which are at the right of the drawing.
    hsv = cv2.cvtColor(image[:, image.shape[1] // 3 :], cv2.COLOR_BGR2HSV)
    assert ((hsv[..., 1] > 200) & (hsv[..., 2] > 150)).mean() > 0.01


def test_the_picture_shows_where_ground_truth_is_complete(drive, tmp_path, capsys):
    plain, bag = tmp_path / "plain.png", tmp_path / "part.mcap"
    assert main(["check", str(drive), "--picture", str(plain)]) == 0
    pose = rigid.transform((1.5, 0.0, 1.5), np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]))
    window = ViewWindow(pose, -0.4, -0.3, 0.4, 0.3)
    region = LabelledRegion((window,), (ViewWindow(pose, -0.2, -0.2, 0.1, 0.0),))
    with BagSource(drive) as source, BagSink(bag) as sink:
        for entry in source.messages():
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
            if entry.topic == topics.TRUTH_LONG_TAIL:
                sample = encode_sample(SampleInfo("own", "s", region=region), stamp_of(entry.message()), "base_link")
                sink.write(topics.TRUTH_SAMPLE, topics.SAMPLE_TYPE, sample, entry.stamp)
    picture = tmp_path / "part.png"
    assert main(["check", str(bag), "--picture", str(picture)]) == 0
    before, after = (cv2.imread(str(path))[..., ::-1].astype(int) for path in (plain, picture))
    assert before.shape == after.shape
    changed = after[(before != after).any(axis=2)]
    assert (np.abs(changed - LEFT_OUT_COLOR).max(axis=1) < 30).sum() > 20


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
