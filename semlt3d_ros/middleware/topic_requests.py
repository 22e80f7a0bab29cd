"""Parameters and triggers over plain topics, where a middleware has no services (DDS without ROS).

A node listens on ``~/set_parameter`` (``rcl_interfaces/msg/Parameter``) and on ``<trigger>/request``
(``std_msgs/msg/Empty``), and tells on ``~/set_parameter/result`` and ``<trigger>/result``
(``rcl_interfaces/msg/SetParametersResult``) what came of it. From a shell: ``semlt3d set``, ``semlt3d call``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic

import numpy as np

from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.messages.typestore import MessageTypes
from semlt3d_ros.middleware.parameters import check_values, load_parameters
from semlt3d_ros.middleware.port import Accept, Answer, Middleware, P

PARAMETER_TYPE = "rcl_interfaces/msg/Parameter"
RESULT_TYPE = "rcl_interfaces/msg/SetParametersResult"
EMPTY_TYPE = "std_msgs/msg/Empty"
SET_PARAMETER = "~/set_parameter"
_PATIENCE_S = 2.0
_FIELDS = {
    1: "bool_value",
    2: "integer_value",
    3: "double_value",
    4: "string_value",
    6: "bool_array_value",
    7: "integer_array_value",
    8: "double_array_value",
    9: "string_array_value",
}
"""Fields of ``rcl_interfaces/msg/ParameterValue`` by ``rcl_interfaces/msg/ParameterType``."""
_TYPES = {bool: 1, int: 2, float: 3, str: 4}


class TopicParameters(Generic[P]):
    """The node's side; see ``port.ParameterSource``.

    Args:
        middleware: the graph.
        kind: the parameter dataclass.
        accept: see ``Middleware.declare_parameters``.
        files: parameter files in ROS 2's YAML form.
        overrides: ``name:=value`` texts.
    """

    def __init__(
        self,
        middleware: Middleware,
        kind: type[P],
        accept: Accept[P],
        files: tuple[Path, ...] = (),
        overrides: tuple[str, ...] = (),
    ) -> None:
        self._kind = kind
        self._accept = accept
        self._logger = middleware.logger
        self._initial = (middleware.node_name, files, overrides)
        self._changed: dict[str, Any] = {}
        self._answer = _answering(middleware, SET_PARAMETER)
        middleware.create_subscription(SET_PARAMETER, PARAMETER_TYPE, self._on_request)

    def read(self) -> P:
        """See the port."""
        name, files, overrides = self._initial
        return load_parameters(self._kind, name, files, overrides, self._changed)

    def _on_request(self, message: Any, _received: int) -> None:
        try:
            value = _value_of(message)
            faults: list[str] = []
            checked = check_values(self._kind, {message.name: (value, "set")}, faults)
            if faults:
                raise ConfigurationError("; ".join(faults))
            name, files, overrides = self._initial
            changed = {**self._changed, **checked}
            self._accept(load_parameters(self._kind, name, files, overrides, changed), frozenset(checked))
            self._changed = changed
        except ConfigurationError as error:
            self._logger.warning("parameter '%s' stays as it was: %s", message.name, error)
            self._answer(False, str(error))
        else:
            self._logger.info("%s = %r", message.name, value)
            self._answer(True, f"{message.name} = {value!r}")


def serve_trigger(middleware: Middleware, name: str, callback: Callable[[Answer], None]) -> None:
    """The node's side of a trigger; see ``Middleware.create_trigger``."""
    answer = _answering(middleware, name)
    middleware.create_subscription(f"{name}/request", EMPTY_TYPE, lambda *_: callback(answer))


def set_parameter(middleware: Middleware, node_name: str, name: str, value: Any, timeout_s: float) -> str:
    """Set a parameter of a running node, and wait for its answer.

    Args:
        middleware: the graph.
        node_name: the node.
        name: the parameter.
        value: a bool, int, float, str, or a list of one of these.
        timeout_s: how long to wait for the node, and then for its answer.

    Returns:
        What the node says.

    Raises:
        ConfigurationError: there are no parameters of this type.
        Semlt3dError: the node rejects the value, is not there, or does not answer in time.
    """
    request = middleware.types(PARAMETER_TYPE)(name=name, value=parameter_value(middleware.types, value))
    topic = f"/{node_name}{SET_PARAMETER[1:]}"
    return _ask(middleware, (topic, PARAMETER_TYPE, request), topic, timeout_s)


def call_trigger(middleware: Middleware, node_name: str, name: str, timeout_s: float) -> str:
    """Ask a running node for something, and wait for its answer; raises the same as ``set_parameter``."""
    topic = f"/{node_name}/{name}"
    request = middleware.types(EMPTY_TYPE)()
    return _ask(middleware, (f"{topic}/request", EMPTY_TYPE, request), topic, timeout_s)


def parameter_value(types: MessageTypes, value: Any) -> Any:
    """``rcl_interfaces/ParameterValue`` of a bool, int, float, str, or a list of one of these.

    Raises:
        ConfigurationError: there are no parameters of this type.
    """
    entries = value if isinstance(value, list) else [value]
    kinds = {type(entry) for entry in entries} or {str}
    if len(kinds) > 1 or not kinds <= set(_TYPES):
        raise ConfigurationError(f"{value!r} is not a truth value, number, text, or list of one of these")
    code = _TYPES[kinds.pop()] + (5 if isinstance(value, list) else 0)
    fields = {
        "bool_value": False,
        "integer_value": 0,
        "double_value": 0.0,
        "string_value": "",
        "byte_array_value": np.zeros(0, np.uint8),
        "bool_array_value": np.zeros(0, np.bool_),
        "integer_array_value": np.zeros(0, np.int64),
        "double_array_value": np.zeros(0, np.float64),
        "string_array_value": [],
    }
    former = fields[_FIELDS[code]]
    fields[_FIELDS[code]] = np.asarray(value, former.dtype) if isinstance(former, np.ndarray) else value
    return types("rcl_interfaces/msg/ParameterValue")(type=code, **fields)


def _value_of(message: Any) -> Any:
    field = _FIELDS.get(message.value.type)
    if field is None:
        raise ConfigurationError(
            f"parameter '{message.name}' has a value of type {message.value.type}, not a known one"
        )
    value = getattr(message.value, field)
    return value.tolist() if isinstance(value, np.ndarray) else value


def _answering(middleware: Middleware, name: str) -> Answer:
    result = middleware.types(RESULT_TYPE)
    publisher = middleware.create_publisher(f"{name}/result", RESULT_TYPE)
    return lambda successful, reason: publisher.publish(result(successful=successful, reason=reason))


def _ask(middleware: Middleware, request: tuple[str, str, Any], answered_on: str, timeout_s: float) -> str:
    topic, type_name, message = request
    results: list[Any] = []
    listening = middleware.create_subscription(
        f"{answered_on}/result", RESULT_TYPE, lambda result, _: results.append(result)
    )
    asking = middleware.create_publisher(topic, type_name)
    if not middleware.spin(lambda: asking.matched > 0 and listening.matched > 0, timeout_s):
        raise Semlt3dError(f"no node answers on {answered_on}; start it, or check ROS_DOMAIN_ID")
    # Asked again where the answer is lost: the node may come to know the one who listens after the one who asks.
    for _ in range(max(1, round(timeout_s / _PATIENCE_S))):
        asking.publish(message)
        if middleware.spin(lambda: bool(results), _PATIENCE_S):
            break
    else:
        raise Semlt3dError(f"{answered_on}: no answer within {timeout_s:g} s")
    if not results[0].successful:
        raise Semlt3dError(f"{answered_on}: {results[0].reason}")
    return results[0].reason
