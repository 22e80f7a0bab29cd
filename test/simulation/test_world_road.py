import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.simulation.ground import ground_kind, value_noise
from semlt3d_ros.simulation.road import make_road


@given(st.integers(0, 10_000), st.floats(-90, 90), st.floats(-25, 25))
def test_road_coordinates_round_trip(seed, s, d):
    road = make_road(np.random.default_rng(seed), 200.0)
    xy, _ = road.to_world(s, d)
    back_s, back_d = road.to_road(np.float64(xy[0]), np.float64(xy[1]))
    assert np.isclose(back_s, s, atol=1e-6) and np.isclose(back_d, d, atol=1e-6)


@given(st.integers(0, 10_000), st.floats(-80, 80), st.floats(-20, 20), st.floats(-12, 12), st.floats(-2, 2))
def test_velocity_is_the_derivative_of_the_position(seed, s, d, v_s, v_d):
    road = make_road(np.random.default_rng(seed), 200.0)
    step = 1e-5
    (before, _), (after, _) = (road.to_world(s + t * v_s, d + t * v_d) for t in (-step, step))
    velocity = road.velocity(np.asarray(s), np.asarray(d), np.asarray(v_s), np.asarray(v_d))
    assert np.allclose((after - before) / (2 * step), velocity, atol=1e-3)


def test_ground_changes_from_road_to_sidewalk_to_beyond():
    road = make_road(np.random.default_rng(1), 200.0)
    off_crossing = np.full(3, 80.0, np.float32)
    d = np.array([road.lane_width / 2, road.half_width + 0.6, road.building_line + 5], np.float32)
    assert ground_kind(road, off_crossing, d).tolist() == [0, 2, 3]
    assert ground_kind(road, off_crossing, -d).tolist() == [0, 2, 4]


def test_noise_is_bounded_and_not_flat():
    u, v = np.meshgrid(np.linspace(-50, 50, 200, dtype=np.float32), np.linspace(-50, 50, 200, dtype=np.float32))
    noise = value_noise(u, v, 0.3)
    assert np.abs(noise).max() <= 1 and noise.std() > 0.1 and abs(noise.mean()) < 0.1
