"""The models of a robot: every version with where it comes from, and which of them runs.

A model folder, as the detector's parameter ``model_folder`` names it::

    models/current.safetensors            a link to the version that runs
    models/history.json                   which versions ran, and why they came
    models/versions/NAME@HASH/model.safetensors
    models/versions/NAME@HASH/version.json

The link alone says what runs, and is replaced in one step: whenever the power fails, it leads to a whole version.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint
from semlt3d_ros.core.config import parse
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import whole, write_whole

CURRENT = "current.safetensors"
"""The checkpoint of a model folder that is run when none is named; a link or a file that is replaced as a whole."""
VERSIONS, MODEL, RECORD, HISTORY = "versions", "model.safetensors", "version.json", "history.json"
_NEXT = ".current.next"
_BACK = "rolled back"
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Version:
    """A model of a robot.

    Attributes:
        name: ``"<name>@<first ten digits of its SHA-256>"``, as detections name it.
        sha256: of the checkpoint.
        created_ns: when it came into the folder, wall clock.
        provenance: where it comes from: parent, recipe, events.
        verdict: what the gate said of it; empty where nobody asked.
    """

    name: str
    sha256: str
    created_ns: int
    provenance: Mapping[str, Any] = field(default_factory=dict)
    verdict: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Promotion:
    """One entry of the history.

    Attributes:
        name: of the version that ran from then on.
        at_ns: when, wall clock.
        why: for people, such as ``"promoted"`` or ``"rolled back: ..."``.
        confirmed: whether it has come through its watch period.
    """

    name: str
    at_ns: int
    why: str
    confirmed: bool = False


class ModelStore:
    """The versions in a model folder, and the one that runs.

    Args:
        folder: it is made if need be.

    Raises:
        ConfigurationError: the folder cannot be made, or others can write to it: what is in it is run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        try:
            (self.folder / VERSIONS).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"model folder '{folder}': {error.strerror}") from error
        for place in (self.folder, self.folder / VERSIONS):
            _refuse_others(place)

    def versions(self) -> tuple[list[Version], list[str]]:
        """All versions, oldest first, and a line for each that cannot be used."""
        found, faults = [], []
        for place in sorted((self.folder / VERSIONS).iterdir()):
            if place.name.startswith(".") or place.name.endswith(".unfinished"):
                continue
            try:
                found.append(self.read(place.name))
            except ConfigurationError as error:
                faults.append(str(error))
        return sorted(found, key=lambda version: (version.created_ns, version.name)), faults

    def read(self, name: str) -> Version:
        """A version by its name; its checkpoint is not looked at, see ``verify``.

        Raises:
            ConfigurationError: there is none, or its record cannot be read.
        """
        path = self.path(name).parent / RECORD
        try:
            values = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            known = ", ".join(sorted(each.name for each in (self.folder / VERSIONS).iterdir())) or "none"
            raise ConfigurationError(f"model folder '{self.folder}' has no version '{name}'; it has {known}") from error
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"version '{name}': {path} cannot be read ({error}); remove its folder") from error
        return parse(Version, values, f"version '{path}'")

    def path(self, name: str) -> Path:
        """Where the checkpoint of a version is.

        Raises:
            ConfigurationError: that cannot be the name of one.
        """
        if not name or name != Path(name).name or name.startswith("."):
            raise ConfigurationError(f"'{name}' is not the name of a version; names are as 'city@0123456789'")
        return self.folder / VERSIONS / name / MODEL

    def verify(self, name: str) -> Version:
        """A version whose checkpoint is what came into the folder, can be read and is nobody else's to change.

        Raises:
            ConfigurationError: it is not.
        """
        version, path = self.read(name), self.path(name)
        for place in (path.parent, path):
            _refuse_others(place)
        if _digest_of(path) != version.sha256:
            raise ConfigurationError(
                f"version '{name}': {path} is not what came into the folder (its SHA-256 is another one); remove it"
            )
        read_checkpoint(path)
        return version

    def add(self, checkpoint: Path, provenance: Mapping[str, Any], verdict: Mapping[str, Any] | None = None) -> Version:
        """Copy a checkpoint into the folder as a version; one that is there already is left.

        Raises:
            ConfigurationError: it is no checkpoint of a student, or the disk is full.
        """
        read = read_checkpoint(checkpoint)
        digest = _digest_of(checkpoint)
        if not digest.startswith(read.version.rsplit("@", 1)[1]):
            raise ConfigurationError(f"checkpoint '{checkpoint}' is being written to; wait for its end")
        with suppress(ConfigurationError):
            return self.verify(read.version)
        version = Version(read.version, digest, time.time_ns(), dict(provenance), dict(verdict or {}))
        place = self.path(version.name).parent
        if place.exists():  # one that failed its verification
            shutil.rmtree(place)
        with whole(place, folder=True) as draft:
            os.chmod(draft, 0o700)
            shutil.copyfile(checkpoint, draft / MODEL)
            if _digest_of(draft / MODEL) != digest:
                raise ConfigurationError(f"checkpoint '{checkpoint}' changed while it was copied; try again")
            (draft / RECORD).write_text(json.dumps(asdict(version), indent=2) + "\n", encoding="utf-8")
            for name in (MODEL, RECORD):
                os.chmod(draft / name, 0o600)
        return version

    def judged(self, name: str, verdict: Mapping[str, Any]) -> Version:
        """Write down what the gate said of a version."""
        version = replace(self.read(name), verdict=dict(verdict))
        write_whole(self.path(name).parent / RECORD, json.dumps(asdict(version), indent=2) + "\n")
        return version

    def current(self) -> str | None:
        """The name of the version that runs; None where none was promoted."""
        try:
            target = Path(os.readlink(self.folder / CURRENT))
        except OSError:  # there is nothing, or somebody's own file
            return None
        inside = target.parts[:1] == (VERSIONS,) and len(target.parts) == 3 and target.name == MODEL
        return target.parts[1] if inside and (self.folder / target).is_file() else None

    def history(self) -> list[Promotion]:
        """What ran, oldest first; the last entry is what runs.

        An entry whose link was never made, because the power failed in between, is left out.
        """
        current = self.current()
        entries = self._entries()
        while entries and entries[-1].name != current:
            entries.pop()
        return entries

    def promote(self, name: str, why: str = "promoted") -> Version:
        """Let a version run from now on; a detector takes it over when it is told to reload.

        A checkpoint that was put in place by hand becomes a version first, to which one can go back.

        Raises:
            ConfigurationError: the version cannot be used, or the folder not be written.
        """
        version = self.verify(name)
        former = self.folder / CURRENT
        if former.exists() and self.current() is None:
            by_hand = self.add(former, {"origin": "put in place by hand"})
            self._run(by_hand.name, "was running")
        self._run(name, why)
        return version

    def roll_back(self, why: str) -> Version:
        """Let that version run again over which the one that runs now was promoted; if it cannot, the one before it.

        Raises:
            ConfigurationError: there is none.
        """
        former: list[str] = []
        for entry in self.history():
            if entry.why.startswith(_BACK) and entry.name in former:
                del former[len(former) - 1 - former[::-1].index(entry.name) :]
            former.append(entry.name)
        faults = []
        for name in former[-2::-1]:
            try:
                version = self.verify(name)
            except ConfigurationError as error:
                faults.append(str(error))
                continue
            self._run(version.name, f"{_BACK}: {why}", confirmed=True)
            return version
        reason = f": {'; '.join(faults)}" if faults else ""
        raise ConfigurationError(f"model folder '{self.folder}' has no earlier version to go back to{reason}")

    def confirm(self) -> None:
        """Write down that the version that runs has come through its watch period."""
        entries = self.history()
        if entries and not entries[-1].confirmed:
            self._write([*entries[:-1], replace(entries[-1], confirmed=True)])

    def _run(self, name: str, why: str, confirmed: bool = False) -> None:
        # First the history, then the link: an entry without its link is nothing, a link without entry has no way back.
        self._write([*self.history(), Promotion(name, time.time_ns(), why, confirmed)])
        link = self.folder / _NEXT
        try:
            link.unlink(missing_ok=True)
            os.symlink(Path(VERSIONS) / name / MODEL, link)
            os.replace(link, self.folder / CURRENT)
            descriptor = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConfigurationError(
                f"model folder '{self.folder}' cannot be written ({error.strerror}); what ran goes on"
            ) from error

    def _entries(self) -> list[Promotion]:
        try:
            values = json.loads((self.folder / HISTORY).read_bytes())
            return [parse(Promotion, each, f"'{self.folder / HISTORY}'") for each in values]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(f"'{self.folder / HISTORY}' cannot be read ({error}); remove it") from error

    def _write(self, entries: list[Promotion]) -> None:
        try:
            write_whole(self.folder / HISTORY, json.dumps([asdict(each) for each in entries], indent=1) + "\n")
        except OSError as error:
            raise ConfigurationError(
                f"model folder '{self.folder}' cannot be written ({error.strerror}); what ran goes on"
            ) from error


def _digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(2**20):
                digest.update(part)
        return digest.hexdigest()
    except OSError as error:
        raise ConfigurationError(f"'{path}' cannot be read: {error.strerror}") from error


def _refuse_others(place: Path) -> None:
    try:
        status = place.stat()
    except OSError as error:
        raise ConfigurationError(f"'{place}' cannot be read: {error.strerror}") from error
    if status.st_mode & _OTHERS:
        raise ConfigurationError(
            f"'{place}' can be written by others (mode {stat.S_IMODE(status.st_mode):04o}), and what is in it is run; "
            f"take that away: chmod go-w '{place}'"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(f"'{place}' belongs to user {status.st_uid}, and what is in it is run; own it")
