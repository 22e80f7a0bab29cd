"""The student as nodes and commands use it: a frame in, detections out."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.checkpoint import load_student
from semlt3d_ros.student.memory import RESETS, Memory
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
        memory_resets: how often the memory was emptied before a frame, by cause (``memory.RESETS``; ``kept`` counts the
            frames before which it was not).
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
        self.memory_resets: Counter[str] = Counter()
        self._memory: Memory | None = None

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
        """Forget past frames, before a frame that does not follow them."""
        self._memory = None

    def memory_state(self) -> dict[str, Tensor]:
        """What is remembered, as tensors by name; empty before the first frame and for a student without memory."""
        return {} if self._memory is None else {key: value.cpu() for key, value in self._memory.tensors().items()}

    def restore_memory(self, state: dict[str, Tensor]) -> None:
        """Go on from a ``memory_state`` of the same student: the next frames give exactly what they would have given.

        Raises:
            ConfigurationError: the state is of another student.
        """
        if not state:
            self._memory = None
            return
        wanted = Memory.empty(1, self._student.config).tensors()
        found = {key: (tuple(value.shape), value.dtype) for key, value in state.items()}
        if found != {key: (tuple(value.shape), value.dtype) for key, value in wanted.items()}:
            raise ConfigurationError("the memory state is not of this student; restore it with the checkpoint it is of")
        self._memory = Memory(**{key: value.to(self._device) for key, value in state.items()})

    @torch.inference_mode()
    def detect(self, frame: Frame) -> Detections:
        """Detect objects in one frame whose views were prepared to ``image_spec``; deterministic on the CPU.

        Frames of one drive are given in order; what was seen in past ones is remembered.

        Raises:
            ConfigurationError: a view was not prepared for this student.
        """
        start = time.perf_counter()
        config = self._student.config
        batch = collate([frame], config.image_width, config.image_height).to(self._device)
        batched = time.perf_counter()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            output = self._student(batch, memory=self._memory)
        layer, self._memory = output.layers[-1], output.memory
        if output.resets is not None:
            self.memory_resets[RESETS[int(output.resets[0])]] += 1
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
