"""The network as a whole: shapes, invariances, masking, learning."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.losses.criterion import student_criterion
from semlt3d_ros.losses.denoising import Denoiser
from semlt3d_ros.losses.denoising_settings import DenoisingSettings
from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.losses.targets import collate_targets
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student


def batch_of(frames, config):
    return collate(frames, config.image_width, config.image_height)


def test_shapes_in_training_and_at_run_time(config, frames) -> None:
    student = Student(config).train()
    targets = collate_targets(frames, 30.0, 0)
    output = student(batch_of(frames, config), Denoiser(18, config.width, DenoisingSettings(groups=2))(targets))
    assert [layer.logits.shape for layer in output.layers] == [(3, 30, 18)] * 2
    assert [layer.codes.shape for layer in output.denoising] == [(3, 14, 10)] * 2
    assert output.image is not None and output.image.depth_logits is not None
    assert output.image.heat.shape == (3, 6, 18, 16, 24)
    student.eval()
    output = student(batch_of(frames, config))
    assert output.denoising == [] and output.image is not None and output.image.depth_logits is None
    without = Student(replace(config, proposals=0)).eval()(batch_of(frames, config))
    assert without.image is None and without.layers[-1].logits.shape == (3, 20, 18)


@torch.no_grad()
def test_camera_order_and_missing_cameras_do_not_change_what_is_seen(config, frames) -> None:
    student = Student(config).eval()
    frame = frames[0]
    plain = student(batch_of([frame], config)).layers[-1].boxes()
    order = np.random.default_rng(3).permutation(6)
    shuffled = replace(frame, views=tuple(frame.views[i] for i in order))
    assert torch.allclose(plain, student(batch_of([shuffled], config)).layers[-1].boxes(), atol=1e-4)
    # A frame without a camera equals the same frame padded with an invalid, arbitrary view.
    fewer = replace(frame, views=frame.views[:4])
    batch = batch_of([frame, fewer], config)
    batch.images[1, 4:] = 200
    alone = student(batch_of([fewer], config)).layers[-1]
    padded = student(batch).layers[-1]
    assert torch.allclose(alone.logits[0], padded.logits[1], atol=1e-4)


@torch.no_grad()
def test_matched_queries_do_not_see_the_denoising_queries(config, frames) -> None:
    student = Student(config).train()
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    batch = batch_of(frames, config)
    denoising = Denoiser(18, config.width)(collate_targets(frames, 30.0, 0))
    with_noise = student(batch, denoising).layers[-1].logits
    assert torch.allclose(with_noise, student(batch).layers[-1].logits, atol=1e-4)


def test_learns_to_place_and_name_the_objects_of_one_frame(config, frames) -> None:
    """A few dozen steps on one frame must bring boxes within a metre: every part of the chain has to work for that."""
    frame = frames[0]
    config = replace(config, anchors=30)
    student, criterion = Student(config).train(), student_criterion(config, LossWeights())
    denoiser = Denoiser(18, config.width)
    batch, targets = batch_of([frame], config), collate_targets([frame], 30.0, 0)
    parameters = [*student.parameters(), *denoiser.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=150)
    for _ in range(150):
        losses = criterion(student(batch, denoiser(targets)), targets, batch)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        schedule.step()
    layer = student(batch).layers[-1]
    probability, boxes = layer.logits.sigmoid()[0], layer.boxes()[0]
    for box, kind in zip(targets.boxes[0], targets.classes[0], strict=True):
        best = probability[:, kind].argmax()
        near = (boxes[:, :2] - box[:2]).norm(dim=-1) < 1.0
        assert near.any() and probability[near, kind].max() > 0.25, (
            f"class {kind}: best query is at {boxes[best, :2]}, truth {box[:2]}"
        )


def test_refuses_views_that_were_not_prepared(config, frames) -> None:
    with pytest.raises(ConfigurationError, match=r"camera 'C0'.*not the 48x96x3"):
        collate(frames, 96, 48)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 3}, "unknown entry 'widht'; did you mean 'width'"),
        ({"width": 30, "heads": 4}, "multiple of heads"),
        ({"anchors": 0, "proposals": 0}, "must not both be 0"),
        ({"class_names": ["car", "car"]}, "unique"),
        ({"top_crop": 1.5}, "top_crop"),
    ],
)
def test_config_names_what_is_wrong(values, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        StudentConfig.from_dict(values)


def test_unknown_backbone_and_missing_strides_are_named() -> None:
    with pytest.raises(ConfigurationError, match="no_such_net"):
        Student(StudentConfig(backbone="no_such_net"))
    with pytest.raises(ConfigurationError, match=r"not \[64\]"):
        Student(StudentConfig(strides=(8, 64)))


def test_views_that_are_missing_do_not_spoil_the_statistics_that_all_share(config, frames) -> None:
    """Batch norm sees them in training: with a focal length of one pixel their rays made variances a hundred times."""
    torch.manual_seed(0)
    student = Student(config).train()

    def variances(given) -> torch.Tensor:
        fresh = copy.deepcopy(student)
        fresh(collate(given, config.image_width, config.image_height))
        return fresh.image_head.trunk[1].running_var

    whole = variances(frames)
    lacking = variances([replace(frames[0], views=frames[0].views[:3]), *frames[1:]])
    assert (lacking / whole).max() < 2 and (lacking / whole).min() > 0.5
