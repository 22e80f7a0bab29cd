from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.nodes.detector_report import ERROR, OK, WARN
from semlt3d_ros.nodes.watchdog import WATCHDOG, Watchdog

MS = 1_000_000


def test_before_the_first_set_there_is_nothing_to_tell() -> None:
    name, level, _, values = Watchdog(100.0, 1.0).entry(0)
    assert (name, level) == (WATCHDOG, OK)
    assert values["processing_time_ms"] == values["consecutive_processing_delay_ms"] == "n/a"
    assert values["max_allowed_processing_time_ms"] == "100"
    assert values["max_acceptable_consecutive_delay_ms"] == "1000"


def test_short_stages_are_told_in_fractions_of_a_millisecond() -> None:
    watchdog = Watchdog(100.0, 1.0)
    watchdog.add(0.25, 5 * MS)
    _, level, _, values = watchdog.entry(6 * MS)
    assert (level, values["processing_time_ms"]) == (OK, "0.250")
    assert values["is_processing_time_ms_in_expected_range"] == "True"


def test_one_slow_set_is_a_warning_even_if_a_fast_one_follows() -> None:
    watchdog = Watchdog(100.0, 1.0)
    watchdog.add(130.0, 0)
    watchdog.add(50.0, 100 * MS)
    _, level, message, values = watchdog.entry(200 * MS)
    assert level == WARN and "130.0 ms" in message and "100 ms" in message
    assert values["is_processing_time_ms_in_expected_range"] == "False"
    assert values["consecutive_processing_delay_ms"] == "0.000"
    watchdog.add(60.0, 300 * MS)
    assert watchdog.entry(400 * MS)[1] == OK


def test_what_goes_on_for_too_long_is_an_error_until_it_ends() -> None:
    watchdog = Watchdog(100.0, 1.0)
    levels = []
    for index in range(16):
        watchdog.add(150.0, index * 100 * MS)
        levels.append(watchdog.entry(index * 100 * MS)[1])
    assert levels == [WARN] * 11 + [ERROR] * 5
    watchdog.add(100.0, 1600 * MS)
    assert watchdog.entry(1600 * MS)[1] == OK
    watchdog.add(150.0, 1700 * MS)
    assert watchdog.entry(1700 * MS)[1] == WARN


def test_a_set_that_never_ends_is_noticed() -> None:
    watchdog = Watchdog(100.0, 1.0)
    assert watchdog.entry(99 * MS, under_way_since=0)[1] == OK
    assert watchdog.entry(101 * MS, under_way_since=0)[1] == WARN
    _, level, _, values = watchdog.entry(1200 * MS, under_way_since=0)
    assert level == ERROR and values["processing_time_ms"] == "1200.000"
    assert values["consecutive_processing_delay_ms"] == "1100.000"


def test_a_set_under_way_prolongs_the_delay_of_those_before() -> None:
    watchdog = Watchdog(100.0, 1.0)
    watchdog.add(150.0, 0)
    assert watchdog.entry(1050 * MS, under_way_since=980 * MS)[1] == WARN
    assert watchdog.entry(1050 * MS, under_way_since=900 * MS)[1] == ERROR


def test_new_limits_hold_from_the_next_set_on() -> None:
    watchdog = Watchdog(100.0, 1.0)
    watchdog.add(150.0, 0)
    watchdog.set_limits(200.0, 1.0)
    watchdog.add(150.0, 2000 * MS)
    _, level, _, values = watchdog.entry(2000 * MS)
    assert level == OK and values["max_allowed_processing_time_ms"] == "200"


def test_a_node_that_was_stopped_starts_anew() -> None:
    watchdog = Watchdog(100.0, 1.0)
    watchdog.add(500.0, 0)
    watchdog.reset()
    assert watchdog.entry(1)[3]["processing_time_ms"] == "n/a"
    watchdog.add(500.0, 10_000 * MS)
    assert watchdog.entry(10_000 * MS)[1] == WARN


@given(st.lists(st.tuples(st.floats(0.0, 300.0), st.integers(1, 800)), min_size=1, max_size=30))
def test_the_level_is_what_the_latencies_say(sets: list[tuple[float, int]]) -> None:
    watchdog, now, late = Watchdog(100.0, 1.0), 0, []
    for latency, gap in sets:
        now += gap * MS
        watchdog.add(latency, now)
        late = [*late, now] if latency > 100.0 else []
    level = watchdog.entry(now)[1]
    if late and late[-1] - late[0] > 1000 * MS:
        assert level == ERROR
    else:
        assert level == (WARN if any(latency > 100.0 for latency, _ in sets) else OK)
