"""Node parameters: declared as a frozen dataclass, read from ROS 2's YAML form and from ``name:=value`` overrides.

    @dataclass(frozen=True)
    class MyParameters:
        rate_hz: float = parameter(10.0, "how often", low=0.1, high=100.0)

An adapter to a middleware with parameters of its own (rclpy) declares the same fields there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.yaml_file import read_yaml, unknown, yaml_value

P = TypeVar("P")


def parameter(
    default: Any,
    description: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    live: bool = False,
) -> Any:
    """A field of a parameter dataclass.

    Args:
        default: its value when nothing is given; lists are given as tuples.
        description: what it means, with its unit.
        low, high: smallest and largest value allowed.
        choices: the texts allowed.
        live: it can be changed while the node is at work.
    """
    metadata = {"description": description, "low": low, "high": high, "choices": choices, "live": live}
    return dataclasses.field(default=default, metadata=metadata)


def load_parameters(
    kind: type[P],
    node_name: str,
    files: Iterable[Path] = (),
    overrides: Iterable[str] = (),
    changed: Mapping[str, Any] | None = None,
) -> P:
    """The parameters of a node: defaults, then each file's ``/**`` section, then the node's own, then the overrides.

    Args:
        kind: a frozen dataclass whose fields come from ``parameter``.
        node_name: the section's name, with or without a leading slash.
        files: YAML files with ``<node>: ros__parameters: {name: value}`` sections; later ones win.
        overrides: ``name:=value`` texts; the value is read as YAML.
        changed: what was set since, by name; it wins over everything.

    Raises:
        ConfigurationError: a file cannot be read, or anything does not fit; all faults are named at once.
    """
    faults: list[str] = []
    given: dict[str, tuple[Any, str]] = {}
    for file in files:
        given.update(_from_file(file, node_name, faults))
    given.update(_from_overrides(overrides, faults))
    given.update({name: (value, "set") for name, value in (changed or {}).items()})
    values = check_values(kind, given, faults)
    if faults:
        raise ConfigurationError(f"parameters of '{node_name}': " + "; ".join(faults))
    return kind(**values)


def check_values(kind: type, given: Mapping[str, tuple[Any, str]], faults: list[str]) -> dict[str, Any]:
    """The values that fit the fields of a parameter dataclass, as their types.

    Args:
        kind: the dataclass.
        given: by name, a value and the place it comes from.
        faults: gets a line for each name that is not known and each value that does not fit.
    """
    from semlt3d_ros.core.config import fitted, shown

    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, (value, place) in given.items():
        if name not in fields:
            faults.append(f"{place}: there is no parameter '{name}', {unknown(name, fields)}")
            continue
        try:
            values[name] = fitted(hints[name], value)
        except ValueError as error:
            faults.append(f"{place}: {name} = {shown(value)} is not {error}")
            continue
        if _beyond(values[name], fields[name].metadata):
            faults.append(f"{place}: {name} = {shown(value)} is not {_limits(fields[name].metadata)}")
            del values[name]
    return values


def live_parameters(kind: type) -> frozenset[str]:
    """Names of the parameters that can be changed while the node is at work."""
    return frozenset(field.name for field in dataclasses.fields(kind) if field.metadata["live"])


def describe_parameters(kind: type) -> list[tuple[str, str, Any, str]]:
    """Name, type, default and description (with the range) of every parameter."""
    from semlt3d_ros.core.config import words

    hints = get_type_hints(kind)
    return [
        (
            field.name,
            words(hints[field.name]),
            list(field.default) if isinstance(field.default, tuple) else field.default,
            field.metadata["description"] + _limits(field.metadata, " ({})"),
        )
        for field in dataclasses.fields(kind)
    ]


def _from_file(file: Path, node_name: str, faults: list[str]) -> dict[str, tuple[Any, str]]:
    content = read_yaml(file, "the parameter file")
    if not isinstance(content, Mapping) or not all(
        isinstance(section, Mapping) and isinstance(section.get("ros__parameters"), Mapping)
        for section in content.values()
    ):
        raise ConfigurationError(
            f"the parameter file '{file}' does not have ROS 2's form '/**: ros__parameters: {{name: value}}'"
        )
    found: dict[str, tuple[Any, str]] = {}
    for pattern in ("/**", node_name.lstrip("/"), "/" + node_name.lstrip("/")):
        section = content.get(pattern)
        if section is not None:
            if set(section) != {"ros__parameters"}:
                extra = ", ".join(sorted(str(key) for key in set(section) - {"ros__parameters"}))
                faults.append(f"{file}: section '{pattern}' holds {extra} beside ros__parameters")
            found.update({str(name): (value, str(file)) for name, value in section["ros__parameters"].items()})
    return found


def _from_overrides(overrides: Iterable[str], faults: list[str]) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    for text in overrides:
        name, separator, value = text.partition(":=")
        if not separator:
            faults.append(f"'{text}' is not of the form name:=value")
            continue
        try:
            found[name.strip()] = (yaml_value(value), f"'{text}'")
        except ConfigurationError:
            faults.append(f"'{text}': the value is not YAML; put it in quotes")
    return found


def _beyond(value: Any, metadata: Mapping[str, Any]) -> bool:
    """Whether a value, or one in a list, is not among those allowed."""
    if isinstance(value, tuple):
        return any(_beyond(entry, metadata) for entry in value)
    low, high, choices = metadata["low"], metadata["high"], metadata["choices"]
    return (
        (choices is not None and value not in choices)
        or (low is not None and value < low)
        or (high is not None and value > high)
    )


def _limits(metadata: Mapping[str, Any], form: str = "{}") -> str:
    low, high, choices = metadata["low"], metadata["high"], metadata["choices"]
    if choices is not None:
        return form.format("one of " + ", ".join(choices))
    if low is not None and high is not None:
        return form.format(f"from {low:g} to {high:g}")
    if low is not None:
        return form.format(f"at least {low:g}")
    return form.format(f"at most {high:g}") if high is not None else ""
