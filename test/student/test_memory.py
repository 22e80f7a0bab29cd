"""The temporal memory: alignment with the present frame, resets, what is kept and what is not."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.memory import RESETS, Memory, Recall, TemporalAlignment, remember

CONFIG = StudentConfig(width=16, heads=4, memory_frames=3, memory_queries=4, anchors=8, proposals=0, range_m=40.0)
SECOND = 1_000_000_000
N = CONFIG.memory_frames * CONFIG.memory_queries


def moment(stamps, poses) -> Batch:
    """What the memory needs of a batch: stamps in nanoseconds and ego poses (4, 4)."""
    B = len(stamps)
    return Batch(
        torch.zeros(B, 1, 3, 1, 1, dtype=torch.uint8),
        torch.eye(3).expand(B, 1, 3, 3),
        torch.eye(4).expand(B, 1, 4, 4),
        torch.ones(B, 1, dtype=torch.bool),
        torch.tensor(stamps, dtype=torch.int64),
        torch.tensor(np.array(poses), dtype=torch.float64),
    )


def filled(stamp: int, pose, references=None, velocity=None, seed: int = 0) -> Memory:
    """A full memory of one stream."""
    random = torch.Generator().manual_seed(seed)
    memory = Memory.empty(1, CONFIG)
    memory.embeddings = torch.randn(1, N, CONFIG.width, generator=random)
    memory.references = torch.rand(1, N, 3, generator=random) * 40 - 20 if references is None else references
    memory.velocity = torch.randn(1, N, 2, generator=random) * 5 if velocity is None else velocity
    ground = memory.references[..., :2]
    memory.distances = ground.norm(dim=-1)
    memory.rays = ground / memory.distances[..., None]
    memory.age_s = torch.arange(CONFIG.memory_frames).repeat_interleave(CONFIG.memory_queries)[None] * 0.5
    memory.valid[:] = True
    memory.stamps[:] = stamp
    memory.T_world_ego = torch.tensor(np.array(pose), dtype=torch.float64)[None]
    memory.started[:] = True
    return memory


def stacked(memories: list[Memory]) -> Memory:
    return Memory(**{name: torch.cat([each.tensors()[name] for each in memories]) for name in memories[0].tensors()})


def alignment(seed: int = 0) -> TemporalAlignment:
    """One whose motion-aware norm does something, as after training."""
    torch.manual_seed(seed)
    module = TemporalAlignment(CONFIG)
    torch.nn.init.normal_(module.modulate[-1].weight, std=0.3)
    return module.eval()


@torch.no_grad()
def recalled(memory: Memory, batch: Batch) -> Recall:
    return alignment()(memory, batch)


def pose(x: float, y: float, yaw: float, origin: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    tilt = np.eye(4)
    tilt[:3, :3] = [[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]]
    return rigid.planar(origin + x, -origin + y, yaw) @ tilt


angle, shift = st.floats(-3.1, 3.1), st.floats(-30, 30)


@settings(max_examples=40, deadline=None)
@given(
    shift, shift, angle, shift, shift, angle, st.floats(0.05, 1.9), st.sampled_from([0.0, 1e6]), st.floats(-0.1, 0.1)
)
def test_entries_move_as_plain_matrix_algebra_says(x0, y0, yaw0, dx, dy, yaw1, dt, origin, pitch) -> None:
    """Also at map coordinates of a million metres, to a millimetre."""
    reach = min(1.0, 2 * dt)  # as far as a vehicle may get
    then, now = pose(x0, y0, yaw0, origin), pose(x0 + reach * dx, y0 + reach * dy, yaw1, origin, pitch)
    memory = filled(SECOND, then)
    recall = recalled(memory, moment([SECOND + round(dt * 1e9)], [now]))
    assert RESETS[int(recall.resets[0])] == "kept"

    points, velocity = memory.references[0].double().numpy(), memory.velocity[0].double().numpy()
    drifted = points + np.pad(velocity * dt, ((0, 0), (0, 1)))
    local = rigid.inverse(now) @ pose(x0, y0, yaw0, origin)
    expected = drifted @ local[:3, :3].T + local[:3, 3]
    assert np.abs(recall.memory.references[0].numpy() - expected).max() < 1e-3
    assert np.abs(recall.memory.velocity[0].numpy() - velocity @ local[:2, :2].T).max() < 1e-4
    assert np.allclose(recall.memory.age_s[0].numpy(), memory.age_s[0].numpy() + dt, atol=1e-5)
    assert torch.equal(recall.memory.embeddings, memory.embeddings), "what is remembered does not change"


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.1, 0.7), min_size=1, max_size=6), st.floats(-10, 10), st.floats(-10, 10), st.integers(0, 99)
)
def test_a_moving_object_stays_on_its_track_over_irregular_gaps(gaps, vx, vy, seed) -> None:
    """An object of constant velocity in the world, seen once from a vehicle that turns and drives on."""
    rng = np.random.default_rng(seed)
    place, velocity = np.array([12.0, -7.0, 0.5]), np.array([vx, vy, 0.0])
    then = pose(3.0, 4.0, 0.7)
    local = rigid.inverse(then)
    references = torch.tensor(rigid.apply(local, place), dtype=torch.float32).expand(1, N, 3).clone()
    memory = filled(
        0, then, references, torch.tensor((local[:3, :3] @ velocity)[:2], dtype=torch.float32).expand(1, N, 2)
    )
    elapsed, ego = 0.0, np.array([3.0, 4.0])
    for gap in gaps:
        elapsed = round((elapsed + gap) * 1e9) / 1e9
        ego = ego + rng.uniform(-7, 7, 2)
        now = pose(*ego, rng.uniform(-3, 3))
        recall = recalled(memory, moment([round(elapsed * 1e9)], [now]))
        expected = rigid.apply(rigid.inverse(now), place + velocity * elapsed)
        assert np.abs(recall.references[0].numpy() - expected).max() < 1e-3
        assert torch.isfinite(recall.embeddings).all()
        memory = recall.memory
        memory.stamps, memory.T_world_ego = torch.tensor([round(elapsed * 1e9)]), torch.tensor(now)[None]


def test_the_age_of_an_entry_is_told_to_its_embedding() -> None:
    still = filled(0, np.eye(4), velocity=torch.zeros(1, N, 2))
    seen = [recalled(still, moment([round(dt * 1e9)], [np.eye(4)])).embeddings for dt in (0.1, 0.3, 0.5, 0.7)]
    for first, second in pairwise(seen):
        assert (first - second).abs().amax(-1).min() > 0.01


@settings(max_examples=25, deadline=None)
@given(angle, shift, shift, angle)
def test_alignment_does_not_depend_on_the_choice_of_ego_axes(turn, x, y, yaw) -> None:
    """Had the ego frame been turned about the vertical, the embeddings were the same and the points turned with it."""
    memory, now = filled(0, pose(1.0, 2.0, 0.3)), pose(x, y, yaw)
    plain = recalled(memory, moment([SECOND // 2], [now]))

    T_turned_ego = rigid.planar(0.0, 0.0, turn)
    rotation = torch.tensor(T_turned_ego[:3, :3], dtype=torch.float32)
    turned = filled(0, pose(1.0, 2.0, 0.3) @ rigid.inverse(T_turned_ego))
    turned.references = memory.references @ rotation.T
    turned.velocity = memory.velocity @ rotation[:2, :2].T
    turned.rays = memory.rays @ rotation[:2, :2].T
    other = recalled(turned, moment([SECOND // 2], [now @ rigid.inverse(T_turned_ego)]))
    near = plain.references[..., :2].norm(dim=-1) > 0.1  # at the very origin there is no direction of view
    assert torch.allclose(plain.embeddings[near], other.embeddings[near], atol=2e-3)
    assert torch.allclose(plain.references @ rotation.T, other.references, atol=1e-3)


def test_before_training_the_norm_only_normalises() -> None:
    memory = filled(0, np.eye(4))
    with torch.no_grad():
        recall = TemporalAlignment(CONFIG)(memory, moment([SECOND], [pose(3, 1, 0.2)]))
    assert torch.allclose(recall.embeddings, torch.nn.functional.layer_norm(memory.embeddings, (CONFIG.width,)))


UNKNOWN = np.full((4, 4), np.nan)


def test_each_stream_is_reset_for_its_own_cause_and_the_others_go_on() -> None:
    cases = [
        ("kept", filled(SECOND, np.eye(4)), 2 * SECOND, np.eye(4)),
        ("start", Memory.empty(1, CONFIG), 2 * SECOND, np.eye(4)),
        ("time jump", filled(SECOND, np.eye(4)), SECOND, np.eye(4)),
        ("time jump", filled(SECOND, np.eye(4)), SECOND // 2, np.eye(4)),
        ("long gap", filled(SECOND, np.eye(4)), SECOND + round(2.01e9), np.eye(4)),
        ("no ego pose", filled(SECOND, np.eye(4)), 2 * SECOND, UNKNOWN),
        ("no ego pose", filled(SECOND, UNKNOWN), 2 * SECOND, np.eye(4)),
        ("pose jump", filled(SECOND, np.eye(4)), SECOND + SECOND // 10, pose(0, 16, 0)),
        ("kept", filled(SECOND, np.eye(4)), SECOND + SECOND // 10, pose(0, 14, 0)),
        ("kept", filled(SECOND, np.eye(4), seed=5), SECOND + round(1.99e9), pose(1, 0, 0)),
    ]
    causes, memories, stamps, poses = zip(*cases, strict=True)
    recall = recalled(stacked(list(memories)), moment(stamps, poses))
    assert [RESETS[index] for index in recall.resets] == list(causes)
    for row, cause in enumerate(causes):
        kept = cause == "kept"
        assert bool(recall.memory.valid[row].all()) == kept and bool(recall.memory.valid[row].any()) == kept
        if not kept:
            empty = recalled(Memory.empty(1, CONFIG), moment([stamps[row]], [poses[row]]))
            assert torch.equal(recall.embeddings[row], empty.embeddings[0])
            assert torch.equal(recall.references[row], empty.references[0])
            assert all(not values[row].any() for values in recall.memory.tensors().values())
    assert all(torch.isfinite(getattr(recall, name)).all() for name in ("embeddings", "references"))
    alone = recalled(memories[0], moment(stamps[:1], poses[:1]))
    assert torch.allclose(recall.embeddings[0], alone.embeddings[0], atol=1e-6)


def test_a_pose_that_is_no_rigid_motion_does_not_stop_the_stream() -> None:
    recall = recalled(filled(SECOND, np.eye(4)), moment([2 * SECOND], [np.zeros((4, 4))]))
    assert torch.isfinite(recall.embeddings).all()


def layer_of(count: int, seed: int) -> LayerOutput:
    """Predictions of ``count`` queries of one stream, the most confident first."""
    random = torch.Generator().manual_seed(seed)
    references = torch.rand(1, count, 3, generator=random) * 30 - 15
    return LayerOutput(
        torch.linspace(3.0, -3.0, count)[None, :, None].repeat(1, 1, 18),
        torch.randn(1, count, 10, generator=random),
        torch.zeros(1, count),
        references,
        torch.randn(1, count, CONFIG.width, generator=random),
    )


def test_the_most_confident_queries_are_pushed_and_the_oldest_fall_out() -> None:
    memory, layers = Memory.empty(1, CONFIG), []
    for number in range(6):
        batch = moment([number * SECOND // 2 + 1], [pose(number, 0, 0)])
        memory = recalled(memory, batch).memory
        layers.append(layer_of(10, number))
        memory = remember(memory, layers[-1], batch, 4)
        assert memory.embeddings.shape == (1, N, CONFIG.width) and memory.started.all()
        assert int(memory.valid.sum()) == min(4 * (number + 1), N)
    expected = torch.cat([layer.embeddings[:, :4] for layer in reversed(layers[-3:])], 1)
    assert torch.equal(memory.embeddings, expected)
    assert torch.allclose(memory.age_s[0], torch.tensor([0.0] * 4 + [0.5] * 4 + [1.0] * 4))
    boxes = layers[-1].boxes()[:, :4]
    assert torch.equal(memory.references[:, :4], boxes[..., :3]) and torch.equal(memory.velocity[:, :4], boxes[..., 7:])
    assert torch.allclose(memory.rays[:, :4] * memory.distances[:, :4, None], boxes[..., :2], atol=1e-4)


BROKEN = [(name, value) for name in ("logits", "codes", "embeddings") for value in (torch.nan, torch.inf, -torch.inf)]
BROKEN.append(("codes", 1e30))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(BROKEN), st.integers(0, 9)), max_size=20))
def test_what_is_not_finite_or_absurdly_far_is_not_remembered(places) -> None:
    layer = layer_of(10, 0)
    for (name, value), row in places:
        getattr(layer, name)[0, row, 0] = value
    memory = remember(Memory.empty(1, CONFIG), layer, moment([1], [np.eye(4)]), 4)
    assert all(torch.isfinite(each).all() for each in memory.tensors().values() if each.is_floating_point())
    # Broken rows do not take the places of sound ones.
    sound = [row for row in range(10) if row not in {row for _, row in places}]
    assert int(memory.valid[0, :4].sum()) == min(len(sound), 4)
    recall = recalled(memory, moment([SECOND], [pose(2, 1, 0.1)]))
    assert torch.isfinite(recall.embeddings).all() and torch.isfinite(recall.references).all()
    assert (recall.references.norm(dim=-1) < 1e4).all()


def test_invalid_entries_are_never_looked_at() -> None:
    memory = filled(0, np.eye(4))
    memory.valid[0, ::3] = False
    dirty = Memory(**{name: values.clone() for name, values in memory.tensors().items()})
    for name in ("embeddings", "references", "velocity", "age_s"):
        getattr(dirty, name)[0, ::3] = 77.0
    batch = moment([SECOND], [pose(2, 1, 0.1)])
    clean, other = recalled(memory, batch), recalled(dirty, batch)
    assert torch.equal(clean.embeddings, other.embeddings) and torch.equal(clean.references, other.references)
    assert not clean.embeddings[0, ::3].any()


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_sizes_follow_the_config(frames) -> None:
    memory = Memory.empty(2, StudentConfig(memory_frames=frames, memory_queries=7))
    assert memory.valid.shape == (2, frames * 7) and not any(values.any() for values in memory.tensors().values())
