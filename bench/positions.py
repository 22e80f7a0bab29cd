"""How well a query of ``global`` attention can find, by positions alone, the image token that shows its point.

The position encodings of tokens and queries learn together, with one linear map each and nothing of any image: of all
tokens of a rig the query is to choose those that show it, at a random place within the range. Tested on rigs and places
that were not learnt from. It says what the encodings make possible, not what a detector makes of it.

    python -m bench.positions [--json] [--steps 600] [--seeds 3]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from semlt3d_ros.commands.model import six_cameras
from semlt3d_ros.student.attention import ImageContext
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import PositionEncoding
from semlt3d_ros.student.geometry import MIN_DEPTH_M, cell_centers, project, unproject
from semlt3d_ros.student.global_attention import DepthPointEncoding

BASE = StudentConfig(cross_attention="global")
ROWS: dict[str, dict[str, Any]] = {
    "as it was": {},
    "height by its own range": {"token_height_m": 10.0},
    "sine waves of the azimuth": {"azimuth_octaves": 6},
    "both": {"token_height_m": 10.0, "azimuth_octaves": 6},
}
_QUERIES, _TEST_RIGS = 256, 20


@dataclass
class Trial:
    """Points, the rig that sees them, and what shows them.

    Attributes:
        context: the rig; features are empty, since nothing looks at them.
        points: (1, Q, 3) metres in the ego frame.
        shown: (Q, N) bool, whether a token's cell holds the point.
    """

    context: ImageContext
    points: Tensor
    shown: Tensor


def a_rig(config: StudentConfig) -> Batch:
    """Six cameras, each turned, tilted and raised a little at random."""
    batch = six_cameras(config)
    count = batch.T_ego_camera.shape[1]
    yaw, pitch = torch.randn(count) * 0.1, torch.randn(count) * 0.05
    poses = batch.T_ego_camera.clone()
    tilt = torch.eye(3).repeat(count, 1, 1)
    tilt[:, 1, 1], tilt[:, 1, 2], tilt[:, 2, 1], tilt[:, 2, 2] = pitch.cos(), -pitch.sin(), pitch.sin(), pitch.cos()
    turn = torch.eye(3).repeat(count, 1, 1)
    turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = yaw.cos(), -yaw.sin(), yaw.sin(), yaw.cos()
    poses[0, :, :3, :3] = turn @ poses[0, :, :3, :3] @ tilt
    poses[0, :, 2, 3] += torch.rand(()) * 0.6 - 0.3
    return replace(batch, T_ego_camera=poses)


def a_trial(config: StudentConfig) -> Trial:
    """A random rig, and random points that at least one of its tokens shows."""
    batch, stride = a_rig(config), config.strides[config.token_level]
    h, w = config.image_height // stride, config.image_width // stride
    features = [
        torch.empty(1, batch.valid.shape[1], config.width, config.image_height // s, config.image_width // s)
        for s in config.strides
    ]
    azimuth, distance = torch.rand(4 * _QUERIES) * 2 * math.pi, config.range_m * torch.rand(4 * _QUERIES).sqrt()
    height = torch.rand(4 * _QUERIES) * 3.0
    points = torch.stack([distance * azimuth.cos(), distance * azimuth.sin(), height], -1)[None]
    pixels, depth = project(points, batch.intrinsics, batch.T_ego_camera)
    cell = ((pixels[0] + 0.5) / stride - 0.5).round()
    seen = (depth[0] > MIN_DEPTH_M) & (cell >= 0).all(-1) & (cell[..., 0] < w) & (cell[..., 1] < h)
    chosen = torch.nonzero(seen.any(0))[:_QUERIES, 0]
    shown = torch.zeros(len(chosen), batch.valid.shape[1] * h * w, dtype=torch.bool)
    view, query = torch.nonzero(seen[:, chosen], as_tuple=True)
    column, row = cell[view, chosen[query]].long().unbind(-1)
    shown[query, (view * h + row) * w + column] = True
    return Trial(ImageContext(features, batch, config.strides, config.token_level), points[:, chosen], shown)


class Finder(nn.Module):
    """The two encodings, and what makes queries and keys of them."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.level, width = config.token_level, config.width
        self.tokens, self.queries = DepthPointEncoding(config), PositionEncoding(config)
        self.key, self.query = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, trial: Trial) -> Tensor:
        """(Q, N) log attention of the points to the tokens."""
        keys = self.key(self.tokens(trial.context, self.level))[0]
        queries = self.query(self.queries(trial.points))[0]
        return (queries @ keys.T / math.sqrt(keys.shape[-1])).log_softmax(-1)


def angles(trial: Trial, best: Tensor, config: StudentConfig) -> Tensor:
    """(Q,) degrees between the direction of the chosen token and that of the point, from the token's camera."""
    batch, stride = trial.context.batch, config.strides[config.token_level]
    h, w = config.image_height // stride, config.image_width // stride
    view, cell = best // (h * w), best % (h * w)
    pixels = cell_centers(h, w, stride, best.device).flatten(0, 1)[cell]
    poses = batch.T_ego_camera[0, view]
    ray = unproject(pixels, torch.ones(len(best)), batch.intrinsics[0, view], poses) - poses[:, :3, 3]
    return torch.rad2deg(torch.arccos(torch.cosine_similarity(ray, trial.points[0] - poses[:, :3, 3]).clamp(-1, 1)))


def run(config: StudentConfig, seed: int, steps: int) -> dict[str, float]:
    """Learn and test one pair of encodings."""
    torch.manual_seed(seed)
    finder = Finder(config)
    optimizer = torch.optim.AdamW(finder.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        trial = a_trial(config)
        loss = -finder(trial).masked_fill(~trial.shown, -torch.inf).logsumexp(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    torch.manual_seed(10_000)  # the same rigs and places for all
    right, off, weight = [], [], []
    with torch.no_grad():
        for trial in (a_trial(config) for _ in range(_TEST_RIGS)):
            log_attention = finder(trial)
            best = log_attention.argmax(-1)
            right.append(trial.shown.gather(1, best[:, None])[:, 0].float())
            weight.append((log_attention.exp() * trial.shown).sum(-1))
            off.append(angles(trial, best, config))
    return {
        "found": 100 * float(torch.cat(right).mean()),
        "attention": 100 * float(torch.cat(weight).mean()),
        "median_angle": float(torch.cat(off).median()),
    }


def measure(steps: int, seeds: int) -> dict[str, dict[str, list[float]]]:
    """Each figure of each row, over the seeds."""
    results = {}
    for name, change in ROWS.items():
        runs = [run(replace(BASE, **change), seed, steps) for seed in range(seeds)]
        results[name] = {key: [each[key] for each in runs] for key in runs[0]}
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = measure(options.steps, options.seeds)
    if options.json:
        print(json.dumps(results))
        return
    table = Table("encodings", "best token shows the point %", "attention on such tokens %", "median angle, degrees")
    for name, figures in results.items():
        cells = [
            f"{statistics.mean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0.0:.1f}"
            for values in figures.values()
        ]
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
