"""Sets on their way through the detector: a thread of its own for the model, and every set accounted for."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.inference.frame_detector import FrameDetector
from semlt3d_ros.middleware.port import Middleware
from semlt3d_ros.nodes.worker import LatestWorker


@dataclass
class DetectionJob:
    """A set on its way through the node; times are nanoseconds of the middleware's clock."""

    frame: Frame
    received: int
    taken_up: int
    assembled: int
    epoch: int = 0
    started: int = 0
    detected: int = 0
    model_version: str = ""
    result: Detections | Exception | None = None
    timings: dict[str, float] = field(default_factory=dict)
    memory_resets: Counter[str] = field(default_factory=Counter)

    @property
    def counts_against_model(self) -> bool:
        """Whether the model is to blame for a set without an answer, and not what the set is like."""
        if isinstance(self.result, InputRejected):
            return self.result.reason == "not_finite"
        return isinstance(self.result, Exception)


class DetectionPipeline:
    """Detects on its own thread and tells the executor. Its methods are called by the executor's thread alone.

    Args:
        middleware: whose executor is told.
        detector: what detects; it may be replaced between two sets.
        finish: called on the executor's thread with every set that went through.
    """

    def __init__(self, middleware: Middleware, detector: FrameDetector, finish: Callable[[DetectionJob], None]) -> None:
        self.detector = detector
        self._middleware = middleware
        self._finish = finish
        self._epoch = self._detector_epoch = 0
        self._in_flight = 0
        self._worked_on: DetectionJob | None = None
        self._closed = False
        # In lockstep nothing is superseded, and one message can complete two sets: the second waits here.
        self._backlog: deque[DetectionJob] = deque()
        self._worker = LatestWorker("detector", self._detect)

    @property
    def under_way_since(self) -> int | None:
        """When the last image of the set that is worked on arrived; None while there is none."""
        job = self._worked_on
        return None if job is None else job.received

    @property
    def in_flight(self) -> int:
        """Sets that were taken and neither finished nor superseded."""
        return self._in_flight

    def forget(self) -> None:
        """What comes next does not follow what came before."""
        self._epoch += 1

    def submit(self, job: DetectionJob, keep_all: bool) -> DetectionJob | None:
        """Take a set.

        Args:
            job: the set.
            keep_all: let it wait behind those under way, however many.

        Returns:
            The set that it superseded: one that waited while a newer one came.
        """
        job.epoch = self._epoch
        self._in_flight += 1
        if self._in_flight > 1 and keep_all:
            self._backlog.append(job)
            return None
        superseded = self._worker.submit(job)
        if superseded is not None:
            self._in_flight -= 1
        return superseded

    def close(self, timeout_s: float) -> bool:
        """Finish no more sets; returns whether the one in progress ended within ``timeout_s`` seconds."""
        self._closed = True
        self._backlog.clear()
        return self._worker.close(timeout_s)

    def _detect(self, job: DetectionJob) -> None:
        """On the worker's thread."""
        self._worked_on = job
        job.started = self._middleware.now()
        detector = self.detector
        job.model_version = detector.model_version
        try:
            if job.epoch != self._detector_epoch:
                self._detector_epoch = job.epoch
                detector.reset()
            job.result = detector.detect(job.frame)
            job.timings = {"opinion": 0.0, **detector.last_timings}
        except Exception as error:
            job.result = error
        job.memory_resets = Counter(detector.memory_resets)
        job.detected = self._middleware.now()
        self._worked_on = None
        self._middleware.call_soon(partial(self._end, job))

    def _end(self, job: DetectionJob) -> None:
        if self._closed:
            return
        self._in_flight -= 1
        if self._backlog:
            self._worker.submit(self._backlog.popleft())
        self._finish(job)
