"""A lifecycle node of rclpy whose transitions are somebody else's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from semlt3d_ros.core.errors import ConfigurationError


class ManagedNode(LifecycleNode):
    """Hands the transitions to whoever manages the node; a transition that fails leaves the state as it was."""

    transition: Callable[[str], None] = staticmethod(lambda name: None)

    def on_configure(self, state: Any) -> Any:
        """See ``transition``."""
        return self._run("configure")

    def on_activate(self, state: Any) -> Any:
        """See ``transition``."""
        return self._run("activate")

    def on_deactivate(self, state: Any) -> Any:
        """See ``transition``."""
        return self._run("deactivate")

    def on_cleanup(self, state: Any) -> Any:
        """See ``transition``."""
        return self._run("cleanup")

    def on_shutdown(self, state: Any) -> Any:
        """See ``transition``."""
        return self._run("shutdown")

    def _run(self, name: str) -> Any:
        # rclpy swallows what a transition raises (rclpy#1696), so nothing may leave here but a return code.
        logger = logging.getLogger(self.get_name())
        try:
            self.transition(name)
        except ConfigurationError as error:
            logger.error("%s failed: %s", name, error)
            return TransitionCallbackReturn.FAILURE
        except Exception:
            logger.exception("%s failed", name)
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS
