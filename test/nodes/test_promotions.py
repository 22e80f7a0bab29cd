"""Promoted models on trial in a detector node: kept, or rolled back, and no set lost over it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages import topics
from semlt3d_ros.nodes.model_watch import Behaviour
from semlt3d_ros.nodes.promotions import TRIAL, Promotions

WATCHED = Path(__file__).parent / "watched_node.py"


@pytest.fixture(scope="module")
def watched_node() -> ModuleType:
    spec = spec_from_file_location("watched_node", WATCHED)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Chooser:
    """In place of a node's list of next detectors: opens the version that its path leads to."""

    def __init__(self, node: Any, open_version: Callable[[Path, str], Any]) -> None:
        self.node, self.open_version = node, open_version

    def __getitem__(self, place: int) -> None:
        return None

    def pop(self, place: int) -> Any:
        return self.open_version(*self.node.opened[-1])


@pytest.fixture
def node_of(live_node: Callable[..., Any], versions: SimpleNamespace, watched_node: ModuleType) -> Callable[..., Any]:
    """Makes nodes that run the folder's versions."""

    def made(**parameters: Any) -> Any:
        node = live_node(start=False, model_folder=str(versions.store.folder), **{"watch_sets": 120, **parameters})
        node.next_detectors = Chooser(node, watched_node.opening(versions.store.folder))
        return node.start()

    return made


def play(node: Any, recording: Any, sets: int) -> None:
    """Feed so many sets, and whatever else waits for the executor's thread after each."""
    begin = getattr(node, "played", 0)
    if not begin:
        node.feed(recording.static_messages())
    for index in range(begin, begin + sets):
        node.feed(recording.set_messages(index))
    node.played = begin + sets


def settle(node: Any, until: Callable[[], bool]) -> None:
    """Wait for what is done on other threads, and let it take over."""
    for _ in range(2000):
        if until():
            return
        try:
            node.middleware._soon.get(timeout=0.02)()
        except Exception as error:
            if type(error).__name__ != "Empty":
                raise
    raise AssertionError("it did not come")


def answered_by(node: Any) -> list[str]:
    return [message.model_version for message in node.middleware.published[topics.LONG_TAIL]]


def last(versions: SimpleNamespace) -> Any:
    return versions.store.history()[-1]


def test_a_promoted_model_that_behaves_is_kept(
    node_of: Callable[..., Any], versions: SimpleNamespace, recording: Any
) -> None:
    node = node_of()
    play(node, recording, 60)
    assert node.report()["promotion"]["state"] == "kept"
    versions.store.promote(versions.new)
    assert node.middleware.ask("~/reload_model")[0]
    assert json.loads((versions.store.folder / TRIAL).read_text())["runs"] == 1
    play(node, recording, 60)
    told = node.report()["promotion"]
    assert (told["state"], told["level"]) == ("on trial", "0") and "on trial: 60 of 120 sets" in told["message"]
    assert not last(versions).confirmed
    play(node, recording, 60)
    settle(node, lambda: last(versions).confirmed and not (versions.store.folder / TRIAL).exists())
    assert node.report()["promotion"]["state"] == "kept"
    assert answered_by(node) == [versions.old] * 60 + [versions.new] * 120


@pytest.mark.parametrize(
    ("kind", "text", "sets"),
    [
        ("fails", "it failed in 2 of 2 sets", 2),
        ("slow", "a detection takes 30.0 ms, it took 10.0 ms before", 50),
        ("flat", "its scores are others than those of the model before", 50),
        ("silent", "its scores are others than those of the model before (1.00 apart)", 50),
    ],
)
def test_one_that_does_not_is_rolled_back(
    node_of: Callable[..., Any], versions: SimpleNamespace, recording: Any, kind: str, text: str, sets: int
) -> None:
    versions.kinds(new=kind)
    node = node_of()
    play(node, recording, 60)
    versions.store.promote(versions.new)
    assert node.middleware.ask("~/reload_model")[0]
    play(node, recording, sets)
    settle(node, lambda: node.report()["model"]["version"] == versions.old)
    assert versions.store.current() == versions.old and text in last(versions).why and last(versions).confirmed
    play(node, recording, 20)
    assert answered_by(node)[-20:] == [versions.old] * 20
    told = node.report()["promotion"]
    assert (told["state"], told["level"]) == ("kept", "1") and f"was rolled back to {versions.old}: " in told["message"]
    sets_told = node.report()["sets"]
    failed = 2 if kind == "fails" else 0
    assert int(sets_told["sets_processed"]) == int(sets_told["sets_in"]) - failed == 80 + sets - failed


def test_what_is_promoted_is_followed(node_of: Callable[..., Any], versions: SimpleNamespace, recording: Any) -> None:
    node = node_of(follow_promotions=True)
    look = node.middleware.timers[1.0]
    play(node, recording, 3)
    look()
    assert len(node.opened) == 1
    versions.store.promote(versions.new)
    look()
    settle(node, lambda: node.report()["model"]["version"] == versions.new)
    look()
    assert len(node.opened) == 2
    versions.store.roll_back("by hand")
    look()
    settle(node, lambda: node.report()["model"]["version"] == versions.old)
    play(node, recording, 3)
    assert answered_by(node) == [versions.old] * 6
    alone = node_of()
    versions.store.promote(versions.new)
    alone.middleware.timers[1.0]()
    assert len(alone.opened) == 1, "nobody asked for it"


def test_one_that_cannot_be_loaded_is_given_up_at_once_and_tried_no_more(
    node_of: Callable[..., Any], versions: SimpleNamespace, recording: Any
) -> None:
    versions.kinds(new="unloadable")
    node = node_of(follow_promotions=True)
    versions.store.promote(versions.new)
    successful, text = node.middleware.ask("~/reload_model")
    assert not successful and f"the model stays {versions.old}: it is not to be loaded" in text
    assert versions.store.current() == versions.old
    node.middleware.timers[1.0]()
    play(node, recording, 2)
    assert answered_by(node) == [versions.old] * 2 and len(node.opened) == 2
    assert f"rolled back to {versions.old}: it cannot be loaded" in node.report()["promotion"]["message"]


def test_a_node_that_begins_passes_over_what_cannot_be_loaded(
    node_of: Callable[..., Any], versions: SimpleNamespace, recording: Any
) -> None:
    versions.store.promote(versions.new)
    path = versions.store.path(versions.new)
    path.write_bytes(path.read_bytes()[:-7])
    node = node_of()
    assert node.report()["model"]["version"] == versions.old == versions.store.current()
    assert "its SHA-256 is another one" in node.report()["promotion"]["told"]


def test_what_is_confirmed_is_not_given_up_for_a_damaged_file(
    node_of: Callable[..., Any], versions: SimpleNamespace
) -> None:
    path = versions.store.path(versions.old)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ConfigurationError, match="its SHA-256 is another one"):
        node_of()


def test_a_trial_goes_on_after_a_restart(
    node_of: Callable[..., Any], versions: SimpleNamespace, recording: Any
) -> None:
    versions.kinds(new="slow")
    node = node_of()
    play(node, recording, 60)
    versions.store.promote(versions.new)
    assert node.middleware.ask("~/reload_model")[0]
    assert node.node.close()
    assert json.loads((versions.store.folder / TRIAL).read_text())["runs"] == 0, "that was no crash"
    again = node_of()
    play(again, recording, 49)
    assert again.report()["promotion"]["state"] == "on trial"
    play(again, recording, 1)
    settle(again, lambda: again.report()["model"]["version"] == versions.old)
    assert "it took 10.0 ms before" in last(versions).why, "how the former one was at work is on the disk"


def test_without_a_watch_what_is_promoted_is_kept_at_once(
    node_of: Callable[..., Any], versions: SimpleNamespace
) -> None:
    versions.store.promote(versions.new)
    node = node_of(watch_sets=0)
    settle(node, lambda: last(versions).confirmed)
    assert node.report()["promotion"]["state"] == "kept" and not (versions.store.folder / TRIAL).exists()


def test_nodes_that_die_take_the_model_down(versions: SimpleNamespace) -> None:
    promotions = Promotions(versions.store.folder)
    versions.store.promote(versions.new)
    assert promotions.begin_node(3) == ""
    promotions.end_node()
    for _ in range(3):
        assert promotions.begin_node(3) == "" and promotions.current() == versions.new
    assert "3 of the nodes that ran it on trial have died" in promotions.begin_node(3)
    assert promotions.current() == versions.old and promotions.on_trial() is None
    assert not (versions.store.folder / TRIAL).exists()


def test_a_trial_is_of_one_version(versions: SimpleNamespace) -> None:
    promotions = Promotions(versions.store.folder)
    versions.store.promote(versions.new)
    promotions.begin_trial(versions.new, Behaviour(60, 10.0, (1,) * 10))
    assert promotions.trial_of(versions.new) == Behaviour(60, 10.0, (1,) * 10)
    versions.store.promote(versions.newer)
    assert promotions.trial_of(versions.newer) == Behaviour() and promotions.trial_of(versions.new) is None
    (versions.store.folder / TRIAL).write_text("{half")
    assert promotions.trial_of(versions.newer) == Behaviour() and promotions.begin_node(1) == ""


def test_a_folder_without_versions_has_no_promotions(tmp_path: Path) -> None:
    promotions = Promotions(tmp_path)
    assert promotions.current() is None is promotions.on_trial() and promotions.begin_node(1) == ""
    promotions.verify()
    promotions.end_node()
    promotions.confirm()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_others_can_write_to_is_not_run(node_of: Callable[..., Any], versions: SimpleNamespace) -> None:
    os.chmod(versions.store.folder, 0o777)
    with pytest.raises(ConfigurationError, match="can be written by others"):
        node_of()


def test_a_node_runs_from_a_folder_that_it_cannot_write(
    node_of: Callable[..., Any],
    versions: SimpleNamespace,
    recording: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is on trial is run and judged; that nothing can be written down is told."""
    versions.kinds(new="fails")
    versions.store.promote(versions.new)

    def refused(path: Path, *_: Any) -> None:
        raise ConfigurationError(f"cannot write {path}: Read-only file system")

    for module in ("semlt3d_ros.nodes.promotions", "semlt3d_ros.adaptation.models"):
        monkeypatch.setattr(f"{module}.write_whole", refused)
    node = node_of()
    assert "trial.json: Read-only file system" in node.report()["promotion"]["told"]
    play(node, recording, 3)
    settle(node, lambda: bool(node.report()["model"].get("reload_failure")))
    assert "Read-only file system" in node.report()["model"]["reload_failure"]
    assert versions.store.current() == versions.new
