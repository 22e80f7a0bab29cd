"""One round of the loop: events are labelled, a copy of the running model learns from them, is judged, and promoted.

Whatever moment it is interrupted or killed at, the next call goes on where it was: what a stage has made is on the disk
under its name when it is whole, and is not made again. What runs is changed by the model store alone, at the end.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import semlt3d_ros
from semlt3d_ros.adaptation.alone import alone
from semlt3d_ros.adaptation.gate import ALL, GateSettings, judge
from semlt3d_ros.adaptation.kept_data import keep_within
from semlt3d_ros.adaptation.labels import TEACHER_DATA, LabelledEvents, Labelling, read_labelled, write_labelled
from semlt3d_ros.adaptation.learning import CANDIDATE, RECIPE, follows_lidar, learn, tidy, write_recipe
from semlt3d_ros.adaptation.models import CURRENT, ModelStore
from semlt3d_ros.adaptation.plan import Plan, Result, Rounds, basis_of, next_plan
from semlt3d_ros.adaptation.settings import LoopSettings
from semlt3d_ros.adaptation.status import Status, StatusFile, Tell
from semlt3d_ros.adaptation.verdict import FIGURES, Comparison, Verdict, read_verdict
from semlt3d_ros.adaptation.verdict_page import write_page
from semlt3d_ros.adaptation.views import Namer
from semlt3d_ros.checkpoints.checkpoint import read_checkpoint
from semlt3d_ros.checkpoints.shipped import chosen_teacher, default_checkpoint
from semlt3d_ros.core.classes import ClassInfo, ClassList
from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.inference.teacher import TeacherDetector
from semlt3d_ros.messages import topics
from semlt3d_ros.recording.event import events_of
from semlt3d_ros.sensing.rig import load_rig

VERDICT = "verdict"
_GIB = 2**30


def run_round(settings: LoopSettings, tell: Tell = lambda status: None) -> Status:
    """Go on with the round that was begun, or begin the next one if there is enough to learn from.

    Args:
        settings: of the loop.
        tell: told of every change of the status; what it raises ends the round, which goes on the next time.

    Returns:
        How it stands: ``promoted`` or ``rejected`` after a round, ``failed`` with the cause where there is none, and
        ``idle`` with what is waited for.

    Raises:
        Busy: another distiller is at work in the folder.
    """
    with alone(settings.work):
        report = StatusFile(settings.work, tell)
        try:
            round_ = _Round(settings, report)
            round_.run()
            round_.tidy()
        except (Semlt3dError, OSError) as error:
            report.set(state="failed", message=str(error))
        except BaseException:
            # The next call takes the state up where it was; until then nobody is at work.
            report.set(state="idle", message=f"interrupted while {report.status.state}; goes on where it was")
            raise
        return report.status


class _Round:
    def __init__(self, settings: LoopSettings, report: StatusFile) -> None:
        self._settings, self._report = settings, report
        self._rounds = Rounds(settings.work)
        self._store = ModelStore(settings.models)

    def run(self) -> None:
        """All stages; each does nothing where its result is there."""
        plan = self._plan()
        if plan is None:
            return
        folder = self._rounds.folder(plan.number)
        labelled = self._label(plan, folder)
        learnt, held_back = (
            [labelled.bags[name] for name in names if name in labelled.bags] for names in (plan.learnt, plan.held_back)
        )
        if not learnt or not held_back:
            self._fail(plan, f"no event to {'learn from' if not learnt else 'hold back'} could be labelled", labelled)
            return
        self._learn(folder, learnt)
        verdict = self._judge(folder, held_back)
        self._end(plan, folder, verdict, labelled)

    def tidy(self) -> None:
        """Bound what is kept of frames, once no round is under way that needs them."""
        if any(result is None for _, result in self._rounds.all()):
            return
        tidied = keep_within(self._settings.data_folder, self._settings.data_gib, apart=(TEACHER_DATA,))
        if tidied.removed:
            self._report.set(message=f"{self._report.status.message}; {tidied} (data_gib)")

    def _plan(self) -> Plan | None:
        settings, rounds = self._settings, self._rounds.all()
        running = read_checkpoint(self._running()).version
        basis = basis_of(settings)
        self._report.set(running_version=running)
        for plan, result in rounds:
            if result is not None:
                continue
            if plan.basis == basis:
                self._report.set(state="replaying", message="goes on with the round", round=plan.number)
                return plan
            self._rounds.end(plan, Result("abandoned", "the settings or the recipe are others now"))
            tidy(self._rounds.folder(plan.number))
        events, faults = events_of(settings.events)
        free = shutil.disk_usage(settings.work).free / _GIB
        if free < settings.free_gib:
            found: Plan | str = (
                f"{free:.1f} GiB of the disk of '{settings.work}' are free, {settings.free_gib:g} are asked for "
                "(free_gib): waiting for room"
            )
        else:
            found = next_plan(settings, running, [event.name for event in events], self._rounds.all())
        if isinstance(found, str):
            unusable = f"; {len(faults)} cannot be used: {faults[0]}" if faults else ""
            self._report.set(state="idle", message=found + unusable)
            return None
        self._rounds.begin(found)
        blank = {name: value for name, value in vars(Status(running_version=running)).items() if name != "at_ns"}
        self._report.set(**{**blank, "state": "replaying", "message": "", "round": found.number})
        return found

    def _running(self) -> Path:
        """The checkpoint that runs: the store's, one put in place by hand, or the one that comes with the package."""
        name = self._store.current()
        if name is not None:
            return self._store.path(name)
        by_hand = self._store.folder / CURRENT
        return by_hand if by_hand.exists() else default_checkpoint()

    def _classes(self, running: ClassList) -> ClassList:
        """What is to be learnt: what the running model knows, and classes added by prompt."""
        words = self._settings.new_classes
        added = tuple(ClassInfo(name, words=text) for name, text in words.items() if name not in running)
        return ClassList(running.name, running.classes + added) if added else running

    def _label(self, plan: Plan, folder: Path) -> LabelledEvents:
        settings = self._settings
        known = read_labelled(folder)
        if known is not None:
            self._report.set(pseudo_labels_kept=known.kept, pseudo_labels_rejected=known.rejected)
            return known
        classes = self._classes(read_checkpoint(self._running()).classes)
        self._report.set(state="replaying", message="loading the teacher", recordings_total=len(plan.names))
        detector = TeacherDetector.load(chosen_teacher(settings.teacher), settings.device)
        namer, untold = None, ""
        if settings.naming is not None:
            try:
                namer = Namer.load(settings.naming, classes, settings.device)
            except ConfigurationError as error:
                untold = f"done without names by language: {error}"
        rig = None if settings.rig is None else load_rig(settings.rig)
        labelling = Labelling(settings, detector, classes, namer, rig, self._report, follows_lidar(settings))
        labelled = labelling.label(plan.names)
        if untold:
            labelled.told.append(untold)
        for text in (*labelled.told, *(f"left out {name}: {why}" for name, why in labelled.faults.items())):
            self._report.set(message=text)
        write_labelled(folder, labelled)
        return labelled

    def _learn(self, folder: Path, learnt: Sequence[Path]) -> None:
        report = self._report
        if (folder / CANDIDATE).exists():
            return
        if not (folder / RECIPE).exists():
            running = self._running()
            known = read_checkpoint(running).classes
            classes = self._classes(known)
            write_recipe(folder, self._settings, running, None if classes == known else classes, learnt)
        report.set(state="training", message="preparing frames")

        def told(step: int, steps: int, losses: dict[str, float]) -> None:
            report.set(training_step=step, training_steps=steps, message="learning")

        learn(folder, self._settings.device, told)

    def _judge(self, folder: Path, held_back: Sequence[Path]) -> Verdict:
        report, settings, running = self._report, self._settings, self._running()
        place = folder / VERDICT
        version = read_checkpoint(running).version
        if (place / FIGURES).exists():
            verdict = read_verdict(place)
            # One that the store has promoted already runs itself.
            if version in (verdict.running, verdict.candidate):
                return verdict
        report.set(state="evaluating", message="judging the candidate", running_version=version)
        back = DataSpec(bags=tuple(map(str, held_back)), labels=topics.TEACHER_LABELS, rig=settings.rig)

        def told(what: str, done: float, of: int) -> None:
            report.set(message=f"{what}: {done:.0f} of {of}")

        gate = _gate_of(settings)
        verdict = judge(folder / CANDIDATE, running, [back], settings.regression, gate, told)
        write_page(verdict, place)
        return verdict

    def _end(self, plan: Plan, folder: Path, verdict: Verdict, labelled: LabelledEvents) -> None:
        settings, candidate = self._settings, folder / CANDIDATE
        figures = _figures(verdict, settings.gate.better_in)
        if verdict.promoted:
            provenance = {
                "parent": verdict.running,
                "round": plan.number,
                "recipe": settings.recipe.name,
                "learnt": [name for name in plan.learnt if name in labelled.bags],
                "held_back": [name for name in plan.held_back if name in labelled.bags],
                "teacher": chosen_teacher(settings.teacher).name,
                "package_version": semlt3d_ros.__version__,
            }
            version = self._store.add(candidate, provenance, verdict.to_json())
            if self._store.current() != version.name:
                self._store.promote(version.name, f"promoted by the loop, round {plan.number}")
        reason = "; ".join(verdict.reasons)
        outcome = "promoted" if verdict.promoted else "rejected"
        self._rounds.end(plan, Result(outcome, reason, verdict.candidate))
        tidy(folder)
        self._report.set(
            state=outcome,
            message=f"{verdict.candidate} {outcome}: {reason}",
            candidate_version=verdict.candidate,
            running_version=verdict.candidate if verdict.promoted else verdict.running,
            promoted=verdict.promoted,
            reason_not_promoted="" if verdict.promoted else reason,
            **figures,
        )

    def _fail(self, plan: Plan, why: str, labelled: LabelledEvents) -> None:
        name, fault = next(iter(labelled.faults.items()), ("", ""))
        message = f"{why}: {name}: {fault}" if fault else why
        self._rounds.end(plan, Result("failed", message))
        tidy(self._rounds.folder(plan.number))
        self._report.set(state="failed", message=message, reason_not_promoted=message)


def _gate_of(settings: LoopSettings) -> GateSettings:
    """The gate's settings with what the loop's say of the same."""
    names = (*settings.gate.new_classes, *settings.new_classes)
    new = tuple(dict.fromkeys(names))
    return replace(settings.gate, data_folder=settings.data_folder, device=settings.device, new_classes=new)


def _figures(verdict: Verdict, group: str) -> dict[str, float | None]:
    """Mean APs of the status: of the group that has to be better on held-back events, of all classes on the other."""
    found: dict[str, float | None] = {}
    for name, comparison, which in (
        ("held_back", verdict.held_back, group),
        ("regression", verdict.regression, ALL),
    ):
        before, after = _of(comparison, which)
        found |= {f"running_{name}": before, f"candidate_{name}": after}
    return found


def _of(comparison: Comparison | None, name: str) -> tuple[float | None, float | None]:
    change = None if comparison is None else {each.name: each for each in comparison.groups}.get(name)
    return (None, None) if change is None else (change.running, change.candidate)
