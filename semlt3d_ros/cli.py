"""The ``semlt3d`` command.

Each subcommand lives in its own module of ``semlt3d_ros.commands``, which imports what it needs only when it runs, and
looks at what it was given before it imports what takes long, so that help and errors come at once. This module imports
next to nothing until ``main`` runs: what Ctrl-C meets before that ends with a traceback.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from semlt3d_ros import __version__
from semlt3d_ros.core.errors import Semlt3dError

if TYPE_CHECKING:
    import argparse

COMMANDS = {
    "demo": "demo",
    "simulate": "simulate",
    "import": "import_dataset",
    "import-weights": "import_weights",
    "check": "check",
    "detect": "detect",
    "label": "label",
    "distil": "distil",
    "record": "record",
    "events": "events",
    "node": "node",
    "set": "set_parameter",
    "call": "call",
    "play": "play",
    "corrupt": "corrupt",
    "evaluate": "evaluate",
    "view": "view",
    "train": "train",
    "model": "model",
    "models": "models",
    "export": "export",
    "train-clip": "train_clip",
    "anchors": "anchors",
    "calibrate": "calibrate",
    "opinion": "opinion",
    "experiment": "experiment",
    "doctor": "doctor",
}
"""By name, in the order of the help, the modules of ``semlt3d_ros.commands``."""

FAILED = 2
"""Exit status after an error that was reported as one line."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def build_parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        wanted: the command that is called, where that is known; the others are then not looked at.
    """
    import argparse
    from importlib import import_module

    parser = argparse.ArgumentParser(
        prog="semlt3d",
        description="Camera-only, long-tail 3D perception for ROS 2.",
        epilog="semlt3d COMMAND --help shows a command's options and an example.",
    )
    parser.add_argument("--version", action="version", version=f"semlt3d {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in [wanted] if wanted in COMMANDS else COMMANDS:
        module = import_module(f"semlt3d_ros.commands.{COMMANDS[name]}")
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors a user can act on become one line on stderr.

    Args:
        arguments: the words after ``semlt3d``; the process's own if None.

    Returns:
        The exit status: 0, ``FAILED`` or ``INTERRUPTED``, or what the command itself returns.
    """
    _show_any_name()
    try:
        with _unwound_by_sigterm():
            from semlt3d_ros.commands.places import refuse_losses_of

            words = sys.argv[1:] if arguments is None else list(arguments)
            options = build_parser(words[0] if words else None).parse_args(words)
            refuse_losses_of(options)  # before anything is opened
            status = int(options.run(options))
            sys.stdout.flush()
        return status
    except Semlt3dError as error:
        return _report(str(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        # Missing files, full disks, refused permissions: the user's to mend. All else is ours and keeps its traceback.
        from semlt3d_ros.core.outputs import NO_ROOM

        room = "; make room" if error.errno in NO_ROOM else ""
        return _report((f"{error.filename}: {error.strerror}" if error.filename else str(error)) + room)
    except KeyboardInterrupt:
        return INTERRUPTED


@contextmanager
def _unwound_by_sigterm() -> Iterator[None]:
    """Within the context, SIGTERM ends the process as Ctrl-C does: files are closed, child processes stopped."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        # A node that was told to end has silenced it for the rest of the way out.
        if signal.getsignal(signal.SIGTERM) is leave:
            signal.signal(signal.SIGTERM, previous)


def _show_any_name() -> None:
    """Names of files may hold bytes that are no text, or letters that the terminal lacks; they are printed escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _report(message: str) -> int:
    print(f"semlt3d: error: {' '.join(message.split())}", file=sys.stderr)
    return FAILED


def run() -> int:
    """``main`` as a process of its own: once the command has ended, Ctrl-C no longer changes how it ended."""
    import signal

    status = main()
    # Python sets a handled SIGINT back to the system's on its way out, and would be killed by it; ignored, it stays so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


if __name__ == "__main__":
    sys.exit(run())
