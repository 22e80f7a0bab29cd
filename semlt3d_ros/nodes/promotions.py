"""The model folder as a running node sees it: which version is on trial, and what came of it, also after a crash.

What must outlive the node is in ``trial.json`` of the folder: which version is on trial, how the one before it was at
work, and how often a node that ran it has not come to an end of its own.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from semlt3d_ros.adaptation.models import HISTORY, ModelStore
from semlt3d_ros.core.config import parse
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import write_whole
from semlt3d_ros.nodes.model_watch import Behaviour

TRIAL = "trial.json"


@dataclass(frozen=True)
class Trial:
    """A version on trial.

    Attributes:
        name: of the version.
        runs: of nodes with it that have begun and not ended, of which at most one goes on.
        before: how the model before it was at work.
    """

    name: str
    runs: int = 0
    before: Behaviour = field(default_factory=Behaviour)


class Promotions:
    """What was promoted in a model folder. Its methods touch the disk; all but ``current`` read whole checkpoints.

    Args:
        folder: of the node's parameter ``model_folder``. One without versions has no promotions, and everything here
            does nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def _store(self) -> ModelStore | None:
        return ModelStore(self._folder) if (self._folder / HISTORY).exists() else None

    def current(self) -> str | None:
        """The version that is to run; None where there is none.

        Raises:
            ConfigurationError: others can write to the folder.
        """
        store = self._store
        return None if store is None else store.current()

    def verify(self) -> None:
        """See that the version that is to run is what came into the folder.

        Raises:
            ConfigurationError: it is not, or others can write to the folder.
        """
        store = self._store
        if store is not None and (name := store.current()) is not None:
            store.verify(name)

    def on_trial(self) -> str | None:
        """The version that is to run, where it has not come through its watch period; else None."""
        store = self._store
        entries = store.history() if store is not None else []
        return entries[-1].name if entries and not entries[-1].confirmed else None

    def begin_node(self, crashes: int) -> str:
        """A node begins and is about to load what is current; after too many crashes the version before it.

        Returns:
            What was done, in words; empty where there was nothing to do.
        """
        name = self.on_trial()
        if name is None:
            return ""
        trial = self._trial(name)
        if trial.runs >= crashes:
            return self.give_up(f"{trial.runs} of the nodes that ran it on trial have died")
        self._write(replace(trial, runs=trial.runs + 1))
        return ""

    def end_node(self) -> None:
        """A node ends as it should: that is no crash."""
        if (name := self.on_trial()) is not None:
            trial = self._trial(name)
            self._write(replace(trial, runs=max(trial.runs - 1, 0)))

    def begin_trial(self, name: str, before: Behaviour) -> None:
        """A running node takes a version over; does nothing for one that is not on trial."""
        if self.on_trial() == name:
            self._write(Trial(name, 1, before))

    def trial_of(self, name: str) -> Behaviour | None:
        """How the model before a version on trial was at work; None for a version that is not on trial."""
        return self._trial(name).before if self.on_trial() == name else None

    def confirm(self) -> None:
        """The version that is to run has come through its watch period."""
        store = self._store
        if store is not None:
            store.confirm()
            (self._folder / TRIAL).unlink(missing_ok=True)

    def give_up(self, why: str) -> str:
        """Let the version before it run; returns what was done, in words.

        Raises:
            ConfigurationError: there is none, or the folder cannot be written.
        """
        store = self._store
        if store is None:
            raise ConfigurationError(f"model folder '{self._folder}' has no versions to go back to")
        former = store.current()
        version = store.roll_back(why)
        (self._folder / TRIAL).unlink(missing_ok=True)
        return f"{former} was rolled back to {version.name}: {why}"

    def _trial(self, name: str) -> Trial:
        try:
            path = self._folder / TRIAL
            trial = parse(Trial, json.loads(path.read_bytes()), f"'{path}'")
        except (OSError, ValueError, ConfigurationError):  # none yet, or of no use: the trial begins
            return Trial(name)
        return trial if trial.name == name else Trial(name)

    def _write(self, trial: Trial) -> None:
        write_whole(self._folder / TRIAL, json.dumps(asdict(trial)) + "\n")
