"""What ``semlt3d model`` counts, against the modules themselves and against formulas."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from semlt3d_ros.checkpoints.shipped import shipped_teacher
from semlt3d_ros.cli import main
from semlt3d_ros.commands import counting, model
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student

MODELS = Path(__file__).resolve().parents[2] / "config" / "models"
SMALL = StudentConfig(
    image_width=96,
    image_height=64,
    backbone_args={"channels": [8, 16, 24, 32], "stem_width": 8},
    strides=(8, 16),
    width=32,
    layers=3,
    anchors=20,
    proposals=6,
    memory_frames=2,
    memory_queries=5,
    language_width=12,
    block="language_experts",
)


@pytest.fixture
def path(tmp_path):
    """The small model as a YAML file."""
    values = {**SMALL.to_dict(), "strides": [8, 16], "class_names": list(SMALL.class_names)}
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.mark.parametrize("kind", ["sampled", "global"])
def test_parameters_of_the_parts_are_those_of_the_student(kind):
    student = Student(replace(SMALL, cross_attention=kind))
    counts = counting.count_parameters(student, model.PARTS)
    assert sum(counts.values()) == sum(parameter.numel() for parameter in student.parameters())
    layer = student.decoder.layers[0]
    assert counts["feed-forward or experts"] == 3 * sum(each.numel() for each in layer.feed_forward.parameters())
    assert counts["memory alignment"] == 8 * 32 + 32 + 32 * 64 + 64


def test_operations_are_those_of_a_whole_forward_pass():
    """Counting backbone and pyramid from shapes, and the rest part by part, misses nothing that torch can count."""
    student = Student(replace(SMALL, cross_attention="global")).eval()
    student.set_anchors(torch.nn.functional.normalize(torch.randn(18, 12), dim=-1))
    batch = counting.six_cameras(SMALL)
    with torch.inference_mode(), FlopCounterMode(display=False) as whole:
        student(batch)
    counted = sum(model.count_operations(student, batch).values())
    # The 3x3 matrix products of projection and alignment belong to no part.
    assert 0.98 * whole.get_total_flops() < counted <= whole.get_total_flops()


def test_operations_equal_formulas():
    config = replace(SMALL, cross_attention="global", block="plain", language_width=0, proposals=0)
    counts = model.count_operations(Student(config).eval(), counting.six_cameras(config))
    queries, width, tokens, keys = 25, 32, 6 * 4 * 6, 30
    assert counts["feed-forward or experts"] == 3 * 2 * queries * 2 * width * 256
    projections = 2 * width * width * (2 * queries + 2 * tokens)
    assert counts["cross-attention"] == 3 * (projections + 2 * 2 * queries * tokens * width)
    projections = 2 * width * width * (2 * queries + 2 * keys)
    assert counts["self-attention"] == 3 * (projections + 2 * 2 * queries * keys * width)
    assert "image head" not in counts and "language projection" not in counts


def test_sampled_values_count_although_torch_does_not_count_them():
    student, batch = Student(SMALL).eval(), counting.six_cameras(SMALL)
    everything = model.count_operations(student, batch)["cross-attention"]
    batch.valid[:] = False
    nothing_seen = model.count_operations(student, batch)["cross-attention"]
    samples = (everything - nothing_seen) / (2 * SMALL.key_points * 2 * 4 * SMALL.width)
    # Key points times levels times neighbours, of each query and view that sees it, in each layer.
    assert samples == int(samples) and 3 * 20 <= samples <= 3 * 31 * SMALL.view_limit


def test_a_yaml_file_and_a_checkpoint_are_counted(answer, path, checkpoint):
    from_file = answer("model", path)
    assert from_file["parameters"]["total"] == sum(each.numel() for each in Student(SMALL).parameters())
    assert from_file["flops_per_frame"]["total"] > 1e6 and from_file["cameras"] == 6 and from_file["published"] == {}
    from_checkpoint = answer("model", checkpoint)
    assert from_checkpoint["weights_mb"] == pytest.approx(checkpoint.stat().st_size / 1e6, rel=0.05)


def test_the_table_names_parts_totals_and_what_is_left_out(path, capsys):
    assert main(["model", str(path)]) == 0
    text = capsys.readouterr().out
    for word in ("backbone", "cross-attention", "feed-forward or experts", "memory alignment", "total", "not counted"):
        assert word in text


def test_streampetr_is_compared_with_what_is_published():
    config = model.read_config(MODELS / "streampetr_r50.yaml")
    parameters = sum(counting.count_parameters(Student(config), model.PARTS).values())
    assert parameters == pytest.approx(37.5e6, rel=0.02)
    assert "37 to 40 million" in model.published(config)["parameters"]
    assert "31.7" in model.published(config)["frames_per_second"]
    assert model.published(config)["flops_per_frame"] == "not published"
    assert "9.1 %" in model.published(model.read_config(MODELS / "semlt3d_r50.yaml"))["experts"]
    assert model.published(model.read_config(MODELS / "semlt3d_r101.yaml")) == {}


def test_files_that_are_no_model_are_refused_in_one_line(refusal, tmp_path):
    assert "cannot be read" in refusal("model", tmp_path / "none.yaml")
    other = tmp_path / "other.yaml"
    other.write_text("[1, 2]")
    assert "must be a mapping" in refusal("model", other)
    other.write_text("widht: 3")
    assert "did you mean 'width'" in refusal("model", other)
    other.write_text("{")
    assert "is not YAML" in refusal("model", other)
    assert "does not exist" in refusal("model", tmp_path / "none.safetensors")


def test_a_lidar_teacher_is_told(capsys):
    assert main(["model", str(shipped_teacher()), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["parameters"]["total"] == sum(figures["parameters"].values()) / 2 > 500_000
    assert sorted(itertools.chain.from_iterable(figures["heads"])) == sorted(figures["classes"])
    assert main(["model", str(shipped_teacher())]) == 0
    text = capsys.readouterr().out
    assert "LiDAR teacher teacher@" in text and "pillars of 0.32 m" in text and "recipe_text" not in text


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["model", "--help"])
    assert "semlt3d model config/models/streampetr_r50.yaml" in capsys.readouterr().out
