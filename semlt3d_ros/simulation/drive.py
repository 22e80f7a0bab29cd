"""A drive through the simulated world: frame by frame, with ground truth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import CameraView, Frame, Labels
from semlt3d_ros.core.point_classes import BACKGROUND
from semlt3d_ros.core.regions import best_regions
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.simulation.actors import EGO_CENTER_X, EGO_SIZE, Actor, Track, make_actors, pose_at
from semlt3d_ros.simulation.city import CityName, in_city
from semlt3d_ros.simulation.clutter import make_clutter, with_leaves
from semlt3d_ros.simulation.crowding import crowd
from semlt3d_ros.simulation.ground import make_palette
from semlt3d_ros.simulation.lidar import Lidar, LidarConfig
from semlt3d_ros.simulation.lidar_effects import Bodies
from semlt3d_ros.simulation.light import make_daylight
from semlt3d_ros.simulation.renderer import Renderer, Surroundings
from semlt3d_ros.simulation.rig import make_rig
from semlt3d_ros.simulation.road import make_road
from semlt3d_ros.simulation.scene import Scene, World
from semlt3d_ros.simulation.scenery import StaticPart, make_scenery
from semlt3d_ros.simulation.terrain import Terrain, make_terrain

EPOCH_NS = 1_700_000_000_000_000_000
"""Stamp of the first frame of every drive."""
_MARGIN = 90.0
_ROUNDED = ("car", "truck", "bus", "emergency_vehicle")
_WHEELS = (2.8, 1.6, 0.0)
"""Metres between the ego vehicle's wheels along and across, and from ``base_link`` to the rear ones."""


@dataclass(frozen=True)
class DriveConfig:
    """What to simulate.

    Attributes:
        seed: decides everything that is left to chance.
        frames: number of frames.
        interval_s: seconds between frames; or the least and the most, for gaps drawn anew after every frame.
        image_size: width and height of the images in pixels, before cropping.
        top_crop: share of the rows left out at the top of every image.
        objects: least and most objects around the ego vehicle; longer drives hold more in all.
        class_exponent: 1 draws classes with nuScenes' frequencies, 0 all equally often.
        rig_jitter: deviation of the camera mounting from the nominal one, see ``make_rig``.
        region_size: pixels of the square image regions that ``Drive.regions`` renders of each object.
        label_range_m: objects farther from the ego vehicle are left out of the labels.
        lidar: the LiDAR, or None for none.
        rough: whether the world is one for LiDARs: with uneven ground, leaves that light passes, clutter that is no
            object, and objects close to each other.
        cameras: whether there are images; without, frames take a fraction of the time.
        city: what it looks like there.
    """

    seed: int
    frames: int = 40
    interval_s: float | tuple[float, float] = 0.1
    image_size: tuple[int, int] = (448, 256)
    top_crop: float = 0.0
    objects: tuple[int, int] = (12, 30)
    class_exponent: float = 1.0
    rig_jitter: float = 0.0
    label_range_m: float = 60.0
    region_size: int = 48
    lidar: LidarConfig | None = field(default_factory=LidarConfig)
    rough: bool = False
    cameras: bool = True
    city: CityName = "home"

    def __post_init__(self) -> None:
        shortest, longest = self.interval_range_s
        if self.frames < 1 or not 0 < shortest <= longest or min(self.image_size) < 8 or not 0 <= self.top_crop < 0.9:
            raise ConfigurationError(
                f"a drive of {self.frames} frames every {self.interval_s} s with images of {self.image_size} pixels "
                f"cropped by {self.top_crop} cannot be simulated; use positive sizes and intervals, the shorter first, "
                "and a crop below 0.9"
            )

    @property
    def interval_range_s(self) -> tuple[float, float]:
        """Shortest and longest time between frames."""
        return self.interval_s if isinstance(self.interval_s, tuple) else (self.interval_s, self.interval_s)

    def times_s(self) -> NDArray[np.float64]:
        """(frames,) seconds of every frame after the first."""
        if not isinstance(self.interval_s, tuple):
            return np.arange(self.frames, dtype=np.float64) * self.interval_s
        gaps = np.random.default_rng([self.seed, 2]).uniform(*self.interval_s, self.frames - 1)
        return np.concatenate([[0.0], np.cumsum(gaps)])


class Drive:
    """One simulated drive; the same configuration gives the same frames, byte for byte."""

    def __init__(self, config: DriveConfig) -> None:
        self.config = config
        rng = np.random.default_rng([config.seed, 0])
        self._speed = float(rng.uniform(0.0, 12.0)) if rng.random() < 0.85 else 0.0
        self.times_s = config.times_s()
        length = self._speed * float(self.times_s[-1])
        if not isinstance(config.interval_s, tuple):  # the same to the last bit as it always was
            length = self._speed * config.interval_s * (config.frames - 1)
        self._road = make_road(rng, length + 2 * _MARGIN)
        self._start = -length / 2
        lane = int(rng.integers(self._road.lanes))
        self._lane_d = -(lane + 0.5) * self._road.lane_width + float(rng.normal(0, 0.15))
        self._sway = (float(rng.uniform(0, 0.35)), float(rng.uniform(25, 60)), float(rng.uniform(0, 2 * np.pi)))
        ends = (self._start - _MARGIN, -self._start + _MARGIN)
        scenery, wishes = make_scenery(rng, self._road, *ends), []
        self._terrain: Terrain | None = None
        if config.rough:
            chance = np.random.default_rng([config.seed, 3])
            self._terrain = make_terrain(chance, self._road)
            scenery = with_leaves(chance, scenery) + make_clutter(chance, self._road, *ends)
            scenery = [replace(part, z=self._on_ground(part)) for part in scenery]
            wishes = crowd(chance, self._road, (self._start, -self._start))
        palette, light = make_palette(rng, self._road), make_daylight(rng)
        palette, light = in_city(config.city, palette, light, np.random.default_rng([config.seed, 6]))
        self.surroundings = Surroundings(self._road, palette, light)
        self.cameras = make_rig(config.image_size, config.top_crop, config.rig_jitter, rng)
        times = self.times_s
        count = round(float(rng.uniform(*config.objects)) * (1.0 + length / 110.0))
        reserved = [
            Track(np.tile((part.x, part.y), (len(times), 1)), np.zeros(len(times)), (part.radius, part.radius))
            for part in scenery
            if part.radius > 0
        ]
        span = (self._start, -self._start)
        self.actors: list[Actor] = make_actors(
            rng, self._road, count, config.class_exponent, times, self._ego_track(times), reserved, span, wishes
        )
        rounding = np.random.default_rng([config.seed, 5]).uniform(0.02, 0.12, (len(self.actors), 2))
        self._rounding = rounding * [[CLASS_NAMES[actor.class_id] in _ROUNDED] for actor in self.actors]
        ground = None if self._terrain is None else self._terrain.mesh(*ends)
        self._world = World([actor.shape for actor in self.actors], scenery, ground)
        kinds = [*(part.kind for part in scenery), "other", "other", "ground"]
        background = [len(CLASS_NAMES) + BACKGROUND.index(kind) for kind in kinds]
        self._point_classes = np.array([*(actor.class_id for actor in self.actors), *background], np.int16)
        """What points lie on, by solid; the last three are ``NOWHERE``, ``OWN_VEHICLE`` and the ground."""
        self._renderer = Renderer(self.cameras, self.surroundings) if config.cameras else None
        self._lidar = Lidar(config.lidar) if config.lidar is not None else None

    def __len__(self) -> int:
        return self.config.frames

    @property
    def T_ego_lidar(self) -> rigid.Matrix:
        """The LiDAR's frame in the ego frame."""
        return (self.config.lidar or LidarConfig()).T_ego_lidar

    def stamp(self, index: int) -> int:
        """Stamp of a frame in integer nanoseconds."""
        return EPOCH_NS + round(float(self.times_s[index]) * 1e9)

    def ego_pose(self, time_s: float) -> tuple[rigid.Matrix, float]:
        """``T_world_ego`` and the speed in m/s ``time_s`` seconds after the first frame."""
        s = self._start + self._speed * time_s
        amplitude, wavelength, phase = self._sway
        angle = 2 * np.pi * s / wavelength + phase
        d = self._lane_d + amplitude * np.sin(angle)
        slope = amplitude * 2 * np.pi / wavelength * np.cos(angle)
        xy, heading = self._road.to_world(s, d)
        across = 1.0 - self._road.curvature * d
        yaw = float(heading + np.arctan2(slope, across))
        pose, speed = rigid.planar(float(xy[0]), float(xy[1]), yaw), float(self._speed * np.hypot(across, slope))
        return pose if self._terrain is None else self._terrain.stood_on(pose, *_WHEELS), speed

    def frame(self, index: int) -> Frame:
        """Frame ``index`` with images, points, ego pose and labels.

        Labels list every actor in range, seen or not: ``visible_pixels`` counts pixels of these images, and
        ``lidar_points`` returns of this turn, that are certainly the object's.

        Raises:
            IndexError: the drive has no such frame.
        """
        if not 0 <= index < self.config.frames:
            raise IndexError(f"frame {index} of a drive of {self.config.frames}")
        boxes, T_world_ego, scene, footprints = self._set_up(index)
        stamp, seen = self.stamp(index), None
        views: tuple[CameraView, ...] = ()
        if self._renderer is not None:
            images, seen = self._renderer.render(scene, T_world_ego, footprints)
            views = tuple(
                CameraView(camera.name, stamp, image, camera.camera, camera.T_ego_camera)
                for camera, image in zip(self.cameras, images, strict=True)
            )
        points, touched, drift = None, np.zeros(0, np.int32), np.zeros(2)
        if self._lidar is not None:
            rng = np.random.default_rng([self.config.seed, 1, index])
            palette = self.surroundings.palette
            bodies = self._bodies(boxes, float(self.times_s[index])) if self.config.rough else None
            points, touched, drift = self._lidar.scan(scene, T_world_ego, self._road, palette, rng, bodies)
            points.classes = self._point_classes[touched]
        boxes = boxes.moved(rigid.inverse(T_world_ego))
        boxes.centers[:, :2] += drift
        labels = self._labels(boxes, seen, touched)
        return Frame(stamp, views, (), T_world_ego, points, labels)

    def regions(
        self, index: int, labels: Labels, min_visible_pixels: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Image regions of a frame's objects, as a camera of full resolution would show them.

        Args:
            index: number of the frame.
            labels: the frame's.
            min_visible_pixels: objects of which the frame's images show fewer pixels have no region.

        Raises:
            ConfigurationError: the drive has no cameras.

        Returns:
            Regions (R, S, S, 3) and the number (R,) of the label each belongs to.
        """
        if self._renderer is None:
            raise ConfigurationError("a drive without cameras has no image regions; leave out either of the two")
        chosen = np.flatnonzero(labels.visible_pixels >= min_visible_pixels)
        cameras = [(camera.camera, camera.T_ego_camera) for camera in self.cameras]
        found = [
            (label, region) for label, region in zip(chosen, best_regions(labels.boxes[chosen], cameras), strict=True)
        ]
        kept = [(label, region) for label, region in found if region is not None]
        _, T_world_ego, scene, footprints = self._set_up(index)
        images = self._renderer.render_regions(
            scene, T_world_ego, footprints, [region for _, region in kept], self.config.region_size
        )
        return images, np.array([label for label, _ in kept], np.int64)

    def _set_up(self, index: int) -> tuple[Boxes3D, rigid.Matrix, Scene, NDArray[np.float32]]:
        """The actors' boxes in the world, the ego pose, the posed scene and the actors' outlines on the ground."""
        T_world_ego, _ = self.ego_pose(float(self.times_s[index]))
        boxes = self._boxes(float(self.times_s[index]))
        poses = np.concatenate([boxes.centers, boxes.yaw[:, None]], axis=1)
        scene = self._world.posed(poses, T_world_ego[:2, 3])
        return boxes, T_world_ego, scene, boxes.corners()[:, :4, :2].astype(np.float32)

    def _bodies(self, boxes: Boxes3D, time_s: float) -> Bodies:
        step = 0.01
        now, later = self.ego_pose(time_s)[0], self.ego_pose(time_s + step)[0]
        moved = rigid.inverse(now) @ later
        velocity = np.concatenate([boxes.velocity, np.zeros((len(boxes), 1))], axis=1) @ now[:3, :3]
        ahead, turn = float(moved[0, 3]) / step, rigid.yaw_from_rotation(moved) / step
        return Bodies(velocity[:, :2], boxes.sizes[:, :2] / 2, self._rounding, ahead, turn)

    def _on_ground(self, part: StaticPart) -> float:
        """Height for a part that stands where the ground is: long ones stand as deep as their lowest corner asks."""
        assert self._terrain is not None
        c, s = np.cos(part.yaw), np.sin(part.yaw)
        floor = part.vertices[part.vertices[:, 2] <= part.vertices[:, 2].min() + 0.3].astype(np.float64)
        x, y = part.x + c * floor[:, 0] - s * floor[:, 1], part.y + s * floor[:, 0] + c * floor[:, 1]
        return float(self._terrain.height(x, y).min())

    def _ego_track(self, times: NDArray[np.float64]) -> Track:
        poses = [self.ego_pose(float(t))[0] for t in times]
        middle = np.array([rigid.apply(pose, (EGO_CENTER_X, 0.0, 0.0))[:2] for pose in poses])
        yaw = np.array([rigid.yaw_from_rotation(pose) for pose in poses])
        return Track(middle, yaw, (EGO_SIZE[0] / 2 + 0.3, EGO_SIZE[1] / 2 + 0.8))

    def _boxes(self, time_s: float) -> Boxes3D:
        """All actors' boxes in the world frame."""
        if not self.actors:
            return Boxes3D.empty()
        states = [pose_at(self._road, actor.placement, time_s) for actor in self.actors]
        sizes = np.array([actor.shape.size for actor in self.actors], np.float64)
        xy = np.array([xy for xy, _, _ in states])
        yaw = rigid.wrap_angle(np.array([float(yaw) for _, yaw, _ in states]))
        centers = np.column_stack([xy, sizes[:, 2] / 2])
        if self._terrain is not None:
            corners = Boxes3D(centers, sizes, yaw, np.zeros((len(xy), 2))).corners()[:, :4]
            centers[:, 2] += self._terrain.height(corners[..., 0], corners[..., 1]).mean(axis=1)
        return Boxes3D(centers, sizes, yaw, np.array([velocity for _, _, velocity in states]))

    def _labels(self, boxes: Boxes3D, seen: NDArray[np.int32] | None, touched: NDArray[np.int32]) -> Labels:
        count = len(self.actors)
        pixels = np.full(count, -1)
        if seen is not None:
            pixels = np.bincount(seen[(seen >= 0) & (seen < count)], minlength=count)
        returns = np.bincount(touched[(touched >= 0) & (touched < count)], minlength=count)
        labels = Labels(
            boxes,
            np.array([actor.class_id for actor in self.actors], np.int64),
            tuple(f"{self.config.seed}-{number}" for number in range(count)),
            returns.astype(np.int64) if self._lidar is not None else np.full(count, -1, np.int64),
            pixels.astype(np.int64),
        )
        return labels[np.hypot(boxes.centers[:, 0], boxes.centers[:, 1]) <= self.config.label_range_m]
