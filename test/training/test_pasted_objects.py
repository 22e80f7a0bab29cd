from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.core.config import parse
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.training.streams import StreamFrame
from semlt3d_ros.training.teacher_recipe import TeacherRecipe
from semlt3d_ros.training.teacher_task import TeacherTask

DATA = {
    "first_seed": 700,
    "drives": 4,
    "frames": 2,
    "interval_s": 0.1,
    "drives_per_shard": 2,
    "lidar": "varied",
    "cameras": False,
    "point_limit": 20000,
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> TeacherRecipe:
    folder = tmp_path_factory.mktemp("frames")
    values = {"name": "t", "data_folder": str(folder), "train": [DATA], "validation": [{**DATA, "first_seed": 690}]}
    return parse(TeacherRecipe, {**values, "paste": {"most": 20, "tries": 20}, "paste_drives": 3}, "test")


def _task(recipe: TeacherRecipe) -> TeacherTask:
    frames = Frames(recipe.train, recipe.data_folder, ImageSpec(16, 8, 0.0), recipe.class_list)
    return TeacherTask(recipe, frames)


def test_rare_objects_are_pasted_into_what_is_learnt(recipe) -> None:
    task, plain = _task(recipe), _task(replace(recipe, paste=None))
    more = 0
    for index in range(8):
        played = [StreamFrame(index, True, index)]
        with_objects, without = task.load(played), plain.load(played)
        tracks = with_objects.frames[0].labels.track_ids
        more += sum(track.startswith("pasted") for track in tracks)
        assert not any(track.startswith("pasted") for track in without.frames[0].labels.track_ids)
        assert len(with_objects.clouds[0]) == len(with_objects.point_classes[0])
        again = task.load(played)
        assert np.array_equal(again.clouds[0], with_objects.clouds[0])
    assert more >= 8
    task.frames.frames.close()
    plain.frames.frames.close()


def test_the_bank_is_collected_once_and_anew_for_other_classes(recipe, monkeypatch) -> None:
    task = _task(recipe)
    banks = sorted((recipe.data_folder / "objects").iterdir())
    assert len(banks) == 1 and [file.name for file in banks[0].iterdir()] == ["objects-00000.npz"]
    before = (banks[0] / "objects-00000.npz").stat().st_mtime_ns
    _task(recipe).frames.frames.close()
    assert (banks[0] / "objects-00000.npz").stat().st_mtime_ns == before
    task.frames.objects(recipe.data_folder, 3, 1, recipe.class_list.names)
    assert len(list((recipe.data_folder / "objects").iterdir())) == 2
    task.frames.frames.close()
