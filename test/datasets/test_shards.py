import resource
from pathlib import Path

import numpy as np
import pytest

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import CameraView, Frame, Labels, PointCloud
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.core.rigid import planar
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.datasets.shards import ShardDataset, write_shard


def _frame(rng, boxes=3, points=50, names=("LEFT", "RIGHT"), size=(8, 6)):
    width, height = size
    views = tuple(
        CameraView(
            name,
            1_700_000_000_000_000_000 + int(rng.integers(10**9)),
            rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
            CameraModel(width, height, np.array([[rng.uniform(5, 9), 0, 3.5], [0, 7, 2.5], [0, 0, 1]])),
            planar(*rng.normal(size=3)),
        )
        for name in names
    )
    labels = Labels(
        Boxes3D(
            rng.normal(size=(boxes, 3)), rng.uniform(1, 2, (boxes, 3)), rng.normal(size=boxes), np.ones((boxes, 2))
        ),
        rng.integers(0, 18, boxes),
        tuple(f"t{k}" for k in range(boxes)),
        rng.integers(0, 99, boxes),
        rng.integers(0, 99, boxes),
    )
    cloud = PointCloud(rng.uniform(-60, 60, (points, 3)).astype(np.float32))
    return Frame(views[0].stamp, views, (), planar(1.0, 2.0, 0.3), cloud, labels)


def _assert_same(got, wanted):
    assert got.stamp == wanted.stamp
    assert np.array_equal(got.T_world_ego, wanted.T_world_ego)
    for a, b in zip(got.views, wanted.views, strict=True):
        assert (a.name, a.stamp, a.camera.width, a.camera.height) == (b.name, b.stamp, b.camera.width, b.camera.height)
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.camera.K, b.camera.K) and np.array_equal(a.T_ego_camera, b.T_ego_camera)
    for name in ("class_ids", "lidar_points", "visible_pixels"):
        assert np.array_equal(getattr(got.labels, name), getattr(wanted.labels, name))
    for name in ("centers", "sizes", "yaw", "velocity"):
        assert np.array_equal(getattr(got.labels.boxes, name), getattr(wanted.labels.boxes, name))
    assert got.labels.track_ids == wanted.labels.track_ids


def test_frames_come_back_as_they_were_written(tmp_path):
    rng = np.random.default_rng(0)
    frames = [_frame(rng, boxes, points) for boxes, points in ((3, 50), (0, 0), (5, 7), (1, 20))]
    write_shard(tmp_path / "a.shard", frames[:3], [4, 4, 5])
    write_shard(tmp_path / "b.shard", frames[3:], [6])
    dataset = ShardDataset([tmp_path])
    assert len(dataset) == 4 and dataset.sequences.tolist() == [4, 4, 5, 6]
    for index, frame in enumerate(frames):
        _assert_same(dataset[index], frame)
        # Half precision keeps coordinates within 60 m to 2 cm.
        assert np.allclose(dataset[index].points.xyz, frame.points.xyz, atol=0.02)
        assert np.array_equal(dataset.labels(index).class_ids, frame.labels.class_ids)
    with pytest.raises(IndexError):
        dataset[4]


def test_what_a_dataset_returns_may_be_changed(tmp_path):
    write_shard(tmp_path / "a.shard", [_frame(np.random.default_rng(1))], [0])
    dataset = ShardDataset([tmp_path / "a.shard"])
    original = dataset[0].views[0].image.copy()
    dataset[0].views[0].image[:] = 0
    assert np.array_equal(dataset[0].views[0].image, original)


def test_points_beyond_the_limit_are_thinned_evenly(tmp_path):
    frame = _frame(np.random.default_rng(2), points=60_000)
    frame.points.xyz[:, 0] = np.arange(60_000) / 6000
    write_shard(tmp_path / "a.shard", [frame], [0])
    kept = ShardDataset([tmp_path])[0].points
    assert len(kept) == 12_000 and np.diff(kept.xyz[:, 0]).max() < 0.01
    assert kept.intensity is None and kept.time is None and kept.classes is None


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    def frames():
        yield _frame(np.random.default_rng(3))
        raise RuntimeError("rendering failed")

    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "a.shard", frames(), [0, 1])
    assert list(tmp_path.iterdir()) == []


def test_a_shard_is_never_overwritten(tmp_path):
    frame = _frame(np.random.default_rng(4))
    write_shard(tmp_path / "a.shard", [frame], [0])
    with pytest.raises(ConfigurationError, match="exists already"):
        write_shard(tmp_path / "a.shard", [frame], [0])


def test_frames_that_do_not_fit_together_are_refused(tmp_path):
    rng = np.random.default_rng(5)
    distorted = _frame(rng)
    distorted.views[0].camera = CameraModel(8, 6, np.diag([7.0, 7.0, 1.0]), "plumb_bob", np.full(5, 0.1))
    for other, fault in (
        (_frame(rng, names=("LEFT", "REAR")), "same cameras"),
        (_frame(rng, size=(10, 6)), "one size"),
        (distorted, "no distortion"),
    ):
        with pytest.raises(ConfigurationError, match=fault):
            write_shard(tmp_path / "a.shard", [_frame(rng), other], [0, 1])
    with pytest.raises(ConfigurationError, match="sequence number"):
        write_shard(tmp_path / "a.shard", [_frame(rng)], [0, 1])


def test_missing_and_damaged_shards_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match="holds no shards"):
        ShardDataset([tmp_path])
    write_shard(tmp_path / "a.shard", [_frame(np.random.default_rng(6))], [0])
    archive = tmp_path / "a.shard" / "frames.npz"
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(ConfigurationError, match=r"a\.shard is not a readable shard"):
        ShardDataset([tmp_path])


def test_what_recordings_lack_comes_back_as_lacking(tmp_path):
    rng = np.random.default_rng(6)
    whole, blind, unlabelled, lost = (_frame(rng) for _ in range(4))
    blind.views, blind.missing = blind.views[1:], ("LEFT",)
    unlabelled.labels = lost.T_world_ego = lost.points = None
    window = ViewWindow(planar(1.0, 0.0, 0.5), -0.6, -0.2, 0.6, 0.3)
    blind.region = LabelledRegion((window,), (window, window), 60.0)
    whole.labels = Labels(whole.labels.boxes, np.array([0, 1, ABSENT]), class_names=("Car", "Tram"))
    blind.labels = Labels(blind.labels.boxes, np.array([1, 0, 1]), class_names=("Van", "Car"))
    lost.labels = Labels(lost.labels.boxes, np.array([0, 0, ABSENT]), class_names=("Van", "Car"))
    write_shard(tmp_path / "a.shard", [blind, whole, unlabelled, lost], [0, 0, 0, 1])
    dataset = ShardDataset([tmp_path])
    assert [view.name for view in dataset[0].views] == ["RIGHT"] and dataset[0].missing == ("LEFT",)
    assert np.array_equal(dataset[0].views[0].image, blind.views[0].image)
    assert [view.name for view in dataset[1].views] == ["LEFT", "RIGHT"] and dataset[1].missing == ()
    region = dataset[0].region
    assert (len(region.windows), len(region.left_out), region.range_m) == (1, 2, 60.0)
    assert np.array_equal(region.windows[0].T_ego_camera, window.T_ego_camera) and region.windows[0].right == 0.6
    assert dataset[1].region == LabelledRegion()
    assert dataset.class_lists == [("Van", "Car", "Tram")]
    assert [dataset[0].labels.class_names[i] for i in dataset[0].labels.class_ids] == ["Car", "Van", "Car"]
    assert dataset[1].labels.class_ids.tolist() == [1, 2, ABSENT]
    assert dataset[2].labels is None and dataset.labels(2) is None and dataset[2].T_world_ego is not None
    assert dataset[3].T_world_ego is None and len(dataset[3].points) == 0


def test_shards_from_before_are_read_as_what_they_were(tmp_path):
    frame = _frame(np.random.default_rng(7))
    write_shard(tmp_path / "a.shard", [frame], [0])
    added = {"present", "labelled", "class_names", "region_range", "labelled_windows", "labelled_windows_ends"}
    added |= {"left_out", "left_out_ends"}
    with np.load(tmp_path / "a.shard" / "frames.npz") as archive:
        former = {key: archive[key] for key in archive.files if key not in added}
        assert added <= set(archive.files)
    np.savez(tmp_path / "a.shard" / "frames.npz", **former)
    read = ShardDataset([tmp_path])[0]
    _assert_same(read, frame)
    assert read.labels.class_names == CLASS_NAMES and read.region == LabelledRegion() and read.missing == ()


def test_a_data_set_may_have_more_shards_than_a_process_may_have_files(tmp_path):
    rng = np.random.default_rng(8)
    frames = [_frame(rng) for _ in range(3)]
    for number, frame in enumerate(frames):
        write_shard(tmp_path / f"{number}.shard", [frame], [number])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    paths = [tmp_path / f"{number % 3}.shard" for number in range(40)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    try:
        dataset = ShardDataset(paths)
        for index in range(len(dataset)):
            _assert_same(dataset[index], frames[index % 3])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
