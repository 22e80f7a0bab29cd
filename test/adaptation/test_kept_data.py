"""What the loop keeps of frames is bounded, between two rounds, and goes by when it was used."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from semlt3d_ros.adaptation.kept_data import keep_within
from semlt3d_ros.adaptation.loop import run_round
from semlt3d_ros.adaptation.plan import Rounds
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.datasets.opening import open_source
from semlt3d_ros.datasets.simulated import digest
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.simulation.generation import GenerationRecipe

KIB = 2**-20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Parts of 10 KiB each: two shards, two recordings, a file of features; the shards were used first."""
    folder = tmp_path / "data"
    parts = ["0123456789/a.shard", "0123456789/b.shard", "bags/c", "bags/d"]
    for number, name in enumerate([*parts, "features/e.maps", "teacher/f"]):
        place = folder / name
        file = place / "images.npy" if name in parts else place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(10 * 1024))
        os.utime(place, (number, number))
    return folder


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_was_not_used_for_longest_goes_and_no_more_than_needed(data: Path) -> None:
    assert keep_within(data, 50 * KIB, ("teacher",)).removed == 0
    os.utime(data / "0123456789" / "a.shard")  # used again
    tidied = keep_within(data, 35 * KIB, ("teacher",))
    assert (tidied.removed, tidied.removed_bytes, tidied.kept_bytes) == (2, 20 * 1024, 30 * 1024)
    assert left(data) == ["0123456789/a.shard/images.npy", "bags/d/images.npy", "features/e.maps", "teacher/f"]
    assert keep_within(data, 1 * KIB, ("teacher",)).kept_bytes == 0 and left(data) == ["teacher/f"]


def test_what_a_killed_removal_left_is_no_frame_and_goes_the_next_time(data: Path) -> None:
    (data / "bags" / "c").rename(data / "bags" / "c.gone")
    assert keep_within(data, 1.0, ("teacher",)).removed == 0 and not (data / "bags" / "c.gone").exists()


def test_a_folder_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert keep_within(tmp_path / "none", 1.0).kept_bytes == 0


def test_opening_frames_counts_as_use(tmp_path: Path) -> None:
    recipe = GenerationRecipe(first_seed=1, drives=1, frames=1, image_size=(32, 16), objects=(1, 2))
    shards = tmp_path / digest(recipe)
    [path] = [shards / f"seeds-{first:07d}-{last:07d}.shard" for first, last in recipe.blocks()]
    path.mkdir(parents=True)
    os.utime(path, (1, 1))
    open_source(DataSpec(simulate=recipe), tmp_path, ImageSpec(32, 16, 0.0)).close()
    assert path.stat().st_mtime > time.time() - 60


def test_a_round_keeps_what_it_needs_and_leaves_no_more_than_the_bound(robot, judged) -> None:
    bounded = replace(robot, data_gib=1e-6)
    followed = robot.data_folder / "teacher" / "clouds"  # bounded by another setting
    followed.parent.mkdir()
    followed.write_bytes(b"what a teacher says")
    with pytest.raises(RuntimeError):
        run_round(bounded, stop_after_labelling)
    assert any((robot.data_folder / "bags").iterdir()), "a round is under way"
    status = judged(False, bounded)
    assert status.state == "rejected" and "was not used for longest removed" in status.message
    assert not any((robot.data_folder / "bags").iterdir()) and followed.exists()
    assert len(Rounds(robot.work).all()) == 1
    with pytest.raises(ConfigurationError, match="data_gib"):
        replace(robot, data_gib=0.0)


def stop_after_labelling(status) -> None:
    if status.state == "training":
        raise RuntimeError
