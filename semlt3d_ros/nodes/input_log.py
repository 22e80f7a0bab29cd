"""The node's log of what is wrong with its input: once per place and reason, and seldom again while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.middleware.throttle import ThrottledLog
from semlt3d_ros.sensing.camera_input import CameraStatus

_AGAIN_S = 60.0
_SILENT = ("never_seen", "stopped")
"""States that no message tells of; other states have a fault."""
_SILENT_FOR_NS = 5_000_000_000


class InputLog:
    """Logs faults in the line that diagnostics and commands say, and cameras that have been silent for a while.

    Args:
        logger: where the lines go.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._throttled = ThrottledLog(logger, _AGAIN_S)
        self.forget()

    def forget(self) -> None:
        """What comes next is from another source of faults."""
        self._told: tuple[Fault, ...] = ()
        self._silent: dict[str, tuple[str, int]] = {}

    def tell(self, faults: FaultLog, cameras: Iterable[CameraStatus], now: int) -> None:
        """Log what is new since the last time.

        Args:
            faults: what was wrong with messages.
            cameras: what cameras do; none while nothing is listened to.
            now: nanoseconds of any one clock.
        """
        known = {(fault.place, fault.reason) for fault in self._told}
        for fault in faults.since(self._told):
            if not fault.harmless:
                self._throttled.warning(f"{fault.place} {fault.reason}", fault.line)
            elif (fault.place, fault.reason) not in known:
                self._logger.info("%s", fault.line)
        self._told = tuple(faults)
        for camera in cameras:
            state, since = self._silent.get(camera.name, ("", now))
            if camera.state != state:
                state, since = self._silent[camera.name] = camera.state, now
            if state in _SILENT and now - since >= _SILENT_FOR_NS:
                self._throttled.warning(f"{camera.name} {state}", f"camera {camera.name}: {camera.detail}")
