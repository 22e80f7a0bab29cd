"""Whether a model that was trained anew may take the place of the one that runs.

It must be better beyond chance on what the robot has seen and nobody learnt from, forget hardly anything of a fixed
regression set, and cost no more. Whatever speaks against it is told in words; what does not fit at all is not compared.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from semlt3d_ros.adaptation.comparison import Compared, compare, times
from semlt3d_ros.adaptation.verdict import Comparison, Cost, Picture, Verdict, points
from semlt3d_ros.adaptation.verdict_pictures import differences
from semlt3d_ros.checkpoints.checkpoint import read_checkpoint
from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule
from semlt3d_ros.core.classes import GROUPS, ClassList, frequency_groups
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.datasets.opening import Frames, Progress, tell_nobody
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.evaluation.bootstrap import Change, changes, drawn_drives, matched
from semlt3d_ros.evaluation.protocols import protocol_of
from semlt3d_ros.evaluation.settings import EvaluationSettings
from semlt3d_ros.inference.footprint import peak_memory_mib
from semlt3d_ros.inference.frame_detector import FrameDetector
from semlt3d_ros.inference.opening import load_detector

ALL = "all"
UNGROUPED = "ungrouped"
_MOST_NAMES = 4


@dataclass(frozen=True)
class GateSettings(Checked):
    """What is asked of a candidate.

    Attributes:
        data_folder: where the frames of recordings are kept and found again.
        better_in: the group of classes whose mean AP must grow beyond chance on held-back events: ``all``, ``many``,
            ``medium`` or ``few``.
        confidence: of one bound of an interval; at 0.95, one in twenty candidates that are no better gets through.
        resamples: how often drives are drawn.
        least_drives: with fewer drives, clips of them are drawn; with fewer clips too, nothing is promoted.
            Only those count that have an object of ``better_in``.
        clip_frames: longest of these clips. Frames that are near in time see the same objects: shorter ones pretend to
            more evidence than there is.
        forget: how much of the regression set's mean AP may be lost in any group of classes; 0.01 is a point.
        slower: how much longer a detection may take, as a share.
        larger: how much more memory it may take, as a share.
        new_classes: names of classes that the candidate has learnt and the running model does not have.
        range_limit_m: metres; objects farther away do not count. None leaves each class its own range.
        min_visible_pixels: objects that are known to cover fewer pixels do not count.
        pictures: of gains and of losses at most so many each, of both sets of frames together.
        device: where both models run; memory and time are measured there.
        seed: of what is drawn.
    """

    TITLE: ClassVar[str] = "gate"
    CHECKS: ClassVar[Checks] = (
        rule(
            lambda gate: gate.better_in in (ALL, *GROUPS),
            f"better_in is {{0.better_in!r}}; use {ALL}, many, medium, few",
        ),
        rule(lambda gate: 0.5 < gate.confidence < 1, "confidence must lie between 0.5 and 1, not be {0.confidence}"),
        rule(lambda gate: gate.least_drives >= 2, "least_drives must be 2 or more, not {0.least_drives}"),
        *positive("resamples", "clip_frames"),
        *not_negative("forget", "slower", "larger", "min_visible_pixels", "pictures", "seed"),
    )

    data_folder: Path = Path("build/gate")
    better_in: str = ALL
    confidence: float = 0.95
    resamples: int = 1000
    least_drives: int = 8
    clip_frames: int = 20
    forget: float = 0.01
    slower: float = 0.1
    larger: float = 0.1
    new_classes: tuple[str, ...] = ()
    range_limit_m: float | None = None
    min_visible_pixels: int = 0
    pictures: int = 4
    device: str = "cpu"
    seed: int = 0


def judge(
    candidate: Path,
    running: Path,
    held_back: Sequence[DataSpec],
    regression: Sequence[DataSpec],
    settings: GateSettings,
    progress: Progress = tell_nobody,
) -> Verdict:
    """Compare a candidate with what runs.

    Args:
        candidate: a student's checkpoint; one that cannot be used is refused, and that is the verdict.
        running: the checkpoint that runs.
        held_back: labelled frames of what the robot has seen, of which nothing was learnt.
        regression: labelled frames that are always the same.
        settings: what is asked.
        progress: told of it after every frame; what it raises ends the judging.

    Raises:
        ConfigurationError: what runs, or the frames, cannot be used.
    """
    old = load_detector(running, settings.device)
    told = _plain(settings)
    try:
        new = _usable(candidate, old, settings)
    except ConfigurationError as error:
        return Verdict(False, candidate.name, old.model_version, (str(error),), settings=told)
    sets: dict[str, Comparison] = {}
    found: dict[str, Compared] = {}
    pictures: list[Picture] = []
    sizes: list[float] = []
    for name, specs, classes in (
        ("held_back", held_back, new.classes),
        ("regression", regression, old.classes),
    ):
        with Frames(specs, settings.data_folder, old.image_spec, classes, progress=progress) as frames:
            found[name] = compare(old, new, frames, settings.least_drives, settings.clip_frames, progress)
            if not found[name].frames:
                raise ConfigurationError(
                    f"the gate's {_words(name)} have no labelled frame; nothing can be judged on them"
                )
            rules = EvaluationSettings(
                protocol_of(classes),
                range_limit_m=settings.range_limit_m,
                min_visible_pixels=settings.min_visible_pixels,
            )
            sets[name] = _comparison(found[name], classes, rules, settings)
            pictures += differences(found[name], frames, rules.protocol, name, settings.pictures)
            sizes = sizes or _sizes(found[name], old, new, (running, candidate), frames)
    cost = Cost(*times(found.values()), *sizes)
    failures = [text for each in found.values() for text in each.candidate.failures]
    against = _against(sets["held_back"], sets["regression"], cost, failures, settings)
    notes = _notes(sets["held_back"], sets["regression"])
    return Verdict(
        not against,
        new.model_version,
        old.model_version,
        tuple(against) or _in_favour(sets["held_back"], sets["regression"], cost, settings),
        notes,
        sets["held_back"],
        sets["regression"],
        cost,
        told,
        tuple(pictures),
    )


def _usable(path: Path, running: FrameDetector, settings: GateSettings) -> FrameDetector:
    """The candidate's detector; raises ``ConfigurationError`` where it could not take the running's place."""
    checkpoint = read_checkpoint(path)
    broken = [
        name
        for name, tensor in checkpoint.tensors.items()
        if tensor.is_floating_point() and not bool(tensor.isfinite().all())
    ]
    if broken:
        raise ConfigurationError(f"candidate '{path}' has weights that are no numbers: {_listed(broken)}")
    lost = [name for name in running.class_names if name not in checkpoint.classes]
    added = [name for name in checkpoint.classes.names if name not in (*running.class_names, *settings.new_classes)]
    if lost or added:
        parts = [f"it lacks {_listed(lost)}"] if lost else []
        parts += [f"it has {_listed(added)} besides, which nobody asked for (new_classes)"] if added else []
        raise ConfigurationError(
            f"candidate '{path}' has another class list than the running {running.model_version}: {'; '.join(parts)}"
        )
    detector = load_detector(path, settings.device)
    if detector.image_spec != running.image_spec:
        raise ConfigurationError(
            f"candidate '{path}' takes images of {detector.image_spec}, the running {running.model_version} of "
            f"{running.image_spec}: a node that runs cannot change that"
        )
    return detector


def _comparison(found: Compared, classes: ClassList, rules: EvaluationSettings, settings: GateSettings) -> Comparison:
    both = [matched(side.answers, found.drawn, rules) for side in (found.running, found.candidate)]
    draws = drawn_drives(found.drawn, settings.resamples, settings.seed)
    groups = groups_of(classes)
    singles = {info.name: [place] for place, info in enumerate(classes.classes)}
    figures = changes(both[0], both[1], {**groups, **singles}, rules.protocol, draws, settings.confidence)
    of_groups, of_classes = figures[: len(groups)], figures[len(groups) :]
    there = tuple(each for each in of_classes if each.objects)
    return Comparison(len(found.frames), found.drawn, found.units, tuple(of_groups), there)


def groups_of(classes: ClassList) -> dict[str, Sequence[int]]:
    """All classes, each frequency group that the list has, and those of none where others are in one."""
    found: dict[str, Sequence[int]] = dict(frequency_groups(classes.classes))
    if found and classes.of_group(""):
        found[UNGROUPED] = classes.of_group("")
    return {ALL: range(len(classes)), **found}


def _sizes(
    found: Compared, old: FrameDetector, new: FrameDetector, paths: tuple[Path, Path], frames: Frames
) -> list[float]:
    """MiB of the weights of both, and of what is alive besides at the worst moment of a frame."""
    frame = frames.frame(found.frames[0])
    sizes = [path.stat().st_size / 2**20 for path in paths]
    if not found.candidate.failures:
        for place, detector in enumerate((old, new)):
            detector.reset()
            sizes[place] += peak_memory_mib(partial(detector.detect, frame))
    return sizes


def _against(
    held_back: Comparison, regression: Comparison, cost: Cost, failures: list[str], settings: GateSettings
) -> list[str]:
    """Everything that speaks against the candidate."""
    found = []
    if failures:
        found.append(f"{len(failures)} frames got no answer from the candidate: {failures[0]}")
    wanted = {each.name: each for each in held_back.groups}.get(settings.better_in)
    if wanted is None or not wanted.objects:
        found.append(f"held-back events: there is no object of {_group(settings.better_in)}, so nothing can be better")
    elif wanted.drives < settings.least_drives:
        found.append(
            f"held-back events: {wanted.drives} {held_back.units} with objects of {_group(settings.better_in)} are too "
            f"few to tell a gain from chance; {settings.least_drives} are asked for (least_drives)"
        )
    elif wanted.low is None or wanted.low <= 0:
        found.append(f"held-back events: {_change(wanted)} is not beyond chance")
    found += [
        f"held-back events: {_change(each)} is worse beyond chance"
        for each in held_back.groups
        if each.high is not None and each.high < 0
    ]
    found += [
        f"regression set: {_change(each)}; at most {100 * settings.forget:g} points may be forgotten"
        for each in regression.groups
        if each.gain is not None and each.gain < -settings.forget
    ]
    if cost.slower > 1 + settings.slower:
        found.append(
            f"latency: {cost.slower:.2f} times that of the running model (median {cost.candidate_ms:.1f} ms against "
            f"{cost.running_ms:.1f} ms); at most {1 + settings.slower:.2f} times may it be"
        )
    if cost.candidate_mib > cost.running_mib * (1 + settings.larger):
        found.append(
            f"memory: {cost.candidate_mib:.1f} MiB against {cost.running_mib:.1f} MiB; at most "
            f"{1 + settings.larger:.2f} times that may it be"
        )
    return found


def _in_favour(held_back: Comparison, regression: Comparison, cost: Cost, settings: GateSettings) -> tuple[str, ...]:
    worst = min((each for each in regression.groups if each.gain is not None), key=lambda each: each.gain or 0.0)
    return (
        f"held-back events: {_change(held_back.group(settings.better_in))} is beyond chance",
        f"regression set: no group loses more than {100 * settings.forget:g} points; {_change(worst)} is the worst",
        f"latency {cost.slower:.2f} times, memory {cost.candidate_mib / cost.running_mib:.2f} times that of the "
        "running model",
    )


def _notes(held_back: Comparison, regression: Comparison) -> tuple[str, ...]:
    """What the figures cannot tell."""
    found = []
    for name, figures in (("held_back", held_back), ("regression", regression)):
        unknown = [_group(each.name) for each in figures.groups if each.gain is None]
        if unknown:
            found.append(f"{_words(name)}: no object of {_listed(unknown)}, so nothing is known of it")
        if figures.units == "clips":
            found.append(f"{_words(name)}: so few drives that clips of them were drawn, which are alike")
    return tuple(found)


def _change(change: Change) -> str:
    bounds = ""
    if change.low is not None and change.high is not None:
        bounds = f" (from {points(change.low)} to {points(change.high)})"
    return f"{_group(change.name)} {points(change.gain)} points of mAP{bounds}"


def _group(name: str) -> str:
    return "all classes" if name == ALL else f"group {name}"


def _words(name: str) -> str:
    return {"held_back": "held-back events", "regression": "regression set"}[name]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _plain(settings: GateSettings) -> dict[str, Any]:
    return dict(json.loads(json.dumps(asdict(settings), default=str)))
