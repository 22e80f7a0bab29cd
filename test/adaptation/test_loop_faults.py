"""What the loop meets on a vehicle: disks that are full, read-only or gone, clocks that are set, stamps that jump."""

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench.faults.disk import on_a_bad_disk
from bench.faults.rounds import fingerprint
from bench.small_robot import NAMES
from bench.steady_drive import with_stamp
from semlt3d_ros.adaptation import loop, status
from semlt3d_ros.adaptation.labels import read_labelled
from semlt3d_ros.adaptation.learning import CANDIDATE
from semlt3d_ros.adaptation.loop import run_round
from semlt3d_ros.adaptation.models import ModelStore
from semlt3d_ros.adaptation.plan import Plan, Result, Rounds, next_plan
from semlt3d_ros.adaptation.settings import LoopSettings
from semlt3d_ros.adaptation.status import Status, read_status
from semlt3d_ros.adaptation.verdict import Verdict
from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.checkpoints.checkpoint import read_checkpoint
from semlt3d_ros.recording.event import events_of


@pytest.fixture
def small(robot, save_small, monkeypatch) -> LoopSettings:
    """The robot with events to learn from and to hold back, whose candidates are there at once and are better."""

    def judge(candidate: Path, running: Path, *_: object) -> Verdict:
        names = [read_checkpoint(path).version for path in (candidate, running)]
        return Verdict(True, *names, ("because",))

    monkeypatch.setattr(loop, "judge", judge)
    monkeypatch.setattr(loop, "learn", lambda folder, *_: save_small(folder / CANDIDATE))
    return robot


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("plan.unfinished", errno.EROFS),
        ("os.rename work/labels", errno.ENOSPC),
        ("labelled.unfinished", errno.ENOSPC),
        ("models/versions", errno.ENOSPC),
        ("symlink", errno.EROFS),
        ("result.unf", errno.ENOSPC),
    ],
)
def test_a_disk_that_takes_no_more_is_told_and_the_round_goes_on_when_it_does(small, place, code) -> None:
    running, events = ModelStore(small.models).current(), fingerprint(small.events)
    outcome = on_a_bad_disk(small, wanted=place, code=code)
    assert place in outcome.refused and outcome.state == "failed"
    assert {errno.ENOSPC: "No space left", errno.EROFS: "Read-only"}[code] in outcome.message
    store = ModelStore(small.models)
    current = store.current()
    assert store.verify(current).name == current and (current == running or place == "result.unf")
    assert run_round(small).state == "promoted"
    assert len(Rounds(small.work).all()) == 1 and len(store.history()) == 2
    assert fingerprint(small.events) == events


def test_events_may_lie_on_a_disk_that_is_read_only(small) -> None:
    assert on_a_bad_disk(small, within=small.events, code=errno.EROFS).state == "promoted"


def test_models_on_a_disk_that_is_read_only_leave_the_old_model_and_the_verdict(small) -> None:
    running = ModelStore(small.models).current()
    outcome = on_a_bad_disk(small, within=small.models, code=errno.EROFS)
    assert outcome.state == "failed" and "Read-only" in outcome.message
    assert ModelStore(small.models).current() == running and read_status(small.work).running_version == running
    assert (Rounds(small.work).folder(1) / "verdict" / "verdict.json").is_file()


def test_events_that_vanish_and_come_back_are_not_given_up(small) -> None:
    away = small.events.with_name("away")

    def take_away(status: Status) -> None:
        if status.message == f"labelling {Rounds(small.work).all()[0][0].names[0]}" and small.events.exists():
            small.events.rename(away)

    gone = run_round(small, lambda status: take_away(status) if status.state == "replaying" else None)
    assert gone.state == "failed" and "bring its disk back" in gone.message
    away.rename(small.events)
    assert run_round(small).state == "promoted"
    [(_, result)] = Rounds(small.work).all()
    labelled = read_labelled(Rounds(small.work).folder(1))
    assert result.outcome == "promoted" and sorted(labelled.bags) == sorted(NAMES) and not labelled.faults


@pytest.mark.parametrize("hours", [-30_000, 30_000])
def test_a_clock_that_is_set_between_two_rounds_neither_repeats_nor_skips_events(robot, hours) -> None:
    old = [f"2026010{number}T000000Z-always" for number in range(1, 9)]
    # 30,000 hours are more than three years.
    new = [f"{2023 if hours < 0 else 2029}010{number}T000000Z-always" for number in range(1, 9)]
    few = replace(robot, most_events=8, least_new=4)
    first = next_plan(few, "a@0", old, [])
    second = next_plan(few, "a@0", sorted(old + new), [(first, Result("rejected", ""))])
    assert isinstance(second, Plan) and set(second.names) == set(new)
    ended = [(first, Result("rejected", "")), (second, Result("rejected", ""))]
    assert isinstance(next_plan(few, "a@0", sorted(old + new), ended), str)


def test_what_was_judged_by_is_not_learnt_from_whatever_the_clock_says(robot) -> None:
    names = [f"20260101T0000{number:02d}Z-always" for number in range(20)]
    few = replace(robot, most_events=12, least_new=1)
    first = next_plan(few, "a@0", names[8:], [])
    second = next_plan(few, "a@0", names, [(first, Result("rejected", ""))])
    assert set(names[:8]) <= set(second.names) and len(second.names) == 12
    assert not set(first.held_back) & set(second.learnt) and not set(first.learnt) & set(second.held_back)


def test_a_status_from_the_future_is_followed_by_that_of_now(robot, monkeypatch) -> None:
    with monkeypatch.context() as future:
        future.setattr(status.time, "time_ns", lambda: 4_000_000_000_000_000_000)
        run_round(replace(robot, free_gib=1e9))
    assert read_status(robot.work).at_ns == 4_000_000_000_000_000_000
    told = run_round(replace(robot, free_gib=1e9))
    known = read_status(robot.work)
    assert known.message == told.message and known.at_ns < 4_000_000_000_000_000_000


@pytest.mark.parametrize("jump_s", [-3600, 3600])
def test_an_event_whose_stamps_jump_is_labelled_all_the_same(small, jump_s) -> None:
    name = NAMES[0]
    jumping(small.events / name, jump_s)
    assert not events_of(small.events)[1]
    assert run_round(small).state == "promoted"
    labelled = read_labelled(Rounds(small.work).folder(1))
    assert sorted(labelled.bags) == sorted(NAMES) and not labelled.faults
    with BagSource(labelled.bags[name]) as source:
        labels = sum(1 for _ in source.messages(topics={"/teacher/labels"}))
    assert labels >= 2, "at most the frame right after the jump has none"


def jumping(event: Path, jump_s: int) -> None:
    """Let the clock of an event's sensors be set before its last frame."""
    old = event.with_name("old")
    event.rename(old)
    with BagSource(old) as source, BagSink(event) as sink:
        for message in source.messages():
            late = message.stamp == source.end
            data = with_stamp(message.type_name, bytes(message.data), message.stamp + jump_s * 10**9)
            sink.write(message.topic, message.type_name, data if late else bytes(message.data), message.stamp)
    shutil.copy(old / "event.json", event)
    values = (event / "event.json").read_text().replace("old_0", f"{event.name}_0")
    (event / "event.json").write_text(values)
    shutil.rmtree(old)
