"""Memory inside the whole student and behind the detector: streams, restarts, broken frames."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.student.batch import Batch, collate
from semlt3d_ros.student.memory import RESETS, Memory
from semlt3d_ros.student.student import Student, StudentOutput

GAPS_S = (0.1, 0.7, 0.5, 0.25)


@pytest.fixture(params=["sampled", "global"])
def streaming(request, config):
    """A student config with memory, for each kind of cross-attention."""
    return replace(config, cross_attention=request.param, memory_frames=3, memory_queries=6, anchors=14, proposals=5)


def student_of(config) -> Student:
    """A student whose memory alignment does something, as after training."""
    student = Student(config).eval()
    assert student.alignment is not None
    torch.nn.init.normal_(student.alignment.modulate[-1].weight, std=0.2)
    return student


def drive(frame, seed: int = 0, start: int = 1_000_000_000) -> list:
    """Frames of one drive: other images each time, a moving and turning vehicle, irregular gaps."""
    rng = np.random.default_rng(seed)
    stamp, result = start, []
    for number, gap in enumerate((0.0, *GAPS_S)):
        stamp += round(gap * 1e9)
        views = tuple(
            replace(view, stamp=stamp, image=rng.integers(0, 255, view.image.shape, np.uint8)) for view in frame.views
        )
        place = rigid.planar(2.0 * number + seed, 0.5 * number, 0.2 * number)
        result.append(replace(frame, stamp=stamp, views=views, T_world_ego=place))
    return result


@torch.no_grad()
def played(student: Student, frames: list, memory: Memory | None = None) -> list[StudentOutput]:
    outputs = []
    for frame in frames:
        output = student(collate([frame], student.config.image_width, student.config.image_height), memory=memory)
        memory = output.memory
        outputs.append(output)
    return outputs


def boxes(output: StudentOutput) -> torch.Tensor:
    return torch.cat([output.layers[-1].boxes(), output.layers[-1].logits], dim=-1)


def close(first: StudentOutput, second: StudentOutput, tolerance: float = 2e-3) -> bool:
    return torch.allclose(boxes(first), boxes(second), atol=tolerance)


def test_an_empty_memory_is_no_memory(streaming, frames) -> None:
    student, first = student_of(streaming), drive(frames[0])[0]
    (without,) = played(student, [first])
    (with_empty,) = played(student, [first], Memory.empty(1, streaming))
    assert torch.equal(boxes(without), boxes(with_empty))
    assert without.resets is not None and RESETS[int(without.resets[0])] == "start"
    assert without.memory is not None and int(without.memory.valid.sum()) == 6


def test_what_was_seen_matters_until_the_stream_is_reset(streaming, frames) -> None:
    student, course = student_of(streaming), drive(frames[0])
    fresh, followed = played(student, course[-1:])[0], played(student, course)[-1]
    assert not close(fresh, followed, 1e-2)
    jump = replace(course[-1], stamp=course[-2].stamp)
    after = played(student, [*course[:-1], jump])[-1]
    assert after.resets is not None and RESETS[int(after.resets[0])] == "time jump"
    assert torch.equal(boxes(after), boxes(fresh))


def test_detections_do_not_depend_on_the_fixed_frame(streaming, frames) -> None:
    student, course = student_of(streaming), drive(frames[0])
    elsewhere = rigid.planar(-3.1e5, 8.2e5, 2.1)
    moved = [replace(frame, T_world_ego=elsewhere @ frame.T_world_ego) for frame in course]
    assert all(close(*pair) for pair in zip(played(student, course), played(student, moved), strict=True))


def test_camera_order_may_change_between_frames(streaming, frames) -> None:
    student, course = student_of(streaming), drive(frames[0])
    rng = np.random.default_rng(1)
    shuffled = [replace(frame, views=tuple(frame.views[i] for i in rng.permutation(6))) for frame in course]
    assert all(close(*pair) for pair in zip(played(student, course), played(student, shuffled), strict=True))


def joined(batches: list[Batch]) -> Batch:
    return Batch(**{name: torch.cat([getattr(each, name) for each in batches]) for name in vars(batches[0])})


@torch.no_grad()
def test_two_streams_at_once_are_two_streams(streaming, frames) -> None:
    """Also where one of them loses cameras, its pose, or starts anew."""
    student = student_of(streaming)
    first, second = drive(frames[0]), drive(frames[2], seed=7, start=55_000_000_000)
    second[1] = replace(second[1], views=second[1].views[:4])
    second[2] = replace(second[2], T_world_ego=None)
    second[4] = replace(second[4], stamp=second[4].stamp + 3_000_000_000)
    alone = [played(student, first), played(student, second)]
    causes = [RESETS[int(output.resets[0])] for output in alone[1] if output.resets is not None]
    assert causes == ["start", "kept", "no ego pose", "no ego pose", "long gap"]
    memory = None
    for number, pair in enumerate(zip(first, second, strict=True)):
        # Stacked by hand, so that a lost camera's place holds an arbitrary image.
        batch = collate(list(pair), streaming.image_width, streaming.image_height)
        batch.images[~batch.valid] = 200
        output = student(batch, memory=memory)
        memory = output.memory
        for row in range(2):
            expected = boxes(alone[row][number])[0]
            assert torch.allclose(boxes(output)[row], expected, atol=2e-3)
    assert memory is not None and memory.valid.tolist() == [
        alone[row][-1].memory.valid[0].tolist()
        for row in range(2)  # type: ignore[union-attr]
    ]


@torch.no_grad()
def test_a_frame_of_nan_features_is_forgotten(streaming, frames) -> None:
    student, course = student_of(streaming), drive(frames[0])
    before = played(student, course[:2])[-1]
    batch = collate([course[2]], streaming.image_width, streaming.image_height)
    features = [torch.full_like(feature, torch.nan) for feature in student.features(batch)]
    broken = student.decode(features, student.image_head(features[0]), batch, memory=before.memory)
    assert broken.memory is not None and before.memory is not None
    assert not broken.memory.valid[0, :6].any() and broken.memory.valid[0, 6:].all()
    assert torch.equal(broken.memory.embeddings[:, 6:], before.memory.embeddings[:, :12])
    assert all(torch.isfinite(output.layers[-1].boxes()).all() for output in played(student, course[3:], broken.memory))


def test_frames_without_any_camera_go_through(streaming, frames) -> None:
    student, course = student_of(streaming), drive(frames[0])
    course[2] = replace(course[2], views=())
    assert all(torch.isfinite(boxes(output)).all() for output in played(student, course))


def test_the_matched_queries_of_training_equal_those_of_running(streaming, frames) -> None:
    """A clip is trained as it will run: the memory a frame leaves does not depend on denoising queries."""
    from semlt3d_ros.losses.denoising import Denoiser
    from semlt3d_ros.losses.targets import collate_targets

    student, course = student_of(streaming), drive(frames[0])
    plain = played(student, course[:2])
    with torch.no_grad():
        denoising = Denoiser(18, streaming.width)(collate_targets([frames[0]], 30.0, 0))
        batch = collate([course[1]], streaming.image_width, streaming.image_height)
        output = student(batch, denoising, plain[0].memory)
    assert close(output, plain[1]) and len(output.denoising) == streaming.layers
    assert output.memory is not None and plain[1].memory is not None
    assert torch.allclose(output.memory.embeddings, plain[1].memory.embeddings, atol=1e-3)


def test_saved_and_restored_memory_gives_the_same_bytes(streaming, frames) -> None:
    student, course = student_of(streaming), drive(frames[0])
    first, second = Detector(student, "a"), Detector(student, "a")
    assert first.memory_state() == {}
    for frame in course[:3]:
        first.detect(frame)
    state = load(save(first.memory_state()))
    expected = [first.detect(frame) for frame in course[3:]]
    second.restore_memory(state)
    for want, frame in zip(expected, course[3:], strict=True):
        got = second.detect(frame)
        assert got.boxes.centers.tobytes() == want.boxes.centers.tobytes()
        assert got.confidences.tobytes() == want.confidences.tobytes()
        assert got.boxes.velocity.tobytes() == want.boxes.velocity.tobytes()
    assert first.memory_resets == {"start": 1, "kept": 4} and second.memory_resets == {"kept": 2}

    second.reset()
    assert second.memory_state() == {}
    second.detect(course[4])
    assert second.memory_resets["start"] == 1
    second.restore_memory({})
    second.detect(course[4])
    assert second.memory_resets["start"] == 2


def test_memory_of_another_student_is_refused(streaming, frames) -> None:
    detector = Detector(student_of(streaming), "a")
    detector.detect(drive(frames[0])[0])
    state = detector.memory_state()
    for other in (
        replace(streaming, width=16),
        replace(streaming, memory_queries=5),
        replace(streaming, memory_frames=0),
    ):
        with pytest.raises(ConfigurationError, match="memory state is not of this student; restore it with"):
            Detector(Student(other), "b").restore_memory(state)
    with pytest.raises(ConfigurationError, match="not of this student"):
        detector.restore_memory({name: state[name] for name in list(state)[1:]})
    with pytest.raises(ConfigurationError, match="not of this student"):
        detector.restore_memory({**state, "stamps": state["stamps"].float()})
