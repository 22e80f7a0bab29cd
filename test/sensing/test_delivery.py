from __future__ import annotations

import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from semlt3d_ros.sensing.delivery import DeliveryRates

SECOND = 1_000_000_000


def deliver(rates: DeliveryRates, streams: dict[str, list[int]]) -> None:
    """Images of several cameras in the order of their stamps."""
    newest = 0
    for stamp, name in sorted((stamp, name) for name, stamps in streams.items() for stamp in stamps):
        newest = max(newest, stamp)
        rates.add(name, newest)


def stream(rate_hz: float, start_s: float, stop_s: float, jitter: float = 0.0, seed: int = 0) -> list[int]:
    """Stamps of a camera; jitter is a share of its period."""
    rng = random.Random(seed)
    count = int((stop_s - start_s) * rate_hz)
    return sorted(
        round((start_s + (i + rng.uniform(-jitter, jitter) / 2 + 0.5) / rate_hz) * SECOND) for i in range(count)
    )


def test_nothing_is_said_before_there_is_something_to_say() -> None:
    rates = DeliveryRates(("A", "B"), "A")
    assert rates.rate_hz("A") is None and rates.expected_hz("A") is None
    deliver(rates, {"A": stream(10, 0, 3), "B": stream(1, 0, 3)})
    assert rates.rate_hz("B") is None and rates.expected_hz("B") is None


def test_a_camera_behind_the_others_is_slow() -> None:
    rates = DeliveryRates(("A", "B", "C"), "A")
    deliver(rates, {"A": stream(10, 0, 8), "B": stream(10, 0, 8), "C": stream(3, 0, 8)})
    assert rates.rate_hz("A") == pytest.approx(10.0, abs=0.5)
    assert rates.rate_hz("C") == pytest.approx(3.0, abs=0.5)
    assert rates.expected_hz("C") == pytest.approx(10.0, abs=0.5)
    assert rates.expected_hz("A") is None and rates.expected_hz("B") is None


def test_a_camera_behind_its_former_self_is_slow_even_if_all_are() -> None:
    rates = DeliveryRates(("A", "B"), "A")
    streams = {name: stream(10, 0, 10) + stream(2, 10, 20) for name in ("A", "B")}
    deliver(rates, streams)
    assert rates.expected_hz("A") == pytest.approx(10.0, abs=0.5)
    assert rates.expected_hz("B") == pytest.approx(10.0, abs=0.5)


def test_a_camera_that_returns_is_soon_well_again() -> None:
    rates = DeliveryRates(("A", "B"), "A")
    deliver(rates, {"A": stream(10, 0, 20), "B": stream(10, 0, 8) + stream(10, 16, 20)})
    assert rates.expected_hz("B") is None


def test_cameras_that_are_faster_than_the_anchor_on_purpose_make_nobody_slow() -> None:
    rates = DeliveryRates(("A", "B", "C"), "A")
    deliver(rates, {"A": stream(10, 0, 10), "B": stream(30, 0, 10), "C": stream(30, 0, 10)})
    assert [rates.expected_hz(name) for name in "ABC"] == [None] * 3


def test_without_the_anchor_the_others_are_compared() -> None:
    rates = DeliveryRates(("A", "B", "C", "D"), "A")
    deliver(rates, {"B": stream(10, 0, 10), "C": stream(10, 0, 10), "D": stream(2, 0, 10)})
    assert rates.expected_hz("D") == pytest.approx(10.0, abs=0.5)
    assert rates.rate_hz("A") is None


@pytest.mark.parametrize("start", [0, 200])
def test_after_a_time_jump_or_a_long_gap_all_begin_anew(start: int) -> None:
    rates = DeliveryRates(("A", "B"), "A")
    deliver(rates, {"A": stream(10, 100, 110), "B": stream(10, 100, 110)})
    deliver(rates, {"A": stream(2, start, start + 3), "B": stream(10, start, start + 3)})
    assert rates.rate_hz("A") is None and rates.rate_hz("B") is None


def test_a_time_jump_forgets_what_was_delivered_before() -> None:
    rates = DeliveryRates(("A", "B"), "A")
    deliver(rates, {"A": stream(30, 100, 110), "B": stream(30, 100, 110)})
    deliver(rates, {"A": stream(5, 0, 10), "B": stream(5, 0, 10)})
    assert rates.expected_hz("A") is None and rates.rate_hz("A") == pytest.approx(5.0, abs=0.5)


def test_a_flood_of_images_is_bounded() -> None:
    rates = DeliveryRates(("A",), "A")
    deliver(rates, {"A": list(range(SECOND, SECOND + 20_000)) + stream(10, 2, 10)})
    assert rates.rate_hz("A") == pytest.approx(10.0, abs=0.5)


rigs = st.lists(st.tuples(st.floats(0.55, 1.6), st.integers(0, 10_000)), min_size=1, max_size=6)


@given(rigs, st.floats(0.5, 60.0), st.floats(0.0, 0.5))
def test_cameras_of_like_rates_are_never_called_slow(rig: list[tuple[float, int]], rate: float, jitter: float) -> None:
    """Whatever the phases and the jitter, at every moment: no rate is below half of another's."""
    shares = [share for share, _ in rig]
    assume(min(shares) / max(shares) >= 0.55)
    names = [str(index) for index in range(len(rig))]
    rates, newest = DeliveryRates(names, names[0]), 0
    images = [
        (stamp, name)
        for name, (share, seed) in zip(names, rig, strict=True)
        for stamp in stream(rate * share, seed / 10_000 / rate, 9.0, jitter, seed)
    ]
    for number, (stamp, name) in enumerate(sorted(images)):
        newest = max(newest, stamp)
        rates.add(name, newest)
        if number % 7 == 0:
            assert [other for other in names if rates.expected_hz(other) is not None] == []


@given(st.floats(6.0, 60.0), st.floats(0.06, 0.28), st.floats(0.0, 0.5), st.integers(0, 100))
def test_a_camera_at_a_quarter_is_always_called_slow(rate: float, share: float, jitter: float, seed: int) -> None:
    rates = DeliveryRates(("A", "B", "C"), "A")
    streams = {name: stream(rate, 0, 12, jitter, seed + index) for index, name in enumerate("AB")}
    deliver(rates, streams | {"C": stream(rate * share, 0, 12, jitter, seed)})
    assume(rates.rate_hz("C") is not None)
    expected = rates.expected_hz("C")
    assert expected is not None and expected == pytest.approx(rate, rel=0.15)
