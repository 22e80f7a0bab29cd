"""The next checkpoint, loaded beside the one that runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.middleware.port import Answer, Middleware
from semlt3d_ros.nodes.detector_parameters import DetectorParameters
from semlt3d_ros.nodes.model_loader import OpenDetector, load_detector
from semlt3d_ros.nodes.pipeline import FrameDetector


class ModelReload:
    """Loads a checkpoint on a thread of its own, checks it, and hands it over; or leaves everything as it was.

    Args:
        middleware: whose executor takes the outcome.
        open_detector: loads a checkpoint.
        take: called on the executor's thread with a checked and warm detector; it raises ``ConfigurationError`` where
            that has no place any more.

    Attributes:
        failure: why the last attempt failed; empty once one has succeeded.
    """

    def __init__(
        self, middleware: Middleware, open_detector: OpenDetector, take: Callable[[FrameDetector], None]
    ) -> None:
        self._middleware = middleware
        self._open_detector = open_detector
        self._take = take
        self._busy = False
        self.failure = ""

    def start(
        self, current: FrameDetector, parameters: DetectorParameters, device: str, cameras: int, answer: Answer
    ) -> None:
        """Load what the parameters name.

        Args:
            current: what runs.
            parameters: name the model folder and the checkpoint.
            device: where to load it to.
            cameras: views of a frame.
            answer: told what came of it.
        """
        if not parameters.model_folder:
            answer(False, "the parameter model_folder is empty: there is no folder from which models may be loaded")
        elif self._busy:
            answer(False, "a model is being loaded already")
        else:
            self._busy = True
            work = partial(self._load, current, parameters, device, cameras, answer)
            threading.Thread(target=work, name="reload", daemon=True).start()

    def _load(
        self, current: FrameDetector, parameters: DetectorParameters, device: str, cameras: int, answer: Answer
    ) -> None:
        outcome: FrameDetector | Exception
        try:
            outcome = load_detector(self._open_detector, parameters, device, cameras)
            if outcome.image_spec != current.image_spec:
                raise ConfigurationError(
                    f"model {outcome.model_version} takes images of {outcome.image_spec}, this node makes "
                    f"{current.image_spec}; to change that, clean up and configure the node"
                )
        except Exception as error:
            outcome = error
        self._middleware.call_soon(partial(self._end, outcome, current.model_version, answer))

    def _end(self, outcome: FrameDetector | Exception, former: str, answer: Answer) -> None:
        self._busy = False
        try:
            if isinstance(outcome, Exception):
                raise outcome
            self._take(outcome)
        except Exception as error:
            self.failure = f"the model stays {former}: {error}"
            self._middleware.logger.error("%s", self.failure, exc_info=not isinstance(error, ConfigurationError))
            answer(False, self.failure)
        else:
            self.failure = ""
            text = f"model {outcome.model_version} in place of {former}"
            self._middleware.logger.info("%s", text)
            answer(True, text)
