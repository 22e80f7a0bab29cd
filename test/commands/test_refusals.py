"""What commands refuse: one line that names the thing and the remedy, exit status 2, nothing destroyed."""

import json
import struct
from pathlib import Path

import pytest

from semlt3d_ros.commands.output import print_json

RECIPES = Path(__file__).resolve().parents[2] / "config" / "recipes"


@pytest.fixture
def without_truth(drive, tmp_path):
    from semlt3d_ros.bags.sink import BagSink
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.messages import topics

    path = tmp_path / "plain.mcap"
    with BagSource(drive) as source, BagSink(path) as sink:
        for entry in source.messages(topics=[topics.TF, topics.LONG_TAIL]):
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
    return path


def with_header(checkpoint, path, change):
    """A copy of a checkpoint with a changed header."""
    content = checkpoint.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    ours = json.loads(header["__metadata__"]["semlt3d"])
    change(ours)
    header["__metadata__"]["semlt3d"] = json.dumps(ours)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    return path


def test_a_bag_that_is_not_there(refusal, tmp_path, checkpoint):
    missing = tmp_path / "none.mcap"
    for words in (
        ["detect", missing, "-o", tmp_path / "out.mcap", "--checkpoint", checkpoint],
        ["play", missing],
        ["evaluate", missing, "--truth", missing],
    ):
        assert "none.mcap" in refusal(*words)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_bag(refusal, tmp_path, checkpoint):
    path = tmp_path / "noise.mcap"
    path.write_bytes(bytes(range(256)) * 10)
    assert "noise.mcap" in refusal("detect", path, "-o", tmp_path / "out.mcap", "--checkpoint", checkpoint)


def test_a_bag_without_cameras(refusal, without_truth, tmp_path, checkpoint):
    line = refusal("detect", without_truth, "-o", tmp_path / "out.mcap", "--checkpoint", checkpoint)
    assert "no camera found" in line


def test_a_bag_without_ground_truth(refusal, without_truth, drive):
    assert "no detections" in refusal("evaluate", without_truth, "--truth", drive)


def test_a_checkpoint_with_other_classes(refusal, checkpoint, drive, tmp_path):
    def rename(header):
        header["config"]["class_names"] = ["cat", *header["config"]["class_names"][1:]]

    path = with_header(checkpoint, tmp_path / "cats.safetensors", rename)
    line = refusal("detect", drive, "-o", tmp_path / "out.mcap", "--checkpoint", path)
    assert "cats.safetensors" in line and "cat" in line
    assert not (tmp_path / "out.mcap").exists()


def test_a_checkpoint_that_is_none(refusal, drive, tmp_path):
    path = tmp_path / "text.safetensors"
    path.write_text("hello")
    assert "not a readable safetensors file" in refusal(
        "detect", drive, "-o", tmp_path / "o.mcap", "--checkpoint", path
    )
    line = refusal("detect", drive, "-o", tmp_path / "o.mcap", "--checkpoint", tmp_path / "absent.safetensors")
    assert "absent.safetensors" in line


def test_a_device_that_is_not_there(refusal, drive, checkpoint, tmp_path):
    words = ["detect", drive, "-o", tmp_path / "o.mcap", "--checkpoint", checkpoint, "--device", "cuda:99"]
    assert "cuda:99" in refusal(*words)


def test_parameters_the_node_does_not_have(refusal, tmp_path):
    assert "did you mean 'tolerance_s'?" in refusal("node", "-p", "tolerence_s:=0.1")
    assert "params.yaml" in refusal("node", "--params", tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("/**:\n  ros__parameters:\n    min_cameras: many\n")
    assert "min_cameras" in refusal("node", "--params", tmp_path / "params.yaml")


def test_a_node_with_a_checkpoint_that_does_not_exist(refusal, tmp_path):
    assert "absent" in refusal("node", "-p", f"checkpoint:={tmp_path / 'absent.safetensors'}")


def test_playing_at_no_speed_or_without_a_topic(refusal, drive):
    assert "rate" in refusal("play", drive, "--rate", "0")
    assert "/nothing" in refusal("play", drive, "--topics", "/nothing")


@pytest.mark.parametrize("frames", ["3", "a:b", "1:2:3"])
def test_frames_that_are_no_range(refusal, frames, tmp_path):
    assert f"--frames {frames}" in refusal(
        "import", "pandaset", tmp_path / "in", tmp_path / "o.mcap", "--frames", frames
    )


def test_a_folder_that_is_no_pandaset(refusal, tmp_path):
    assert "PandaSet" in refusal("import", "pandaset", tmp_path / "none", tmp_path / "o.mcap")


@pytest.mark.parametrize(
    ("words", "part"),
    [(["--size", "big"], "WxH"), (["--size", "0x0"], "positive"), (["--frames", "0"], "positive")],
)
def test_drives_that_cannot_be_simulated(refusal, tmp_path, words, part):
    assert part in refusal("simulate", tmp_path / "o.mcap", *words)
    assert not (tmp_path / "o.mcap").exists()


def test_recipes_that_do_not_hold_together(refusal, tmp_path):
    assert "none.yaml" in refusal("train", tmp_path / "none.yaml")
    (tmp_path / "odd.yaml").write_text("name: odd\nlerning_rate: 1\n")
    assert "lerning_rate" in refusal("train", tmp_path / "odd.yaml")


def test_a_demo_without_a_checkpoint(refusal, tmp_path):
    line = refusal("demo", "--no-view", "--out", tmp_path / "demo", "--checkpoint", tmp_path / "absent.safetensors")
    assert "absent.safetensors" in line
    assert not (tmp_path / "demo").exists()


def test_json_has_no_nan(capsys):
    print_json({"a": float("nan"), "b": [1.5, float("inf") - float("inf")]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None]}


@pytest.mark.parametrize(
    ("words", "work"),
    [
        (["train", RECIPES / "demo_single.yaml"], "semlt3d_ros.training.run.open_frames"),
        (["train-clip", RECIPES / "tiny_clip.yaml"], "semlt3d_ros.training.clip.render_crops"),
        (["calibrate", "none.safetensors", RECIPES / "demo_single.yaml"], "semlt3d_ros.training.calibrate.load_recipe"),
        (["experiment", RECIPES.parent / "experiments" / "long_tail.yaml"], "semlt3d_ros.training.experiment.run_all"),
    ],
)
def test_a_result_that_cannot_be_written_is_told_before_the_work(refusal, monkeypatch, words, work):
    monkeypatch.setattr(work, lambda *_: pytest.fail("it was begun"))
    assert "cannot write /proc/result" in refusal(*words, "-o", "/proc/result.safetensors")


@pytest.mark.parametrize("score", ["nan", "7", "-0.1"])
def test_confidences_that_nothing_can_have(refusal, drive, tmp_path, score):
    line = refusal("view", drive, "--save", tmp_path / "x.rrd", f"--min-score={score}")
    assert f"--min-score {score}" in line and not (tmp_path / "x.rrd").exists()
