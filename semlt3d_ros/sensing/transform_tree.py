"""The coordinate frames of a vehicle over time, from /tf and /tf_static."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import InputRejected

_SECOND = 1_000_000_000
_OTHER_CLOCK_S = 60.0
"""Nobody waits so long for a transform: image and transform were not stamped by the same clock."""


class TransformError(InputRejected):
    """A transform that the tree cannot give.

    ``reason`` is ``no_transform`` (a frame is unknown, or the two are not connected), ``transform_too_new`` (it may
    still arrive), ``transform_too_old``, ``transform_gap`` or, for what cannot be added, ``transform``.
    """


@dataclass(eq=False)
class _Edge:
    """How one frame lies in one parent: for ever, or at the stamps of a history, oldest first."""

    parent: str
    child: str
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


_Way = list[tuple[_Edge, bool]]
"""Links from frame to frame, each with whether it is climbed up, to the parent."""


class TransformTree:
    """Frames linked parent to child; interpolates between stamps. Leading slashes of frame names are ignored.

    A frame may have several parents, as ``base_link`` has where an odometry and a localizer publish it in turn: each
    link has a history of its own, and a look-up goes the shortest way that knows the stamp, over the newer link where
    two are equally short. So a frame that moves to another parent is found there.

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
        # By child, the links to its parents; the one that was made last is the last.
        self._edges: dict[str, dict[str, _Edge]] = {}
        self._children: dict[str, dict[str, _Edge]] = {}
        self._ways: dict[tuple[str, str], _Way | None] = {}
        self._forked = False

    @property
    def frames(self) -> tuple[str, ...]:
        """Names of all frames, sorted."""
        return tuple(sorted({*self._edges, *self._children}))

    def parents(self, frame: str) -> tuple[str, ...]:
        """The frames that a frame was published under, the newest link last."""
        return tuple(self._edges.get(frame.lstrip("/"), ()))

    def add(self, parent: str, child: str, stamp: int, matrix: rigid.Matrix, static: bool = False) -> None:
        """Learn ``T_parent_child`` (4, 4) at ``stamp`` nanoseconds, or for ever if ``static``.

        Raises:
            TransformError: ``transform``: the link would close a loop, a name is empty, or the matrix is not finite.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        if not parent or not child:
            raise TransformError("transform", f"transform '{parent}' -> '{child}': a frame has no name")
        if not np.isfinite(matrix).all():
            raise TransformError("transform", f"transform '{parent}' -> '{child}': the matrix is not finite")
        edge = self._put(parent, child, static)
        if static:
            edge.fixed = matrix
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
        if (target, source) not in self._ways:
            self._ways[target, source] = self._way(target, source, lambda edge: True)
        way = self._ways[target, source]
        if way is None:
            raise TransformError("no_transform", self._why_unconnected(target, source))
        try:
            return self._along(way, stamp)
        except TransformError:
            # A parent that was left stays known, and knows nothing of the time since.
            other = self._way(target, source, lambda edge: self._covers(edge, stamp)) if self._forked else None
            if other is None:
                raise
            return self._along(other, stamp)

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
        return frame in self._edges or frame in self._children

    def _put(self, parent: str, child: str, static: bool) -> _Edge:
        edge = self._edges.get(child, {}).get(parent)
        if edge is None:
            self._break_loops(parent, child)
        if edge is None or static:
            # What is said once and for ever was meant to hold from now on: it becomes the newest of the links.
            parents = self._edges.setdefault(child, {})
            parents.pop(parent, None)
            edge = parents[parent] = self._children.setdefault(parent, {})[child] = _Edge(parent, child)
            self._changed()
        edge.fixed = None
        return edge

    def _changed(self) -> None:
        self._ways.clear()
        self._forked = any(len(parents) > 1 for parents in self._edges.values())

    def _break_loops(self, parent: str, child: str) -> None:
        """Make room for a new link: what a frame has left by moving to another parent does not forbid it."""
        line = [parent]
        while line[-1] != child and (edges := self._edges.get(line[-1])):
            line.append(next(reversed(edges)))
        if line[-1] == child:
            raise TransformError(
                "transform",
                f"transform '{parent}' -> '{child}' would close a loop: '{parent}' already hangs below '{child}'",
            )
        above = set(self._ancestors(parent))
        if child in above:
            for frame in above:
                for name in self.parents(frame)[:-1]:
                    del self._edges[frame][name], self._children[name][frame]
            self._changed()

    def _ancestors(self, frame: str) -> list[str]:
        """The frame and all above it, the nearest first."""
        line = [frame]
        for name in line:
            line += [parent for parent in self._edges.get(name, ()) if parent not in line]
        return line

    def _steps(self, frame: str) -> Iterator[tuple[str, _Edge, bool]]:
        for name, edge in reversed(self._edges.get(frame, {}).items()):
            yield name, edge, True
        for name, edge in self._children.get(frame, {}).items():
            yield name, edge, False

    def _way(self, target: str, source: str, usable: Callable[[_Edge], bool]) -> _Way | None:
        """The shortest way from ``source`` to ``target`` over usable links, or None."""
        if not self._known(target) or not self._known(source):
            return None
        ways: dict[str, _Way] = {source: []}
        waiting = deque([source])
        while waiting and target not in ways:
            frame = waiting.popleft()
            for name, edge, up in self._steps(frame):
                if name not in ways and usable(edge):
                    ways[name] = [*ways[frame], (edge, up)]
                    waiting.append(name)
        return ways.get(target)

    def _along(self, way: _Way, stamp: int) -> rigid.Matrix:
        """What a way adds up to: climbs up, then down again, and so on where it leads through a common child."""
        result, place = None, 0
        while result is None or place < len(way):
            top = next((index for index in range(place, len(way)) if not way[index][1]), len(way))
            end = next((index for index in range(top, len(way)) if way[index][1]), len(way))
            step = rigid.inverse(self._climb(reversed(way[top:end]), stamp)) @ self._climb(way[place:top], stamp)
            result, place = step if result is None else step @ result, end
        return result

    def _climb(self, line: Iterable[tuple[_Edge, bool]], stamp: int) -> rigid.Matrix:
        matrix = np.eye(4)
        for edge, _ in line:
            matrix = self._at(edge, stamp) @ matrix
        return matrix

    def _covers(self, edge: _Edge, stamp: int) -> bool:
        try:
            self._at(edge, stamp)
        except TransformError:
            return False
        return True

    def _at(self, edge: _Edge, stamp: int) -> rigid.Matrix:
        if edge.fixed is not None:
            return edge.fixed
        stamps, place = edge.stamps, bisect_left(edge.stamps, stamp)
        if place < len(stamps) and stamps[place] == stamp:
            return edge.matrices[place]
        link = f"transform '{edge.parent}' -> '{edge.child}'"
        if place == 0:
            raise TransformError(
                "transform_too_old",
                f"{link}: {_away(stamps[0] - stamp)} before its oldest stamp {stamps[0] / _SECOND:.3f} s",
            )
        if place == len(stamps):
            beyond = stamp - stamps[-1]
            if beyond > self._extrapolation or len(stamps) == 1:
                raise TransformError(
                    "transform_too_new",
                    f"{link}: {_away(beyond)} after its newest stamp {stamps[-1] / _SECOND:.3f} s",
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
            text = f"no transform '{target}' <- '{source}': {names} unknown (known frames: {known})"
            for frame in self._ancestors(source) + self._ancestors(target):
                if len(parents := self.parents(frame)) > 1:
                    text += f"; '{frame}' has the parents " + " and ".join(f"'{name}'" for name in parents)
            return text
        return (
            f"no transform '{target}' <- '{source}': not connected; "
            f"'{target}' belongs to the tree of {self._roots(target)}, '{source}' to that of {self._roots(source)}"
        )

    def _roots(self, frame: str) -> str:
        roots = [name for name in self._ancestors(frame) if not self._edges.get(name)]
        return " and ".join(f"'{name}'" for name in roots)


def _away(nanoseconds: int) -> str:
    seconds = nanoseconds / _SECOND
    return f"{seconds:.3f} s" + (" (another clock)" if seconds > _OTHER_CLOCK_S else "")
