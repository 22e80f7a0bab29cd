"""``semlt3d models``: what a person can do with a model folder; and verdicts in the viewer."""

import json
import shlex
import textwrap

import pytest

from semlt3d_ros import cli
from semlt3d_ros.adaptation.models import ModelStore
from semlt3d_ros.cli import main

WHATS = ("list", "promote", "rollback", "verdict", "judge")


@pytest.fixture
def folder(tmp_path, small_student):
    """A model folder with two versions, the second on trial."""
    folder = tmp_path / "models"
    store = ModelStore(folder)
    first = store.add(small_student(1), {"origin": "shipped"})
    second = store.add(small_student(2), {"parent": first.name, "events": 12})
    store.promote(first.name)
    store.confirm()
    store.promote(second.name, "the gate")
    return folder


def names(folder) -> list[str]:
    return [version.name for version in ModelStore(folder).versions()[0]]


@pytest.mark.parametrize("what", WHATS)
def test_help_of_each_has_an_example_that_parses(what, capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["models", what, "--help"])
    lines = capsys.readouterr().out.splitlines()
    program, *words = shlex.split(lines[lines.index("example:") + 1])
    assert [program, *words[:2]] == ["semlt3d", "models", what]
    assert cli.build_parser().parse_args(words).act


def test_versions_are_listed_with_where_they_come_from(folder, capsys) -> None:
    first, second = names(folder)
    assert main(["models", "list", str(folder)]) == 0
    text = capsys.readouterr().out
    assert f"on trial │ {second}" in text and "origin: shipped" in text and "events: 12" in text
    assert f"{second}: the gate (on trial)" in text
    assert main(["models", "list", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["current"], told["confirmed"], told["faults"]) == (second, False, [])
    assert [version["provenance"] for version in told["versions"]] == [
        {"origin": "shipped"},
        {"parent": first, "events": 12},
    ]
    assert [entry["why"] for entry in told["history"]] == ["promoted", "the gate"]


def test_rolled_back_and_promoted_by_hand(folder, small_student, capsys) -> None:
    first, second = names(folder)
    assert main(["models", "rollback", str(folder), "--why", "misses cones"]) == 0
    store = ModelStore(folder)
    assert store.current() == first and store.history()[-1].why == "rolled back: misses cones"
    assert main(["models", "promote", str(folder), second]) == 0
    assert store.current() == second and not store.history()[-1].confirmed
    assert main(["models", "promote", str(folder), str(small_student(3))]) == 0
    assert store.current().startswith("small3@") and f"in place of {second}" in capsys.readouterr().out
    assert store.read(store.current()).provenance["origin"] == "added by hand"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["promote", "{folder}", "city@0"], "has no version 'city@0'; it has "),
        (["promote", "{folder}", "nothing.safetensors"], "nothing.safetensors"),
        (["verdict", "{folder}", "{first}"], "has no verdict: nobody has asked the gate"),
        (["list", "{folder}/nowhere"], "is not there; create it: mkdir -m 700"),
    ],
)
def test_refusals_are_one_line_and_change_nothing(folder, capsys, words, text) -> None:
    given = [word.format(folder=folder, first=names(folder)[0]) for word in words]
    before = ModelStore(folder).current()
    assert main(["models", *given]) == 2
    said = capsys.readouterr().err
    assert text in said and said.count("\n") == 1
    assert ModelStore(folder).current() == before


GATE = """
held_back: {{first_seed: 300, drives: 3, frames: 1, drives_per_shard: 3, image_size: [64, 43], top_crop: 0.25}}
regression: {{first_seed: 400, drives: 3, frames: 1, drives_per_shard: 3, image_size: [64, 43], top_crop: 0.25}}
settings: {{data_folder: {data}, resamples: 50, slower: 1000.0}}
"""


def test_the_gate_by_hand_and_its_verdict_in_the_viewer(folder, small_student, tmp_path, capsys) -> None:
    gate, out = tmp_path / "gate.yaml", tmp_path / "verdict"
    gate.write_text(textwrap.dedent(GATE.format(data=tmp_path / "data")))
    words = ["models", "judge", str(small_student(2)), str(small_student(1)), str(gate), "-o", str(out)]
    assert main(words) == 1
    text = capsys.readouterr().out
    assert "is refused:" in text and "are too few to tell a gain from chance" in text
    store = ModelStore(folder)
    version = store.judged(names(folder)[1], json.loads((out / "verdict.json").read_text()))
    assert main(["models", "verdict", str(folder), version.name]) == 0
    assert capsys.readouterr().out == (out / "verdict.md").read_text()
    assert main(["models", "list", str(folder)]) == 0
    assert "refused" in capsys.readouterr().out
    pytest.importorskip("rerun")
    assert main(["view", str(out), "--save", str(tmp_path / "verdict.rrd")]) == 0
    assert (tmp_path / "verdict.rrd").stat().st_size > (out / "changes.png").stat().st_size


def test_a_gate_that_does_not_fit_is_told_whole(small_student, tmp_path, capsys) -> None:
    gate = tmp_path / "gate.yaml"
    gate.write_text("held_back: {bags: a.mcap, labelled: false}\nsettings: {forgett: 0.1}\n")
    words = ["models", "judge", str(small_student(2)), str(small_student(1)), str(gate), "-o", str(tmp_path / "out")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "forgett" in said and "missing regression" in said
