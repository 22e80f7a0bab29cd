"""Events on their way to a disk that is slow, full, vanished, or fine."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.bags import mcap_writer
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.decode import decode_compressed_image
from semlt3d_ros.messages.typestore import deserialize, serialize
from semlt3d_ros.recording import writer as writer_module
from semlt3d_ros.recording.blurring import load_blur
from semlt3d_ros.recording.draft import EventDraft
from semlt3d_ros.recording.event import Event, events_of, set_protected
from semlt3d_ros.recording.places import read_places
from semlt3d_ros.recording.ring import Entry

IMAGE = topics.camera_image_topic("CAM_FRONT")


def record(writer: Any, entries: list[Entry], name: str = "it", worth: float = 1.0) -> None:
    """An event, half of it from before its trigger."""
    half = len(entries) // 2
    assert writer.begin(name, (name,), worth, entries[:half])
    for entry in entries[half:]:
        assert writer.write(entry)
    writer.end()


def payload(event: Event) -> list[tuple[str, int, bytes]]:
    with BagSource(event.folder) as source:
        found = [(message.topic, message.stamp, bytes(message.data)) for message in source.messages()]
        assert not source.truncated
    return found


def whole_events(tmp_path: Path) -> list[Event]:
    events, faults = events_of(tmp_path / "events")
    assert faults == []
    for event in events:
        assert payload(event)
    return events


def test_an_event_is_a_bag_with_what_is_known_of_it(
    make_writer: Any, entries: Any, recording: Any, tmp_path: Path
) -> None:
    writer, messages = make_writer(), entries(0, 5)
    stamp = messages[-1].stamp
    found = encode.encode_long_tail(detections(stamp), topics.BASE_FRAME)
    messages.append(Entry(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, stamp, stamp, bytes(found)))
    record(writer, messages, "rare", 3.0)
    assert writer.close(20)
    (event,) = whole_events(tmp_path)
    assert (event.name, event.triggers, event.worth, event.model_version) == ("rare", ("rare",), 3.0, "city@12")
    assert (event.first_ns, event.last_ns) == (messages[0].stamp, stamp)
    assert sorted(payload(event)) == sorted((entry.topic, entry.stamp, entry.data) for entry in messages)
    assert (event.folder / "metadata.yaml").is_file() and [path.suffix for path in event.folder.glob("*.mcap")]
    report = writer.report()
    assert (report.events, report.lost_events, report.problem, report.queued_bytes) == (1, 0, "", 0)
    assert report.room is not None and report.room.events == (event,)


def detections(stamp: int) -> Any:
    from semlt3d_ros.core.boxes import Boxes3D
    from semlt3d_ros.core.detections import Detections

    boxes = Boxes3D(np.ones((1, 3)), np.ones((1, 3)), np.zeros(1), np.zeros((1, 2)))
    return Detections(stamp, boxes, np.full((1, 2), 0.5, np.float32), ("car", "dog"), model_version="city@12")


def test_of_an_event_that_is_dropped_nothing_is_left(make_writer: Any, entries: Any, tmp_path: Path) -> None:
    writer = make_writer()
    assert writer.begin("none", ("none",), 1.0, entries(0, 2))
    writer.drop()
    record(writer, entries(0, 2))
    assert writer.close(20)
    assert [event.name for event in whole_events(tmp_path)] == ["it"]
    assert (writer.report().events, writer.report().lost_events) == (1, 0)
    assert {path.name for path in (tmp_path / "events").iterdir() if path.is_dir()} == {"it"}


def test_names_that_are_taken_get_a_number(make_writer: Any, entries: Any, tmp_path: Path) -> None:
    writer = make_writer()
    for _ in range(2):
        record(writer, entries(0, 2))
        wait_for(lambda: writer.report().queued_bytes == 0)
    record(writer, entries(0, 2))
    writer.close(20)
    assert sorted(event.name for event in whole_events(tmp_path)) == ["it", "it-2", "it-3"]


def wait_for(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("that did not happen within 20 s")


def test_what_is_worth_least_goes_first_and_protected_events_never(
    make_event: Any, make_writer: Any, entries: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_LOOK_BYTES", 1000)
    week = 7 * 86400.0
    kept = set_protected(make_event("protected", age_s=9 * week, worth=0.1), True)
    make_event("old", age_s=4 * week, worth=3.0)  # worth 0.75 now
    make_event("cheap", age_s=0, worth=0.5)
    make_event("good", age_s=week, worth=5.0)
    size = kept.byte_count
    now = make_event("new", age_s=0, worth=1.0).last_ns
    messages = entries(0, 2)
    new = sum(entry.size for entry in messages) + 1000
    writer = make_writer(max_bytes=int(3.5 * size) + new, now=lambda: now)
    record(writer, messages, "it")
    writer.close(20)
    assert {event.name for event in whole_events(tmp_path)} == {"protected", "good", "new", "it"}
    assert writer.report().deleted == 2


def test_where_there_is_no_room_nothing_is_deleted_in_vain(
    make_event: Any, make_writer: Any, entries: Any, tmp_path: Path
) -> None:
    protected, other = set_protected(make_event("protected"), True), make_event("other")
    writer = make_writer(max_bytes=protected.byte_count + other.byte_count)
    record(writer, entries(0, 2))
    wait_for(lambda: writer.report().lost_events == 1)
    assert "unprotect" in writer.report().problem
    assert {event.name for event in whole_events(tmp_path)} == {"protected", "other"}


def test_others_may_fill_the_disk_and_no_event_goes_for_it(
    make_event: Any, make_writer: Any, entries: Any, tmp_path: Path
) -> None:
    make_event("other")
    writer = make_writer(keep_free_bytes=1 << 60)
    record(writer, entries(0, 2))
    writer.close(20)
    assert "make room" in writer.report().problem and writer.report().lost_events == 1
    assert {event.name for event in whole_events(tmp_path)} == {"other"}


def test_an_event_that_outgrows_the_room_ends_early_and_is_whole(
    make_writer: Any, entries: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = entries(0, 150)
    size = sum(entry.size for entry in messages)
    monkeypatch.setattr(writer_module, "_LOOK_BYTES", size // 5)
    monkeypatch.setattr(mcap_writer, "_CHUNK_BYTES", 1000)
    writer = make_writer(max_bytes=size // 2)
    writer.begin("it", ("it",), 1.0, messages[:2])
    for entry in messages[2:]:
        writer.write(entry)
    writer.end()
    writer.close(20)
    (event,) = whole_events(tmp_path)
    assert "protected" in event.cut and 0 < event.byte_count < size
    assert writer.report().problem == event.cut


def test_a_slow_disk_loses_what_does_not_fit_in_the_queue_and_nobody_waits(
    make_writer: Any, entries: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, write = threading.Event(), EventDraft.write

    def stuck(self: EventDraft, *message: Any) -> None:
        go_on.wait(20)
        write(self, *message)

    monkeypatch.setattr(EventDraft, "write", stuck)
    messages = entries(0, 20)
    writer = make_writer(queue_bytes=sum(entry.size for entry in messages[:10]))
    assert writer.begin("it", ("it",), 1.0, messages[:3])
    taken = [writer.write(entry) for entry in messages[3:]]
    assert taken[:5] == [True] * 5 and not all(taken)
    writer.end(lost=taken.count(False))
    assert writer.begin("second", ("it",), 1.0, messages[:3])
    writer.end()
    assert not writer.begin("third", ("it",), 1.0, messages[:3])
    report = writer.report()
    assert report.lost_events == 1 and report.queued_bytes > 0
    assert {fault.reason for fault in report.faults} == {"slow_disk"}
    go_on.set()
    assert writer.close(20)
    first, second = sorted(whole_events(tmp_path), key=lambda event: event.name)
    assert (first.name, first.lost, second.name) == ("it", taken.count(False), "second")
    assert len(payload(first)) == 3 + taken.count(True)


def test_a_hung_disk_does_not_keep_the_recorder_from_ending(
    make_writer: Any, entries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(EventDraft, "write", lambda *_: go_on.wait(20))
    writer = make_writer()
    record(writer, entries(0, 2))
    wait_for(lambda: writer.report().busy_s > 0.05)
    assert not writer.close(0.1)
    go_on.set()
    assert writer.close(20)


@pytest.mark.parametrize("new_topics", [(), ("/another",)])
def test_a_folder_that_vanishes_is_not_made_anew_and_used_again_when_it_is_back(
    make_writer: Any, entries: Any, tmp_path: Path, new_topics: tuple[str, ...]
) -> None:
    writer, messages = make_writer(), entries(0, 3)
    assert writer.begin("it", ("it",), 1.0, messages)
    wait_for(lambda: writer.report().message_bytes == sum(len(entry.data) for entry in messages))
    shutil.rmtree(tmp_path / "events")
    for topic in new_topics:
        writer.write(messages[-1]._replace(topic=topic))
    writer.end()
    writer.remember("map 50 0 0")
    wait_for(lambda: "has vanished" in writer.report().problem)
    record(writer, messages, "second")
    wait_for(lambda: writer.report().lost_events == 2)
    assert not (tmp_path / "events").exists()
    assert "vanished" in {fault.reason for fault in writer.report().faults}
    (tmp_path / "events").mkdir()
    wait_for(lambda: writer.report().problem == "")
    record(writer, messages, "third")
    writer.remember("map 50 0 0")
    writer.close(20)
    assert [event.name for event in whole_events(tmp_path)] == ["third"]
    assert read_places(tmp_path / "events") == ["map 50 0 0"]
    assert writer.report().problem == ""


# A disk that is full


class Disk:
    """Counts what is asked of the disk below a folder, and refuses what comes at ``number``, or from it on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count, self.number, self.lasting = str(folder), 0, -1, False

    def ask(self, place: object) -> None:
        if isinstance(place, int) or str(place).startswith(self.folder):
            self.count += 1
            if self.count == self.number or (self.lasting and 0 < self.number <= self.count):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))

    @contextmanager
    def watched(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("fsync", "replace", "rename", "mkdir"):
                patch.setattr(os, name, self._asking(getattr(os, name)))
            patch.setattr(Path, "open", self._opening(Path.open))
            yield

    def _asking(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def asked(place: Any, *more: Any, **options: Any) -> Any:
            self.ask(place)
            return real(place, *more, **options)

        return asked

    def _opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
            file = real(path, mode, *more, **options)
            return _Asking(file, self, path) if set(mode) & set("wa+") else file

        return opened


class _Asking:
    """A file whose writing asks the disk; a text once, since YAML comes in hundreds of pieces."""

    def __init__(self, file: Any, disk: Disk, path: Path) -> None:
        self._file, self._disk, self._path = file, disk, path
        self._asked = False

    def write(self, data: Any) -> Any:
        if not (self._asked and isinstance(data, str)):
            self._disk.ask(self._path)
        self._asked = True
        return self._file.write(data)

    def __enter__(self) -> _Asking:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize("lasting", [False, True])
def test_a_disk_that_is_full_at_any_write_costs_one_event_and_nothing_that_was_finished(
    make_event: Any, make_writer: Any, entries: Any, tmp_path: Path, lasting: bool
) -> None:
    make_event("finished")
    before = {path: path.read_bytes() for path in (tmp_path / "events").rglob("*") if path.is_file()}
    disk, messages = Disk(tmp_path / "events"), entries(0, 3)

    def drive(number: int) -> Any:
        disk.count, disk.number, disk.lasting = 0, number, lasting
        writer = make_writer()
        with disk.watched():
            record(writer, messages)
            assert writer.close(20)
        return writer.report()

    assert drive(-1).events == 1
    asked = disk.count
    assert asked > 10
    for number in range(1, asked + 1):
        report = drive(number)
        events = whole_events(tmp_path)
        assert report.events + report.lost_events == 1
        assert "finished" in {event.name for event in events}
        assert all(path.read_bytes() == content for path, content in before.items())
        for event in events:
            if event.name != "finished":
                shutil.rmtree(event.folder)
        if report.lost_events:
            assert "make room on the disk" in report.problem
        assert [path.name for path in (tmp_path / "events").glob("[!.]*")] == ["finished"]


@pytest.mark.parametrize("size", [0, 100, 3000, 20_000, 30_000])
def test_a_file_that_may_not_grow_further_costs_one_event(
    make_writer: Any, entries: Any, tmp_path: Path, disk_of: Any, size: int
) -> None:
    writer, messages = make_writer(), entries(0, 20)
    assert sum(len(entry.data) for entry in messages) > 50_000
    with disk_of(size):
        record(writer, messages)
        wait_for(lambda: writer.report().lost_events == 1)
    assert "make room on the disk" in writer.report().problem
    record(writer, messages, "next")
    writer.close(20)
    assert [event.name for event in whole_events(tmp_path)] == ["next"]
    assert writer.report().problem == ""


# Blurring


def grey(image: Any, topic: str) -> Any:
    image[:] = 128
    return image if topic == IMAGE else None


def broken(image: Any, topic: str) -> Any:
    raise RuntimeError("no network for faces")


def smaller(image: Any, topic: str) -> Any:
    return image[:10]


def test_images_are_blurred_before_they_are_written(make_writer: Any, entries: Any, tmp_path: Path) -> None:
    writer, messages = make_writer(blur=grey), entries(0, 2)
    raw = deserialize(next(entry.data for entry in messages if entry.topic == IMAGE), topics.COMPRESSED_IMAGE_TYPE)
    plain = encode.encode_image(decode_compressed_image(raw), messages[-1].stamp, "CAM_FRONT")
    messages.append(
        messages[-1]._replace(
            topic=IMAGE + "/raw", type_name=topics.IMAGE_TYPE, data=serialize(plain, topics.IMAGE_TYPE)
        )
    )
    record(writer, messages)
    writer.close(20)
    (event,) = whole_events(tmp_path)
    before = {(entry.topic, entry.stamp): entry.data for entry in messages}
    for topic, stamp, data in payload(event):
        if topic == IMAGE:
            message = deserialize(data, topics.COMPRESSED_IMAGE_TYPE)
            assert np.abs(decode_compressed_image(message).astype(int) - 128).max() <= 1
            assert message.header.frame_id == "CAM_FRONT"
        else:
            assert data == before[topic, stamp]


@pytest.mark.parametrize("blur", [broken, smaller])
def test_what_could_not_be_blurred_is_not_written(make_writer: Any, entries: Any, tmp_path: Path, blur: Any) -> None:
    writer = make_writer(blur=blur)
    record(writer, entries(0, 2))
    writer.close(20)
    (event,) = whole_events(tmp_path)
    assert {topic for topic, _, _ in payload(event)} == {
        topics.TF,
        topics.TF_STATIC,
        *(topics.camera_info_topic(name) for name in ("CAM_FRONT", "CAM_BACK")),
    }
    assert {(fault.reason, fault.count) for fault in writer.report().faults} == {("blur", 2)}


def test_the_hook_is_found_by_name() -> None:
    assert load_blur("os.path:join") is os.path.join
    for name, says in (
        ("no_such_module:x", "ModuleNotFoundError"),
        ("os.path:no", "AttributeError"),
        ("os:name", "no function"),
    ):
        with pytest.raises(Exception, match=says):
            load_blur(name)


def test_two_recorders_do_not_share_a_folder(make_writer: Any, tmp_path: Path) -> None:
    first = make_writer()
    with pytest.raises(ConfigurationError, match="another recorder writes to"):
        make_writer()
    assert first.close(20)
    make_writer()


def test_a_folder_that_cannot_be_made_is_told(make_writer: Any, tmp_path: Path) -> None:
    (tmp_path / "events").write_text("a file")
    with pytest.raises(ConfigurationError, match="events cannot be written to"):
        make_writer()
