"""A small student at two frames, and what a teacher might say of them."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.losses.signal import TeacherSignal
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.losses.term import StepView
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig

CLASSES = ("car", "adult", "debris")
GRID = BevGrid(-24.0, -24.0, 4.0, 12, 12)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def config() -> StudentConfig:
    return StudentConfig(
        image_width=64,
        image_height=32,
        backbone_args={"channels": [8, 16, 24, 32], "stem_width": 8},
        width=32,
        feed_forward=48,
        anchors=20,
        proposals=10,
        depth_bins=8,
        range_m=30.0,
        class_names=CLASSES,
    )


@pytest.fixture
def batch() -> Batch:
    """Two frames of a camera to the front and one to the back."""
    poses = torch.eye(4).repeat(2, 2, 1, 1)
    for view, sign in enumerate((1.0, -1.0)):
        poses[:, view, :3, :3] = torch.tensor([[0.0, 0.0, sign], [-sign, 0.0, 0.0], [0.0, -1.0, 0.0]])
        poses[:, view, 2, 3] = 1.5
    return Batch(
        torch.randint(0, 255, (2, 2, 3, 32, 64), dtype=torch.uint8),
        torch.tensor([[40.0, 0.0, 31.5], [0.0, 40.0, 12.0], [0.0, 0.0, 1.0]]).repeat(2, 2, 1, 1),
        poses,
        torch.ones(2, 2, dtype=torch.bool),
        torch.zeros(2, dtype=torch.int64),
        torch.full((2, 4, 4), np.nan, dtype=torch.float64),
    )


@pytest.fixture
def targets() -> Targets:
    """Two objects in the first frame, none in the second."""
    boxes = torch.zeros(2, 2, 9)
    boxes[0, 0] = torch.tensor([12.0, 1.0, 0.8, 4.5, 1.9, 1.6, 0.3, 3.0, 0.0])
    boxes[0, 1] = torch.tensor([-9.0, 2.0, 0.9, 0.7, 0.7, 1.7, 1.0, torch.nan, torch.nan])
    return Targets(boxes, torch.tensor([[0, 1], [-1, -1]]), [torch.zeros(0, 3)] * 2)


@pytest.fixture
def signal(targets, batch) -> TeacherSignal:
    """A teacher that has seen the first frame alone, and is right about it; it knows no debris."""
    said = TeacherSignal(
        GRID,
        torch.eye(4),
        torch.tensor([True, False]),
        torch.randn(2, 6, 12, 12).half(),
        torch.zeros(2, 3, 12, 12, dtype=torch.float16),
        torch.full((2, 9, 12, 12), torch.nan, dtype=torch.float16),
        torch.rand(2, 12, 12) < 0.5,
        targets.boxes.clone(),
        torch.zeros(2, 2, 3),
        torch.tensor([True, True, False]),
        batch.intrinsics,
    )
    said.scores[0, 0, 0], said.scores[0, 1, 1] = 0.8, 0.6
    for (x, y), kind, score, box in zip(((12.0, 1.0), (-9.0, 2.0)), (0, 1), (0.8, 0.6), targets.boxes[0], strict=True):
        row, column = int((y + 24) // 4), int((x + 24) // 4)
        said.heat[0, kind, row, column] = score
        cell = box.clone()
        cell[0], cell[1] = x - (-24 + 4 * column + 2), y - (-24 + 4 * row + 2)
        said.cells[0, :, row, column] = cell.half()
    return said


def _rows_of(thing: Any, rows: slice) -> Any:
    """Some of the frames of a dataclass of tensors, or of lists of such."""
    if isinstance(thing, Tensor):
        return thing[rows] if thing.dim() else thing
    if isinstance(thing, list):
        apart = not thing or not isinstance(thing[0], Tensor) or thing[0].dim() > 2
        return [_rows_of(each, rows) for each in thing] if apart else thing[rows]
    if not hasattr(thing, "__dataclass_fields__"):
        return thing
    shared = ("grid", "T_ego_model", "known", "stride")
    parts = {entry.name: getattr(thing, entry.name) for entry in fields(thing)}
    return replace(thing, **{name: _rows_of(part, rows) for name, part in parts.items() if name not in shared})


def _add_up(view_of: Callable[[slice, Any], StepView], term: Callable[[StepView], Mapping[str, Tensor]]) -> None:
    """Hold the losses of a frame alone and of another one alone, together, against those of both in one process."""
    whole = term(view_of(slice(0, 2), lambda values: values))
    parts = [slice(0, 1), slice(1, 2)]
    calls: list[list[Tensor]] = [[], []]
    for number, part in enumerate(parts):
        term(view_of(part, lambda values, number=number: calls[number].append(values) or values))
    assert [values.shape for values in calls[0]] == [values.shape for values in calls[1]], "processes would wait"
    sums = [sum(both) for both in zip(*calls, strict=True)]
    shared = []
    for part in parts:
        left = iter(sums)
        shared.append(term(view_of(part, lambda values, left=left: next(left))))
    for name, value in whole.items():
        assert torch.isclose(shared[0][name] + shared[1][name], value, rtol=1e-4, atol=1e-7), name


@pytest.fixture
def rows_of() -> Callable[[Any, slice], Any]:
    return _rows_of


@pytest.fixture
def add_up() -> Callable[..., None]:
    return _add_up
