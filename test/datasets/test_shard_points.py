import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame, Labels, PointCloud
from semlt3d_ros.core.rigid import planar
from semlt3d_ros.datasets.shard_points import STEP_M, thinned
from semlt3d_ros.datasets.shards import ShardDataset, write_shard


def _frame(cloud, stamp=1):
    return Frame(stamp, (), (), planar(1.0, 2.0, 0.3), cloud, Labels(Boxes3D.empty(), np.zeros(0, np.int64)))


def _cloud(count, reach=60.0, seed=0, columns="itc"):
    rng = np.random.default_rng(seed)
    return PointCloud(
        rng.uniform(-reach, reach, (count, 3)).astype(np.float32),
        rng.random(count).astype(np.float32) if "i" in columns else None,
        rng.uniform(-0.1, 0, count).astype(np.float32) if "t" in columns else None,
        rng.integers(-1, 22, count).astype(np.int16) if "c" in columns else None,
    )


def test_clouds_come_back_whole_in_little_room(tmp_path) -> None:
    clouds = [_cloud(4000, seed=1), _cloud(0, seed=2), _cloud(2500, seed=3)]
    write_shard(tmp_path / "a.shard", [_frame(cloud, k) for k, cloud in enumerate(clouds)], [0, 0, 1], point_limit=9000)
    dataset = ShardDataset([tmp_path])
    for index, cloud in enumerate(clouds):
        got = dataset[index].points
        assert dataset[index].views == () and dataset[index].stamp == index
        assert np.abs(got.xyz - cloud.xyz).max(initial=0) <= STEP_M / 2 + 1e-5
        assert np.abs(got.intensity - cloud.intensity).max(initial=0) <= 0.5 / 255 + 1e-6
        assert np.abs(got.time - cloud.time).max(initial=0) < 1e-4
        assert np.array_equal(got.classes, cloud.classes) and got.classes.dtype == np.int16
    size = sum(file.stat().st_size for file in (tmp_path / "a.shard").iterdir() if file.name != "frames.npz")
    assert size < 10 * 6500 + 2000


@pytest.mark.parametrize("columns", ["", "i", "t", "ct"])
def test_frames_keep_only_what_they_have(tmp_path, columns) -> None:
    frames = [_frame(_cloud(30, seed=1, columns=columns)), _frame(_cloud(20, seed=2)), _frame(None)]
    write_shard(tmp_path / "a.shard", frames, [0, 1, 2], point_limit=100)
    got = ShardDataset([tmp_path])[0].points
    for name, letter in (("intensity", "i"), ("time", "t"), ("classes", "c")):
        assert (getattr(got, name) is not None) == (letter in columns)
    whole = ShardDataset([tmp_path])[1].points
    assert whole.intensity is not None and whole.time is not None and whole.classes is not None and len(whole) == 20
    assert len(ShardDataset([tmp_path])[2].points) == 0


def test_points_too_far_for_small_numbers_and_long_lists_of_classes_are_kept(tmp_path) -> None:
    cloud = _cloud(50, reach=900.0)
    cloud.classes[:] = 1203
    write_shard(tmp_path / "a.shard", [_frame(cloud)], [0], point_limit=100)
    got = ShardDataset([tmp_path])[0].points
    assert np.array_equal(got.xyz, cloud.xyz) and (got.classes == 1203).all()


@settings(max_examples=40)
@given(st.integers(0, 400), st.integers(1, 300), st.floats(0.1, 200.0), st.integers(0, 5))
def test_thinned_clouds_keep_to_their_limit_and_order(count, limit, reach, seed) -> None:
    cloud = _cloud(count, reach=reach, seed=seed)
    cloud.time[:] = np.arange(count)
    kept = thinned(cloud, limit)
    assert len(kept) <= limit and len(kept) >= min(count, limit) - 1
    assert (np.diff(kept.time) > 0).all()


def test_far_points_are_kept_before_near_ones() -> None:
    near, far = _cloud(9000, reach=5.0, seed=1), _cloud(500, seed=2)
    far.xyz[:, 0] = 45.0
    kept = thinned(PointCloud.joined([near, far]), 3000)
    assert (kept.xyz[:, 0] == 45.0).sum() == 500
    assert thinned(PointCloud(np.zeros((50, 3), np.float32)), 20).xyz.shape[0] in (19, 20)


@pytest.mark.parametrize("name", ["points.npy", "columns.npy", "intensity.npy", "times.npy", "classes.npy"])
def test_shards_with_damaged_points_are_refused(tmp_path, name) -> None:
    write_shard(tmp_path / "a.shard", [_frame(_cloud(30))], [0], point_limit=100)
    (tmp_path / "a.shard" / name).write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError, match=r"a\.shard is not a readable shard"):
        ShardDataset([tmp_path])
