"""Synchronisation: images of several cameras become sets, one image per camera at most.

A set is centred on the image of the anchor camera. Every other image belongs to the nearest anchor within a tolerance,
after each camera's known phase is taken off its stamp. Where the anchor's image is missing, what lies together makes a
set of its own. The stamps of the messages alone decide, in the order in which they are added: the same messages give
the same sets, live or from a bag. Only ``poll`` looks at a clock, and it acts only when the stream has stalled.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from semlt3d_ros.core.errors import ConfigurationError

Payload = TypeVar("Payload")

_SECOND = 1_000_000_000
_REMEMBERED_STAMPS = 16


@dataclass(frozen=True)
class AssemblerConfig:
    """How images are matched.

    Attributes:
        completed_by: ``"all"``: a set is given out when every camera is there, at the latest at its deadline;
            ``"anchor"``: as soon as the anchor's image is there, with the images that came before it.
        tolerance_s: largest distance of an image from its anchor. Less than half of the cameras' period keeps the
            matching unique.
        deadline_s: a set is given out without its missing cameras when the newest stamp is later than it by this.
        min_cameras: sets with fewer images are dropped as ``incomplete``; None is half of the rig, rounded up.
        max_waiting: images held per camera; more end the oldest set early.
        max_backward_s: stamps that fall back by more are a time jump: memory of earlier sets no longer applies.
        max_gap_s: stamps that run ahead by more are a gap, with the same effect.
        stall_s: ``poll`` gives out what waits when no image came for this long.

    Raises:
        ConfigurationError: lists all values that do not fit.
    """

    completed_by: Literal["all", "anchor"] = "all"
    tolerance_s: float = 0.06
    deadline_s: float = 0.2
    min_cameras: int | None = None
    max_waiting: int = 8
    max_backward_s: float = 1.0
    max_gap_s: float = 2.0
    stall_s: float = 0.5

    def __post_init__(self) -> None:
        faults = []
        if self.completed_by not in ("all", "anchor"):
            faults.append(f"completed_by must be 'all' or 'anchor', not '{self.completed_by}'")
        for name in ("tolerance_s", "deadline_s", "max_backward_s", "max_gap_s", "stall_s"):
            if not 0 < getattr(self, name) < float("inf"):
                faults.append(f"{name} must be a positive number of seconds, not {getattr(self, name)}")
        if self.min_cameras is not None and self.min_cameras < 1:
            faults.append(f"min_cameras must be at least 1, not {self.min_cameras}")
        if self.max_waiting < 2:
            faults.append(f"max_waiting must be at least 2, not {self.max_waiting}")
        if faults:
            raise ConfigurationError("synchronisation: " + "; ".join(faults))


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
        self._candidates: list[_Waiting[Payload]] = []
        self.stalled_s = 0.0
        self._added_since_poll = False
        self._last_activity: int | None = None
        self._pending_reset = ""
        self._forget()

    @property
    def waiting(self) -> int:
        """Images held for a set that is not complete yet."""
        return len(self._candidates) + sum(map(len, self._queues.values()))

    def add(self, camera: str, stamp: int, payload: Payload) -> list[AssembledSet[Payload]]:
        """Add one image (stamp in nanoseconds) and get the sets that it completes, oldest first.

        Raises:
            KeyError: the camera is not one of the rig's.
        """
        image = _Waiting(stamp - self._offsets[camera], stamp, camera, payload)
        self._added_since_poll = True
        self.stalled_s = 0.0
        if self.newest is None or not self._jumps(image.time, self.newest):
            self._drop("clock", self._candidates)
            self._candidates = []
            return self._take(image)
        if self._candidates and self._jumps(image.time, self._candidates[-1].time):
            self._drop("clock", self._candidates)
            self._candidates = []
        self._candidates.append(image)
        # One camera with a wrong clock must not reset all others; that most of them jump together must be seen first.
        return self._jump() if len(self._candidates) >= self._quorum else []

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
        sets = self._jump() if self._candidates else []
        return sets + self._close_all()

    def reset(self) -> None:
        """Forget everything; images that wait are dropped as ``reset``. Counters stay."""
        self._drop("reset", [*self._candidates, *(image for queue in self._queues.values() for image in queue)])
        self._candidates = []
        self._forget()

    def _forget(self) -> None:
        self._queues: dict[str, list[_Waiting[Payload]]] = {name: [] for name in self.cameras}
        self._seen: dict[str, deque[int]] = {name: deque(maxlen=_REMEMBERED_STAMPS) for name in self.cameras}
        self.newest: int | None = None
        self._last_reference: int | None = None

    def _drop(self, reason: str, images: list[_Waiting[Payload]]) -> None:
        if images:
            self.drops[reason] += len(images)

    def _jumps(self, time: int, newest: int) -> bool:
        return time < newest - self.config.max_backward_s * _SECOND or time > newest + self.config.max_gap_s * _SECOND

    def _jump(self) -> list[AssembledSet[Payload]]:
        candidates, self._candidates = self._candidates, []
        sets = self._close_all()
        reason = "time_jump" if self.newest is not None and candidates[0].time < self.newest else "gap"
        self.resets[reason] += 1
        self._forget()
        self._pending_reset = reason
        for image in candidates:
            sets += self._take(image)
        return sets

    def _take(self, image: _Waiting[Payload]) -> list[AssembledSet[Payload]]:
        if image.stamp in self._seen[image.camera]:
            self._drop("duplicate", [image])
            return []
        self._seen[image.camera].append(image.stamp)
        self.newest = image.time if self.newest is None else max(self.newest, image.time)
        if self._last_reference is not None and image.time <= self._last_reference:
            self._drop("late", [image])
            return []
        insort(self._queues[image.camera], image)
        return self._close_due(len(self._queues[image.camera]) > self.config.max_waiting)

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
        missing = tuple(camera for camera in self.cameras if camera not in images)
        reset, self._pending_reset = self._pending_reset, ""
        return [AssembledSet(reference + self._offsets[self._anchor], images, missing, reset)]
