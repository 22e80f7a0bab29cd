"""From a published checkpoint to detections and figures, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.checkpoints.published import read_published
from semlt3d_ros.cli import main
from semlt3d_ros.core.classes import load_class_list
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode_detections import decode_long_tail
from semlt3d_ros.messages.typestore import deserialize


@pytest.fixture(scope="module")
def imported(published_weights, tmp_path_factory):
    """The checkpoint, and what the command said about it."""
    out = tmp_path_factory.mktemp("imported") / "streampetr.safetensors"
    assert main(["import-weights", str(published_weights), "-o", str(out), "--image-size", "96x64"]) == 0
    return out


def test_the_command_says_what_it_found(published_weights, answer, tmp_path):
    facts = answer("import-weights", published_weights, "-o", tmp_path / "out.safetensors", "--name", "mine")
    assert facts["name"] == "mine"
    assert facts["found"]["model"] == "StreamPETR" and facts["found"]["backbone"] == "resnet50"
    assert facts["found"]["queries"].startswith("12 learnt and 4 of the last frame")
    assert facts["assumed"]["images"] == "704x256" and facts["assumed"]["channels"] == "RGB"
    assert facts["tensors_used"] + sum(facts["tensors_dropped"].values()) == len(tensor_names(published_weights))
    # The rule makes the weights, so these are the same everywhere, to rounding.
    assert facts["outputs"] == pytest.approx(OUTPUTS, abs=1e-3)
    again = answer("import-weights", published_weights, "-o", tmp_path / "again.safetensors")
    other = answer("import-weights", published_weights, "-o", tmp_path / "other.safetensors", "--channels", "bgr")
    assert again["weights_checksum"] == facts["weights_checksum"] != other["weights_checksum"]
    assert again["outputs"] == facts["outputs"] != other["outputs"]


OUTPUTS = {
    "logits of frame 0": -2.257181,
    "boxes of frame 0": 1.788244,
    "logits of frame 1": -2.174906,
    "boxes of frame 1": 1.387091,
}


def tensor_names(path):
    import torch

    return list(torch.load(path, weights_only=True)["state_dict"])


def test_people_read_what_was_found(published_weights, capsys, tmp_path):
    assert main(["import-weights", str(published_weights), "-o", str(tmp_path / "out.safetensors")]) == 0
    output = capsys.readouterr().out
    assert "backbone: resnet50" in output and "80 of copies of the branches" in output and "checksum" in output


def test_detections_of_a_drive_have_ten_classes(imported, drive, answer, tmp_path):
    out = tmp_path / "detections.mcap"
    counts = answer("detect", drive, "-o", out, "--checkpoint", imported)
    assert counts["sets_processed"] == 4
    assert counts["memory_resets"] == {"start": 1, "kept": 3}
    with BagSource(out) as source:
        messages = [deserialize(entry.data, topics.LONG_TAIL_TYPE) for entry in source.messages([topics.LONG_TAIL])]
    found = [decode_long_tail(message) for message in messages]
    names = load_class_list("nuscenes").names
    assert all(each.class_names == names and each.confidences.shape[1] == 10 for each in found)
    assert all(len(each) > 0 and np.isfinite(each.boxes.centers).all() for each in found)
    assert all(each.model_version.startswith("streampetr_r50_16q@") for each in found)
    figures = answer("evaluate", out, "--truth", drive)
    assert figures["frames"] == 4


def test_model_counts_its_parts(imported, answer):
    figures = answer("model", imported)
    parameters = figures["parameters"]
    assert parameters["backbone"] == 23_508_032
    assert parameters["total"] == sum(count for part, count in parameters.items() if part != "total")
    assert parameters["total"] == sum(each.numel() for each in read_published(imported).model().parameters())
    assert figures["flops_per_frame"].keys() >= {"backbone", "pyramid", "self-attention", "cross-attention", "tokens"}


def test_training_with_it_is_refused(imported, refusal, tmp_path):
    """Only commands that run a model take it."""
    recipe = Path(__file__).resolve().parents[2] / "config" / "recipes" / "demo.yaml"
    line = refusal("calibrate", imported, recipe, "-o", tmp_path / "out.safetensors")
    assert "published streampetr" in line and "not be trained" in line


def test_exported_it_runs_in_onnxruntime(imported, drive, checkpoint, answer, refusal, tmp_path):
    pytest.importorskip("onnxruntime")
    words = ["detect", drive, "-o", tmp_path / "there.mcap", "--checkpoint", imported, "--device", "onnxruntime"]
    assert f"semlt3d export {imported}" in refusal(*words)
    result = answer("export", imported, "-o", imported.with_suffix(".onnx"))
    assert max(each["difference"] for each in result["differences"]) < 1e-4
    assert answer(*words)["sets_processed"] == 4
    assert "student of this package" in refusal("export", checkpoint, "-o", tmp_path / "own")
    own = ["detect", drive, "-o", tmp_path / "own.mcap", "--checkpoint", checkpoint, "--device", "onnxruntime"]
    assert "exported published models" in refusal(*own)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--image-size", "704"], "expected WIDTHxHEIGHT"),
        (["--image-size", "700x250"], "multiples of 32"),
        (["--classes", "lt3d"], "10 classes"),
        (["--classes", "nowhere"], "no classes file 'nowhere'"),
    ],
)
def test_wrong_choices_are_told(published_weights, refusal, tmp_path, options, words):
    out = tmp_path / "out.safetensors"
    assert words in refusal("import-weights", published_weights, "-o", out, *options)
    assert not out.exists()


def test_what_is_no_published_checkpoint(refusal, checkpoint, tmp_path):
    out = tmp_path / "out.safetensors"
    assert "is not a file" in refusal("import-weights", tmp_path / "none.pth", "-o", out)
    assert str(checkpoint) in refusal("import-weights", checkpoint, "-o", out)
    assert not out.exists()


def test_a_damaged_checkpoint_is_told(imported, refusal, drive, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(imported.read_bytes()[:-1000])
    assert str(broken) in refusal("detect", drive, "-o", tmp_path / "out.mcap", "--checkpoint", broken)


def test_an_unknown_family_is_told(imported, refusal, drive, tmp_path):
    content = imported.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    own = json.loads(header["__metadata__"]["semlt3d"])
    own["family"] = "future"
    header["__metadata__"]["semlt3d"] = json.dumps(own)
    text = json.dumps(header).encode()
    other = tmp_path / "other.safetensors"
    other.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    assert "family 'future'" in refusal("detect", drive, "-o", tmp_path / "out.mcap", "--checkpoint", other)
