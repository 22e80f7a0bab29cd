"""The executor: one thread, in order, and nothing ends it but a stop."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.messages.typestore import message_class
from semlt3d_ros.middleware.port import Middleware, QoS
from semlt3d_ros.middleware.throttle import ThrottledLog
from semlt3d_ros.nodes.signals import ended_by_signals, stopped_by_signals

Join = Callable[..., Middleware]
STRING = "std_msgs/msg/String"


def text(data: str) -> Any:
    return message_class(STRING)(data=data)


def test_waiting_messages_are_handled_in_the_order_of_publishing_over_all_topics(join_dds: Join) -> None:
    middleware = join_dds()
    handled: list[str] = []
    topics = ("/order/a", "/order/b", "/order/c")
    publishers = {topic: middleware.create_publisher(topic, STRING, QoS(100)) for topic in topics}
    for topic in topics:
        middleware.create_subscription(topic, STRING, lambda message, _: handled.append(message.data), QoS(100))
    assert middleware.spin(lambda: all(publisher.matched for publisher in publishers.values()), 60)
    order = [topics[number] for number in np.random.default_rng(2).integers(0, 3, 60)]
    for number, topic in enumerate(order):
        publishers[topic].publish(text(str(number)))
    assert middleware.spin(lambda: len(handled) == 60, 60)
    assert handled == [str(number) for number in range(60)]


def test_oldest_messages_give_way_and_are_counted(join_dds: Join) -> None:
    middleware = join_dds()
    handled: list[str] = []
    publisher = middleware.create_publisher("/overflow", STRING, QoS(100))
    subscription = middleware.create_subscription(
        "/overflow", STRING, lambda message, _: handled.append(message.data), QoS(depth=3)
    )
    assert middleware.spin(lambda: publisher.matched == 1, 60)
    for number in range(10):
        publisher.publish(text(str(number)))
    assert middleware.spin(lambda: bool(handled) and handled[-1] == "9", 60)
    assert handled == ["7", "8", "9"]
    assert subscription.dropped == {"overflow": 7}


def test_messages_that_are_not_of_their_type_are_counted(
    join: Join, join_dds: Join, caplog: pytest.LogCaptureFixture
) -> None:
    middleware = join()
    handled: list[str] = []
    publisher = join_dds("other").create_publisher("/malformed", STRING, QoS(100))
    subscription = middleware.create_subscription(
        "/malformed", STRING, lambda message, _: handled.append(message.data), QoS(100)
    )
    assert middleware.spin(lambda: publisher.matched == 1, 60)
    publisher.publish(b"\x00\x01\x00\x00" + b"\x04\x00\x00\x00" + b"\xff\xfe\xfd\x00")  # not UTF-8
    publisher.publish(text("fine"))
    assert middleware.spin(lambda: handled == ["fine"], 60)
    assert subscription.dropped == {"malformed": 1}
    assert "topic /malformed" in caplog.text


def test_bytes_that_are_not_a_message_are_not_published(join: Join) -> None:
    publisher = join().create_publisher("/not_a_message", STRING)
    with pytest.raises(InputRejected, match=r"topic /not_a_message: 12 bytes are not a std_msgs/msg/String"):
        publisher.publish(b"\x00\x01\x00\x00" + b"\xff\xff\xff\x7f" + b"abcd")


def test_failing_callbacks_are_logged_and_counted(join: Join, caplog: pytest.LogCaptureFixture) -> None:
    middleware = join()
    calls: list[int] = []

    def fail() -> None:
        raise ZeroDivisionError("by design")

    def reject() -> None:
        raise InputRejected("odd", "not even")

    for callback in (fail, reject, lambda: calls.append(1)):
        middleware.call_soon(callback)
    assert middleware.spin(lambda: calls == [1], 60)
    assert middleware.errors == {"ZeroDivisionError": 1, "odd": 1}
    assert "by design" in caplog.text
    assert "not even" in caplog.text


def test_call_soon_comes_before_waiting_messages(join: Join) -> None:
    middleware = join()
    order: list[str] = []
    publisher = middleware.create_publisher("/soon", STRING, QoS(100))

    def first(message: Any, _: int) -> None:
        order.append(message.data)
        if message.data == "0":
            middleware.call_soon(lambda: order.append("soon"))

    middleware.create_subscription("/soon", STRING, first, QoS(100))
    assert middleware.spin(lambda: publisher.matched == 1, 60)
    for number in range(3):
        publisher.publish(text(str(number)))
    assert middleware.spin(lambda: len(order) == 4, 60)
    assert order == ["0", "soon", "1", "2"]


def test_call_soon_from_another_thread_wakes_the_executor(join: Join) -> None:
    middleware = join()
    threads: list[int] = []
    other = threading.Thread(target=lambda: middleware.call_soon(lambda: threads.append(threading.get_ident())))
    other.start()
    assert middleware.spin(lambda: len(threads) == 1, 60)
    other.join()
    assert threads == [threading.get_ident()]


def test_timers_repeat_until_cancelled(join: Join) -> None:
    middleware = join()
    calls: list[int] = []
    timer = middleware.create_timer(0.01, lambda: calls.append(1))
    assert middleware.spin(lambda: len(calls) == 3, 60)
    timer.cancel()
    assert not middleware.spin(lambda: len(calls) > 3, 0.1)


def test_received_time_lies_between_publishing_and_handling(join: Join) -> None:
    middleware = join()
    times: list[tuple[int, int]] = []
    publisher = middleware.create_publisher("/received", STRING)
    middleware.create_subscription("/received", STRING, lambda _, received: times.append((received, middleware.now())))
    assert middleware.spin(lambda: publisher.matched == 1, 60)
    published = middleware.now()
    publisher.publish(text("now"))
    assert middleware.spin(lambda: bool(times), 60)
    assert published <= times[0][0] <= times[0][1]


def test_stop_from_another_thread_ends_spin_for_good(join: Join) -> None:
    middleware = join()
    threading.Timer(0.05, middleware.stop).start()
    assert not middleware.spin()
    assert middleware.stopped
    assert not middleware.spin(timeout_s=60)


@pytest.fixture
def own_handlers() -> Iterator[None]:
    """Puts the handlers of this process back, which signals leave silenced."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_spin_and_disturb_nothing_afterwards(
    join: Join, number: signal.Signals, own_handlers: None
) -> None:
    middleware = join()
    with stopped_by_signals(middleware):
        threading.Timer(0.05, lambda: os.kill(os.getpid(), number)).start()
        assert not middleware.spin(timeout_s=60)
        assert middleware.stopped
    os.kill(os.getpid(), signal.SIGINT)
    middleware.shutdown()
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_what_does_not_spin_yet(number: signal.Signals, own_handlers: None) -> None:
    with pytest.raises(SystemExit) as caught, ended_by_signals():
        try:
            os.kill(os.getpid(), number)
            time.sleep(60)
        finally:
            os.kill(os.getpid(), number)
    assert caught.value.code == 0
    os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_that_an_import_swallowed_stops_what_spins_next(join: Join, own_handlers: None) -> None:
    middleware = join()
    with ended_by_signals() as ending:
        with suppress(SystemExit):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        ending.stop(middleware)
        assert not middleware.spin(timeout_s=60) and middleware.stopped


def test_handlers_come_back_where_no_signal_came(join: Join) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stopped_by_signals(join()):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_shutdown_can_be_repeated(join: Join) -> None:
    middleware = join()
    middleware.create_publisher("/shutdown", STRING)
    middleware.shutdown()
    middleware.shutdown()


def test_repeated_warnings_are_left_out_and_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    log = ThrottledLog(logging.getLogger("throttled"), period_s=5.0)
    for _ in range(4):
        log.warning("kind", "one thing")
    log.warning("other", "another thing")
    clock[0] = 6.0
    log.warning("kind", "one thing")
    assert caplog.messages == ["one thing", "another thing", "one thing (and 3 more since the last line)"]
