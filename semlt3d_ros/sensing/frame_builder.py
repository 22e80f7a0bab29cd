"""The one path from messages to frames: for the live node, for bags, for the viewer and for training on recordings."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.messages import decode, topics
from semlt3d_ros.sensing.assembler import AssembledSet, AssemblerConfig, FrameAssembler
from semlt3d_ros.sensing.camera_input import CameraInput, CameraStatus, PreparedImage
from semlt3d_ros.sensing.companions import Companions
from semlt3d_ros.sensing.delivery import DeliveryRates
from semlt3d_ros.sensing.finisher import BuilderConfig, FrameFinisher
from semlt3d_ros.sensing.preparation import ImagePreparation, ImageSpec
from semlt3d_ros.sensing.rig import Rig
from semlt3d_ros.sensing.transform_tree import TransformTree
from semlt3d_ros.sensing.watches import StampWatch

_REMEMBERED_RESETS = 64
_FRUITLESS_IMAGES = 3
"""Images of each camera, on average, without a set: so many wait for nobody any more."""
_STAMP_TEXT = "header.stamp does not advance; its publisher must fill it with the time that it holds for"
_IMAGE_TYPES = {topics.IMAGE_TYPE, topics.COMPRESSED_IMAGE_TYPE}


@dataclass(frozen=True)
class Completeness:
    """What became of the sets that images made up, at one instant.

    Attributes:
        complete: frames with a view of every camera.
        partial: frames that lack at least one.
        missing: by camera, frames without it.
        dropped: by reason, sets that became no frame.
        fruitless: images since the last set came together, once they are so many that one should have.
    """

    complete: int = 0
    partial: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    fruitless: int = 0


class FrameBuilder:
    """Turns messages into frames. Images are decoded and prepared as they arrive. Not thread-safe.

    Attributes:
        rig: the rig.
        tree: the transforms learnt so far.
        sets_in: sets of images that came together, whether or not they became frames.
        frames_out: frames given out.
        faults: what was wrong with messages, by topic, and with what they say together.
    """

    def __init__(
        self,
        rig: Rig,
        image_spec: ImageSpec | None = None,
        assembler_config: AssemblerConfig | None = None,
        with_points: bool = False,
        with_labels: bool = False,
        config: BuilderConfig | None = None,
        whole_width: int | None = None,
    ) -> None:
        """Set up for a rig.

        Args:
            rig: cameras, topics, coordinate frames.
            image_spec: the images to make; None gives whole images with their own, possibly distorted, cameras.
            assembler_config: how images are matched.
            with_points: give frames the nearest point cloud; otherwise clouds are not looked at.
            with_labels: give frames their ground truth; otherwise it is not looked at.
            config: how long things are waited for.
            whole_width: give views their whole images too, at least so many pixels wide where the camera is; None gives
                them none.

        Raises:
            ConfigurationError: the configuration does not fit the rig.
        """
        self.rig = rig
        self.tree = TransformTree()
        self.frames_out = 0
        self._partial = 0
        self._missing: Counter[str] = Counter()
        settings = config or BuilderConfig()
        self._assembler: FrameAssembler[PreparedImage] = FrameAssembler(
            {camera.name: camera.time_offset_s for camera in rig.cameras}, rig.anchor, assembler_config
        )
        preparation = ImagePreparation(image_spec) if image_spec else None
        self.faults = FaultLog()
        self._wait_s = settings.wait_s
        self._stopped_after_s = settings.stopped_after_s
        self._cameras = {
            camera.name: CameraInput(camera, preparation, whole_width, self.faults) for camera in rig.cameras
        }
        self._rates = DeliveryRates(rig.camera_names, rig.anchor)
        self._points = Companions("points", settings.points_tolerance_s) if with_points else None
        self._labels = Companions("labels", settings.labels_tolerance_s) if with_labels else None
        self._finisher = FrameFinisher(
            rig, self.tree, self._assembler.min_cameras, self._points, self._labels, settings, self.faults
        )
        self._handlers = self._make_handlers()
        self._types = self.topics
        self._image_since_poll = False
        self._last_image: int | None = None
        self._silent_s = 0.0
        self._fruitless = 0
        self._sets_before = 0
        self._watches: dict[str, StampWatch] = {}
        self._forked: set[str] = set()
        self._drops: Counter[str] = Counter()
        self._resets: OrderedDict[int, str] = OrderedDict()

    @property
    def topics(self) -> dict[str, str]:
        """The topics that are used, each with its type name."""
        return self.rig.topics(self._points is not None, self._labels is not None)

    @property
    def drops(self) -> Counter[str]:
        """Messages dropped so far, by reason."""
        sources = (self._assembler, self._finisher, self._points, self._labels, *self._cameras.values())
        return sum((source.drops for source in sources if source is not None), self._drops)

    @property
    def dropped_sets(self) -> Counter[str]:
        """Sets dropped so far, by reason: ``incomplete``, ``no_transform``."""
        return self._assembler.dropped_sets + self._finisher.dropped_sets

    @property
    def sets_in(self) -> int:
        """Sets that images made up so far: given out, dropped, or waiting to be finished."""
        return self.frames_out + self.dropped_sets.total() + self._finisher.pending

    @property
    def completeness(self) -> Completeness:
        """How many frames lacked which cameras so far, and how many sets became none."""
        complete = self.frames_out - self._partial
        fruitless = self._fruitless if self._fruitless > _FRUITLESS_IMAGES * len(self.rig.cameras) else 0
        return Completeness(complete, self._partial, dict(self._missing), dict(self.dropped_sets), fruitless)

    @property
    def waiting(self) -> int:
        """Images that are neither in a frame nor dropped yet."""
        uncalibrated = sum(camera.waits for camera in self._cameras.values())
        return self._assembler.waiting + self._finisher.waiting + uncalibrated

    @property
    def resets(self) -> Counter[str]:
        """Time jumps and gaps so far, by kind."""
        return Counter(self._assembler.resets)

    @property
    def camera_status(self) -> dict[str, CameraStatus]:
        """Status of every camera, in the rig's order."""
        newest, unused = self._assembler.newest, self._assembler.unused
        faults, doubts = self._finisher.transform_faults, self._finisher.mounting_doubts
        return {
            name: camera.status(
                newest,
                self._silent_s,
                self._stopped_after_s,
                faults.get(name),
                self._rates,
                unused.get(name),
                doubts.get(name),
            )
            for name, camera in self._cameras.items()
        }

    def reset_before(self, frame: Frame) -> str:
        """Why memory of frames before this one no longer applies: ``"time_jump"`` or ``"gap"``; ``""`` if it does."""
        return self._resets.get(frame.stamp, "")

    def add(self, topic: str, type_name: str, message: Any) -> list[Frame]:
        """Take one message and get the frames that it completes, oldest first.

        Topics that the rig does not name are ignored. Unusable messages are counted in ``drops``, never raised.
        """
        handler = self._handlers.get(topic)
        if handler is None:
            return []
        try:
            self._check_type(topic, type_name)
            frames = handler(type_name, message)
        except InputRejected as error:
            self._reject(topic, error)
            return []
        return self._counted(frames + self._finisher.resolve(self._assembler.newest))

    def poll(self, now: int) -> list[Frame]:
        """Give out what waits when the live stream has stalled.

        Call it from a timer of the live node, with nanoseconds of any one clock; a bag does not need it.
        """
        if self._image_since_poll or self._last_image is None or now < self._last_image:
            self._image_since_poll, self._last_image = False, now
        self._silent_s = (now - self._last_image) * 1e-9
        frames = self._finish(self._assembler.poll(now))
        stalled = self._assembler.stalled_s
        final = stalled >= max(self._assembler.config.stall_s, self._wait_s)
        return self._counted(frames + self._finisher.resolve(self._assembler.newest, final))

    def restart(self) -> list[Frame]:
        """Time has started anew, as the graph's clock says: gives out what waits, and forgets what it waited for."""
        return self._counted(self._finish(self._assembler.restart()))

    def flush(self) -> list[Frame]:
        """Give out what waits: the bag has ended."""
        frames = self._finish(self._assembler.flush())
        for name, camera in self._cameras.items():
            camera.tell_at_end()
            camera.tell_unused(self._assembler.unused.get(name), at_end=True)
        frames += self._finisher.resolve(self._assembler.newest, final=True)
        for companions, topic in self._companions:
            companions.tell_at_end(topic, self.faults)
        return self._counted(frames)

    @property
    def _companions(self) -> list[tuple[Companions, str]]:
        pairs = (self._points, self.rig.points_topic), (self._labels, self.rig.labels_topic)
        return [(companions, topic) for companions, topic in pairs if companions and topic]

    def _make_handlers(self) -> dict[str, Callable[[str, Any], list[Frame]]]:
        handlers: dict[str, Callable[[str, Any], list[Frame]]] = {
            self.rig.tf_topic: lambda _, message: self._add_transforms(self.rig.tf_topic, message),
            self.rig.tf_static_topic: lambda _, message: self._add_transforms(self.rig.tf_static_topic, message),
        }
        if self.rig.odometry_topic:
            handlers[self.rig.odometry_topic] = lambda _, message: self._add_odometry(message)
        for companions, topic in self._companions:
            handlers[topic] = self._companion_handler(companions, topic)
        for camera in self._cameras.values():
            handlers[camera.config.image_topic] = self._image_handler(camera)
            handlers[camera.config.info_topic] = self._info_handler(camera)
        return handlers

    def _image_handler(self, camera: CameraInput) -> Callable[[str, Any], list[Frame]]:
        def handle(type_name: str, message: Any) -> list[Frame]:
            # Also images that become part of no set: what is rejected or waits has not stopped.
            self._image_since_poll, self._silent_s = True, 0.0
            former = camera.last_stamp
            frames = self._assemble(camera, camera.add_image(type_name, message))
            camera.seen_at = self._assembler.newest
            camera.tell_unused(self._assembler.unused.get(camera.config.name))
            self._fruitless, former_sets = self._fruitless + 1, self._sets_before
            self._sets_before = self.sets_in + len(frames)
            if self._sets_before != former_sets:
                self._fruitless = 0
            # The same image once more is no delivery.
            if camera.seen_at is not None and camera.last_stamp != former:
                self._rates.add(camera.config.name, camera.seen_at)
            return frames

        return handle

    def _info_handler(self, camera: CameraInput) -> Callable[[str, Any], list[Frame]]:
        return lambda _, message: self._assemble(camera, camera.add_info(message))

    def _assemble(self, camera: CameraInput, prepared: tuple[int, PreparedImage] | None) -> list[Frame]:
        if prepared is None:
            return []
        return self._finish(self._assembler.add(camera.config.name, *prepared))

    def _finish(self, sets: list[AssembledSet[PreparedImage]]) -> list[Frame]:
        frames: list[Frame] = []
        for assembled in sets:
            if assembled.reset:
                self._resets[assembled.stamp] = assembled.reset
                if len(self._resets) > _REMEMBERED_RESETS:
                    self._resets.popitem(last=False)
            frames += self._finisher.add(assembled)
        return frames

    def _counted(self, frames: list[Frame]) -> list[Frame]:
        self.frames_out += len(frames)
        self._partial += sum(bool(frame.missing) for frame in frames)
        self._missing.update(name for frame in frames for name in frame.missing)
        return frames

    def _companion_handler(self, companions: Companions, topic: str) -> Callable[[str, Any], list[Frame]]:
        def handle(_: str, message: Any) -> list[Frame]:
            data = getattr(message, "data", b"")
            if self._watch(topic).repeats(decode.stamp_of(message), data):
                self.faults.add(topic, "stamp", _STAMP_TEXT)
            companions.add(message)
            return []

        return handle

    def _watch(self, source: str) -> StampWatch:
        return self._watches.setdefault(source, StampWatch())

    def _add_transforms(self, topic: str, message: Any) -> list[Frame]:
        rejected: list[tuple[str, InputRejected]] = []
        for item in decode.decode_transforms(message, rejected):
            try:
                self._add_transform(topic, item, topic == self.rig.tf_static_topic)
            except InputRejected as error:
                rejected.append((f"{item.parent} -> {item.child}", error))
        for link, rejection in rejected:
            self._reject(f"{topic} {link}", rejection)
        return []

    def _add_transform(self, topic: str, item: decode.StampedTransform, static: bool = False) -> None:
        self.tree.add(item.parent, item.child, item.stamp, item.matrix, static)
        place = f"{topic} {item.parent} -> {item.child}"
        repeats = 0 if static else self._watch(place).repeats(item.stamp, item.matrix.tobytes())
        if repeats > 1 or (repeats and item.stamp <= 0):
            self.faults.add(place, "stamp", f"{_STAMP_TEXT}; what never moves belongs on {self.rig.tf_static_topic}")
        parents = self.tree.parents(item.child)
        if len(parents) > 1 and item.child not in self._forked:
            self._forked.add(item.child)
            names = " and ".join(f"'{name}'" for name in parents)
            text = f"'{item.child}' has the parents {names}; the way to fixed_frame and base_frame of the rig is taken"
            self.faults.note(place, "two_parents", text)

    def _check_type(self, topic: str, type_name: str) -> None:
        """A recording may have several types on one topic; images are read as what they are."""
        expected = self._types[topic]
        if type_name and type_name != expected and not {type_name, expected} <= _IMAGE_TYPES:
            raise InputRejected("type", f"{type_name} is not read here; {expected} is")

    def _reject(self, topic: str, error: InputRejected) -> None:
        self._drops[error.reason] += 1
        self.faults.reject(topic, error)

    def _add_odometry(self, message: Any) -> list[Frame]:
        self._add_transform(self.rig.odometry_topic or "", decode.decode_odometry(message))
        return []
