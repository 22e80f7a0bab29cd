"""Names, parameters, triggers and closing, alike through every adapter."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest

from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.messages.typestore import message_class
from semlt3d_ros.middleware.names import resolve_name
from semlt3d_ros.middleware.parameters import parameter
from semlt3d_ros.middleware.topic_requests import call_trigger, set_parameter

Join = Callable[..., Any]
STRING = "std_msgs/msg/String"
ROS = pytest.param("ros", marks=pytest.mark.skipif(find_spec("rclpy") is None, reason="no ROS 2 workspace is sourced"))


@dataclass(frozen=True)
class Parameters:
    rate_hz: float = parameter(10.0, "how often", low=0.5, high=100.0)
    depth: int = parameter(3, "how many", low=1, high=9, live=True)
    mode: str = parameter("fast", "how", choices=("fast", "exact"))
    names: tuple[str, ...] = parameter((), "which", live=True)
    limits: tuple[float, ...] = parameter((1.0, 2.0), "bounds", low=0.0)


@pytest.mark.parametrize(
    ("name", "namespace", "absolute"),
    [
        ("/a/b", "/x", "/a/b"),
        ("a/b", "/", "/a/b"),
        ("a/b", "/x/y", "/x/y/a/b"),
        ("~/a", "/", "/node/a"),
        ("~/a", "/x", "/x/node/a"),
        ("~", "/x", "/x/node"),
    ],
)
def test_names_are_resolved_as_ros_does(name: str, namespace: str, absolute: str) -> None:
    assert resolve_name(name, "node", namespace) == absolute


def test_private_names_lie_below_the_node(join: Join) -> None:
    middleware = join("owner")
    assert middleware.node_name == "owner"
    assert middleware.create_publisher("~/out", STRING).topic == "/owner/out"
    assert middleware.create_publisher("out", STRING).topic == "/out"
    assert middleware.create_subscription("~/in", STRING, lambda *_: None).topic == "/owner/in"


def test_parameters_come_from_overrides_and_defaults(join: Join) -> None:
    middleware = join("node", "depth:=5", "rate_hz:=7", "names:=[a, b]")
    read = middleware.declare_parameters(Parameters, lambda *_: None).read()
    assert read == Parameters(rate_hz=7.0, depth=5, names=("a", "b"))
    assert type(read.rate_hz) is float


def test_all_faults_are_told_at_once(join: Join) -> None:
    middleware = join("node", "depth:=0", "rate_hz:=quick", "mode:=sloppy", "dept:=3")
    source = middleware.declare_parameters(Parameters, lambda *_: None)
    with pytest.raises(ConfigurationError) as caught:
        source.read()
    text = str(caught.value)
    for words in (
        "parameters of 'node'",
        "depth = 0 is not from 1 to 9",
        "rate_hz = 'quick' is not a number",
        "mode = 'sloppy' is not one of fast, exact",
        "no parameter 'dept', did you mean 'depth'?",
    ):
        assert words in text


@contextmanager
def spinning(middleware: Any) -> Iterator[None]:
    thread = threading.Thread(target=middleware.spin)
    thread.start()
    try:
        yield
    finally:
        middleware.stop()
        thread.join(60)


class Setting:
    """Sets parameters and pulls triggers of a node from outside, in the way of its adapter."""

    def __init__(self, other: Any, node_name: str) -> None:
        self._other = other
        self._node_name = node_name
        self._ros = getattr(other, "_node", None)

    def set(self, name: str, value: Any) -> tuple[bool, str]:
        if self._ros is None:
            return self._told(lambda: set_parameter(self._other, self._node_name, name, value, 20))
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        result = self._call(SetParameters, "set_parameters", request).results[0]
        return result.successful, result.reason

    def pull(self, name: str) -> tuple[bool, str]:
        if self._ros is None:
            return self._told(lambda: call_trigger(self._other, self._node_name, name, 20))
        from std_srvs.srv import Trigger

        response = self._call(Trigger, name, Trigger.Request())
        return response.success, response.message

    def _call(self, kind: Any, name: str, request: Any) -> Any:
        client = self._ros.create_client(kind, f"/{self._node_name}/{name}")
        assert client.wait_for_service(20)
        future = client.call_async(request)
        assert self._other.spin(future.done, 20)
        return future.result()

    @staticmethod
    def _told(ask: Callable[[], str]) -> tuple[bool, str]:
        try:
            return True, ask()
        except Semlt3dError as error:
            return False, str(error)


def test_parameters_change_only_where_the_node_accepts(join: Join) -> None:
    node, other = join("node", "names:=[a]"), join("other")
    accepted: list[tuple[Parameters, frozenset[str]]] = []

    def accept(parameters: Parameters, changed: frozenset[str]) -> None:
        if parameters.depth == 7:
            raise ConfigurationError("seven does not fit")
        accepted.append((parameters, changed))

    source = node.declare_parameters(Parameters, accept)
    with spinning(node):
        setting = Setting(other, "node")
        assert setting.set("depth", 4)[0]
        successful, reason = setting.set("depth", 7)
        assert not successful and "seven does not fit" in reason
        successful, reason = setting.set("depth", 12)
        assert not successful and "12" in reason
        successful, reason = setting.set("mode", "sloppy")
        assert not successful and "one of fast, exact" in reason
        assert setting.set("rate_hz", 20)[0]
        assert setting.set("names", ["b", "c"])[0]
    assert [changed for _, changed in accepted] == [{"depth"}, {"rate_hz"}, {"names"}]
    assert source.read() == accepted[-1][0] == Parameters(rate_hz=20.0, depth=4, names=("b", "c"))


def test_a_fault_can_be_mended_before_it_is_read_again(join: Join) -> None:
    node, other = join("node", "depth:=0"), join("other")
    source = node.declare_parameters(Parameters, lambda *_: None)
    with pytest.raises(ConfigurationError, match="depth = 0"):
        source.read()
    if hasattr(other, "_node"):
        with spinning(node):
            assert Setting(other, "node").set("depth", 2)[0]
        assert source.read().depth == 2


def test_triggers_are_answered_at_once_or_later(join: Join) -> None:
    node, other = join("node"), join("other")
    node.create_trigger("~/now", lambda answer: answer(True, "done"))
    node.create_trigger("~/never", lambda answer: answer(False, "not possible"))

    def later(answer: Callable[[bool, str], None]) -> None:
        threading.Thread(target=lambda: (time.sleep(0.2), answer(True, "at last"))).start()

    node.create_trigger("~/later", later)
    with spinning(node):
        setting = Setting(other, "node")
        assert setting.pull("now") == (True, "done")
        successful, text = setting.pull("never")
        assert not successful and "not possible" in text
        assert setting.pull("later") == (True, "at last")


def test_what_is_closed_has_left_the_graph(join: Join) -> None:
    node, other = join("node"), join("other")
    heard: list[str] = []
    publisher = other.create_publisher("/closing", STRING)
    subscription = node.create_subscription("/closing", STRING, lambda message, _: heard.append(message.data))
    assert other.spin(lambda: publisher.matched == 1, 20)
    assert node.spin(lambda: subscription.matched == 1, 20)
    subscription.close()
    node.spin(timeout_s=0.3)
    assert other.spin(lambda: publisher.matched == 0, 20)
    assert subscription.matched == 0
    publisher.publish(message_class(STRING)(data="unheard"))
    assert not node.spin(lambda: bool(heard), 0.3)
    again = node.create_subscription("/closing", STRING, lambda message, _: heard.append(message.data))
    assert other.spin(lambda: publisher.matched == 1, 20)
    publisher.close()
    assert publisher.matched == 0
    assert node.spin(lambda: again.matched == 0, 20)


def test_stamps_are_the_wall_clock_without_simulated_time(join: Join) -> None:
    middleware = join()
    assert abs(middleware.stamp() - time.time_ns()) < 5_000_000_000


@pytest.mark.parametrize("join", [ROS], indirect=True)  # plain DDS has no node names
def test_two_nodes_of_one_name_are_told(join: Join, caplog: pytest.LogCaptureFixture) -> None:
    _first, second = join("twin"), join("twin")
    with caplog.at_level(logging.WARNING, logger="twin"):
        assert second.spin(lambda: "there is another node called /twin" in caplog.text, 20)
