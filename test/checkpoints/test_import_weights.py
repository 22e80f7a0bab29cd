"""Published checkpoints are recognised by their tensors alone, and nothing in them is run."""

from __future__ import annotations

import os
import pickle

import pytest
import torch

from bench.parity.checkpoints import streampetr_tensors
from semlt3d_ros.checkpoints import import_streampetr
from semlt3d_ros.checkpoints.checkpoint import read_checkpoint
from semlt3d_ros.checkpoints.import_weights import Choices, import_weights, read_weights
from semlt3d_ros.checkpoints.published import read_published, save_published
from semlt3d_ros.core.classes import load_class_list
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.student.backbone import V2_99
from semlt3d_ros.student.published.config import StreamPETRConfig

SMALL = {"queries": 12, "propagated": 4, "remembered": 4, "memory_length": 16, "layers": 2}
NAMES = tuple(f"class_{index}" for index in range(10))


@pytest.fixture(scope="module")
def small():
    """Tensors of a small StreamPETR with the original's names."""
    return streampetr_tensors(StreamPETRConfig(NAMES, **SMALL))


@pytest.fixture
def write(tmp_path):
    def save(content, name="weights.pth"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


def refusal(path, choices=None):
    with pytest.raises(ConfigurationError) as caught:
        import_weights(path, choices or Choices())
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


@pytest.mark.parametrize(
    ("shape", "name", "size"),
    [
        ({}, "streampetr_r50_428q", (704, 256)),
        ({"queries": 644, "propagated": 256}, "streampetr_r50_900q", (704, 256)),
        ({"queries": 644, "propagated": 256, "backbone": V2_99}, "streampetr_v2_99_900q", (800, 320)),
    ],
)
def test_published_models_are_recognised(shape, name, size):
    imported = import_streampetr.convert(streampetr_tensors(StreamPETRConfig(NAMES, **shape)), Choices())
    config = imported.model.config
    assert imported.name == name
    assert (config.image_width, config.image_height) == size
    assert config.memory_length == 4 * config.propagated == 4 * config.remembered
    assert (config.layers, config.feed_forward, config.branch_layers, config.depth_points) == (6, 2048, 2, 64)
    assert config.pc_range == (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
    assert config.class_names == load_class_list("nuscenes").names
    assert set(imported.dropped.values()) == {80, 2}


def test_every_tensor_arrives_where_it_belongs(small):
    model = import_streampetr.convert(small, Choices()).model
    for ours, theirs in (
        ("backbone.layer3.5.conv2.weight", "img_backbone.layer3.5.conv2.weight"),
        ("neck.lateral_convs.1.conv.weight", "img_neck.lateral_convs.1.conv.weight"),
        ("head.transformer.decoder.layers.1.attentions.1.attn.in_proj_weight",) * 2,
        ("head.cls_branches.0.6.bias",) * 2,
    ):
        assert torch.equal(model.state_dict()[ours], small[theirs.replace("head.", "pts_bbox_head.")])


@pytest.mark.parametrize("backbone", ["resnet50", V2_99])
def test_channels_in_the_other_order_are_turned_in_the_first_convolution(backbone):
    """A BGR image before the original's convolution gives what an RGB one gives before ours."""
    tensors = streampetr_tensors(StreamPETRConfig(NAMES, backbone=backbone, **SMALL))
    models = {order: import_streampetr.convert(tensors, Choices(channels=order)).model for order in ("rgb", "bgr")}
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        original, ours = models["rgb"].maps(image.flip(1)), models["bgr"].maps(image)
    for first, second in zip(original, ours, strict=True):
        assert torch.allclose(first, second, atol=1e-4, rtol=1e-4)


def test_choices_go_into_the_checkpoint(small, write, tmp_path):
    frame = (1.0, 0.0, 2.0, 0.0, 1.0, -90.0)
    own = load_class_list("nuscenes")
    imported = import_weights(write({"state_dict": small}), Choices((96, 64), frame, own, "rgb"))
    save_published(tmp_path / "out.safetensors", imported.model, imported.classes, "mine", {})
    checkpoint = read_published(tmp_path / "out.safetensors")
    assert checkpoint.version.startswith("mine@")
    assert checkpoint.config == imported.model.config
    assert checkpoint.config.T_ego_model == frame and checkpoint.config.image_width == 96
    assert checkpoint.classes == own
    restored = checkpoint.model().state_dict()
    assert all(torch.equal(tensor, restored[key]) for key, tensor in imported.model.state_dict().items())
    with pytest.raises(ConfigurationError, match="published streampetr: it can be run"):
        read_checkpoint(tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"meta": {"epoch": 60}, "state_dict": tensors},
        lambda tensors: {"model": {f"module.{key}": value for key, value in tensors.items()}},
        lambda tensors: {
            "state_dict_ema": {"n_averaged": torch.tensor(3), **{f"module.{k}": v for k, v in tensors.items()}}
        },
        lambda tensors: {"state_dict": {**tensors, "ema_" + "_".join(next(iter(tensors)).split(".")): torch.zeros(1)}},
        lambda tensors: {"state_dict": {key: value.half() for key, value in tensors.items()}},
    ],
    ids=["bare", "mmcv", "ddp", "average", "average_beside", "half"],
)
def test_tensors_are_found_in_what_wraps_them(small, write, wrap):
    found = read_weights(write(wrap(small)))
    assert set(found) == set(small)
    assert import_streampetr.knows(found)


class Bomb:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(small, tmp_path, zipped):
    torch.save(
        {"state_dict": small, "meta": Bomb(tmp_path / "boom")},
        tmp_path / "bad.pth",
        _use_new_zipfile_serialization=zipped,
    )
    assert "would run code" in refusal(tmp_path / "bad.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    assert "would run code" in refusal(tmp_path / "plain.pth")
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_file_that_is_cut_off(small, write, share):
    path = write({"state_dict": {key: small[key] for key in list(small)[:40]}})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    message = refusal(path)
    assert "cut off" in message or "no PyTorch file" in message


@pytest.mark.parametrize("content", [b"", b"hello world\n", b"\x80\x04K\x01.", b"<html>not found</html>"])
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    (tmp_path / "page.pth").write_bytes(content)
    refusal(tmp_path / "page.pth")


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, [1, 2], {"epoch": 3}, torch.zeros(3)], ids=str)
def test_a_file_without_named_tensors(write, content):
    assert "no tensors by name" in refusal(write(content))


def test_an_unknown_model_is_told_by_its_names(write):
    layers = {f"img_backbone.blocks.{index}.weight": torch.zeros(1) for index in range(3)}
    message = refusal(write({"state_dict": {**layers, "pts_bbox_head.conv.weight": torch.zeros(1)}}))
    assert "4 tensors, whose names begin with img_backbone.blocks, pts_bbox_head.conv" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pts_bbox_head.query_embedding.0.weight": None}, "lacks head.query_embedding.0.weight"),
        ({"pts_bbox_head.coords_d": None}, "lacks 'coords_d'"),
        ({"pts_bbox_head.surplus.weight": torch.zeros(2)}, "besides what is known, head.surplus.weight"),
        ({"pts_bbox_head.memory_embed.0.weight": torch.zeros(3, 3)}, "of another shape head.memory_embed.0.weight"),
        ({"pts_bbox_head.pc_range": torch.zeros(4)}, "'pc_range' has the shape [4], not 6"),
        ({"pts_bbox_head.reg_branches.3.2.bias": torch.ones(256)}, "differs from layer 0's"),
        ({"img_neck.lateral_convs.0.conv.bias": torch.full((256,), torch.nan)}, "not finite"),
        ({"img_backbone.layer3.5.conv1.weight": None}, "lacks backbone.layer3.5.conv1.weight"),
        ({"img_backbone.conv1.weight": None}, "its backbone is none of resnet50, resnet101, V2-99"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(small, write, change, words):
    tensors = {
        key: change.get(key, value) for key, value in {**small, **change}.items() if change.get(key, value) is not None
    }
    assert words in refusal(write({"state_dict": tensors}))


def test_another_number_of_classes_asks_for_their_list(small, write):
    message = refusal(write({"state_dict": small}), Choices(classes=load_class_list("lt3d")))
    assert "10 classes" in message and "'lt3d' has 18" in message and "--classes" in message
