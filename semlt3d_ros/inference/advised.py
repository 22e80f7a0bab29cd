"""A detector with a second opinion: to nodes and commands the same as one without."""

from __future__ import annotations

import time
from pathlib import Path

from semlt3d_ros.core.classes import ClassList
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.inference.frame_detector import FrameDetector
from semlt3d_ros.semantics.clip import ClipEncoder
from semlt3d_ros.semantics.opinion_settings import OpinionSettings, load_opinion_settings
from semlt3d_ros.semantics.second_opinion import SecondOpinion

_MODEL_DEVICES = ("cpu", "cuda")


class AdvisedDetector:
    """Detects, and asks a CLIP about what is ambiguous.

    Attributes:
        opinion: the second opinion.
        whole_width: least width of the whole images that frames should carry; crops are cut from the detector's own
            small images where they carry none.
        memory_resets: the detector's own.
        last_timings: milliseconds of the last call by stage: the detector's own and ``opinion``.
    """

    def __init__(self, detector: FrameDetector, encoder: ClipEncoder, settings: OpinionSettings) -> None:
        """Put a second opinion behind a detector.

        Raises:
            ConfigurationError: the settings were fitted for another CLIP or other classes.
        """
        self._detector, self._encoder = detector, encoder
        classes = detector.classes
        self.opinion = SecondOpinion(encoder, settings, classes.names, detector.model_version, classes.words())
        self.whole_width: int | None = settings.image_width
        self.image_spec: ImageSpec = detector.image_spec
        self.model_version = detector.model_version
        self.memory_resets = detector.memory_resets  # the same object: it is counted there
        self.last_timings: dict[str, float] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the confidences' columns."""
        return self._detector.class_names

    @property
    def classes(self) -> ClassList:
        """The same with what is known of them."""
        return self._detector.classes

    def detect(self, frame: Frame) -> Detections:
        """The detector's detections with a second opinion in their confidences; raises the same as the detector's."""
        detections = self._detector.detect(frame)
        start = time.perf_counter()
        advised = self.opinion(frame, detections)
        self.last_timings = {**self._detector.last_timings, "opinion": (time.perf_counter() - start) * 1e3}
        return advised

    def set_vocabulary(self, anchors: LanguageAnchors | None) -> None:
        """Add and replace classes by language, for both; see ``Detector.set_vocabulary``, which raises the same."""
        named = self.opinion.named(anchors)
        self._detector.set_vocabulary(anchors)
        self.opinion.use(named)

    def reset(self) -> None:
        """Forget past frames."""
        self._detector.reset()

    def move_to(self, device: str) -> None:
        """Move both to a device; raises ``ConfigurationError`` where there is none such."""
        self._detector.move_to(device)
        self._encoder.move_to(clip_device(device))

    def accelerator_memory(self) -> dict[str, float]:
        """MiB of GPU memory by kind; empty on the CPU."""
        return self._detector.accelerator_memory()


def clip_device(device: str) -> str:
    """Where a CLIP runs beside a detector: the same place, or the CPU where that is no device of torch's."""
    return device if device.startswith(_MODEL_DEVICES) else "cpu"


def advised(detector: FrameDetector, second_opinion: str | Path, device: str = "cpu") -> AdvisedDetector:
    """A detector with a second opinion.

    Args:
        detector: a student, or a published model.
        second_opinion: a file of settings, or the name of one that comes with the package.
        device: where the detector runs; the CLIP runs there too.

    Raises:
        ConfigurationError: the settings or their CLIP cannot be used, or were fitted for other classes.
    """
    settings = load_opinion_settings(second_opinion)
    encoder = ClipEncoder.load(settings.model, settings.pretrained, clip_device(device))
    return AdvisedDetector(detector, encoder, settings)
