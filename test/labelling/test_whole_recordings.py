"""semlt3d label on simulated recordings: what it writes, and who reads it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.small_robot import TEACHER
from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.checkpoints.teacher import save_teacher
from semlt3d_ros.cli import main
from semlt3d_ros.core import rigid
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.inference.teacher import TeacherDetector
from semlt3d_ros.inference.teacher_cache import TeacherCache, digest_of
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import StampedTransform
from semlt3d_ros.messages.decode_detections import decode_labels, decode_long_tail
from semlt3d_ros.messages.encode import encode_point_cloud, encode_transforms
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.simulate import simulate
from semlt3d_ros.teacher.teacher import Teacher
from semlt3d_ros.training.clouds import CloudFrames

FRAMES = 3
START = 1_700_000_000_000_000_000


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("drive") / "drive.mcap"
    simulate(out, DriveConfig(5, frames=FRAMES, interval_s=0.2, image_size=(96, 56), objects=(6, 8)), progress=False)
    return out


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    network = Teacher(replace(TEACHER, detections=12))
    with torch.no_grad():  # so that it believes something
        for name, values in network.named_parameters():
            if "heat" in name and name.endswith("bias") and values.numel() < 18:
                values += 2.0
    save_teacher(path, network, "small", {})
    return path


def label(*words: str | Path) -> int:
    return main(["label", *map(str, words)])


def messages(bag: Path, topic: str) -> list:
    with BagSource(bag) as source:
        return [(entry, message) for entry, message in decoded(source.messages(topics=[topic]), FaultLog())]


def test_what_is_written(bag, teacher, tmp_path, capsys) -> None:
    out = tmp_path / "labels.mcap"
    assert label(bag, "-o", out, "--teacher", teacher, "--score", "0.2", "--doubt", "0.05", "--json") == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["clouds"] == FRAMES and counts["tracks"] > 0 and counts["faults"] == []
    long_tail, found = messages(out, topics.LONG_TAIL), messages(out, topics.DETECTIONS)
    labels, clouds = messages(out, topics.TEACHER_LABELS), messages(out, topics.TEACHER_POINTS)
    assert len(long_tail) == len(found) == len(labels) == len(clouds) == FRAMES
    objects = doubted = 0
    for (_, said), (_, boxes), (_, truth) in zip(long_tail, found, labels, strict=True):
        detections, given = decode_long_tail(said), decode_labels(truth)[0]
        assert detections.model_version.startswith("small@") and len(detections) == len(boxes.detections)
        names = [item.track_id for item in said.detections]
        assert len(set(names)) == len(names) and all(name.startswith("0.") for name in names)
        assert [item.id for item in boxes.detections] == names
        assert np.isfinite(detections.depth_uncertainty).all() and (detections.depth_uncertainty > 0).all()
        for item, deviation in zip(boxes.detections, detections.depth_uncertainty, strict=True):
            assert item.results[0].pose.covariance[0] == pytest.approx(deviation**2, rel=1e-3)
        assert set(given.track_ids) <= set(names)
        objects += int((given.class_ids != ABSENT).sum())
        doubted += int((given.class_ids == ABSENT).sum())
    assert (objects, doubted) == (counts["objects"], counts["doubted"])


def test_each_point_has_the_colour_of_what_it_lies_on(bag, teacher, tmp_path) -> None:
    out = tmp_path / "labels.mcap"
    label(bag, "-o", out, "--teacher", teacher)
    _, message = messages(out, topics.TEACHER_POINTS)[0]
    table = np.frombuffer(
        bytes(message.data), [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("point_class", "<u2")]
    )
    assert [field.name for field in message.fields] == ["x", "y", "z", "rgb", "point_class"]
    assert len(table) == message.width > 100 and message.header.frame_id == "base_link"
    for value in np.unique(table["point_class"]):
        assert len(np.unique(table["rgb"][table["point_class"] == value])) == 1
    far = (np.abs(table["x"]) > 51.2) | (np.abs(table["y"]) > 51.2) | (table["z"] < -3) | (table["z"] > 5)
    assert ((table["point_class"] == 65_535) == far).all()


def test_labels_are_learnt_from_and_their_cache_is_found(bag, teacher, tmp_path) -> None:
    out, cache = tmp_path / "labelled.mcap", tmp_path / "teacher"
    words = ("--score", "0.2", "--doubt", "0.05", "--with-recording", "--cache", cache)
    assert label(bag, "-o", out, "--teacher", teacher, *words) == 0
    spec = DataSpec(bags=(str(out),), labels=topics.TEACHER_LABELS, cloud_points=200_000)
    with Frames([spec], tmp_path / "data", ImageSpec(48, 24, 0.2), LT3D) as frames:
        assert len(frames) == FRAMES
        counts = [int((frames.labels(index).class_ids != ABSENT).sum()) for index in range(FRAMES)]
        assert sum(counts) > 0
        detector = TeacherDetector.load(teacher)
        kept, clouds = TeacherCache(cache, detector, 2**30), CloudFrames(frames)
        for index in range(FRAMES):
            now, *past = clouds.sweeps(index, detector.config.sweeps)
            assert kept.knows(digest_of(now, past))


def test_evaluate_reads_labels_beside_the_truth(bag, teacher, tmp_path, capsys) -> None:
    out = tmp_path / "labels.mcap"
    label(bag, "-o", out, "--teacher", teacher)
    capsys.readouterr()
    assert main(["evaluate", str(out), "--truth", str(bag), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == FRAMES


def lidar_bag(path: Path, clouds: list[PointCloud], frame: str = "lidar", moving: bool = True) -> Path:
    """A bag of a LiDAR alone."""
    with BagSink(path) as sink:
        mount = StampedTransform(topics.BASE_FRAME, "lidar", START, rigid.planar(1.0, 0.0, 0.0, 1.8))
        sink.write(topics.TF_STATIC, topics.TF_TYPE, encode_transforms([mount]), START)
        for number, cloud in enumerate(clouds):
            stamp = START + number * 100_000_000
            if moving:
                pose = StampedTransform(topics.FIXED_FRAME, topics.BASE_FRAME, stamp, rigid.planar(0.5 * number, 0, 0))
                sink.write(topics.TF, topics.TF_TYPE, encode_transforms([pose]), stamp)
            sink.write("/velodyne_points", topics.POINT_CLOUD_TYPE, encode_point_cloud(cloud, stamp, frame), stamp)
    return path


def cloud_of(count: int, seed: int = 0) -> PointCloud:
    rng = np.random.default_rng(seed)
    return PointCloud(
        rng.uniform((-30, -30, -1.5), (30, 30, 1), (count, 3)).astype(np.float32), rng.random(count).astype(np.float32)
    )


def test_a_lidar_alone_is_labelled_at_its_own_stamps(teacher, tmp_path, capsys) -> None:
    bag = lidar_bag(tmp_path / "lidar.mcap", [cloud_of(3000, seed) for seed in range(3)])
    out = tmp_path / "labels.mcap"
    assert label(bag, "-o", out, "--teacher", teacher, "--json") == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["clouds"] == 3 and counts.get("without_pose", 0) == 0
    assert [entry.stamp for entry, _ in messages(out, topics.LONG_TAIL)] == [START + k * 100_000_000 for k in range(3)]


def test_a_recording_is_never_written_over(bag, teacher, tmp_path, capsys) -> None:
    copy = tmp_path / "drive.mcap"
    copy.write_bytes(bag.read_bytes())
    assert label(copy, "-o", copy, "--teacher", teacher, "--overwrite") != 0
    assert copy.read_bytes() == bag.read_bytes()
    assert label(copy, "-o", tmp_path / "l.mcap", "--teacher", bag) != 0
