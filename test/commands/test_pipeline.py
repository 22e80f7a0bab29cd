"""Simulate, detect and evaluate through the command line, with good and with damaged bags."""

import json
import subprocess
import sys

import numpy as np

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.commands.live_run import free_domain
from semlt3d_ros.core.outputs import unfinished
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode_geometry import StampedTransform
from semlt3d_ros.messages.encode_sensors import encode_transforms
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.middleware.port import LATCHED
from semlt3d_ros.viewing import live


def copy(source, sink, skip=()):
    for entry in source.messages():
        if entry.topic not in skip:
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)


def count(bag, topic):
    with BagSource(bag) as source:
        return sum(1 for _ in source.messages(topics=[topic]))


def test_from_a_simulated_drive_to_figures(drive, checkpoint, answer, tmp_path):
    out = tmp_path / "detections.mcap"
    # Once as a process of its own, as a user starts it.
    words = ["detect", drive, "-o", out, "--checkpoint", checkpoint, "--json"]
    result = subprocess.run(
        [sys.executable, "-m", "semlt3d_ros.cli", *map(str, words)], capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {
        "sets_in": 4,
        "sets_processed": 4,
        "drops": {},
        "message_drops": {},
        "memory_resets": {},
        "truncated": False,
        "incomplete": [],
        "faults": [],
    }
    figures = answer("evaluate", out, "--truth", drive)
    assert figures["frames"] == 4
    assert set(figures["map"]) == {"all", "many", "medium", "few"}
    assert sum(each["truth"] for each in figures["classes"].values()) > 0


def test_detections_are_repeatable(drive, checkpoint, answer, tmp_path):
    contents = []
    for name in ("first.mcap", "second.mcap"):
        answer("detect", drive, "-o", tmp_path / name, "--checkpoint", checkpoint)
        with BagSource(tmp_path / name) as source:
            contents.append([(entry.topic, entry.stamp, bytes(entry.data)) for entry in source.messages()])
    assert len(contents[0]) == 8
    assert contents[0] == contents[1]


def test_people_read_what_was_written(drive, checkpoint, tmp_path, capsys):
    out = tmp_path / "detections.mcap"
    assert main(["detect", str(drive), "-o", str(out), "--checkpoint", str(checkpoint)]) == 0
    assert "4 of 4 sets detected" in capsys.readouterr().out
    assert main(["evaluate", str(out), "--truth", str(drive)]) == 0
    assert "mean few" in capsys.readouterr().out


def test_a_truncated_bag_gives_what_is_readable(drive, checkpoint, answer, tmp_path):
    broken = tmp_path / "broken.mcap"
    content = drive.read_bytes()
    broken.write_bytes(content[: int(len(content) * 0.7)])
    result = answer("detect", broken, "-o", tmp_path / "out.mcap", "--checkpoint", checkpoint)
    assert result["truncated"] is True
    assert [line.split(": ")[0] for line in result["incomplete"]] == [str(broken)]
    assert 0 < result["sets_processed"] < 4
    assert count(tmp_path / "out.mcap", topics.LONG_TAIL) == result["sets_processed"]


def test_a_sqlite_bag_without_metadata_is_read(drive, checkpoint, answer, tmp_path):
    folder = tmp_path / "bag"
    with BagSource(drive) as source, BagSink(folder, storage="sqlite3") as sink:
        copy(source, sink)
    (folder / "metadata.yaml").unlink()
    result = answer("detect", folder, "-o", tmp_path / "out.mcap", "--checkpoint", checkpoint)
    assert result["sets_processed"] == 4


def test_a_bag_without_tf_loses_its_sets_and_says_why(drive, checkpoint, capsys, tmp_path):
    bare = tmp_path / "bare.mcap"
    with BagSource(drive) as source, BagSink(bare) as sink:
        copy(source, sink, skip={topics.TF_STATIC})
    words = ["detect", str(bare), "-o", str(tmp_path / "out.mcap"), "--checkpoint", str(checkpoint), "--json"]
    assert main(words) == 2
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert result["sets_processed"] == 0
    assert result["drops"] == {"no_transform": 4}
    assert result["sets_in"] == 4
    assert {fault["reason"] for fault in result["faults"]} == {"no_transform"} and result["incomplete"] == []
    (line,) = output.err.splitlines()
    assert str(bare) in line and "CAM_FRONT" in line and "/tf_static" in line


def test_an_interrupted_detection_keeps_what_is_written_beside_an_earlier_one(
    drive, checkpoint, tmp_path, monkeypatch, caplog
):
    out = tmp_path / "out.mcap"
    words = ["detect", str(drive), "-o", str(out), "--checkpoint", str(checkpoint), "--overwrite"]
    assert main(words) == 0
    real, calls = Detector.detect, []

    def interrupted_at_the_third(self, frame):
        calls.append(frame.stamp)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, frame)

    monkeypatch.setattr(Detector, "detect", interrupted_at_the_third)
    assert main(words) == 130
    assert (count(out, topics.LONG_TAIL), count(unfinished(out), topics.LONG_TAIL)) == (4, 2)
    (line,) = caplog.messages
    assert line == f"{out} is not finished; what was written so far is in {unfinished(out)}"


def test_existing_bags_are_replaced_only_when_told(drive, checkpoint, refusal, tmp_path):
    out = tmp_path / "out.mcap"
    out.write_bytes(b"precious")
    line = refusal("detect", drive, "-o", out, "--checkpoint", checkpoint)
    assert str(out) in line
    assert out.read_bytes() == b"precious"
    assert main(["detect", str(drive), "-o", str(out), "--checkpoint", str(checkpoint), "--overwrite"]) == 0
    assert count(out, topics.LONG_TAIL) == 4


def test_view_saves_a_recording(drive, tmp_path):
    recording = tmp_path / "drive.rrd"
    assert main(["view", str(drive), "--save", str(recording)]) == 0
    assert recording.stat().st_size > 10_000


def test_view_without_bags_listens_to_the_vehicle(monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(free_domain()))
    monkeypatch.delenv("CYCLONEDDS_URI", raising=False)
    received = []

    def show(subscribe, spin, rig, save, score_threshold, every, tell):
        """Stands in for the browser."""
        assert rig.camera_names == topics.NUSCENES_CAMERAS
        subscribe(topics.TF_STATIC, topics.TF_TYPE, lambda message, when: received.append(message))
        vehicle = DdsMiddleware("vehicle")
        try:
            mount = StampedTransform("base_link", "CAM_FRONT", 1, np.eye(4))
            vehicle.create_publisher(topics.TF_STATIC, topics.TF_TYPE, LATCHED).publish(encode_transforms([mount]))
            spin(lambda: bool(received))
        finally:
            vehicle.shutdown()

    monkeypatch.setattr(live, "view_live", show)
    assert main(["view", "--save", str(tmp_path / "live.rrd")]) == 0
    assert received[0].transforms[0].child_frame_id == "CAM_FRONT"
