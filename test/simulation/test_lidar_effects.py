from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.simulation.actors import EGO_SIZE
from semlt3d_ros.simulation.ground import make_palette
from semlt3d_ros.simulation.lidar import Lidar, LidarConfig
from semlt3d_ros.simulation.lidar_effects import (
    NOWHERE,
    OWN_VEHICLE,
    Bodies,
    LidarEffects,
    blind,
    ghosted,
    intensity_of,
    moved_on,
    own_vehicle,
    rounded,
    through_panes,
)
from semlt3d_ros.simulation.road import Road
from semlt3d_ros.simulation.scene import World
from semlt3d_ros.simulation.shapes import make_shape

ROAD = Road(0.0, 1, 3.5, 0.0, 2.0, 5.0, None, 5.0, "grass", "paved", False)
PALETTE = make_palette(np.random.default_rng(0), ROAD)
CAR = make_shape("car", np.random.default_rng(1))
STILL = Bodies(np.zeros((1, 2)), CAR.size[None, :2].astype(np.float64) / 2, np.zeros((1, 2)), 0.0, 0.0)


def _scan(config, bodies=STILL, seed=0):
    """A turn over a car ten metres ahead on flat ground."""
    scene = World([CAR], []).posed(np.array([[10.0, 0.0, CAR.size[2] / 2, 0.0]]), np.zeros(2))
    return Lidar(config).scan(scene, np.eye(4), ROAD, PALETTE, np.random.default_rng(seed), bodies)


def _config(**effects):
    return LidarConfig(noise_m=0.0, dropout=0.0, effects=LidarEffects(**effects))


def test_effects_that_do_nothing_change_nothing() -> None:
    plain, solid, _ = _scan(LidarConfig())
    same, same_solid, drift = _scan(LidarConfig(effects=LidarEffects()))
    for name in ("xyz", "intensity", "time"):
        assert np.array_equal(getattr(plain, name), getattr(same, name))
    assert np.array_equal(solid, same_solid) and not drift.any()


def test_beams_and_sectors_that_are_blind_measure_nothing() -> None:
    lidar, whole = _config(), _scan(_config())[0]
    elevation = np.degrees(np.arctan2(whole.xyz[:, 2] - 1.84, np.hypot(whole.xyz[:, 0] - 0.94, whole.xyz[:, 1])))
    beam = int(np.argmin(np.abs(np.linspace(-30, 10, 32) - elevation[0])))
    less = _scan(replace(lidar, effects=LidarEffects(dead_beams=(beam,))))[0]
    own = np.degrees(np.arctan2(less.xyz[:, 2] - 1.84, np.hypot(less.xyz[:, 0] - 0.94, less.xyz[:, 1])))
    assert len(less) < len(whole) and not (np.abs(own - np.linspace(-30, 10, 32)[beam]) < 0.3).any()
    sector = _scan(replace(lidar, effects=LidarEffects(blind_deg=((170.0, 200.0),))))[0]
    azimuth = np.degrees(np.arctan2(sector.xyz[:, 1], sector.xyz[:, 0] - 0.94)) % 360
    assert not ((azimuth > 171) & (azimuth < 199)).any() and (azimuth > 201).any()


@given(st.integers(1, 40), st.floats(0, 360), st.floats(1, 90))
def test_blind_sectors_go_around_the_back(beams, start, width) -> None:
    azimuth = np.radians(np.repeat(np.arange(0, 360, 5.0), beams))
    rays = np.stack([np.cos(azimuth), np.sin(azimuth), 0 * azimuth], -1).astype(np.float32)
    lost = blind(LidarEffects(blind_deg=((start, start + width),)), rays, beams).reshape(-1, beams)
    assert (lost == lost[:, :1]).all() and abs(lost[:, 0].sum() - width / 5) <= 1


def test_the_own_vehicle_is_seen_or_casts_a_shadow_or_is_not_there() -> None:
    clouds = {own: _scan(_config(own=own)) for own in ("absent", "seen", "removed")}
    seen = clouds["seen"][0].xyz[clouds["seen"][1] == OWN_VEHICLE]
    assert len(seen) > 50 and (np.abs(seen[:, 1]) <= EGO_SIZE[1] / 2 + 0.01).all() and (seen[:, 2] > 0.3).all()
    assert not (clouds["absent"][1] == OWN_VEHICLE).any() and not (clouds["removed"][1] == OWN_VEHICLE).any()
    assert len(clouds["absent"][0]) == len(clouds["seen"][0]) == len(clouds["removed"][0]) + len(seen)


def test_the_distance_to_the_own_vehicle_is_that_to_its_roof() -> None:
    rays = np.array([[0, 0, -1], [0, 0, 1], [1, 0, 0], [0.8, 0, -0.6]], np.float32)
    distance = own_vehicle(np.array([1.0, 0.0, 1.9]), rays)
    assert distance[0] == pytest.approx(0.45) and np.isinf(distance[1:3]).all()
    assert 0.5 < distance[3] < 2.5


def test_what_is_mounted_on_the_own_vehicle_is_seen_too() -> None:
    box = ((2.9, -0.1, 1.7), (3.1, 0.1, 2.1))
    cloud, solid, _ = _scan(_config(own="seen", rack=(box,)))
    on_box = ((cloud.xyz > np.array(box[0]) - 0.01) & (cloud.xyz < np.array(box[1]) + 0.01)).all(axis=1)
    assert on_box.sum() > 10 and (solid[on_box] == OWN_VEHICLE).all()
    inside = ((0.9, -0.1, 1.8), (1.0, 0.1, 1.9))  # about the sensor itself
    rays = np.array([[1, 0, 0], [0, 0, -1]], np.float32)
    position = np.array([0.94, 0.0, 1.84])
    assert np.array_equal(own_vehicle(position, rays, (inside,)), own_vehicle(position, rays))


def test_intensity_follows_its_curve() -> None:
    light, distance = np.array([0.2, 0.2, 0.9], np.float32), np.array([25.0, 50.0, 25.0], np.float32)
    assert intensity_of(LidarEffects(), light, distance) == pytest.approx(light)
    assert intensity_of(LidarEffects(gain=2.0), light, distance) == pytest.approx([0.4, 0.4, 1.0])
    assert intensity_of(LidarEffects(gamma=2.0), light, distance) == pytest.approx([0.04, 0.04, 0.81])
    assert intensity_of(LidarEffects(falloff=1.0), light, distance) == pytest.approx([0.2, 0.1, 0.9])
    assert _scan(_config(intensity=False))[0].intensity is None


def test_dark_paint_and_deaf_detectors_lose_points() -> None:
    whole, solid, _ = _scan(_config())
    _, dark_solid, _ = _scan(_config(dull=(0.03,)))
    assert (dark_solid == 0).sum() < 0.8 * (solid == 0).sum()
    assert abs((dark_solid < 0).sum() - (solid < 0).sum()) < 0.1 * (solid < 0).sum()
    assert len(_scan(_config(floor=5.0))[0]) < 0.9 * len(whole)


def test_ranges_are_steps_and_noise_grows() -> None:
    stepped = _scan(_config(range_step_m=0.5))[0]
    ranges = np.linalg.norm(stepped.xyz.astype(np.float64) - (0.94, 0, 1.84), axis=1)
    assert np.abs(ranges / 0.5 - np.round(ranges / 0.5)).max() < 1e-4
    exact, noisy = _scan(_config())[0], _scan(_config(noise_growth=0.01))[0]
    off = np.linalg.norm(exact.xyz - noisy.xyz, axis=1)
    far = np.linalg.norm(exact.xyz, axis=1) > 20
    assert 2 * off[~far].mean() < off[far].mean() and off[far].mean() == pytest.approx(0.3, rel=0.5)


def test_rough_ground_rises_and_cars_stay() -> None:
    flat, solid, _ = _scan(_config())
    rough = _scan(_config(roughness_m=0.05))[0]
    lift = (rough.xyz - flat.xyz)[:, 2]
    assert lift[solid < 0].min() > -1e-3 and 0.02 < lift[solid < 0].mean() < 0.06
    assert np.abs(lift[solid == 0]).max() == 0


def test_ghosts_and_mixed_returns_lie_on_the_way_to_a_surface_or_between_two() -> None:
    distance, beams = np.array([10.0, 13.0, 13.0, 40.0, 10.0]), np.array([0, 0, 0, 0, 1])
    mixed, nothing = ghosted(LidarEffects(mixed=1.0), distance, beams, np.random.default_rng(0))
    assert nothing.tolist() == [True, False, False, False, False] and 10 < mixed[0] < 13
    assert np.array_equal(mixed[1:], distance[1:])
    ghosts, nothing = ghosted(LidarEffects(ghosts=1.0), distance, beams, np.random.default_rng(0))
    assert nothing.all() and (ghosts < distance).all() and (ghosts > 0).all()
    assert distance.tolist() == [10, 13, 13, 40, 10]
    assert (_scan(_config(ghosts=0.3))[1] == NOWHERE).mean() == pytest.approx(0.3, abs=0.02)


def test_panes_return_light_of_what_is_behind_or_none() -> None:
    paint = np.array([0.06] * 1000 + [0.5] * 10, np.float32)
    distance, kept = np.full(1010, 10.0), np.ones(1010, bool)
    moved, left = through_panes((0.2, 0.3), distance, paint, kept, np.random.default_rng(0))
    behind = moved > 10.0
    assert left[1000:].all() and not behind[1000:].any()
    assert behind.sum() == pytest.approx(300, abs=50) and left[:1000].sum() == pytest.approx(500, abs=60)
    assert left[behind].all() and moved.max() < 11.7 and kept.all()


def test_bodies_are_rounded_at_their_ends_only() -> None:
    bodies = Bodies(np.zeros((1, 2)), np.array([[2.0, 1.0]]), np.array([[0.1, 0.2]]), 0.0, 0.0)
    local = np.array([[2, 0, 0], [2, 1, 0.3], [0, 1, 0], [-2, -1, 0]], np.float32)
    found = rounded(bodies, np.zeros(4, np.int64), local)
    assert found == pytest.approx(np.array([[2, 0, 0], [1.8, 0.8, 0.3], [0, 1, 0], [-1.8, -0.8, 0]]))
    square, solid, _ = _scan(_config())
    curved = _scan(_config(), replace(STILL, rounding=np.array([[0.1, 0.1]])))[0]
    moved = (curved.xyz - square.xyz)[solid == 0]
    assert moved[:, 0].max() > 0.02 and (np.abs(curved.xyz - square.xyz)[solid < 0] == 0).all()


def _cloud():
    xyz = np.array([[10, 0, 0], [0, 10, 0], [5, 5, 0], [1, 0, 1]], np.float32)
    return PointCloud(xyz, None, np.array([0.0, -0.05, -0.1, -0.1], np.float32)), np.array([0, 0, -1, OWN_VEHICLE])


def test_objects_move_on_during_a_turn_and_labels_hear_of_it() -> None:
    cloud, solid = _cloud()
    bodies = replace(STILL, velocity=np.array([[10.0, 0.0]]), speed=20.0, turn=0.5)
    moved, drift = moved_on(LidarEffects(smear=True), cloud, solid, bodies, 0.1)
    assert moved.xyz - cloud.xyz == pytest.approx(np.array([[0, 0, 0], [-0.5, 0, 0], [0, 0, 0], [0, 0, 0]]), abs=1e-6)
    assert drift == pytest.approx(np.array([[-0.25, 0.0]])) and np.array_equal(moved.time, cloud.time)
    later, drift = moved_on(LidarEffects(smear=True, stamp_at=0.5), cloud, solid, bodies, 0.1)
    assert later.time == pytest.approx([0.05, 0.0, -0.05, -0.05]) and later.xyz[0, 0] == pytest.approx(10.5)


def test_uncorrected_turns_show_the_world_from_where_the_vehicle_was() -> None:
    cloud, solid = _cloud()
    ahead, _ = moved_on(LidarEffects(compensated=False), cloud, solid, replace(STILL, speed=20.0), 0.1)
    assert ahead.xyz[2] == pytest.approx([7, 5, 0]) and ahead.xyz[1] == pytest.approx([1, 10, 0])
    assert ahead.xyz[3] == pytest.approx([1, 0, 1]), "the own vehicle moves along"
    turned, _ = moved_on(LidarEffects(compensated=False), cloud, solid, replace(STILL, turn=1.0), 0.1)
    # A tenth of a second ago the nose pointed 0.1 rad to the right, so things were farther to the left.
    angle = np.arctan2(turned.xyz[2, 1], turned.xyz[2, 0])
    assert angle == pytest.approx(np.pi / 4 + 0.1, abs=1e-3)


def test_sectors_tilts_and_uneven_beams() -> None:
    sector = LidarConfig(elevations_deg=(-20.0, -5.0, -4.0), view_deg=90.0, steps=90, noise_m=0.0, dropout=0.0)
    cloud = _scan(sector)[0]
    azimuth = np.degrees(np.arctan2(cloud.xyz[:, 1], cloud.xyz[:, 0] - 0.94))
    assert np.abs(azimuth).max() <= 45.01 and np.ptp(azimuth) > 80
    turned = _scan(replace(sector, tilt_deg=(0.0, 0.0, 90.0), position=(0.5, 0.0, 2.0)))[0]
    assert (turned.xyz[:, 1] > 0).all()
    nodding = _scan(replace(sector, tilt_deg=(0.0, 10.0, 0.0)))[0]
    assert nodding.xyz[:, 0].max() < cloud.xyz[:, 0].max()
    first, second = (_scan(replace(sector, jitter_deg=0.3), seed=seed)[0] for seed in (1, 2))
    assert len(first) and not np.array_equal(first.xyz[:50], second.xyz[:50])
