"""The distiller node: lets the loop work while that is allowed, stops it when it no longer is, tells where it stands.

The work is done by a child process with the least priority. All times are counted in the node's own steps, so that a
clock that jumps neither holds anybody up nor lets anybody go on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from semlt3d_ros.adaptation.settings import LoopSettings, load_settings
from semlt3d_ros.adaptation.status import Status, read_status
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import encode_diagnostics
from semlt3d_ros.middleware.port import LATCHED, Answer, Middleware
from semlt3d_ros.nodes.distiller_child import BUSY, INTERRUPTED, REFUSED, WAITING
from semlt3d_ros.nodes.distiller_parameters import DistillerParameters
from semlt3d_ros.nodes.distiller_report import STATUS_TYPE, encode_status, loop_entry
from semlt3d_ros.nodes.distiller_worker import ChildWorker, Worker

BOOL_TYPE = "std_msgs/msg/Bool"
STEP_S = 0.1
STEPS_TO_SAVE = 14
"""How long a worker that was told to stop may take to save its state; then it is ended, in all within 2 s."""


class DistillerNode:
    """Watches over the worker.

    Args:
        middleware: the graph.
        start: starts a worker on the loop's file of settings.

    Raises:
        ConfigurationError: parameters or settings do not fit.
    """

    def __init__(self, middleware: Middleware, start: Callable[[Path], Worker] = ChildWorker) -> None:
        self._middleware, self._start = middleware, start
        self._source = middleware.declare_parameters(DistillerParameters, self._accept)
        self._parameters = parameters = self._source.read()
        if not parameters.settings:
            raise ConfigurationError("the parameter 'settings' is empty; name a file, such as config/adaptation.yaml")
        self._file = Path(parameters.settings)
        self._settings: LoopSettings = load_settings(self._file)
        self._allowed = parameters.allowed
        self._parked_for: int | None = None  # steps since the vehicle said so; None while it says it is not
        self._worker: Worker | None = None
        self._stopping: int | None = None  # steps since the worker was told to stop
        self._rest = 0  # steps until the next look
        self._fault = ""
        self._told: Status | None = None
        self._status = middleware.create_publisher(parameters.status_topic, STATUS_TYPE, LATCHED)
        self._diagnostics = middleware.create_publisher(topics.DIAGNOSTICS, topics.DIAGNOSTIC_TYPE)
        if parameters.parked_topic:
            middleware.create_subscription(parameters.parked_topic, BOOL_TYPE, self._on_parked)
        middleware.create_trigger("~/allow", lambda answer: self._let(True, answer))
        middleware.create_trigger("~/forbid", lambda answer: self._let(False, answer))
        middleware.create_timer(STEP_S, self.step)
        middleware.create_timer(parameters.diagnostics_period_s, self.report)

    @property
    def working(self) -> bool:
        """Whether a worker runs."""
        return self._worker is not None

    def step(self) -> None:
        """Look after the worker."""
        if self._parked_for is not None:
            self._parked_for += 1
        if self._worker is None:
            self._rest = max(0, self._rest - 1)
            if not self._rest and not self._forbidden():
                self._begin()
        elif self._worker.status is not None:
            self._ended(self._worker)
        elif self._stopping is not None:
            self._stopping += 1
            if self._stopping > STEPS_TO_SAVE:
                self._middleware.logger.warning("what was done since the last saved state is done again")
                self._worker.kill()
        elif self._forbidden():
            self._stop()
        self._tell()

    def report(self) -> None:
        """Publish diagnostics."""
        entry = loop_entry(self._told or Status(), self.working, self._fault, self._forbidden())
        self._diagnostics.publish(encode_diagnostics([entry], self._middleware.stamp(), types=self._middleware.types))

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
        self._tell()
        self.report()

    def _forbidden(self) -> str:
        """Why nothing may be done; empty where it may."""
        parameters = self._parameters
        if not self._allowed:
            return "not allowed: the parameter allowed is false, or ~/forbid was called"
        if not parameters.parked_topic:
            return ""
        if self._parked_for is None:
            return f"the vehicle does not say that it is parked, on {parameters.parked_topic}"
        if parameters.parked_timeout_s and self._parked_for * STEP_S > parameters.parked_timeout_s:
            return f"nothing was heard on {parameters.parked_topic} for {parameters.parked_timeout_s:g} s"
        return ""

    def _begin(self) -> None:
        try:
            self._worker, self._stopping = self._start(self._file), None
        except OSError as error:
            self._fault = f"the worker cannot be started: {error}"
            self._rest = self._steps_of_rest
            self._middleware.logger.error("%s", self._fault)

    def _stop(self) -> None:
        if self._worker is not None and self._stopping is None:
            self._middleware.logger.info("stopping: %s", self._forbidden())
            self._stopping = 0
            self._worker.ask_to_stop()

    def _ended(self, worker: Worker) -> None:
        status, said = worker.status, worker.said
        stopped = self._stopping is not None or status == INTERRUPTED
        self._worker, self._stopping = None, None
        # What was stopped goes on as soon as it may.
        self._rest = 0 if stopped else self._steps_of_rest
        failed = status in (BUSY, REFUSED) or (status not in (0, WAITING) and not stopped)
        self._fault = (said or f"the worker ended with status {status}") if failed else ""
        if said:
            (self._middleware.logger.warning if failed else self._middleware.logger.info)("%s", said)

    @property
    def _steps_of_rest(self) -> int:
        return max(1, round(self._parameters.retry_s / STEP_S))

    def _tell(self) -> None:
        status = read_status(self._settings.work) or Status()
        if not self.working and status.state in ("replaying", "training", "evaluating"):
            # Of a worker that was ended before it could say so.
            status = Status(**{**vars(status), "state": "idle", "message": f"interrupted while {status.state}"})
        if status != self._told:
            self._told = status
            self._status.publish(encode_status(status, self._middleware.stamp(), self._middleware.types))

    def _on_parked(self, message: Any, _: int) -> None:
        self._parked_for = 0 if message.data else None
        if not message.data:
            self._stop()

    def _let(self, allowed: bool, answer: Answer) -> None:
        self._allowed = allowed
        if not allowed:
            self._stop()
        answer(True, "allowed" if allowed else "stopping" if self.working else "not allowed")

    def _accept(self, parameters: DistillerParameters, changed: frozenset[str]) -> None:
        fixed = sorted(changed - {"allowed", "retry_s"})
        if fixed:
            raise ConfigurationError(f"{', '.join(fixed)} cannot be changed while the node runs")
        self._parameters = parameters
        if "allowed" in changed:
            self._let(parameters.allowed, lambda successful, text: None)
