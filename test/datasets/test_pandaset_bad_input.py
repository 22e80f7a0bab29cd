"""PandaSet sequences with missing, damaged, hostile or odd files: named, left out, and the rest goes in."""

from __future__ import annotations

import gzip
import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.datasets.pandaset import RIG_NAMES, import_pandaset
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import (
    decode_labels,
    decode_point_cloud,
    decode_transforms,
)
from semlt3d_ros.sensing.transform_tree import TransformTree

NOWHERE = {"position": {"x": np.nan, "y": 0.0, "z": 0.0}, "heading": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}}


class _Evil:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return exec, (f"open({str(self.witness)!r}, 'w')",)


def _evil(path: Path) -> None:
    path.write_bytes(gzip.compress(pickle.dumps(_Evil(path.parent / "witness"))))


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _half_pickle(path: Path) -> None:
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[: len(content) // 2]))


def _no_table(path: Path) -> None:
    path.write_bytes(gzip.compress(pickle.dumps([1, 2, 3])))


def _table(path: Path, columns: dict[str, np.ndarray]) -> None:
    table = pandas.DataFrame({name: pandas.Series(column, dtype=column.dtype) for name, column in columns.items()})
    table.columns = pandas.Index(list(columns), dtype=object)
    path.write_bytes(gzip.compress(pickle.dumps(table)))


def _other_table(path: Path) -> None:
    _table(path, {"x": np.zeros(3)})


def _words(path: Path) -> None:
    _table(path, {name: np.array(["a", "b"], dtype=object) for name in ("x", "y", "z", "i", "t", "d")})


def _change(path: Path, column: str, values: dict[int, Any]) -> None:
    """Put values into rows of a table."""
    table = pickle.loads(gzip.decompress(path.read_bytes()))
    if any(isinstance(value, str) for value in values.values()):
        table[column] = table[column].astype(object)
    for row, value in values.items():
        table.loc[row, column] = value
    path.write_bytes(gzip.compress(pickle.dumps(table)))


def _without_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _one_less(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text())[:-1]))


def _text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


def _later(seconds: float) -> Callable[[Path], None]:
    return lambda path: (
        path.write_text(json.dumps([stamp + seconds for stamp in json.loads(path.read_text())])) and None
    )


FRAMES = 4


def imported(folder: Path, tmp_path: Path, frames: slice | None = None) -> tuple[Any, list[Fault], Path]:
    """The summary, what was left out, and the bag."""
    faults, out = FaultLog(), tmp_path / "out" / "drive.mcap"
    summary = import_pandaset(folder, out, frames, faults=faults)
    return summary, list(faults), out


def counts(bag: Path) -> Counter[str]:
    with BagSource(bag) as source:
        return Counter(entry.topic for entry in source.messages())


@pytest.mark.parametrize(
    ("file", "damage", "reason", "told"),
    [
        ("lidar/01.pkl.gz", Path.unlink, "missing_file", "complete"),
        ("lidar/01.pkl.gz", _evil, "refused_file", "refused"),
        ("lidar/01.pkl.gz", _half, "damaged_file", "download it again"),
        ("lidar/01.pkl.gz", _half_pickle, "damaged_file", "download it again"),
        ("lidar/01.pkl.gz", _text(""), "damaged_file", "download it again"),
        ("lidar/01.pkl.gz", _no_table, "damaged_file", "expected a pandas DataFrame"),
        ("lidar/01.pkl.gz", _other_table, "columns", "no column 'y'"),
        ("lidar/01.pkl.gz", _words, "columns", "column 'x' does not hold numbers"),
        ("annotations/cuboids/01.pkl.gz", Path.unlink, "missing_file", "complete"),
        ("annotations/cuboids/01.pkl.gz", _evil, "refused_file", "refused"),
        ("annotations/cuboids/01.pkl.gz", _half, "damaged_file", "download it again"),
        ("camera/left_camera/01.jpg", Path.unlink, "missing_file", "complete"),
        ("camera/left_camera/01.jpg", _text("no image"), "encoding", "neither JPEG nor PNG"),
        ("camera/left_camera/01.jpg", _text(""), "encoding", "neither JPEG nor PNG"),
        ("camera/left_camera/01.jpg", _half, "corrupt_jpeg", "damaged"),
        ("camera/left_camera/01.jpg", _without_end, "corrupt_jpeg", "damaged"),
        ("camera/front_camera/01.jpg", _half, "corrupt_jpeg", "damaged"),
    ],
)
def test_a_bad_file_is_named_and_left_out_and_the_rest_goes_in(
    broken_drive: Path, tmp_path: Path, file: str, damage: Callable[[Path], None], reason: str, told: str
) -> None:
    whole = counts(imported(broken_drive, tmp_path / "whole")[2])
    damage(broken_drive / file)
    summary, (fault,), bag = imported(broken_drive, tmp_path)
    assert (fault.place, fault.reason, fault.count) == (str(broken_drive / file), reason, 1)
    assert "frame 1: " in fault.line and told in fault.line
    kind, folder, _ = file.split("/") if file.count("/") == 2 else (file.split("/")[0], "", "")
    name = RIG_NAMES.get(folder, "")
    lost = {
        "lidar": [topics.POINTS],
        "annotations": [topics.TRUTH_LONG_TAIL, topics.TRUTH_OBJECTS, topics.TRUTH_SAMPLE],
        "camera": [topics.camera_image_topic(name), topics.camera_info_topic(name)],
    }[kind]
    assert whole - counts(bag) == dict.fromkeys(lost, 1)
    assert (summary["frames"], summary["frames_lost"]) == (FRAMES, 0)
    assert not list(broken_drive.rglob("witness"))


def test_without_points_the_truth_says_that_it_does_not_know_them(broken_drive: Path, tmp_path: Path) -> None:
    (broken_drive / "lidar" / "01.pkl.gz").unlink()
    _, _, bag = imported(broken_drive, tmp_path)
    with BagSource(bag) as source:
        labels = [decode_labels(entry.message())[0] for entry in source.messages([topics.TRUTH_LONG_TAIL])]
    assert [bool((each.lidar_points < 0).all()) for each in labels] == [False, True, False, False]
    assert np.isfinite(labels[1].boxes.velocity).all(), "the frames around it are there"


def test_only_what_is_asked_for_has_to_be_there(broken_drive: Path, tmp_path: Path) -> None:
    for frame in (0, 3):
        (broken_drive / "annotations" / "cuboids" / f"{frame:02d}.pkl.gz").unlink()
        (broken_drive / "lidar" / f"{frame:02d}.pkl.gz").unlink()
        (broken_drive / "camera" / "back_camera" / f"{frame:02d}.jpg").write_bytes(b"")
    summary, faults, bag = imported(broken_drive, tmp_path, slice(1, 3))
    assert (faults, summary["images"]) == ([], 12)
    with BagSource(bag) as source:
        labels = [decode_labels(entry.message())[0] for entry in source.messages([topics.TRUTH_LONG_TAIL])]
    assert all(np.isfinite(each.boxes.velocity).all() for each in labels), "from the one neighbour that is there"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("position.x", np.nan),
        ("position.z", np.inf),
        ("dimensions.x", 0.0),
        ("dimensions.y", -4.5),
        ("dimensions.z", np.nan),
        ("dimensions.z", np.inf),
        ("yaw", np.nan),
        ("position.y", 1e300),
        ("position.y", "north"),
    ],
)
def test_a_cuboid_that_is_none_is_named_by_row_and_left_out(
    broken_drive: Path, tmp_path: Path, column: str, value: Any
) -> None:
    path = broken_drive / "annotations" / "cuboids" / "02.pkl.gz"
    _change(path, column, {3: value})
    summary, (fault,), bag = imported(broken_drive, tmp_path)
    assert (fault.place, fault.reason, fault.count) == (str(path), "box", 1)
    assert "frame 2, row 3: " in fault.line
    assert summary["boxes"]["Pedestrian (Child)"] == 3
    assert {count for label, count in summary["boxes"].items() if "Child" not in label} == {4}
    log = FaultLog()
    with BagSource(bag) as source:
        assert [
            len(decode_labels(entry.message(), log)[0].boxes) for entry in source.messages([topics.TRUTH_LONG_TAIL])
        ] == [6, 6, 5, 6]
    assert list(log) == [], "what is written is what this package reads"


def test_all_rows_may_be_odd(broken_drive: Path, tmp_path: Path) -> None:
    path = broken_drive / "annotations" / "cuboids" / "02.pkl.gz"
    _change(path, "yaw", dict.fromkeys(range(7), np.nan))
    _, (fault,), bag = imported(broken_drive, tmp_path)
    assert (fault.place, fault.count) == (str(path), 7)
    assert counts(bag)[topics.TRUTH_LONG_TAIL] == FRAMES


@pytest.mark.parametrize(
    ("column", "value"),
    [("x", np.nan), ("y", np.inf), ("z", 1e300), ("i", np.nan), *(("t", odd) for odd in (np.nan, 0.0, 1.5e18, 1e300))],
)
def test_points_that_are_none_are_counted_and_left_out(
    broken_drive: Path, tmp_path: Path, column: str, value: float
) -> None:
    path = broken_drive / "lidar" / "01.pkl.gz"
    _change(path, column, {4: value, 7: value})
    summary, (fault,), bag = imported(broken_drive, tmp_path)
    assert (fault.place, fault.reason, fault.count) == (str(path), "point", 2)
    assert "frame 1: " in fault.line and "row 4" in fault.line
    assert summary["points"] == FRAMES * 15 - 2
    with BagSource(bag) as source:
        clouds = [decode_point_cloud(entry.message()) for entry in source.messages([topics.POINTS])]
    assert [len(cloud) for cloud in clouds] == [15, 13, 15, 15]
    assert all(cloud.time is not None for cloud in clouds)


def test_a_cloud_without_points_is_named(broken_drive: Path, tmp_path: Path) -> None:
    path = broken_drive / "lidar" / "01.pkl.gz"
    _change(path, "x", dict.fromkeys(range(16), np.nan))
    _, (fault,), bag = imported(broken_drive, tmp_path)
    assert (fault.place, fault.reason) == (str(path), "points")
    assert counts(bag)[topics.POINTS] == FRAMES - 1


@pytest.mark.parametrize(
    ("file", "damage", "told"),
    [
        ("intrinsics.json", Path.unlink, "complete"),
        ("intrinsics.json", _text('{"fx": 0, "fy": 1, "cx": 2, "cy": 3}'), "fx"),
        ("intrinsics.json", _text('{"fx": 1}'), "fy"),
        ("intrinsics.json", _text("[]"), "fx"),
        ("poses.json", _text("[{"), "not JSON"),
        ("poses.json", _text("[" * 100_000), "not JSON"),
        ("timestamps.json", _text("[5e9, 6e9, 7e9, 8e9]"), "no seconds since 1970"),
        ("timestamps.json", _later(3600), "3600.0 s from the LiDAR's stamps"),
        ("poses.json", _text("[{}, {}]"), "positions and headings"),
        ("poses.json", _text("[{}, {}, {}, {}]"), "'position'"),
        ("timestamps.json", _text("[1.0, 2.0, 2.0, 3.0]"), "do not rise"),
        ("timestamps.json", _text("[1.0, NaN, 2.0, 3.0]"), "not finite"),
        ("poses.json", _one_less, "3 poses and 4 stamps"),
    ],
)
@pytest.mark.parametrize("camera", ["left_camera", "front_camera"])
def test_a_camera_that_cannot_be_placed_is_left_out(
    broken_drive: Path, tmp_path: Path, camera: str, file: str, damage: Callable[[Path], None], told: str
) -> None:
    damage(broken_drive / "camera" / camera / file)
    summary, (fault,), bag = imported(broken_drive, tmp_path)
    assert fault.place == str(broken_drive / "camera" / camera) and file in fault.line and told in fault.line
    assert summary["images"] == 5 * FRAMES
    assert counts(bag)[topics.TRUTH_LONG_TAIL] == counts(bag)[topics.POINTS] == FRAMES
    with BagSource(bag) as source:
        names = {topics.camera_of(topic) for topic in source.topics} - {None}
    assert names == {name for own, name in RIG_NAMES.items() if own != camera}


def test_cameras_of_another_length_are_left_out(broken_drive: Path, tmp_path: Path) -> None:
    for name in ("poses.json", "timestamps.json"):
        _one_less(broken_drive / "camera" / "left_camera" / name)
    _, (fault,), _ = imported(broken_drive, tmp_path)
    assert "left_camera" in fault.place and "3 poses, the LiDAR has 4" in fault.line


def test_intrinsics_of_another_image_size_are_told(broken_drive: Path, tmp_path: Path) -> None:
    """Images that somebody made smaller, with the intrinsics that they had before."""
    path = broken_drive / "camera" / "left_camera" / "intrinsics.json"
    values = {name: 2 * value for name, value in json.loads(path.read_text()).items()}
    path.write_text(json.dumps(values))
    summary, (fault,), _ = imported(broken_drive, tmp_path)
    assert summary["images"] == 6 * FRAMES
    assert (fault.place, fault.harmless, fault.count) == (str(path), False, FRAMES)
    assert "frame 3: " in fault.line and "is K of another image size?" in fault.line


NOWHERE_FINITE = {**NOWHERE, "position": {"x": 1e300, "y": 0.0, "z": 0.0}}


@pytest.mark.parametrize("nowhere", [NOWHERE, NOWHERE_FINITE])
@pytest.mark.parametrize("folder", ["lidar", "camera/front_camera", "camera/left_camera"])
def test_a_pose_that_is_none_is_taken_from_those_around_it(
    broken_drive: Path, tmp_path: Path, folder: str, nowhere: Any
) -> None:
    whole = imported(broken_drive, tmp_path / "whole")[2]
    path = broken_drive / folder / "poses.json"
    poses = json.loads(path.read_text())
    poses[1] = nowhere
    path.write_text(json.dumps(poses))
    _, (fault,), bag = imported(broken_drive, tmp_path)
    assert fault.harmless and fault.place == str(path) and "frame 1" in fault.line
    assert counts(bag) == counts(whole)
    trees = [TransformTree(), TransformTree()]
    for tree, each in zip(trees, (whole, bag), strict=True):
        with BagSource(each) as source:
            for entry in source.messages([topics.TF, topics.TF_STATIC]):
                for item in decode_transforms(entry.message()):
                    tree.add(item.parent, item.child, item.stamp, item.matrix, entry.topic == topics.TF_STATIC)
            stamps = [entry.stamp for entry in source.messages([topics.ODOMETRY])]
    for stamp in stamps:
        before, after = (tree.lookup("odom", "CAM_BACK_LEFT", stamp) for tree in trees)
        np.testing.assert_allclose(before, after, atol=0.05)


@pytest.mark.parametrize(
    ("file", "damage", "told"),
    [
        ("lidar/poses.json", Path.unlink, "complete"),
        ("lidar/poses.json", _text('{"position": 1}'), "position"),
        ("lidar/poses.json", _text(json.dumps([NOWHERE] * 4)), "not finite"),
        ("lidar/timestamps.json", _text("[1.0]"), "stamps"),
        ("lidar/timestamps.json", _text("[1.0, 2.0, 2.0, 3.0]"), "do not rise"),
        ("lidar/timestamps.json", _text("[-4.0, -3.0, -2.0, -1.0]"), "no seconds since 1970"),
        ("lidar/timestamps.json", _text("[1.5e18, 1.6e18, 1.7e18, 1.8e18]"), "no seconds since 1970"),
    ],
)
def test_without_the_vehicles_poses_there_is_no_import(
    broken_drive: Path, tmp_path: Path, file: str, damage: Callable[[Path], None], told: str
) -> None:
    damage(broken_drive / file)
    with pytest.raises(ConfigurationError, match=told) as caught:
        import_pandaset(broken_drive, tmp_path / "drive.mcap")
    assert str(broken_drive / "lidar") in str(caught.value)
    assert not (tmp_path / "drive.mcap").exists()


def _lose_frame(folder: Path, frame: int) -> None:
    for path in folder.rglob(f"{frame:02d}.*"):
        path.write_bytes(b"")


def test_a_frame_of_which_nothing_is_left_is_named(broken_drive: Path, tmp_path: Path) -> None:
    _lose_frame(broken_drive, 2)
    summary, faults, bag = imported(broken_drive, tmp_path)
    assert summary["frames_lost"] == 1 and counts(bag)[topics.POINTS] == FRAMES - 1
    assert len(faults) == 6 + 1 + 1 + 1
    assert "nothing of frame 2 could be used" in faults[-1].line and faults[-1].place == str(broken_drive)


def test_an_import_of_nothing_is_an_error_and_leaves_no_bag(broken_drive: Path, tmp_path: Path) -> None:
    for frame in range(FRAMES):
        _lose_frame(broken_drive, frame)
    out = tmp_path / "drive.mcap"
    out.write_bytes(b"precious")
    with pytest.raises(ConfigurationError, match="nothing could be imported") as caught:
        import_pandaset(broken_drive, out, overwrite=True)
    assert "frame 0" in str(caught.value) and "\n" not in str(caught.value)
    assert out.read_bytes() == b"precious"
