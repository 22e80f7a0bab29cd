"""nuScenes' boxes as arrays: a million of them, with the velocities that follow from their neighbours in time."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.datasets.nuscenes_folder import OF_TRUTH
from semlt3d_ros.datasets.nuscenes_reader import TableReader

CATEGORIES = (
    *("human.pedestrian.adult", "human.pedestrian.child", "human.pedestrian.wheelchair", "human.pedestrian.stroller"),
    *("human.pedestrian.personal_mobility", "human.pedestrian.police_officer"),
    *("human.pedestrian.construction_worker", "animal", "vehicle.car", "vehicle.motorcycle", "vehicle.bicycle"),
    *("vehicle.bus.bendy", "vehicle.bus.rigid", "vehicle.truck", "vehicle.construction"),
    *("vehicle.emergency.ambulance", "vehicle.emergency.police", "vehicle.trailer", "movable_object.barrier"),
    *("movable_object.trafficcone", "movable_object.pushable_pullable", "movable_object.debris"),
    "static_object.bicycle_rack",
)
"""Of which nuScenes has boxes; the table of categories also has those of its segmented points."""

_SHARE_VISIBLE = {"1": 0.2, "2": 0.5, "3": 0.7, "4": 0.9}
"""The middle of each level of visibility: below 40 %, to 60 %, to 80 %, and above."""


@dataclass
class Annotations:
    """Boxes of all samples wanted, in the global frame, in the order of their samples.

    Attributes:
        samples: (N,) index of each box's sample.
        centers, sizes: (N, 3) metres; sizes are width, length, height, as in nuScenes.
        rotations: (N, 4) quaternions w, x, y, z.
        velocity: (N, 2) m/s, NaN where unknown.
        labels: (N,) indices into ``names``.
        instances: (N,) indices into ``tokens``.
        attributes: (N,) indices into ``attribute_names``, -1 for none.
        visibility: (N,) share in [0, 1], NaN where unknown.
        lidar_points, radar_points: (N,) points in the box.
        names: of the categories.
        tokens: of the instances.
        attribute_names: names of the attributes.
    """

    samples: NDArray[np.int32]
    centers: NDArray[np.float64]
    sizes: NDArray[np.float64]
    rotations: NDArray[np.float64]
    velocity: NDArray[np.float64]
    labels: NDArray[np.int32]
    instances: NDArray[np.int32]
    attributes: NDArray[np.int32]
    visibility: NDArray[np.float32]
    lidar_points: NDArray[np.int32]
    radar_points: NDArray[np.int32]
    names: tuple[str, ...]
    tokens: list[str]
    attribute_names: list[str]


def read_annotations(reader: TableReader, samples: Mapping[str, int], stamps: NDArray[np.int64]) -> Annotations | None:
    """The boxes of the samples; None where the version has none."""
    path = reader.folder.table("sample_annotation")
    if not all(reader.folder.table(name).is_file() for name in OF_TRUTH):
        missing = [name for name in OF_TRUTH if not reader.folder.table(name).is_file()]
        reader.faults.note(str(path.parent), "no_truth", f"without {', '.join(missing)} there is no ground truth")
        return None
    names, attribute_names = _read_names(reader)
    instances, instance_of, labels_of = _read_instances(reader, names)
    if not instances:
        return None
    attribute_of = {token: place for place, token in enumerate(attribute_names)}
    places, integers, numbers, links = array("i"), array("i"), array("d"), array("b")
    visible = array("f")

    def take(row: dict[str, Any]) -> None:
        sample = samples.get(row["sample_token"])
        if sample is None:
            return
        values = array("d", (*row["translation"], *row["size"], *row["rotation"]))
        if len(values) != 10 or not math.isfinite(sum(values)):
            raise ValueError("translation, size and rotation make no box")
        given = row.get("attribute_tokens") or [""]
        entry = (
            instance_of[row["instance_token"]],
            attribute_of.get(given[0], -1),
            int(row.get("num_lidar_pts", -1)),
            int(row.get("num_radar_pts", 0)),
        )
        integers.extend(entry)
        numbers.extend(values)
        links.extend((bool(row["prev"]), bool(row["next"])))
        visible.append(_SHARE_VISIBLE.get(str(row.get("visibility_token", "")), float("nan")))
        places.append(sample)

    reader.rows("sample_annotation", take)
    sample = np.frombuffer(places, np.int32)
    values = np.frombuffer(numbers, np.float64).reshape(-1, 10)
    whole = np.frombuffer(integers, np.int32).reshape(-1, 4)
    velocity = _velocities(whole[:, 0], stamps[sample], values[:, :3], np.frombuffer(links, np.int8).reshape(-1, 2))
    order = np.argsort(sample, kind="stable")
    return Annotations(
        samples=sample[order],
        centers=values[order, :3],
        sizes=values[order, 3:6],
        rotations=values[order, 6:],
        velocity=velocity[order],
        labels=labels_of[whole[order, 0]],
        instances=whole[order, 0],
        attributes=whole[order, 1],
        visibility=np.frombuffer(visible, np.float32)[order],
        lidar_points=whole[order, 2],
        radar_points=whole[order, 3],
        names=tuple(names.values()),
        tokens=instances,
        attribute_names=list(attribute_names.values()),
    )


def _read_names(reader: TableReader) -> tuple[dict[str, str], dict[str, str]]:
    """Token -> name of categories and attributes, in the order of their tables."""
    categories: dict[str, str] = {}
    attributes: dict[str, str] = {}
    reader.rows("category", lambda row: categories.update({row["token"]: str(row["name"])}))
    if reader.folder.table("attribute").is_file():
        reader.rows("attribute", lambda row: attributes.update({row["token"]: str(row["name"])}))
    return categories, attributes


def _read_instances(
    reader: TableReader, categories: dict[str, str]
) -> tuple[list[str], dict[str, int], NDArray[np.int32]]:
    """Tokens of the instances, their places, and the category of each; ``categories`` is left with those of boxes."""
    tokens: list[str] = []
    kinds: list[str] = []

    def take(row: dict[str, Any]) -> None:
        if row["category_token"] not in categories:
            raise ValueError(f"the category {row['category_token']} is not in the table")
        tokens.append(str(row["token"]))
        kinds.append(row["category_token"])

    reader.rows("instance", take)
    used = set(kinds)
    for token in [token for token, name in categories.items() if name not in CATEGORIES and token not in used]:
        del categories[token]
    index = {token: place for place, token in enumerate(categories)}
    labels = np.array([index[kind] for kind in kinds], np.int32)
    return tokens, {token: place for place, token in enumerate(tokens)}, labels


def _velocities(
    instances: NDArray[np.int32],
    stamps: NDArray[np.int64],
    centers: NDArray[np.float64],
    links: NDArray[np.int8],
    longest_s: float = 1.5,
) -> NDArray[np.float64]:
    """(N, 2) m/s of objects from their places before and after, as nuScenes has it; NaN where unknown.

    Args:
        instances: (N,) whose boxes they are.
        stamps: (N,) nanoseconds.
        centers: (N, 3) metres.
        links: (N, 2) whether the instance has a box before and after.
        longest_s: from one box to the next; more tells nothing.
    """
    velocity = np.full((len(instances), 2), np.nan)
    if not len(instances):
        return velocity
    order = np.lexsort((stamps, instances))
    places = np.arange(len(order))
    same = np.diff(instances[order]) == 0
    has_before = np.concatenate([[False], same]) & (links[order, 0] == 1)
    has_after = np.concatenate([same, [False]]) & (links[order, 1] == 1)
    first, last = order[places - has_before], order[places + has_after]
    seconds = (stamps[last] - stamps[first]) * 1e-9
    known = (first != last) & (seconds > 0) & (seconds <= longest_s * (has_before + has_after.astype(np.int64)))
    moved = centers[last, :2] - centers[first, :2]
    velocity[order[known]] = moved[known] / seconds[known, None]
    return velocity
