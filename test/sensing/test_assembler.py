from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.sensing.assembler import AssemblerConfig, FrameAssembler

MS = 1_000_000
S = 1000 * MS
PERIOD = 100 * MS
ABC = {"A": 0.0, "B": 0.0, "C": 0.0}


def _assembler(offsets=None, **config) -> FrameAssembler[int]:
    return FrameAssembler(offsets or ABC, anchor="A", config=AssemblerConfig(**config))


def _run(assembler: FrameAssembler[int], messages, flush: bool = True):
    sets = [found for number, (camera, stamp) in enumerate(messages) for found in assembler.add(camera, stamp, number)]
    return sets + (assembler.flush() if flush else [])


def _round(index: int, cameras: str = "ABC", start: int = 10 * S):
    return [(camera, start + index * PERIOD) for camera in cameras]


def test_complete_sets_come_out_at_once():
    assembler = _assembler()
    for index in range(5):
        (found,) = _run(assembler, _round(index), flush=False)
        assert found.stamp == 10 * S + index * PERIOD
        assert tuple(found.images) == ("A", "B", "C") and not found.missing and not found.reset
    assert not assembler.drops and assembler.waiting == 0


def test_images_come_out_in_the_rigs_order():
    (found,) = _run(_assembler(), _round(0, "CAB"))
    assert list(found.images) == ["A", "B", "C"]
    assert [image.payload for image in found.images.values()] == [1, 2, 0]


def test_a_missing_camera_gives_a_masked_set():
    assembler = _assembler()
    sets = _run(assembler, [*_round(0), *_round(1, "AC"), *_round(2)], flush=False)
    assert [found.missing for found in sets] == [(), ("B",), ()]
    assert not assembler.drops


def test_a_missing_anchor_gives_a_masked_set_too():
    sets = _run(_assembler(), [*_round(0), *_round(1, "BC"), *_round(2)])
    assert [found.missing for found in sets] == [(), ("A",), ()]
    assert [found.stamp for found in sets] == [10 * S + index * PERIOD for index in range(3)]


def test_a_camera_that_stops_and_returns():
    rounds = [_round(i) if i < 5 or i > 40 else _round(i, "AB") for i in range(50)]
    assembler = _assembler()
    sets = _run(assembler, [message for one in rounds for message in one])
    assert [found.missing for found in sets] == [("C",) if 5 <= i <= 40 else () for i in range(50)]
    assert not assembler.drops and not assembler.resets


def test_the_deadline_is_measured_in_stamps():
    assembler = _assembler(deadline_s=0.25, min_cameras=2)
    sets = _run(assembler, [*_round(0, "AB"), *_round(1, "AB")], flush=False)
    assert sets == [] and assembler.waiting == 4
    assert len(_run(assembler, [("A", 10 * S + 249 * MS)], flush=False)) == 0
    (found,) = _run(assembler, [("B", 10 * S + 250 * MS)], flush=False)
    assert found.stamp == 10 * S and found.missing == ("C",)


def test_late_and_duplicate_images_are_counted():
    assembler = _assembler()
    late = ("B", 10 * S + PERIOD)
    sets = _run(assembler, [*_round(0), *_round(1, "AC"), *_round(2), late, late, *_round(3), _round(3)[0]])
    assert len(sets) == 4
    assert assembler.drops == {"late": 1, "duplicate": 2}


def test_known_phases_are_taken_off():
    offsets = {"A": 0.0, "B": -0.05, "C": 0.045}
    phased = [(name, 10 * S + i * PERIOD + round(offsets[name] * S)) for i in range(6) for name in ("B", "A", "C")]
    tight = _assembler(offsets, tolerance_s=0.01)
    sets = _run(tight, phased)
    assert len(sets) == 6 and not any(found.missing for found in sets)
    assert [found.stamp for found in sets] == [10 * S + i * PERIOD for i in range(6)]
    assert sets[0].images["B"].stamp == 10 * S - 50 * MS


def test_the_stamp_is_the_anchors_even_if_the_anchor_has_a_phase():
    offsets = {"A": 0.02, "B": 0.0, "C": 0.0}
    messages = [("B", 10 * S), ("C", 10 * S), ("B", 10 * S + PERIOD), ("C", 10 * S + PERIOD), ("A", 10 * S + 120 * MS)]
    sets = _run(_assembler(offsets), messages)
    assert [found.stamp for found in sets] == [10 * S + 20 * MS, 10 * S + 120 * MS]
    assert [found.missing for found in sets] == [("A",), ()]


def test_completed_by_the_anchor():
    assembler = _assembler(completed_by="anchor")
    first = _run(assembler, _round(0, "BCA"), flush=False)
    assert len(first) == 1 and not first[0].missing
    second = _run(assembler, _round(1, "BAC"))
    assert [found.missing for found in second] == [("C",)]
    assert assembler.drops == {"late": 1}


def test_too_few_cameras_drop_the_set():
    assembler = _assembler(min_cameras=3)
    sets = _run(assembler, [*_round(0), *_round(1, "AB"), *_round(2)])
    assert len(sets) == 2
    assert assembler.drops == {"incomplete": 2} and assembler.dropped_sets == {"incomplete": 1}


def test_a_faster_camera_gives_its_nearest_images():
    messages = sorted(
        [m for i in range(5) for m in _round(i, "AB")] + [("C", 10 * S + k * PERIOD // 3) for k in range(13)],
        key=lambda message: message[1],
    )
    assembler = _assembler(tolerance_s=0.02)
    sets = _run(assembler, messages)
    assert [found.images["C"].stamp - found.stamp for found in sets] == [0] * 5
    assert set(assembler.drops) <= {"unmatched", "incomplete"} and assembler.drops.total() == 8


@pytest.mark.parametrize(("by", "reason"), [(-60 * S, "time_jump"), (30 * S, "gap")])
def test_time_jumps_reset_once_and_lose_nothing(by, reason):
    assembler = _assembler()
    before = [message for i in range(5) for message in _round(i)]
    after = [(camera, stamp + by) for camera, stamp in before]
    sets = _run(assembler, before + after, flush=False)
    assert [found.reset for found in sets] == [""] * 5 + [reason] + [""] * 4
    assert not any(found.missing for found in sets) and not assembler.drops
    assert assembler.resets == {reason: 1}


def test_a_bag_that_starts_over_while_a_set_is_open():
    assembler = _assembler()
    sets = _run(assembler, [*_round(300), *_round(301, "AB"), *_round(0), *_round(1)])
    assert [found.reset for found in sets] == ["", "", "time_jump", ""]
    assert [found.missing for found in sets] == [(), ("C",), (), ()]


def test_one_wrong_clock_does_not_disturb_the_others():
    messages = [(c, s + (3600 * S if c == "C" else 0)) for i in range(20) for c, s in _round(i)]
    assembler = _assembler()
    sets = _run(assembler, messages, flush=False)
    assert [found.missing for found in sets[:18]] == [("C",)] * 18
    assert not assembler.resets
    assert set(assembler.drops) == {"clock"}


def test_a_stall_gives_out_what_waits():
    assembler = _assembler(stall_s=0.5)
    assert assembler.poll(0) == []
    _run(assembler, [*_round(0), *_round(1, "AB")], flush=False)
    assert assembler.poll(7 * S) == [] and assembler.poll(7 * S + 499 * MS) == []
    (found,) = assembler.poll(7 * S + 500 * MS)
    assert found.missing == ("C",) and assembler.stalled_s == 0.5
    assert assembler.poll(8 * S) == []


def test_polling_a_flowing_stream_changes_nothing():
    messages = [message for i in range(20) for message in _round(i, "AB" if i % 3 else "ABC")]
    polled, plain = _assembler(), _assembler()
    sets = []
    for number, (camera, stamp) in enumerate(messages):
        sets += polled.add(camera, stamp, number)
        sets += polled.poll(5 * S + number * 10 * S)
    assert sets + polled.flush() == _run(plain, messages)


def test_memory_is_bounded():
    assembler = _assembler(deadline_s=1000.0, max_waiting=4, min_cameras=1)
    sets = _run(assembler, [("B", 10 * S + i * PERIOD) for i in range(100)], flush=False)
    assert assembler.waiting <= 4 and len(sets) >= 96


def test_reset_forgets_and_counts():
    assembler = _assembler()
    _run(assembler, [*_round(5), *_round(6, "AB")], flush=False)
    assembler.reset()
    assert assembler.waiting == 0 and assembler.drops == {"reset": 2}
    assert len(_run(assembler, _round(0), flush=False)) == 1


def test_one_camera():
    assembler = FrameAssembler[int]({"A": 0.0}, "A")
    sets = _run(assembler, [("A", 10 * S), ("A", 10 * S + PERIOD), ("A", S)], flush=False)
    assert [found.reset for found in sets] == ["", "", "time_jump"]


@pytest.mark.parametrize("cameras", ["ABC", "A"])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 9])
def test_a_short_bag_is_answered_every_time_it_is_played(cameras, length):
    assembler = FrameAssembler[int](dict.fromkeys(cameras, 0.0), "A")
    bag = [message for i in range(length) for message in _round(i, cameras)]
    sets = _run(assembler, bag * 4)
    assert [found.stamp for found in sets] == [10 * S + i * PERIOD for _ in range(4) for i in range(length)]
    assert [found.reset for found in sets] == ["" if n % length or n == 0 else "time_jump" for n in range(4 * length)]
    assert not assembler.drops and assembler.resets == {"time_jump": 3} and not assembler.unused


@settings(max_examples=80)
@given(
    st.integers(1, 10),
    st.integers(10, 100),
    st.dictionaries(st.sampled_from("ABC"), st.integers(-40, 40), max_size=3),
    st.data(),
)
def test_every_pass_of_a_loop_gives_the_same_sets(length, period_ms, phases, data):
    """Short or not, whatever the phases and whichever camera lacks an image here and there."""
    bag = sorted(
        (
            (c, 10 * S + (i * period_ms + phases.get(c, 0) * period_ms // 100) * MS)
            for i in range(length)
            for c in "ABC"
        ),
        key=lambda message: message[1],
    )
    lost = data.draw(st.sets(st.integers(3, len(bag) - 1), max_size=len(bag) // 4)) if len(bag) > 3 else set()
    bag = [message for place, message in enumerate(bag) if place not in lost]
    tolerance_s = period_ms * 0.45e-3
    (first, later) = (FrameAssembler[int](ABC, "A", AssemblerConfig(tolerance_s=tolerance_s)) for _ in range(2))
    once = [(found.stamp, found.missing) for found in _run(first, bag)]
    sets = [(found.stamp, found.missing) for found in _run(later, bag * 3)]
    assert later.resets == {"time_jump": 2} and sets == once * 3


def test_a_bag_of_just_above_the_longest_step_back_starts_over_as_a_whole():
    bag = [(camera, 10 * S + i * PERIOD + k * 20 * MS) for i in range(11) for k, camera in enumerate("ABC")]
    assembler = _assembler()
    sets = _run(assembler, bag * 3)
    assert len(sets) == 33 and not any(found.missing for found in sets) and not assembler.drops


def test_a_loop_with_a_pause_and_with_a_set_that_never_completes():
    assembler = _assembler()
    bag = [*_round(0), *_round(1), *_round(2, "AB")]
    sets, clock = [], 0
    for _ in range(3):
        sets += _run(assembler, bag, flush=False)
        for _ in range(3):
            sets, clock = sets + assembler.poll(clock), clock + S
    assert [found.missing for found in sets] == [(), (), ("C",)] * 3 and assembler.resets == {"time_jump": 2}


def test_late_images_of_some_cameras_are_no_new_start():
    assembler = _assembler()
    # B and C come a second late while A leads; and once the two come late in a row.
    rounds = [[*_round(i, "A"), *_round(i - 5, "BC")] if i >= 10 else _round(i) for i in range(30)]
    sets = _run(assembler, [message for one in rounds for message in one])
    assert not assembler.resets and len(sets) == 10
    assert set(assembler.drops) <= {"late", "duplicate", "incomplete"}


def test_images_of_a_single_camera_out_of_order_are_no_new_start():
    assembler = FrameAssembler[int]({"A": 0.0}, "A")
    order = [0, 1, 2, 4, 3, 5, 7, 8, 6, 9, 9, 10, 10, 11, 3, 12]
    sets = _run(assembler, [("A", 10 * S + i * PERIOD) for i in order])
    assert len(sets) == 11 and not assembler.resets
    assert assembler.drops == {"late": 3, "duplicate": 2}


def test_images_that_all_come_twice_are_used_once():
    assembler = _assembler()
    sets = _run(assembler, [message for i in range(10) for message in _round(i) * 2])
    # That the first set comes again looks like a bag of one set in a loop; what follows shows that it is none.
    assert [found.stamp for found in sets][1:] == [10 * S + i * PERIOD for i in range(10)]
    assert assembler.resets == {"time_jump": 1} and assembler.drops == {"duplicate": 27}


def test_a_clock_that_says_so_starts_anew_and_loses_nothing():
    assembler = _assembler()
    assert assembler.restart() == []
    _run(assembler, [*_round(0), *_round(1, "AB")], flush=False)
    (open_set,) = assembler.restart()
    assert open_set.missing == ("C",) and not open_set.reset
    sets = _run(assembler, [*_round(0), *_round(1)])
    assert [found.reset for found in sets] == ["time_jump", ""] and not assembler.drops
    assert assembler.resets == {"time_jump": 1}


def test_images_that_go_into_no_set_are_known_by_camera():
    assembler = _assembler()
    _run(assembler, [m for i in range(12) for m in ([*_round(i, "AB"), *_round(i - 8, "C")] if i > 2 else _round(i))])
    assert set(assembler.unused) == {"C"}
    assert (assembler.unused["C"].reason, assembler.unused["C"].fruitless) == ("late", False)
    assert assembler.unused["C"].count == 9
    _run(assembler, _round(20))
    assert not assembler.unused


@pytest.mark.parametrize(
    "bad",
    [
        {"tolerance_s": 0.0},
        {"deadline_s": float("nan")},
        {"min_cameras": 0},
        {"max_waiting": 1},
        {"completed_by": "some"},
    ],
)
def test_configurations_that_do_not_fit(bad):
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        AssemblerConfig(**bad)


def test_rigs_that_do_not_fit():
    with pytest.raises(ConfigurationError, match="anchor 'X'"):
        FrameAssembler(ABC, "X")
    with pytest.raises(ConfigurationError, match="min_cameras is 4, but there are 3"):
        _assembler(min_cameras=4)


configs = st.builds(
    AssemblerConfig,
    completed_by=st.sampled_from(["all", "anchor"]),
    tolerance_s=st.sampled_from([0.01, 0.05, 0.2]),
    deadline_s=st.sampled_from([0.05, 0.2, 1.0]),
    min_cameras=st.sampled_from([None, 1, 3]),
    max_waiting=st.integers(2, 5),
)
"""Sets of every kind."""

noise = st.tuples(
    st.sampled_from("ABC"),
    st.one_of(
        st.integers(0, 40).map(lambda tick: 10 * S + tick * 25 * MS),
        st.integers(0, 20 * S),
    ),
)


@settings(max_examples=150)
@given(configs, st.lists(noise, max_size=60))
def test_every_image_ends_in_one_set_or_one_count_or_waits(config, messages):
    assembler = FrameAssembler[int](ABC, "A", config)
    used: Counter[int] = Counter()
    last = None
    for number, (camera, stamp) in enumerate(messages):
        for found in assembler.add(camera, stamp, number):
            used.update(image.payload for image in found.images.values())
            assert {messages[image.payload] for image in found.images.values()} == {
                (name, image.stamp) for name, image in found.images.items()
            }
            assert len(found.images) >= assembler.min_cameras
            assert sorted([*found.images, *found.missing]) == ["A", "B", "C"]
            assert found.reset or last is None or found.stamp > last
            last = found.stamp
        assert max(used.values(), default=1) == 1
        assert used.total() + assembler.drops.total() + assembler.waiting == number + 1
        assert assembler.waiting <= 6 * config.max_waiting
    rest = assembler.flush()
    assert assembler.waiting == 0
    assert used.total() + sum(len(found.images) for found in rest) + assembler.drops.total() == len(messages)


@settings(max_examples=50)
@given(configs, st.lists(noise, max_size=40))
def test_the_same_messages_give_the_same_sets(config, messages):
    assert _run(FrameAssembler(ABC, "A", config), messages) == _run(FrameAssembler(ABC, "A", config), messages)


@settings(max_examples=80)
@given(st.lists(st.tuples(st.permutations("ABC"), st.lists(st.integers(-4, 4), min_size=3, max_size=3)), max_size=20))
def test_jitter_and_order_within_a_set_cost_nothing(rounds):
    messages = [
        (camera, 10 * S + index * PERIOD + jitter * MS)
        for index, (order, jitters) in enumerate(rounds)
        for camera, jitter in zip(order, jitters, strict=True)
    ]
    assembler = _assembler(tolerance_s=0.01)
    sets = _run(assembler, messages, flush=False)
    assert len(sets) == len(rounds) and not assembler.drops and not any(found.missing for found in sets)


@settings(max_examples=80)
@given(st.lists(st.sets(st.sampled_from("ABC"), min_size=2), min_size=1, max_size=30))
def test_any_loss_of_single_images_costs_no_set(present):
    messages = [message for index, names in enumerate(present) for message in _round(index, "".join(sorted(names)))]
    assembler = _assembler()
    sets = _run(assembler, messages)
    assert [set(found.images) for found in sets] == present
    assert not assembler.drops
