"""Bags of several files, of which some are missing, elsewhere, empty or damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages import topics

PARTS, EACH = 3, 5
KINDS = [("mcap", "mcap", False), ("sqlite3", "db3", False), ("mcap", "mcap", True), ("sqlite3", "db3", True)]


def data(index: int) -> bytes:
    return bytes([0, 1, 0, 0]) + index.to_bytes(4, "little") * 50


def part_of(folder: Path, number: int) -> Path:
    return next(path for path in folder.iterdir() if f"_{number}." in path.name)


def read(path: Path) -> tuple[list[int], list[str], bool]:
    """Stamps of the messages, lines of what is missing, whether the bag is incomplete."""
    with BagSource(path) as bag:
        stamps = [message.stamp for message in bag.messages()]
        return stamps, [fault.line for fault in bag.faults if not fault.harmless], bag.truncated


def without(part: int) -> list[int]:
    return [stamp for stamp in range(PARTS * EACH) if stamp // EACH != part]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}{'-zstd' if kind[2] else ''}")
def split(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    """``split(names=...)``: a bag of three files with five messages each; ``names`` is what the metadata calls them."""
    storage, suffix, packed = request.param

    def make(names: Callable[[Path], str] = lambda path: path.name) -> Path:
        folder = tmp_path / "drive"
        folder.mkdir()
        for number in range(PARTS):
            with BagSink(tmp_path / "part", storage, overwrite=True) as sink:
                for index in range(number * EACH, (number + 1) * EACH):
                    sink.write("/t", topics.TF_TYPE, data(index), index)
            file = folder / f"drive_{number}.{suffix}"
            shutil.move(tmp_path / "part" / f"part_0.{suffix}", file)
            if packed:
                file.with_name(file.name + ".zstd").write_bytes(zstandard.compress(file.read_bytes()))
                file.unlink()
        metadata = yaml.safe_load((tmp_path / "part" / "metadata.yaml").read_text())
        information: dict[str, Any] = metadata["rosbag2_bagfile_information"]
        information["relative_file_paths"] = [names(path) for path in sorted(folder.iterdir())]
        information["message_count"] = PARTS * EACH
        (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
        return folder

    return make


@pytest.mark.parametrize(
    "names",
    [
        lambda path: path.name,
        lambda path: f"/home/robot/bags/{path.parent.name}/{path.name}",
        lambda path: f"{path.parent.name}/{path.name}",
        lambda path: f"./{path.name}",
        lambda path: f"C:\\bags\\drive\\{path.name}",
        lambda path: path.name.removesuffix(".zstd"),
    ],
)
def test_a_whole_bag_is_whole_whatever_its_metadata_calls_its_files(split: Any, names: Callable[[Path], str]) -> None:
    assert read(split(names)) == (list(range(PARTS * EACH)), [], False)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("names", [lambda path: path.name, lambda path: f"/elsewhere/{path.name}"])
def test_a_missing_file_is_named_and_the_others_are_read(split: Any, part: int, names: Callable[[Path], str]) -> None:
    folder = split(names)
    file = part_of(folder, part)
    file.unlink()
    stamps, (line,), incomplete = read(folder)
    assert stamps == without(part) and incomplete
    assert names(file) in line and "5 of the bag's 15 messages" in line and str(folder) in line


def test_a_gap_in_the_numbers_is_named_without_metadata_too(split: Any) -> None:
    folder = split()
    (folder / "metadata.yaml").unlink()
    assert read(folder) == (list(range(PARTS * EACH)), [], False)
    part_of(folder, 1).unlink()
    stamps, (line,), incomplete = read(folder)
    assert stamps == without(1) and incomplete
    assert line.startswith("drive_1.") and "missing" in line


@pytest.mark.parametrize("content", [b"", b"\x89MC", b"no bag at all" * 400])
@pytest.mark.parametrize("part", [0, 2])
def test_a_file_that_cannot_be_read_does_not_take_the_others_along(split: Any, part: int, content: bytes) -> None:
    folder = split()
    file = part_of(folder, part)
    file.write_bytes(content)
    stamps, lines, incomplete = read(folder)
    assert stamps == without(part) and incomplete
    assert str(file) in lines[0] and "semlt3d_bag_" not in "".join(lines)
    assert "15 messages" in lines[1] and "10 are there" in lines[1]


def test_a_bag_of_which_nothing_can_be_read_is_refused(split: Any) -> None:
    folder = split()
    for number in range(PARTS):
        part_of(folder, number).write_bytes(b"")
    with pytest.raises(ConfigurationError, match="drive_2"):
        BagSource(folder)
    for number in range(PARTS):
        part_of(folder, number).unlink()
    with pytest.raises(ConfigurationError, match=r"drive_0\.[^ ]+, drive_1\.[^ ]+, drive_2"):
        BagSource(folder)


def test_fewer_messages_than_the_metadata_counts_are_told(split: Any) -> None:
    folder = split()
    file = folder / "metadata.yaml"
    file.write_text(file.read_text().replace("message_count: 15", "message_count: 20"))
    stamps, (line,), incomplete = read(folder)
    assert len(stamps) == 15 and incomplete
    assert "20 messages, 15 are there" in line
    # A recorder that was killed has written more than its metadata knows.
    file.write_text(file.read_text().replace("message_count: 20", "message_count: 3"))
    assert read(folder) == (list(range(PARTS * EACH)), [], False)


def test_an_unpacked_file_beside_its_compressed_one_is_read_once(split: Any) -> None:
    folder = split()
    for number in range(PARTS):
        file = part_of(folder, number)
        if file.suffix == ".zstd":
            with zstandard.open(file, "rb") as packed:
                file.with_suffix("").write_bytes(packed.read())
    assert read(folder) == (list(range(PARTS * EACH)), [], False)


def test_files_in_folders_below_are_found(split: Any) -> None:
    folder = split(lambda path: f"more/{path.name}")
    (folder / "more").mkdir()
    for number in range(PARTS):
        file = part_of(folder, number)
        file.rename(folder / "more" / file.name)
    assert read(folder) == (list(range(PARTS * EACH)), [], False)


@pytest.mark.parametrize("names", [[""], [".."], ["\x00"], ["metadata.yaml"], [17, None]])
def test_names_that_are_none_do_no_harm(tmp_path: Path, names: list[Any]) -> None:
    with BagSink(tmp_path / "bag") as sink:
        sink.write("/t", topics.TF_TYPE, data(0), 0)
    file = tmp_path / "bag" / "metadata.yaml"
    metadata = yaml.safe_load(file.read_text())
    metadata["rosbag2_bagfile_information"]["relative_file_paths"] = names
    file.write_text(yaml.safe_dump(metadata))
    stamps, lines, _ = read(tmp_path / "bag")
    assert stamps == [0] and len(lines) == len(names)


@pytest.mark.parametrize("kind", KINDS[:2], ids=lambda kind: kind[0])
def test_a_cut_off_file_is_named_with_its_size(tmp_path: Path, kind: tuple[str, str, bool]) -> None:
    storage, suffix, _ = kind
    with BagSink(tmp_path / "bag", storage, compress=False) as sink:  # type: ignore[arg-type]
        for index in range(200):
            sink.write("/t", topics.TF_TYPE, data(index), index)
    file = tmp_path / "bag" / f"bag_0.{suffix}"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2 // 4096 * 4096])
    stamps, lines, incomplete = read(tmp_path / "bag")
    assert 0 < len(stamps) < 200 and incomplete
    counted, cut = lines
    assert cut.startswith(f"{file}: ") and "copy it again" in cut
    assert "200 messages" in counted


@pytest.mark.parametrize("kind", KINDS[:2], ids=lambda kind: kind[0])
def test_a_topic_of_two_types_has_both(tmp_path: Path, kind: tuple[str, str, bool]) -> None:
    storage, suffix, _ = kind
    folder = tmp_path / "bag"
    for number, type_name in enumerate((topics.COMPRESSED_IMAGE_TYPE, topics.IMAGE_TYPE)):
        with BagSink(tmp_path / f"part{number}", storage) as sink:  # type: ignore[arg-type]
            sink.write("/image", type_name, data(number), number)
            sink.write("/tf", topics.TF_TYPE, data(number), number)
        folder.mkdir(exist_ok=True)
        shutil.move(tmp_path / f"part{number}" / f"part{number}_0.{suffix}", folder / f"bag_{number}.{suffix}")
    with BagSource(folder) as bag:
        assert bag.topics == {"/image": topics.COMPRESSED_IMAGE_TYPE, "/tf": topics.TF_TYPE}
        assert bag.types == {"/image": (topics.COMPRESSED_IMAGE_TYPE, topics.IMAGE_TYPE), "/tf": (topics.TF_TYPE,)}
        assert [message.type_name for message in bag.messages(["/image"])] == list(bag.types["/image"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2",
        "[" * 5000,
        "a: 2024-13-45",
        "rosbag2_bagfile_information: [1]",
        "rosbag2_bagfile_information: {relative_file_paths: drive_0.mcap}",
        "rosbag2_bagfile_information: {relative_file_paths: null, message_count: 3}",
        "rosbag2_bagfile_information: &loop {relative_file_paths: *loop}",
        "rosbag2_bagfile_information: !!python/object/apply:os.system [exit]",
        b"\xff\x00",
    ],
)
def test_metadata_that_cannot_be_read_is_told_and_costs_nothing(tmp_path: Path, text: str | bytes) -> None:
    with BagSink(tmp_path / "bag") as sink:
        sink.write("/t", topics.TF_TYPE, data(0), 0)
    metadata = tmp_path / "bag" / "metadata.yaml"
    metadata.write_bytes(text if isinstance(text, bytes) else text.encode())
    with BagSource(tmp_path / "bag") as bag:
        assert [message.stamp for message in bag.messages()] == [0]
        (fault,) = bag.faults
        assert not bag.truncated
    assert (fault.place, fault.reason, fault.harmless) == (str(metadata), "metadata", True)
    assert "whether files are missing" in fault.line and len(fault.line.splitlines()) == 1


def test_metadata_without_a_name_for_any_file_system_is_read(split: Any) -> None:
    folder = split(lambda path: path.name if "_1." not in path.name else "x" * 300 + ".mcap")
    stamps, lines, _ = read(folder)
    assert stamps == list(range(PARTS * EACH)) and len(lines) == 1


def test_files_that_are_not_listed_are_read_and_told(split: Any) -> None:
    folder = split()
    stranger = part_of(folder, 1)
    shutil.copy(stranger, folder / stranger.name.replace("drive_1", "other"))
    with BagSource(folder) as bag:
        assert len(list(bag.messages())) == (PARTS + 1) * EACH
        (fault,) = bag.faults
    assert fault.harmless and "does not list other." in fault.line
