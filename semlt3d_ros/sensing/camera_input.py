"""One camera's messages on their way to a set: calibration, decoding, preparation, and what became of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.core.frame import WholeImage
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.messages import decode, topics
from semlt3d_ros.sensing.assembler import Unused
from semlt3d_ros.sensing.delivery import DeliveryRates
from semlt3d_ros.sensing.preparation import Image, ImagePreparation, decoded_camera
from semlt3d_ros.sensing.rig import CameraConfig
from semlt3d_ros.sensing.watches import NoPicture, PictureWatch, StampWatch

CameraState = Literal[
    "never_seen",
    "stopped",
    "rejected",
    "waiting_camera_info",
    "waiting_tf",
    "unused",
    "slow",
    "no_picture",
    "implausible",
    "ok",
]

_SECOND = 1_000_000_000
_WRONG_CLOCK_S = 1.0
_MANY_UNUSED, _MANY_UNWANTED = 20, 200
"""Images in a row; a camera that is much faster than the anchor has many that no set asks for."""

_REMEDIES = {
    "late": "their sets had been given out; speed the camera up, correct its time_offset_s, or raise deadline_s",
    "duplicate": "their stamps had been there before; fill header.stamp with the exposure time",
    "unmatched": "no image of the anchor lay near them; correct time_offset_s in the rig, or raise tolerance_s",
    "incomplete": "too few other cameras had one within tolerance_s; see those, and time_offset_s in the rig",
    "clock": "synchronise the clocks, or let its driver stamp with the system's time",
}


@dataclass(frozen=True)
class CameraStatus:
    """What a camera does, for diagnostics: the most specific cause first.

    Attributes:
        name: the camera.
        state: ``never_seen``: no image yet; ``stopped``: no image for a while (``age_s``); ``rejected``: its last
            image, calibration or mounting was unusable (``reason`` and ``detail`` say why); ``waiting_camera_info``;
            ``waiting_tf``: no transform to the ego frame; ``unused``: its images go into no set; ``slow``: less than
            half of the images it used to deliver, or that the other cameras deliver (``rate_hz``); ``no_picture``: its
            images show nothing; ``implausible``: its calibration or mounting can hardly be meant; ``ok``.
        reason: short stable key; empty when ``ok``.
        detail: one line for people.
        images: images received.
        drops: its images dropped, by reason.
        last_stamp: stamp of the newest image in nanoseconds, or None.
        age_s: for how many seconds the other cameras have gone on without it, plus the time for which all have stalled.
        rate_hz: images per second of the last seconds, or None while it is too early to say.
    """

    name: str
    state: CameraState
    reason: str
    detail: str
    images: int
    drops: dict[str, int]
    last_stamp: int | None
    age_s: float
    rate_hz: float | None = None


@dataclass(frozen=True)
class PreparedImage:
    """An image as a frame takes it, with its own camera and the frame in which the camera sits.

    Attributes:
        image: (H, W, 3) uint8.
        camera: intrinsics of the image.
        frame_id: the camera's frame.
        T_camera_image: (4, 4) the frame in which the image was taken to the camera's; None where they are the same.
        whole: the image before it was prepared; None where nobody asked for it.
    """

    image: Image
    camera: CameraModel
    frame_id: str
    T_camera_image: Matrix | None = None
    whole: WholeImage | None = None


@dataclass
class CameraInput:
    """Decodes one camera's images as they arrive. The newest image waits, undecoded, for the first calibration.

    Attributes:
        config: the camera.
        preparation: what makes the student's images, or None for whole images as they are.
        whole_width: least width, in pixels, of the whole images that are handed on beside those for the student, as far
            as the camera has so many; None hands on none. JPEGs are decoded once, large enough for both.
        faults: gets what was wrong with images and calibrations.
        images: images received.
        last_stamp: newest image's stamp in nanoseconds, or None.
        drops: images dropped here, by reason.
        rejection: the last image's or calibration's fault with its topic, until a good one comes.
        seen_at: the newest stamp of all cameras when its last image came, or None.
        no_picture: why its newest images show nothing, or None.
    """

    config: CameraConfig
    preparation: ImagePreparation | None
    whole_width: int | None = None
    faults: FaultLog = field(default_factory=FaultLog)
    images: int = 0
    last_stamp: int | None = None
    drops: Counter[str] = field(default_factory=Counter)
    rejection: Fault | None = None
    seen_at: int | None = None
    no_picture: NoPicture | None = None
    _calibration: decode.Calibration | None = None
    _calibration_key: tuple[Any, ...] = ()
    _waiting: tuple[str, Any] | None = None
    _depth: decode.SampleDepth = field(default_factory=decode.SampleDepth)
    _bits: int = 0
    _stamps: StampWatch = field(default_factory=StampWatch)
    _picture: PictureWatch = field(default_factory=PictureWatch)
    _unused_told: int = 0

    def add_info(self, message: Any) -> tuple[int, PreparedImage] | None:
        """Take a ``CameraInfo``; gives the image that waited for it, with its stamp.

        Raises:
            InputRejected: it is not usable; an earlier calibration stays in force.
        """
        key = _content_of(message)
        if key == self._calibration_key:
            return None
        try:
            self._calibration = calibration = decode.decode_calibration(message, self.config.is_rectified)
        except InputRejected as error:
            self.rejection = Fault(self.config.info_topic, error.reason, str(error))
            raise
        self._calibration_key = key
        for reason, text in calibration.notes:
            self.faults.note(self.config.info_topic, reason, text)
        if calibration.doubt:
            self.faults.add(self.config.info_topic, "implausible", calibration.doubt)
        waiting, self._waiting = self._waiting, None
        return self._prepare(*waiting) if waiting else None

    def add_image(self, type_name: str, message: Any) -> tuple[int, PreparedImage] | None:
        """Take an image; gives it prepared, with its stamp, or None if it waits or was dropped."""
        self.images += 1
        stamp = decode.stamp_of(message)
        self.last_stamp = stamp
        if self._stamps.repeats(stamp, message.data):
            what = "zero" if stamp == 0 else f"{stamp / _SECOND:.3f} s in one image after the other"
            text = f"header.stamp is {what}; the driver must fill it with the exposure time of each image"
            self._reject(InputRejected("stamp", text))
            return None
        if self._calibration is None:
            self.drop_waiting()
            self._waiting = (type_name, message)
            return None
        return self._prepare(type_name, message)

    def tell_unused(self, unused: Unused | None, at_end: bool = False) -> None:
        """Put into ``faults`` that images went into no set: many in a row, or at the end if it was all of them."""
        if unused is None:
            self._unused_told = 0
        elif self.rejection is None and (_is_unused(unused) or (at_end and unused.fruitless)):
            text, count = self._unused_text(unused.reason), unused.count - self._unused_told
            self.faults.add(self.config.image_topic, unused.reason, text, count)
            self._unused_told = unused.count

    def tell_at_end(self) -> None:
        """Put into ``faults`` what only the end of a recording shows."""
        self.drop_waiting()
        if not self.images:
            self.faults.add(self.config.image_topic, "never_seen", "no image; correct the topic in the rig")
        no_picture = self._picture.at_end()
        if no_picture and self.no_picture is None:
            self.no_picture = no_picture
            self.faults.add(self.config.image_topic, no_picture.reason, no_picture.text, no_picture.images)

    def drop_waiting(self) -> None:
        """Give up the image that waits for a calibration."""
        if self._waiting is not None:
            self.drops["no_camera_info"] += 1
            if self.rejection is None:  # else there is one, and it is told what is wrong with it
                self.faults.add(self.config.info_topic, "no_camera_info", self._no_calibration)
            self._waiting = None

    @property
    def _no_calibration(self) -> str:
        return (
            f"no calibration for the images of {self.config.image_topic} yet; publish it, or correct info_topic in "
            "the rig"
        )

    @property
    def waits(self) -> bool:
        """Whether an image waits for a calibration."""
        return self._waiting is not None

    def _prepare(self, type_name: str, message: Any) -> tuple[int, PreparedImage] | None:
        try:
            prepared = self._decode(type_name, message)
        except InputRejected as error:
            self._reject(error)
            return None
        self.rejection = None
        return decode.stamp_of(message), prepared

    def _reject(self, error: InputRejected) -> None:
        self.drops[error.reason] += 1
        self.faults.reject(self.config.image_topic, error)
        self.rejection = Fault(self.config.image_topic, error.reason, str(error))

    def _decode(self, type_name: str, message: Any) -> PreparedImage:
        compressed = type_name == topics.COMPRESSED_IMAGE_TYPE
        if not compressed and type_name != topics.IMAGE_TYPE:
            raise InputRejected("type", f"{self.config.image_topic}: {type_name} is neither Image nor CompressedImage")
        assert self._calibration is not None
        if compressed:
            camera = self._camera_of(*decode.compressed_image_size(message))
            at_least = self._required_size(camera)
            exact = self.preparation is not None and self.preparation.exact
            image = decode.decode_compressed_image(message, at_least, self._depth, exact)
        else:
            image = decode.decode_image(message, self._depth)
            camera = self._camera_of(image.shape[1], image.shape[0])
        self._look_at(image, decode.stamp_of(message))
        frame_id = self.config.frame_id or message.header.frame_id or self.config.name
        turn = self._calibration.T_camera_image
        if self.preparation is None:
            return PreparedImage(image, decoded_camera(camera, image.shape[1], image.shape[0]), frame_id, turn)
        whole = None
        if self.whole_width is not None:
            whole = WholeImage(image, decoded_camera(camera, image.shape[1], image.shape[0]))
        return PreparedImage(*self.preparation(image, camera), frame_id, turn, whole)

    def _required_size(self, camera: CameraModel) -> tuple[int, int] | None:
        """(width, height) that a decoder must give at least; None for all there is."""
        if self.preparation is None:
            return None
        width, height = self.preparation.required_size(camera)
        return max(width, min(self.whole_width or 0, camera.width)), height

    def _camera_of(self, width: int, height: int) -> CameraModel:
        assert self._calibration is not None
        try:
            camera, scaled = self._calibration.at(width, height)
        except InputRejected as error:
            raise InputRejected(error.reason, f"{error} ({self.config.info_topic})") from error
        if scaled:
            self.faults.note(self.config.info_topic, "camera_info_scaled", scaled)
        return camera

    def _look_at(self, image: Image, stamp: int) -> None:
        if self._depth.brightest and self._depth.bits != self._bits:
            self._bits = self._depth.bits
            if self._bits < decode.MOST_BITS:
                text = f"samples of 16 bits are no larger than {self._depth.brightest}: taken as of {self._bits} bits"
                self.faults.note(self.config.image_topic, "sample_depth", text)
        former, self.no_picture = self.no_picture, self._picture.look(image, stamp)
        if self.no_picture:
            count = 1 if former else self.no_picture.images
            self.faults.add(self.config.image_topic, self.no_picture.reason, self.no_picture.text, count)

    def status(
        self,
        newest: int | None,
        stalled_s: float,
        stopped_after_s: float,
        transform_fault: Fault | None,
        rates: DeliveryRates,
        unused: Unused | None = None,
        mounting_doubt: Fault | None = None,
    ) -> CameraStatus:
        """The camera's status.

        Args:
            newest: the newest stamp of all cameras.
            stalled_s: for how long no camera has sent anything.
            stopped_after_s: after how long a silent camera counts as stopped.
            transform_fault: why its pose cannot be looked up or is no camera's, if so.
            rates: how many images the rig's cameras deliver.
            unused: its newest images if they went into no set.
            mounting_doubt: what is most unlikely about its pose, if so.
        """
        ahead = 0 if newest is None or self.seen_at is None else max(newest - self.seen_at, 0)
        age_s = ahead / _SECOND + stalled_s
        state, reason, detail = self._state(age_s, stopped_after_s, transform_fault, unused)
        rate_hz, expected_hz = rates.rate_hz(self.config.name), rates.expected_hz(self.config.name)
        if state == "stopped":
            rate_hz = 0.0
        elif state == "ok" and expected_hz is not None:
            state, reason = "slow", "slow"
            detail = f"{rate_hz:.1f} images per second on {self.config.image_topic}, {expected_hz:.1f} are expected"
        elif state == "ok":
            state, reason, detail = self._doubts(mounting_doubt)
        return CameraStatus(
            self.config.name, state, reason, detail, self.images, dict(self.drops), self.last_stamp, age_s, rate_hz
        )

    def _state(
        self, age_s: float, stopped_after_s: float, transform_fault: Fault | None, unused: Unused | None
    ) -> tuple[CameraState, str, str]:
        image_topic = self.config.image_topic
        if self.last_stamp is None:
            return "never_seen", "never_seen", f"no image on {image_topic} yet"
        if age_s > stopped_after_s:
            return "stopped", "stopped", f"no image on {image_topic} for {age_s:.1f} s"
        if self.rejection is not None:
            return "rejected", self.rejection.reason, self.rejection.line
        if self._calibration is None:
            fault = Fault(self.config.info_topic, "no_camera_info", self._no_calibration)
            return "waiting_camera_info", fault.reason, fault.line
        if abs(self._away_s) > _WRONG_CLOCK_S:
            return "rejected", "clock", Fault(image_topic, "clock", self._unused_text("clock")).line
        if transform_fault is not None:
            state: CameraState = "rejected" if transform_fault.reason == "mounting" else "waiting_tf"
            return state, transform_fault.reason, transform_fault.line
        if unused is not None and _is_unused(unused):
            return "unused", unused.reason, Fault(image_topic, "", self._unused_text(unused.reason)).line
        return "ok", "", "ok"

    @property
    def _away_s(self) -> float:
        """By how many seconds its newest stamp is off the other cameras'."""
        return 0.0 if self.seen_at is None or self.last_stamp is None else (self.last_stamp - self.seen_at) / _SECOND

    def _unused_text(self, reason: str) -> str:
        if reason == "clock":
            return f"its stamps are {self._away_s:+.1f} s off the other cameras'; {_REMEDIES[reason]}"
        return f"the images of late went into no set: {_REMEDIES[reason]}"

    def _doubts(self, mounting_doubt: Fault | None) -> tuple[CameraState, str, str]:
        if self.no_picture is not None:
            fault = Fault(self.config.image_topic, self.no_picture.reason, self.no_picture.text)
            return "no_picture", fault.reason, fault.line
        if self._calibration is not None and self._calibration.doubt:
            return "implausible", "implausible", Fault(self.config.info_topic, "", self._calibration.doubt).line
        if mounting_doubt is not None:
            return "implausible", mounting_doubt.reason, mounting_doubt.line
        return "ok", "", "ok"


def _is_unused(unused: Unused) -> bool:
    faster = unused.reason in ("unmatched", "incomplete") and not unused.fruitless
    return unused.count >= (_MANY_UNWANTED if faster else _MANY_UNUSED)


def _content_of(message: Any) -> tuple[Any, ...]:
    """All that a ``CameraInfo`` says, to be compared: most are published again with every image."""
    roi = message.roi
    arrays = (np.asarray(values, np.float64).tobytes() for values in (message.d, message.k, message.r, message.p))
    region = roi.x_offset, roi.y_offset, roi.width, roi.height, message.binning_x, message.binning_y
    return message.header.frame_id, message.width, message.height, message.distortion_model, region, *arrays
