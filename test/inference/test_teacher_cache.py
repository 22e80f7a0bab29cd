"""What a teacher says is kept: looked at once, never mixed up, never more than there is room for."""

from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.rigid import planar
from semlt3d_ros.core.sweeps import Sweep, accumulated
from semlt3d_ros.inference.teacher_cache import Taught, TeacherCache, digest_of

PLENTY = 2**30


def same(a: Taught, b: Taught) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in vars(a))


def sweep(cloud: PointCloud, stamp: int = 0, x: float | None = 0.0) -> Sweep:
    return Sweep(cloud, None if x is None else planar(x, 0.0, 0.0), stamp)


def test_a_cloud_is_looked_at_once(detector, cloud, tmp_path) -> None:
    first = TeacherCache(tmp_path, detector, PLENTY)
    said = first.taught(sweep(cloud))
    assert first.knows(digest_of(sweep(cloud))) and dict(first.counts) == {"computed": 1}
    again = TeacherCache(tmp_path, detector, PLENTY)
    assert same(again.taught(sweep(cloud)), said) and dict(again.counts) == {"read": 1}
    # As every store of clouds rounds them: to half centimetres.
    rounded = replace(cloud, xyz=(np.round(cloud.xyz / 0.005).astype(np.int16) * np.float32(0.005)))
    assert again.knows(digest_of(sweep(rounded)))


def test_what_differs_is_another_cloud(detector, cloud, tmp_path) -> None:
    cache = TeacherCache(tmp_path, detector, PLENTY)
    cache.taught(sweep(cloud))
    for other in (
        replace(cloud, xyz=cloud.xyz + np.float32(0.5)),
        replace(cloud, intensity=None),
        replace(cloud, intensity=1 - cloud.intensity),
        replace(cloud, time=cloud.time - np.float32(0.1)),
        cloud[:-1],
    ):
        assert not cache.knows(digest_of(sweep(other)))


def test_another_teacher_has_a_cache_of_its_own(detector, make_detector, cloud, tmp_path) -> None:
    said = TeacherCache(tmp_path, detector, PLENTY).taught(sweep(cloud))
    other = TeacherCache(tmp_path, make_detector("other@2", seed=5), PLENTY)
    assert not other.knows(digest_of(sweep(cloud))) and not same(other.taught(sweep(cloud)), said)


@pytest.mark.parametrize("damage", [b"", b"rubbish", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_made_anew(detector, cloud, tmp_path, damage) -> None:
    cache = TeacherCache(tmp_path, detector, PLENTY)
    said = cache.taught(sweep(cloud))
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(damage)
    assert same(cache.taught(sweep(cloud)), said) and cache.counts["damaged"] == 1
    assert same(TeacherCache(tmp_path, detector, PLENTY).taught(sweep(cloud)), said)


def test_what_was_not_read_for_the_longest_time_goes(detector, cloud, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("semlt3d_ros.core.kept_arrays._SWEEP_EVERY", 2)
    clouds = [replace(cloud, xyz=cloud.xyz + np.float32(shift)) for shift in range(6)]
    TeacherCache(tmp_path, detector, PLENTY).taught(sweep(clouds[0]))
    (path,) = tmp_path.rglob("*.safetensors")
    cache = TeacherCache(tmp_path, detector, 2.5 * path.stat().st_size)
    for each in clouds:
        cache.taught(sweep(each))
    assert (
        cache.counts["evicted"] >= 2
        and not cache.knows(digest_of(sweep(clouds[0])))
        and cache.knows(digest_of(sweep(clouds[-1])))
    )
    assert len(list(tmp_path.rglob("*.safetensors"))) <= 4


def test_the_coarser_maps_say_the_same_of_the_same_places(detector, cloud, tmp_path) -> None:
    sight, said = detector.look(cloud), TeacherCache(tmp_path, detector, PLENTY).taught(sweep(cloud))
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


def test_sweeps_before_it_belong_to_what_is_seen(detector, cloud, tmp_path) -> None:
    cache, now, past = TeacherCache(tmp_path, detector, PLENTY), sweep(cloud, 2 * 10**8, 4.0), sweep(cloud, 10**8, 2.0)
    said = cache.taught(now, [past])
    assert same(said, TeacherCache(tmp_path / "other", detector, PLENTY).taught(sweep(accumulated(now, [past]))))
    assert cache.knows(digest_of(now, [past])) and not cache.knows(digest_of(now))
    for other in (sweep(cloud, 10**8, 2.1), sweep(cloud, 0, 2.0), sweep(cloud, 10**8, None)):
        assert not cache.knows(digest_of(now, [other]))
    # The world's origin does not matter.
    assert cache.knows(digest_of(sweep(cloud, 3 * 10**8, 14.0), [sweep(cloud, 2 * 10**8, 12.0)]))
