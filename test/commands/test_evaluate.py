"""What ``semlt3d evaluate`` prints and writes."""

import json

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
    from semlt3d_ros.data.bags import BagSink, BagSource
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
