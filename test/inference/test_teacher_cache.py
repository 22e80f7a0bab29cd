"""What a teacher says is kept: looked at once, never mixed up, never more than there is room for."""

from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.inference.teacher_cache import Taught, TeacherCache

PLENTY = 2**30


def same(a: Taught, b: Taught) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in vars(a))


def test_a_cloud_is_looked_at_once(detector, cloud, tmp_path) -> None:
    first = TeacherCache(tmp_path, detector, PLENTY)
    said = first.taught(cloud)
    assert first.knows(cloud) and dict(first.counts) == {"computed": 1}
    again = TeacherCache(tmp_path, detector, PLENTY)
    assert same(again.taught(cloud), said) and dict(again.counts) == {"read": 1}
    # As every store of clouds rounds them: to centimetres, 255 steps of intensity and milliseconds.
    rounded = replace(cloud, xyz=(np.round(cloud.xyz * 50) / 50).astype(np.float32))
    assert again.knows(rounded)


def test_what_differs_is_another_cloud(detector, cloud, tmp_path) -> None:
    cache = TeacherCache(tmp_path, detector, PLENTY)
    cache.taught(cloud)
    for other in (
        replace(cloud, xyz=cloud.xyz + np.float32(0.5)),
        replace(cloud, intensity=None),
        replace(cloud, intensity=1 - cloud.intensity),
        replace(cloud, time=cloud.time - np.float32(0.1)),
        cloud[:-1],
    ):
        assert not cache.knows(other)


def test_another_teacher_has_a_cache_of_its_own(detector, make_detector, cloud, tmp_path) -> None:
    said = TeacherCache(tmp_path, detector, PLENTY).taught(cloud)
    other = TeacherCache(tmp_path, make_detector("other@2", seed=5), PLENTY)
    assert not other.knows(cloud) and not same(other.taught(cloud), said)


@pytest.mark.parametrize("damage", [b"", b"rubbish", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_made_anew(detector, cloud, tmp_path, damage) -> None:
    cache = TeacherCache(tmp_path, detector, PLENTY)
    said = cache.taught(cloud)
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(damage)
    assert same(cache.taught(cloud), said) and cache.counts["damaged"] == 1
    assert same(TeacherCache(tmp_path, detector, PLENTY).taught(cloud), said)


def test_what_was_not_read_for_the_longest_time_goes(detector, cloud, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("semlt3d_ros.core.kept_arrays._SWEEP_EVERY", 2)
    clouds = [replace(cloud, xyz=cloud.xyz + np.float32(shift)) for shift in range(6)]
    TeacherCache(tmp_path, detector, PLENTY).taught(clouds[0])
    (path,) = tmp_path.rglob("*.safetensors")
    cache = TeacherCache(tmp_path, detector, 2.5 * path.stat().st_size)
    for each in clouds:
        cache.taught(each)
    assert cache.counts["evicted"] >= 2 and not cache.knows(clouds[0]) and cache.knows(clouds[-1])
    assert len(list(tmp_path.rglob("*.safetensors"))) <= 4


def test_the_coarser_maps_say_the_same_of_the_same_places(detector, cloud, tmp_path) -> None:
    sight, said = detector.look(cloud), TeacherCache(tmp_path, detector, PLENTY).taught(cloud)
    grid, coarse = detector.grid, TeacherCache(tmp_path, detector, PLENTY).grid
    assert coarse.cell_m == 2 * grid.cell_m and said.occupied.shape == (coarse.rows, coarse.columns)
    assert said.heat.max() == sight.heat.max() and said.occupied.sum() >= sight.occupied.sum() / 4
    assert said.bev.astype(np.float64).mean() == pytest.approx(sight.bev.astype(np.float64).mean(), abs=1e-3)
    # The best box of all is in both at the same place.
    fine = np.unravel_index(sight.heat.max(axis=0).argmax(), sight.occupied.shape)
    place = fine[0] // 2, fine[1] // 2
    one = sight.cells[:2, fine[0], fine[1]] + grid.centers()[fine]
    other = said.cells[:2, place[0], place[1]] + coarse.centers()[place]
    assert other == pytest.approx(one, abs=0.02)
    assert np.array_equal(said.cells[2:, place[0], place[1]], sight.cells[2:, fine[0], fine[1]])
