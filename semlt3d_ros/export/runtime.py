"""An exported model at work in onnxruntime, in place of the network it was exported from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semlt3d_ros.checkpoints.published import PublishedCheckpoint
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.export.streampetr import MEMORY, PARTS
from semlt3d_ros.student.features import normalize
from semlt3d_ros.student.published.memory import QueryMemory
from semlt3d_ros.student.published.model import DEVIATION, MEAN, Motion, PublishedModel, Views
from semlt3d_ros.student.published.stream_head import WIDTH, HeadOutput

DEVICE = "onnxruntime"
"""What commands and the node call this way of running."""
DESCRIPTION = "export.json"


def export_folder(checkpoint: Path) -> Path:
    """Where the export of a checkpoint lies unless told otherwise: beside it."""
    return checkpoint.with_suffix(".onnx")


def onnx_file(folder: Path, part: str) -> Path:
    """The file of a part."""
    return folder / f"{part}.onnx"


class Session:
    """An ONNX file in onnxruntime on the CPU.

    Raises:
        ConfigurationError: onnxruntime is not installed, or the file is none that it can run.
    """

    def __init__(self, model: bytes | Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigurationError("onnxruntime is not installed: pip install 'semlt3d_ros[onnx]'") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        given = model if isinstance(model, bytes) else str(model)
        try:
            self._session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common base
            what = "the model" if isinstance(model, bytes) else f"'{model}'"
            reason = str(error).strip().splitlines()[0][:200]
            raise ConfigurationError(f"{what} cannot be run by onnxruntime ({reason}); export it again") from error
        self._names = [each.name for each in self._session.get_inputs()]

    def __call__(self, *inputs: NDArray) -> list[NDArray]:
        """All outputs for all inputs, in the order of the file."""
        outputs: list[NDArray] = self._session.run(None, dict(zip(self._names, inputs, strict=True)))
        return outputs


class ExportedStreamPETR(PublishedModel):
    """The three files as one network."""

    family = "streampetr"

    def __init__(self, checkpoint: PublishedCheckpoint, folder: Path) -> None:
        """Open the export of a checkpoint.

        Raises:
            ConfigurationError: there is none, it is of another checkpoint, or it cannot be run.
        """
        nn.Module.__init__(self)  # without the parts that the files are in place of
        self.config = checkpoint.config
        described = read_description(checkpoint, folder)
        self.cameras = int(described["cameras"])
        self._sessions = {part: Session(onnx_file(folder, part)) for part in PARTS}
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION), persistent=False)
        self._calibration: tuple[NDArray, NDArray] | None = None
        self._positions: list[NDArray] = []

    def empty_memory(self, size: int = 1) -> QueryMemory:
        """The memory of ``size`` streams before their first frame."""
        return QueryMemory.empty(size, self.config.memory_length, WIDTH)

    def forward(self, views: Views, memory: QueryMemory, motion: Motion) -> HeadOutput:
        """See ``PublishedModel``; of one frame.

        Raises:
            InputRejected: ``cameras``: it has another number of images than the export was made for.
        """
        found = int(views.valid.sum())
        if found != self.cameras or len(views.images) != 1:
            raise InputRejected(
                "cameras",
                f"this export takes {self.cameras} images, the set has {found}; export it with --cameras {found}, or "
                "run the checkpoint on cpu, which takes any number",
            )
        images = normalize(views.images.flatten(0, 1), self.mean, self.deviation).contiguous()[None]
        (features,) = self._sessions["extract_img_feat"](images.numpy())
        position, cone = self._position_of(views)
        moved = memory.moved(motion.T_now_last, motion.elapsed_s, motion.continues).tensors()
        here = np.eye(4, dtype=np.float32)[None]
        given = [moved[name].numpy() for name in MEMORY]
        logits, boxes, *after = self._sessions["pts_head_memory"](features, position, cone, here, here, *given)
        kept = {
            name: torch.from_numpy(each)[:, : self.config.memory_length]
            for name, each in zip(MEMORY, after, strict=True)
        }
        return HeadOutput(self._by_layer(logits), self._by_layer(boxes), QueryMemory(**kept))

    def _position_of(self, views: Views) -> list[NDArray]:
        """Computed once for a calibration."""
        intrinsics = np.tile(np.eye(4, dtype=np.float32), (1, self.cameras, 1, 1))
        intrinsics[..., :3, :3] = views.intrinsics.numpy()
        calibration = intrinsics, views.T_model_image().numpy()
        before = self._calibration
        if before is None or any(not np.array_equal(old, new) for old, new in zip(before, calibration, strict=True)):
            size = np.array([self.config.image_height, self.config.image_width, 3.0], np.float32)
            self._positions = self._sessions["position_embedding"](size, *calibration)
            self._calibration = calibration
        return self._positions

    def _by_layer(self, values: NDArray) -> Tensor:
        """(L, 1, Q, n) of proposals (1, n, L Q)."""
        return torch.from_numpy(values)[0].T.unflatten(0, (self.config.layers, 1, -1))


def read_description(checkpoint: PublishedCheckpoint, folder: Path) -> dict[str, Any]:
    """What an export says about itself.

    Raises:
        ConfigurationError: there is none, or it is of another checkpoint.
    """
    remedy = f"semlt3d export {checkpoint.path} -o {folder}"
    try:
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        version, _ = described["version"], int(described["cameras"])
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no export of '{checkpoint.path}' in '{folder}' for device {DEVICE}; make it: {remedy}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"'{folder / DESCRIPTION}' cannot be read ({error}); export again: {remedy}"
        ) from error
    if version != checkpoint.version:
        raise ConfigurationError(
            f"the export in '{folder}' is of {version}, not of {checkpoint.version}; export again: {remedy}"
        )
    return dict(described)
