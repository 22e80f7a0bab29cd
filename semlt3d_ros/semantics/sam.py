"""SAM's image encoder (Kirillov et al., ICCV 2023), through timm."""

from __future__ import annotations

import hashlib
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor

from semlt3d_ros.core.errors import ConfigurationError


class SamEncoder:
    """An image encoder of timm's ``samvit_*``, frozen.

    Args:
        name: of a model in timm, whose weights are fetched or found in timm's cache, or a folder that
            ``timm.models.save_for_hf`` has written.
        stride: pixels of the images per cell of the features; images are scaled to that.
        device: where it computes.

    Attributes:
        device: where it computes.
        version: identity of its weights and of the stride.
        width: channels of the features.

    Raises:
        ConfigurationError: there is no such model or folder, or its weights cannot be had.
    """

    def __init__(self, name: str, stride: int, device: torch.device | str = "cpu") -> None:
        here = Path(name).is_dir()
        if not here and name.split(".", maxsplit=1)[0] not in timm.list_models("samvit*"):
            known = ", ".join(timm.list_models("samvit*"))
            raise ConfigurationError(f"'{name}' is no encoder of SAM and no folder; timm has {known}")
        source = f"local-dir:{name}" if here else name
        try:
            model = timm.create_model(source, pretrained=True, num_classes=0)
        except Exception as error:  # timm hands on what its downloads and loaders stumble over
            raise ConfigurationError(
                f"SAM's encoder '{name}' could not be had ({_first_line(error)}); name one of timm's samvit_*, whose "
                "weights are fetched from the network, or a folder that timm.models.save_for_hf has written where it is"
            ) from error
        if not isinstance(model, VisionTransformerSAM):
            raise ConfigurationError(
                f"the folder '{name}' is of a {type(model).__name__}, not of one of timm's samvit_*"
            )
        self.device = torch.device(device)
        self._model = model.eval().requires_grad_(False).to(device)
        self._patch = int(model.patch_embed.patch_size[0])
        self._scale = self._patch / stride
        self._mean, self._deviation = (
            torch.tensor(model.pretrained_cfg[key], device=device).view(3, 1, 1) * 255.0 for key in ("mean", "std")
        )
        self.width = int(model.num_features)
        digest = hashlib.blake2b(digest_size=8)
        for values in model.state_dict().values():
            digest.update(values.detach().cpu().contiguous().numpy().tobytes())
        self.version = f"sam-{digest.hexdigest()}-{stride}"

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """(N, H / stride, W / stride, C) of images (N, 3, H, W) uint8, rounded up: what is beyond them is grey."""
        values = (images.float() - self._mean) / self._deviation
        if self._scale != 1.0:
            values = F.interpolate(values, scale_factor=self._scale, mode="bilinear", align_corners=False)
        height, width = values.shape[-2:]
        values = F.pad(values, (0, -width % self._patch, 0, -height % self._patch))
        return self._model.forward_features(values).permute(0, 2, 3, 1).contiguous().float()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
