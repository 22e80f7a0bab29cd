"""Many recordings of a data set, one bag each; what is there already is not made again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.datasets.recording import ImportSummary, Progress, Recording, write_recording

Scenes = Mapping[str, Callable[[], Recording]]
"""The recordings of a data set by name, in its order; each is opened when its turn comes."""

_COUNTS = ("frames", "images", "sweeps", "points", "labelled", "frames_lost", "boxes_duplicate")
_STEPS = 1_000
_NAMED = 3


@dataclass(frozen=True)
class Imported:
    """What came of an import.

    Attributes:
        bags: what was written.
        skipped: bags that were there whole and were left as they are.
        faults: what was left out.
    """

    bags: tuple[ImportSummary, ...]
    skipped: tuple[Path, ...]
    faults: FaultLog

    def to_json(self) -> dict[str, Any]:
        """Counts over all bags, then the bags one by one, as plain values."""
        sums: dict[str, Any] = {key: sum(bag.get(key, 0) for bag in self.bags) for key in _COUNTS}  # type: ignore[misc]
        for key in ("boxes", "boxes_unknown"):
            total: Counter[str] = sum((Counter(bag[key]) for bag in self.bags), Counter())  # type: ignore[literal-required]
            sums[key] = dict(total.most_common())
        return {**sums, "bags": list(self.bags), "skipped": [str(path) for path in self.skipped]}


def import_scenes(
    scenes: Scenes,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> Imported:
    """Write each recording as a bag.

    Args:
        scenes: what to write.
        out: ``NAME.mcap`` for a single recording, else a folder that gets ``SCENE.mcap`` for each.
        overwrite: make bags anew that are there already. Otherwise those in a folder are left as they are, since a bag
            that has its name is whole; what a run that was interrupted left under an unfinished name is made anew.
        progress: called with how much is done and how much there is.

    Raises:
        ConfigurationError: a single bag is wanted of several recordings, or is there already; nothing of any recording
            could be used; or a bag cannot be written.
    """
    single = out.suffix == ".mcap"
    if single and len(scenes) != 1:
        names = ", ".join(list(scenes)[:5]) + (", ..." if len(scenes) > 5 else "")
        raise ConfigurationError(f"{out} is one bag, but these are {len(scenes)} recordings ({names}); give a folder")
    bags, skipped, faults = [], [], FaultLog()
    failed: dict[str, list[str]] = {}
    for number, (name, open_recording) in enumerate(scenes.items()):
        place = bag_of(name, out)
        if not pending([name], out, overwrite):
            skipped.append(place)
        else:

            def step(done: int, total: int, number: int = number) -> None:
                progress(number * _STEPS + done * _STEPS // total, len(scenes) * _STEPS)

            recording = None
            try:
                recording = open_recording()
                bags.append(write_recording(recording, place, overwrite=overwrite, progress=step))
            except ConfigurationError as error:
                if len(scenes) == 1:
                    raise
                failed.setdefault(str(error), []).append(name)
            finally:
                if recording is not None:
                    faults.extend(recording.faults)
        progress((number + 1) * _STEPS, len(scenes) * _STEPS)
    if failed and not bags and not skipped:
        raise ConfigurationError("; ".join(list(failed)[:_NAMED]))
    for text, lost in failed.items():
        which = ", ".join(lost[:_NAMED]) + (", ..." if len(lost) > _NAMED else "")
        faults.add(which, "scene", f"{text}; there is no bag of it", len(lost))
    return Imported(tuple(bags), tuple(skipped), faults)


def bag_of(name: str, out: Path) -> Path:
    """Where the bag of a recording goes: into ``out`` itself, whatever its name says."""
    return out if out.suffix == ".mcap" else out / f"{name.replace('/', '_')}.mcap"


def pending(names: Sequence[str], out: Path, overwrite: bool) -> list[str]:
    """The recordings that ``import_scenes`` does not find there already."""
    single = out.suffix == ".mcap"
    return [name for name in names if overwrite or single or not bag_of(name, out).exists()]


def chosen_scenes(names: Sequence[str], wanted: str | None, place: Path | str) -> list[str]:
    """The scenes asked for, in the data set's order.

    Args:
        names: of all.
        wanted: names or patterns such as ``scene-00*``, or ranges ``A:B`` of places in the list, with commas between;
            None for all.
        place: the data set, for messages.

    Raises:
        ConfigurationError: there is no such scene.
    """
    if wanted is None:
        return list(names)
    taken: set[str] = set()
    for part in filter(None, (each.strip() for each in wanted.split(","))):
        found = {name for name in names if name == part} or {name for name in names if fnmatchcase(name, part)}
        if not found and ":" in part:
            found = set(names[_slice(part)])
        if not found:
            known = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            raise ConfigurationError(f"--scenes {part}: {place} has no such scene; it has {len(names)}: {known}")
        taken |= found
    if not taken:
        raise ConfigurationError(f"--scenes {wanted}: give names, or A:B for a range of places")
    return [name for name in names if name in taken]


def _slice(text: str) -> slice:
    first, _, last = text.partition(":")
    try:
        return slice(int(first) if first else None, int(last) if last else None)
    except ValueError:
        return slice(0, 0)
