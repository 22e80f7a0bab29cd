"""mmdetection3d's CenterPoint on pillars against ``teacher``, from points to boxes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bench.parity.fixtures import Comparison, Fixture, largest_difference, uniform
from semlt3d_ros.checkpoints.import_centerpoint import convert
from semlt3d_ros.checkpoints.import_weights import Choices
from semlt3d_ros.teacher.decoding import best_cells, circle_suppressed
from semlt3d_ros.teacher.teacher import Teacher

HEADS = {"reg": "offset", "height": "height", "dim": "size", "rot": "heading", "vel": "velocity", "heatmap": "heat"}


def points_of(fixture: Fixture) -> Tensor:
    """(500, 5) x, y, z, intensity in 0..255 and time lag, as the fixture describes them."""
    u = uniform(*(fixture.info["inputs"]["points"][name] for name in ("key", "shape")))
    spread = torch.stack([6.8 * u[:, 0] - 3.4, 6.8 * u[:, 1] - 3.4, 8.6 * u[:, 2] - 5.3], 1)
    spread[420:, 0], spread[420:, 1] = 0.7 + 0.3 * u[420:, 0], -1.3 + 0.25 * u[420:, 1]
    return torch.cat([spread, 255 * u[:, 3:4], torch.floor(10 * u[:, 4:5]) * 0.05], 1)


def teacher_of(fixture: Fixture) -> Teacher:
    """The imported model on the fixture's small grid, in which the checkpoint's frame is the ego frame."""
    imported = convert(fixture.weights(), Choices())
    given = fixture.config
    config = replace(
        imported.teacher.config,
        point_range=tuple(given["point_cloud_range"]),
        score=given["score_threshold"],
        detections=given["decoded_max_per_task"],
        center_range=tuple(given["post_center_range"]),
    )
    teacher = Teacher(config)
    teacher.load_state_dict(imported.teacher.state_dict())
    return teacher.eval()


@torch.inference_mode()
def compare(fixture: Fixture) -> Iterator[Comparison]:
    """Pillars, maps, heads, and boxes before and after suppression."""
    teacher, tolerance, arrays = teacher_of(fixture), fixture.info["tolerance"], fixture.arrays
    config, points = teacher.config, points_of(fixture)
    points[:, 3] /= config.intensity_scale
    canvas, _, _ = teacher.pillars([points], config)
    rows, columns = arrays["input.pillar_coordinates"].astype(int).T
    yield fixture.compare(
        "pillar_features", canvas[0, :, rows, columns].T, arrays["pillar_features"], tolerance["pillar_features"]
    )
    maps = canvas
    for number, block in enumerate(teacher.trunk.blocks):
        maps = block(maps)
        name = f"backbone.block{number}.sample"
        yield fixture.compare(name, maps[0, ::8], arrays[name], tolerance["bev_features, backbone samples"])
    output = teacher([points])
    yield fixture.compare(
        "bev_features", output.bev[0], arrays["bev_features"], tolerance["bev_features, backbone samples"]
    )
    finals: list[tuple[Tensor, Tensor, Tensor]] = []
    classes = 0
    for number, (said, task) in enumerate(zip(output.tasks, config.tasks, strict=True)):
        for theirs, ours in HEADS.items():
            name = f"head.task{number}.{theirs}"
            allowed = tolerance["heat map (heatmap, hm)" if theirs == "heatmap" else "head.* except heat map"]
            yield fixture.compare(name, said[ours][0], arrays[name], allowed)
        found = best_cells(said, config)[0]
        yield from _boxes(fixture, f"decoded.task{number}", (found.boxes, found.scores, found.labels), False)
        kept = circle_suppressed(found, config.suppression_m2[number])
        finals.append((kept.boxes, kept.scores, kept.labels + classes))
        classes += len(task)
    boxes, scores, labels = (torch.cat(each) for each in zip(*finals, strict=True))
    yield from _boxes(fixture, "final", (boxes, scores, labels), True)


def _boxes(fixture: Fixture, name: str, found: tuple[Tensor, Tensor, Tensor], bottom: bool) -> Iterator[Comparison]:
    """Boxes by pairs: each stored one with the nearest of mine that has its label."""
    boxes, scores, labels = (values.numpy().astype(np.float64) for values in found)
    stored = {key: fixture.arrays[f"{name}.{key}"].astype(np.float64) for key in ("boxes", "scores", "labels")}
    tolerance = fixture.info["tolerance"]
    if bottom:
        boxes = boxes.copy()
        boxes[:, 2] -= boxes[:, 5] / 2
    if len(boxes) != len(stored["boxes"]):
        worst = math.inf
        yield Comparison(fixture.name, f"{name}.boxes", worst, tolerance["decoded and final boxes"])
        yield Comparison(fixture.name, f"{name}.scores", worst, tolerance["decoded scores"])
        yield Comparison(fixture.name, f"{name}.labels", worst, 0)
        return
    away = np.abs(scores[None] - stored["scores"][:, None]) + 1e3 * (labels[None] != stored["labels"][:, None])
    away = away + np.abs(boxes[None, :, :2] - stored["boxes"][:, None, :2]).sum(-1)
    order = away.argmin(1)
    off = boxes[order] - stored["boxes"]
    off[:, 6] = (off[:, 6] + math.pi) % (2 * math.pi) - math.pi
    apart = len(set(order.tolist())) == len(order)
    yield Comparison(
        fixture.name, f"{name}.boxes", float(np.abs(off).max(initial=0.0)) if apart else math.inf,
        tolerance["decoded and final boxes"],
    )  # fmt: skip
    yield fixture.compare(f"{name}.scores", scores[order], stored["scores"], tolerance["decoded scores"])
    yield Comparison(fixture.name, f"{name}.labels", largest_difference(labels[order], stored["labels"]), 0)
