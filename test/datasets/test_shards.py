import numpy as np
import pytest

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import CameraView, Frame, Labels, PointCloud
from semlt3d_ros.core.rigid import planar
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
    frame = _frame(np.random.default_rng(2), points=1000)
    frame.points.xyz[:, 0] = np.arange(1000) / 100
    write_shard(tmp_path / "a.shard", [frame], [0], point_limit=100)
    kept = ShardDataset([tmp_path])[0].points.xyz[:, 0]
    assert len(kept) == 100 and np.diff(kept).max() < 0.13


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
    for other in (_frame(rng, names=("LEFT", "REAR")), _frame(rng, size=(10, 6))):
        with pytest.raises(ConfigurationError, match="same cameras"):
            write_shard(tmp_path / "a.shard", [_frame(rng), other], [0, 1])
    unlabelled = _frame(rng)
    unlabelled.labels = None
    with pytest.raises(ConfigurationError, match="labels"):
        write_shard(tmp_path / "a.shard", [unlabelled], [0])
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
