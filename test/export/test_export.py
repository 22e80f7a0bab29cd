"""ONNX files compute what torch computes, and run a drive as the checkpoint does."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from semlt3d_ros.checkpoints.import_weights import Choices, import_weights
from semlt3d_ros.checkpoints.published import read_published, save_published
from semlt3d_ros.cli import main
from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.frame import CameraView, Frame
from semlt3d_ros.export.runtime import Session
from semlt3d_ros.inference.opening import load_detector
from semlt3d_ros.student.published.streampetr import StreamPETR

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

OPTICAL = rigid.transform(rotation=[[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
CAMERAS = 2


@pytest.fixture(scope="module")
def checkpoint(published_weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "small.safetensors"
    imported = import_weights(published_weights, Choices((96, 64)))
    save_published(path, imported.model, imported.classes, "small", {})
    return path


@pytest.fixture(scope="module")
def exported(checkpoint):
    """The command's own check is passed, or it would fail."""
    folder = checkpoint.with_suffix(".onnx")
    assert main(["export", str(checkpoint), "-o", str(folder), "--cameras", str(CAMERAS)]) == 0
    return folder


def frame(index, cameras=CAMERAS):
    random = np.random.default_rng(index)
    camera = CameraModel(96, 64, np.array([[60.0, 0, 48], [0, 62.0, 32], [0, 0, 1]]))
    views = tuple(
        CameraView(
            f"camera_{number}",
            0,
            random.integers(0, 256, (64, 96, 3), np.uint8),
            camera,
            rigid.planar(1.0, 0.0, 2.0 * number, 1.5) @ OPTICAL,
        )
        for number in range(cameras)
    )
    return Frame(1_000_000_000 + 500_000_000 * index, views, T_world_ego=rigid.planar(3.0 * index, 0.0, 0.05 * index))


def test_a_drive_in_onnxruntime_gives_what_torch_gives(checkpoint, exported):
    """With memory, a break in time, and a start anew."""
    here, there = load_detector(checkpoint, "cpu"), load_detector(checkpoint, "onnxruntime")
    for index in (0, 1, 2, 30, 31):
        mine, theirs = there.detect(frame(index)), here.detect(frame(index))
        assert mine.confidences == pytest.approx(theirs.confidences, abs=1e-4)
        assert mine.boxes.centers == pytest.approx(theirs.boxes.centers, abs=1e-3)
        assert mine.class_names == theirs.class_names and mine.model_version == theirs.model_version
    assert there.memory_resets == here.memory_resets == {"start": 1, "kept": 3, "long gap": 1}


def test_the_head_keeps_its_memory_in_a_fixed_frame(checkpoint, exported):
    """Named as autoware_camera_streampetr binds them; two frames far from the origin agree with torch's own memory."""
    model = read_published(checkpoint).model()
    assert isinstance(model, StreamPETR)
    head = onnxruntime.InferenceSession(str(exported / "pts_head_memory.onnx"), providers=["CPUExecutionProvider"])
    names = [each.name for each in head.get_inputs()]
    assert names[:5] == ["x", "pos_embed", "cone", "data_ego_pose", "data_ego_pose_inv"]
    shapes = {each.name: each.shape for each in head.get_inputs()}
    assert shapes["pre_memory_embedding"] == [1, 16, 256] and shapes["pre_memory_egopose"] == [1, 16, 4, 4]
    outputs = [each.name for each in head.get_outputs()]
    assert outputs[:2] == ["all_cls_scores", "all_bbox_preds"]

    memory, world = (
        model.empty_memory(),
        {n: np.zeros(s, np.float32) for n, s in shapes.items() if n.startswith("pre_")},
    )
    torch.manual_seed(3)
    poses = [torch.from_numpy(rigid.planar(40.0 + 4 * index, -30.0, 0.3 + 0.1 * index)) for index in range(3)]
    for index, pose in enumerate(poses):
        features, tokens = torch.randn(1, CAMERAS, 256, 4, 6), CAMERAS * 24
        position, cone = torch.randn(1, tokens, 256), torch.randn(1, tokens, 8)
        continues = torch.tensor([float(index > 0)])
        motion = (pose.inverse() @ poses[max(0, index - 1)]).float()[None]
        with torch.inference_mode():
            moved = memory.moved(motion, 0.5 * continues, continues)
            wanted = model.head(features, position, cone, moved, continues)
        memory = wanted.memory
        first = (features, position, cone, pose.float()[None], pose.inverse().float()[None])
        given = dict(zip(names[:5], first, strict=True))
        found = dict(zip(outputs, head.run(None, {**{n: v.numpy() for n, v in given.items()}, **world}), strict=True))
        logits = torch.from_numpy(found["all_cls_scores"])[0].T.reshape(wanted.logits.shape)
        assert torch.allclose(logits, wanted.logits, atol=1e-3)
        for name in list(world):
            world[name] = found[name.replace("pre_", "post_")][:, :16]
        world["pre_memory_timestamp"] = world["pre_memory_timestamp"] + np.float32(0.5)


def test_the_parts_say_what_they_are(checkpoint, exported):
    described = json.loads((exported / "export.json").read_text())
    assert described["version"] == read_published(checkpoint).version and described["cameras"] == CAMERAS
    assert len(described["differences_to_torch"]) == 1 + 2 + 7 + 7
    assert max(each["difference"] for each in described["differences_to_torch"]) < 1e-4
    backbone = onnxruntime.InferenceSession(str(exported / "extract_img_feat.onnx"), providers=["CPUExecutionProvider"])
    assert [each.name for each in backbone.get_inputs()] == ["img"]
    assert backbone.get_outputs()[0].shape == [1, CAMERAS, 256, 4, 6]


def test_another_number_of_cameras_is_refused(checkpoint, exported):
    detector = load_detector(checkpoint, "onnxruntime")
    with pytest.raises(InputRejected, match="takes 2 images, the set has 1"):
        detector.detect(frame(0, cameras=1))
    detector.move_to("cpu")
    detector.move_to("onnxruntime")
    with pytest.raises(ConfigurationError, match="runs on the CPU"):
        detector.move_to("cuda")


def test_what_is_not_exported_or_of_another_checkpoint_is_told(checkpoint, exported, tmp_path):
    alone = tmp_path / "alone.safetensors"
    shutil.copy(checkpoint, alone)
    with pytest.raises(ConfigurationError, match=r"no export of .*semlt3d export"):
        load_detector(alone, "onnxruntime")
    folder = alone.with_suffix(".onnx")
    shutil.copytree(exported, folder)
    assert len(load_detector(alone, "onnxruntime").detect(frame(0))) > 0
    described = json.loads((folder / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps({**described, "version": "other@0"}))
    with pytest.raises(ConfigurationError, match="is of other@0"):
        load_detector(alone, "onnxruntime")
    (folder / "export.json").write_text("{")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_detector(alone, "onnxruntime")


def test_a_broken_file_is_told(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ConfigurationError, match="cannot be run by onnxruntime"):
        Session(tmp_path / "broken.onnx")
