"""What nodes and commands need of a detector, whatever it is made of."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from semlt3d_ros.core.classes import ClassList
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.language import LanguageAnchors


class FrameDetector(Protocol):
    """Detects frame by frame; ``Detector``, ``PublishedDetector`` and ``AdvisedDetector`` are such.

    Attributes:
        image_spec: what frames are prepared to.
        model_version: identity of the checkpoint.
        last_timings: milliseconds of the last call by stage.
        memory_resets: how often what is remembered was emptied, by cause.
        whole_width: least width of the whole images that frames should carry; None where none are needed.
    """

    image_spec: ImageSpec
    model_version: str
    last_timings: dict[str, float]
    memory_resets: Counter[str]
    whole_width: int | None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the confidences' columns."""

    @property
    def classes(self) -> ClassList:
        """The same with what is known of them."""

    def detect(self, frame: Frame) -> Detections:
        """Detections of one frame; raises ``InputRejected`` where there is no answer that could be published."""

    def reset(self) -> None:
        """Forget past frames."""

    def set_vocabulary(self, anchors: LanguageAnchors | None) -> None:
        """Add and replace classes by language, from any thread; raises ``ConfigurationError`` and changes nothing."""

    def move_to(self, device: str) -> None:
        """Move weights and memory to a device, ``"cpu"`` or ``"cuda[:N]"``; raises ``ConfigurationError``."""

    def accelerator_memory(self) -> dict[str, float]:
        """MiB of GPU memory by kind; empty on the CPU."""
