"""The ring of the last messages: bounds that hold whatever comes, and what is kept for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.recording.ring import Entry, Ring

SECOND = 1_000_000_000
STATIC, INFO, IMAGE = "/tf_static", "/camera_info", "/image"


def entry(topic: str, at: int, data: bytes) -> Entry:
    return Entry(topic, "std_msgs/msg/String", at + 7, at, data)


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from([STATIC, INFO, IMAGE]), st.integers(0, SECOND), st.binary(max_size=3), st.integers(0, 900)
    ),
    max_size=60,
)


@given(messages=MESSAGES, seconds=st.floats(0.0, 5.0), max_bytes=st.integers(0, 8000))
def test_bounds_hold_and_what_is_left_is_the_newest(messages: list, seconds: float, max_bytes: int) -> None:
    ring = Ring(seconds, max_bytes, frozenset({STATIC}), frozenset({INFO}))
    at, given_in = 0, []
    for topic, wait, head, size in messages:
        at += wait
        given_in.append(entry(topic, at, head + bytes(size)))
        ring.add(given_in[-1])
        kept = ring.since(0)
        assert len(kept) == len(ring) and ring.byte_count == sum(each.size for each in kept) <= max_bytes
        assert ring.reach_s <= seconds + 1e-9
    fitting = [each for each in given_in if each.size <= max_bytes]
    assert ring.too_large == len(given_in) - len(fitting)
    assert fitting[len(fitting) - len(ring) :] == ring.since(0)
    if len(fitting) > len(ring):  # what is not there had to go
        lacking = fitting[len(fitting) - len(ring) - 1]
        too_old = any(each.at - lacking.at > round(seconds * 1e9) for each in given_in)
        following = fitting[len(fitting) - len(ring) :]
        assert too_old or lacking.size + sum(each.size for each in following) > max_bytes
    latched = ring.latched()
    assert [each for each in latched if each.topic == INFO] == [each for each in given_in if each.topic == INFO][-1:]
    statics = {each.data: each for each in given_in if each.topic == STATIC}
    assert {each.data: each for each in latched if each.topic == STATIC} == statics


@given(messages=MESSAGES, since=st.integers(0, 10 * SECOND))
def test_since_gives_what_came_then_or_later(messages: list, since: int) -> None:
    ring, at = Ring(1e6, 1 << 30), 0
    for topic, wait, head, _ in messages:
        at += wait
        ring.add(entry(topic, at, head))
    assert ring.since(since) == [each for each in ring.since(0) if each.at >= since]
    assert ring.latched() == []


def test_old_static_transforms_outlive_the_window_and_are_bounded() -> None:
    ring = Ring(1.0, 1 << 20, frozenset({STATIC}), frozenset({INFO}))
    for number in range(150):
        ring.add(entry(STATIC, number, b"%d" % number))
    ring.add(entry(STATIC, 200, b"60"))
    ring.add(entry(INFO, 300, b"old"))
    ring.add(entry(INFO, 400, b"new"))
    ring.add(entry(IMAGE, 100 * SECOND, b"image"))
    assert [each.data for each in ring.since(0)] == [b"image"]
    latched = [each.data for each in ring.latched()]
    assert latched[-2:] == [b"60", b"new"] and len(latched) == 101 and b"old" not in latched and b"0" not in latched
    ring.forget_before(200 * SECOND)
    assert len(ring) == ring.byte_count == 0 and len(ring.latched()) == 101
