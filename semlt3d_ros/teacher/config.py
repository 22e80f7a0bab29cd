"""What a teacher is made of; for recipes, which are read without torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule
from semlt3d_ros.core.taxonomy import CLASS_NAMES, class_list_of

Pose = tuple[tuple[float, ...], ...]
_ROUNDING = 1e-3
"""Of a pillar, by which sizes may be off."""
IDENTITY: Pose = tuple(tuple(float(row == column) for column in range(4)) for row in range(4))


def _every_class_once(config: TeacherConfig) -> Iterator[str]:
    listed = list(itertools.chain.from_iterable(config.tasks))
    if listed and sorted(listed) != sorted(config.class_names):
        yield f"tasks must hold every class once; they hold {', '.join(listed)}"


def _widths(config: TeacherConfig) -> Iterator[str]:
    for name in ("pillar_layers", "block_strides", "block_widths", "up_scales", "up_widths"):
        values = getattr(config, name)
        if not values or min(values) <= 0:
            yield f"{name} must be positive numbers, at least one, not {list(values)}"
    if any(layers < 0 for layers in config.block_layers):
        yield f"block_layers must not be negative, not {list(config.block_layers)}"
    if any(width % 2 for width in config.pillar_layers[:-1]):
        yield f"pillar_layers must be even, except for the last, not {list(config.pillar_layers)}"


def _one_size(config: TeacherConfig) -> Iterator[str]:
    if not _computable(config):
        return
    if any(not max(scale, 1 / scale).is_integer() for scale in map(float, config.up_scales)):
        yield f"up_scales must be whole numbers or one divided by them, not {list(config.up_scales)}"
    strides = list(itertools.accumulate(config.block_strides, lambda a, b: a * b))
    sizes = [stride / scale for stride, scale in zip(strides, config.up_scales, strict=True)]
    if max(sizes) - min(sizes) > _ROUNDING or abs(sizes[0] - round(sizes[0])) > _ROUNDING or sizes[0] < 1 - _ROUNDING:
        yield (
            f"maps of strides {strides} do not become one size of whole pillars by up_scales {list(config.up_scales)}"
        )


def _whole_cells(config: TeacherConfig) -> Iterator[str]:
    if not _computable(config):
        return
    x0, y0, _, x1, y1, _ = config.point_range
    columns, rows = config.canvas
    off = max(abs((x1 - x0) / config.pillar_m - columns), abs((y1 - y0) / config.pillar_m - rows))
    stride = max(itertools.accumulate(config.block_strides, lambda a, b: a * b))
    if off > _ROUNDING:
        yield f"point_range must span whole pillars of {config.pillar_m:g} m; it is {x1 - x0:g} x {y1 - y0:g} m"
    elif columns % stride or rows % stride:
        yield f"a canvas of {columns} x {rows} pillars cannot be divided by the trunk's stride of {stride}"


def _computable(config: TeacherConfig) -> bool:
    """Whether sizes can be worked out at all; where not, other checks say why."""
    blocks = config.block_strides, config.up_scales
    return (
        config.pillar_m > 0
        and len({len(each) for each in blocks}) == 1
        and all(min(each, default=0) > 0 for each in blocks)
    )


@dataclass(frozen=True)
class TeacherConfig(Checked):
    """CenterPoint on pillars (Yin et al., CVPR 2021; Lang et al., CVPR 2019).

    The default is small enough to label on two processor cores. What published checkpoints have otherwise is an entry.

    Attributes:
        class_names: what it tells apart.
        tasks: its classes by head; by super-classes where nothing is given, which LT3D's hierarchy consists of.
        point_range: least x, y, z and greatest x, y, z of the points that count, metres in the model's frame.
        pillar_m: side of a pillar.
        sweeps: clouds that are seen together, the present one among them.
        point_features: what is told of a point: intensity and time lag, or one of them.
        intensity_scale: the greatest intensity that the network knows; 0 takes none, whatever a cloud has.
        max_points: points of a pillar that count, the first ones; fewer are filled up with zeros, which take part in
            the maximum, as in the published layout. 0 takes all points, and no zeros.
        pillar_layers: widths of the layers of a pillar's points; all but the last join each point with the maximum of
            its pillar.
        center_z: tell points their height over the middle of the pillar too.
        block_strides, block_layers, block_widths: of the trunk's blocks: the stride of its first convolution, the
            number of those after it, and channels.
        up_scales, up_widths: how each block's map is scaled to a common size, and its channels there.
        trunk_epsilon, head_epsilon: of batch normalisation.
        shared_width, head_width: channels before and within the heads.
        head_bias: whether convolutions before a normalisation have a bias, in the heads.
        heading: order of the two numbers of a heading.
        size_order: order of a box's sizes in the head, and whether the heading is that of the length axis (``lwh``), or
            turned by a quarter (``wlh``: yaw' = -yaw - pi / 2).
        velocity: whether velocities are predicted.
        suppression_m2: for each task the squared distance within which a better box suppresses another.
        detections: at most so many of a task before suppression.
        score: least confidence of a detection.
        center_range: least x, y, z and greatest x, y, z of detections' centres, in the model's frame.
        point_classes: names of the classes of points; none for a teacher without them.
        T_ego_model: (4, 4) from the frame of its training to the ego frame.
    """

    TITLE: ClassVar[str] = "teacher"
    CHECKS: ClassVar[Checks] = (
        *positive("pillar_m", "sweeps", "shared_width", "head_width", "detections", "trunk_epsilon", "head_epsilon"),
        *not_negative("intensity_scale", "max_points", "score"),
        rule(
            lambda c: all(low < high for low, high in zip(c.point_range[:3], c.point_range[3:], strict=True)),
            "point_range must be the least x, y, z and the greatest, not {0.point_range}",
        ),
        rule(
            lambda c: (
                len({len(c.block_strides), len(c.block_layers), len(c.block_widths), len(c.up_scales)}) == 1
                and len(c.up_scales) == len(c.up_widths)
            ),
            "blocks and their scales must be as many: {0.block_strides}, {0.block_layers}, {0.block_widths}, "
            "{0.up_scales}, {0.up_widths}",
        ),
        rule(
            lambda c: not c.suppression_m2 or len(c.suppression_m2) == len(c.tasks),
            "suppression_m2 needs one number for each task",
        ),
        _every_class_once,
        _widths,
        _one_size,
        _whole_cells,
    )

    class_names: tuple[str, ...] = CLASS_NAMES
    tasks: tuple[tuple[str, ...], ...] = ()
    point_range: tuple[float, float, float, float, float, float] = (-51.2, -51.2, -3.0, 51.2, 51.2, 5.0)
    pillar_m: float = 0.32
    sweeps: int = 3
    point_features: Literal["intensity_lag", "intensity", "lag", "none"] = "intensity_lag"
    intensity_scale: float = 1.0
    max_points: int = 0
    pillar_layers: tuple[int, ...] = (32,)
    center_z: bool = True
    block_strides: tuple[int, ...] = (2, 2, 2)
    block_layers: tuple[int, ...] = (2, 3, 3)
    block_widths: tuple[int, ...] = (32, 64, 128)
    up_scales: tuple[float, ...] = (1.0, 2.0, 4.0)
    up_widths: tuple[int, ...] = (32, 32, 32)
    trunk_epsilon: float = 1e-3
    head_epsilon: float = 1e-5
    shared_width: int = 32
    head_width: int = 16
    head_bias: bool = False
    heading: Literal["sin_cos", "cos_sin"] = "sin_cos"
    size_order: Literal["lwh", "wlh"] = "lwh"
    velocity: bool = True
    suppression_m2: tuple[float, ...] = ()
    detections: int = 200
    score: float = 0.05
    center_range: tuple[float, float, float, float, float, float] = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)
    point_classes: tuple[str, ...] = ()
    T_ego_model: Pose = IDENTITY

    def __post_init__(self) -> None:
        if not self.tasks:
            object.__setattr__(self, "tasks", _by_family(self.class_names))
        if not self.suppression_m2:
            object.__setattr__(self, "suppression_m2", tuple(1.0 for _ in self.tasks))
        super().__post_init__()

    @property
    def canvas(self) -> tuple[int, int]:
        """Columns and rows of pillars."""
        x0, y0, _, x1, y1, _ = self.point_range
        return round((x1 - x0) / self.pillar_m), round((y1 - y0) / self.pillar_m)

    @property
    def stride(self) -> int:
        """Pillars per cell of the maps of trunk and heads, along each axis."""
        strides = itertools.accumulate(self.block_strides, lambda a, b: a * b)
        return round(next(stride / scale for stride, scale in zip(strides, self.up_scales, strict=True)))

    @property
    def pillar_grid(self) -> BevGrid:
        """Where the pillars are, in the model's frame."""
        columns, rows = self.canvas
        return BevGrid(self.point_range[0], self.point_range[1], self.pillar_m, columns, rows)

    @property
    def grid(self) -> BevGrid:
        """Where the cells of the maps are, in the model's frame."""
        return self.pillar_grid.coarser(self.stride)

    def to_dict(self) -> dict[str, Any]:
        """As plain types for JSON."""
        return asdict(self)


def _by_family(names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    families: dict[str, list[str]] = {}
    for info in class_list_of(names).classes:
        families.setdefault(info.family, []).append(info.name)
    return tuple(map(tuple, families.values()))
