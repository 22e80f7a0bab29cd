"""Clips at irregular intervals, and image regions of objects."""

import numpy as np
import pytest

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.regions import best_regions
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.datasets.generate import generate_shards, main
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.datasets.shards import ShardDataset
from semlt3d_ros.datasets.simulated import digest
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.simulation.drive import Drive, DriveConfig
from semlt3d_ros.simulation.generation import GenerationRecipe

SMALL = {"image_size": (96, 56), "objects": (10, 14), "lidar": None}


def test_irregular_times_move_everything_by_the_real_gap() -> None:
    drive = Drive(DriveConfig(3, frames=6, interval_s=(0.1, 0.7), **SMALL))
    stamps = np.array([drive.stamp(index) for index in range(6)])
    gaps = np.diff(stamps) / 1e9
    assert (gaps >= 0.1).all() and (gaps <= 0.7).all() and gaps.std() > 0.02
    first, last = drive.frame(0), drive.frame(5)
    assert (first.stamp, last.stamp) == (stamps[0], stamps[5])
    elapsed = (last.stamp - first.stamp) / 1e9
    tracks = {track: i for i, track in enumerate(first.labels.track_ids)}
    moved = 0
    for j, track in enumerate(last.labels.track_ids):
        if track not in tracks:
            continue
        i = tracks[track]
        start = rigid.apply(first.T_world_ego, first.labels.boxes.centers[i])
        end = rigid.apply(last.T_world_ego, last.labels.boxes.centers[j])
        speed = np.linalg.norm(first.labels.boxes.velocity[i])
        assert np.linalg.norm(end - start) == pytest.approx(speed * elapsed, rel=0.05, abs=0.15)
        moved += speed > 1.0
    assert moved, "no moving object in this drive: choose another seed"
    assert Drive(DriveConfig(3, frames=6, interval_s=(0.1, 0.7), **SMALL)).times_s.tolist() == drive.times_s.tolist()


@pytest.mark.parametrize("interval", [(0.5, 0.2), (0.0, 0.3), 0.0, -1.0])
def test_impossible_intervals_are_refused(interval) -> None:
    with pytest.raises(ConfigurationError, match="positive sizes and intervals, the shorter first"):
        DriveConfig(1, frames=3, interval_s=interval)


def test_regions_show_their_objects_sharper_than_the_frame_does() -> None:
    drive = Drive(DriveConfig(5, frames=1, class_exponent=0.4, **SMALL))
    frame = drive.frame(0)
    crops, labels = drive.regions(0, frame.labels, 6)
    assert crops.shape == (len(labels), 48, 48, 3) and crops.dtype == np.uint8 and len(labels) >= 3
    assert (np.diff(labels) > 0).all() and (frame.labels.visible_pixels[labels] >= 6).all()
    cameras = [(view.camera, view.T_ego_camera) for view in frame.views]
    compared = 0
    for crop, region in zip(crops, best_regions(frame.labels.boxes[labels], cameras), strict=True):
        left, top, right, bottom = (round(edge + 0.5) for edge in region.window)
        height, width = frame.views[region.view].image.shape[:2]
        if min(left, top) < 0 or right > width or bottom > height or right - left < 8:
            continue
        small = frame.views[region.view].image[top:bottom, left:right].reshape(-1, 3).mean(0)
        assert np.abs(crop.reshape(-1, 3).mean(0) - small).max() < 25
        compared += 1
    assert compared >= 2
    assert drive.regions(0, frame.labels, 10**6)[0].shape == (0, 48, 48, 3)


def test_stored_clips_and_regions_are_those_of_the_drives(tmp_path) -> None:
    recipe = GenerationRecipe(
        70,
        drives=3,
        frames=2,
        interval_s=(0.1, 0.4),
        drives_per_shard=2,
        image_size=(96, 56),
        objects=(6, 8),
        regions=True,
    )
    generate_shards(tmp_path / digest(recipe), recipe, processes=1, progress=False)
    plain = GenerationRecipe(90, drives=1, frames=3, image_size=(96, 56), objects=(4, 5))
    specs = [DataSpec(recipe), DataSpec(plain)]
    with Frames(specs, tmp_path, ImageSpec(96, 42), LT3D) as frames:
        clips = frames.drives()
        assert clips == [range(0, 2), range(2, 4), range(4, 6), range(6, 9)]
        assert [[len(block) for block in part.blocks] for part in frames.parts()] == [[2, 1], [1]]
        for seed, clip in zip((70, 71, 72), clips, strict=False):
            drive = Drive(recipe.drive(seed))
            for place, index in enumerate(clip):
                frame, stored = frames.frame(index), frames.regions(index)
                assert frame.stamp == drive.stamp(place)
                crops, labels = drive.regions(place, drive.frame(place).labels, 6)
                assert np.array_equal(stored.crops, crops) and np.array_equal(stored.labels, labels)
        assert len(frames.regions(8).labels) == 0
    assert len(ShardDataset([tmp_path / digest(recipe)]).regions(5).labels) == len(stored.labels)


def test_frames_of_recipes_without_regions_are_found_under_their_old_names() -> None:
    assert digest(GenerationRecipe(10000, 2500, 2, 1.0, 100, (224, 128), 0.25, (16, 36), 0.35, 0.5)) == "560aa7e167"
    assert digest(GenerationRecipe(regions=True)) != digest(GenerationRecipe())


def test_the_command_renders_irregular_clips_with_regions_too(tmp_path) -> None:
    arguments = ["--first-seed", "70", "--drives", "1", "--frames", "2", "--size", "96", "56", "--processes", "1"]
    arguments += ["--regions", "--quiet", "--interval", "0.1", "0.4"]
    assert main([str(tmp_path), *arguments]) == 0
    stored = ShardDataset(sorted(tmp_path.glob("*.shard")))
    drive = Drive(GenerationRecipe(70, drives=1, frames=2, interval_s=(0.1, 0.4), image_size=(96, 56)).drive(70))
    frame = drive.frame(1)
    assert stored[1].stamp == frame.stamp
    assert np.array_equal(stored.regions(1).crops, drive.regions(1, frame.labels, 6)[0])
    with pytest.raises(SystemExit):
        main([str(tmp_path), *arguments, "0.7"])
    assert main([str(tmp_path / "other"), *arguments[:-2], "0.4", "0.1"]) == 1
