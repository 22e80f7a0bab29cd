"""PandaSet sequences with missing, damaged or hostile files: one clear line, nothing half-written."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.data.bags import BagSource
from semlt3d_ros.data.pandaset import import_pandaset
from semlt3d_ros.messages import topics

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


def _text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


@pytest.mark.parametrize(
    ("file", "damage", "told"),
    [
        ("lidar/01.pkl.gz", Path.unlink, "complete"),
        ("lidar/01.pkl.gz", _evil, "refused"),
        ("lidar/01.pkl.gz", _half, "download it again"),
        ("lidar/01.pkl.gz", _half_pickle, "download it again"),
        ("lidar/01.pkl.gz", _no_table, "expected a pandas DataFrame"),
        ("lidar/01.pkl.gz", _other_table, "no column 'y'"),
        ("lidar/01.pkl.gz", _words, "column 'x' does not hold numbers"),
        ("annotations/cuboids/01.pkl.gz", Path.unlink, "complete"),
        ("annotations/cuboids/01.pkl.gz", _evil, "refused"),
        ("camera/left_camera/02.jpg", Path.unlink, "complete"),
        ("camera/left_camera/02.jpg", _text("no image"), "not a JPEG"),
        ("camera/left_camera/intrinsics.json", Path.unlink, "complete"),
        ("camera/left_camera/intrinsics.json", _text('{"fx": 0, "fy": 1, "cx": 2, "cy": 3}'), "fx"),
        ("camera/left_camera/intrinsics.json", _text('{"fx": 1}'), "fy"),
        ("camera/left_camera/intrinsics.json", _text("[]"), "fx"),
        ("camera/left_camera/poses.json", _text("[{"), "not JSON"),
        ("camera/left_camera/poses.json", _text("[{}, {}]"), "position"),
        ("lidar/poses.json", Path.unlink, "complete"),
        ("lidar/poses.json", _text('{"position": 1}'), "position"),
        ("lidar/poses.json", _text(json.dumps([NOWHERE] * 4)), "not finite"),
        ("lidar/timestamps.json", _text("[1.0]"), "stamps"),
        ("lidar/timestamps.json", _text("[1.0, 2.0, 2.0, 3.0]"), "do not rise"),
    ],
)
def test_a_bad_file_is_named_in_one_line_and_leaves_no_bag(
    broken_drive: Path, tmp_path: Path, file: str, damage: Callable[[Path], None], told: str
) -> None:
    damage(broken_drive / file)
    out = tmp_path / "out" / "drive.mcap"
    with pytest.raises(ConfigurationError) as caught:
        import_pandaset(broken_drive, out)
    message = str(caught.value)
    assert str((broken_drive / file).parent) in message and told in message and "\n" not in message
    assert not out.parent.exists() or not list(out.parent.iterdir())
    assert not list(broken_drive.rglob("witness"))


def test_cameras_of_another_length_are_refused(broken_drive: Path, tmp_path: Path) -> None:
    for name in ("poses.json", "timestamps.json"):
        path = broken_drive / "camera" / "left_camera" / name
        path.write_text(json.dumps(json.loads(path.read_text())[:-1]))
    with pytest.raises(ConfigurationError, match=r"left_camera.*3 poses, the LiDAR has 4"):
        import_pandaset(broken_drive, tmp_path / "drive.mcap")


def test_a_folder_that_is_no_sequence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a PandaSet sequence"):
        import_pandaset(tmp_path, tmp_path / "drive.mcap")


@pytest.mark.parametrize(
    "frames", [slice(0, 5), slice(4, None), slice(2, 2), slice(-5, None), range(3, 6), range(-2, 0)]
)
def test_frames_that_are_not_there_are_refused(pandaset_drive: Any, tmp_path: Path, frames: slice | range) -> None:
    with pytest.raises(ConfigurationError, match="the sequence has frames 0:4"):
        import_pandaset(pandaset_drive.folder, tmp_path / "drive.mcap", frames)
    assert not list(tmp_path.iterdir())


def test_a_bag_is_replaced_only_when_told(pandaset_drive: Any, tmp_path: Path) -> None:
    out = tmp_path / "drive.mcap"
    out.write_bytes(b"precious")
    with pytest.raises(ConfigurationError, match="there already"):
        import_pandaset(pandaset_drive.folder, out, slice(0, 1))
    assert out.read_bytes() == b"precious"
    import_pandaset(pandaset_drive.folder, out, slice(0, 1), overwrite=True)
    with BagSource(out) as source:
        assert len(list(source.messages([topics.POINTS]))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["drive.mcap"]


def test_a_failed_replacement_leaves_the_old_bag(broken_drive: Path, tmp_path: Path) -> None:
    out = tmp_path / "drive.mcap"
    out.write_bytes(b"precious")
    (broken_drive / "lidar" / "03.pkl.gz").unlink()
    with pytest.raises(ConfigurationError):
        import_pandaset(broken_drive, out, overwrite=True)
    assert out.read_bytes() == b"precious"
