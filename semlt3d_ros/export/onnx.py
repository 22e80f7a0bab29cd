"""From a checkpoint to ONNX files, each held against torch before it is given out."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semlt3d_ros.checkpoints.published import PublishedCheckpoint
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import write_whole
from semlt3d_ros.export.runtime import DESCRIPTION, Session, onnx_file
from semlt3d_ros.export.streampetr import INPUTS, MEMORY, OUTPUTS, PARTS, parts_of
from semlt3d_ros.student.published.streampetr import StreamPETR

TOLERANCE = 1e-4
"""Most that an output may differ from torch's, absolute up to 1 and relative above."""
_OPSET = 18


@dataclass(frozen=True)
class Difference:
    """How far an output of onnxruntime lies from torch's, in units of 1 or of the number where that is larger."""

    part: str
    output: str
    difference: float


def export_published(
    checkpoint: PublishedCheckpoint,
    folder: Path,
    cameras: int,
    progress: Callable[[int, int], None] = lambda done, steps: None,
) -> list[Difference]:
    """Write a StreamPETR's three ONNX files and what they are into a folder.

    Args:
        checkpoint: of a StreamPETR.
        folder: where to; it is made.
        cameras: images of a frame, a fixed number in the files.
        progress: told how many steps are done, and of how many.

    Raises:
        ConfigurationError: the checkpoint is of another family, a package is missing, the folder cannot be written, or
            what onnxruntime computes is not what torch does; nothing is written then.
    """
    if checkpoint.family != StreamPETR.family:
        raise ConfigurationError(
            f"checkpoint '{checkpoint.path}' is a {checkpoint.family}: only StreamPETR can be exported, since the "
            "number of the others' queries or samples depends on what is seen"
        )
    model = checkpoint.model()
    assert isinstance(model, StreamPETR)
    written: dict[str, bytes] = {}
    differences: list[Difference] = []
    steps = 2 * len(PARTS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for done, (name, (part, inputs)) in enumerate(parts_of(model, cameras).items()):
            written[name] = to_onnx(part, inputs, INPUTS[name], OUTPUTS[name])
            progress(2 * done + 1, steps)
            differences += compared(name, part, inputs, written[name])
            progress(2 * done + 2, steps)
    worst = max(differences, key=lambda each: each.difference)
    if not worst.difference <= TOLERANCE:
        raise ConfigurationError(
            f"{worst.part}: '{worst.output}' differs from torch by {worst.difference:.2g}, more than {TOLERANCE:g}; "
            "nothing was written"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in written.items():
        write_whole(onnx_file(folder, name), content)
    text = json.dumps(description(checkpoint, cameras, differences), indent=1)
    write_whole(folder / DESCRIPTION, text.encode())
    return differences


def description(checkpoint: PublishedCheckpoint, cameras: int, differences: list[Difference]) -> dict[str, Any]:
    """What the files are, for those who run them."""
    return {
        "version": checkpoint.version,
        "family": checkpoint.family,
        "cameras": cameras,
        "config": checkpoint.config.to_dict(),
        "images": "RGB, less mean 123.675 116.28 103.53, by deviation 58.395 57.12 57.375",
        "parts": {name: {"inputs": INPUTS[name], "outputs": OUTPUTS[name]} for name in PARTS},
        "differences_to_torch": [asdict(each) for each in differences],
    }


def to_onnx(part: nn.Module, inputs: tuple[Tensor, ...], names: tuple[str, ...], outputs: tuple[str, ...]) -> bytes:
    """A module as ONNX, for inputs of these shapes.

    Raises:
        ConfigurationError: a package is missing.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigurationError("onnxscript is not installed: pip install 'semlt3d_ros[onnx]'") from error
    quiet = logging.getLogger("torch.onnx"), logging.getLogger("onnxscript")
    levels = [logger.level for logger in quiet]
    try:
        for logger in quiet:
            logger.setLevel(logging.ERROR)
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                part.eval(),
                inputs,
                input_names=list(names),
                output_names=list(outputs),
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        for logger, level in zip(quiet, levels, strict=True):
            logger.setLevel(level)
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


@torch.inference_mode()
def compared(name: str, part: nn.Module, inputs: tuple[Tensor, ...], content: bytes) -> list[Difference]:
    """Each output of onnxruntime against torch's; the head also for a memory that is empty."""
    session, differences = Session(content), []
    cases = [inputs]
    if name == "pts_head_memory":
        before = len(inputs) - len(MEMORY)
        cases.append((*inputs[:before], *(torch.zeros_like(each) for each in inputs[before:])))
    for case in cases:
        result = part(*case)
        wanted = [each.numpy() for each in (result if isinstance(result, tuple) else (result,))]
        found = session(*(value.numpy() for value in case))
        if name == "pts_head_memory":
            wanted, found = _in_order(wanted), _in_order(found)
        differences += [
            Difference(name, output, largest(mine, theirs))
            for output, mine, theirs in zip(OUTPUTS[name], found, wanted, strict=True)
        ]
    return differences


def largest(mine: NDArray, theirs: NDArray) -> float:
    """The largest difference, relative to numbers above 1."""
    return float((np.abs(mine - theirs) / np.maximum(1.0, np.abs(theirs))).max(initial=0.0))


def _in_order(outputs: list[NDArray]) -> list[NDArray]:
    """Outputs of the head, with the memory in the order of its points.

    Which of two queries with scores that agree to rounding comes first is no difference.
    """
    memory = outputs[-len(MEMORY) :]
    order = np.argsort(memory[MEMORY.index("reference_point")][0, :, 0], kind="stable")
    return [*outputs[: -len(MEMORY)], *(each[:, order] for each in memory)]
