"""What ``semlt3d evaluate`` prints and writes."""

import json

import numpy as np
import pytest

from semlt3d_ros.cli import main


@pytest.fixture(scope="session")
def recorded(drive, checkpoint, tmp_path_factory):
    """Detections on the drive."""
    path = tmp_path_factory.mktemp("recorded") / "detections.mcap"
    assert main(["detect", str(drive), "-o", str(path), "--checkpoint", str(checkpoint)]) == 0
    return path


def test_figures_pictures_and_results_are_written(recorded, drive, answer, tmp_path):
    out, results = tmp_path / "out", tmp_path / "made" / "results.json"
    printed = answer("evaluate", recorded, "--truth", drive, "--out", out, "--results", results)
    assert json.loads((out / "report.json").read_text()) == printed
    assert {"confusion.png", "report.json"} < {path.name for path in out.iterdir()}
    assert any(path.name.startswith("precision_recall_") for path in out.iterdir())
    samples = json.loads(results.read_text())["results"]
    assert len(samples) == printed["frames"] == 4
    assert all(entry["sample_token"] == token for token, entries in samples.items() for entry in entries)
    assert sum(map(len, samples.values())) == sum(each["predictions"] for each in printed["classes"].values()) > 0


def test_the_protocol_is_chosen_by_name(recorded, drive, answer):
    figures = answer("evaluate", recorded, "--truth", drive, "--protocol", "nuscenes")
    assert figures["settings"]["protocol"]["name"] == "nuscenes"
    assert len(figures["classes"]) == 10 and "pedestrian" in figures["classes"]
    assert figures["settings"]["protocol"]["min_recall"] == 0.1


def test_classes_of_ones_own_are_evaluated(recorded, drive, answer, refusal, tmp_path):
    """Detections of LT3D's classes, in terms of others: what is called alike, or by the label map, counts as one."""
    classes, label_map = tmp_path / "street.yaml", tmp_path / "to_street.yaml"
    classes.write_text("name: street\nclasses: [{name: car}, {name: person, range_m: 60}]\n")
    label_map.write_text("source: lt3d\ntarget: street\nclasses: {car: car, adult: person, child: person}\n")
    words = ("evaluate", recorded, "--truth", drive)
    figures = answer(*words, "--classes", classes, "--label-map", label_map)
    assert figures["settings"]["protocol"]["name"] == "street" and figures["map"].keys() == {"all"}
    assert figures["classes"].keys() == {"car", "person"} and figures["classes"]["person"]["predictions"] > 0
    assert "truck" in figures["unknown_classes"] and "adult" not in figures["unknown_classes"]
    assert len(answer(*words, "--classes", "nuscenes")["classes"]) == 10
    assert "leave out --classes" in refusal(*words, "--classes", classes, "--protocol", "lt3d")
    assert "nuscenes_to_lt3d" in refusal(*words, "--label-map", "none")
    others = figures["of_no_class"]
    assert others and min(others.values()) > 0 and not {"car", "adult", "child"} & others.keys()
    assert answer(*words)["of_no_class"] == {}
    told = {fault["text"] for fault in figures["faults"] if fault["reason"] == "labels" and fault["harmless"]}
    assert len(told) == 1 and "does not name the labels truck, trailer" in told.pop()
    label_map.write_text("source: lt3d\ntarget: street\nclasses: {car: car, debris: person}\n")
    classes.write_text("name: street\nclasses: [{name: person}]\n")
    assert "leads to car, but the classes" in refusal(*words, "--classes", classes, "--label-map", label_map)
    label_map.write_text("source: lt3d\ntarget: street\nclasses: {emergency_vehicle: person}\n")
    line = refusal(*words, "--classes", classes, "--label-map", label_map)
    assert "none of the" in line and "is one of the classes (person)" in line and "--label-map" in line
    label_map.write_text("source: lt3d\ntarget: street\nclasses: {Auto: car}\n")
    classes.write_text("name: street\nclasses: [{name: car}]\n")
    line = refusal(*words, "--classes", classes, "--label-map", label_map)
    assert "none of the labels car, truck" in line and "give a label map" in line


def test_absent_classes_count_as_zero_on_request(recorded, drive, answer):
    left_out, zero = (answer("evaluate", recorded, "--truth", drive, *more) for more in ([], ["--absent-as-zero"]))
    absent = left_out["classes_without_truth"]
    assert absent == zero["classes_without_truth"] != []
    for name in absent:
        assert (left_out["classes"][name]["ap"], zero["classes"][name]["ap"]) == (None, 0.0)


def test_people_see_score_and_hierarchy(recorded, drive, capsys):
    assert main(["evaluate", str(recorded), "--truth", str(drive)]) == 0
    text = capsys.readouterr().out
    assert "NDS 0." in text and "LCA=2 0." in text and "personal_mobility" in text


def test_an_unknown_protocol_is_refused(recorded, drive, refusal):
    line = refusal("evaluate", recorded, "--truth", drive, "--protocol", "kitti")
    assert "'kitti'" in line and "lt3d, nuscenes" in line


def test_results_need_to_know_where_the_vehicle_was(recorded, drive, refusal, tmp_path):
    from semlt3d_ros.bags.sink import BagSink
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.messages import topics

    lost = tmp_path / "lost.mcap"
    with BagSource(drive) as source, BagSink(lost) as sink:
        for entry in source.messages(topics=[topics.TRUTH_LONG_TAIL]):
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
    line = refusal("evaluate", recorded, "--truth", lost, "--results", tmp_path / "results.json")
    assert "no transform places 'base_link'" in line and "lost.mcap" in line and "leave out --results" in line
    assert not (tmp_path / "results.json").exists()
    with BagSource(drive) as source, BagSink(tmp_path / "gap.mcap") as sink:
        for entry in source.messages(topics=[topics.TRUTH_LONG_TAIL, topics.TF]):
            if entry.topic != topics.TF or entry.stamp < source.start + 10**8:
                sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
    line = refusal("evaluate", recorded, "--truth", tmp_path / "gap.mcap", "--results", tmp_path / "results.json")
    assert "gap.mcap' has no pose of 'base_link' for every frame" in line


def rewritten(source_path, path, change):
    """A copy of a bag; ``change(entry)`` gives the (topic, type, message, stamp) to write for each entry."""
    from semlt3d_ros.bags.sink import BagSink
    from semlt3d_ros.bags.source import BagSource

    with BagSource(source_path) as source, BagSink(path) as sink:
        for entry in source.messages():
            for item in change(entry):
                sink.write(*item)
    return path


def as_it_is(entry):
    return [(entry.topic, entry.type_name, entry.data, entry.stamp)]


def moved(entry, nanoseconds):
    message = entry.message()
    total = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec + nanoseconds
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(total, 10**9)
    return [(entry.topic, entry.type_name, message, entry.stamp)]


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_nothing_paired_is_an_error_that_names_the_distance(recorded, drive, tmp_path, capsys, more):
    from semlt3d_ros.messages import topics

    late = rewritten(
        drive,
        tmp_path / "late.mcap",
        lambda entry: moved(entry, 5_000_000) if entry.topic == topics.TRUTH_LONG_TAIL else as_it_is(entry),
    )
    results = tmp_path / "results.json"
    assert main(["evaluate", str(recorded), "--truth", str(late), "--results", str(results), *more]) == 2
    output = capsys.readouterr()
    (line,) = output.err.splitlines()
    assert "nothing to evaluate" in line and "5.000 ms apart" in line and "give detections the stamp" in line
    assert "mAP" not in output.out and not results.exists()
    if more:
        printed = json.loads(output.out)
        assert printed["pairs"] == {"answered": 0, "unanswered": 4, "without_truth": 4, "rejected": {}}
        assert "map" not in printed and {fault["reason"] for fault in printed["faults"]} == {
            "unanswered",
            "without_truth",
        }
    else:
        assert "0 frames with detections and ground truth, 4 without detections, 4 without ground truth" in output.out


def test_what_an_evaluation_lacks_is_printed_and_in_json(recorded, drive, answer, tmp_path, capsys):
    from semlt3d_ros.messages import topics

    stamps = []

    def half_and_odd(entry):
        if entry.topic != topics.LONG_TAIL:
            return []
        stamps.append(entry.stamp)
        message = entry.message()
        message.detections[0].size.x = float("nan")
        return [(entry.topic, entry.type_name, message, entry.stamp)] if len(stamps) % 2 else []

    half = rewritten(recorded, tmp_path / "half.mcap", half_and_odd)
    whole, printed = (answer("evaluate", bag, "--truth", drive) for bag in (recorded, half))
    assert whole["pairs"] == {"answered": 4, "unanswered": 0, "without_truth": 0, "rejected": {}}
    assert (whole["faults"], whole["incomplete"]) == ([], [])
    assert printed["pairs"] == {"answered": 2, "unanswered": 2, "without_truth": 0, "rejected": {"box": 2}}
    assert printed["frames"] == 4
    assert main(["evaluate", str(half), "--truth", str(drive)]) == 0
    text = capsys.readouterr().out
    assert "2 frames with detections and ground truth, 2 without detections" in text
    assert f"fault: {topics.LONG_TAIL}: element 0 of the message" in text and "(2 times)" in text


def test_bags_that_break_off_are_told(recorded, drive, answer, tmp_path, capsys):
    from semlt3d_ros.bags.sink import BagSink
    from semlt3d_ros.bags.source import BagSource

    cut = tmp_path / "cut.mcap"
    with BagSource(recorded) as source, BagSink(cut, compress=False) as sink:
        for entry in source.messages():
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
            sink.flush()
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    printed = answer("evaluate", cut, "--truth", drive)
    assert printed["pairs"]["unanswered"] > 0
    (line,) = printed["incomplete"]
    assert line.startswith(f"{cut}: breaks off after {len(content) // 2} bytes")
    assert main(["evaluate", str(cut), "--truth", str(drive)]) == 0
    assert f"incomplete: {line}" in capsys.readouterr().out


def test_samples_are_named_by_the_data_set_where_the_truth_says_how(recorded, drive, answer, tmp_path, capsys):
    from semlt3d_ros.core.frame import SampleInfo
    from semlt3d_ros.messages import topics
    from semlt3d_ros.messages.encode import encode_sample

    def with_token(entry):
        if entry.topic != topics.TRUTH_LONG_TAIL:
            return as_it_is(entry)
        sample = encode_sample(SampleInfo("nuScenes", "scene-0061", f"token{entry.stamp}"), entry.stamp, "base_link")
        return [*as_it_is(entry), (topics.TRUTH_SAMPLE, topics.SAMPLE_TYPE, sample, entry.stamp)]

    keyed, results = rewritten(drive, tmp_path / "keyed.mcap", with_token), tmp_path / "results.json"
    printed = answer("evaluate", recorded, "--truth", keyed, "--results", results)
    assert printed["results"] == {"samples": 4, "named_by_data_set": 4, "named_by_stamp": 0}
    samples = json.loads(results.read_text())["results"]
    assert all(token.startswith("token") for token in samples) and len(samples) == 4
    assert all(entry["sample_token"] == token for token, entries in samples.items() for entry in entries)
    assert main(["evaluate", str(recorded), "--truth", str(drive), "--results", str(results)]) == 0
    assert "4 of 4 samples of the results file are named by their stamps" in capsys.readouterr().out


def only_truth(change):
    """For ``rewritten``: ``change(message)`` each message of the ground truth."""
    from semlt3d_ros.messages import topics

    def of(entry):
        if entry.topic != topics.TRUTH_LONG_TAIL:
            return as_it_is(entry)
        message = entry.message()
        change(message)
        return [(entry.topic, entry.type_name, message, entry.stamp)]

    return of


@pytest.mark.parametrize(
    ("change", "more", "told"),
    [
        (lambda message: setattr(message, "detections", []), [], "there is no object in"),
        (lambda message: None, ["--range", "0.001"], "leave none of the"),
        (lambda message: None, ["--min-pixels", "100000000"], "leave none of the"),
        (
            lambda message: [setattr(item, "class_name", "Auto") for item in message.detections],
            [],
            "'Auto' is not known",
        ),
    ],
)
def test_nothing_to_find_is_an_error(recorded, drive, tmp_path, refusal, change, more, told):
    truth = rewritten(drive, tmp_path / "truth.mcap", only_truth(change))
    line = refusal("evaluate", recorded, "--truth", truth, "--results", tmp_path / "results.json", *more)
    assert "nothing to evaluate" in line and told in line and "truth.mcap" in line
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda message: setattr(message, "class_names", [f"my_{name}" for name in message.class_names]), "my_car"),
        (lambda message: [setattr(item.size, "x", -1.0) for item in message.detections], "sizes positive"),
        (
            lambda message: [
                setattr(item, "class_confidences", np.full(18, np.nan, np.float32)) for item in message.detections
            ],
            "not finite",
        ),
        (
            lambda message: [
                setattr(item, "class_confidences", np.full(18, 57.0, np.float32)) for item in message.detections
            ],
            "57 does not lie in [0, 1]",
        ),
    ],
)
def test_detections_of_which_none_can_be_used_are_an_error(recorded, drive, tmp_path, refusal, change, told):
    from semlt3d_ros.messages import topics

    def of(entry):
        message = entry.message()
        if entry.topic == topics.LONG_TAIL:
            change(message)
        return [(entry.topic, entry.type_name, message, entry.stamp)]

    bad = rewritten(recorded, tmp_path / "bad.mcap", of)
    line = refusal("evaluate", bad, "--truth", drive)
    assert "bad.mcap' can be held against ground truth" in line and told in line
    if told == "my_car":
        assert "leave out --protocol and give --classes" in refusal(
            "evaluate", bad, "--truth", drive, "--protocol", "lt3d"
        )


def test_an_answer_without_boxes_is_an_answer(recorded, drive, answer, tmp_path):
    def of(entry):
        message = entry.message()
        message.detections = []
        return [(entry.topic, entry.type_name, message, entry.stamp)]

    printed = answer("evaluate", rewritten(recorded, tmp_path / "empty.mcap", of), "--truth", drive)
    assert printed["map"]["all"] == 0 and printed["faults"] == []


def test_a_transform_that_makes_a_loop_costs_the_results_no_other(recorded, drive, answer, tmp_path):
    from copy import deepcopy

    from semlt3d_ros.messages import topics

    def of(entry):
        message = entry.message()
        if entry.topic == topics.TF:
            loop = deepcopy(message.transforms[0])
            loop.header.frame_id = loop.child_frame_id = "base_link"
            message.transforms = [loop, *message.transforms]
        return [] if entry.topic == topics.ODOMETRY else [(entry.topic, entry.type_name, message, entry.stamp)]

    truth = rewritten(drive, tmp_path / "loop.mcap", of)
    printed = answer("evaluate", recorded, "--truth", truth, "--results", tmp_path / "results.json")
    assert printed["results"]["samples"] == 4


def test_fewer_than_no_pixels_are_refused(recorded, drive, refusal):
    assert "min_visible_pixels" in refusal("evaluate", recorded, "--truth", drive, "--min-pixels", "-1")
