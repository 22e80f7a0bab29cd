"""What makes the clouds of real LiDARs differ: losses, noise, light, motion and the vehicle that carries them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.simulation.actors import EGO_CENTER_X, EGO_SIZE
from semlt3d_ros.simulation.shapes_paint import GLASS

OWN_VEHICLE = -2
NOWHERE = -3
"""Numbers of the own vehicle, and of dust and stray light, where points say which solid they lie on."""


_Corner = tuple[float, float, float]


@dataclass(frozen=True)
class LidarEffects:
    """How a LiDAR and its driver differ from the ideal one.

    Attributes:
        noise_growth: share of the range that is added to the standard deviation of the measured range.
        range_step_m: measured ranges are multiples of this; 0 for any.
        roughness_m: how far blades and pebbles make the ground's returns come from above it.
        dead_beams: (B,) numbers of the beams that measure nothing.
        blind_deg: azimuths in the ego frame, from and to, in which nothing is measured.
        floor: returned power below which returns are lost, as a multiple of the nominal one.
        dull: (S,) factor of the reflectivity of every S-th solid, dark paint.
        gain, gamma, falloff: intensity is ``(gain * reflected / (range / 25 m)^falloff)^gamma``.
        intensity: False where the sensor or driver gives none.
        smear: whether objects move on during the turn.
        compensated: whether the driver corrects points for the ego motion during the turn.
        stamp_at: share of the turn that is over at the frame's stamp.
        own: returns of the own vehicle are there, were taken out by the driver, or there are none, nor shadows.
        rack: what is mounted on the own vehicle: boxes, each its lowest and its highest corner in the ego frame.
        ghosts: share of returns from rain, dust and stray light, somewhere between sensor and surface.
        mixed: share of the returns beside an edge that lie between the two surfaces.
        panes: of the rays that hit a vehicle's panes, the share that returns from them, and the share that returns from
            what is behind; the rest does not return. None for panes that are as solid as all else.
    """

    noise_growth: float = 0.0
    range_step_m: float = 0.0
    roughness_m: float = 0.0
    dead_beams: tuple[int, ...] = ()
    blind_deg: tuple[tuple[float, float], ...] = ()
    floor: float = 1.0
    dull: tuple[float, ...] = (1.0,)
    gain: float = 1.0
    gamma: float = 1.0
    falloff: float = 0.0
    intensity: bool = True
    smear: bool = False
    compensated: bool = True
    stamp_at: float = 1.0
    own: Literal["absent", "seen", "removed"] = "absent"
    rack: tuple[tuple[_Corner, _Corner], ...] = ()
    ghosts: float = 0.0
    mixed: float = 0.0
    panes: tuple[float, float] | None = None


@dataclass(frozen=True)
class Bodies:
    """What a turn has to know of A actors and of the own vehicle.

    Attributes:
        velocity: (A, 2) m/s over ground in the ego frame's axes.
        half: (A, 2) half length and half width, metres.
        rounding: (A, 2) shares by which ends are drawn back at the sides, and sides are drawn in at the ends.
        speed, turn: of the own vehicle, m/s ahead and rad/s.
    """

    velocity: NDArray[np.float64]
    half: NDArray[np.float64]
    rounding: NDArray[np.float64]
    speed: float
    turn: float


def own_vehicle(
    origin: NDArray[np.float64], rays: NDArray[np.float32], rack: tuple[tuple[_Corner, _Corner], ...] = ()
) -> NDArray[np.float32]:
    """Distance (N,) to the own vehicle's body, cabin and ``rack`` along unit rays (N, 3) of the ego frame.

    Infinite where a ray goes past them; what the origin is in is not there.
    """
    half, top = EGO_SIZE[1] / 2, min(1.45, float(origin[2]) - 0.25)
    front, back = EGO_CENTER_X + EGO_SIZE[0] / 2, EGO_CENTER_X - EGO_SIZE[0] / 2
    boxes = (
        ((back, -half, 0.35), (front, half, min(0.95, top))),
        ((back + 0.4, -0.6, 0.5), (front - 1.6, 0.6, top)),
        *rack,
    )
    found = np.full(len(rays), np.inf, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        for low, high in boxes:
            # No ray that is less steep than the one to its farthest upper corner hits a box.
            corners = np.array([(x, y, high[2]) for x in (low[0], high[0]) for y in (low[1], high[1])]) - origin
            down = np.flatnonzero(rays[:, 2] <= (corners[:, 2] / np.linalg.norm(corners, axis=1)).max() + 1e-6)
            inverse = 1.0 / rays[down]
            near, far = (np.array(low) - origin) * inverse, (np.array(high) - origin) * inverse
            enter = np.fmin(near, far).max(axis=1)
            leave = np.fmax(near, far).min(axis=1)
            hit = (enter <= leave) & (enter > 0)
            found[down[hit]] = np.minimum(found[down[hit]], enter[hit])
    return found


def blind(effects: LidarEffects, rays: NDArray[np.float32], beams: int) -> NDArray[np.bool_]:
    """Which rays (N,) in the ego frame measure nothing; the beams of a firing follow each other."""
    lost = np.zeros(len(rays), bool)
    if effects.dead_beams:
        lost.reshape(-1, beams)[:, list(effects.dead_beams)] = True
    azimuth = np.degrees(np.arctan2(rays[:, 1], rays[:, 0])) if effects.blind_deg else np.zeros(0)
    for start, stop in effects.blind_deg:
        lost |= (azimuth - start) % 360.0 < stop - start
    return lost


def intensity_of(
    effects: LidarEffects, reflected: NDArray[np.float32], distance: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Measured intensity (N,) in [0, 1] of reflected light (N,) over a range (N,) metres."""
    light = effects.gain * reflected * (25.0 / np.maximum(distance, 2.0)) ** effects.falloff
    return np.asarray(np.clip(light, 0.0, 1.0) ** effects.gamma, np.float32)


def ghosted(
    effects: LidarEffects, distance: NDArray[np.float64], beams: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Ranges (N,) of which some are those of ghosts or lie between two surfaces, and which (N,) are of nothing.

    ``beams`` (N,) tells the beam of each return; those of a beam follow each other in order of the azimuth.
    """
    distance, nothing = distance.copy(), np.zeros(len(distance), bool)
    if effects.mixed:
        order = np.argsort(beams, kind="stable")
        step = np.diff(distance[order], append=distance[order[-1:]])
        edge = np.flatnonzero((step > 0.4) & (step < 6.0))
        moved = rng.random(len(edge)) < effects.mixed
        distance[order[edge[moved]]] += rng.random(moved.sum()) * step[edge[moved]]
        nothing[order[edge[moved]]] = True
    if effects.ghosts:
        chosen = np.flatnonzero(rng.random(len(distance)) < effects.ghosts)
        distance[chosen] *= rng.random(len(chosen)) ** 0.5
        nothing[chosen] = True
    return distance, nothing


def through_panes(
    panes: tuple[float, float],
    distance: NDArray[np.float64],
    reflectivity: NDArray[np.float32],
    kept: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Ranges (N,) and which returns arrive (N,), where panes let light in on seats and on those who sit there."""
    glass = np.flatnonzero(np.abs(reflectivity - np.float32(GLASS.reflectivity)) < 1e-6)
    chance = rng.random(len(glass))
    inside = glass[(chance >= panes[0]) & (chance < sum(panes))]
    distance, kept = distance.copy(), kept.copy()
    distance[inside] += rng.uniform(0.2, 1.6, len(inside))
    kept[glass] &= chance < sum(panes)
    return distance, kept


def rounded(bodies: Bodies, solid: NDArray[np.int32], local: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where points (N, 3) in the frames of the actors (N,) they lie on would be, if bodies had no sharp corners."""
    x, y = (local[:, :2] / bodies.half[solid]).T
    shares = bodies.rounding[solid]
    result = local.astype(np.float64)
    result[:, 0] *= 1.0 - shares[:, 0] * np.minimum(np.abs(y), 1.0) ** 4
    result[:, 1] *= 1.0 - shares[:, 1] * np.minimum(np.abs(x), 1.0) ** 6
    return result


def moved_on(
    effects: LidarEffects, cloud: PointCloud, solid: NDArray[np.int32], bodies: Bodies, period_s: float
) -> tuple[PointCloud, NDArray[np.float64]]:
    """The cloud as a turn of the LiDAR takes it, during which objects move, and possibly the vehicle unheeded.

    Args:
        effects: what happens.
        cloud: N points as they are at the frame's stamp, with times to it of a turn that ends there.
        solid: (N,) what each lies on.
        bodies: what moves.
        period_s: time of one turn.

    Returns:
        The cloud, and how far the points of each actor (A, 2) moved on average: who labels such a cloud puts boxes
        where the points are.
    """
    assert cloud.time is not None
    time = cloud.time + np.float32((1.0 - effects.stamp_at) * period_s)
    xyz = cloud.xyz.astype(np.float64)
    if effects.smear:
        actor = np.flatnonzero((solid >= 0) & (solid < len(bodies.velocity)))
        xyz[actor, :2] += bodies.velocity[solid[actor]] * time[actor, None]
    if not effects.compensated:
        # At its time the vehicle was elsewhere, and took what it measured there for here.
        angle = -bodies.turn * time
        c, s = np.cos(angle), np.sin(angle)
        x, y = xyz[:, 0] - bodies.speed * time, xyz[:, 1].copy()
        own = solid == OWN_VEHICLE
        xyz[:, 0] = np.where(own, xyz[:, 0], c * x - s * y)
        xyz[:, 1] = np.where(own, y, s * x + c * y)
    drift = np.zeros_like(bodies.velocity)
    actor = np.flatnonzero((solid >= 0) & (solid < len(drift)))
    count = np.maximum(np.bincount(solid[actor], minlength=len(drift)), 1)
    for axis in range(2):
        step = xyz[actor, axis] - cloud.xyz[actor, axis]
        drift[:, axis] = np.bincount(solid[actor], step, minlength=len(drift)) / count
    return PointCloud(xyz.astype(np.float32), cloud.intensity, time.astype(np.float32), cloud.classes), drift
