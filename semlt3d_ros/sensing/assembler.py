"""Synchronisation: images of several cameras become sets, one image per camera at most.

A set is centred on the image of the anchor camera. Every other image belongs to the nearest anchor within a tolerance,
after each camera's known phase is taken off its stamp. Where the anchor's image is missing, what lies together makes a
set of its own. When stamps fall far back, or a round of images comes that are all too late, time has started anew.

The stamps of the messages alone decide, in the order in which they are added: the same messages give
the same sets, live or from a bag. Only ``poll`` looks at a clock, and it acts only when the stream has stalled.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.sensing.assembler_config import AssemblerConfig

__all__ = ["AssembledSet", "AssemblerConfig", "FrameAssembler", "SetImage", "Unused"]

Payload = TypeVar("Payload")

_SECOND = 1_000_000_000
_REMEMBERED_STAMPS = 16
_PROOF = 3
"""Late images in a row of a single camera that show that its time has started anew."""


@dataclass(frozen=True)
class SetImage(Generic[Payload]):
    """One camera's part of a set: its stamp in nanoseconds, and what was added with it."""

    stamp: int
    payload: Payload


@dataclass(frozen=True)
class AssembledSet(Generic[Payload]):
    """Images that belong together.

    Attributes:
        stamp: nanoseconds; the anchor's stamp; where it is missing, what it would be by the median of the others.
            Later than that of every earlier set since the last time jump.
        images: by camera, in the rig's order.
        missing: cameras without an image, in the rig's order.
        reset: why memory of earlier sets no longer applies: ``"time_jump"``, ``"gap"`` or ``""``.
    """

    stamp: int
    images: dict[str, SetImage[Payload]]
    missing: tuple[str, ...]
    reset: str = ""


@dataclass(frozen=True, order=True)
class _Waiting(Generic[Payload]):
    time: int
    """Nanoseconds, with the camera's phase taken off."""
    stamp: int
    camera: str
    payload: Payload = field(compare=False)


@dataclass(frozen=True)
class Unused:
    """Images of one camera that became part of no set, one after the other.

    Attributes:
        count: how many, up to the newest.
        reason: why the newest was dropped, as in ``FrameAssembler.drops``.
        fruitless: none of its images ever became part of a set.
    """

    count: int
    reason: str
    fruitless: bool


@dataclass(frozen=True)
class _Returned(Generic[Payload]):
    """An image that fits no set to come: the first of a new start, or to be dropped under its reason."""

    image: _Waiting[Payload]
    reason: str


@dataclass
class _Window(Generic[Payload]):
    start: int
    anchored: bool
    members: dict[str, _Waiting[Payload]]

    @property
    def reference(self) -> int:
        times = sorted(member.time for member in self.members.values())
        return self.start if self.anchored else times[(len(times) - 1) // 2]


class FrameAssembler(Generic[Payload]):
    """Collects images into sets. Not thread-safe.

    Every added image ends in exactly one set or one count of ``drops``, or is among the ``waiting``.

    Attributes:
        drops: images dropped, by reason: ``duplicate`` (same camera and stamp), ``late`` (its set has been given out),
            ``unmatched`` (no set needed it), ``incomplete`` (its set had too few cameras), ``clock`` (a stamp far from
            the other cameras'), ``reset``.
        dropped_sets: sets dropped, by reason: ``incomplete``.
        unused: by camera, its newest images if they became part of no set.
        resets: time jumps and gaps, by kind.
        min_cameras: images that a set needs.
        newest: the newest stamp, with its camera's phase taken off, or None; a camera with a wrong clock has no say.
        stalled_s: seconds between the polls since which no image was added.
    """

    def __init__(self, time_offsets_s: Mapping[str, float], anchor: str, config: AssemblerConfig | None = None) -> None:
        """Set up for the cameras named by ``time_offsets_s``, which gives each one's phase in seconds.

        Raises:
            ConfigurationError: the anchor is not one of the cameras, or more cameras are asked for than there are.
        """
        self.config = config or AssemblerConfig()
        self.cameras = tuple(time_offsets_s)
        if anchor not in time_offsets_s:
            raise ConfigurationError(f"anchor '{anchor}' is not one of the cameras ({', '.join(self.cameras)})")
        half = (len(self.cameras) + 1) // 2
        self.min_cameras = half if self.config.min_cameras is None else self.config.min_cameras
        if self.min_cameras > len(self.cameras):
            raise ConfigurationError(f"min_cameras is {self.min_cameras}, but there are {len(self.cameras)} cameras")
        self._anchor = anchor
        self._offsets = {name: round(offset * _SECOND) for name, offset in time_offsets_s.items()}
        self._tolerance = round(self.config.tolerance_s * _SECOND)
        self._deadline = round(self.config.deadline_s * _SECOND)
        self._quorum = len(self.cameras) // 2 + 1
        self.drops: Counter[str] = Counter()
        self.dropped_sets: Counter[str] = Counter()
        self.resets: Counter[str] = Counter()
        self.unused: dict[str, Unused] = {}
        self._fruitful: set[str] = set()
        self._returned: list[_Returned[Payload]] = []
        self.stalled_s = 0.0
        self._added_since_poll = False
        self._last_activity: int | None = None
        self._pending_reset = ""
        self._forget()

    @property
    def waiting(self) -> int:
        """Images held for a set that is not complete yet."""
        return len(self._returned) + sum(map(len, self._queues.values()))

    def add(self, camera: str, stamp: int, payload: Payload) -> list[AssembledSet[Payload]]:
        """Add one image (stamp in nanoseconds) and get the sets that it completes, oldest first.

        Raises:
            KeyError: the camera is not one of the rig's.
        """
        self._added_since_poll = True
        self.stalled_s = 0.0
        return self._add(_Waiting(stamp - self._offsets[camera], stamp, camera, payload))

    def poll(self, now: int) -> list[AssembledSet[Payload]]:
        """Give out what waits if no image was added for ``stall_s``.

        Call it from a timer of the live node, with nanoseconds of any one clock; a bag does not need it.
        """
        if self._added_since_poll or self._last_activity is None or now < self._last_activity:
            self._added_since_poll = False
            self._last_activity = now
        self.stalled_s = (now - self._last_activity) / _SECOND
        return self._close_all() if self.stalled_s >= self.config.stall_s else []

    def flush(self) -> list[AssembledSet[Payload]]:
        """Give out what waits: the stream has ended."""
        jumped = [back for back in self._returned if back.reason == "clock"]
        sets = self._start_anew(jumped)
        self._give_up_returned()
        return sets + self._close_all()

    def restart(self) -> list[AssembledSet[Payload]]:
        """Time has started anew, as a clock says; gives out what waits. The next set is the first of a new time."""
        if self.newest is None:
            return []
        newest = self.newest
        return self._begin([back for back in self._returned if back.image.time <= newest])

    def reset(self) -> None:
        """Forget everything; images that wait are dropped as ``reset``. Counters stay."""
        self._drop("reset", [back.image for back in self._returned])
        self._drop("reset", [image for queue in self._queues.values() for image in queue])
        self._returned = []
        self._forget()

    def _forget(self) -> None:
        self._queues: dict[str, list[_Waiting[Payload]]] = {name: [] for name in self.cameras}
        self._seen: dict[str, deque[int]] = {name: deque(maxlen=_REMEMBERED_STAMPS) for name in self.cameras}
        self._latest: dict[str, int] = {}
        self.newest: int | None = None
        self._last_reference: int | None = None

    def _drop(self, reason: str, images: list[_Waiting[Payload]]) -> None:
        for image in images:
            self.drops[reason] += 1
            former = self.unused.get(image.camera)
            fruitless = image.camera not in self._fruitful
            self.unused[image.camera] = Unused(former.count + 1 if former else 1, reason, fruitless)

    def _jumps(self, time: int, newest: int) -> bool:
        return time < newest - self.config.max_backward_s * _SECOND or time > newest + self.config.max_gap_s * _SECOND

    def _add(self, image: _Waiting[Payload]) -> list[AssembledSet[Payload]]:
        if self.newest is not None and self._jumps(image.time, self.newest):
            return self._take_back(_Returned(image, "clock"))
        if image.stamp in self._seen[image.camera]:
            return self._take_back(_Returned(image, "duplicate"))
        if self._last_reference is not None and image.time <= self._last_reference:
            return self._take_back(_Returned(image, "late"))
        self._give_up_returned()
        self._seen[image.camera].append(image.stamp)
        self._latest[image.camera] = max(image.time, self._latest.get(image.camera, image.time))
        self.newest = image.time if self.newest is None else max(self.newest, image.time)
        insort(self._queues[image.camera], image)
        return self._close_due(len(self._queues[image.camera]) > self.config.max_waiting)

    def _take_back(self, back: _Returned[Payload]) -> list[AssembledSet[Payload]]:
        """Hold an image that fits no set to come, until a round of them shows that time has started anew."""
        returned = self._returned
        jumped = [other for other in returned if other.reason == "clock"]
        if back.reason == "clock" and jumped and self._jumps(back.image.time, jumped[-1].image.time):
            self._drop("clock", [other.image for other in jumped])
            returned[:] = [other for other in returned if other.reason != "clock"]
        if any((other.image.camera, other.image.stamp) == (back.image.camera, back.image.stamp) for other in returned):
            self._drop("duplicate", [back.image])
            return []
        returned.append(back)
        if len(returned) > self.config.max_waiting * len(self.cameras):
            self._drop(returned[0].reason, [returned.pop(0).image])
        # One camera with a wrong clock must not reset all others; that most of them jump together must be seen first.
        jumped = [other for other in returned if other.reason == "clock"]
        return self._start_anew(jumped if len(jumped) >= self._quorum else self._round())

    def _round(self) -> list[_Returned[Payload]]:
        """The images held back if they are a whole round: the stamps of every camera have gone back, and no other came.

        A round that repeats the one and only round before is one as well. Where there is but one camera, a single image
        that is late proves nothing; a few in a row do.
        """
        assert self.newest is not None
        first = next((back.image.time for back in self._returned if back.reason != "clock"), None)
        if first is None:
            return []
        held = [back for back in self._returned if back.reason != "clock" or not self._jumps(back.image.time, first)]
        oldest = self.newest - self.config.max_backward_s * _SECOND
        alive = {name for name, time in self._latest.items() if time >= oldest}
        if not alive <= {back.image.camera for back in held}:
            return []
        most = max(len(self._seen[name]) for name in alive)
        if most == 1 and all(back.reason == "duplicate" for back in held):
            return held
        behind = {back.image.camera for back in held if back.image.time < self._latest.get(back.image.camera, 0)}
        enough = 1 if len(alive) > 1 else min(_PROOF, max(most, 2))
        return held if 2 * len(behind & alive) > len(alive) and len(held) >= enough else []

    def _start_anew(self, images: list[_Returned[Payload]]) -> list[AssembledSet[Payload]]:
        """Forget what was, and begin with these; nothing happens without any."""
        return self._begin(images) if images else []

    def _begin(self, images: list[_Returned[Payload]]) -> list[AssembledSet[Payload]]:
        self._returned = [back for back in self._returned if back not in images]
        self._give_up_returned()
        sets = self._close_all()
        forward = bool(images) and self.newest is not None and images[0].image.time > self.newest
        reason = "gap" if forward else "time_jump"
        self.resets[reason] += 1
        self._forget()
        self._pending_reset = reason
        for back in images:
            sets += self._add(back.image)
        return sets

    def _give_up_returned(self) -> None:
        returned, self._returned = self._returned, []
        for back in returned:
            self._drop(back.reason, [back.image])

    def _close_due(self, crowded: bool) -> list[AssembledSet[Payload]]:
        """Close every window up to the last one that is due, so that sets come out in order."""
        sets: list[AssembledSet[Payload]] = []
        while True:
            windows = self._windows()
            due = any(self._is_due(window) for window in windows)
            if not due and not crowded:
                return sets
            sets += self._close(windows[0])
            crowded = any(len(queue) > self.config.max_waiting for queue in self._queues.values())

    def _close_all(self) -> list[AssembledSet[Payload]]:
        sets: list[AssembledSet[Payload]] = []
        while windows := self._windows():
            sets += self._close(windows[0])
        return sets

    def _is_due(self, window: _Window[Payload]) -> bool:
        assert self.newest is not None
        complete = len(window.members) == len(self.cameras)
        complete |= window.anchored and self.config.completed_by == "anchor"
        return complete or self.newest >= window.start + self._deadline

    def _windows(self) -> list[_Window[Payload]]:
        """The sets that the waiting images make up at this moment, oldest first."""
        anchors = self._queues[self._anchor]
        windows = [_Window(anchor.time, True, {self._anchor: anchor}) for anchor in anchors]
        orphans = []
        for camera, queue in self._queues.items():
            if camera == self._anchor:
                continue
            for image in queue:
                nearest = min(windows, key=lambda window: abs(image.time - window.start), default=None)
                if nearest is None or abs(image.time - nearest.start) > self._tolerance:
                    orphans.append(image)
                    continue
                rival = nearest.members.get(camera)
                if rival is None or abs(image.time - nearest.start) < abs(rival.time - nearest.start):
                    nearest.members[camera] = image
        return sorted([*windows, *self._orphaned(orphans)], key=lambda window: window.start)

    def _orphaned(self, orphans: list[_Waiting[Payload]]) -> list[_Window[Payload]]:
        windows: list[_Window[Payload]] = []
        for image in sorted(orphans):
            last = windows[-1] if windows else None
            if last and image.camera not in last.members and image.time <= last.start + 2 * self._tolerance:
                last.members[image.camera] = image
            else:
                windows.append(_Window(image.time, False, {image.camera: image}))
        return windows

    def _close(self, window: _Window[Payload]) -> list[AssembledSet[Payload]]:
        reference = window.reference
        self._last_reference = reference
        for camera, queue in self._queues.items():
            member = window.members.get(camera)
            left = [image for image in queue if image is not member]
            self._drop("unmatched", [image for image in left if image.time <= reference])
            self._queues[camera] = [image for image in left if image.time > reference]
        if len(window.members) < self.min_cameras:
            self._drop("incomplete", list(window.members.values()))
            self.dropped_sets["incomplete"] += 1
            return []
        images = {
            camera: SetImage(window.members[camera].stamp, window.members[camera].payload)
            for camera in self.cameras
            if camera in window.members
        }
        for camera in images:
            self.unused.pop(camera, None)
            self._fruitful.add(camera)
        missing = tuple(camera for camera in self.cameras if camera not in images)
        reset, self._pending_reset = self._pending_reset, ""
        return [AssembledSet(reference + self._offsets[self._anchor], images, missing, reset)]
