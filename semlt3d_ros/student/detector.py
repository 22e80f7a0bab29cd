"""The student as nodes and commands use it: a frame in, detections out."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.checkpoint import load_student
from semlt3d_ros.student.postprocess import postprocess
from semlt3d_ros.student.student import Student


def default_checkpoint() -> Path:
    """The checkpoint that comes with the package: trained on the simulated world only."""
    return Path(__file__).resolve().parent.parent / "weights" / "demo.safetensors"


class Detector:
    """A student ready to run.

    Attributes:
        image_spec: what ``sensing`` must prepare the views to.
        class_names: names of the confidences' columns.
        model_version: identity of the checkpoint.
        last_timings: milliseconds of the last call by stage: ``batch``, ``forward``, ``decode``; disjoint.
    """

    def __init__(self, student: Student, model_version: str, device: torch.device | str = "cpu") -> None:
        self._student = student.eval().to(device)
        self._device = torch.device(device)
        self.model_version = model_version
        config = student.config
        self.class_names = config.class_names
        self.image_spec = ImageSpec(config.image_width, config.image_height, config.top_crop)
        self.last_timings: dict[str, float] = {}

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Detector:
        """Load a checkpoint.

        Raises:
            ConfigurationError: the checkpoint cannot be used, or the device is not there.
        """
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigurationError(f"device '{device}' is not available on this machine; use device 'cpu'")
        student, version = load_student(Path(path), device)
        return cls(student, version, device)

    def reset(self) -> None:
        """Forget past frames. The present student sees single frames and has nothing to forget."""

    @torch.inference_mode()
    def detect(self, frame: Frame) -> Detections:
        """Detect objects in one frame whose views were prepared to ``image_spec``; deterministic on the CPU.

        Raises:
            ConfigurationError: a view was not prepared for this student.
        """
        start = time.perf_counter()
        config = self._student.config
        batch = collate([frame], config.image_width, config.image_height).to(self._device)
        batched = time.perf_counter()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            layer = self._student(batch).layers[-1]
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        forwarded = time.perf_counter()
        (detections,) = postprocess(layer, [frame.stamp], config)
        result = replace(
            detections,
            cameras=tuple(view.name for view in frame.views),
            missing=frame.missing,
            model_version=self.model_version,
        )
        end = time.perf_counter()
        stages = zip(
            ("batch", "forward", "decode"), (start, batched, forwarded), (batched, forwarded, end), strict=True
        )
        self.last_timings = {name: (stop - begin) * 1e3 for name, begin, stop in stages}
        return result
