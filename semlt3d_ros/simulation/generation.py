"""What to simulate for training: many short drives, one for each seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.simulation.city import CityName
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.lidar_models import LidarKind, lidar_of


def _can_be_simulated(recipe: GenerationRecipe) -> Iterator[str]:
    try:
        recipe.drive(recipe.first_seed)
    except ConfigurationError as error:
        yield str(error)


@dataclass(frozen=True)
class GenerationRecipe(Checked):
    """What to render.

    Attributes:
        first_seed, drives: one drive for each seed from ``first_seed`` on.
        frames, interval_s: frames per drive and seconds between them; of two, the shortest and longest time.
        drives_per_shard: drives written into one shard.
        regions: whether to store the image regions of the objects too, for semantic distillation.
        lidar: ``nominal`` scans even streets with nuScenes' LiDAR, ``varied`` ``rough`` ones (see ``DriveConfig``) with
            another LiDAR in every drive.
        cameras: whether there are images; without, there are only points to learn from, and far sooner.
        point_limit: points kept of a frame, with intensity, time and class; None keeps positions alone, of a few, as
            the student needs them.
        image_size, top_crop, objects, class_exponent, rig_jitter, city: see ``DriveConfig``.
    """

    TITLE: ClassVar[str] = "generation recipe"
    CHECKS: ClassVar[Checks] = (
        *positive("drives", "frames", "drives_per_shard"),
        *not_negative("first_seed", "class_exponent", "rig_jitter"),
        rule(lambda r: 0 <= r.objects[0] <= r.objects[1], "objects must be the least and the most, not {0.objects}"),
        rule(lambda r: r.point_limit is None or r.point_limit > 0, "point_limit must be positive, not {0.point_limit}"),
        rule(lambda r: r.cameras or not r.regions, "regions of images need cameras: true"),
        _can_be_simulated,
    )

    first_seed: int = 10_000
    drives: int = 3000
    frames: int = 2
    interval_s: float | tuple[float, float] = 1.0
    drives_per_shard: int = 100
    image_size: tuple[int, int] = (224, 128)
    top_crop: float = 0.25
    objects: tuple[int, int] = (16, 36)
    class_exponent: float = 0.35
    rig_jitter: float = 0.5
    regions: bool = False
    lidar: LidarKind = "nominal"
    cameras: bool = True
    point_limit: int | None = None
    city: CityName = "home"

    @property
    def cropped_size(self) -> tuple[int, int]:
        """Width and height of the images in pixels."""
        width, height = self.image_size
        return width, height - round(height * self.top_crop)

    def blocks(self) -> list[tuple[int, int]]:
        """First seed and the one after the last of every shard."""
        stop = self.first_seed + self.drives
        starts = range(self.first_seed, stop, self.drives_per_shard)
        return [(seed, min(seed + self.drives_per_shard, stop)) for seed in starts]

    def clips(self) -> list[list[range]]:
        """Numbers of the frames of each drive, by shard."""
        found, start = [], 0
        for first, last in self.blocks():
            found.append([range(start + k * self.frames, start + (k + 1) * self.frames) for k in range(last - first)])
            start += (last - first) * self.frames
        return found

    def drive(self, seed: int) -> DriveConfig:
        """The configuration of one drive."""
        return DriveConfig(
            seed,
            frames=self.frames,
            interval_s=self.interval_s,
            image_size=self.image_size,
            top_crop=self.top_crop,
            objects=self.objects,
            class_exponent=self.class_exponent,
            rig_jitter=self.rig_jitter,
            lidar=lidar_of(self.lidar, seed),
            rough=self.lidar == "varied",
            cameras=self.cameras,
            city=self.city,
        )
