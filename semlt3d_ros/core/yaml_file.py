"""YAML as everybody means it: numbers are numbers, and no entry is given twice."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from semlt3d_ros.core.errors import ConfigurationError

_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_MERGE = "tag:yaml.org,2002:merge"
_REPLACED = {_INT, _FLOAT, "tag:yaml.org,2002:timestamp"}


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 8e-4 as a text, 010 as 8, 1:30 as 90 and dates as dates; here numbers are those of YAML 1.2."""

    # A copy: the class of the library is shared with everybody.
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in known if tag not in _REPLACED]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)  # type: ignore[assignment]
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(problem=f"'{key.value}' is given twice", problem_mark=key.start_mark)
                seen.add((key.tag, key.value))
        return node


_Loader.add_implicit_resolver(
    _INT, re.compile(r"(?:[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+|0b[01]+|0o[0-7]+)\Z"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
    list("-+0123456789."),
)


def yaml_value(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ConfigurationError: it is not YAML, or gives an entry twice; the message says where.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise ConfigurationError("is not YAML: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, AttributeError) as error:
        # The library names the text it was given.
        text = " ".join(str(error).split()).replace('in "<unicode string>", ', "in ")
        raise ConfigurationError(f"is not YAML: {text}") from error


def read_yaml(path: Path, what: str) -> Any:
    """The values in a YAML file, which is a ``what`` in messages.

    Raises:
        ConfigurationError: the file is absent, is not in UTF-8, is not YAML, or gives an entry twice.
    """
    try:
        return yaml_value(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{what} '{path}' cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{what} '{path}' is not YAML: it is not in UTF-8 ({error.reason})") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{what} '{path}' {error}") from error


def unknown(name: Any, known: Iterable[str]) -> str:
    """What to say of a name that is not one of those known."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
