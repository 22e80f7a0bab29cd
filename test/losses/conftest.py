"""Objects before a small teacher."""

import math

import pytest
import torch

from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.teacher.config import TeacherConfig

CLASSES = ("car", "truck", "adult")


@pytest.fixture
def config() -> TeacherConfig:
    """Maps of 16 x 16 cells of 1 m around the origin; vehicles by one head, people by another."""
    return TeacherConfig(
        class_names=CLASSES,
        tasks=(("car", "truck"), ("adult",)),
        point_range=(-8.0, -8.0, -3.0, 8.0, 8.0, 5.0),
        pillar_m=0.5,
        pillar_layers=(4,),
        block_layers=(0, 0, 0),
        block_widths=(4, 4, 4),
        up_widths=(4, 4, 4),
        shared_width=4,
        head_width=4,
        point_classes=(*CLASSES, "ground"),
    )


@pytest.fixture
def targets() -> Targets:
    """A car that drives and an adult of unknown velocity; in the other cloud a truck that stands, and padding."""
    car = [2.25, -3.5, 0.5, 4.0, 2.0, 1.5, math.pi / 6, 3.0, -1.0]
    adult = [-5.75, 6.5, 0.75, 0.5, 0.5, 1.5, 0.0, math.nan, math.nan]
    truck = [0.5, 0.25, 1.0, 8.0, 2.5, 3.0, -math.pi / 2, 0.0, 0.0]
    boxes = torch.tensor([[car, adult], [truck, [0.0] * 9]])
    return Targets(boxes, torch.tensor([[0, 2], [1, -1]]), [])


@pytest.fixture
def nothing() -> Targets:
    """Two clouds without an object."""
    return Targets(torch.zeros(2, 0, 9), torch.zeros(2, 0, dtype=torch.int64), [])
