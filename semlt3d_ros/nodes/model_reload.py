"""The next checkpoint, loaded beside the one that runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.inference.frame_detector import FrameDetector
from semlt3d_ros.middleware.port import Answer, Middleware


class ModelReload:
    """Loads a checkpoint on a thread of its own, checks it, and hands it over; or leaves everything as it was.

    Args:
        middleware: whose executor takes the outcome.
        take: called on the executor's thread with a checked and warm detector; it raises ``ConfigurationError`` where
            that has no place any more.

    Attributes:
        failure: why the last attempt failed; empty once one has succeeded.
    """

    def __init__(self, middleware: Middleware, take: Callable[[FrameDetector], None]) -> None:
        self._middleware = middleware
        self._take = take
        self.busy = False
        self.failure = ""

    def start(self, current: FrameDetector, load: Callable[[], FrameDetector], answer: Answer) -> None:
        """Load a model.

        Args:
            current: what runs.
            load: gives the model; called on the thread.
            answer: told what came of it.
        """
        if self.busy:
            answer(False, "a model is being loaded already")
        else:
            self.busy = True
            work = partial(self._load, current.model_version, load, answer)
            threading.Thread(target=work, name="reload", daemon=True).start()

    def _load(self, former: str, load: Callable[[], FrameDetector], answer: Answer) -> None:
        outcome: FrameDetector | Exception
        try:
            outcome = load()
        except Exception as error:
            outcome = error
        self._middleware.call_soon(partial(self._end, outcome, former, answer))

    def _end(self, outcome: FrameDetector | Exception, former: str, answer: Answer) -> None:
        self.busy = False
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


def require_same_images(model: FrameDetector, current: FrameDetector) -> None:
    """Raise ``ConfigurationError`` where a model takes other images than those that a node makes for its own."""
    if model.image_spec != current.image_spec:
        raise ConfigurationError(
            f"model {model.model_version} takes images of {model.image_spec}, this node makes {current.image_spec}; to "
            "change that, clean up and configure the node"
        )
