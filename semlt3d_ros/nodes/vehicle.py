"""One file for one vehicle: where its detector is in the graph, its rig, its parameters, its model.

The launch files read it, on the system's Python, so this file imports nothing that pip would have to bring.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.yaml_file import read_yaml, unknown
from semlt3d_ros.middleware.names import resolve_name

MODEL_PARAMETERS = (
    "checkpoint", "model_folder", "follow_promotions", "watch_sets", "watch_error_share", "watch_latency_factor",
    "watch_score_drift", "watch_crashes", "vocabulary_file", "second_opinion", "device", "threads",
)  # fmt: skip
"""What ``config/model.yaml`` holds."""
_FILES = ("checkpoint", "vocabulary_file", "objects_classes_file")
_TOKEN = r"[A-Za-z_][A-Za-z0-9_]*"
_NAME = re.compile(_TOKEN)
_NAMESPACE = re.compile(rf"/|/?{_TOKEN}(/{_TOKEN})*")
_TOPIC = re.compile(rf"(/|~/)?{_TOKEN}(/{_TOKEN})*")
_PLAIN = (bool, int, float, str)


@dataclass(frozen=True)
class Vehicle:
    """What a vehicle file says; what it leaves out is empty.

    Attributes:
        namespace, name: of the node.
        rig: path of the rig file: that of the vehicle file itself, where it describes the rig within.
        remaps: pairs of a topic's or service's name and the one it gets.
        parameters: of the node and the model, by name; paths are absolute.
    """

    namespace: str = ""
    name: str = ""
    rig: str = ""
    remaps: tuple[tuple[str, str], ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def topic(self, name: str, namespace: str, node_name: str) -> str:
        """The absolute name of a topic of the node, once it is remapped."""
        plain = resolve_name(name, node_name, namespace)
        for before, after in self.remaps:
            if resolve_name(before, node_name, namespace) == plain:
                return resolve_name(after, node_name, namespace)
        return plain


def read_vehicle(path: Path, rigs: Mapping[str, Path]) -> Vehicle:
    """Read a vehicle file; ``config/vehicles/`` holds examples. Paths in it are relative to its folder.

    Args:
        path: the file.
        rigs: rigs that it may call by name.

    Raises:
        ConfigurationError: the file cannot be read, or lists all its faults.
    """
    data = read_yaml(path, "vehicle file")
    readers: dict[str, Callable[[Any, Path, list[str]], Any]] = {
        "namespace": lambda value, _, faults: _text("namespace", value, faults),
        "name": lambda value, _, faults: _text("name", value, faults),
        "rig": lambda value, file, faults: _rig(value, file, rigs, faults),
        "remaps": _remaps,
        "parameters": _parameters,
        "model": _model,
    }
    if not isinstance(data, Mapping):
        raise ConfigurationError(f"vehicle file '{path}' holds none of {', '.join(readers)}")
    faults: list[str] = []
    read: dict[str, Any] = {}
    for key, value in data.items():
        if key not in readers:
            faults.append(f"there is no entry '{key}', {unknown(key, readers)}")
        elif value is not None:
            read[key] = readers[key](value, path, faults)
    faults += name_faults(read.get("namespace", ""), read.get("name", ""))
    model, parameters = read.pop("model", {}), read.pop("parameters", {})
    faults += [f"{name} is among both 'model' and 'parameters'; keep one" for name in model if name in parameters]
    if read.get("rig") and "rig_file" in parameters:
        faults.append("there is a 'rig', and 'rig_file' among the parameters; keep one")
    if faults:
        raise ConfigurationError(f"vehicle file '{path}': {'; '.join(faults)}")
    return Vehicle(**read, parameters=_with_paths({**parameters, **model}, path))


def name_faults(namespace: str, name: str) -> list[str]:
    """What is wrong with a namespace and a node's name; either may be empty."""
    faults = []
    if namespace and not _NAMESPACE.fullmatch(namespace):
        faults.append(f"namespace: '{namespace}' is none; perception/front is")
    if name and not _NAME.fullmatch(name):
        faults.append(f"name: '{name}' is none of a node; semlt3d is")
    return faults


def rig_on_screen(path: Path | None) -> tuple[str, str, tuple[str, ...]]:
    """Base frame, topic of points and cameras that a rig file says; empty where it says none, or cannot be read."""
    try:
        data = read_yaml(path, "rig") if path is not None else {}
        data = data.get("rig", data)
        names = tuple(str(camera["name"]) for camera in data["cameras"])
        return str(data.get("base_frame") or ""), str(data.get("points_topic") or ""), names
    except (ConfigurationError, TypeError, KeyError, AttributeError):
        # The node tells what is wrong with it.
        return "", "", ()


def _text(entry: str, value: Any, faults: list[str]) -> str:
    if isinstance(value, str):
        return value
    faults.append(f"{entry}: {value!r} is not a text")
    return ""


def _rig(value: Any, file: Path, rigs: Mapping[str, Path], faults: list[str]) -> str:
    if isinstance(value, Mapping):
        return str(file)
    if not isinstance(value, str):
        faults.append(f"rig: {value!r} is neither a name, a path, nor a rig with its cameras")
        return ""
    if value in rigs:
        return str(rigs[value])
    path = _resolved(value, file)
    if not path.is_file():
        faults.append(f"rig: '{value}' is neither a file nor one of {', '.join(sorted(rigs))}")
    return str(path)


def _remaps(value: Any, _file: Path, faults: list[str]) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        faults.append("remaps: lines such as '~/objects: /perception/objects' are needed")
        return ()
    for pair in value.items():
        for name in pair:
            if not isinstance(name, str) or not _TOPIC.fullmatch(name):
                faults.append(f"remaps: {name!r} is not a name such as ~/objects or /tf")
    return tuple((str(name), str(to)) for name, to in value.items())


def _parameters(value: Any, _file: Path, faults: list[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        faults.append("parameters: lines such as 'score_threshold: 0.2' are needed")
        return {}
    for name, item in value.items():
        entries = item if isinstance(item, list) else [item]
        if name == "use_sim_time":
            faults.append("parameters: use_sim_time is said when launching, use_sim_time:=true")
        elif not entries or not all(isinstance(entry, _PLAIN) for entry in entries):
            faults.append(f"parameters: {name}: {item!r} is no truth value, number, text, or list of these")
    return {str(name): item for name, item in value.items()}


def _model(value: Any, file: Path, faults: list[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        faults.append("model: lines such as 'checkpoint: city.safetensors' are needed")
        return {}
    for name in value:
        if name not in MODEL_PARAMETERS:
            faults.append(f"model: there is no entry '{name}', {unknown(name, MODEL_PARAMETERS)}")
    parameters = _parameters(value, file, faults)
    for name, path in _with_paths(parameters, file).items():
        if name in _FILES and path and not parameters.get("model_folder") and not Path(path).is_file():
            faults.append(f"model: {name}: '{path}' is not a file")
    return parameters


def _with_paths(parameters: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The same with absolute paths, but for a checkpoint within a model folder."""
    inside = ("checkpoint",) if parameters.get("model_folder") else ()
    return {
        name: str(_resolved(value, file))
        if name in (*_FILES, "model_folder", "rig_file") and name not in inside and isinstance(value, str) and value
        else value
        for name, value in parameters.items()
    }


def _resolved(path: str, file: Path) -> Path:
    return file.parent.absolute() / Path(path).expanduser()
