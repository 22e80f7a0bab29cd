"""The tiny CLIP: one open_clip model in one file, small enough to come with the package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.outputs import write_whole
from semlt3d_ros.semantics.clip import FILE_ENTRY, FILE_FORMAT, build, import_open_clip

_HIDDEN_SHARE = 0.3
"""Share of the training images of which a part is hidden."""


class TinyClip(nn.Module):
    """A CLIP in training: open_clip's model, tokenizer and loss.

    Args:
        config: ``model_cfg`` and ``preprocess_cfg``, as in ``open_clip_config.json``.

    Raises:
        ConfigurationError: open_clip is not installed, or makes no model of the config.
    """

    seen: Tensor
    """(vocabulary,) bool: tokens that some caption had."""
    _scale: Tensor
    _shift: Tensor
    _tokenizer: Any

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self._loss = import_open_clip().ClipLoss()
        try:
            self.model, _, self._tokenizer = build(config)
            scale, shift = (torch.tensor(config["preprocess_cfg"][key]).view(1, 3, 1, 1) for key in ("std", "mean"))
        except Exception as error:  # open_clip and timm hand on what they stumble over
            reason = (str(error).strip().splitlines() or [repr(error)])[0]
            raise ConfigurationError(
                f"no CLIP can be made of model_cfg and preprocess_cfg ({reason}); they hold what open_clip's "
                "open_clip_config.json holds"
            ) from error
        self.size = int(self.model.visual.image_size[0])
        self.register_buffer("_scale", scale, persistent=False)
        self.register_buffer("_shift", shift, persistent=False)
        self.register_buffer("seen", torch.zeros(self.model.vocab_size, dtype=torch.bool))

    def forward(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """The contrastive loss of images (B, 3, S, S) in [0, 1] and their captions (Radford et al., 2021)."""
        tokens = self._tokenizer(list(captions)).to(images.device)
        self.seen[tokens.unique()] = True
        # Channels last makes convolutions a third faster on a CPU. The weights stay as they are: AdamW's moments, which
        # are stored and loaded contiguous, would not fit them.
        scaled = ((images - self._shift) / self._scale).contiguous(memory_format=torch.channels_last)
        looks = self.model.encode_image(scaled, normalize=True)
        texts = self.model.encode_text(tokens, normalize=True)
        return self._loss(looks, texts, self.model.logit_scale.exp())

    @torch.no_grad()
    def limit_temperature(self) -> None:
        """Keep the inverse temperature between 1 and 100, as CLIP's training does."""
        self.model.logit_scale.clamp_(0.0, float(np.log(100.0)))

    def save(self, path: Path, name: str, provenance: dict[str, Any]) -> None:
        """Write the CLIP in half precision, atomically. Words no caption had are blank: they say nothing, not noise."""
        tensors = {key: value.detach().cpu().clone() for key, value in self.model.state_dict().items()}
        tensors["token_embedding.weight"][~self.seen] = 0.0
        tensors = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
        header = {"format": FILE_FORMAT, "name": name, "config": self.config, "provenance": provenance}
        write_whole(path, save(tensors, {FILE_ENTRY: json.dumps(header)}))


@dataclass(frozen=True)
class ZeroShot:
    """How well anchors name images.

    Attributes:
        recall: share of each class's images that its own anchor is nearest to; NaN for a class without images.
        confusion: (n, n) counts; rows are what the images show, columns the nearest anchor.
        loss: mean cross entropy, in nats, of the model's own distribution over the names.
    """

    recall: dict[str, float]
    confusion: NDArray[np.int64]
    loss: float

    @property
    def accuracy(self) -> float:
        """Mean of the classes' recalls: every class counts alike."""
        return float(np.nanmean(list(self.recall.values())))


def zero_shot(
    anchors: LanguageAnchors, embeddings: NDArray[np.float32], class_ids: NDArray[np.int64], logit_scale: float
) -> ZeroShot:
    """Classify image embeddings (N, d) by the nearest anchor and compare with the classes (N,) they show."""
    distribution = anchors.distribution(embeddings, logit_scale)
    confusion = np.zeros((len(anchors), len(anchors)), np.int64)
    np.add.at(confusion, (class_ids, distribution.argmax(axis=1)), 1)
    counts = confusion.sum(axis=1)
    recall = np.where(counts > 0, np.diag(confusion) / np.maximum(counts, 1), np.nan)
    own = np.maximum(distribution[np.arange(len(class_ids)), class_ids], 1e-12)
    return ZeroShot(dict(zip(anchors.names, map(float, recall), strict=True)), confusion, float(-np.log(own).mean()))


def varied(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Images (B, 3, H, W) in [0, 1], each zoomed, moved, mirrored, lit and tinted at random, at (B, 3, size, size).

    Part of some is hidden behind a piece of another image, as objects in traffic hide each other.
    """

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(len(images), *shape, generator=generator) * (high - low) + low

    theta = torch.zeros(len(images), 2, 3)
    zoom, stretch = draw(0.75, 1.1), draw(0.93, 1.07)
    mirrored = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    theta[:, 0, 0], theta[:, 1, 1] = zoom * stretch * mirrored, zoom / stretch
    theta[:, :, 2] = draw(-0.12, 0.12, 2)
    theta[:, 0, 1], theta[:, 1, 0] = draw(-0.06, 0.06), draw(-0.06, 0.06)
    grid = nn.functional.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    moved = nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    middle, half = draw(-1.0, 1.0, 2), draw(0.1, 0.4, 2) * (draw(0.0, 1.0, 1) < _HIDDEN_SHARE)
    steps = torch.linspace(-1.0, 1.0, size)
    rows, columns = ((steps - middle[:, k, None]).abs() < half[:, k, None] for k in (0, 1))
    moved = torch.where((rows[:, :, None] & columns[:, None, :])[:, None], moved.roll(1, dims=0), moved)
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    lit = (moved - mean) * draw(0.75, 1.25, 1, 1, 1) + mean * draw(0.75, 1.25, 1, 1, 1)
    tinted = lit * draw(0.93, 1.07, 3, 1, 1)
    noise = torch.randn(tinted.shape, generator=generator) * draw(0.0, 0.03, 1, 1, 1)
    return (tinted + noise).clamp_(0.0, 1.0)
