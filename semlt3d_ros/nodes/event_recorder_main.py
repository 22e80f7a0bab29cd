"""Running the event recorder on DDS, without ROS."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from semlt3d_ros.nodes.event_recorder import EventRecorder
from semlt3d_ros.nodes.event_recorder_parameters import RECORDER_NAME
from semlt3d_ros.nodes.signals import ended_by_signals


def run_event_recorder(
    parameter_files: Iterable[Path] = (), overrides: Iterable[str] = (), domain_id: int | None = None
) -> int:
    """Record events from DDS until SIGINT or SIGTERM; the one under way is finished then.

    Args:
        parameter_files: ROS 2 parameter YAML; see ``config/event_recorder.yaml``. Later files win.
        overrides: ``name:=value`` texts.
        domain_id: the ROS domain; None takes ROS_DOMAIN_ID, or 0.

    Returns:
        0.

    Raises:
        ConfigurationError: nothing was started; the message says what does not fit.
    """
    from semlt3d_ros.middleware.dds import DdsMiddleware

    with ended_by_signals() as ending:
        middleware = DdsMiddleware(RECORDER_NAME, domain_id, parameter_files, overrides)
        try:
            node = EventRecorder(middleware)
            ending.stop(middleware)
            middleware.logger.info("ready in ROS domain %d", middleware.domain_id)
            middleware.spin()
            ending.ignore()
            node.close()
        finally:
            ending.ignore()
            middleware.shutdown()
    return 0
