"""What teachers that look at images say of training frames: one that sees depth, SAM's encoder, a CLIP."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.kept_arrays import KeptArrays
from semlt3d_ros.datasets.shards import FrameRegions
from semlt3d_ros.distillation.settings import Distillation
from semlt3d_ros.losses.signal import ImageSignals, Looked, SamSignal
from semlt3d_ros.losses.targets import Targets, points_of
from semlt3d_ros.semantics.sam import SamEncoder
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.training.augmentation import mirrored
from semlt3d_ros.training.depth_teaching import DepthTeaching, Known
from semlt3d_ros.training.recipe import Recipe
from semlt3d_ros.training.region_teaching import RegionTeaching, SeenBoxes


@dataclass
class KnownImages:
    """What was said of a frame before by each teacher that there is."""

    depth: Known | None = None
    sam: Known | None = None
    regions: SeenBoxes | None = None


class ImageTeaching:
    """The teachers of images that a recipe names.

    What they say is kept on disk: of a mirrored frame apart, where it is another thing. They look at what was recorded,
    so that a student whose images are cut, scaled or spoilt learns what whole ones show.

    Args:
        settings: who teaches.
        recipe: who learns.
        device: where they compute.

    Attributes:
        sam_width: channels of SAM's features, 0 without.
        language_width: of the CLIP that looks at regions, 0 without.

    Raises:
        ConfigurationError: a teacher cannot be used.
    """

    def __init__(self, settings: Distillation, recipe: Recipe, device: str = "cpu") -> None:
        limit = settings.cache_gib * 2**30
        self._depth: DepthTeaching | None = None
        self._sam: SamEncoder | None = None
        if settings.monostl is not None:
            path, folder = settings.monostl.teacher, recipe.data_folder / "depth"
            self._depth = DepthTeaching(path, recipe.student, folder, limit, device)
        samdistill = settings.samdistill
        if samdistill is not None and samdistill.sam is not None:
            self._stride = samdistill.sam_stride
            self._sam = SamEncoder(samdistill.sam, self._stride, device)
            self._kept = KeptArrays(recipe.data_folder / "sam", self._sam.version, limit)
        self.sam_width = 0 if self._sam is None else self._sam.width
        self._regions = None if settings.regions is None else RegionTeaching(settings.regions, recipe, limit)
        self.language_width = 0 if self._regions is None else self._regions.width

    def known(
        self, frames: Sequence[Frame], stored: Sequence[FrameRegions], batch: Batch, mirror: Tensor
    ) -> list[KnownImages]:
        """What was said before of each frame, and what is seen in its regions.

        Args:
            frames: as they were recorded.
            stored: regions that were kept with them.
            batch: the same frames.
            mirror: (B,) bool, which of them are mirrored.
        """
        points = points_of(frames)
        result = [KnownImages() for _ in frames]
        for row, each in enumerate(result):
            if self._depth is not None:
                each.depth = self._depth.known(batch.part(slice(row, row + 1)), points[row], bool(mirror[row]))
            if self._sam is not None:
                name = hashlib.blake2b(batch.images[row].contiguous().numpy().tobytes(), digest_size=20).hexdigest()
                each.sam = Known(name, self._kept.read(name, ("features",)))
            if self._regions is not None:
                each.regions = self._regions.seen(frames[row], stored[row])
        return result

    def signals(
        self, known: Sequence[KnownImages], batch: Batch, points: Sequence[Tensor], mirror: Tensor
    ) -> ImageSignals:
        """What they say of a batch; ``known`` of it, the rest as of ``known()``."""
        signals = ImageSignals()
        if self._depth is not None:
            seen, own = _mirrored(batch, points, mirror)
            T = torch.eye(4).repeat(len(mirror), 1, 1)
            T[mirror, 1, 1] = -1.0
            signals.depth = self._depth.signal([each.depth for each in known if each.depth is not None], seen, own, T)
        if self._sam is not None:
            features = torch.stack(
                [self._sam_features(each.sam, images) for each, images in zip(known, batch.images, strict=True)]
            )
            there, T = torch.ones(len(known), dtype=torch.bool), torch.eye(4).repeat(len(known), 1, 1)
            looked = Looked(there, batch.intrinsics, batch.T_ego_camera, T)
            signals.sam = SamSignal(looked, features, self._stride)
        if self._regions is not None:
            signals.regions = self._regions.signal([each.regions for each in known if each.regions is not None])
        return signals

    def _sam_features(self, known: Known | None, images: Tensor) -> Tensor:
        assert self._sam is not None and known is not None
        said = known.said
        if said is None:
            said = {"features": self._sam.features(images.to(self._sam.device)).half().cpu().numpy()}
            self._kept.keep(known.name, said)
        return torch.from_numpy(said["features"]).float()


def _mirrored(batch: Batch, points: Sequence[Tensor], mirror: Tensor) -> tuple[Batch, list[Tensor]]:
    """The frames without their images, those of ``mirror`` (B,) mirrored."""
    batch = replace(batch, images=batch.images[:, :, :1])  # as large as they are, but less to turn around
    none = Targets(torch.zeros(len(mirror), 0, 9), torch.zeros(len(mirror), 0, dtype=torch.int64), list(points))
    batch, targets = mirrored(batch, none, mirror)
    return batch, targets.points
