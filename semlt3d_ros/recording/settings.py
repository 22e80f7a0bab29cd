"""What ``config/recording.yaml`` says: which triggers make events, and what of the recording is blurred."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from semlt3d_ros.core.checks import Checked, Checks
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.yaml_file import read_yaml, unknown
from semlt3d_ros.recording.trigger import Trigger
from semlt3d_ros.recording.triggers import KINDS, AllOf

_SHIPPED = "recording.yaml"
_NAME = re.compile(r"[a-z0-9_]{1,40}")
_HOOK = re.compile(r"[\w.]+:\w+")


def _names(recording: Recording) -> Iterator[str]:
    if not recording.triggers:
        yield "triggers: there is none, so nothing would be recorded; name one, such as always: {}"
    above: list[str] = []
    for name, trigger in recording.triggers.items():
        if not _NAME.fullmatch(name):
            yield f"trigger '{name}': names are of a-z, 0-9 and _, since events' folders bear them"
        if isinstance(trigger, AllOf) and not set(trigger.of) <= set(above):
            strange = ", ".join(sorted(set(trigger.of) - set(above)))
            yield f"trigger '{name}': of names {strange}; the triggers above it are {', '.join(above) or 'none'}"
        above.append(name)


def _topics(recording: Recording) -> Iterator[str]:
    for topic, kind in recording.topics.items():
        if not topic.startswith("/") or len(kind.split("/")) != 3:
            yield f"topics: '{topic}: {kind}' is not of the form /topic: package/msg/Name"


def _hook(recording: Recording) -> Iterator[str]:
    if recording.blur is not None and not _HOOK.fullmatch(recording.blur):
        yield f"blur '{recording.blur}' is not of the form module:function"


@dataclass(frozen=True)
class Recording(Checked):
    """What is recorded, and when.

    Attributes:
        triggers: by name, in their order; see ``recording.triggers``.
        topics: what is recorded besides the rig's topics and the detector's, each with its type.
        blur: ``module:function`` that every image passes before it is written (``recording.blurring``); None: none.
    """

    TITLE: ClassVar[str] = "recording"
    CHECKS: ClassVar[Checks] = (_names, _topics, _hook)

    triggers: dict[str, Trigger] = field(default_factory=dict)
    topics: dict[str, str] = field(default_factory=dict)
    blur: str | None = None


def load_recording(path: Path) -> Recording:
    """Read a file as ``config/recording.yaml``.

    Raises:
        ConfigurationError: the file cannot be read, or lists all its faults.
    """
    from semlt3d_ros.core.config import ConfigurationFaults, parse

    data = read_yaml(path, "recording")
    place = f"recording '{path}'"
    faults: list[str] = []
    given = data.get("triggers") if isinstance(data, Mapping) else None
    triggers = _triggers(given, faults) if isinstance(given, Mapping) else {}
    try:
        rest = {**data, "triggers": {}} if isinstance(given, Mapping) else data
        plain = parse(_WithoutTriggers, rest, place)
    except ConfigurationFaults as error:
        raise ConfigurationFaults(place, [*error.faults, *faults]) from error
    if faults:
        raise ConfigurationFaults(place, faults)
    try:
        return Recording(triggers, plain.topics, plain.blur)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from error


def default_recording() -> Path:
    """The file that comes with the package."""
    installed = Path(str(resources.files("semlt3d_ros"))) / "config" / _SHIPPED
    return installed if installed.is_file() else Path(__file__).resolve().parents[2] / "config" / _SHIPPED


@dataclass(frozen=True)
class _WithoutTriggers:
    triggers: dict[str, Any] = field(default_factory=dict)
    topics: dict[str, str] = field(default_factory=dict)
    blur: str | None = None


def _triggers(given: Mapping[Any, Any], faults: list[str]) -> dict[str, Trigger]:
    from semlt3d_ros.core.config import ConfigurationFaults, parse

    found: dict[str, Trigger] = {}
    for name, value in given.items():
        entries = {} if value is None else value  # `always:` alone is the trigger as it comes
        kind = entries.get("kind", name) if isinstance(entries, Mapping) else name
        if kind not in KINDS:
            faults.append(f"triggers.{name}: there is no kind '{kind}', {unknown(kind, KINDS)}; name one with kind:")
            continue
        try:
            found[str(name)] = parse(KINDS[kind], entries, f"triggers.{name}")
        except ConfigurationFaults as error:
            faults.extend(f"triggers.{name}.{fault}" for fault in error.faults)
        except ConfigurationError as error:
            faults.append(str(error))
    return found
