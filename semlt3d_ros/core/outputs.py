"""Results that take their name only when they are whole.

A result is written beside its place, under its *unfinished* name (``drive.unfinished.mcap``, for a folder
``drive.unfinished``), and takes its own name when all of it is on the disk. So an earlier result outlives a run that
fails, is killed or fills the disk. What a killed run left is replaced by the next run to the same place.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from semlt3d_ros.core.errors import ConfigurationError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a disk, or a share of it, that is full."""


def resolved(path: Path) -> Path:
    """The place that a path means, links followed as far as they lead somewhere."""
    return Path(os.path.realpath(path))


def unfinished(path: Path, folder: bool = False) -> Path:
    """Where the result of a place is written until it is whole; in the same folder, with the same suffix if a file.

    Raises:
        ConfigurationError: the place has no name of its own, as ``/``.
    """
    place = resolved(path)
    if not place.name:
        raise ConfigurationError(f"{path} cannot be the name of a result; give the name of one in it")
    return place.with_name(f"{place.name}.unfinished" if folder else f"{place.stem}.unfinished{place.suffix}")


class Draft:
    """A result on its way: to be written to ``draft``, then ended by ``finish``, ``discard`` or ``keep``.

    Args:
        path: the result's place; a link is followed, so that it goes on pointing at the result. Its folder is made.
        folder: the result is a folder of files.
        wait: where another process writes the same result: wait for its end, for results that are written in no time.

    Attributes:
        path: the place, links followed.
        draft: an empty file or folder; nobody else writes there before this ends.

    Raises:
        ConfigurationError: the place cannot be written, is of another kind, or is being written by another process.
    """

    def __init__(self, path: Path, folder: bool = False, wait: bool = True) -> None:
        self.path = resolved(path)
        self.draft = unfinished(path, folder)
        self._name = path
        self._folder = folder
        try:
            _refuse_other_kind(path, folder)
            resolved(path.parent).mkdir(parents=True, exist_ok=True)  # not where a link leads that leads nowhere
            self._lock = _claimed(self.draft, folder, wait)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"{path} is being written by another process; wait for its end, or give another name"
            ) from error
        except (FileExistsError, NotADirectoryError) as error:
            raise ConfigurationError(f"cannot write {path}: {path.parent} is no folder") from error
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror or error}") from error

    def finish(self, replaced: Collection[Path] = (), durable: bool = True) -> None:
        """Wait until the disk has it, then give it its name in place of what was there.

        A file, and a folder that was not there yet, appear at once. Into a folder that is there, files are moved one by
        one; other files in it are left alone.

        Args:
            replaced: files of an earlier result in the folder that are to go.
            durable: False does not wait: for what can be computed again.

        Raises:
            OSError: that failed; discard or keep what was written.
        """
        files = sorted(self.draft.iterdir()) if self._folder else [self.draft]
        for place in [*files, self.draft] if durable else []:
            _sync(place)
        if self._folder and self.path.exists():
            for old in set(replaced) - {self.path / file.name for file in files}:
                old.unlink(missing_ok=True)
            for file in files:
                os.replace(file, self.path / file.name)
            self.draft.rmdir()
        else:
            os.replace(self.draft, self.path)
        for place in (self.path, self.path.parent) if durable else ():
            _sync(place)
        self.keep()

    def discard(self) -> None:
        """Remove what was written."""
        with suppress(OSError):
            _remove(self.draft)
        self.keep()

    def keep(self) -> None:
        """Leave what was written under its unfinished name, for the user, until the next run to the same place."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_UN)  # forked children have the descriptor too
            os.close(lock)


def require_place(path: Path) -> None:
    """Say at the beginning of a long run that its result, a file, could not be written at the end.

    Raises:
        ConfigurationError: as of ``Draft``.
    """
    Draft(path, wait=False).discard()


@contextmanager
def whole(path: Path, folder: bool = False, durable: bool = True, replaced: Collection[Path] = ()) -> Iterator[Path]:
    """A place to write a result to, which is put under its name if the context ends well and removed if it does not.

    Args:
        path: the result's place; its folder is made if need be.
        folder: the result is a folder of files; into one that is there they are moved when all are written.
        durable: wait until the disk has it.
        replaced: files of an earlier result in the folder that are to go.

    Raises:
        ConfigurationError: the place cannot be written, or the disk is full.
    """
    draft = Draft(path, folder)
    try:
        yield draft.draft
        draft.finish(replaced, durable)
    except OSError as error:
        draft.discard()
        if error.errno in NO_ROOM:
            raise ConfigurationError(
                f"cannot write {path}: {error.strerror}; make room. What was there before is unchanged"
            ) from error
        raise
    except BaseException:
        draft.discard()
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file in one step; text as UTF-8.

    Raises:
        ConfigurationError: the place cannot be written, or the disk is full.
    """
    with whole(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


def _refuse_other_kind(path: Path, folder: bool) -> None:
    if folder and os.path.exists(path) and not os.path.isdir(path):
        raise ConfigurationError(f"{path} is a file; give the name of a folder")
    if not folder and os.path.isdir(path):
        raise ConfigurationError(f"{path} is a folder; give the name of a file")
    if not folder and os.path.exists(path) and not os.path.isfile(path):
        # A device or a pipe would be replaced by a file.
        raise ConfigurationError(f"{path} is no plain file; give the name of a file")


def _claimed(place: Path, folder: bool, wait: bool) -> int | None:
    """Make an empty file or folder that nobody else writes to; the descriptor of the lock that says so.

    The lock ends with the process, however that ends, so what is there without a lock is a killed run's.
    """
    while True:
        with suppress(FileExistsError):
            place.mkdir() if folder else place.touch(exist_ok=False)
        try:
            lock = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # its writer has just ended
        try:
            _flock(lock, wait)
            if identity(place) == identity(lock):
                if _is_empty(place):
                    return lock
                _remove(place)
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _flock(descriptor: int, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:
        pass  # some network file systems have no locks: then nothing keeps two writers apart


def identity(place: Path | int) -> tuple[int, int] | None:
    """Device and number of a file or folder, the same under all its names; None if there is none."""
    try:
        status = os.stat(place)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_empty(place: Path) -> bool:
    return not any(place.iterdir()) if place.is_dir() else place.stat().st_size == 0


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not place.is_dir():  # not every file system can do that for folders
            raise
    finally:
        os.close(descriptor)
