"""Create ``.venv`` and install this project into it: once, resumable, and offline ever after.

Usage: ``python3 scripts/setup_environment.py [all|test]``. Only the standard library is used, and the syntax is kept
to what old interpreters parse, so that they too can be told what is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = (3, 10)
GIGABYTE = 1000**3
NEEDED_BYTES = 8 * GIGABYTE
"""PyTorch's default build with its CUDA libraries takes 5.6 GB, everything else about one more."""
EXTRAS = ("all", "test")
"""What can be installed; ``test`` contains ``all``."""


class SetupError(Exception):
    """Set-up cannot go on; the message says what to do about it."""


def check_python(version: tuple[int, int]) -> None:
    """Refuse interpreters that are too old.

    Raises:
        SetupError: older than ``OLDEST_PYTHON``.
    """
    if version < OLDEST_PYTHON:
        raise SetupError(
            f"Python {version[0]}.{version[1]} is too old, {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer is needed; "
            "install one and name it, for example: make demo PYTHON=python3.12"
        )


def check_disk(folders: Sequence[Path], free_bytes: Callable[[Path], int]) -> None:
    """Refuse to start an installation that would run out of space.

    Raises:
        SetupError: one of the folders' file systems has less than ``NEEDED_BYTES`` left.
    """
    for folder in folders:
        free = free_bytes(folder)
        if free < NEEDED_BYTES:
            raise SetupError(
                f"only {free / GIGABYTE:.1f} GB are free at {folder}, {NEEDED_BYTES / GIGABYTE:.0f} GB are needed "
                "(PyTorch is most of it); free some space, or move the clone (or UV_CACHE_DIR) to a larger disk"
            )


def free_bytes(folder: Path) -> int:
    """Free bytes on the file system that will hold ``folder``, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_venv_module(uv: str | None) -> None:
    """Refuse a Python that cannot create virtual environments.

    Raises:
        SetupError: ``venv`` or ``ensurepip`` is missing and there is no uv that could do without.
    """
    if uv:
        return
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(
            "this Python lacks the venv module; on Debian and Ubuntu run: sudo apt install python3-venv"
        ) from None


class Environment:
    """The project's virtual environment.

    Args:
        root: the project's folder.
        uv: path of a uv program to use, or None to install one into the environment.
    """

    def __init__(self, root: Path, uv: str | None) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder / "bin" / "python"
        self.uv = uv

    @property
    def _stamp(self) -> Path:
        return self.folder / "semlt3d-setup.json"

    def _wanted(self, extra: str) -> dict:
        """What the stamp says after a complete installation; a moved clone or a changed list of needs differs."""
        needs = hashlib.sha256()
        for name in ("pyproject.toml", "setup.py"):
            needs.update((self.root / name).read_bytes())
        return {"extra": extra, "root": str(self.root), "needs": needs.hexdigest()}

    def is_ready(self, extra: str) -> bool:
        """Whether an earlier run installed this extra, or one that contains it, to the end."""
        try:
            found = json.loads(self._stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        enough = [self._wanted(each) for each in EXTRAS[EXTRAS.index(extra) :]]
        return found in enough and self._runs()

    def install(self, extra: str) -> None:
        """Install the project and what it needs; may be interrupted and run again.

        Raises:
            SetupError: a step failed; its own output is already on the terminal.
        """
        if not self._runs():
            self._create()
        uv = self.uv or self._own_uv()
        say(f"installing semlt3d_ros[{extra}] into .venv (the first time downloads about 3 GB)")
        self._stamp.unlink(missing_ok=True)
        # Compiled now, once: PyTorch takes ten seconds longer to import as source, and some machines never cache it.
        command = [uv, "pip", "install", "--compile-bytecode", "--python", str(self.python)]
        command += ["--editable", f".[{extra}]"]
        remedy = "if the network was away, run the same command again: what is already downloaded is kept"
        self._step(command, f"installing failed, see the lines above; {remedy}")
        partial = self._stamp.with_suffix(".part")
        partial.write_text(json.dumps(self._wanted(extra)), encoding="utf-8")
        partial.replace(self._stamp)

    def _create(self) -> None:
        say(f"creating .venv with Python {platform.python_version()}")
        if self.folder.exists():
            shutil.rmtree(self.folder)
        if self.uv:
            command = [self.uv, "venv", "--quiet", "--python", sys.executable, str(self.folder)]
        else:
            command = [sys.executable, "-m", "venv", str(self.folder)]
        self._step(command, f"creating {self.folder} failed; see the lines above")

    def _own_uv(self) -> str:
        """The uv inside the environment, installed if it is not there yet."""
        uv = self.folder / "bin" / "uv"
        if not uv.exists():
            command = [str(self.python), "-m", "pip", "install", "--quiet", "uv"]
            self._step(
                command,
                "pip could not install uv; is there a network? See the lines above, then repeat the command",
            )
        return str(uv)

    def _runs(self) -> bool:
        """Whether the environment's interpreter is there and works (its base Python may have been upgraded away)."""
        try:
            subprocess.run([str(self.python), "-c", ""], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return False
        return True

    def _step(self, command: Sequence[str], failure: str) -> None:
        # An active environment of somebody else must not attract the installation.
        environment = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONHOME")}
        # PyTorch's parts are hundreds of megabytes each: uv's 30 seconds are short for a slow line.
        environment.setdefault("UV_HTTP_TIMEOUT", "180")
        try:
            code = subprocess.run(command, cwd=self.root, env=environment, check=False).returncode
        except OSError as error:
            raise SetupError(f"{command[0]} cannot be run: {error.strerror}") from None
        if code:
            raise SetupError(failure)


def uv_cache() -> Path:
    """Where uv keeps its downloads."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("UV_CACHE_DIR") or os.path.join(base, "uv"))


def say(text: str) -> None:
    """Tell the user what goes on."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Set the environment up for ``all`` or ``test``; the exit status is 0, 2 for a refusal, 130 when interrupted."""
    extra = arguments[0] if arguments else "all"
    if extra not in EXTRAS:
        say(f"error: unknown set '{extra}'; use one of: {', '.join(EXTRAS)}")
        return 2
    uv = shutil.which("uv")
    environment = Environment(ROOT, uv)
    try:
        check_python(sys.version_info[:2])
        if environment.is_ready(extra):
            return 0
        check_venv_module(uv)
        check_disk([environment.folder, uv_cache()], free_bytes)
        environment.install(extra)
    except SetupError as error:
        say(f"error: {error}")
        return 2
    except OSError as error:
        say(f"error: {error.filename or environment.folder}: {error.strerror}")
        return 2
    except KeyboardInterrupt:
        say("interrupted; run the same command to go on")
        return 130
    say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
