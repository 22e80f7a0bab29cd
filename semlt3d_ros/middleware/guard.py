"""Callbacks that fail do not end what calls them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.middleware.throttle import ThrottledLog


class CallbackGuard:
    """Calls callbacks; logs and counts what they raise.

    Attributes:
        errors: exceptions so far: rejected input by its reason, others by their class.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self.errors: Counter[str] = Counter()
        self._logger = logger
        self._log = ThrottledLog(logger)

    def __call__(self, callback: Callable[[], None]) -> None:
        """Call it."""
        try:
            callback()
        except InputRejected as error:
            self.errors[error.reason] += 1
            self._log.warning(error.reason, str(error))
        except Exception as error:
            self.errors[type(error).__name__] += 1
            self._logger.exception("a callback failed; going on")
