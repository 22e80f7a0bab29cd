"""Running the detector node on DDS, without ROS."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterable
from pathlib import Path

from semlt3d_ros.inference.frame_detector import FrameDetector
from semlt3d_ros.nodes.detector import DetectorNode
from semlt3d_ros.nodes.detector_parameters import NODE_NAME
from semlt3d_ros.nodes.signals import ended_by_signals

_FEW_COLLECTIONS = 20_000
"""New objects between two looks for garbage: several sets' worth, so that a look is not part of every set."""


def open_detector(checkpoint: Path | None, device: str) -> FrameDetector:
    """The student or published model of a checkpoint; None takes the one that comes with the package.

    Raises:
        ConfigurationError: the checkpoint cannot be used, or the device is not there.
    """
    from semlt3d_ros.checkpoints.shipped import default_checkpoint
    from semlt3d_ros.inference.opening import load_detector

    detector = load_detector(checkpoint or default_checkpoint(), device)
    # All that was imported and loaded stays; looking through it for garbage holds up a set for 0.1 s now and then.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_FEW_COLLECTIONS)
    atexit.register(gc.unfreeze)  # some extension modules take what is not collected at the end for a leak, and say so
    return detector


def run_detector(
    parameter_files: Iterable[Path] = (), overrides: Iterable[str] = (), domain_id: int | None = None
) -> int:
    """Run the detector node on DDS until SIGINT or SIGTERM.

    Args:
        parameter_files: ROS 2 parameter YAML; see ``config/detector.yaml``. Later files win.
        overrides: ``name:=value`` texts.
        domain_id: the ROS domain; None takes ROS_DOMAIN_ID, or 0.

    Returns:
        0.

    Raises:
        ConfigurationError: nothing was started; the message names all faults of the parameters.
    """
    from semlt3d_ros.middleware.dds import DdsMiddleware

    with ended_by_signals() as ending:
        middleware = DdsMiddleware(NODE_NAME, domain_id, parameter_files, overrides)
        try:
            node = DetectorNode(middleware, open_detector)
            node.lifecycle.run("configure")
            ending.stop(middleware)
            node.lifecycle.run("activate")
            middleware.logger.info("ready in ROS domain %d", middleware.domain_id)
            middleware.spin()
            node.close()
        finally:
            ending.ignore()
            middleware.shutdown()
    return 0
