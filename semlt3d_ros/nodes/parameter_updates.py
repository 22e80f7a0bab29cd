"""Parameters set while a node runs.

A node listens on ``/<node>/set_parameter`` (``rcl_interfaces/msg/Parameter``) and tells on
``/<node>/set_parameter_result`` (``rcl_interfaces/msg/SetParametersResult``) what came of it. Plain topics work on any
middleware; from a shell, ``semlt3d set`` or::

    ros2 topic pub --once /semlt3d_detector/set_parameter rcl_interfaces/msg/Parameter \\
        "{name: vocabulary_file, value: {type: 4, string_value: /data/anchors.safetensors}}"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.middleware.port import Middleware

PARAMETER_TYPE = "rcl_interfaces/msg/Parameter"
RESULT_TYPE = "rcl_interfaces/msg/SetParametersResult"
_PATIENCE_S = 2.0
_TEXT = 4
"""``PARAMETER_STRING`` of ``rcl_interfaces/msg/ParameterType``."""


def request_topic(node_name: str) -> str:
    """Where a node takes parameters."""
    return f"/{node_name}/set_parameter"


def result_topic(node_name: str) -> str:
    """Where a node tells what came of them."""
    return f"/{node_name}/set_parameter_result"


class ParameterUpdates:
    """The node's side.

    Args:
        middleware: the graph.
        node_name: gives the topics their names.
        setters: for each text parameter that can be set while the node runs, what sets it; it raises
            ``ConfigurationError`` for a value that cannot be used, and has then changed nothing.
    """

    def __init__(self, middleware: Middleware, node_name: str, setters: Mapping[str, Callable[[str], None]]) -> None:
        self._setters = setters
        self._logger = middleware.logger
        self._result = middleware.types(RESULT_TYPE)
        self._publisher = middleware.create_publisher(result_topic(node_name), RESULT_TYPE)
        middleware.create_subscription(request_topic(node_name), PARAMETER_TYPE, self._on_request)

    def _on_request(self, message: Any, _received: int) -> None:
        try:
            reason = self._set(message.name, message.value)
            self._logger.info("%s", reason)
            successful = True
        except ConfigurationError as error:
            successful, reason = False, str(error)
            self._logger.warning("parameter '%s' stays as it was: %s", message.name, reason)
        self._publisher.publish(self._result(successful=successful, reason=reason))

    def _set(self, name: str, value: Any) -> str:
        if name not in self._setters:
            raise ConfigurationError(
                f"parameter '{name}' cannot be set while the node runs; these can: {', '.join(self._setters)}"
            )
        if value.type != _TEXT:
            raise ConfigurationError(
                f"parameter '{name}' takes a text (type {_TEXT}), not a value of type {value.type}"
            )
        self._setters[name](value.string_value)
        return f"{name} = '{value.string_value}'"


def set_parameter(middleware: Middleware, node_name: str, name: str, value: str, timeout_s: float) -> str:
    """Set a text parameter of a running node, and wait for its answer.

    Returns:
        What the node says.

    Raises:
        Semlt3dError: the node rejects the value, is not there, or does not answer in time.
    """
    results: list[Any] = []
    listening = middleware.create_subscription(
        result_topic(node_name), RESULT_TYPE, lambda message, _: results.append(message)
    )
    asking = middleware.create_publisher(request_topic(node_name), PARAMETER_TYPE)
    if not middleware.spin(lambda: asking.matched > 0 and listening.matched > 0, timeout_s):
        raise Semlt3dError(f"there is no node '{node_name}' that takes parameters; start it, or check ROS_DOMAIN_ID")
    request = middleware.types(PARAMETER_TYPE)(name=name, value=_text_value(middleware, value))
    # Asked again where the answer is lost: the node may come to know the one who listens after the one who asks.
    for _ in range(max(1, round(timeout_s / _PATIENCE_S))):
        asking.publish(request)
        if middleware.spin(lambda: bool(results), _PATIENCE_S):
            break
    else:
        raise Semlt3dError(f"node '{node_name}' has not answered within {timeout_s:g} s")
    if not results[0].successful:
        raise Semlt3dError(f"node '{node_name}' rejects {name} = '{value}': {results[0].reason}")
    return results[0].reason


def _text_value(middleware: Middleware, value: str) -> Any:
    return middleware.types("rcl_interfaces/msg/ParameterValue")(
        type=_TEXT,
        bool_value=False,
        integer_value=0,
        double_value=0.0,
        string_value=value,
        byte_array_value=np.zeros(0, np.uint8),
        bool_array_value=np.zeros(0, np.bool_),
        integer_array_value=np.zeros(0, np.int64),
        double_array_value=np.zeros(0, np.float64),
        string_array_value=[],
    )
