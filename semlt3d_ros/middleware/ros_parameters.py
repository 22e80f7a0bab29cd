"""A parameter dataclass as the parameters of a ROS 2 node."""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Iterable
from typing import Any, Generic, get_args, get_origin, get_type_hints

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.parameter import Parameter

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.middleware.parameters import check_values, describe_parameters
from semlt3d_ros.middleware.port import Accept, P

_ROS_OWN = ("use_sim_time", "qos_overrides.", "start_type_description_service")
_ARRAYS = {str: "STRING_ARRAY", float: "DOUBLE_ARRAY", int: "INTEGER_ARRAY", bool: "BOOL_ARRAY"}


class RosParameters(Generic[P]):
    """See ``port.ParameterSource``.

    Values that do not fit are kept until they are set anew, so that ``read`` names every fault at once.

    Args:
        node: an rclpy node made with ``automatically_declare_parameters_from_overrides``.
        kind: the parameter dataclass.
        accept: see ``Middleware.declare_parameters``.
    """

    def __init__(self, node: Any, kind: type[P], accept: Accept[P]) -> None:
        self._node = node
        self._kind = kind
        self._accept = accept
        self._values: dict[str, tuple[Any, str]] = {}
        known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
        for name, parameter in node.get_parameters_by_prefix("").items():
            if not name.startswith(_ROS_OWN):
                self._values[name] = (_plain(parameter.value), "given")
                if name in known:
                    node.undeclare_parameter(name)
        self._declare()
        node.add_on_set_parameters_callback(self._on_set)

    def read(self) -> P:
        """See the port."""
        faults: list[str] = []
        values = check_values(self._kind, self._values, faults)
        if faults:
            raise ConfigurationError(f"parameters of '{self._node.get_name()}': " + "; ".join(faults))
        return self._kind(**values)

    def _declare(self) -> None:
        checked = check_values(self._kind, self._values, [])
        hints = get_type_hints(self._kind)
        fields = {field.name: field for field in dataclasses.fields(self._kind)}  # type: ignore[arg-type]
        for name, _, default, description in describe_parameters(self._kind):
            value = checked.get(name, default)
            # Dynamic: a whole number is a number too, and what does not fit is told in our own words.
            descriptor = ParameterDescriptor(description=description, dynamic_typing=True)
            low, high = fields[name].metadata["low"], fields[name].metadata["high"]
            if hints[name] is float and low is not None and high is not None:
                descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
            elif hints[name] is int and low is not None and high is not None:
                descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
            if get_origin(hints[name]) is tuple:
                kind = Parameter.Type[_ARRAYS[get_args(hints[name])[0]]]
                self._node.declare_parameter(name, None, descriptor, ignore_override=True)
                self._node.set_parameters([Parameter(name, kind, list(value))])
            else:
                self._node.declare_parameter(name, value, descriptor, ignore_override=True)

    def _on_set(self, parameters: Iterable[Any]) -> SetParametersResult:
        changes = {
            parameter.name: (_plain(parameter.value), "set")
            for parameter in parameters
            if not parameter.name.startswith(_ROS_OWN)
        }
        faults: list[str] = []
        check_values(self._kind, changes, faults)
        if faults:
            return SetParametersResult(successful=False, reason="; ".join(faults))
        values = {**self._values, **changes}
        others: list[str] = []
        checked = check_values(self._kind, values, others)
        try:
            # What is still wrong elsewhere is told when the node is configured.
            self._accept(self._kind(**checked), frozenset(changes))
        except ConfigurationError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._values = values
        return SetParametersResult(successful=True)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, array.array) else value
