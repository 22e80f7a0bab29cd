"""Keeps a fault that repeats with every message from flooding the log."""

from __future__ import annotations

import logging
import time
from collections import Counter


class ThrottledLog:
    """Logs the first of a kind at once, then at most one line of that kind per period, with the number left out.

    Args:
        logger: where the lines go.
        period_s: seconds between two lines of one kind.
    """

    def __init__(self, logger: logging.Logger, period_s: float = 5.0) -> None:
        self._logger = logger
        self._period_s = period_s
        self._next: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def warning(self, kind: str, text: str) -> None:
        """Log a warning of some kind, or count it as left out."""
        now = time.monotonic()
        if now < self._next.get(kind, now):
            self._left_out[kind] += 1
            return
        self._next[kind] = now + self._period_s
        left_out = self._left_out.pop(kind, 0)
        self._logger.warning("%s%s", text, f" (and {left_out} more since the last line)" if left_out else "")
