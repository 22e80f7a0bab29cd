"""What was wrong with an input reaches the user of every command, in text and as JSON."""

import json
import shutil

import numpy as np
import pytest
import yaml

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.messages import topics

FRONT = topics.camera_image_topic("CAM_FRONT")
FRONT_INFO = topics.camera_info_topic("CAM_FRONT")


@pytest.fixture
def changed(drive, tmp_path):
    """``changed(name, change)``: a copy of the drive; ``change(entry)`` gives the message to write, None for none."""

    def make(name, change):
        path = tmp_path / name
        with BagSource(drive) as source, BagSink(path) as sink:
            for entry in source.messages():
                message = change(entry)
                if message is not None:
                    sink.write(entry.topic, entry.type_name, message, entry.stamp)
        return path

    return make


@pytest.fixture
def run(capsys):
    """Run a command: its status, the lines on stdout, the lines on stderr."""

    def call(*words):
        status = main([str(word) for word in words])
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


@pytest.fixture
def detect(run, checkpoint, tmp_path):
    def call(bag, *more):
        return run("detect", bag, "-o", tmp_path / "out.mcap", "--overwrite", "--checkpoint", checkpoint, *more)

    return call


@pytest.fixture
def split(drive, tmp_path):
    """The drive as a bag of three files, the middle one absent."""
    folder = tmp_path / "parts"
    folder.mkdir()
    with BagSource(drive) as source:
        entries, start, end = list(source.messages()), source.start, source.end
        for number in range(3):
            with BagSink(tmp_path / "part", overwrite=True) as sink:
                for entry in entries:
                    if (entry.stamp - start) * 3 // (end - start + 1) == number:
                        sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
            shutil.move(tmp_path / "part" / "part_0.mcap", folder / f"parts_{number}.mcap")
    metadata = yaml.safe_load((tmp_path / "part" / "metadata.yaml").read_text())
    metadata["rosbag2_bagfile_information"] |= {
        "relative_file_paths": [f"parts_{number}.mcap" for number in range(3)],
        "message_count": len(entries),
    }
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    (folder / "parts_1.mcap").unlink()
    return folder


def uncalibrated(entry):
    if not entry.topic.endswith("camera_info"):
        return entry.data
    message = entry.message()
    message.k, message.p = np.zeros(9), np.zeros(12)
    return message


def test_a_bag_without_calibration_is_an_error_that_says_so(changed, detect, run, tmp_path):
    bag = changed("bare.mcap", uncalibrated)
    status, text, error = detect(bag)
    assert status == 2
    (line,) = error.splitlines()
    assert FRONT_INFO in line and "K is all zeros" in line
    assert all(f"fault: {topics.camera_info_topic(name)}: " in text for name in topics.NUSCENES_CAMERAS)
    status, text, again = detect(bag, "--json")
    assert (status, again) == (2, error)
    result = json.loads(text)
    assert {fault["place"] for fault in result["faults"]} == set(map(topics.camera_info_topic, topics.NUSCENES_CAMERAS))
    assert all(fault["count"] == 4 and not fault["harmless"] for fault in result["faults"])
    status, _, error = run("view", bag, "--save", tmp_path / "x.rrd")
    assert status == 2 and FRONT_INFO in error and "K is all zeros" in error


def test_messages_of_other_types_on_a_topic_are_told_and_the_others_used(drive, detect, run, tmp_path):
    """Recorded by two publishers that do not agree about a topic's type."""
    from semlt3d_ros.bags import mcap_format as fmt

    other = {topics.TF: "std_msgs/msg/String", topics.POINTS: "alien_msgs/msg/Cloud", FRONT_INFO: topics.TF_TYPE}
    content, numbers = [fmt.MAGIC, fmt.pack_record(fmt.HEADER, fmt.pack_text("ros2"), fmt.pack_text("x"))], {}

    def write(topic, kind, data, stamp):
        if (topic, kind) not in numbers:
            number = numbers[topic, kind] = len(numbers) + 1
            content.append(fmt.pack_schema(fmt.Schema(number, kind, "ros2msg", b"")))
            content.append(fmt.pack_channel(fmt.Channel(number, number, topic, "cdr", {})))
        head = fmt.MESSAGE_HEAD.pack(numbers[topic, kind], 0, stamp, stamp)
        content.append(fmt.pack_record(fmt.MESSAGE, head, data))

    with BagSource(drive) as source:
        for entry in source.messages():
            if entry.topic in other:
                write(entry.topic, other[entry.topic], bytes([0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), entry.stamp)
            write(entry.topic, entry.type_name, entry.data, entry.stamp)
    bag = tmp_path / "two.mcap"
    bag.write_bytes(b"".join([*content, fmt.pack_record(fmt.DATA_END, bytes(4))]))
    status, text, error = detect(bag)
    assert (status, error) == (0, "") and "4 of 4 sets detected" in text
    assert all(f"fault: {topic}: " in text and other[topic] in text for topic in (topics.TF, FRONT_INFO))
    status, text, _ = run("view", bag, "--save", tmp_path / "x.rrd")
    assert status == 0 and text.startswith("4 frames")
    assert all(f"fault: {topic}: " in text and kind in text for topic, kind in other.items())


def test_calibration_that_never_came_is_told(changed, detect):
    status, text, error = detect(changed("no_info.mcap", lambda e: None if e.topic.endswith("_info") else e.data))
    assert status == 2
    assert "CAM_FRONT" in error and "camera_info" in error and FRONT in text


def test_a_bag_that_declares_images_and_holds_none_is_an_error(changed, detect):
    bag = changed("blind.mcap", lambda entry: None if "image" in entry.topic else entry.data)
    with BagSource(bag) as source, BagSink(bag.with_name("declared.mcap")) as sink:
        for name in topics.NUSCENES_CAMERAS:
            sink._add_topic(topics.camera_image_topic(name), topics.COMPRESSED_IMAGE_TYPE)
        for entry in source.messages():
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
    status, text, error = detect(bag.with_name("declared.mcap"))
    assert status == 2 and len(error.splitlines()) == 1
    assert "declared.mcap" in error and f"{FRONT}: no image" in error and "0 of 0 sets" in text


def test_one_bad_camera_among_good_ones_is_told(changed, detect, run, tmp_path):
    def cut(entry):
        return bytes(entry.data)[:-2000] if entry.topic == FRONT else entry.data

    bag = changed("bad_front.mcap", cut)
    status, text, error = detect(bag)
    assert (status, error) == (0, "")
    assert f"fault: {FRONT}: " in text
    status, text, _ = run("view", bag, "--save", tmp_path / "x.rrd")
    assert status == 0 and f"fault: {FRONT}: " in text


def test_a_good_drive_has_no_faults(drive, detect, run, tmp_path):
    status, text, error = detect(drive)
    assert (status, error) == (0, "") and len(text.splitlines()) == 1
    status, text, error = run("view", drive, "--save", tmp_path / "x.rrd")
    assert status == 0 and len(text.splitlines()) == 1


def test_a_missing_part_of_the_input_is_named_by_every_command(split, drive, detect, run, tmp_path):
    told = "parts_1.mcap: is listed in metadata.yaml and missing"
    status, text, _ = detect(split)
    assert status == 0 and f"incomplete: {told}" in text
    status, text, _ = detect(split, "--json")
    result = json.loads(text)
    assert status == 0 and result["truncated"] and result["incomplete"][0].startswith(told)
    assert [fault["reason"] for fault in result["faults"]] == ["missing_file"]
    status, text, _ = run("view", split, "--save", tmp_path / "x.rrd")
    assert status == 0 and f"incomplete: {told}" in text
    status, text, _ = run("evaluate", tmp_path / "out.mcap", "--truth", split)
    assert status == 0 and f"incomplete: {told}" in text


def test_clouds_that_are_all_refused_are_told_by_view(changed, run, tmp_path):
    def flat(entry):
        if entry.topic != topics.POINTS:
            return entry.data
        message = entry.message()
        message.fields = message.fields[:2]
        return message

    status, text, _ = run("view", changed("flat.mcap", flat), "--save", tmp_path / "x.rrd")
    assert status == 0 and text.startswith("4 frames")
    assert f"fault: {topics.POINTS}: " in text and "(4 times)" in text


def test_a_bag_that_breaks_off_is_told_by_view(drive, run, tmp_path):
    cut, content = tmp_path / "cut.mcap", drive.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    status, text, _ = run("view", cut, "--save", tmp_path / "x.rrd")
    assert status == 0 and f"incomplete: {cut}: breaks off after {len(content) // 2} bytes" in text
    cut.write_bytes(content[:200])
    status, _, error = run("view", cut, "--save", tmp_path / "x.rrd")
    assert status == 2 and str(cut) in error


def test_detections_that_belong_to_no_frame_are_told_by_view(drive, detect, changed, run, tmp_path):
    assert detect(drive)[0] == 0
    late = tmp_path / "late.mcap"
    with BagSource(tmp_path / "out.mcap") as source, BagSink(late) as sink:
        for entry in source.messages(topics=[topics.LONG_TAIL]):
            message = entry.message()
            message.header.stamp.nanosec += 5_000_000
            sink.write(entry.topic, entry.type_name, message, entry.stamp)
    status, text, _ = run("view", drive, late, "--save", tmp_path / "x.rrd")
    assert (
        status == 0 and "fault: detections: 4 of 4 have a stamp that no frame has; are they of another drive?\n" in text
    )
