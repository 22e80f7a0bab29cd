"""Objects of other clouds pasted into one, so that rare classes are seen often.

After "GT sampling" of SECOND (Yan et al., Sensors 2018) with the classes balanced as in CBGS (Zhu et al., 2019); here
objects also keep their distance, are seen from the same side, stand on ground that is free, throw a shadow and are
hidden by what is before them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Labels, PointCloud
from semlt3d_ros.datasets.cloud_map import CloudMap
from semlt3d_ros.datasets.object_bank import ObjectBank

_AZIMUTH = np.radians(0.4)
_ELEVATION = np.radians(0.8)
_COLUMNS = int(np.ceil(2 * np.pi / _AZIMUTH))
_ROWS = int(np.ceil(np.pi / _ELEVATION))
_BEFORE = 0.4
"""Metres that something must be before something else to hide it."""
_NEAREST = 4.0


@dataclass(frozen=True)
class PasteSettings(Checked):
    """What is pasted.

    Attributes:
        most: most objects pasted into a cloud; how many is drawn up to this.
        exponent: 0 draws all classes equally often, 1 as often as they were seen.
        fewest: objects of which fewer points are to be seen are not pasted.
        clearance: metres between objects.
        turn_deg: objects are turned about the sensor by up to this, to either side.
        tries: places that are tried for an object.
        sensor: the LiDAR's place in the ego frame, metres.
    """

    TITLE: ClassVar[str] = "pasting"
    CHECKS: ClassVar[Checks] = (
        *not_negative("most", "exponent", "clearance"),
        *positive("fewest", "tries"),
        rule(lambda s: 0 <= s.turn_deg <= 180, "turn_deg must lie in [0, 180], not {0.turn_deg}"),
    )

    most: int = 6
    exponent: float = 0.0
    fewest: int = 5
    clearance: float = 0.3
    turn_deg: float = 180.0
    tries: int = 8
    sensor: tuple[float, float, float] = (1.0, 0.0, 1.8)


def paste(
    cloud: PointCloud, labels: Labels, bank: ObjectBank, rng: np.random.Generator, settings: PasteSettings
) -> tuple[PointCloud, Labels]:
    """A cloud with more objects in it, and its labels.

    Args:
        cloud: N points in the ego frame, possibly of several turns.
        labels: the objects that are there.
        bank: what may be pasted, of the same classes.
        rng: source of chance; the same state gives the same cloud.
        settings: how much of it.

    Returns:
        The cloud without what is hidden, and with the points of objects that found a place; and the labels, those of
        pasted objects last. How many points the others lost is not counted. Both are new, or the ones given where
        nothing was pasted.

    Raises:
        ConfigurationError: the classes of the labels are not the bank's.
    """
    if tuple(bank.class_names) != labels.class_names:
        raise ConfigurationError(
            "objects can be pasted among labels of the same classes only; collect a bank of theirs"
        )
    wanted = _drawn(cloud, bank, rng, settings)
    if not wanted or not len(cloud):
        return cloud, labels
    ground, view = CloudMap(cloud), _View(settings.sensor)
    boxes, rows = labels.boxes, list[int]()
    clouds: list[PointCloud] = []
    since = -np.inf if cloud.time is None else float(cloud.time.min()) - 0.02
    for number in wanted:
        for _ in range(settings.tries):
            angle = float(np.radians(rng.uniform(-settings.turn_deg, settings.turn_deg)))
            box, points = _turned(bank, number, angle, settings.sensor, cloud, since)
            height = _place(box, boxes, ground, settings.clearance)
            if height is None:
                continue
            lift = height + box.sizes[0, 2] / 2 - box.centers[0, 2]
            box.centers[:, 2] += lift
            points.xyz[:, 2] += np.float32(lift)
            points = points[~view.hidden(points.xyz, [cloud, *clouds])]
            if len(points) < settings.fewest:
                continue
            cloud, clouds = view.shaded(cloud, points.xyz), [view.shaded(each, points.xyz) for each in clouds]
            boxes = _with(boxes, box)
            clouds.append(points)
            rows.append(number)
            break
    return PointCloud.joined([cloud, *clouds]), _labelled(labels, boxes, bank, rows, clouds)


def _drawn(cloud: PointCloud, bank: ObjectBank, rng: np.random.Generator, settings: PasteSettings) -> list[int]:
    """Numbers of the objects to paste: of classes as the settings say, from clouds about as dense as this one."""
    count = int(rng.integers(settings.most + 1))
    newest = len(cloud) if cloud.time is None else int((cloud.time > float(cloud.time.max()) - 0.09).sum())
    fits = (bank.density > newest / 2) & (bank.density < newest * 2)
    if cloud.intensity is not None:
        fits &= np.isfinite(bank.light)
    weights = np.where(bank.seen > 0, np.maximum(bank.seen, 1).astype(np.float64) ** settings.exponent, 0.0)
    numbers: list[int] = []
    for class_id in rng.choice(len(weights), count, p=weights / weights.sum()) if weights.any() else ():
        own = np.flatnonzero(fits & (bank.class_ids == class_id))
        if len(own):
            numbers.append(int(own[rng.integers(len(own))]))
    # Large ones would find no place after small ones.
    return sorted(numbers, key=lambda number: -float(np.prod(bank.sizes[number, :2])))


def _turned(
    bank: ObjectBank,
    number: int,
    angle: float,
    sensor: tuple[float, float, float],
    cloud: PointCloud,
    since: float,
) -> tuple[Boxes3D, PointCloud]:
    """An object's box and points, turned about the sensor, of the times that the cloud has."""
    places = bank.points(number)
    recent = bank.time[places] >= since
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    middle = np.array(sensor)
    xyz = ((bank.xyz[places][recent] - middle) @ turn.T + middle).astype(np.float32)
    intensity = None
    if cloud.intensity is not None:
        # As bright in this cloud as it was in its own.
        factor = float(cloud.intensity.mean()) / max(float(bank.light[number]), 1e-3)
        intensity = np.clip(bank.intensity[places][recent] * np.float32(factor), 0, 1)
    time = None if cloud.time is None else bank.time[places][recent]
    kind = None if cloud.classes is None else np.full(len(xyz), bank.class_ids[number], np.int16)
    box = Boxes3D(
        (bank.centers[number : number + 1] - middle) @ turn.T + middle,
        bank.sizes[number : number + 1].copy(),
        bank.yaw[number : number + 1] + angle,
        bank.velocity[number : number + 1] @ turn[:2, :2].T,
    )
    return box, PointCloud(xyz, intensity, time, kind)


def _place(box: Boxes3D, others: Boxes3D, ground: CloudMap, clearance: float) -> float | None:
    """Height of the ground under a box where it may stand, None where it may not."""
    if np.hypot(*box.centers[0, :2]) < _NEAREST + box.sizes[0, 0] / 2 or overlaps(box, others, clearance).any():
        return None
    height = float(ground.heights(box.centers[:, :2])[0])
    length, width = box.sizes[0, :2] + 2 * clearance
    along, across = np.meshgrid(np.arange(-length / 2, length / 2, 0.4), np.arange(-width / 2, width / 2, 0.4))
    c, s = np.cos(box.yaw[0]), np.sin(box.yaw[0])
    xy = np.stack([c * along - s * across, s * along + c * across], axis=-1).reshape(-1, 2) + box.centers[0, :2]
    # Of what it would stand in, only the side towards the sensor is seen, too little before it to hide it.
    towards = -box.centers[0, :2] / np.hypot(*box.centers[0, :2])
    places = np.concatenate([xy + towards * step for step in (0.0, _BEFORE, 2 * _BEFORE)])
    return height if np.isfinite(height) and ground.is_free(places, height) else None


def overlaps(box: Boxes3D, others: Boxes3D, clearance: float) -> NDArray[np.bool_]:
    """Which boxes (N,) come closer to one than ``clearance`` metres, seen from above (separating axes)."""
    offset = others.centers[:, :2] - box.centers[0, :2]
    half, other = box.sizes[0, :2] / 2, others.sizes[:, :2] / 2
    turn = others.yaw - box.yaw[0]
    c, s = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    apart = np.zeros(len(others), bool)
    for yaw, own, one, two in ((box.yaw[0], half[None], other[:, 0], other[:, 1]), (others.yaw, other, *half)):
        along = np.abs(offset[:, 0] * np.cos(yaw) + offset[:, 1] * np.sin(yaw))
        across = np.abs(offset[:, 1] * np.cos(yaw) - offset[:, 0] * np.sin(yaw))
        apart |= along > own[:, 0] + c * one + s * two + clearance
        apart |= across > own[:, 1] + s * one + c * two + clearance
    return ~apart


class _View:
    """What hides what from a sensor."""

    def __init__(self, sensor: tuple[float, float, float]) -> None:
        self._sensor = np.array(sensor, np.float32)

    def hidden(self, xyz: NDArray[np.float32], clouds: list[PointCloud]) -> NDArray[np.bool_]:
        """Which points (N, 3) have points of the clouds well before them."""
        azimuth, elevation, distance = self._polar(xyz)
        nearest = np.full(_COLUMNS * _ROWS, np.inf, np.float32)
        columns = np.unique(azimuth)
        for cloud in clouds:
            other_azimuth, other_elevation, other_distance = self._polar(cloud.xyz)
            about = np.isin(other_azimuth, columns)
            cells = other_azimuth[about] * _ROWS + other_elevation[about]
            np.minimum.at(nearest, cells, other_distance[about])
        return nearest[azimuth * _ROWS + elevation] < distance - _BEFORE

    def shaded(self, cloud: PointCloud, xyz: NDArray[np.float32]) -> PointCloud:
        """The cloud without the points behind an object of which points (N, 3) are known."""
        azimuth, elevation, distance = self._polar(xyz)
        low = np.full(_COLUMNS, _ROWS, np.int64)
        high, near = np.full(_COLUMNS, -1, np.int64), np.full(_COLUMNS, np.inf, np.float32)
        np.minimum.at(low, azimuth, elevation)
        np.maximum.at(high, azimuth, elevation)
        np.minimum.at(near, azimuth, distance)
        # Columns beside are covered too: points are a beam's width apart.
        low = np.minimum(low, np.minimum(np.roll(low, 1), np.roll(low, -1)))
        high = np.maximum(high, np.maximum(np.roll(high, 1), np.roll(high, -1)))
        near = np.minimum(near, np.minimum(np.roll(near, 1), np.roll(near, -1)))
        other_azimuth, other_elevation, other_distance = self._polar(cloud.xyz)
        covered = (other_elevation >= low[other_azimuth]) & (other_elevation <= high[other_azimuth])
        return cloud[~(covered & (other_distance > near[other_azimuth] + _BEFORE))]

    def _polar(self, xyz: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Column, row and distance (N,) of points (N, 3)."""
        offset = xyz - self._sensor
        flat = np.hypot(offset[:, 0], offset[:, 1])
        azimuth = np.floor((np.arctan2(offset[:, 1], offset[:, 0]) + np.pi) / _AZIMUTH).astype(np.int64) % _COLUMNS
        elevation = np.floor((np.arctan2(offset[:, 2], flat) + np.pi / 2) / _ELEVATION).astype(np.int64)
        return azimuth, np.clip(elevation, 0, _ROWS - 1), np.hypot(flat, offset[:, 2])


def _with(boxes: Boxes3D, box: Boxes3D) -> Boxes3D:
    names = ("centers", "sizes", "yaw", "velocity")
    return Boxes3D(*(np.concatenate([getattr(boxes, name), getattr(box, name)]) for name in names))


def _labelled(labels: Labels, boxes: Boxes3D, bank: ObjectBank, rows: list[int], clouds: list[PointCloud]) -> Labels:
    """The labels with those of pasted objects."""
    count = len(rows)
    points = np.array([len(each) for each in clouds], np.int64)
    return replace(
        labels,
        boxes=boxes,
        class_ids=np.concatenate([labels.class_ids, bank.class_ids[rows].astype(np.int64)]),
        track_ids=(*labels.track_ids, *(f"pasted-{number}" for number in range(count))),
        lidar_points=np.concatenate([labels.lidar_points, points]),
        visible_pixels=np.concatenate([labels.visible_pixels, np.full(count, -1, np.int64)]),
        attributes=(*labels.attributes, *[""] * count) if labels.attributes else (),
        own_names=(*labels.own_names, *(str(bank.class_names[bank.class_ids[row]]) for row in rows))
        if labels.own_names
        else (),
    )
