"""Running the distiller node on DDS, without ROS."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from semlt3d_ros.nodes.distiller import DistillerNode
from semlt3d_ros.nodes.distiller_parameters import DISTILLER_NAME
from semlt3d_ros.nodes.signals import ended_by_signals


def run_distiller(
    parameter_files: Iterable[Path] = (), overrides: Iterable[str] = (), domain_id: int | None = None
) -> int:
    """Run the distiller node on DDS until SIGINT or SIGTERM.

    Args:
        parameter_files: ROS 2 parameter YAML.
        overrides: ``name:=value`` texts.
        domain_id: the ROS domain; None takes ROS_DOMAIN_ID, or 0.

    Returns:
        0.

    Raises:
        ConfigurationError: nothing was started; the message says what does not fit.
    """
    from semlt3d_ros.middleware.dds import DdsMiddleware

    with ended_by_signals() as ending:
        middleware = DdsMiddleware(DISTILLER_NAME, domain_id, parameter_files, overrides)
        try:
            node = DistillerNode(middleware)
            ending.stop(middleware)
            middleware.logger.info("ready in ROS domain %d", middleware.domain_id)
            middleware.spin()
            node.close()
        finally:
            ending.ignore()
            middleware.shutdown()
    return 0
