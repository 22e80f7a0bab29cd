"""Where the vehicle has been, in squares of the world, kept over drives."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.messages import topics as names
from semlt3d_ros.messages.decode_geometry import decode_odometry, decode_transforms

PLACES_FILE = "visited_places.txt"
NAV_SAT_TYPE = "sensor_msgs/msg/NavSatFix"
_METRES_PER_DEGREE = 111_320.0
_MOST_PLACES = 1_000_000


class Places:
    """The squares that were visited.

    Args:
        lines: of the file, one square each.
        keep: is given the line of each new one.
    """

    def __init__(self, lines: list[str], keep: Callable[[str], None]) -> None:
        self._visited = set(lines)
        self._keep = keep

    def __len__(self) -> int:
        return len(self._visited)

    def visit(self, position: tuple[str, float, float], cell_m: float) -> bool:
        """Whether a position, (frame, x, y) in metres, lies in a square that was not visited yet; now it is."""
        frame, x, y = position
        square = f"{frame} {cell_m:g} {math.floor(x / cell_m)} {math.floor(y / cell_m)}"
        if square in self._visited or len(self._visited) >= _MOST_PLACES:
            return False
        self._visited.add(square)
        self._keep(square)
        return True


def read_places(folder: Path) -> list[str]:
    """The squares in a folder's file; none without one. A line that a power cut has torn is left out."""
    try:
        text = (folder / PLACES_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.split("\n")[:-1] if len(line.split()) == 4]


def keep_place(folder: Path, line: str) -> None:
    """Append a square to the folder's file.

    Raises:
        OSError: it cannot be written.
    """
    with (folder / PLACES_FILE).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")  # apart from a line that was torn


class Position:
    """Positions out of messages of one type.

    Args:
        type_name: one of ``TYPES``.
        fixed_frame, base_frame: between which tf tells the position.
    """

    TYPES: ClassVar[tuple[str, ...]] = (names.ODOMETRY_TYPE, NAV_SAT_TYPE, names.TF_TYPE)

    def __init__(self, type_name: str, fixed_frame: str, base_frame: str) -> None:
        self._read = dict(zip(self.TYPES, (_by_odometry, _by_satellite, self._by_tf), strict=True))[type_name]
        self._fixed, self._base = fixed_frame.lstrip("/"), base_frame.lstrip("/")
        self._links: dict[str, tuple[str, Matrix]] = {}

    def of(self, message: Any) -> tuple[str, float, float] | None:
        """Frame, x and y in metres; None where the message does not tell."""
        try:
            return self._read(message)
        except InputRejected:
            return None

    def _by_tf(self, message: Any) -> tuple[str, float, float] | None:
        """Over the newest of each link: a square need not be known to the centimetre."""
        moved = False
        for link in decode_transforms(message, rejected=[]):
            self._links[link.child] = (link.parent, link.matrix)
            moved |= link.child == self._base
        frame, matrix, passed = self._base, np.eye(4), set[str]()
        while moved and frame != self._fixed and frame in self._links and frame not in passed:
            passed.add(frame)
            parent, step = self._links[frame]
            frame, matrix = parent, step @ matrix
        return (frame, float(matrix[0, 3]), float(matrix[1, 3])) if moved and frame == self._fixed else None


def _by_odometry(message: Any) -> tuple[str, float, float]:
    pose = decode_odometry(message)
    return pose.parent or names.FIXED_FRAME, float(pose.matrix[0, 3]), float(pose.matrix[1, 3])


def _by_satellite(message: Any) -> tuple[str, float, float] | None:
    latitude, longitude = message.latitude, message.longitude
    if message.status.status < 0 or not (abs(latitude) <= 90 and abs(longitude) <= 360):  # no fix; also NaN
        return None
    # Degrees of longitude shrink to the poles; in steps, so that squares of one latitude are squares.
    shrunk = math.cos(math.radians(round(latitude, 1)))
    return "earth", longitude * _METRES_PER_DEGREE * shrunk, latitude * _METRES_PER_DEGREE
