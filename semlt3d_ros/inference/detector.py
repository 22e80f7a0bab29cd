"""The student as nodes and commands use it: a frame in, detections out."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semlt3d_ros.checkpoints.checkpoint import read_checkpoint
from semlt3d_ros.core.classes import ClassList
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.taxonomy import class_list_of
from semlt3d_ros.inference.postprocess import postprocess
from semlt3d_ros.inference.vocabulary import Vocabulary, make_vocabulary
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.confidence_calibration import Calibration
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.depth_images import seeing_depth
from semlt3d_ros.student.memory import RESETS, Memory
from semlt3d_ros.student.student import Student


@dataclass(frozen=True)
class _Classes:
    """What is given out; replaced as a whole, so that a change falls between two frames."""

    listed: ClassList
    vocabulary: Vocabulary | None
    calibration: Calibration | None

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Frequency groups of the classes."""
        return tuple(info.group for info in self.listed.classes)


class Detector:
    """A student ready to run.

    Attributes:
        image_spec: what ``sensing`` must prepare the views to.
        model_version: identity of the checkpoint.
        memory_resets: how often the memory was emptied before a frame, by cause (``memory.RESETS``; ``kept`` counts the
            frames before which it was not).
        last_timings: milliseconds of the last call by stage: ``batch``, ``forward``, ``decode``; disjoint.
        whole_width: least width of the whole images that frames should carry; None, since it needs none.
    """

    whole_width: int | None = None

    def __init__(
        self,
        student: Student,
        model_version: str,
        device: torch.device | str = "cpu",
        calibration: Calibration | None = None,
        language_source: str = "",
        classes: ClassList | None = None,
    ) -> None:
        """Set up.

        Args:
            student: weights and config.
            model_version: what detections are marked with.
            device: where to run.
            calibration: of the student's classes; None gives out confidences as they are.
            language_source: identity of the CLIP the student's language anchors are from; ``""`` where unknown.
            classes: the student's; what is known by their names unless given.
        """
        self._student = student.eval().to(device)
        self._device = torch.device(device)
        self._calibration, self._language_source = calibration, language_source
        self.model_version = model_version
        config = student.config
        self._trained = classes or class_list_of(config.class_names)
        self._classes = _Classes(self._trained, None, calibration)
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
        checked_device(device)
        checkpoint = read_checkpoint(Path(path))
        calibration, student = checkpoint.calibration(), checkpoint.student(device)
        return cls(student, checkpoint.version, device, calibration, checkpoint.language_source, checkpoint.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the confidences' columns: the trained classes, then those that ``set_vocabulary`` added."""
        return self._classes.listed.names

    @property
    def classes(self) -> ClassList:
        """The same with what is known of them."""
        return self._classes.listed

    def set_vocabulary(self, anchors: LanguageAnchors | None) -> None:
        """Replace classes, and add others, by language; from the next frame on. What is remembered is kept.

        A name that the student was trained for keeps its column and is scored by its new anchor alone; any other name
        gets a column of its own. Scores of both kinds are calibrated by what language scored on validation for all
        trained classes together, not by data of the class itself. May be called from any thread.

        Args:
            anchors: made by the CLIP that the student was trained with; None goes back to the trained classes.

        Raises:
            ConfigurationError: the student has no language, or the anchors do not fit it; nothing has changed.
        """
        calibration = self._calibration
        if anchors is None:
            self._classes = _Classes(self._trained, None, calibration)
            return
        vocabulary = make_vocabulary(self._student, self._language_source, anchors)
        if calibration is not None:
            calibration = calibration.with_added(vocabulary.columns)
        self._classes = _Classes(self._trained.extended(vocabulary.class_names), vocabulary, calibration)

    def move_to(self, device: str) -> None:
        """Move weights and memory to ``"cpu"`` or ``"cuda[:N]"``; what a GPU held is free for others afterwards.

        Raises:
            ConfigurationError: there is no such device.
        """
        target = checked_device(device)
        if target == self._device:
            return
        state = self.memory_state()
        self._student.to(target)
        former, self._device = self._device, target
        self.restore_memory(state)
        if former.type == "cuda":
            torch.cuda.empty_cache()

    def accelerator_memory(self) -> dict[str, float]:
        """GPU memory of this process in MiB: ``allocated``, ``reserved``; empty on the CPU."""
        if self._device.type != "cuda":
            return {}
        return {
            "allocated": torch.cuda.memory_allocated(self._device) / 2**20,
            "reserved": torch.cuda.memory_reserved(self._device) / 2**20,
        }

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
            InputRejected: ``not_finite``: the network gave no finite box. What is remembered is that of the frames
                before.
        """
        classes = self._classes
        layer = self.look(frame)
        looked = time.perf_counter()
        (detections,) = postprocess(layer, [frame.stamp], self._student.config, classes.calibration, classes.vocabulary)
        result = replace(
            detections,
            cameras=tuple(view.name for view in frame.views),
            missing=frame.missing,
            model_version=self.model_version,
            class_groups=classes.groups,
        )
        self.last_timings["decode"] = (time.perf_counter() - looked) * 1e3
        return result

    @torch.inference_mode()
    def look(self, frame: Frame) -> LayerOutput:
        """The first half of ``detect``: what the last decoder layer says about a frame; raises the same."""
        start = time.perf_counter()
        config = self._student.config
        batch = collate([frame], config.image_width, config.image_height).to(self._device)
        if config.input == "depth":
            points = np.zeros((0, 3), np.float32) if frame.points is None else frame.points.xyz
            batch = seeing_depth(batch, [torch.from_numpy(points).to(self._device)])
        batched = time.perf_counter()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            output = self._student(batch, memory=self._memory)
        layer: LayerOutput = output.layers[-1]
        if not _finite(layer).any():
            raise InputRejected("not_finite", "no output of the network is finite; check calibration and weights")
        self._memory = output.memory
        if output.resets is not None:
            self.memory_resets[RESETS[int(output.resets[0])]] += 1
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        forwarded = time.perf_counter()
        self.last_timings = {"batch": (batched - start) * 1e3, "forward": (forwarded - batched) * 1e3}
        return layer


def checked_device(device: str) -> torch.device:
    """The device of that name.

    Raises:
        ConfigurationError: there is none on this machine.
    """
    try:
        checked = torch.device(device)
    except RuntimeError as error:
        also = "; onnxruntime is for exported published models" if device == "onnxruntime" else ""
        raise ConfigurationError(f"'{device}' is not a device; use cpu, or cuda[:N]{also}") from error
    if checked.type == "cuda" and (checked.index or 0) >= torch.cuda.device_count():
        raise ConfigurationError(f"device '{device}' is not available on this machine; use device 'cpu'")
    return checked


def _finite(layer: LayerOutput) -> Tensor:
    """(B, Q) whether all that is published of a query is finite."""
    values = torch.cat([layer.boxes(), layer.logits, layer.log_scale[..., None]], dim=-1)
    return torch.isfinite(values).all(dim=-1)
