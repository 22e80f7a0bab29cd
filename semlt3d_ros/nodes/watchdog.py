"""Whether sets come through in the time that the vehicle has for them."""

from __future__ import annotations

from semlt3d_ros.nodes.detector_report import ERROR, OK, PREFIX, WARN, Entry

WATCHDOG = PREFIX + "watchdog"


class Watchdog:
    """Compares every set's latency with a budget; WARN when one exceeds it, ERROR when that goes on.

    Args:
        budget_ms: latency that a set may have, from the arrival of its last image to the end of publishing.
        patience_s: for how long sets may exceed it, one after the other.
    """

    def __init__(self, budget_ms: float = 200.0, patience_s: float = 2.0) -> None:
        self.set_limits(budget_ms, patience_s)
        self.reset()

    def set_limits(self, budget_ms: float, patience_s: float) -> None:
        """Judge by other limits from the next set on."""
        self._budget_ms = budget_ms
        self._patience_s = patience_s

    def reset(self) -> None:
        """Forget all sets: the node was not running in between."""
        self._newest_ms: float | None = None
        self._slowest_ms = 0.0
        self._late_since: int | None = None
        self._late_until = 0

    def add(self, latency_ms: float, now: int) -> None:
        """A set was published at ``now`` (nanoseconds of any one clock)."""
        self._newest_ms = latency_ms
        self._slowest_ms = max(self._slowest_ms, latency_ms)
        if latency_ms > self._budget_ms:
            self._late_since = now if self._late_since is None else self._late_since
            self._late_until = now
        else:
            self._late_since = None

    def entry(self, now: int, under_way_since: int | None = None) -> Entry:
        """The status of the sets since the last call, with the keys that Autoware's detectors use.

        Args:
            now: nanoseconds of the same clock.
            under_way_since: when the last image of the oldest unfinished set arrived, so that a detector which never
                ends is noticed too.
        """
        waited_ms = 0.0 if under_way_since is None else (now - under_way_since) * 1e-6
        overdue = waited_ms > self._budget_ms
        if self._newest_ms is None and not overdue:
            return WATCHDOG, OK, "no set yet", self._values(None, None)
        slowest_ms = max(self._slowest_ms or self._newest_ms or 0.0, waited_ms if overdue else 0.0)
        delay_ms = self._delay_ms(now, waited_ms - self._budget_ms if overdue else 0.0)
        self._slowest_ms = 0.0
        values = self._values(slowest_ms, delay_ms)
        if slowest_ms <= self._budget_ms:
            return WATCHDOG, OK, f"within the budget of {self._budget_ms:g} ms", values
        message = f"a set took {slowest_ms:.1f} ms, the budget is {self._budget_ms:g} ms"
        if delay_ms <= self._patience_s * 1e3:
            return WATCHDOG, WARN, message, values
        return WATCHDOG, ERROR, f"{message}; every set was too late for {delay_ms * 1e-3:.1f} s", values

    def _delay_ms(self, now: int, overdue_ms: float) -> float:
        """For how long every set has been too late."""
        if self._late_since is None:
            return overdue_ms
        return ((now if overdue_ms else self._late_until) - self._late_since) * 1e-6

    def _values(self, slowest_ms: float | None, delay_ms: float | None) -> dict[str, object]:
        return {
            "is_processing_time_ms_in_expected_range": str(slowest_ms is None or slowest_ms <= self._budget_ms),
            "processing_time_ms": _milliseconds(slowest_ms),
            "is_consecutive_processing_delay_in_range": str(delay_ms is None or delay_ms <= self._patience_s * 1e3),
            "consecutive_processing_delay_ms": _milliseconds(delay_ms),
            "max_allowed_processing_time_ms": f"{self._budget_ms:g}",
            "max_acceptable_consecutive_delay_ms": f"{self._patience_s * 1e3:g}",
        }


def _milliseconds(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
