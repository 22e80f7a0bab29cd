"""The states of a managed node (design.ros2.org, "Managed nodes"), whoever drives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

TRANSITIONS = {
    "configure": ({"unconfigured"}, "inactive"),
    "activate": ({"inactive"}, "active"),
    "deactivate": ({"active"}, "inactive"),
    "cleanup": ({"inactive"}, "unconfigured"),
    "shutdown": ({"unconfigured", "inactive", "active"}, "finalized"),
}
"""Name of each transition to the states it starts from and the one it leads to."""


class Lifecycle:
    """Runs transitions, and remembers the last one that failed.

    Args:
        steps: what each transition does; it raises to fail, and has then undone what it did.

    Attributes:
        state: ``unconfigured``, ``inactive``, ``active`` or ``finalized``.
        failure: which transition failed last, and why; empty once one has succeeded.
    """

    def __init__(self, steps: Mapping[str, Callable[[], None]]) -> None:
        self._steps = steps
        self.state = "unconfigured"
        self.failure = ""

    def run(self, name: str) -> None:
        """Run a transition; raises what its step raises, and the state stays as it was.

        Raises:
            RuntimeError: the transition does not start from the present state.
        """
        sources, target = TRANSITIONS[name]
        if self.state not in sources:
            raise RuntimeError(f"'{name}' does not start from the state '{self.state}'")
        try:
            self._steps[name]()
        except Exception as error:
            self.failure = f"{name} failed: {error}"
            raise
        self.state = target
        self.failure = ""
