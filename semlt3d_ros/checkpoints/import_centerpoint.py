"""CenterPoint on pillars from mmdetection3d, OpenPCDet and its authors (github.com/tianweiy/CenterPoint), for nuScenes.

All three are one network with other names. What differs: OpenPCDet and the authors pad before the first convolution of
a block, so that numbers are one higher, have biases before the heads' normalisations, and OpenPCDet scales by
transposed convolutions even where the size stays, gives the heading as cosine and sine, and limits no pillar.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from semlt3d_ros.checkpoints.import_weights import Choices, ImportedTeacher, layers_in, need, part
from semlt3d_ros.core import rigid
from semlt3d_ros.core.classes import ClassList, load_class_list
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.student.published.config import NUSCENES_LIDAR_TOP
from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.teacher import Teacher

_NUSCENES_TASKS = (
    ("car",),
    ("truck", "construction_vehicle"),
    ("bus", "trailer"),
    ("barrier",),
    ("motorcycle", "bicycle"),
    ("pedestrian", "traffic_cone"),
)
_NUSCENES_RADII_M2 = (4.0, 12.0, 10.0, 1.0, 0.85, 0.175)
_CLASSES = "nuscenes"


@dataclass(frozen=True)
class _Origin:
    """How one code base names and arranges things.

    Attributes:
        name: of it.
        pillars, blocks, ups, shared, tasks: beginnings of names.
        first: number of a block's first convolution.
        heads: names of our maps in it.
        inner, norm, outer: what a map's convolution, normalisation and last convolution are called.
        shared_norm: the same of the shared convolution.
        middle_z: whether points are told their height over the pillar's middle, where the number of inputs allows both.
        turned_up: whether maps that stay as large go through a transposed convolution.
        changes: of the config.
    """

    name: str
    pillars: str
    blocks: str
    ups: str
    shared: str
    tasks: str
    first: int
    heads: Mapping[str, str]
    inner: str
    norm: str
    outer: str
    shared_convolution: str
    shared_norm: str
    middle_z: bool
    turned_up: bool
    changes: Mapping[str, object] = field(default_factory=dict)


_MMDET = _Origin(
    "mmdetection3d",
    "pts_voxel_encoder.pfn_layers.",
    "pts_backbone.blocks.",
    "pts_neck.deblocks.",
    "pts_bbox_head.shared_conv.",
    "pts_bbox_head.task_heads.",
    0,
    {"offset": "reg", "height": "height", "size": "dim", "heading": "rot", "velocity": "vel", "heat": "heatmap"},
    "0.conv",
    "0.bn",
    "1",
    "conv",
    "bn",
    True,
    False,
    {"max_points": 20},
)
_PCDET = _Origin(
    "OpenPCDet",
    "vfe.pfn_layers.",
    "backbone_2d.blocks.",
    "backbone_2d.deblocks.",
    "dense_head.shared_conv.",
    "dense_head.heads_list.",
    1,
    {"offset": "center", "height": "center_z", "size": "dim", "heading": "rot", "velocity": "vel", "heat": "hm"},
    "0.0",
    "0.1",
    "1",
    "0",
    "1",
    True,
    True,
    {"heading": "cos_sin"},
)
_AUTHORS = _Origin(
    "CenterPoint",
    "reader.pfn_layers.",
    "neck.blocks.",
    "neck.deblocks.",
    "bbox_head.shared_conv.",
    "bbox_head.tasks.",
    1,
    {"offset": "reg", "height": "height", "size": "dim", "heading": "rot", "velocity": "vel", "heat": "hm"},
    "0",
    "1",
    "3",
    "0",
    "1",
    False,
    False,
    {"max_points": 20, "size_order": "wlh"},
)
_ORIGINS = (_MMDET, _PCDET, _AUTHORS)
_TOLD = {2: "intensity_lag", 1: "intensity", 0: "none"}


def knows(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of a CenterPoint on pillars."""
    return _origin_of(tensors) is not None


def _origin_of(tensors: Mapping[str, Tensor]) -> _Origin | None:
    for origin in _ORIGINS:
        if f"{origin.pillars}0.linear.weight" in tensors and any(name.startswith(origin.tasks) for name in tensors):
            return origin
    return None


def convert(tensors: Mapping[str, Tensor], choices: Choices) -> ImportedTeacher:
    """The teacher, its sizes read off the shapes.

    Raises:
        ConfigurationError: tensors are missing, left over or do not fit, or the classes are more or fewer.
    """
    origin = _origin_of(tensors)
    assert origin is not None
    config, classes = _config(tensors, origin, choices)
    own = _renamed(tensors, origin, config)
    with torch.random.fork_rng(devices=[]):
        teacher = Teacher(config)
    _fill(teacher, own)
    blocks = zip(config.block_layers, config.block_widths, strict=True)
    counters = sum(not values.dtype.is_floating_point for values in tensors.values())
    dropped = {"counters": counters, "others": len(tensors) - len(own) - counters}
    x0, y0, z0, x1, y1, z1 = config.point_range
    return ImportedTeacher(
        teacher.eval(),
        classes,
        f"centerpoint_pillar_{origin.name.lower()}",
        {
            "model": "CenterPoint on pillars",
            "from": origin.name,
            "pillar layers": " ".join(map(str, config.pillar_layers)),
            "what is told of points": config.point_features.replace("_", " and "),
            "blocks": ", ".join(f"{count + 1} x {width}" for count, width in blocks),
            "classes by head": "; ".join(", ".join(task) for task in config.tasks),
        },
        {
            "range": f"x {x0:g} to {x1:g}, y {y0:g} to {y1:g}, z {z0:g} to {z1:g}, pillars of {config.pillar_m:g} m",
            "strides": " ".join(map(str, config.block_strides)),
            "points of a pillar": str(config.max_points or "all"),
            "sweeps": str(config.sweeps),
            "sizes and heading": f"{' '.join(config.size_order)}, {config.heading.replace('_', ' and ')}",
            "model's frame in base_link": " ".join(f"{v:g}" for v in choices.T_ego_model or NUSCENES_LIDAR_TOP),
            "classes": ", ".join(config.class_names),
        },
        len(own),
        {what: count for what, count in dropped.items() if count},
    )


def _config(tensors: Mapping[str, Tensor], origin: _Origin, choices: Choices) -> tuple[TeacherConfig, ClassList]:
    layers = layers_in(tensors, origin.pillars)
    rows = [need(tensors, f"{origin.pillars}{number}.linear.weight", (None, None)) for number in range(layers)]
    inputs = rows[0].shape[1]
    # 5 and 3 more, or 2: where both are possible, as the code base has it.
    told, center_z = inputs - 9, True
    if not origin.middle_z or told not in _TOLD or (origin is _MMDET and inputs == 10):
        told, center_z = inputs - 8, False
    if told not in _TOLD:
        raise ConfigurationError(
            f"'{origin.pillars}0.linear.weight' takes {inputs} numbers of a point; 8 to 11 are known"
        )
    blocks = layers_in(tensors, origin.blocks)
    widths, counts, scales, ups = [], [], [], []
    for number in range(blocks):
        prefix = f"{origin.blocks}{number}."
        convolutions = [name for name in tensors if name.startswith(prefix) and tensors[name].dim() == 4]
        widths.append(len(need(tensors, f"{prefix}{origin.first}.weight", (None, None, 3, 3))))
        counts.append(len(convolutions) - 1)
        up, width = _up(tensors, origin, number, widths[-1])
        scales.append(up)
        ups.append(width)
    count = layers_in(tensors, origin.tasks)
    heat = origin.heads["heat"]
    sizes = [
        len(need(tensors, f"{origin.tasks}{number}.{heat}.{origin.outer}.weight", (None, None, 3, 3)))
        for number in range(count)
    ]
    classes = choices.classes or load_class_list(_CLASSES)
    tasks = _tasks_of(classes, sizes)
    head = need(tensors, f"{origin.tasks}0.{heat}.{origin.inner}.weight", (None, None, 3, 3))
    T = choices.T_ego_model or NUSCENES_LIDAR_TOP
    pose = rigid.frame_of(T)
    config = TeacherConfig(
        class_names=classes.names,
        tasks=tasks,
        point_range=(-51.2, -51.2, -5.0, 51.2, 51.2, 3.0),
        pillar_m=0.2,
        sweeps=10,
        point_features=_TOLD[told],  # type: ignore[arg-type]
        intensity_scale=255.0,
        pillar_layers=tuple(len(row) * (1 if number + 1 == layers else 2) for number, row in enumerate(rows)),
        center_z=center_z,
        block_strides=_strides(scales),
        block_layers=tuple(counts),
        block_widths=tuple(widths),
        up_scales=tuple(scales),
        up_widths=tuple(ups),
        shared_width=head.shape[1],
        head_width=head.shape[0],
        head_bias=f"{origin.tasks}0.{heat}.{origin.inner}.bias" in tensors,
        velocity=f"{origin.tasks}0.{origin.heads['velocity']}.{origin.outer}.weight" in tensors,
        suppression_m2=_NUSCENES_RADII_M2 if tasks == _NUSCENES_TASKS else tuple(1.0 for _ in tasks),
        detections=500,
        score=0.1,
        T_ego_model=tuple(tuple(float(value) for value in row) for row in pose),
        **origin.changes,  # type: ignore[arg-type]
    )
    return config, classes


def _up(tensors: Mapping[str, Tensor], origin: _Origin, number: int, width: int) -> tuple[float, int]:
    """By how much a block's map is scaled, and its channels then."""
    name = f"{origin.ups}{number}.0.weight"
    kernel = need(tensors, name, (None, None, None, None))
    channels = len(need(tensors, f"{origin.ups}{number}.1.weight", (None,)))
    side = kernel.shape[-1]
    plain, turned = kernel.shape[:2] == (channels, width), kernel.shape[:2] == (width, channels)
    if not plain and not turned:
        raise ConfigurationError(
            f"'{name}' has the shape {list(kernel.shape)}; it has to lead from {width} to {channels}"
        )
    if side == 1:
        return 1.0, channels
    # Where both are possible, the first block is the one that is scaled down.
    down = plain and (not turned or number == 0)
    return (1.0 / side if down else float(side)), channels


def _strides(scales: list[float]) -> tuple[int, ...]:
    """Of the blocks; no file says them, but all maps have to become one size."""
    growth = [after / before for before, after in itertools.pairwise(scales)]
    first = 1 if scales[0] == 1.0 and len(scales) > 1 else 2
    strides = (first, *(round(each) for each in growth))
    if any(stride < 1 or not math.isclose(stride, each) for stride, each in zip(strides[1:], growth, strict=True)):
        raise ConfigurationError(f"its maps are scaled by {scales}, which do not become one size by whole strides")
    return strides


def _tasks_of(classes: ClassList, sizes: list[int]) -> tuple[tuple[str, ...], ...]:
    if len(classes) != sum(sizes):
        raise ConfigurationError(
            f"it tells {sum(sizes)} classes apart, but list '{classes.name}' has {len(classes)}; name those it was "
            "trained for with --classes, in the order of its heads"
        )
    of_nuscenes = set(classes.names) == {name for task in _NUSCENES_TASKS for name in task}
    if of_nuscenes and sizes == [len(task) for task in _NUSCENES_TASKS]:
        return _NUSCENES_TASKS
    ends = list(itertools.accumulate(sizes, initial=0))
    return tuple(classes.names[first:last] for first, last in itertools.pairwise(ends))


def _renamed(tensors: Mapping[str, Tensor], origin: _Origin, config: TeacherConfig) -> dict[str, Tensor]:
    """The tensors by our names."""
    own: dict[str, Tensor] = {}

    def take(prefix: str, target: str) -> None:
        for name, values in part(tensors, f"{prefix}.").items():
            if not name.endswith("num_batches_tracked"):
                own[f"{target}.{name}"] = values

    for number in range(len(config.pillar_layers)):
        for name in ("linear", "norm"):
            take(f"{origin.pillars}{number}.{name}", f"pillars.layers.{number}.{name}")
    for number, layers in enumerate(config.block_layers):
        for step in range(layers + 1):
            place = origin.first + 3 * step
            take(f"{origin.blocks}{number}.{place}", f"trunk.blocks.{number}.{step}.0")
            take(f"{origin.blocks}{number}.{place + 1}", f"trunk.blocks.{number}.{step}.1")
        for step in (0, 1):
            take(f"{origin.ups}{number}.{step}", f"trunk.ups.{number}.{step}")
        if config.up_scales[number] == 1.0 and origin.turned_up:
            name = f"trunk.ups.{number}.0.weight"
            own[name] = own[name].transpose(0, 1).contiguous()
    take(f"{origin.shared}{origin.shared_convolution}", "head.shared.0")
    take(f"{origin.shared}{origin.shared_norm}", "head.shared.1")
    for number in range(len(config.tasks)):
        for name, theirs in origin.heads.items():
            if name == "velocity" and not config.velocity:
                continue
            prefix, target = f"{origin.tasks}{number}.{theirs}.", f"head.tasks.{number}.{name}"
            take(f"{prefix}{origin.inner}", f"{target}.0.0")
            take(f"{prefix}{origin.norm}", f"{target}.0.1")
            take(f"{prefix}{origin.outer}", f"{target}.1")
    return own


def _fill(teacher: Teacher, own: Mapping[str, Tensor]) -> None:
    wanted = {name: v for name, v in teacher.state_dict().items() if not name.endswith("num_batches_tracked")}
    missing, unknown = sorted(set(wanted) - set(own)), sorted(set(own) - set(wanted))
    unfit = sorted(name for name in set(wanted) & set(own) if wanted[name].shape != own[name].shape)
    for names, what in ((missing, "lacks"), (unknown, "has, besides what is known,"), (unfit, "has of another shape")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ConfigurationError(f"it looks like a CenterPoint on pillars, but {what} {', '.join(names[:3])}{more}")
    strange = sorted(name for name, values in own.items() if not torch.isfinite(values).all())
    if strange:
        raise ConfigurationError(f"'{strange[0]}' holds numbers that are not finite; the file is damaged")
    teacher.load_state_dict({name: values.float() for name, values in own.items()}, strict=False)
