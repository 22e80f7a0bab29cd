"""Where training and validation frames come from, as recipes say it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from semlt3d_ros.core.checks import Checked, Checks, positive, rule
from semlt3d_ros.simulation.generation import GenerationRecipe

_OF_BAGS = ("labels", "key_frames", "rig", "clip_frames", "part", "cloud_points")


def _of_bags(spec: DataSpec) -> bool:
    """Whether what only bags have is left alone where there are none."""
    return bool(spec.bags) or all(getattr(spec, name) == getattr(DataSpec, name) for name in _OF_BAGS)


@dataclass(frozen=True)
class DataSpec(Checked):
    """One source of frames: drives to simulate, or recordings.

    The entries of ``simulate`` may also stand here themselves.

    Attributes:
        simulate: what to simulate.
        bags: rosbag2 folders and files, by patterns such as ``drives/**/*.mcap``, relative to the current folder.
        labels: topic of the ground truth (``semlt3d_ros/LongTailDetectionArray``); None takes the rig's.
        label_map: file or name of the label map from the source's labels to the student's classes; None takes labels
            that are classes for what they say, and else the map that comes with the package and knows them.
        key_frames: take only frames that have ground truth; false takes those between them along for the memory, where
            nothing is learnt from them.
        rig: rig file of the bags; None finds cameras by the names of their topics.
        clip_frames: longest clip that training plays in one go; validation plays drives from beginning to end.
        part: of each drive, from and to as shares of its frames: a single drive may be learnt from at its beginning and
            judged by at its end.
        cloud_points: points kept of each recorded cloud, with intensity and time, as LiDAR teachers need them; None
            keeps a few thousand positions alone, as students need them. Of simulated clouds, ``point_limit`` says it.
        labelled: false leaves labels alone, whether there are any or not: what is learnt of all frames is what a LiDAR
            teacher says.
        share: of the frames played in training. Sources without one divide the rest by their numbers of frames.
    """

    TITLE: ClassVar[str] = "data source"
    CHECKS: ClassVar[Checks] = (
        rule(lambda s: (s.simulate is None) != (not s.bags), "give either simulate or bags"),
        rule(_of_bags, f"{', '.join(_OF_BAGS)} are entries of bags"),
        rule(lambda s: s.share is None or 0 < s.share <= 1, "share must be above 0 and not above 1, not {0.share}"),
        rule(lambda s: 0 <= s.part[0] < s.part[1] <= 1, "part must be from and to, in [0, 1], not {0.part}"),
        *positive("clip_frames"),
        rule(
            lambda s: s.cloud_points is None or s.cloud_points > 0,
            "cloud_points must be positive, not {0.cloud_points}",
        ),
        rule(
            lambda s: s.labelled or (s.labels is None and s.label_map is None),
            "labels and label_map are of no use where labelled is false",
        ),
    )

    simulate: GenerationRecipe | None = None
    bags: tuple[str, ...] = ()
    labels: str | None = None
    label_map: str | None = None
    key_frames: bool = True
    rig: Path | None = None
    clip_frames: int = 10
    part: tuple[float, float] = (0.0, 1.0)
    share: float | None = None
    cloud_points: int | None = None
    labelled: bool = True

    @classmethod
    def in_full(cls, values: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """Entries of a generation recipe alone are those of ``simulate``, one pattern is a list of one."""
        own = {entry.name for entry in fields(cls)}
        if "simulate" not in values and "bags" not in values:
            simulated = {name: value for name, value in values.items() if name not in own}
            return {"simulate": simulated, **{name: value for name, value in values.items() if name in own}}
        return {**values, "bags": [values["bags"]]} if isinstance(values.get("bags"), str) else values


def shared_seeds(specs: Sequence[DataSpec]) -> Iterator[str]:
    """What is simulated in more than one of several sources."""
    parts = sorted((spec.simulate for spec in specs if spec.simulate), key=lambda part: part.first_seed)
    for first, second in itertools.pairwise(parts):
        if first.first_seed + first.drives > second.first_seed:
            yield f"two parts of the data share seed {second.first_seed}"
