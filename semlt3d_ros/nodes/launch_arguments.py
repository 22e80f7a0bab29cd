"""The arguments of a launch file as they were given, and everything that is wrong with them.

The launch files read it, on the system's Python, so this file imports nothing that pip would have to bring.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.nodes.vehicle import Vehicle, read_vehicle


class Arguments:
    """Reads arguments and collects their faults, so that all of them are told at once and nothing is started.

    Args:
        read: gives the text of an argument.
        share: the package's folder with ``config/``.
        of_another: what is wrong with arguments of a launch file that includes the one that asks.

    Attributes:
        faults: what is wrong so far.
    """

    def __init__(self, read: Callable[[str], str], share: Path, of_another: str | None = None) -> None:
        self._read, self._share = read, share
        self.faults: list[str] = [of_another] if of_another else []

    def __getitem__(self, name: str) -> str:
        """The text of an argument."""
        return self._read(name).strip()

    def truth(self, name: str) -> bool:
        """The boolean that an argument spells."""
        text = self[name].lower()
        if text not in ("true", "false"):
            self.faults.append(f"{name}:={self[name]} is neither true nor false")
        return text == "true"

    def path(self, name: str) -> str:
        """The absolute path that an argument names, whether anything is there or not."""
        return str(Path(self[name]).expanduser().absolute())

    def file(self, name: str) -> str:
        """The absolute path of a file that is there."""
        path = self.path(name)
        if not Path(path).is_file():
            self.faults.append(f"{name}:={self[name]} is not a file")
        return path

    def known_or_file(self, name: str, kind: str) -> Path:
        """The path of one of ``config/<kind>``, given by name or path."""
        there = known(self._share, kind)
        path = there.get(self[name], Path(self.path(name)))
        if not path.is_file():
            self.faults.append(f"{name}:={self[name]} is neither a file nor one of {', '.join(there)}")
        return path

    def vehicle(self) -> Vehicle:
        """What the vehicle file says; an empty one without a file, or where it does not fit."""
        if not self["vehicle"]:
            return Vehicle()
        path = self.known_or_file("vehicle", "vehicles")
        if path.is_file():
            try:
                return read_vehicle(path, known(self._share, "rigs"))
            except ConfigurationError as error:
                self.faults.append(str(error))
        return Vehicle()

    def refuse(self) -> None:
        """End here if anything is wrong.

        Raises:
            RuntimeError: all that is.
        """
        if self.faults:
            raise RuntimeError("; ".join(self.faults))


def known(share: Path, kind: str) -> dict[str, Path]:
    """What comes with the package in ``config/<kind>``, by name."""
    return {path.stem: path for path in sorted((share / "config" / kind).glob("*.yaml"))}
