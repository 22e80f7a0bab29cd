"""PandaSet sequences as people have them: other packings, parts of the frames, folders that are none."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import zstandard

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.datasets.pandaset import import_pandaset
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_compressed_image

FRAMES = 4


def imported(folder: Path, tmp_path: Path) -> tuple[Any, list[Fault], Path]:
    """The summary, what was left out, and the bag."""
    faults, out = FaultLog(), tmp_path / "out" / "drive.mcap"
    return import_pandaset(folder, out, faults=faults), list(faults), out


def _renamed(suffix: str, pack: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = pack(gzip.decompress(path.read_bytes()))
        path.unlink()
        path.with_name(path.name.replace(".pkl.gz", suffix)).write_bytes(content)

    return change


def _zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("00.pkl", content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".pkl", lambda content: content),
        (".pkl.gz", lambda content: content),
        (".pkl", gzip.compress),
        (".pickle", lambda content: content),
        (".pkl.gz", lambda content: gzip.compress(gzip.compress(content))),
        (".pkl.xz", lzma.compress),
        (".pkl.bz2", bz2.compress),
        (".pkl.zip", _zipped),
        (".pkl.zst", zstandard.compress),
        (".pkl.gz", _zipped),
    ],
)
def test_tables_are_read_whatever_their_name_says(
    broken_drive: Path, tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    whole = imported(broken_drive, tmp_path / "whole")[2]
    for path in [*broken_drive.rglob("*.pkl.gz")]:
        _renamed(suffix, pack)(path)
    _, faults, bag = imported(broken_drive, tmp_path)
    assert faults == []
    with BagSource(whole) as one, BagSource(bag) as other:
        for before, after in zip(one.messages(), other.messages(), strict=True):
            assert (before.topic, bytes(before.data)) == (after.topic, bytes(after.data))


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG", ".png"])
@pytest.mark.parametrize("format", [".jpg", ".png"])
def test_images_are_read_whatever_their_name_says(broken_drive: Path, tmp_path: Path, suffix: str, format: str) -> None:
    for path in [*broken_drive.rglob("*.jpg")]:
        image = cv2.imread(str(path))
        path.unlink()
        path.with_suffix(suffix).write_bytes(cv2.imencode(format, image)[1].tobytes())
    summary, faults, bag = imported(broken_drive, tmp_path)
    assert (faults, summary["images"]) == ([], 6 * FRAMES)
    with BagSource(bag) as source:
        message = next(source.messages([topics.camera_image_topic("CAM_FRONT")])).message()
    assert message.format == {".jpg": "jpeg", ".png": "png"}[format]
    assert decode_compressed_image(message).shape == (36, 64, 3)


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
