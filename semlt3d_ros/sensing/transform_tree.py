"""The coordinate frames of a vehicle over time, from /tf and /tf_static."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import InputRejected

_SECOND = 1_000_000_000


class TransformError(InputRejected):
    """A transform that the tree cannot give.

    ``reason`` is ``no_transform`` (a frame is unknown, or the two are not connected), ``transform_too_new`` (it may
    still arrive), ``transform_too_old``, ``transform_gap`` or, for what cannot be added, ``transform``.
    """


@dataclass
class _Edge:
    """How one frame lies in its parent: for ever, or at the stamps of a history, oldest first."""

    parent: str
    fixed: rigid.Matrix | None = None
    stamps: list[int] = field(default_factory=list)
    matrices: list[rigid.Matrix] = field(default_factory=list)

    def forget_before(self, stamp: int) -> None:
        first = bisect_left(self.stamps, stamp)
        del self.stamps[:first], self.matrices[:first]

    def add(self, stamp: int, matrix: rigid.Matrix) -> None:
        place = bisect_left(self.stamps, stamp)
        if place < len(self.stamps) and self.stamps[place] == stamp:
            self.matrices[place] = matrix
        else:
            self.stamps.insert(place, stamp)
            self.matrices.insert(place, matrix)


class TransformTree:
    """Frames linked parent to child; interpolates between stamps. Leading slashes of frame names are ignored.

    Dynamic links keep ``history_s`` of their past. A stamp that lies more than ``max_backward_s`` before the newest one
    of its link is a time jump (a bag starts over): the link's history begins anew.
    """

    def __init__(
        self,
        history_s: float = 10.0,
        extrapolation_s: float = 0.0,
        max_gap_s: float = 1.0,
        max_backward_s: float = 1.0,
    ) -> None:
        """Set up an empty tree.

        Args:
            history_s: how much of each dynamic link's past is kept.
            extrapolation_s: how far beyond its newest stamp a link may be carried on at constant velocity.
            max_gap_s: stamps of a link further apart are not interpolated.
            max_backward_s: see the class.
        """
        self._history = round(history_s * _SECOND)
        self._extrapolation = round(extrapolation_s * _SECOND)
        self._max_gap = round(max_gap_s * _SECOND)
        self._max_backward = round(max_backward_s * _SECOND)
        self._edges: dict[str, _Edge] = {}

    @property
    def frames(self) -> tuple[str, ...]:
        """Names of all frames, sorted."""
        return tuple(sorted({*self._edges, *(edge.parent for edge in self._edges.values())}))

    def add(self, parent: str, child: str, stamp: int, matrix: rigid.Matrix, static: bool = False) -> None:
        """Learn ``T_parent_child`` (4, 4) at ``stamp`` nanoseconds, or for ever if ``static``.

        A child that is given another parent moves there, and its history with the old one is forgotten.

        Raises:
            TransformError: ``transform``: the link would close a loop, a name is empty, or the matrix is not finite.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        if not parent or not child:
            raise TransformError("transform", f"transform '{parent}' -> '{child}': a frame has no name")
        if not np.isfinite(matrix).all():
            raise TransformError("transform", f"transform '{parent}' -> '{child}': the matrix is not finite")
        if child in self._ancestors(parent):
            raise TransformError(
                "transform",
                f"transform '{parent}' -> '{child}' would close a loop: '{parent}' already hangs below '{child}'",
            )
        edge = self._edges.get(child)
        if edge is None or edge.parent != parent or static or edge.fixed is not None:
            edge = self._edges[child] = _Edge(parent, matrix if static else None)
        if static:
            return
        if edge.stamps and stamp < edge.stamps[-1] - self._max_backward:
            edge.stamps.clear()
            edge.matrices.clear()
        edge.add(stamp, matrix)
        edge.forget_before(edge.stamps[-1] - self._history)

    def lookup(self, target: str, source: str, stamp: int) -> rigid.Matrix:
        """``T_target_source`` (4, 4) at ``stamp`` nanoseconds.

        Raises:
            TransformError: the frames are not connected, or a link between them does not cover the stamp.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        target_line, source_line = self._ancestors(target), self._ancestors(source)
        common = next((frame for frame in source_line if frame in target_line), None)
        if common is None or not self._known(target) or not self._known(source):
            raise TransformError("no_transform", self._why_unconnected(target, source))
        T_common_source = self._climb(source_line[: source_line.index(common)], stamp)
        T_common_target = self._climb(target_line[: target_line.index(common)], stamp)
        return rigid.inverse(T_common_target) @ T_common_source

    def lookup_between(
        self, target: str, target_stamp: int, source: str, source_stamp: int, fixed: str
    ) -> rigid.Matrix:
        """``T_target_source`` (4, 4) of ``source`` at its stamp and ``target`` at another, through a ``fixed`` frame.

        Equal stamps need no fixed frame.

        Raises:
            TransformError: as by ``lookup``.
        """
        if target_stamp == source_stamp:
            return self.lookup(target, source, target_stamp)
        return self.lookup(target, fixed, target_stamp) @ self.lookup(fixed, source, source_stamp)

    def _known(self, frame: str) -> bool:
        return frame in self._edges or any(edge.parent == frame for edge in self._edges.values())

    def _ancestors(self, frame: str) -> list[str]:
        line = [frame]
        while (edge := self._edges.get(line[-1])) is not None:
            line.append(edge.parent)
        return line

    def _climb(self, line: list[str], stamp: int) -> rigid.Matrix:
        matrix = np.eye(4)
        for frame in line:
            matrix = self._link(frame, stamp) @ matrix
        return matrix

    def _link(self, child: str, stamp: int) -> rigid.Matrix:
        edge = self._edges[child]
        if edge.fixed is not None:
            return edge.fixed
        stamps, place = edge.stamps, bisect_left(edge.stamps, stamp)
        if place < len(stamps) and stamps[place] == stamp:
            return edge.matrices[place]
        link = f"transform '{edge.parent}' -> '{child}'"
        if place == 0:
            raise TransformError(
                "transform_too_old",
                f"{link}: {(stamps[0] - stamp) / _SECOND:.3f} s before its oldest stamp {stamps[0] / _SECOND:.3f} s",
            )
        if place == len(stamps):
            beyond = stamp - stamps[-1]
            if beyond > self._extrapolation or len(stamps) == 1:
                raise TransformError(
                    "transform_too_new",
                    f"{link}: {beyond / _SECOND:.3f} s after its newest stamp {stamps[-1] / _SECOND:.3f} s",
                )
            place -= 1
        before, after = stamps[place - 1], stamps[place]
        if after - before > self._max_gap:
            raise TransformError(
                "transform_gap",
                f"{link}: nothing was received for {(after - before) / _SECOND:.3f} s around {stamp / _SECOND:.3f} s",
            )
        fraction = (stamp - before) / (after - before)
        return rigid.interpolate(edge.matrices[place - 1], edge.matrices[place], fraction)

    def _why_unconnected(self, target: str, source: str) -> str:
        unknown = [frame for frame in dict.fromkeys((target, source)) if not self._known(frame)]
        if unknown:
            known = ", ".join(self.frames) or "none yet"
            names = " and ".join(f"'{frame}'" for frame in unknown)
            return f"no transform '{target}' <- '{source}': {names} unknown (known frames: {known})"
        roots = [self._ancestors(frame)[-1] for frame in (target, source)]
        return (
            f"no transform '{target}' <- '{source}': not connected; "
            f"'{target}' belongs to the tree of '{roots[0]}', '{source}' to that of '{roots[1]}'"
        )
