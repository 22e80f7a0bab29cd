"""Published detectors at work: a frame in, detections in ``base_link`` out."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semlt3d_ros.checkpoints.published import read_published
from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ClassList
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.rigid import Matrix, wrap_angle
from semlt3d_ros.export.runtime import DEVICE as ONNX
from semlt3d_ros.export.runtime import ExportedStreamPETR, export_folder
from semlt3d_ros.inference.detector import checked_device
from semlt3d_ros.student.batch import Batch, collate
from semlt3d_ros.student.memory import KEPT, RESETS, why_anew
from semlt3d_ros.student.published.memory import QueryMemory
from semlt3d_ros.student.published.model import Motion, PublishedModel, Views
from semlt3d_ros.student.published.stream_head import HeadOutput, decode


class PublishedDetector:
    """A published model ready to run; to nodes and commands the same as ``inference.detector.Detector``.

    The memory is the authors' own. What lies outside their data is caught before it: where time jumps, stands still or
    has a long gap, or where the ego pose is unknown or jumps, the model begins anew, as its authors do at every scene.

    Attributes:
        image_spec: what ``sensing`` must prepare the views to.
        model_version: identity of the checkpoint.
        memory_resets: how often the memory was emptied before a frame, by cause (``student.memory.RESETS``).
        last_timings: milliseconds of the last call by stage: ``batch``, ``forward``, ``decode``; disjoint.
        whole_width: least width of the whole images that frames should carry; None, since it needs none.
    """

    whole_width: int | None = None

    def __init__(
        self, model: PublishedModel, classes: ClassList, model_version: str, device: torch.device | str = "cpu"
    ) -> None:
        self._model = model.eval().to(device)
        self._device = torch.device(device)
        self.classes, self.model_version = classes, model_version
        config = model.config
        self.image_spec = ImageSpec(config.image_width, config.image_height, resampling="bicubic")
        self.last_timings: dict[str, float] = {}
        self.memory_resets: Counter[str] = Counter()
        self._T_ego_model = rigid.frame_of(config.T_ego_model)
        self._memory = self._model.empty_memory()
        self.reset()

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> PublishedDetector:
        """Load a checkpoint that ``semlt3d import-weights`` has written.

        Args:
            path: the checkpoint.
            device: ``cpu``, ``cuda[:N]``, or ``onnxruntime`` for what ``semlt3d export`` has made of it.

        Raises:
            ConfigurationError: the checkpoint cannot be used, or the device is not there.
        """
        if device == ONNX:
            checkpoint = read_published(Path(path))
            exported = ExportedStreamPETR(checkpoint, export_folder(checkpoint.path))
            return cls(exported, checkpoint.classes, checkpoint.version)
        checked_device(device)
        checkpoint = read_published(Path(path))
        return cls(checkpoint.model(), checkpoint.classes, checkpoint.version, device)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the confidences' columns."""
        return self.classes.names

    def set_vocabulary(self, anchors: LanguageAnchors | None) -> None:
        """Refuse classes by language: published models know their own alone.

        Raises:
            ConfigurationError: some were given.
        """
        if anchors is not None:
            raise ConfigurationError(
                "this checkpoint is a published detector and knows its own classes only; use a student of this package "
                "that was trained with language_width for classes by name"
            )

    def move_to(self, device: str) -> None:
        """Move weights and memory to ``"cpu"`` or ``"cuda[:N]"``; an exported model stays in onnxruntime.

        Raises:
            ConfigurationError: there is no such device.
        """
        if isinstance(self._model, ExportedStreamPETR):
            if device not in (ONNX, "cpu"):
                raise ConfigurationError(
                    f"a model in {ONNX} runs on the CPU, not on '{device}'; load it again for that"
                )
            return
        target = checked_device(device)
        if target == self._device:
            return
        self._model.to(target)
        self._memory = QueryMemory(**{name: each.to(target) for name, each in self._memory.tensors().items()})
        former, self._device = self._device, target
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
        self._memory = self._model.empty_memory()
        self._stamps, self._started = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool)
        self._T_world_ego = torch.full((1, 4, 4), torch.nan, dtype=torch.float64)

    @torch.inference_mode()
    def detect(self, frame: Frame) -> Detections:
        """Detect objects in one frame whose views were prepared to ``image_spec``; deterministic on the CPU.

        Raises:
            ConfigurationError: a view was not prepared for this model.
            InputRejected: ``not_finite``: the network gave numbers that are not finite. What is remembered is that of
                the frames before.
        """
        start = time.perf_counter()
        config = self._model.config
        batch = collate([frame], config.image_width, config.image_height)
        cause = int(why_anew(self._stamps, self._T_world_ego, self._started, batch, config.memory_gap_s)[0])
        views, motion = self._views(frame, batch).to(self._device), self._motion(batch, cause == KEPT)
        batched = time.perf_counter()
        output = self._model(views, self._memory, motion)
        if not _finite(output):
            raise InputRejected("not_finite", "outputs of the network are not finite; check calibration and weights")
        if cause != KEPT or float(motion.elapsed_s[0]) >= config.memory_interval_s:
            self._memory, self._stamps, self._T_world_ego = output.memory, batch.stamps, batch.T_world_ego
            self._started = torch.ones_like(self._started)
        self.memory_resets[RESETS[cause]] += 1
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        forwarded = time.perf_counter()
        detections = self._decoded(output, frame)
        self.last_timings = {
            "batch": (batched - start) * 1e3,
            "forward": (forwarded - batched) * 1e3,
            "decode": (time.perf_counter() - forwarded) * 1e3,
        }
        return detections

    def _views(self, frame: Frame, batch: Batch) -> Views:
        """In double precision, from the frame: a map of a batch is in single."""
        poses = [rigid.inverse(self._T_ego_model) @ view.T_ego_camera for view in frame.views] or [np.eye(4)]
        intrinsics = [view.camera.K for view in frame.views] or [np.eye(3)]
        return Views(
            batch.images,
            torch.from_numpy(np.stack(intrinsics))[None],
            torch.from_numpy(np.stack(poses))[None],
            batch.valid,
        )

    def _motion(self, batch: Batch, continues: bool) -> Motion:
        """Since the last frame, in the model's frame."""
        T_now_last, elapsed_s = np.eye(4), 0.0
        if continues:
            now, last = batch.T_world_ego[0].numpy(), self._T_world_ego[0].numpy()
            frame = self._T_ego_model
            # Map coordinates can be millions of metres: only the difference fits single precision.
            T_now_last = rigid.inverse(now @ frame) @ (last @ frame)
            elapsed_s = int(batch.stamps[0] - self._stamps[0]) * 1e-9
        values = (T_now_last[None], np.array([elapsed_s]), np.array([float(continues)]))
        return Motion(*(torch.from_numpy(each).float().to(self._device) for each in values))

    def _decoded(self, output: HeadOutput, frame: Frame) -> Detections:
        """The best pairs of a box and a class, those of one box together, in ``base_link``."""
        config = self._model.config
        limits = torch.tensor(config.post_center_range, device=self._device)
        logits = output.logits[-1, 0].float()
        found, pairs = decode(logits, output.boxes[-1, 0].float(), limits, config.max_boxes)
        scores = logits.sigmoid().flatten()[pairs]
        kept = scores >= config.score_floor
        rows, flat, given = (each[kept].cpu().numpy() for each in (found, pairs, scores))
        queries, classes = flat // logits.shape[-1], flat % logits.shape[-1]
        # Pairs come best first, so a query's first pair says where it stands among the boxes.
        _, first, box_of_pair = np.unique(queries, return_index=True, return_inverse=True)
        rank = np.empty_like(first)
        rank[np.argsort(first)] = np.arange(len(first))
        confidences = np.zeros((len(first), len(self.class_names)), np.float32)
        confidences[rank[box_of_pair], classes] = given
        return Detections(
            frame.stamp,
            in_ego_frame(rows[np.sort(first)].astype(np.float64), self._T_ego_model),
            confidences,
            self.class_names,
            cameras=tuple(view.name for view in frame.views),
            missing=frame.missing,
            model_version=self.model_version,
        )


def in_ego_frame(rows: NDArray[np.float64], T_ego_model: Matrix) -> Boxes3D:
    """Boxes (N, 7 or 9) of a model's frame: centre, length, width, height, yaw, and velocity where it is known."""
    yaw = rows[:, 6]
    heading = np.stack([np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)], axis=-1) @ T_ego_model[:3, :3].T
    velocity = np.zeros((len(rows), 3))
    velocity[:, :2] = rows[:, 7:9] if rows.shape[1] > 7 else np.nan
    velocity = velocity @ T_ego_model[:3, :3].T
    return Boxes3D(
        rigid.apply(T_ego_model, rows[:, :3]),
        rows[:, 3:6],
        wrap_angle(np.arctan2(heading[:, 1], heading[:, 0])),
        velocity[:, :2],
    )


def _finite(output: HeadOutput) -> bool:
    parts: list[Tensor] = [output.logits[-1], output.boxes[-1], *output.memory.tensors().values()]
    return all(bool(each.isfinite().all()) for each in parts)
