"""A file in the layout of Far3D's released weights is imported, and runs on a bag."""

import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench.parity.checkpoints import far3d_tensors, write_far3d
from bench.parity.fixtures import FOLDER, Fixture
from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.checkpoints.import_far3d import convert, knows
from semlt3d_ros.checkpoints.import_weights import Choices, Imported
from semlt3d_ros.cli import main
from semlt3d_ros.core.classes import ClassInfo, ClassList, load_class_list
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode_detections import decode_long_tail
from semlt3d_ros.student.published.config import Far3DConfig

SIZE = (128, 64)
SMALL = {"layers": 2, "queries": 40, "propagated": 16, "remembered": 16, "memory_length": 64}


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """Those of the released shape."""
    return far3d_tensors(Far3DConfig(class_names=load_class_list("argoverse2").names))


@pytest.fixture(scope="module")
def imported(tensors) -> Imported:
    return convert(tensors, Choices(image_size=SIZE, memory_interval_s=0.45))


def test_its_shape_is_read_off_the_tensors(imported) -> None:
    config = imported.model.config
    assert (config.queries, config.propagated, config.remembered, config.memory_length) == (644, 256, 256, 1024)
    assert (config.layers, config.heads, config.feed_forward, config.groups, config.points) == (6, 8, 1024, 8, 13)
    assert config.strides == (8, 16, 32, 64) and config.depth_bins == 50
    assert config.pc_range == config.post_center_range == (-152.4, -152.4, -5.0, 152.4, 152.4, 5.0)
    assert config.class_names == load_class_list("argoverse2").names and len(config.class_names) == 26
    assert (config.image_width, config.image_height, config.memory_interval_s) == (*SIZE, 0.45)
    assert config.T_ego_model == (
        0.0,
        0.0,
        0.33,
        0.0,
        0.0,
        0.0,
    )  # base_link is on the road, Argoverse's ego frame above
    assert imported.name == "far3d_v2_99" and imported.dropped["weights of losses"] == 2


def test_every_tensor_is_taken_over(imported, tensors) -> None:
    own = imported.model.state_dict()
    copies = sum("_branches." in key and "_branches.0." not in key for key in tensors)
    assert imported.used == len(own) == len(tensors) - copies - 2
    pairs = {
        "img_neck.fpn_convs.3.conv.weight": "neck.fpn_convs.3.conv.weight",
        "img_roi_head.depthnet.depth_classifier.bias": "image_head.depthnet.depth_classifier.bias",
        "img_backbone.stage4.OSA4_9.concat.OSA4_9_concat/norm.running_var": (
            "backbone.stages_2.blocks.8.conv_concat.bn.running_var"
        ),
        "pts_bbox_head.cls_branches.3.6.weight": "head.cls_branches.0.6.weight",
        "pts_bbox_head.transformer.decoder.layers.5.attentions.1.weights_fc.bias": (
            "head.transformer.decoder.layers.5.attentions.1.weights_fc.bias"
        ),
    }
    for theirs, ours in pairs.items():
        assert torch.equal(own[ours], tensors[theirs])


def test_the_first_convolution_takes_rgb_for_bgr(imported, tensors) -> None:
    torch.manual_seed(0)
    image, theirs = torch.rand(1, 3, 8, 8), tensors["img_backbone.stem.stem_1/conv.weight"]
    turned = imported.model.state_dict()["backbone.stem_0.conv.weight"]
    torch.testing.assert_close(F.conv2d(image, turned), F.conv2d(image.flip(1), theirs))
    as_it_is = convert(tensors, Choices(channels="rgb")).model.state_dict()
    assert torch.equal(as_it_is["backbone.stem_0.conv.weight"], theirs)


def without(tensors: dict[str, torch.Tensor], *keys: str) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in tensors.items() if key not in keys}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: without(t, "pts_bbox_head.context_embed.2.weight"), "lacks head.context_embed.2.weight"),
        (lambda t: without(t, "pts_bbox_head.pc_range"), "lacks 'pc_range'"),
        (lambda t: t | {"pts_bbox_head.velocity.weight": torch.ones(2)}, "head.velocity.weight"),
        (lambda t: without(t, "img_backbone.stage4.OSA4_3.ese.fc.weight"), "backbone is none of .*V2-99"),
        (lambda t: t | {"pts_bbox_head.cls_branches.4.6.bias": torch.ones(26)}, "differs from layer 0's"),
        (lambda t: t | {"img_neck.fpn_convs.1.conv.bias": torch.full((256,), torch.nan)}, "not finite"),
    ],
)
def test_what_is_missing_left_over_or_damaged_is_named(tensors, change, words) -> None:
    changed = change(tensors)
    assert knows(changed)
    with pytest.raises(ConfigurationError, match=words):
        convert(changed, Choices())


def test_other_classes_must_be_as_many(tensors) -> None:
    three = ClassList("mine", tuple(map(ClassInfo, ("car", "bus", "dog"))))
    with pytest.raises(ConfigurationError, match="26 classes apart, but list 'mine' has 3"):
        convert(tensors, Choices(classes=three))
    last = re.compile(r"(cls_branches\.\d\.6|multi_level_conv_cls\.\d)\.")
    fewer = {key: tensor[:3] if last.search(key) else tensor for key, tensor in tensors.items()}
    assert convert(fewer, Choices(classes=three)).model.config.class_names == ("car", "bus", "dog")


def test_an_imported_one_runs_on_a_bag(recording, tmp_path, capsys) -> None:
    """Two of its seven cameras are there; it remembers from frame to frame, and gives out boxes of its 26 classes."""
    released = write_far3d(tmp_path / "iter_82548.pth", **SMALL)
    checkpoint, bag, out = tmp_path / "far3d.safetensors", tmp_path / "drive.mcap", tmp_path / "found.mcap"
    size = "x".join(map(str, SIZE))
    assert main(["import-weights", str(released), "-o", str(checkpoint), "--image-size", size]) == 0
    assert "far3d_v2_99, in" in capsys.readouterr().out
    recording.of_sets(bag, 3)
    assert main(["detect", str(bag), "-o", str(out), "--checkpoint", str(checkpoint), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["sets_processed"] == 3 and counts["memory_resets"] == {"start": 1, "kept": 2}
    with BagSource(out) as source:
        found = [
            decode_long_tail(message)
            for entry, message in decoded(source.messages(topics=[topics.LONG_TAIL]), source.faults)
        ]
    assert len(found) == 3 and all(len(each) for each in found)
    for each in found:
        assert each.class_names == load_class_list("argoverse2").names
        assert each.model_version.startswith("far3d_v2_99@")
        assert np.isnan(each.boxes.velocity).all()  # unknown, and not zero


@pytest.mark.skipif(not (FOLDER / "far3d_head_reduced.json").is_file(), reason=f"no fixtures in {FOLDER}")
def test_the_heads_tensors_have_the_names_of_the_original(tensors) -> None:
    info = Fixture(FOLDER / "far3d_head_reduced.json").info
    wanted = {entry["key"] for entry in info["weights"]} | set(info["aliases"]) | set(info["constants"])
    made = {key.removeprefix("pts_bbox_head.") for key in tensors if key.startswith("pts_bbox_head.")}
    assert wanted == {
        key for key in made if not key.startswith(tuple(f"transformer.decoder.layers.{n}" for n in "2345"))
    }
