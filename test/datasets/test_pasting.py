from pathlib import Path

import numpy as np
import pytest

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame, Labels, PointCloud
from semlt3d_ros.datasets.object_bank import ObjectBank, collected, objects_of
from semlt3d_ros.datasets.pasting import PasteSettings, overlaps, paste

NAMES = ("car", "cone")
SENSOR = np.array([1.0, 0.0, 1.8])
SECOND = 1_000_000_000


def _scan(boxes, class_ids, azimuths=1200, ground=True, intensity=0.5):
    """An even scan of boxes on flat ground, nearest first."""
    azimuth = np.arange(azimuths) * 2 * np.pi / azimuths
    a, e = np.meshgrid(azimuth, np.radians(np.linspace(-28, 6, 40)), indexing="ij")
    rays = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], -1).reshape(-1, 3)
    with np.errstate(divide="ignore"):
        reach = np.where(rays[:, 2] < 0, -SENSOR[2] / rays[:, 2], np.inf) if ground else np.full(len(rays), np.inf)
    kinds = np.full(len(rays), len(NAMES), np.int16)
    for k in range(len(boxes)):
        c, s = np.cos(boxes.yaw[k]), np.sin(boxes.yaw[k])
        turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        with np.errstate(divide="ignore", invalid="ignore"):
            first = (-boxes.sizes[k] / 2 - turn @ (SENSOR - boxes.centers[k])) / (rays @ turn.T)
            second = (boxes.sizes[k] / 2 - turn @ (SENSOR - boxes.centers[k])) / (rays @ turn.T)
        enter, leave = np.fmin(first, second).max(1), np.fmax(first, second).min(1)
        hit = (enter <= leave) & (enter > 0) & (enter < reach)
        reach[hit], kinds[hit] = enter[hit], class_ids[k]
    seen = reach < 60
    xyz = (SENSOR + rays[seen] * reach[seen, None]).astype(np.float32)
    count = len(xyz)
    return PointCloud(xyz, np.full(count, intensity, np.float32), np.zeros(count, np.float32), kinds[seen])


def _labels(*placed):
    """Labels of (class, x, y, yaw) on the ground."""
    sizes = {0: (4.5, 1.9, 1.6), 1: (0.4, 0.4, 0.8)}
    rows = [(kind, (x, y, sizes[kind][2] / 2), sizes[kind], yaw) for kind, x, y, yaw in placed]
    count = len(rows)
    boxes = Boxes3D(
        np.array([row[1] for row in rows]).reshape(-1, 3),
        np.array([row[2] for row in rows]).reshape(-1, 3),
        np.array([row[3] for row in rows], float),
        np.tile((1.0, 0.0), (count, 1)),
    )
    return Labels(boxes, np.array([row[0] for row in rows], np.int64), class_names=NAMES)


def _frame(*placed, stamp=SECOND, pose=None, **options):
    labels = _labels(*placed)
    cloud = _scan(labels.boxes, labels.class_ids, **options)
    return Frame(stamp, (), (), np.eye(4) if pose is None else pose, cloud, labels)


@pytest.fixture(scope="module")
def bank() -> ObjectBank:
    found = [objects_of([_frame((0, 12, 3, 0.3), (1, 9, -4, 0.0), (1, -7, 3, 0.0))], 5)]
    return ObjectBank.joined([each for each in found if each is not None])


def test_objects_are_cut_out_with_their_points(bank) -> None:
    assert bank.class_ids.tolist() == [0, 1, 1] and bank.seen.tolist() == [1, 2]
    for number in range(3):
        points = bank.xyz[bank.points(number)]
        box = Boxes3D(*(getattr(bank, name)[number : number + 1] for name in ("centers", "sizes", "yaw", "velocity")))
        assert len(points) >= 5 and box.contains(points, 0.06).all()
    assert bank.density.tolist() == [bank.density[0]] * 3 and bank.light == pytest.approx(0.5)


def test_points_of_earlier_turns_come_from_where_the_object_was() -> None:
    then = _frame((0, 11.5, 3, 0.0), stamp=SECOND - 100_000_000, pose=rigid.planar(-1.0, 0, 0))
    now = _frame((0, 11.5, 3, 0.0))
    found = objects_of([then, now], 5)
    old = found.time < -0.05
    assert found.time[old] == pytest.approx(-0.1) and 0.3 < old.mean() < 0.7
    # In the ego frame of now it was a metre behind.
    assert found.xyz[old, 0].min() == pytest.approx(found.xyz[~old, 0].min() - 1.0, abs=0.05)


def test_a_pasted_object_stands_free_is_labelled_and_hides_what_is_behind(bank) -> None:
    frame = _frame((0, 15, 0, 0.0))
    settings = PasteSettings(most=8, exponent=0.0)
    rng, pasted, shadows = np.random.default_rng(3), 0, 0
    for _ in range(6):
        cloud, labels = paste(frame.points, frame.labels, bank, rng, settings)
        new = np.arange(1, len(labels.boxes))
        pasted += len(new)
        assert len(set(labels.track_ids)) == len(labels.boxes)
        for k in new:
            box = labels.boxes[k : k + 1]
            own = box.contains(cloud.xyz, 0.06)[0]
            assert own.sum() >= labels.lidar_points[k] >= 5
            assert (cloud.classes[own & (cloud.xyz[:, 2] > 0.1)] == labels.class_ids[k]).all()
            assert box.centers[0, 2] - box.sizes[0, 2] / 2 == pytest.approx(0, abs=0.05)
            others = labels.boxes[np.delete(np.arange(len(labels.boxes)), k)]
            assert not overlaps(box, others, 0.25).any()
            if labels.class_ids[k] == 0:
                assert _ground_behind(frame.points, box) > 20 and _ground_behind(cloud, box) == 0
                shadows += 1
    assert pasted >= 6 and shadows >= 2


def _ground_behind(cloud, box) -> int:
    """Points on the ground in the middle of the shadow of a car that is almost as high as the LiDAR."""
    offset, middle = cloud.xyz - SENSOR, box.centers[0] - SENSOR
    azimuth = rigid.wrap_angle(np.arctan2(offset[:, 1], offset[:, 0]) - np.arctan2(middle[1], middle[0]))
    beyond = np.hypot(*offset[:, :2].T) - np.hypot(*middle[:2])
    return int(((np.abs(azimuth) < 0.6 / np.hypot(*middle[:2])) & (beyond > 3.0) & (beyond < 20.0)).sum())


def test_distance_and_side_stay_as_they_were(bank) -> None:
    frame = _frame()
    _, labels = paste(frame.points, frame.labels, bank, np.random.default_rng(0), PasteSettings(most=12, tries=20))
    assert len(labels.boxes)
    for k in range(len(labels.boxes)):
        own = np.flatnonzero(bank.class_ids == labels.class_ids[k])
        offset, before = labels.boxes.centers[k, :2] - SENSOR[:2], bank.centers[own, :2] - SENSOR[:2]
        same = np.isclose(np.hypot(*before.T), np.hypot(*offset))
        seen_from = rigid.wrap_angle(np.arctan2(before[:, 1], before[:, 0]) - bank.yaw[own])
        side = float(rigid.wrap_angle(np.arctan2(offset[1], offset[0]) - labels.boxes.yaw[k]))
        assert (same & np.isclose(seen_from, side)).any()
        course = np.arctan2(*labels.boxes.velocity[k, ::-1]) - labels.boxes.yaw[k]
        assert np.isclose(rigid.wrap_angle(course + bank.yaw[own]), 0, atol=1e-6).any()


def test_a_plate_in_the_air_hides_what_is_behind() -> None:
    cone = objects_of([_frame((1, 6.5, 0.0, 0.0))], 5)
    assert cone.xyz[:, 2].max() > 0.7
    plate = _labels((0, 4.0, 0.0, 0.0))
    plate.boxes.sizes[:], plate.boxes.centers[:, 2] = (0.1, 4.0, 0.75), 1.4
    cloud = _scan(plate.boxes, plate.class_ids)
    found = 0
    for seed in range(5):
        got, labels = paste(cloud, plate, cone, np.random.default_rng(seed), PasteSettings(turn_deg=8.0, fewest=2))
        for k in range(1, len(labels.boxes)):
            heights = got.xyz[labels.boxes[k : k + 1].contains(got.xyz, 0.05)[0], 2]
            assert len(heights) >= 2 and heights.max() < 0.5
            found += 1
    assert found


def test_what_no_label_tells_of_is_in_the_way_too() -> None:
    cone = objects_of([_frame((1, 11.0, 0.0, 0.0))], 5)
    turns = np.arange(0, 2 * np.pi, 0.26)
    ring = _labels(*((1, 1.0 + 10 * np.cos(a), 10 * np.sin(a), a) for a in turns))
    ring.boxes.sizes[:, :2] = 1.2
    cloud = _scan(ring.boxes, ring.class_ids)
    found = 0
    for seed in range(8):
        _, labels = paste(cloud, _labels(), cone, np.random.default_rng(seed), PasteSettings(clearance=0.1))
        for k in range(len(labels.boxes)):
            assert not overlaps(labels.boxes[k : k + 1], ring.boxes, 0.0).any()
            found += 1
    assert found


def test_objects_from_lower_ground_are_lifted_onto_it() -> None:
    low = _frame((0, 12, 3, 0.3))
    low.points.xyz[:, 2] -= 0.6
    low.labels.boxes.centers[:, 2] -= 0.6
    frame = _frame()
    cloud, labels = paste(frame.points, frame.labels, objects_of([low], 5), np.random.default_rng(1), PasteSettings())
    assert len(labels.boxes)
    own = labels.boxes.contains(cloud.xyz, 0.06) & (cloud.classes == 0)
    assert own.sum() == (cloud.classes == 0).sum() and cloud.xyz[own[0], 2].min() > -0.01


def test_only_the_turns_that_the_cloud_has_are_pasted() -> None:
    frames = [_frame((0, 11.5, 3, 0.0), stamp=SECOND - k * 100_000_000) for k in (2, 1, 0)]
    bank = objects_of(frames, 5)
    assert bank.time.min() == pytest.approx(-0.2)
    cloud, labels = paste(frames[2].points, _labels(), bank, np.random.default_rng(2), PasteSettings())
    assert len(labels.boxes) and cloud.time.min() == 0.0


def test_objects_that_show_too_little_or_stand_too_near_are_left_out(bank) -> None:
    frame = _frame()
    much = PasteSettings(fewest=10_000)
    assert len(paste(frame.points, frame.labels, bank, np.random.default_rng(0), much)[1].boxes) == 0
    assert len(objects_of([_frame((1, 30, 0, 0.0))], 50)) == 0
    near = objects_of([_frame((1, 3.0, 1.0, 0.0))], 5)
    assert len(near) == 1
    for seed in range(4):
        chance = np.random.default_rng(seed)
        assert len(paste(frame.points, frame.labels, near, chance, PasteSettings(turn_deg=20))[1].boxes) == 0


def test_objects_keep_a_bounded_number_of_points() -> None:
    bank = objects_of([_frame((0, 6, 3, 0.3), azimuths=12_000)], 5)
    assert 1500 < len(bank.xyz) <= 3000


def test_the_same_chance_gives_the_same_cloud_and_the_given_one_stays(bank) -> None:
    frame = _frame((0, 15, 0, 0.0))
    before = frame.points.xyz.copy(), frame.points.classes.copy()
    first, second = (
        paste(frame.points, frame.labels, bank, np.random.default_rng(5), PasteSettings(most=6)) for _ in range(2)
    )
    assert np.array_equal(first[0].xyz, second[0].xyz) and first[1].track_ids == second[1].track_ids
    assert np.array_equal(before[0], frame.points.xyz) and np.array_equal(before[1], frame.points.classes)
    assert len(frame.labels.boxes) == 1


def test_clouds_without_intensity_time_and_classes_stay_without(bank) -> None:
    frame = _frame()
    bare = PointCloud(frame.points.xyz)
    cloud, labels = paste(bare, frame.labels, bank, np.random.default_rng(1), PasteSettings(most=6))
    assert len(labels.boxes) and cloud.intensity is None and cloud.time is None and cloud.classes is None


def test_brightness_is_that_of_the_cloud(bank) -> None:
    frame = _frame(intensity=0.1)
    cloud, labels = paste(frame.points, frame.labels, bank, np.random.default_rng(1), PasteSettings(most=6))
    assert len(labels.boxes) and np.abs(cloud.intensity - 0.1).max() < 0.02


def test_objects_of_unlike_clouds_and_empty_clouds_are_left_alone(bank) -> None:
    sparse = _frame(azimuths=300)
    assert paste(sparse.points, sparse.labels, bank, np.random.default_rng(1), PasteSettings())[0] is sparse.points
    dark, full = _frame((0, 12, 3, 0.3)), _frame()
    dark.points.intensity = None
    for frames in ([dark], [_frame((0, 12, 3, 0.3), azimuths=300)]):
        bank = objects_of(frames, 5)
        assert len(bank)
        for seed in range(4):
            pasted = paste(full.points, _labels(), bank, np.random.default_rng(seed), PasteSettings())[1]
            assert len(pasted.boxes) == 0
    empty = PointCloud(np.zeros((0, 3), np.float32))
    assert len(paste(empty, _labels(), bank, np.random.default_rng(1), PasteSettings())[0]) == 0
    with pytest.raises(ConfigurationError, match="same classes"):
        other = Labels(Boxes3D.empty(), np.zeros(0, np.int64), class_names=("car",))
        paste(sparse.points, other, bank, np.random.default_rng(1), PasteSettings())


def test_rare_classes_are_pasted_as_often_as_others() -> None:
    many = [(1, 6 + 2 * (k % 4), -6 + 3 * (k // 4), 0.0) for k in range(16)]
    bank = objects_of([_frame((0, -9, 3, 0.3), *many)], 5)
    assert bank.seen.tolist() == [1, 16]
    frame, rng = _frame(), np.random.default_rng(0)
    found = [paste(frame.points, frame.labels, bank, rng, PasteSettings(most=3))[1].class_ids for _ in range(30)]
    cars = np.mean(np.concatenate(found) == 0)
    assert 0.25 < cars < 0.75


def test_collecting_goes_on_where_it_stopped(tmp_path: Path) -> None:
    drives = [[k] for k in range(45)]
    read: list[int] = []

    def frame(index: int, stop: int | None = None) -> Frame:
        if index == stop:
            raise KeyboardInterrupt
        read.append(index)
        return _frame((0, 8 + index % 5, 3, 0.1), (1, 6, -3, 0.0), azimuths=200)

    with pytest.raises(KeyboardInterrupt):
        collected(tmp_path, drives, lambda index: frame(index, 30), per_class=9)
    assert max(read) == 29
    read.clear()
    bank = collected(tmp_path, drives, frame, per_class=9)
    assert min(read) == 20 and np.bincount(bank.class_ids).tolist() == [9, 9] and bank.seen.tolist() == [45, 45]
    read.clear()
    again = collected(tmp_path, drives, frame, per_class=9)
    assert not read and np.array_equal(again.xyz, bank.xyz)
    (tmp_path / "objects-00001.npz").write_bytes(b"PK nonsense")
    with pytest.raises(ConfigurationError, match=r"objects-00001\.npz"):
        collected(tmp_path, drives, frame, per_class=9)
