"""One camera's messages on their way to a set: calibration, decoding, preparation, and what became of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.messages import decode, topics
from semlt3d_ros.sensing.delivery import DeliveryRates
from semlt3d_ros.sensing.preparation import Image, ImagePreparation, decoded_camera
from semlt3d_ros.sensing.rig import CameraConfig

CameraState = Literal["never_seen", "rejected", "waiting_camera_info", "waiting_tf", "stopped", "slow", "ok"]

_SECOND = 1_000_000_000
_SAME_ASPECT = 0.01
_WRONG_CLOCK_S = 1.0


@dataclass(frozen=True)
class CameraStatus:
    """What a camera does, for diagnostics: the most specific cause first.

    Attributes:
        name: the camera.
        state: ``never_seen``: no image yet; ``rejected``: its last image or calibration was unusable (``reason`` says
            why, ``detail`` in full); ``waiting_camera_info``; ``waiting_tf``: no transform to the ego frame;
            ``stopped``: no image for a while (``age_s``); ``slow``: less than half of the images it used to deliver, or
            that the other cameras deliver (``rate_hz``); ``ok``.
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
    """An image as a frame takes it, with its own camera and the frame in which the camera sits."""

    image: Image
    camera: CameraModel
    frame_id: str


@dataclass
class CameraInput:
    """Decodes one camera's images as they arrive. The newest image waits, undecoded, for the first calibration.

    Attributes:
        config: the camera.
        preparation: what makes the student's images, or None for whole images as they are.
        faults: gets what was wrong with images.
        images: images received.
        last_stamp: newest image's stamp in nanoseconds, or None.
        drops: images dropped here, by reason.
        calibrations_scaled: images whose camera_info had another size of the same aspect ratio.
        rejection: the last image's or calibration's fault with its topic, until a good one comes.
        seen_at: the newest stamp of all cameras when its last image came, or None.
    """

    config: CameraConfig
    preparation: ImagePreparation | None
    faults: FaultLog = field(default_factory=FaultLog)
    images: int = 0
    last_stamp: int | None = None
    drops: Counter[str] = field(default_factory=Counter)
    calibrations_scaled: int = 0
    rejection: Fault | None = None
    seen_at: int | None = None
    _calibration: CameraModel | None = None
    _waiting: tuple[str, Any] | None = None

    def add_info(self, message: Any) -> tuple[int, PreparedImage] | None:
        """Take a ``CameraInfo``; gives the image that waited for it, with its stamp.

        Raises:
            InputRejected: it is not usable; an earlier calibration stays in force.
        """
        try:
            self._calibration = decode.decode_camera_info(message)
        except InputRejected as error:
            self.rejection = Fault(self.config.info_topic, error.reason, str(error))
            raise
        waiting, self._waiting = self._waiting, None
        return self._prepare(*waiting) if waiting else None

    def add_image(self, type_name: str, message: Any) -> tuple[int, PreparedImage] | None:
        """Take an image; gives it prepared, with its stamp, or None if it waits or was dropped."""
        self.images += 1
        stamp = decode.stamp_of(message)
        self.last_stamp = stamp
        if self._calibration is None:
            self.drop_waiting()
            self._waiting = (type_name, message)
            return None
        return self._prepare(type_name, message)

    def drop_waiting(self) -> None:
        """Give up the image that waits for a calibration."""
        if self._waiting is not None:
            self.drops["no_camera_info"] += 1
            self._waiting = None

    @property
    def waits(self) -> bool:
        """Whether an image waits for a calibration."""
        return self._waiting is not None

    def _prepare(self, type_name: str, message: Any) -> tuple[int, PreparedImage] | None:
        try:
            prepared = self._decode(type_name, message)
        except InputRejected as error:
            self.drops[error.reason] += 1
            self.faults.reject(self.config.image_topic, error)
            self.rejection = Fault(self.config.image_topic, error.reason, str(error))
            return None
        self.rejection = None
        return decode.stamp_of(message), prepared

    def _decode(self, type_name: str, message: Any) -> PreparedImage:
        compressed = type_name == topics.COMPRESSED_IMAGE_TYPE
        if not compressed and type_name != topics.IMAGE_TYPE:
            raise InputRejected("type", f"{self.config.image_topic}: {type_name} is neither Image nor CompressedImage")
        if compressed:
            camera = self._calibration_at(*decode.compressed_image_size(message))
            at_least = self.preparation.required_size(camera) if self.preparation else None
            image = decode.decode_compressed_image(message, at_least)
        else:
            image = decode.decode_image(message)
            camera = self._calibration_at(image.shape[1], image.shape[0])
        if self.preparation:
            image, camera = self.preparation(image, camera)
        else:
            camera = decoded_camera(camera, image.shape[1], image.shape[0])
        return PreparedImage(image, camera, self.config.frame_id or message.header.frame_id or self.config.name)

    def _calibration_at(self, width: int, height: int) -> CameraModel:
        camera = self._calibration
        assert camera is not None
        if (camera.width, camera.height) == (width, height):
            return camera
        if abs(camera.width * height / (camera.height * width) - 1) > _SAME_ASPECT:
            raise InputRejected(
                "camera_info_size",
                f"camera '{self.config.name}': camera_info on {self.config.info_topic} is for "
                f"{camera.width}x{camera.height}, the image is {width}x{height}; they must have the same aspect ratio",
            )
        self.calibrations_scaled += 1
        return camera.resized(width, height)

    def status(
        self,
        newest: int | None,
        stalled_s: float,
        stopped_after_s: float,
        transform_fault: InputRejected | None,
        rates: DeliveryRates,
    ) -> CameraStatus:
        """The camera's status.

        Args:
            newest: the newest stamp of all cameras.
            stalled_s: for how long no camera has sent anything.
            stopped_after_s: after how long a silent camera counts as stopped.
            transform_fault: why its pose cannot be looked up, if so.
            rates: how many images the rig's cameras deliver.
        """
        ahead = 0 if newest is None or self.seen_at is None else max(newest - self.seen_at, 0)
        age_s = ahead / _SECOND + stalled_s
        state, reason, detail = self._state(age_s, stopped_after_s, transform_fault)
        rate_hz, expected_hz = rates.rate_hz(self.config.name), rates.expected_hz(self.config.name)
        if state == "stopped":
            rate_hz = 0.0
        elif state == "ok" and expected_hz is not None:
            state, reason = "slow", "slow"
            detail = f"{rate_hz:.1f} images per second on {self.config.image_topic}, {expected_hz:.1f} are expected"
        return CameraStatus(
            self.config.name, state, reason, detail, self.images, dict(self.drops), self.last_stamp, age_s, rate_hz
        )

    def _state(
        self, age_s: float, stopped_after_s: float, transform_fault: InputRejected | None
    ) -> tuple[CameraState, str, str]:
        if self.last_stamp is None:
            return "never_seen", "never_seen", f"no image on {self.config.image_topic} yet"
        if age_s > stopped_after_s:
            return "stopped", "stopped", f"no image on {self.config.image_topic} for {age_s:.1f} s"
        if self.rejection is not None:
            return "rejected", self.rejection.reason, self.rejection.line
        if self._calibration is None:
            return "waiting_camera_info", "no_camera_info", f"no camera_info on {self.config.info_topic} yet"
        if self.seen_at is not None and abs(self.last_stamp - self.seen_at) > _WRONG_CLOCK_S * _SECOND:
            away = (self.last_stamp - self.seen_at) / _SECOND
            return "rejected", "clock", f"stamps on {self.config.image_topic} are {away:+.1f} s off the other cameras'"
        if transform_fault is not None:
            return "waiting_tf", transform_fault.reason, str(transform_fault)
        return "ok", "", "ok"
