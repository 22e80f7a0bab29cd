from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.datasets.generate import generate_shards, main
from semlt3d_ros.datasets.shards import ShardDataset
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import rig_from_topics
from semlt3d_ros.simulation.drive import Drive, DriveConfig
from semlt3d_ros.simulation.generation import GenerationRecipe
from semlt3d_ros.simulation.lidar_models import lidar_of
from semlt3d_ros.simulation.simulate import simulate

CONFIG = DriveConfig(9, frames=3, image_size=(112, 64), objects=(8, 10))


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("bag") / "drive.mcap"
    assert simulate(path, CONFIG, progress=False) == 3
    return path


@pytest.mark.parametrize("seed", [3, 13])  # without intensity; tilted, stamped in the middle of the turn
def test_a_bag_of_another_lidar_over_a_rough_street_gives_its_points(tmp_path, seed):
    lidar = lidar_of("varied", seed)
    config = replace(CONFIG, seed=seed, frames=2, lidar=lidar, rough=True)
    simulate(tmp_path / "drive.mcap", config, progress=False)
    drive = Drive(config)
    with BagSource(tmp_path / "drive.mcap") as source:
        builder = FrameBuilder(rig_from_topics(source.topics), with_points=True, with_labels=True)
        frames = [frame for m in source.messages() for frame in builder.add(m.topic, m.type_name, m.message())]
        frames += builder.flush()
    for index, got in enumerate(frames):
        wanted = drive.frame(index)
        assert np.allclose(got.T_world_ego, wanted.T_world_ego, atol=1e-6)
        assert np.allclose(got.points.xyz, wanted.points.xyz, atol=1e-4)
        assert np.allclose(got.points.time, wanted.points.time, atol=1e-6)
        assert (got.points.intensity is None) == (wanted.points.intensity is None)
        assert np.allclose(got.labels.boxes.centers, wanted.labels.boxes.centers, atol=1e-5)


def test_a_bag_gives_the_frames_of_the_drive(bag):
    drive = Drive(CONFIG)
    with BagSource(bag) as source:
        builder = FrameBuilder(rig_from_topics(source.topics), with_points=True, with_labels=True)
        frames = [frame for m in source.messages() for frame in builder.add(m.topic, m.type_name, m.message())]
        frames += builder.poll(source.end + 10**10)
    assert [frame.stamp for frame in frames] == [drive.stamp(index) for index in range(3)]
    for index, got in enumerate(frames):
        wanted = drive.frame(index)
        assert np.allclose(got.T_world_ego, wanted.T_world_ego, atol=1e-6)
        assert np.allclose(got.points.xyz, wanted.points.xyz, atol=1e-4)
        assert np.allclose(got.points.time, wanted.points.time, atol=1e-6)
        assert np.allclose(got.labels.boxes.centers, wanted.labels.boxes.centers, atol=1e-5)
        assert np.allclose(got.labels.boxes.velocity, wanted.labels.boxes.velocity, atol=1e-5)
        assert got.labels.track_ids == wanted.labels.track_ids
        assert np.array_equal(got.labels.visible_pixels, wanted.labels.visible_pixels)
        for a, b in zip(got.views, wanted.views, strict=True):
            assert a.name == b.name
            assert np.allclose(a.T_ego_camera, b.T_ego_camera, atol=1e-6)
            assert np.allclose(a.camera.K, b.camera.K)
            # JPEG with halved chroma: close on average, not at every small colourful edge.
            assert np.abs(a.image.astype(int) - b.image).mean() < 8


def test_a_bag_is_not_overwritten_unasked(bag):
    with pytest.raises(ConfigurationError):
        simulate(bag, CONFIG, progress=False)


def test_generation_continues_where_it_stopped(tmp_path):
    recipe = GenerationRecipe(
        first_seed=50, drives=3, frames=2, drives_per_shard=2, image_size=(56, 32), objects=(3, 4)
    )
    paths = generate_shards(tmp_path, recipe, processes=1, progress=False)
    assert [path.name for path in paths] == ["seeds-0000050-0000052.shard", "seeds-0000052-0000053.shard"]
    untouched = (paths[0] / "images.npy").stat().st_mtime_ns
    lost = (paths[1] / "images.npy").read_bytes()
    for file in paths[1].iterdir():
        file.unlink()
    paths[1].rmdir()
    generate_shards(tmp_path, recipe, processes=1, progress=False)
    assert (paths[0] / "images.npy").stat().st_mtime_ns == untouched
    assert (paths[1] / "images.npy").read_bytes() == lost
    dataset = ShardDataset([tmp_path])
    assert dataset.sequences.tolist() == [50, 50, 51, 51, 52, 52]
    assert np.array_equal(dataset[2].views[1].image, Drive(recipe.drive(51)).frame(0).views[1].image)
    assert dataset[0].views[0].image.shape == (24, 56, 3)


def test_generation_from_the_command_line(tmp_path, capsys):
    size = ["--size", "40", "24", "--quiet"]
    assert main([str(tmp_path), "--drives", "2", "--drives-per-shard", "1", "--frames", "1", *size]) == 0
    assert len(ShardDataset([tmp_path])) == 2
    assert main([str(tmp_path), "--drives", "0", *size]) == 1
    assert "drives must be positive" in capsys.readouterr().err
