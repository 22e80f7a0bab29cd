"""The port on rclpy.

Messages cross it as CDR bytes, which rosbags' classes read and write faster than rclpy's generated ones do: nodes see
the same classes here as without ROS, and publish the same bytes. Only what Humble, Jazzy and Lyrical have in common is
used.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from semlt3d_ros.core.errors import ConfigurationError, InputRejected, TypeNotInstalledError
from semlt3d_ros.messages.typestore import MessageTypes, Serialized, deserialize, message_class, serialize
from semlt3d_ros.middleware.port import RELIABLE, Accept, Answer, Callback, P, QoS

try:
    import rclpy
    from rclpy.clock import Clock, ClockType
    from rclpy.context import Context
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.node import Node
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from rclpy.signals import SignalHandlerOptions
    from rclpy.task import Future
    from rosidl_runtime_py.utilities import get_message
    from std_srvs.srv import Trigger

    try:
        from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
    except ImportError:  # Humble
        from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError as error:
    raise ConfigurationError(
        f"running as a ROS 2 node needs a sourced ROS 2 workspace whose Python is this one ({error}); "
        "without ROS, use `semlt3d node`"
    ) from error

from semlt3d_ros.middleware.guard import CallbackGuard
from semlt3d_ros.middleware.ros_graph import GraphWatch
from semlt3d_ros.middleware.ros_lifecycle import ManagedNode
from semlt3d_ros.middleware.ros_logging import ros_logger
from semlt3d_ros.middleware.ros_parameters import RosParameters

_LONGEST_WAIT_S = 0.2
"""Python runs signal handlers only between waits."""
_GRAPH_PERIOD_S = 1.0


class RosPublisher:
    """See ``port.Publisher``."""

    def __init__(self, node: Node, publisher: Any, type_name: str) -> None:
        self.topic: str = publisher.topic_name
        self.type_name = type_name
        self._node = node
        self._publisher = publisher

    def publish(self, message: Any) -> None:
        """See the port."""
        if isinstance(message, Serialized) and message.type_name == self.type_name:
            self._publisher.publish(message)
        elif isinstance(message, (bytes, memoryview)):
            try:
                deserialize(message, self.type_name)  # rmw would send whatever it is given
            except InputRejected as error:
                raise InputRejected(error.reason, f"topic {self.topic}: {error}") from error
            self._publisher.publish(bytes(message))
        else:
            self._publisher.publish(serialize(message, self.type_name))

    @property
    def matched(self) -> int:
        """See the port."""
        return self._publisher.get_subscription_count() if self._publisher is not None else 0

    def close(self) -> None:
        """See the port."""
        self._node.destroy_publisher(self._publisher)
        self._publisher = None


class RosSubscription:
    """See ``port.Subscription``.

    rmw does not tell which messages a full queue pushed out before they were taken, so ``dropped`` has no ``overflow``.
    """

    def __init__(self, node: Node, subscription: Any, type_name: str, watch: GraphWatch) -> None:
        self.topic: str = subscription.topic_name
        self.type_name = type_name
        self.dropped: Counter[str] = Counter()
        self._node = node
        self._subscription = subscription
        self._watch = watch

    @property
    def matched(self) -> int:
        """See the port."""
        return self._watch.publishers(self.topic) if self._subscription is not None else 0

    def close(self) -> None:
        """See the port."""
        self._watch.forget_subscription(self.topic)
        self._node.destroy_subscription(self._subscription)
        self._subscription = None


class RosTimer:
    """See ``port.Timer``."""

    def __init__(self, node: Node, timer: Any) -> None:
        self._node = node
        self._timer = timer

    def cancel(self) -> None:
        """See the port."""
        self._node.destroy_timer(self._timer)


class RosMiddleware:
    """A node of a ROS 2 graph with a single-threaded executor; see ``port.Middleware``.

    Args:
        name: the node's name, unless it is remapped.
        arguments: the process' arguments, of which everything after ``--ros-args`` counts.
        lifecycle: be a managed node; ``manage`` says by whom.
        domain_id: the ROS domain; None takes ROS_DOMAIN_ID, or 0.

    Attributes:
        errors: exceptions that left callbacks, by exception class.

    Raises:
        ConfigurationError: the arguments, or the files they name, cannot be used.
    """

    def __init__(
        self, name: str, arguments: Sequence[str] = (), lifecycle: bool = False, domain_id: int | None = None
    ) -> None:
        self.types: MessageTypes = message_class
        self._context = Context()
        try:
            rclpy.init(
                args=list(arguments),
                context=self._context,
                domain_id=domain_id,
                signal_handler_options=SignalHandlerOptions.NO,
            )
            kind = ManagedNode if lifecycle else Node
            self._node: Any = kind(name, context=self._context, automatically_declare_parameters_from_overrides=True)
        except Exception as error:
            self._context.try_shutdown()
            # rcl reads [] as a parameter without a type, and names neither the parameter nor the file.
            hint = "; is there an empty list in a parameter file? leave it out" if "NOT_SET" in str(error) else ""
            raise ConfigurationError(f"the ROS node '{name}' cannot be made: {error}{hint}") from error
        self.node_name: str = self._node.get_name()
        self.logger = ros_logger(self._node)
        self._guarded = CallbackGuard(self.logger)
        self.errors = self._guarded.errors
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._wake = self._node.create_guard_condition(lambda: None)
        self._soon: deque[Callable[[], None]] = deque()
        self._stopped = False
        self._watch = GraphWatch(self._node, self.logger)
        self.create_timer(_GRAPH_PERIOD_S, self._watch.check)

    def manage(self, transition: Callable[[str], None]) -> None:
        """Have a lifecycle node's transitions done, by their names: ``configure``, ``activate``, ``deactivate`` ...

        What ``transition`` raises is logged, and the transition fails.
        """
        self._node.transition = transition

    def start(self) -> bool:
        """Configure and activate a lifecycle node; returns whether both succeeded."""
        success = TransitionCallbackReturn.SUCCESS
        return self._node.trigger_configure() == success and self._node.trigger_activate() == success

    def create_publisher(self, topic: str, type_name: str, qos: QoS = RELIABLE) -> RosPublisher:
        """See the port."""
        publisher = self._node.create_publisher(
            _ros_type(type_name),
            topic,
            _profile(qos),
            event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
        )
        self._watch.add_publisher(publisher.topic_name, type_name, qos)
        return RosPublisher(self._node, publisher, type_name)

    def create_subscription(
        self, topic: str, type_name: str, callback: Callback, qos: QoS = RELIABLE, raw: bool = False
    ) -> RosSubscription:
        """See the port."""

        def take(data: bytes) -> None:
            received = time.time_ns()
            if raw:
                self._guarded(lambda: callback(data, received))
            else:
                self._guarded(lambda: callback(_decoded(subscription, data), received))

        created = self._node.create_subscription(
            _ros_type(type_name),
            topic,
            take,
            _profile(qos),
            # GraphWatch tells more than rclpy's own warnings, which the executor would wait for at every turn.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            raw=True,
        )
        self._watch.add_subscription(created.topic_name, type_name, qos)
        subscription = RosSubscription(self._node, created, type_name, self._watch)
        return subscription

    def create_trigger(self, name: str, callback: Callable[[Answer], None]) -> None:
        """See the port: a ``std_srvs/Trigger`` service."""

        async def serve(_request: Any, response: Any) -> Any:
            answered: Any = Future()

            def answer(success: bool, message: str) -> None:
                self.call_soon(lambda: answered.set_result((success, message)))

            self._guarded(lambda: callback(answer))
            response.success, response.message = await answered
            return response

        self._node.create_service(Trigger, name, serve)

    def declare_parameters(self, kind: type[P], accept: Accept[P]) -> RosParameters[P]:
        """See the port: the node's own parameters."""
        return RosParameters(self._node, kind, accept)

    def create_timer(self, period_s: float, callback: Callable[[], None]) -> RosTimer:
        """See the port."""
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        return RosTimer(self._node, self._node.create_timer(period_s, lambda: self._guarded(callback), clock=clock))

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See the port."""
        self._soon.append(callback)
        self._trigger_wake()

    def now(self) -> int:
        """See the port."""
        return time.time_ns()

    def stamp(self) -> int:
        """See the port."""
        return int(self._node.get_clock().now().nanoseconds)

    def spin(self, until: Callable[[], bool] | None = None, timeout_s: float | None = None) -> bool:
        """See the port."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._stopped:
            while self._soon:
                self._guarded(self._soon.popleft())
            if until is not None and until():
                return True
            remaining = _LONGEST_WAIT_S if end is None else end - time.monotonic()
            if remaining <= 0:
                return False
            try:
                self._executor.spin_once(timeout_sec=min(remaining, _LONGEST_WAIT_S))
            except ExternalShutdownException:
                self._stopped = True
        return until is not None and until()

    @property
    def stopped(self) -> bool:
        """See the port."""
        return self._stopped

    def stop(self) -> None:
        """See the port; ``spin`` looks at it after its longest wait at the latest.

        No more than a flag, for signal handlers come anywhere: rclpy's locks, and an ``Event``'s, may just be held by
        the code that they interrupt.
        """
        self._stopped = True

    def shutdown(self) -> None:
        """See the port."""
        self._stopped = True
        if self._context.ok():
            self._executor.shutdown(timeout_sec=0)
            self._node.destroy_node()
            self._context.try_shutdown()

    def _trigger_wake(self) -> None:
        if self._context.ok():
            self._wake.trigger()


def _decoded(subscription: RosSubscription, data: bytes) -> Any:
    try:
        return deserialize(data, subscription.type_name)
    except InputRejected as error:
        subscription.dropped["malformed"] += 1
        raise InputRejected(error.reason, f"topic {subscription.topic}: {error}") from error


def _ros_type(type_name: str) -> Any:
    try:
        return get_message(type_name)
    except (ImportError, AttributeError, ValueError) as error:
        package = type_name.partition("/")[0]
        raise TypeNotInstalledError(
            f"message type {type_name} is not installed here ({error}); install the ROS package {package}"
        ) from error


def _profile(qos: QoS) -> QoSProfile:
    return QoSProfile(
        depth=qos.depth,
        reliability=ReliabilityPolicy.RELIABLE if qos.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if qos.transient_local else DurabilityPolicy.VOLATILE,
    )
