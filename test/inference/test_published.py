"""Published models at work: frames, memory, and what is given out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from semlt3d_ros.checkpoints.shipped import shipped_teacher
from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.classes import load_class_list
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.frame import CameraView, Frame
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.inference.opening import load_detector
from semlt3d_ros.inference.published import PublishedDetector, in_ego_frame
from semlt3d_ros.student.published.config import StreamPETRConfig
from semlt3d_ros.student.published.streampetr import StreamPETR

OPTICAL = rigid.transform(rotation=[[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
CLASSES = load_class_list("nuscenes")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = StreamPETRConfig(
        CLASSES.names, image_width=96, image_height=64, queries=20, propagated=6, remembered=6, memory_length=24,
        layers=2, max_boxes=40,
    )  # fmt: skip
    network = StreamPETR(config).eval()
    for parameter in network.head.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.08) if parameter.dim() > 1 else None
    torch.nn.init.uniform_(network.head.reference_points.weight)
    torch.nn.init.uniform_(network.head.pseudo_reference_points.weight)
    return network


@pytest.fixture
def detector(model):
    return PublishedDetector(model, CLASSES, "published@1")


def frame(index, cameras=3, pose=None, stamp=None, missing=()):
    """What cameras all around see at 2 Hz on a straight road."""
    random = np.random.default_rng(index)
    camera = CameraModel(96, 64, np.array([[60.0, 0, 48], [0, 60.0, 32], [0, 0, 1]]))
    views = tuple(
        CameraView(f"camera_{number}", 0, random.integers(0, 256, (64, 96, 3), np.uint8), camera,
                   rigid.planar(1.0, 0.0, 2 * np.pi * number / 3, 1.5) @ OPTICAL)
        for number in range(cameras)
    )  # fmt: skip
    pose = rigid.planar(4.0 * index, 0.0, 0.02 * index) if pose is None else pose
    return Frame(1_000_000_000 + 500_000_000 * index if stamp is None else stamp, views, missing, pose)


def test_detections_name_classes_cameras_and_model(detector):
    found = detector.detect(frame(0, cameras=2, missing=("camera_2",)))
    assert found.class_names == CLASSES.names == detector.class_names
    assert found.cameras == ("camera_0", "camera_1") and found.missing == ("camera_2",)
    assert found.model_version == "published@1"
    assert (found.confidences > 0).sum() <= 40
    assert 0 < len(found) <= 26
    assert (np.diff(found.scores) <= 0).all()
    assert np.isnan(found.depth_uncertainty).all()


def test_the_best_pairs_are_those_of_the_network(model, detector):
    """The (box, class) pairs given out are the 40 largest of all."""
    seen = []
    handle = model.register_forward_hook(lambda module, inputs, output: seen.append(output))
    found = detector.detect(frame(0))
    handle.remove()
    wanted = seen[0].logits[-1, 0].sigmoid().flatten().sort(descending=True).values[:40].numpy()
    given = np.sort(found.confidences[found.confidences > 0])[::-1]
    assert given == pytest.approx(wanted, abs=1e-6)


def test_memory_follows_the_stream_and_its_breaks(detector):
    assert detector.memory_resets == {}
    first = detector.detect(frame(0))
    second = detector.detect(frame(1))
    detector.reset()
    assert (detector.detect(frame(0)).boxes.centers == first.boxes.centers).all()
    assert (detector.detect(frame(1)).boxes.centers == second.boxes.centers).all()
    detector.detect(frame(1))  # again
    detector.detect(frame(9))  # 4 s later
    detector.detect(frame(10, pose=rigid.planar(5000.0, 0.0, 0.0)))
    unknown = frame(11)
    unknown.T_world_ego = None
    detector.detect(unknown)
    assert detector.memory_resets == Counter(
        {"start": 2, "kept": 2, "time jump": 1, "long gap": 1, "pose jump": 1, "no ego pose": 1}
    )


def test_a_break_gives_what_a_start_gives(detector):
    alone = detector.detect(frame(9))
    detector.reset()
    detector.detect(frame(0))
    broken = detector.detect(frame(9))
    assert (alone.boxes.centers == broken.boxes.centers).all() and (alone.confidences == broken.confidences).all()


def test_memory_matters(detector):
    detector.detect(frame(0))
    with_past = detector.detect(frame(1))
    detector.reset()
    without = detector.detect(frame(1))
    assert with_past.confidences.max() != without.confidences.max()


def test_where_the_map_begins_does_not_matter(detector):
    """Poses thousands of kilometres away give the same boxes: only the motion between frames counts."""
    offset = rigid.planar(4e6, -7e6, 0.0)
    near = [detector.detect(frame(index)) for index in range(3)]
    detector.reset()
    far = [
        detector.detect(frame(index, pose=offset @ rigid.planar(4.0 * index, 0.0, 0.02 * index))) for index in range(3)
    ]
    for one, other in zip(near, far, strict=True):
        assert other.confidences == pytest.approx(one.confidences, abs=1e-4)


def test_boxes_do_not_depend_on_where_the_model_thinks_base_link_is(model):
    """With all cameras moved and turned as the model's frame is, the boxes come out moved and turned with it."""
    results = []
    for values in ((0.0, 0.0, 0.0, 0.0, 0.0, 0.0), (0.9, 0.1, 1.8, 0.0, 0.0, -90.0)):
        network = StreamPETR(model.config.__class__(**{**model.config.to_dict(), "T_ego_model": values})).eval()
        network.load_state_dict(model.state_dict())
        detector = PublishedDetector(network, CLASSES, "x@1")
        T_ego_model = rigid.frame_of(values)
        for index in range(2):
            moved = frame(index, pose=rigid.planar(4.0 * index, 0.0, 0.02 * index) @ rigid.inverse(T_ego_model))
            for view in moved.views:
                view.T_ego_camera = T_ego_model @ view.T_ego_camera
            found = detector.detect(moved)
        results.append((found, T_ego_model))
    (plain, _), (turned, T) = results
    assert turned.confidences == pytest.approx(plain.confidences, abs=1e-4)
    assert turned.boxes.centers == pytest.approx(rigid.apply(T, plain.boxes.centers), abs=1e-2)
    assert rigid.wrap_angle(turned.boxes.yaw - plain.boxes.yaw + np.pi / 2) == pytest.approx(
        np.zeros(len(plain)), abs=1e-3
    )
    expected = plain.boxes.velocity @ T[:2, :2].T
    assert turned.boxes.velocity == pytest.approx(expected, abs=1e-3)


def test_the_lidar_frame_of_nuscenes_looks_forward_along_y():
    T = rigid.frame_of((0.943713, 0.0, 1.84023, 0.0, 0.0, -90.0))
    boxes = in_ego_frame(np.array([[2.0, 10.0, -1.0, 4.0, 2.0, 1.5, np.pi / 2, 0.5, 3.0]]), T)
    assert boxes.centers[0] == pytest.approx([10.943713, -2.0, 0.84023])
    assert boxes.yaw[0] == pytest.approx(0.0)
    assert boxes.velocity[0] == pytest.approx([3.0, -0.5])
    assert boxes.sizes[0] == pytest.approx([4.0, 2.0, 1.5])


def test_a_nuscenes_model_thinks_in_the_frame_of_its_lidar_tilt_included():
    """The calibration of LIDAR_TOP as nuScenes gives it, with a quaternion w, x, y, z; the road rises 1.4 degrees."""
    w, x, y, z = 0.7077955119163518, -0.006492242056004365, 0.010646214713995808, -0.7063073142877817
    expected = rigid.transform((0.943713, 0.0, 1.84023), rigid.rotation_from_quaternion((x, y, z, w)))
    T = rigid.frame_of(StreamPETRConfig(class_names=("car",)).T_ego_model)
    np.testing.assert_allclose(T, expected, atol=1e-5)
    assert np.degrees(np.arcsin(-T[2, 1])) == pytest.approx(1.388, abs=1e-3)


def test_numbers_that_are_not_finite_are_refused_and_leave_the_memory(model):
    network = StreamPETR(model.config).eval()
    network.load_state_dict(model.state_dict())
    detector = PublishedDetector(network, CLASSES, "x@1")
    detector.detect(frame(0))
    weights = network.head.cls_branches[0][-1].weight
    kept = weights.detach().clone()
    with torch.no_grad():
        weights.fill_(torch.nan)
    with pytest.raises(InputRejected) as caught:
        detector.detect(frame(1))
    assert caught.value.reason == "not_finite"
    with torch.no_grad():
        weights.copy_(kept)
    after = detector.detect(frame(1))
    assert detector.memory_resets["kept"] == 1 and len(after)


def test_language_is_refused(detector):
    detector.set_vocabulary(None)
    with pytest.raises(ConfigurationError, match="its own classes only"):
        detector.set_vocabulary(LanguageAnchors(("x",), np.ones((1, 4)), source=""))


def test_views_of_another_size_are_refused(detector):
    wrong = frame(0)
    wrong.views[0].image = np.zeros((32, 96, 3), np.uint8)
    with pytest.raises(ConfigurationError, match="prepare it"):
        detector.detect(wrong)


def test_frames_in_quick_succession_use_the_memory_but_leave_nothing_in_it(model):
    """Every fifth frame of 10 Hz gives what it would have given at 2 Hz; those between see what is remembered."""
    patient = StreamPETR(replace(model.config, memory_interval_s=0.45)).eval()
    patient.load_state_dict(model.state_dict())
    slow, quick = (PublishedDetector(network, CLASSES, "published@1") for network in (model, patient))
    wanted = [slow.detect(frame(index)) for index in range(3)]

    def between(step):
        index, pose = step / 5, rigid.planar(4.0 * step / 5, 0.0, 0.02 * step / 5)
        return replace(frame(step // 5, pose=pose), stamp=1_000_000_000 + int(500_000_000 * index))

    found = [quick.detect(between(step)) for step in range(11)]
    for index in range(3):
        assert found[5 * index].confidences == pytest.approx(wanted[index].confidences, abs=1e-6)
        assert found[5 * index].boxes.centers == pytest.approx(wanted[index].boxes.centers, abs=1e-4)
    alone = PublishedDetector(model, CLASSES, "published@1").detect(between(6))
    assert not np.allclose(found[6].scores[:10], alone.scores[:10], atol=1e-3)
    assert quick.memory_resets == Counter(start=1, kept=10)


def test_a_lidar_teacher_is_no_camera_detector() -> None:
    with pytest.raises(ConfigurationError, match="a LiDAR teacher is for semlt3d label --teacher"):
        load_detector(shipped_teacher())
