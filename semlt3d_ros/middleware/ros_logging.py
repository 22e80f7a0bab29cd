"""Python's logging into ROS 2's."""

from __future__ import annotations

import logging
from typing import Any


class _RosHandler(logging.Handler):
    """Hands records to an rclpy logger: console, file and ``/rosout`` as the user has set them."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        # One line of code for each level: rclpy holds every calling line to the level of its first call.
        if record.levelno >= logging.CRITICAL:
            self._logger.fatal(text)
        elif record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


def ros_logger(node: Any) -> logging.Logger:
    """The Python logger of a node, whose lines go to ROS 2. ROS 2 decides which levels are shown."""
    logger = logging.getLogger(node.get_name())
    logger.handlers = [_RosHandler(node.get_logger())]
    logger.setLevel(logging.DEBUG)
    return logger
