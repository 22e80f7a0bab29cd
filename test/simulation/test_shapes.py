import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.simulation.shapes import Pattern, Shape, make_shape, pattern_color

# Smallest and largest length, width and height in metres that an instance may have.
PLAUSIBLE = {
    "car": ((3.9, 1.6, 1.4), (5.4, 2.3, 2.1)),
    "truck": ((4.9, 1.8, 1.7), (9.2, 3.3, 3.9)),
    "trailer": ((9.0, 2.2, 3.0), (14.5, 3.5, 4.8)),
    "bus": ((9.0, 2.4, 2.8), (13.2, 3.5, 4.1)),
    "construction_vehicle": ((4.0, 1.8, 2.4), (7.8, 3.3, 3.95)),
    "bicycle": ((1.5, 0.4, 0.95), (1.95, 0.85, 1.95)),
    "motorcycle": ((1.7, 0.6, 1.2), (2.3, 0.95, 1.95)),
    "emergency_vehicle": ((4.2, 1.7, 1.5), (9.4, 3.3, 3.8)),
    "adult": ((0.2, 0.5, 1.5), (1.3, 0.85, 2.0)),
    "child": ((0.15, 0.25, 0.85), (0.95, 0.65, 1.5)),
    "police_officer": ((0.25, 0.5, 1.55), (1.2, 0.85, 1.98)),
    "construction_worker": ((0.25, 0.5, 1.55), (1.4, 0.9, 2.05)),
    "stroller": ((0.8, 0.5, 0.9), (1.12, 0.71, 1.25)),
    "personal_mobility": ((0.9, 0.4, 0.9), (1.4, 0.85, 2.1)),
    "pushable_pullable": ((0.45, 0.45, 0.8), (1.15, 0.75, 1.5)),
    "debris": ((0.3, 0.3, 0.1), (2.8, 2.4, 0.95)),
    "traffic_cone": ((0.3, 0.3, 0.65), (0.5, 0.5, 1.25)),
    "barrier": ((0.38, 1.95, 0.78), (0.64, 3.1, 1.26)),
}

classes = st.sampled_from(CLASS_NAMES)
seeds = st.integers(0, 2**32 - 1)


def build(class_name: str, seed: int) -> Shape:
    return make_shape(class_name, np.random.default_rng(seed))


def digest(shape: Shape) -> str:
    arrays = (shape.vertices, shape.faces, shape.colors, shape.reflectivity, shape.texture, shape.size)
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def pieces(shape: Shape) -> np.ndarray:
    """Which closed piece each face belongs to: faces that share vertices."""
    label = np.arange(len(shape.vertices))
    while True:
        lowest = label[shape.faces].min(axis=1)
        before = label.copy()
        np.minimum.at(label, shape.faces.ravel(), np.repeat(lowest, 3))
        if np.array_equal(before, label):
            return label[shape.faces[:, 0]]


@settings(max_examples=250, deadline=None, derandomize=True)
@given(classes, seeds)
def test_a_shape_is_a_sound_mesh_in_a_tight_box(class_name, seed):
    shape = build(class_name, seed)
    assert (shape.vertices.dtype, shape.faces.dtype, shape.colors.dtype) == (np.float32, np.int32, np.uint8)
    assert (shape.reflectivity.dtype, shape.texture.dtype, shape.size.dtype) == (np.float32, np.uint8, np.float32)
    count = len(shape.faces)
    assert shape.faces.shape == shape.colors.shape == (count, 3)
    assert shape.reflectivity.shape == shape.texture.shape == (count,)
    assert 12 <= count <= 900
    assert np.isfinite(shape.vertices).all()
    np.testing.assert_allclose(shape.vertices.max(axis=0), shape.size / 2, atol=1e-5)
    np.testing.assert_allclose(shape.vertices.min(axis=0), -shape.size / 2, atol=1e-5)
    assert np.array_equal(np.unique(shape.faces), np.arange(len(shape.vertices)))
    assert ((shape.reflectivity >= 0) & (shape.reflectivity <= 1)).all()
    assert set(np.unique(shape.texture)) <= set(Pattern)
    a, b, c = np.moveaxis(shape.vertices[shape.faces].astype(np.float64), 1, 0)
    assert (np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-6).all()


@settings(max_examples=250, deadline=None, derandomize=True)
@given(classes, seeds)
def test_sizes_are_plausible(class_name, seed):
    low, high = PLAUSIBLE[class_name]
    size = build(class_name, seed).size
    assert (size >= low).all() and (size <= high).all(), size


@settings(max_examples=80, deadline=None, derandomize=True)
@given(classes, seeds)
def test_every_piece_is_closed_and_faces_outwards(class_name, seed):
    shape = build(class_name, seed)
    edges = shape.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    directed = {tuple(edge) for edge in edges.tolist()}
    # Each edge is used once in each direction: closed, and neighbours agree on which side is outside.
    assert len(directed) == len(edges)
    assert all((b, a) in directed for a, b in directed)
    owner = pieces(shape)
    corners = shape.vertices[shape.faces].astype(np.float64)
    for piece in np.unique(owner):
        mine = corners[owner == piece]
        assert np.linalg.det(mine - mine.mean(axis=(0, 1))).sum() > 0


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_the_seed_decides_everything(class_name):
    assert digest(build(class_name, 7)) == digest(build(class_name, 7))
    assert len({digest(build(class_name, seed)) for seed in range(30)}) == 30
    colors = {tuple(build(class_name, seed).colors.mean(axis=0).round(1)) for seed in range(12)}
    assert len(colors) > 9


@pytest.mark.parametrize(("class_name", "mean"), [
    ("car", (4.6, 1.95, 1.73)), ("truck", (6.9, 2.5, 2.8)), ("trailer", (12.0, 2.9, 3.9)), ("bus", (11.0, 2.9, 3.4)),
    ("construction_vehicle", (6.4, 2.8, 3.2)), ("bicycle", (1.7, 0.6, 1.3)), ("motorcycle", (2.1, 0.77, 1.47)),
    ("adult", (0.73, 0.67, 1.77)), ("traffic_cone", (0.41, 0.41, 1.07)), ("barrier", (0.5, 2.5, 1.0)),
])  # fmt: skip
def test_mean_sizes_are_those_of_nuscenes(class_name, mean):
    sizes = np.array([build(class_name, seed).size for seed in range(60)])
    np.testing.assert_allclose(sizes.mean(axis=0), mean, rtol=0.2)


@pytest.mark.parametrize("class_name", ["car", "truck", "bus", "emergency_vehicle"])
def test_front_and_rear_differ_by_their_lights(class_name):
    for seed in range(15):
        shape = build(class_name, seed)
        middle = shape.vertices[shape.faces].mean(axis=1)
        bright = (shape.colors == (252, 250, 232)).all(axis=1)
        red = (shape.colors == (190, 14, 18)).all(axis=1)
        assert bright.any() and (middle[bright, 0] > 0.4 * shape.size[0]).all()
        assert red.any() and (middle[red, 0] < -0.4 * shape.size[0]).all()


def test_an_unknown_class_is_refused():
    with pytest.raises(ConfigurationError, match="class 'unicycle' has no shape; use one of car,"):
        make_shape("unicycle", np.random.default_rng(0))


def features(shape: Shape) -> np.ndarray:
    """Logarithm of the size, and how the surface's area is spread over 4 x 4 x 4 colours."""
    a, b, c = np.moveaxis(shape.vertices[shape.faces], 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    middle = (a + b + c) / 3
    linear = (shape.colors / np.float32(255)) ** 2.2
    seen = pattern_color(shape.texture, middle, linear) ** (1 / 2.2)
    cell = np.clip(seen * 4, 0, 3).astype(int) @ (16, 4, 1)
    histogram = np.bincount(cell, weights=area, minlength=64) / area.sum()
    return np.concatenate([2.0 * np.log(shape.size), 2.0 * np.sqrt(histogram)])


def test_unseen_instances_are_told_apart_by_size_and_colour():
    def sample(first, count):
        return np.array([[features(build(name, first + k)) for k in range(count)] for name in CLASS_NAMES])

    known, unseen = sample(0, 60), sample(1000, 20)
    known_flat = known.reshape(-1, known.shape[-1])
    right = []
    for label, instances in enumerate(unseen):
        distance = np.linalg.norm(instances[:, None] - known_flat, axis=-1)
        right.append((distance.argmin(axis=1) // known.shape[1] == label).mean())
    assert np.mean(right) > 0.9, dict(zip(CLASS_NAMES, right, strict=True))
    assert min(right) > 0.6, dict(zip(CLASS_NAMES, right, strict=True))


GREY = np.full(3, 0.3, np.float32)


def colored(pattern: Pattern, points: np.ndarray) -> np.ndarray:
    return pattern_color(np.full(len(points), pattern, np.uint8), points, np.tile(GREY, (len(points), 1)))


def points(count: int = 4000) -> np.ndarray:
    return np.random.default_rng(5).uniform(-3, 3, (count, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("pattern", "share"),
    [
        (Pattern.BANDS, 1 / 2),
        (Pattern.DIAGONAL, 1 / 2),
        (Pattern.CHECKER, 1 / 2),
        (Pattern.RIBS, 2 / 7),
        (Pattern.LATTICE, 4 / 9),
    ],
)
def test_two_coloured_patterns_have_their_share_of_the_second_colour(pattern, share):
    colors = colored(pattern, points())
    levels, counts = np.unique(colors.round(4), axis=0, return_counts=True)
    assert len(levels) == 2
    base = np.abs(levels - GREY).max(axis=1).argmin()
    assert counts[1 - base] / counts.sum() == pytest.approx(share, abs=0.03)


def test_patterns_follow_their_documented_periods():
    heights = np.arange(-10, 10)
    bands = colored(Pattern.BANDS, np.stack([heights * 0, heights * 0, heights * 0.12 + 0.06], 1).astype(np.float32))
    assert np.array_equal(bands[:, 0] > 0.5, heights % 2 == 1)
    across = colored(Pattern.DIAGONAL, np.stack([heights * 0, heights * 0.2 + 0.1, heights * 0], 1).astype(np.float32))
    assert np.array_equal(across[:, 0] > 0.5, heights % 2 == 1)


def test_noise_varies_the_brightness_and_repeats_itself():
    where = points()
    colors = colored(Pattern.NOISE, where)
    assert np.array_equal(colors, colored(Pattern.NOISE, where))
    factor = colors / GREY
    assert (np.ptp(factor, axis=1) < 1e-5).all()
    assert factor.min() >= 0.45 - 1e-5 and factor.max() <= 1.35 + 1e-5
    assert factor.std() > 0.1


def test_patterns_apply_only_to_their_own_points():
    where, base = points(500), np.tile(GREY, (500, 1))
    ids = (np.arange(500) % 8).astype(np.uint8)
    ids[ids == 7] = 201  # a pattern of the scenery
    colors = pattern_color(ids, where, base)
    untouched = (ids == Pattern.PLAIN) | (ids == 201)
    assert np.array_equal(colors[untouched], base[untouched])
    assert (base == GREY).all()
    for pattern in Pattern:
        mine = ids == pattern
        assert np.array_equal(colors[mine], colored(pattern, where[mine]))
    assert pattern_color(ids[:0], where[:0], base[:0]).shape == (0, 3)
