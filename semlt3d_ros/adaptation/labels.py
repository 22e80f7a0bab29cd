"""Events become labelled recordings: by the teacher, one event after the other, and named by a CLIP where asked.

What is labelled is found again by later rounds, as long as teacher, classes and settings stay. An event that cannot be
labelled is told of and left out; it keeps nobody from learning from the others.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from semlt3d_ros.adaptation.naming import Sighting, fitted_threshold, named
from semlt3d_ros.adaptation.settings import LoopSettings
from semlt3d_ros.adaptation.status import StatusFile
from semlt3d_ros.adaptation.support import Support, support_of
from semlt3d_ros.adaptation.views import Namer, write_named
from semlt3d_ros.core.classes import ClassList
from semlt3d_ros.core.config import parse
from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.core.outputs import NO_ROOM, write_whole
from semlt3d_ros.inference.teacher import TeacherDetector
from semlt3d_ros.labelling.recording import LabelJob, label_recording
from semlt3d_ros.sensing.rig import Rig

LABELS, LABELLED = "labels", "labelled.json"
TEACHER_DATA = "teacher"
"""Of the data folder, what the teacher says; bounded by ``cache_gib``."""
_FIRST = "unnamed"


@dataclass
class LabelledEvents:
    """What came of the events.

    Attributes:
        bags: labelled recordings by the names of their events.
        faults: why others have none.
        told: lines for people.
        kept, rejected: boxes that students are to take for objects, and those they are not.
    """

    bags: dict[str, Path] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    kept: int = 0
    rejected: int = 0


class Labelling:
    """Labels events.

    Args:
        settings: of the loop.
        detector: the teacher.
        classes: of the student that is to learn.
        namer: names objects; None leaves the teacher's classes.
        rig: of the events, or None.
        report: told of every event.
        followed: whether the teacher's features are learnt from too, which are kept then.
    """

    def __init__(
        self,
        settings: LoopSettings,
        detector: TeacherDetector,
        classes: ClassList,
        namer: Namer | None,
        rig: Rig | None,
        report: StatusFile,
        followed: bool,
    ) -> None:
        self._settings, self._detector, self._classes, self._followed = settings, detector, classes, followed
        self._namer, self._rig, self._report = namer, rig, report
        looker = "" if namer is None else f"{namer.encoder.identity} {settings.naming}"
        asked = (settings.score, settings.doubt, settings.support, settings.rig)
        decides = f"{detector.model_version} {looker} {classes} {asked}"
        self._folder = settings.work.absolute() / LABELS / hashlib.sha256(decides.encode()).hexdigest()[:12]

    def label(self, events: Sequence[str]) -> LabelledEvents:
        """Label events that are not yet; what others had is removed.

        Raises:
            ConfigurationError: the disk is full, or none of the events is there any more.
        """
        self._tidy(events)
        self._require_some(events)
        result = LabelledEvents()
        for done, name in enumerate(events):
            told = f"labelling {name}"
            self._report.set(message=told, recordings_replayed=done, recordings_total=len(events))
            counts = self._counted(name)
            if "fault" in counts:
                result.faults[name] = str(counts["fault"])
                continue
            result.kept += int(counts["kept"])
            result.rejected += int(counts["rejected"])
            self._report.set(pseudo_labels_kept=result.kept, pseudo_labels_rejected=result.rejected)
        there = [name for name in events if name not in result.faults]
        if not there:
            self._require_some(events)
        if self._in_two_steps:
            self._finish(there, result)
        result.bags = {name: self._bag(name) for name in there}
        self._report.set(recordings_replayed=len(events), recordings_total=len(events))
        return result

    def _require_some(self, events: Sequence[str]) -> None:
        if events and not any((self._settings.events / name).exists() for name in events):
            raise ConfigurationError(
                f"none of the {len(events)} events of the round is in '{self._settings.events}' any more; bring its "
                "disk back, or change a setting to begin another round"
            )

    def _bag(self, name: str) -> Path:
        return self._folder / f"{name}.mcap"

    @property
    def _in_two_steps(self) -> bool:
        """Whether anybody besides the teacher has a say."""
        return self._namer is not None or self._settings.support > 0

    def _first(self, name: str) -> Path:
        """The labelled recording of an event as the teacher says it."""
        return self._folder / _FIRST / f"{name}.mcap" if self._in_two_steps else self._bag(name)

    def _record(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _counted(self, name: str) -> dict[str, Any]:
        """Label an event, if nobody has; what is known of it then."""
        path = self._record(name)
        known = _json(path)
        if known is not None and ("fault" in known or self._bag(name).exists() or self._first(name).exists()):
            return known
        try:
            values = self._labelled(name)
        except Semlt3dError as error:
            if _is_full(error):
                raise
            values = {"fault": str(error)}
        except OSError as error:
            if error.errno in NO_ROOM:
                raise ConfigurationError(f"labelling {name}: {error.strerror}; make room and go on") from error
            values = {"fault": f"cannot be read: {error}"}
        if "fault" in values and not (self._settings.events / name).exists():
            # It may have been deleted, or its disk has gone for a while: what is known of it then is not kept.
            return values
        write_whole(path, json.dumps(values) + "\n")
        return values

    def _labelled(self, name: str) -> dict[str, Any]:
        settings, out = self._settings, self._first(name)
        out.parent.mkdir(parents=True, exist_ok=True)
        job = LabelJob(
            settings.events / name,
            out,
            score=settings.score,
            doubt=settings.doubt,
            cache=settings.data_folder / TEACHER_DATA if self._followed else None,
            cache_gib=settings.cache_gib,
            with_recording=True,
            overwrite=True,
        )
        counts = label_recording(job, self._detector, self._rig).counts
        values: dict[str, Any] = {"kept": counts["objects"], "rejected": counts["doubted"] + counts["ghosts"]}
        support = None
        if settings.support > 0:
            support = support_of(settings.events / name, out, self._classes, settings.support)
        if support is not None:
            values["kept"] -= support.unsupported
            values["rejected"] += support.unsupported
            values["support"] = asdict(support)
        if self._namer is not None:
            self._report.set(message=f"naming the objects of {name}")
            # What is to be learnt anew is what the model that ran may be blind to: then all is looked at.
            there = None if support is None or settings.new_classes else set(support.seen)
            sightings = self._namer.look(out, self._classes, self._rig, there)
            values["sightings"] = [asdict(each) for each in sightings]
        return values

    def _finish(self, events: Sequence[str], result: LabelledEvents) -> None:
        """Write the labels with what others say of them; names are believed by what all events say of known ones."""
        records = {name: _json(self._record(name)) or {} for name in events}
        supports = {name: _support(record, self._record(name)) for name, record in records.items()}
        names: dict[str, dict[str, str]] = {name: {} for name in events}
        if self._namer is not None:
            sightings = {
                name: _sightings(record, supports[name], self._record(name)) for name, record in records.items()
            }
            threshold = fitted_threshold([each for found in sightings.values() for each in found], self._namer.settings)
            wanted = tuple(self._settings.new_classes)
            for name, found in sightings.items():
                believed = named(found, threshold, self._namer.settings, wanted)
                names[name] = _there(believed, supports[name], wanted)
            count = sum(map(len, names.values()))
            result.told += [threshold.told, f"{count} objects got their names from {self._namer.encoder.identity}"]
        for name in events:
            if not self._bag(name).exists():
                self._report.set(message=f"writing the labels of {name}")
                support = supports[name]
                agreed = None if support is None else set(support.same)
                write_named(self._first(name), self._bag(name), names[name], self._classes, agreed)
            self._first(name).unlink(missing_ok=True)
        seen = [support for support in supports.values() if support is not None]
        if seen:
            doubted = sum(support.unsupported for support in seen)
            result.told.append(f"{doubted} boxes of the teacher are in doubt: the model that ran has not seen them so")

    def _tidy(self, events: Sequence[str]) -> None:
        """Labels are as large as the recordings: what no plan asks for any more goes."""
        if not self._folder.parent.is_dir():
            return
        for other in self._folder.parent.iterdir():
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)
        wanted = set(events)
        for folder in (self._folder, self._folder / _FIRST):
            for path in folder.glob("*.*"):
                if path.is_file() and path.stem not in wanted:
                    path.unlink(missing_ok=True)


def _support(record: Mapping[str, Any], path: Path) -> Support | None:
    return parse(Support, record["support"], f"'{path}'") if "support" in record else None


def _sightings(record: Mapping[str, Any], support: Support | None, path: Path) -> list[Sighting]:
    """What the CLIP has said; of objects that the model that ran does not agree upon, nothing is known."""
    found = [parse(Sighting, each, f"'{path}'") for each in record.get("sightings", ())]
    if support is None:
        return found
    agreed = set(support.same)
    return [each if each.track in agreed else replace(each, known="") for each in found]


def _there(names: Mapping[str, str], support: Support | None, wanted: Sequence[str]) -> dict[str, str]:
    """Names of what the model that ran has seen too; of other things only names that it cannot know."""
    tracks = names.keys() if support is None else set(support.seen)
    return {track: name for track, name in names.items() if track in tracks or name in wanted}


def write_labelled(folder: Path, labelled: LabelledEvents) -> None:
    """Write down in a round's folder what came of its events."""
    write_whole(folder / LABELLED, json.dumps(asdict(labelled), indent=1, default=str) + "\n")


def read_labelled(folder: Path) -> LabelledEvents | None:
    """What came of the events of a round; None where they are not all labelled, or the labels have gone."""
    values = _json(folder / LABELLED)
    if values is None:
        return None
    found = parse(LabelledEvents, values, f"'{folder / LABELLED}'")
    return found if all(path.exists() for path in found.bags.values()) else None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _is_full(error: BaseException | None) -> bool:
    """Whether an error comes from a disk that is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        error = error.__cause__
    return False
