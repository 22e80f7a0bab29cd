"""Errors a user can act on. Each message names the thing, the place and the remedy."""


class Semlt3dError(Exception):
    """Base of all errors that are reported as one line, without a traceback."""


class InputRejected(Semlt3dError):
    """A message or file entry is not usable; it is dropped and counted under ``reason``.

    ``reason`` is a short stable key for counters and diagnostics, such as ``"encoding"`` or ``"corrupt_jpeg"``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ConfigurationError(Semlt3dError):
    """A parameter, recipe or checkpoint does not fit; nothing was started."""


class TypeNotInstalledError(ConfigurationError):
    """A message type is not known here: the ROS package that defines it is not installed."""
