"""The model that a detector node runs: loaded, taken over from the model folder, watched, and rolled back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.inference.frame_detector import FrameDetector
from semlt3d_ros.middleware.port import Answer, Middleware
from semlt3d_ros.nodes.detector_parameters import DetectorParameters
from semlt3d_ros.nodes.detector_report import Entry, promotion_entry
from semlt3d_ros.nodes.model_loader import OpenDetector, load_detector
from semlt3d_ros.nodes.model_reload import ModelReload, require_same_images
from semlt3d_ros.nodes.model_watch import Behaviour, ModelWatch, WatchLimits
from semlt3d_ros.nodes.pipeline import DetectionJob
from semlt3d_ros.nodes.promotions import Promotions

_LOOK_EVERY = 10
"""Sets between two looks at a model on trial."""


@dataclass(frozen=True)
class Place:
    """Where a model is to run: on which device, for how many cameras, by which parameters."""

    parameters: DetectorParameters
    device: str
    cameras: int


class ModelKeeper:
    """Keeps a node's model. Called on the executor's thread; what takes long is done on others.

    A version that was promoted in the model folder is on trial until it has come through its watch period. If it fails,
    takes too long, or finds otherwise than the one before it, that one takes its place again, in the folder and in the
    node. So it does if the version cannot be loaded, or if nodes that run it die.

    Args:
        middleware: the graph.
        open_detector: loads a checkpoint.
        take: as of ``ModelReload``.
        place: where the next model is to run.
    """

    def __init__(
        self,
        middleware: Middleware,
        open_detector: OpenDetector,
        take: Callable[[FrameDetector], None],
        place: Callable[[], Place],
    ) -> None:
        self._middleware, self._open_detector = middleware, open_detector
        self._take, self._place = take, place
        self._reload = ModelReload(middleware, self._taken)
        self._watch = ModelWatch()
        self._running = ""
        self._next_trial: Behaviour | None = None  # of the model before the one that is taken over next
        self._tried: str | None = None  # the promoted version that was loaded, or could not be
        self._on_trial = False
        self._told = ""

    @property
    def failure(self) -> str:
        """Why the last model that was asked for is not running; empty if it is."""
        return self._reload.failure

    def load(self, place: Place) -> FrameDetector:
        """The model of a node that begins.

        Raises:
            ConfigurationError: it cannot be used, nor one that ran before it.
        """
        promotions = _promotions(place.parameters)
        self._told, self._tried = "", None
        if promotions is None:
            return self._run(_loaded(self._open_detector, place, None), None, place)
        if place.parameters.watch_sets:
            self._on_disk(partial(promotions.begin_node, place.parameters.watch_crashes))
        try:
            detector = _loaded(self._open_detector, place, promotions)
        except ConfigurationError as error:
            if promotions.on_trial() is None:
                raise
            self._note(promotions.give_up(f"it cannot be loaded ({error})"))
            detector = _loaded(self._open_detector, place, promotions)
        self._tried = promotions.current()
        return self._run(detector, promotions.trial_of(detector.model_version), place)

    def reload(self, current: FrameDetector, answer: Answer) -> None:
        """Load what the parameters name, beside ``current``, which goes on until the other takes over."""
        place = self._place()
        if not place.parameters.model_folder:
            answer(False, "the parameter model_folder is empty: there is no folder from which models may be loaded")
            return
        self._reload.start(current, partial(self._next, place, current, self._watch.behaviour()), answer)

    def follow(self, current: FrameDetector) -> None:
        """Take over what was promoted since the last look, where the parameters say so."""
        parameters = self._place().parameters
        promotions = _promotions(parameters)
        if promotions is None or not parameters.follow_promotions or parameters.checkpoint or self._reload.busy:
            return
        try:
            promoted = promotions.current()
        except ConfigurationError as error:
            self._note(str(error))
            return
        if promoted is not None and promoted not in (self._tried, current.model_version):
            self._tried = promoted
            self.reload(current, _nobody)

    def add(self, job: DetectionJob, current: FrameDetector) -> None:
        """A set has gone through; with the model on trial, see whether that may go on."""
        if job.model_version != self._running:
            return  # of the model before
        if isinstance(job.result, Detections):
            self._watch.add(sum(job.timings.values()), job.result.scores)
        elif job.counts_against_model:
            self._watch.add_failure()
        if not self._on_trial or self._reload.busy:
            return
        place = self._place()
        limits = _limits(place.parameters)
        done = self._watch.sets >= limits.sets
        if done or self._watch.failures or self._watch.sets % _LOOK_EVERY == 0:
            if fault := self._watch.fault(limits):
                self._on_trial = False
                self._middleware.logger.error("model %s on trial: %s; rolling back", self._running, fault)
                self._reload.start(current, partial(self._former, place, current, fault), _nobody)
            elif done:
                self._on_trial = False
                self._told = ""
                self._middleware.logger.info("model %s has come through its watch period", self._running)
                self._confirm(place)

    def end(self) -> None:
        """The node ends, or is cleaned up, as it should."""
        if self._on_trial and (promotions := _promotions(self._place().parameters)) is not None:
            self._on_disk(promotions.end_node)
        self._on_trial = False

    def entry(self) -> Entry | None:
        """The status of what was promoted; None where the model is of no folder with versions."""
        if self._tried is None:
            return None
        limits = _limits(self._place().parameters)
        return promotion_entry(
            self._running, self._on_trial, self._watch.sets, limits.sets, self._watch.failures, self._told
        )

    def _next(self, place: Place, current: FrameDetector, before: Behaviour) -> FrameDetector:
        """On a thread: what the parameters name, ready to take over; on trial, if it was promoted."""
        promotions = _promotions(place.parameters)
        self._told = ""
        try:
            detector = _loaded(self._open_detector, place, promotions)
            require_same_images(detector, current)
        except Exception as error:
            if promotions is not None and promotions.on_trial() not in (None, current.model_version):
                self._note(promotions.give_up(f"it cannot be loaded ({error})"))
            raise
        self._next_trial = None
        if promotions is not None:
            self._on_disk(partial(promotions.begin_trial, detector.model_version, before))
            self._next_trial = promotions.trial_of(detector.model_version)
            self._tried = promotions.current()
        return detector

    def _former(self, place: Place, current: FrameDetector, fault: str) -> FrameDetector:
        """On a thread: the model before the one on trial, which is rolled back."""
        promotions = Promotions(Path(place.parameters.model_folder))
        self._note(promotions.give_up(fault))
        detector = _loaded(self._open_detector, place, promotions)
        require_same_images(detector, current)
        self._next_trial, self._tried = None, promotions.current()
        return detector

    def _taken(self, detector: FrameDetector) -> None:
        self._take(detector)
        self._run(detector, self._next_trial, self._place())

    def _run(self, detector: FrameDetector, before: Behaviour | None, place: Place) -> FrameDetector:
        """From now on this model runs, on trial if it is known, or asked for, how the one ``before`` it was at work."""
        self._running = detector.model_version
        self._watch.start(before)
        self._on_trial = before is not None and place.parameters.watch_sets > 0
        if before is not None and not self._on_trial:
            self._confirm(place)
        return detector

    def _confirm(self, place: Place) -> None:
        if (promotions := _promotions(place.parameters)) is not None:
            work = partial(self._on_disk, promotions.confirm)
            threading.Thread(target=work, name="confirm", daemon=True).start()

    def _on_disk(self, work: Callable[[], str | None]) -> None:
        """Do what a model can run without: where the folder cannot be written, say so and go on."""
        try:
            told = work()
        except (ConfigurationError, OSError) as error:
            told = str(error)
        if told:
            self._note(told)

    def _note(self, text: str) -> None:
        if text != self._told:
            self._middleware.logger.warning("%s", text)
        self._told = text


def _loaded(open_detector: OpenDetector, place: Place, promotions: Promotions | None) -> FrameDetector:
    if promotions is not None:
        promotions.verify()
    return load_detector(open_detector, place.parameters, place.device, place.cameras)


def _promotions(parameters: DetectorParameters) -> Promotions | None:
    return Promotions(Path(parameters.model_folder)) if parameters.model_folder and not parameters.checkpoint else None


def _limits(parameters: DetectorParameters) -> WatchLimits:
    return WatchLimits(
        parameters.watch_sets,
        parameters.watch_error_share,
        parameters.watch_latency_factor,
        parameters.watch_score_drift,
        parameters.watch_crashes,
    )


def _nobody(successful: bool, text: str) -> None:
    """What came of it is in the log and in the diagnostics."""
