"""One distiller at a time for a folder: kept by a lock that ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semlt3d_ros.core.errors import ConfigurationError

LOCK = "lock"


class Busy(ConfigurationError):
    """Another distiller is at work in the folder."""


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Within the context nobody else works in a folder, which is made if need be.

    Raises:
        Busy: somebody does.
        ConfigurationError: the folder cannot be written.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(work / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"work folder '{work}' cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            who = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            raise Busy(
                f"another distiller is at work in '{work}' (process {who}); wait for its end, or stop it"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
