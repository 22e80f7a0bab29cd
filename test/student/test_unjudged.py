"""Where ground truth is silent, no loss calls what a student says background; everywhere else nothing changes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.losses.criterion import student_criterion
from semlt3d_ros.losses.image_losses import HeatLoss
from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.losses.matcher import match
from semlt3d_ros.losses.targets import SeenRegions, Targets, collate_targets, learnt
from semlt3d_ros.losses.term import view_of
from semlt3d_ros.losses.unjudged import MARGIN_M, REACH_M, Unjudged, collate_unjudged
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.decoder import LayerOutput
from semlt3d_ros.student.geometry import encode_boxes, project
from semlt3d_ros.student.image_head import ImageOutput
from semlt3d_ros.student.student import StudentOutput

QUIET = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def without_class(frame: Frame, *objects: int) -> Frame:
    """The frame whose numbered objects are of none of the classes."""
    assert frame.labels is not None
    ids = frame.labels.class_ids.copy()
    ids[list(objects)] = ABSENT
    return replace(frame, labels=replace(frame.labels, class_ids=ids))


def layer_at(places: torch.Tensor, logits: torch.Tensor) -> LayerOutput:
    """Predictions (B, Q) of unit boxes centred at ``places`` (B, Q, 3)."""
    boxes = torch.cat([places, torch.ones(*places.shape[:2], 3), torch.zeros(*places.shape[:2], 3)], -1)
    return LayerOutput(
        logits, encode_boxes(boxes, places), torch.zeros(logits.shape[:2]), places, torch.zeros(*logits.shape[:2], 4)
    )


def front_window(frame: Frame) -> ViewWindow:
    """What the first camera, which looks ahead, sees."""
    view = frame.views[0]
    K = view.camera.K
    left, top = -(K[0, 2] + 0.5) / K[0, 0], -(K[1, 2] + 0.5) / K[1, 1]
    right, bottom = (view.camera.width - 0.5 - K[0, 2]) / K[0, 0], (view.camera.height - 0.5 - K[1, 2]) / K[1, 1]
    return ViewWindow(view.T_ego_camera, left, top, right, bottom)


def test_what_is_of_no_class_is_no_target_and_keeps_no_region_either(frames) -> None:
    seen = [SeenRegions(np.full((len(f.labels.boxes), 3), i, np.float32), np.zeros(len(f.labels.boxes), np.int64))
            for i, f in enumerate(frames)]  # fmt: skip
    seen[0].embeddings[:] = np.arange(4)[:, None]
    targets = collate_targets([without_class(frames[0], 1, 3), *frames[1:]], 30.0, 0, seen)
    assert targets.classes[0].tolist()[:2] == frames[0].labels.class_ids[[0, 2]].tolist()
    assert (targets.classes[0, 2:] == -1).all() and targets.region_embeddings is not None
    assert targets.region_embeddings[0, :2, 0].tolist() == [0.0, 2.0]
    assert targets.unjudged is not None and targets.unjudged.real.sum(1).tolist() == [2, 0, 0]
    matches = match(layer_at(torch.rand(3, 9, 3) * 20, torch.zeros(3, 9, 18)), targets)
    assert [len(rows) for rows, _ in matches] == [2, 0, 7]


def test_ignored_objects_are_known_however_far_or_hidden(frames) -> None:
    frame = without_class(frames[0], 0)
    frame.labels.visible_pixels = np.array([0, 100, 100, 100])
    frame.labels.boxes.centers[0] = [300.0, 0.0, 1.0]
    targets = collate_targets([frame], 30.0, 6)
    assert targets.unjudged is not None
    assert targets.unjudged.at(torch.tensor([[[300.0, 0.0, 0.0], [290.0, 0.0, 0.0]]])).tolist() == [[True, False]]


def test_what_is_far_hidden_or_of_no_class_is_not_learnt() -> None:
    centers = np.array([[5.0, 0, 0], [60, 0, 0], [0, 6, 0], [0, -7, 0], [8, 0, 0]])
    boxes = Boxes3D(centers, np.ones((5, 3)), np.zeros(5), np.zeros((5, 2)))
    labels = Labels(boxes, np.array([0, 1, 2, 3, ABSENT]), visible_pixels=np.array([9, 900, 3, -1, 9]))
    assert learnt(labels, 45.0, 6).tolist() == [True, False, False, True, False]
    assert not len(learnt(Labels(Boxes3D.empty(), np.zeros(0, np.int64)), 45.0, 6))


def test_with_everything_labelled_nothing_is_silent(frames) -> None:
    assert collate_unjudged(frames) is None and collate_targets(frames, 30.0, 0).unjudged is None


def test_of_a_frame_without_labels_nothing_is_known(frames, config) -> None:
    targets = collate_targets([frames[0], replace(frames[2], labels=None)], 30.0, 0)
    layer = layer_at(torch.rand(2, 9, 3) * 20, torch.zeros(2, 9, 18).requires_grad_())
    image = ImageOutput(
        torch.zeros(2, 6, 18, 16, 24).requires_grad_(), torch.zeros(2, 6, 2, 16, 24), torch.ones(2, 6, 16, 24), None, 4
    )
    losses = student_criterion(config, LossWeights())(
        StudentOutput([layer], [], image), targets, collate([frames[0], frames[2]], 96, 64)
    )
    (losses["classes"] + losses["heat"]).backward()
    for values in (layer.logits, image.heat):
        assert values.grad is not None and values.grad[0].any() and not values.grad[1].any()


@pytest.mark.parametrize("aligned", [False, True])
def test_only_unmatched_queries_there_escape_the_class_losses(frames, config, aligned) -> None:
    frame = without_class(frames[0], 0)
    labels = frame.labels
    assert labels is not None
    there, elsewhere = torch.tensor(labels.boxes.centers[0]).float(), torch.tensor([-29.0, -29.0, 0.0])
    truth = torch.tensor(labels.boxes.centers[1:]).float()
    logits = torch.full((1, 5, 18), -3.0)
    for i, kind in enumerate(labels.class_ids[1:]):
        logits[0, i, kind] = 5.0
    layer = layer_at(torch.stack([*truth, there, elsewhere])[None], logits.requires_grad_())
    if aligned:
        layer = replace(layer, aligned=logits)
    targets, batch = collate_targets([frame], 60.0, 0), collate([frame], 96, 64)
    losses = student_criterion(config, LossWeights(alignment=1.0))(StudentOutput([layer], [], None), targets, batch)
    losses["alignment" if aligned else "classes"].backward()
    assert logits.grad is not None and (logits.grad[0].abs().amax(-1) > 0).tolist() == [True, True, True, False, True]

    # What is matched counts, also right where something is ignored.
    moved = labels.boxes.centers.copy()
    moved[0] = moved[1]
    same = replace(frame, labels=replace(labels, boxes=replace(labels.boxes, centers=moved)))
    logits.grad = None
    losses = student_criterion(config, LossWeights(alignment=1.0))(
        StudentOutput([layer], [], None), collate_targets([same], 60.0, 0), batch
    )
    losses["alignment" if aligned else "classes"].backward()
    assert logits.grad is not None and (logits.grad[0].abs().amax(-1) > 0).all()


@QUIET
@given(st.floats(-math.pi, math.pi), st.floats(-math.pi, math.pi), st.floats(0.0, 6.0), st.floats(1.0, 12.0))
def test_ignored_is_the_enlarged_footprint_and_what_is_near_the_centre(yaw, direction, distance, length) -> None:
    center = np.array([10.0, -4.0, 1.0])
    boxes = Boxes3D(center[None], np.array([[length, 2.0, 1.5]]), np.array([yaw]), np.zeros((1, 2)))
    point = center + np.array([distance * math.cos(direction), distance * math.sin(direction), 5.0])
    frame = Frame(0, (), labels=Labels(boxes, np.array([ABSENT])))
    unjudged = collate_unjudged([frame])
    assert unjudged is not None
    tall = replace(boxes, sizes=np.array([[length, 2.0, 100.0]]))
    within, just_within, hardly_within = (
        bool(tall.contains(point[None], MARGIN_M + more)[0, 0]) for more in (0.0, -1e-3, 1e-3)
    )
    if just_within != hardly_within or abs(distance - REACH_M) < 1e-3:
        return  # single precision may decide otherwise on an edge
    wanted = within or distance <= REACH_M
    assert unjudged.at(torch.tensor(point).float()[None, None]).item() == wanted


def some_windows(draw_from: np.random.Generator, frame: Frame) -> LabelledRegion:
    def window() -> ViewWindow:
        view = frame.views[draw_from.integers(len(frame.views))]
        left, right = np.sort(draw_from.uniform(-1.2, 1.2, 2))
        top, bottom = np.sort(draw_from.uniform(-0.8, 0.8, 2))
        return ViewWindow(view.T_ego_camera, left, top, right, bottom)

    count, out = draw_from.integers(0, 3, 2)
    return LabelledRegion(
        tuple(window() for _ in range(count)),
        tuple(window() for _ in range(out)),
        float(draw_from.choice([np.inf, 15.0])),
    )


@QUIET
@given(st.integers(0, 10_000))
def test_what_is_outside_the_region_is_what_the_region_does_not_contain(frames, seed) -> None:
    random = np.random.default_rng(seed)
    regions = [some_windows(random, frame) for frame in frames]
    unjudged = collate_unjudged([replace(f, region=region) for f, region in zip(frames, regions, strict=True)])
    points = random.uniform(-25, 25, (3, 200, 3)) * [1, 1, 0.1]
    if unjudged is None:
        assert all(region == LabelledRegion() for region in regions)
        return
    silent = unjudged.at(torch.tensor(points).float())
    wanted = np.stack([~region.contains(p) for region, p in zip(regions, points, strict=True)])
    assert (silent.numpy() != wanted).mean() < 0.005, "single precision may decide otherwise on an edge"


def a_transform(random: np.random.Generator, count: int) -> torch.Tensor:
    angle, scale, mirror = random.uniform(-9, 9, count), random.uniform(0.5, 2.0, count), random.choice([-1, 1], count)
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, 0, 0], T[:, 0, 1], T[:, 1, 0], T[:, 1, 1] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    T[:, :3, 1] *= mirror[:, None]
    T[:, :3, :3] *= scale[:, None, None]
    T[:, :3, 3] = random.uniform(-3, 3, (count, 3))
    return torch.from_numpy(T).float()


@QUIET
@given(st.integers(0, 10_000))
def test_a_transformed_world_takes_boxes_points_and_silence_along(frames, seed) -> None:
    random = np.random.default_rng(seed)
    changed = [
        replace(without_class(frames[0], 1), region=replace(some_windows(random, frames[0]), range_m=math.inf)),
        frames[2],
    ]
    targets = collate_targets(changed, 60.0, 0)
    T = a_transform(random, 2)
    moved = targets.transformed(T)

    def placed(points: torch.Tensor, b: int) -> torch.Tensor:
        return points @ T[b, :3, :3].T + T[b, :3, 3]

    for b in range(2):
        assert torch.allclose(moved.points[b], placed(targets.points[b], b), atol=1e-4)
        for before, after in zip(targets.boxes[b], moved.boxes[b], strict=True):
            assert torch.allclose(corners(after), placed(corners(before), b), atol=1e-3) or not before[3:6].any()
            front = torch.stack([before[:2] + before[7:9], before[:2]])
            ahead = placed(torch.nn.functional.pad(front, (0, 1)), b)[:, :2]
            assert torch.allclose(after[7:9], ahead[0] - ahead[1], atol=1e-4)
    points = torch.tensor(random.uniform(-25, 25, (2, 200, 3)) * [1, 1, 0.1]).float()
    assert targets.unjudged is not None and moved.unjudged is not None
    before = without_margins(targets.unjudged).at(points)
    after = without_margins(moved.unjudged).at(torch.stack([placed(points[b], b) for b in range(2)]))
    assert (before != after).float().mean() < 0.005


def without_margins(unjudged: Unjudged) -> Unjudged:
    """The region alone: margins of ignored objects are metres in any world."""
    return replace(unjudged, real=torch.zeros_like(unjudged.real))


def corners(box: torch.Tensor) -> torch.Tensor:
    """Corners of the sides to the left and to the right of the box's middle, which mirroring exchanges, in an order of
    their own."""
    cos, sin = box[6].cos(), box[6].sin()
    length, height = box[3] / 2, box[5] / 2
    ends = [[s * length * cos, s * length * sin, h * height] for s in (-1, 1) for h in (-1, 1)]
    return box[:3] + torch.tensor(ends)


def test_mirror_and_turn_by_nothing_are_exact(frames) -> None:
    targets = collate_targets(frames, 60.0, 0)
    still = targets.transformed(torch.eye(4).expand(3, 4, 4))
    assert torch.equal(still.boxes, targets.boxes) and torch.equal(still.points[0], targets.points[0])
    mirror = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0])).expand(3, 4, 4)
    assert torch.equal(
        targets.transformed(mirror).boxes, targets.boxes * torch.tensor([1.0, -1, 1, 1, 1, 1, -1, 1, -1])
    )


def image_output(frames: int) -> ImageOutput:
    return ImageOutput(
        torch.zeros(frames, 6, 18, 16, 24).requires_grad_(),
        torch.zeros(frames, 6, 2, 16, 24),
        torch.full((frames, 6, 16, 24), 2.0),
        None,
        4,
    )


def judged_cells(frame: Frame, targets: Targets, image: ImageOutput) -> torch.Tensor:
    """(B, V, h, w) cells that the heat maps learn from, as the gradient has it."""
    layer = layer_at(torch.zeros(len(targets.classes), 9, 3), torch.zeros(len(targets.classes), 9, 18))
    view = view_of(StudentOutput([layer], [], image), targets, collate([frame] * len(targets.classes), 96, 64))
    heat = HeatLoss(1.0)(view)["heat"]
    (gradient,) = torch.autograd.grad(heat, image.heat)
    return gradient.abs().amax(2) > 0


def test_cells_that_an_ignored_object_covers_do_not_count(frames) -> None:
    frame = frames[0]
    labels = frame.labels
    assert labels is not None
    # Straight ahead of the first camera, and larger than a cell.
    labels.boxes.centers[:2], labels.boxes.sizes[:2] = [[10.0, 0.0, 1.2], [10.0, 3.0, 1.2]], [2.0, 2.0, 2.0]
    ignored = without_class(frame, 0)
    everything = judged_cells(frame, collate_targets([frame], 30.0, 0), image_output(1))
    fewer = judged_cells(ignored, collate_targets([ignored], 30.0, 0), image_output(1))
    assert everything.all() and fewer[0, 1:].all(), "other cameras see nothing of it"
    batch = collate([frame], 96, 64)
    found = torch.tensor(labels.boxes[:1].corners()).float()
    pixels, _ = project(found, batch.intrinsics[:, :1], batch.T_ego_camera[:, :1])
    cell = ((pixels[0, 0] + 0.5) / 4 - 0.5).round().long()
    (left, top), (right, bottom) = cell.amin(0).tolist(), cell.amax(0).tolist()
    assert right - left >= 2 and bottom - top >= 2
    inside = torch.zeros_like(fewer[0, 0])
    inside[top : bottom + 1, left : right + 1] = True
    assert torch.equal(~fewer[0, 0], inside)


def test_a_target_in_front_of_what_is_ignored_still_counts(frames) -> None:
    frame = frames[0]
    labels = frame.labels
    assert labels is not None
    labels.boxes.centers[:2], labels.boxes.sizes[:2] = [[12.0, 0.0, 1.2], [10.0, 0.0, 1.2]], [2.0, 2.0, 2.0]
    ignored = without_class(frame, 0)
    fewer = judged_cells(ignored, collate_targets([ignored], 30.0, 0), image_output(1))
    batch = collate([frame], 96, 64)
    pixels, _ = project(torch.tensor([[[10.0, 0.0, 1.2]]]), batch.intrinsics[:, :1], batch.T_ego_camera[:, :1])
    u, v = ((pixels[0, 0, 0] + 0.5) / 4 - 0.5).round().long().tolist()
    assert fewer[0, 0, v, u] and not fewer[0, 0, v, u + 1]


def test_an_object_beside_the_camera_covers_cells_up_to_the_border(frames) -> None:
    frame = frames[0]
    labels = frame.labels
    assert labels is not None
    labels.boxes.centers[0], labels.boxes.sizes[0], labels.boxes.yaw[0] = [2.0, 1.8, 1.2], [6.0, 1.0, 2.0], 0.0
    ignored = without_class(frame, 0)
    fewer = judged_cells(ignored, collate_targets([ignored], 30.0, 0), image_output(1))
    assert not fewer[0, 0, 6:10, :4].any() and fewer[0, 0, :, 16:].all()
    assert fewer[0, 3].all(), "the camera that looks backwards does not see it"


def test_only_the_labelled_view_trains_the_heat_maps(frames) -> None:
    frame = replace(frames[1], region=LabelledRegion((front_window(frames[1]),)))
    cells = judged_cells(frame, collate_targets([frame], 30.0, 0), image_output(1))
    assert cells[0, 0].all() and not cells[0, 3].any()
    window = front_window(frame)
    left_out = replace(frame, region=LabelledRegion((window,), (replace(window, right=0.0),)))
    cells = judged_cells(left_out, collate_targets([left_out], 30.0, 0), image_output(1))
    assert not cells[0, 0, :, :11].any() and cells[0, 0, :, 13:].all()
