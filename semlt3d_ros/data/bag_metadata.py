"""``metadata.yaml`` of rosbag2's bag folders, version 9 (Jazzy)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.data.bag_topics import TopicRecord

METADATA_NAME = "metadata.yaml"
_SUFFIXES = (".mcap", ".db3")
_COMPRESSED = ".zstd"


def storage_files(folder: Path) -> list[Path]:
    """The storage files of a bag folder in their order, with or without a readable ``metadata.yaml``.

    Raises:
        ConfigurationError: the folder holds no bag.
    """
    present = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES or (path.suffix == _COMPRESSED and path.with_suffix("").suffix in _SUFFIXES)
    )
    if not present:
        raise ConfigurationError(f"{folder} is not a bag: it holds no {' or '.join(_SUFFIXES)} file")
    listed = [folder / Path(name).name for name in _listed_names(folder / METADATA_NAME)]
    # A recorder that was killed leaves files that its metadata does not list yet.
    return [*(path for path in listed if path in present), *(path for path in present if path not in listed)]


def write_metadata(
    folder: Path,
    storage: str,
    file_name: str,
    counts: Mapping[TopicRecord, int],
    span: tuple[int, int],
    compress: bool,
    finished: bool,
) -> None:
    """Write ``metadata.yaml`` in one step, so that a reader never sees half of it.

    Args:
        folder: the bag.
        storage: ``mcap`` or ``sqlite3``.
        file_name: the storage file.
        counts: messages per topic.
        span: log times of the first and last message.
        compress: messages are compressed one by one (sqlite3 only; mcap says so itself).
        finished: wait until the disk has it.
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
    temporary = folder / f".{METADATA_NAME}.new"
    with temporary.open("w", encoding="utf-8") as file:
        yaml.safe_dump({"rosbag2_bagfile_information": information}, file, sort_keys=False)
        if finished:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, folder / METADATA_NAME)


def _listed_names(path: Path) -> list[str]:
    try:
        content: Any = yaml.safe_load(path.read_text("utf-8"))
        return [str(name) for name in content["rosbag2_bagfile_information"]["relative_file_paths"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError):
        return []
