"""``metadata.yaml`` of rosbag2's bag folders, version 9 (Jazzy)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from semlt3d_ros.bags.topics import TopicRecord
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import whole
from semlt3d_ros.core.yaml_file import yaml_value

METADATA_NAME = "metadata.yaml"
_SUFFIXES = (".mcap", ".db3")
_COMPRESSED = ".zstd"
_PART = re.compile(r"(?P<stem>.*)_(?P<number>\d+)")


@dataclass(frozen=True)
class BagFolder:
    """The storage files of a bag folder.

    Attributes:
        files: those that are there, in their order.
        missing: those that ``metadata.yaml`` lists and that are nowhere, by the names it gives them.
        gaps: without a list, the numbers that the files' own numbering leaves out.
        message_count: how many messages ``metadata.yaml`` counts; None where it does not say.
        unlisted: names of files that are there without being listed.
        unreadable: why ``metadata.yaml`` cannot be used; empty where it can, or there is none.
    """

    files: tuple[Path, ...]
    missing: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    message_count: int | None = None
    unlisted: tuple[str, ...] = ()
    unreadable: str = ""


def read_folder(folder: Path) -> BagFolder:
    """What a bag folder holds, and what it lacks, with or without a readable ``metadata.yaml``.

    Raises:
        ConfigurationError: the folder holds no bag.
    """
    present = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES or (path.suffix == _COMPRESSED and path.with_suffix("").suffix in _SUFFIXES)
    )
    try:
        names, count, unreadable = *_listed(folder / METADATA_NAME), ""
    except ConfigurationError as error:
        names, count, unreadable = [], None, str(error)
    listed = {name: _place(folder, name) for name in names}
    found = [path for path in dict.fromkeys(listed.values()) if path is not None]
    if not present and not found:
        lists = f"; {METADATA_NAME} lists {', '.join(names)}, copy them there" if names else ""
        raise ConfigurationError(f"{folder} is not a bag: it holds no {' or '.join(_SUFFIXES)} file{lists}")
    # A recorder that was killed leaves files that its metadata does not list yet. What was unpacked beside its
    # compressed file is the same once more.
    known = {_unpacked(path) for path in found}
    for path in present:
        if _unpacked(path) not in known:
            known.add(_unpacked(path))
            found.append(path)
    missing = tuple(name for name, path in listed.items() if path is None)
    unlisted = tuple(path.name for path in found if path not in listed.values()) if names else ()
    return BagFolder(tuple(found), missing, () if names else _gaps(found), count, unlisted, unreadable)


def files_of_bag(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files in a folder that are a bag's, and those of recordings that are no part of it.

    A bag's are those that ``metadata.yaml`` lists, and those that are numbered as these are or after the folder, as
    recorders do it.
    """
    try:
        listed = {re.split(r"[/\\]", name)[-1] for name in _listed(folder / METADATA_NAME)[0]}
    except ConfigurationError:
        listed = set()
    stems = {folder.name, *(_stem(name) for name in listed)}
    own, strange = list[Path](), list[Path]()
    for path in sorted(folder.iterdir()):
        if path.name == METADATA_NAME:
            own.append(path)
        elif any(suffix in path.suffixes[-2:] for suffix in _SUFFIXES) or ".db3-" in path.name:
            (own if path.name in listed or _stem(path.name) in stems else strange).append(path)
    return own, strange


def _stem(name: str) -> str:
    """What the files of one bag have in common: the name of each without number and suffixes."""
    return re.sub(r"(_\d+)?\.(db3|mcap).*", "", name)


def write_metadata(
    folder: Path,
    storage: str,
    file_name: str,
    counts: Mapping[TopicRecord, int],
    span: tuple[int, int],
    compress: bool,
) -> None:
    """Write ``metadata.yaml`` in one step, so that a reader never sees half of it.

    Args:
        folder: the bag.
        storage: ``mcap`` or ``sqlite3``.
        file_name: the storage file.
        counts: messages per topic.
        span: log times of the first and last message.
        compress: messages are compressed one by one (sqlite3 only; mcap says so itself).
    """
    begin = {"nanoseconds_since_epoch": span[0]}
    duration = {"nanoseconds": span[1] - span[0]}
    total = sum(counts.values())
    information = {
        "version": 9,
        "storage_identifier": storage,
        "duration": duration,
        "starting_time": begin,
        "message_count": total,
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.type_name,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": topic.qos,
                    "type_description_hash": topic.type_hash,
                },
                "message_count": count,
            }
            for topic, count in counts.items()
        ],
        "compression_format": "zstd" if compress else "",
        "compression_mode": "message" if compress else "",
        "relative_file_paths": [file_name],
        "files": [
            {"path": file_name, "starting_time": dict(begin), "duration": dict(duration), "message_count": total}
        ],
        "custom_data": None,
        "ros_distro": "jazzy",
    }
    with (
        whole(folder / METADATA_NAME, durable=False) as draft,
        draft.open("w", encoding="utf-8") as file,
    ):
        yaml.safe_dump({"rosbag2_bagfile_information": information}, file, sort_keys=False)


def _listed(path: Path) -> tuple[list[str], int | None]:
    """Names of the storage files and number of messages; nothing where there is no metadata.

    Raises:
        ConfigurationError: it cannot be read.
    """
    if not path.exists():
        return [], None
    try:
        values: Any = yaml_value(path.read_bytes().decode("utf-8"))
        information = values["rosbag2_bagfile_information"]
        names, count = information["relative_file_paths"], information.get("message_count")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot be read: {error}") from error
    except (KeyError, TypeError):
        names, count = None, None
    if not isinstance(names, list):
        raise ConfigurationError("has no list of files, rosbag2_bagfile_information: relative_file_paths")
    return [str(name) for name in names], count if isinstance(count, int) and count > 0 else None


def _place(folder: Path, name: str) -> Path | None:
    """Where a listed file is: bags are moved, and some recorders list absolute paths, or paths from elsewhere."""
    last = re.split(r"[/\\]", name)[-1]
    if not last:
        return None
    for path in (folder / last, folder / name):
        for form in (path, path.with_name(path.name + _COMPRESSED), _unpacked(path)):
            with suppress(OSError):  # a name too long for any file
                if form.suffix in (*_SUFFIXES, _COMPRESSED) and form.is_file():
                    return form
    return None


def _unpacked(path: Path) -> Path:
    return path.with_suffix("") if path.suffix == _COMPRESSED else path


def _gaps(files: list[Path]) -> tuple[str, ...]:
    """Names of files that lie between the lowest and the highest number of a split bag and are not there."""
    numbers: dict[tuple[str, str], set[int]] = {}
    for file in files:
        name, *suffixes = file.name.split(".", 1)
        if match := _PART.fullmatch(name):
            numbers.setdefault((match["stem"], ".".join(suffixes)), set()).add(int(match["number"]))
    return tuple(
        f"{stem}_{number}.{suffix}"
        for (stem, suffix), there in numbers.items()
        for number in range(min(there), max(there))
        if number not in there
    )
