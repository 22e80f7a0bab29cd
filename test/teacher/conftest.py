"""Small teachers with weights that differ everywhere."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.teacher import Teacher

CLASSES = ("car", "truck", "adult")


def small_config(**changes) -> TeacherConfig:
    sizes = {
        "class_names": CLASSES,
        "tasks": (("car", "truck"), ("adult",)),
        "point_range": (-12.8, -12.8, -3.0, 12.8, 12.8, 5.0),
        "pillar_layers": (6,),
        "block_layers": (1, 1, 1),
        "block_widths": (6, 6, 6),
        "up_widths": (4, 4, 4),
        "shared_width": 6,
        "head_width": 4,
        "point_classes": (*CLASSES, "ground"),
    }
    return TeacherConfig(**{**sizes, **changes})


def teacher_of(config: TeacherConfig) -> Teacher:
    """One whose normalisations shift and scale, so that a wrong place or order of them shows."""
    torch.manual_seed(0)
    teacher = Teacher(config)
    for name, values in teacher.state_dict().items():
        if "running" in name:
            values.copy_(torch.rand_like(values) + (0.5 if name.endswith("var") else -0.5))
        elif values.dim() == 1 and values.dtype.is_floating_point:
            values.add_(torch.rand_like(values) - 0.5)
    return teacher.eval()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_config() -> Callable[..., TeacherConfig]:
    return small_config


@pytest.fixture(scope="session")
def make_teacher() -> Callable[..., Teacher]:
    """Makes a teacher with other settings."""
    return lambda **changes: teacher_of(small_config(**changes))


@pytest.fixture(scope="session")
def teacher() -> Teacher:
    return teacher_of(small_config())


@pytest.fixture(scope="session")
def make_cloud() -> Callable[..., Tensor]:
    """Makes a cloud of points within and a little beyond the range of the small teacher."""

    def make(count: int, seed: int = 0, reach_m: float = 14.0) -> Tensor:
        points = torch.rand(count, 5, generator=torch.Generator().manual_seed(seed))
        points[:, :2] = (points[:, :2] * 2 - 1) * reach_m
        points[:, 2] = points[:, 2] * 4 - 2
        return points

    return make
