"""Events become labelled recordings: by the teacher, one event after the other, and named by a CLIP where asked.

What is labelled is found again by later rounds, as long as teacher, classes and settings stay. An event that cannot be
labelled is told of and left out; it keeps nobody from learning from the others.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from semlt3d_ros.adaptation.naming import Sighting, fitted_threshold, named
from semlt3d_ros.adaptation.settings import LoopSettings
from semlt3d_ros.adaptation.status import StatusFile
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
        followed: bool = True,
    ) -> None:
        self._settings, self._detector, self._classes, self._followed = settings, detector, classes, followed
        self._namer, self._rig, self._report = namer, rig, report
        looker = "" if namer is None else f"{namer.encoder.identity} {settings.naming}"
        decides = f"{detector.model_version} {looker} {classes} {settings.score} {settings.doubt} {settings.rig}"
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
        if self._namer is not None:
            self._name(there, self._namer, result)
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

    def _first(self, name: str) -> Path:
        """The labelled recording of an event before its objects are named."""
        return self._bag(name) if self._namer is None else self._folder / _FIRST / f"{name}.mcap"

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
        if self._namer is not None:
            self._report.set(message=f"naming the objects of {name}")
            values["sightings"] = [asdict(each) for each in self._namer.look(out, self._classes, self._rig)]
        return values

    def _name(self, events: Sequence[str], namer: Namer, result: LabelledEvents) -> None:
        """Give objects the names that are believed; by what all events say of known ones."""
        sightings: Mapping[str, list[Sighting]] = {
            name: [
                parse(Sighting, each, f"'{self._record(name)}'")
                for each in (_json(self._record(name)) or {}).get("sightings", ())
            ]
            for name in events
        }
        threshold = fitted_threshold([each for found in sightings.values() for each in found], namer.settings)
        result.told.append(threshold.told)
        wanted = tuple(self._settings.new_classes)
        count = 0
        for name in events:
            names = named(sightings[name], threshold, namer.settings, wanted)
            count += len(names)
            if not self._bag(name).exists():
                self._report.set(message=f"writing the labels of {name}")
                write_named(self._first(name), self._bag(name), names, self._classes)
            self._first(name).unlink(missing_ok=True)
        result.told.append(f"{count} objects got their names from {namer.encoder.identity}")

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
