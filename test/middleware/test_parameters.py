from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.middleware.parameters import describe_parameters, load_parameters, parameter


@dataclass(frozen=True)
class Parameters:
    rate_hz: float = parameter(10.0, "how often", low=0.5, high=100.0)
    depth: int = parameter(3, "how many", low=1)
    verbose: bool = parameter(False, "say more")
    mode: str = parameter("fast", "how", choices=("fast", "exact"))
    name: str = parameter("", "what")
    cameras: tuple[str, ...] = parameter(("front",), "which")
    limits: tuple[float, ...] = parameter((), "bounds", low=0.0)


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "rate_hz": st.floats(0.5, 100.0),
        "depth": st.integers(1, 10**6),
        "verbose": st.booleans(),
        "mode": st.sampled_from(["fast", "exact"]),
        "name": st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20),
        "cameras": st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), max_size=4),
        "limits": st.lists(st.floats(0, 1e6), max_size=4),
    },
)


def as_tuples(values: dict) -> dict:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def write(path: Path, sections: dict) -> Path:
    content = {node: {"ros__parameters": values} for node, values in sections.items()}
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


@given(general=VALUES, own=VALUES, overrides=VALUES)
def test_more_specific_values_win(
    tmp_path_factory: pytest.TempPathFactory, general: dict, own: dict, overrides: dict
) -> None:
    file = write(tmp_path_factory.mktemp("p") / "p.yaml", {"/**": general, "node": own, "other": {"depth": "no"}})
    texts = [f"{name}:={yaml.safe_dump(value, default_flow_style=True)}" for name, value in overrides.items()]
    loaded = load_parameters(Parameters, "/node", [file], texts)
    expected = Parameters(**as_tuples({**general, **own, **overrides}))
    assert loaded == expected


@given(st.dictionaries(st.sampled_from([field.name for field in fields(Parameters)] + ["nonsense"]), st.none()))
def test_every_fault_is_named_at_once(values: dict) -> None:
    overrides = [f"{name}:=null" for name in values]
    if not values:
        assert load_parameters(Parameters, "node", (), overrides) == Parameters()
        return
    with pytest.raises(ConfigurationError) as caught:
        load_parameters(Parameters, "node", (), overrides)
    assert all(name in str(caught.value) for name in values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rate:=3", "there is no parameter 'rate', did you mean 'rate_hz'?"),
        ("rate_hz:=fast", "rate_hz = 'fast' is not a number"),
        ("rate_hz:=0.1", "rate_hz = 0.1 is not from 0.5 to 100"),
        ("rate_hz:=.nan", "rate_hz = nan is not a finite number"),
        ("depth:=0", "depth = 0 is not at least 1"),
        ("depth:=2.5", "depth = 2.5 is not a whole number"),
        ("depth:=true", "depth = True is not a whole number"),
        ("verbose:=1", "verbose = 1 is not true or false"),
        ("mode:=slow", "mode = 'slow' is not one of fast, exact"),
        ("cameras:=front", "cameras = 'front' is not a list of texts"),
        ("limits:=[1.0, -1.0]", "limits = [1.0, -1.0] is not at least 0"),
        ("depth=3", "'depth=3' is not of the form name:=value"),
        ("name:=[", "the value is not YAML"),
    ],
)
def test_what_is_wrong_is_said(override: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_parameters(Parameters, "node", (), [override])
    assert words in str(caught.value)


@pytest.mark.parametrize(("text", "value"), [("20", 20.0), ("2e1", 20.0), ("2.5e-1", None), ("20.0", 20.0)])
def test_numbers_are_read_as_ros_2_reads_them(text: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(ConfigurationError, match="is not from"):
            load_parameters(Parameters, "node", (), [f"rate_hz:={text}"])
    else:
        assert load_parameters(Parameters, "node", (), [f"rate_hz:={text}"]).rate_hz == value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not YAML"),
        ("- 1\n", "does not have ROS 2's form"),
        ("depth: 3\n", "does not have ROS 2's form"),
        ("/**:\n  depth: 3\n", "does not have ROS 2's form"),
        ("/**:\n  ros__parameters: {depth: 3}\n  depth: 4\n", "holds depth beside ros__parameters"),
        ("", "does not have ROS 2's form"),
    ],
)
def test_files_of_another_form(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        load_parameters(Parameters, "node", [file])
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the parameter file '.*none.yaml' cannot be read: No such file"):
        load_parameters(Parameters, "node", [tmp_path / "none.yaml"])


def test_description_names_type_default_and_range() -> None:
    described = {name: rest for name, *rest in describe_parameters(Parameters)}
    assert described["rate_hz"] == ["a number", 10.0, "how often (from 0.5 to 100)"]
    assert described["cameras"] == ["a list of texts", ["front"], "which"]
    assert described["mode"] == ["a text", "fast", "how (one of fast, exact)"]
