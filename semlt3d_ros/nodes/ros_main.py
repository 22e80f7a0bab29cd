"""Running the nodes on ROS 2: what ``ros2 run semlt3d_ros ...`` starts."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.middleware.parameters import parameter
from semlt3d_ros.middleware.port import Middleware
from semlt3d_ros.nodes.detector import DetectorNode
from semlt3d_ros.nodes.detector_main import open_detector
from semlt3d_ros.nodes.detector_parameters import NODE_NAME
from semlt3d_ros.nodes.distiller_parameters import DISTILLER_NAME
from semlt3d_ros.nodes.event_recorder_parameters import RECORDER_NAME
from semlt3d_ros.nodes.model_loader import OpenDetector
from semlt3d_ros.nodes.player import Player, PlayerOptions
from semlt3d_ros.nodes.signals import Ending, ended_by_signals

PLAYER_NAME = "semlt3d_player"


@dataclass(frozen=True)
class PlayerParameters:
    """Parameters of the player node."""

    bag: str = parameter("", "the recording: an mcap file or a rosbag2 folder")
    rate: float = parameter(1.0, "speed relative to the recording's", low=0.001, high=1000)
    loop: bool = parameter(False, "start again at the end")
    lockstep: bool = parameter(False, "send each message when the detector is done with everything before")


def detector_main(arguments: Sequence[str] | None = None, opener: OpenDetector = open_detector) -> int:
    """Run the detector as a lifecycle node until SIGINT, SIGTERM or its shutdown transition.

    Args:
        arguments: the process' arguments; None takes ``sys.argv``.
        opener: loads checkpoints.

    Returns:
        0, or 2 when the node cannot be made.
    """
    from semlt3d_ros.middleware.ros import RosMiddleware

    with ended_by_signals() as ending:
        try:
            middleware = RosMiddleware(NODE_NAME, sys.argv if arguments is None else arguments, lifecycle=True)
        except ConfigurationError as error:
            return _refuse(error)
        try:
            node = DetectorNode(middleware, opener)
            middleware.manage(node.lifecycle.run)
            if node.autostart:
                # A node that could not start stays: its log and its diagnostics say why, and it can be tried again.
                middleware.start()
            ending.stop(middleware)
            middleware.logger.info("%s", node.lifecycle.state)
            middleware.spin()
            node.close()
        finally:
            ending.ignore()
            middleware.shutdown()
    return 0


def player_main(arguments: Sequence[str] | None = None) -> int:
    """Play a recording with ``/clock`` until its end or a signal; see ``PlayerParameters``.

    Returns:
        0, or 2 when it cannot be played.
    """
    from semlt3d_ros.middleware.ros import RosMiddleware

    with ended_by_signals() as ending:
        try:
            middleware = RosMiddleware(PLAYER_NAME, sys.argv if arguments is None else arguments)
        except ConfigurationError as error:
            return _refuse(error)
        try:
            _play(middleware, ending)
        except Semlt3dError as error:
            middleware.logger.error("%s", error)
            return 2
        finally:
            ending.ignore()
            middleware.shutdown()
    return 0


def distiller_main(arguments: Sequence[str] | None = None) -> int:
    """Run the distiller until SIGINT or SIGTERM; see ``DistillerParameters``.

    Returns:
        0, or 2 when it cannot be started.
    """
    from semlt3d_ros.nodes.distiller import DistillerNode

    return _run(DISTILLER_NAME, arguments, DistillerNode)


def event_recorder_main(arguments: Sequence[str] | None = None) -> int:
    """Record events until SIGINT or SIGTERM; see ``EventRecorderParameters``.

    Returns:
        0, or 2 when it cannot be started.
    """
    from semlt3d_ros.nodes.event_recorder import EventRecorder

    return _run(RECORDER_NAME, arguments, EventRecorder)


class _Closed(Protocol):
    def close(self) -> object:
        """End in order."""


def _run(name: str, arguments: Sequence[str] | None, make: Callable[[Middleware], _Closed]) -> int:
    """Run a node until a signal."""
    from semlt3d_ros.middleware.ros import RosMiddleware

    with ended_by_signals() as ending:
        try:
            middleware = RosMiddleware(name, sys.argv if arguments is None else arguments)
        except ConfigurationError as error:
            return _refuse(error)
        try:
            node = make(middleware)
            ending.stop(middleware)
            middleware.spin()
            ending.ignore()
            node.close()
        except Semlt3dError as error:
            middleware.logger.error("%s", error)
            return 2
        finally:
            ending.ignore()
            middleware.shutdown()
    return 0


def leave(program: Callable[[], int]) -> NoReturn:
    """Run a program, then end the process at once: what torch would still tidy up takes a second."""
    try:
        status = program()
    except SystemExit as ending:
        status = int(ending.code or 0)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _play(middleware: Middleware, ending: Ending) -> None:
    def refuse(_: PlayerParameters, changed: frozenset[str]) -> None:
        raise ConfigurationError(f"{', '.join(sorted(changed))} cannot be changed while the recording plays")

    parameters = middleware.declare_parameters(PlayerParameters, refuse).read()
    if not parameters.bag:
        raise ConfigurationError("the parameter 'bag' is empty; name a recording: bag:=drive.mcap")
    options = PlayerOptions(rate=parameters.rate, loop=parameters.loop, lockstep=parameters.lockstep)
    player = Player(middleware, Path(parameters.bag), options)
    ending.stop(middleware)
    summary = player.play()
    middleware.logger.info(
        "played %d messages, %d of them late, %d rejected", summary.sent.total(), summary.late, summary.rejected
    )
    for fault in (*summary.incomplete, *summary.faults):
        middleware.logger.warning("%s", fault)


def _refuse(error: ConfigurationError) -> int:
    logging.getLogger(NODE_NAME).error("%s", error)
    return 2
