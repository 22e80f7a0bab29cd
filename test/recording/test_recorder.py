"""Which messages belong to which event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.recording.recorder import CLOCK_JUMP, Recorder, Spans
from semlt3d_ros.recording.ring import Entry, Ring
from semlt3d_ros.recording.watching import Firing

SECOND = 1_000_000_000
NOON = 1_700_000_000 * SECOND


@dataclass
class Written:
    name: str
    triggers: tuple[str, ...]
    worth: float
    entries: list[Entry]
    lost: int = 0
    cut: str | None = None


@dataclass
class Shelf:
    """A writer that keeps events in memory; ``room`` is how many messages it takes."""

    events: list[Written] = field(default_factory=list)
    room: int = 1 << 30

    def begin(self, name: str, triggers: Sequence[str], worth: float, entries: Sequence[Entry]) -> bool:
        self.events.append(Written(name, tuple(triggers), worth, list(entries)))
        return True

    def write(self, entry: Entry) -> bool:
        self.room -= 1
        if self.room >= 0:
            self.events[-1].entries.append(entry)
        return self.room >= 0

    def update(self, triggers: Sequence[str], worth: float) -> None:
        self.events[-1].triggers, self.events[-1].worth = tuple(triggers), worth

    def end(self, lost: int = 0, cut: str = "") -> None:
        assert self.events[-1].cut is None
        self.events[-1].lost, self.events[-1].cut = lost, cut

    def drop(self) -> None:
        assert self.events.pop().cut is None


class Drive:
    """A message every second, 0, 1, 2 ..., and triggers in between."""

    def __init__(self, pre: float = 3.0, post: float = 2.0, longest: float = 60.0, room: int = 1 << 30) -> None:
        self.shelf = Shelf(room=room)
        self.ring = Ring(pre, 1 << 30, frozenset({"/tf_static"}), frozenset({"/info"}))
        self.recorder = Recorder(self.ring, self.shelf, Spans(pre, post, longest))

    def goes(self, until: int, *fires: tuple[int, str], jump: tuple[int, int] = (1 << 60, 0)) -> list[list[int]]:
        """What each event holds; ``jump`` is (from which second, by how many) the clock is set."""
        for second in range(until):
            stamp = NOON + SECOND * (second + (jump[1] if second >= jump[0] else 0))
            self.recorder.add("/n", "std_msgs/msg/String", str(second).encode(), stamp, second * SECOND)
            firings = [Firing(name, 1.0 + len(name)) for at, name in fires if at == second]
            self.recorder.fire(firings, stamp, second * SECOND)
        self.recorder.close()
        return [[int(entry.data) for entry in event.entries if entry.topic == "/n"] for event in self.shelf.events]


def test_an_event_reaches_from_its_pre_roll_to_its_post_roll() -> None:
    drive = Drive()
    assert drive.goes(20, (10, "rare")) == [[7, 8, 9, 10, 11, 12]]
    (event,) = drive.shelf.events
    assert (event.name, event.triggers, event.worth, event.cut) == ("20231114T221330Z-rare", ("rare",), 5.0, "")


def test_at_the_beginning_there_is_no_more_than_there_is() -> None:
    assert Drive().goes(5, (0, "a")) == [[0, 1, 2]]


@pytest.mark.parametrize("second", [11, 12, 14, 15])
def test_what_overlaps_becomes_one_without_a_gap(second: int) -> None:
    """Up to 15: its pre-roll begins where the post-roll of the first ends."""
    drive = Drive()
    assert drive.goes(30, (10, "rare"), (second, "new_place")) == [list(range(7, second + 3))]
    assert drive.shelf.events[0].triggers == ("rare", "new_place")
    assert drive.shelf.events[0].worth == 1.0 + len("new_place")


def test_what_does_not_overlap_stays_apart() -> None:
    assert Drive().goes(30, (10, "a"), (16, "a")) == [list(range(7, 13)), list(range(13, 19))]


def test_what_goes_on_for_ever_is_cut_into_pieces_without_a_gap() -> None:
    drive = Drive(longest=10.0)
    pieces = drive.goes(40, *((second, "always") for second in range(40)))
    assert list(chain(*pieces)) == list(range(40))
    assert len(pieces) == 4 and all(len(piece) <= 13 for piece in pieces)
    assert {event.triggers for event in drive.shelf.events} == {("always",)}


def test_a_piece_that_nothing_has_come_for_is_none() -> None:
    drive = Drive(pre=0.0, longest=10.0)
    drive.recorder.add("/tf_static", "std_msgs/msg/String", b"mount", NOON, 0)
    for second in range(1, 12):
        drive.recorder.add("/n", "std_msgs/msg/String", b"1", NOON + SECOND * second, SECOND * second)
        drive.recorder.fire([Firing("always", 1.0)], NOON + SECOND * second, SECOND * second)
    drive.recorder.tick(NOON + SECOND * 11 + 1, SECOND * 11 + 1)
    assert [len(event.entries) for event in drive.shelf.events] == [12, 1], "the next piece holds the mounting alone"
    drive.recorder.close()
    assert [len(event.entries) for event in drive.shelf.events] == [12]


def test_a_piece_bears_the_names_of_what_still_goes_on() -> None:
    drive = Drive(longest=10.0)
    drive.goes(30, (5, "first"), *((second, "always") for second in range(6, 20)))
    assert [event.triggers for event in drive.shelf.events] == [("first", "always"), ("always",)]


def test_calibration_comes_first_however_old_it_is() -> None:
    drive = Drive()
    for topic, data in (("/tf_static", b"mount"), ("/info", b"old"), ("/info", b"new")):
        drive.recorder.add(topic, "std_msgs/msg/String", data, NOON - 100 * SECOND, 0)
    drive.recorder.tick(NOON, 100 * SECOND)
    drive.recorder.add("/n", "std_msgs/msg/String", b"1", NOON + SECOND, 101 * SECOND)
    drive.recorder.fire([Firing("a", 1.0)], NOON + SECOND, 101 * SECOND)
    (event,) = drive.shelf.events
    assert [entry.data for entry in event.entries] == [b"mount", b"new", b"1"]
    assert {entry.stamp for entry in event.entries} == {NOON + SECOND}


@pytest.mark.parametrize("by", [-3600, 3600, 5])
def test_a_clock_that_is_set_parts_an_event(by: int) -> None:
    drive = Drive()
    assert drive.goes(30, (10, "a"), (12, "a"), jump=(12, by)) == [list(range(7, 12)), [12, 13, 14]]
    assert [event.cut for event in drive.shelf.events] == [CLOCK_JUMP, ""]
    assert drive.recorder.jumps == 1
    for event in drive.shelf.events:
        stamps = [entry.stamp for entry in event.entries]
        assert stamps == sorted(stamps) and stamps[-1] - stamps[0] < 10 * SECOND


def test_a_pause_without_messages_is_no_jump() -> None:
    drive = Drive()
    drive.recorder.add("/n", "std_msgs/msg/String", b"1", NOON, 0)
    drive.recorder.add("/n", "std_msgs/msg/String", b"1", NOON + 9000 * SECOND, 9000 * SECOND)
    assert drive.recorder.jumps == 0


def test_what_the_writer_does_not_take_is_counted() -> None:
    drive = Drive(room=1)
    assert drive.goes(20, (10, "a")) == [[7, 8, 9, 10, 11]]
    assert (drive.recorder.lost, drive.shelf.events[0].lost) == (1, 1)


def test_an_event_ends_also_where_no_message_comes() -> None:
    drive = Drive()
    drive.recorder.add("/n", "std_msgs/msg/String", b"1", NOON, 0)
    drive.recorder.fire([Firing("a", 1.0)], NOON, 0)
    drive.recorder.tick(NOON + 5 * SECOND, 5 * SECOND)
    assert drive.recorder.is_recording
    drive.recorder.tick(NOON + 6 * SECOND, 6 * SECOND)
    assert not drive.recorder.is_recording and drive.shelf.events[0].cut == ""


@given(
    fires=st.lists(st.tuples(st.integers(0, 59), st.sampled_from("abc")), max_size=12),
    pre=st.integers(0, 5),
    post=st.integers(0, 5),
    more=st.integers(1, 20),
)
def test_nothing_wanted_is_lacking_and_nothing_is_there_twice(
    fires: list[tuple[int, str]], pre: int, post: int, more: int
) -> None:
    events = Drive(pre, post, pre + post + more).goes(60, *fires)
    everything = list(chain(*events))
    assert everything == sorted(set(everything))
    wanted = {second for at, _ in fires for second in range(max(at - pre, 0), min(at + post, 59) + 1)}
    assert wanted <= set(everything)
    between = {second for second in set(everything) - wanted}
    for second in between:  # only what fills a gap that two pre- and post-rolls leave within one event
        assert any(at + post < second for at, _ in fires) and any(at - pre > second for at, _ in fires)
    for event in events:
        assert event == list(range(event[0], event[0] + len(event)))


def test_spans_must_fit() -> None:
    with pytest.raises(ConfigurationError, match=r"longest_s 5\.0 is less than"):
        Spans(5.0, 5.0, 5.0)
