"""What routing by language costs: time of the experts and of the language projection, less that of a plain network.

Two students that differ in nothing but the block after attention decode the same features of the same frames in turns:
one with a plain feed-forward network as wide as what a query of the other takes (the shared expert and the best two).
Blocks are timed inside the running students, so that caches are as cold as they are at run time. The share is the
difference of the blocks' times over the whole time of the plain student, backbone included. Times are CPU times of one
thread; each figure is a median, and the whole measurement is repeated to show its spread.

    python -m bench.routing [--json] [--repeats 9] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from semlt3d_ros.commands.counting import six_cameras
from semlt3d_ros.commands.model import read_config
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student

TARGET = 0.03
PUBLISHED = 0.091
"""By how much SemLT3D's inference time exceeds StreamPETR's (R50)."""

MODELS = Path(__file__).resolve().parents[1] / "config" / "models"
DEMO = StudentConfig(
    backbone_args={"channels": [32, 64, 128, 192], "stem_width": 16},
    memory_frames=4,
    block="language_experts",
    language_width=64,
)


def plain_twin(config: StudentConfig) -> StudentConfig:
    """The same student with a plain network as wide as what a query takes of the experts."""
    taken = config.shared_width + config.experts_used * config.expert_width
    return replace(config, block="plain", feed_forward=taken, language_width=0, language_share=0.0)


@contextmanager
def timed(modules: list[nn.Module]) -> Iterator[list[float]]:
    """Within the context, the CPU seconds spent in ``modules`` add up in the list's one entry."""
    spent, handles = [0.0], []

    def start(*_: Any) -> None:
        spent[0] -= time.thread_time()

    def stop(*_: Any) -> None:
        spent[0] += time.thread_time()

    for module in modules:
        handles += [module.register_forward_pre_hook(start), module.register_forward_hook(stop)]
    try:
        yield spent
    finally:
        for handle in handles:
            handle.remove()


def blocks(student: Student) -> list[nn.Module]:
    """What the two students do not share: what follows attention, and the language projection."""
    return [part for layer in student.decoder.layers for part in (layer.feed_forward, layer.language) if part]


@torch.inference_mode()
def measure(config: StudentConfig, repeats: int) -> dict[str, float]:
    """Median milliseconds of the parts, and the share that routing costs."""
    torch.manual_seed(0)
    students = {"plain": Student(plain_twin(config)).eval(), "language": Student(config).eval()}
    anchors = nn.functional.normalize(torch.randn(len(config.class_names), config.language_width), dim=-1)
    students["language"].set_anchors(anchors)
    batch = six_cameras(config)
    image_times: list[float] = []
    times: dict[str, list[float]] = {f"{name} {what}": [] for name in students for what in ("decode", "block")}
    plain = students["plain"]
    features: list[Tensor] = []
    for _ in range(max(repeats // 3, 2)):
        start = time.thread_time()
        features = plain.features(batch)
        image = plain.image_head(features[0]) if config.proposals else None
        image_times.append(time.thread_time() - start)
    memories = {name: student.decode(features, image, batch).memory for name, student in students.items()}
    batch = replace(batch, stamps=batch.stamps + 500_000_000)
    for number in range(repeats):
        for name in sorted(students, reverse=bool(number % 2)):
            student = students[name]
            with timed(blocks(student)) as spent:
                start = time.thread_time()
                student.decode(features, image, batch, memory=memories[name])
                times[f"{name} decode"].append(time.thread_time() - start)
            times[f"{name} block"].append(spent[0])
    result = {name.replace(" ", "_") + "_ms": 1e3 * statistics.median(values) for name, values in times.items()}
    result["image_ms"] = 1e3 * statistics.median(image_times)
    result["share"] = (result["language_block_ms"] - result["plain_block_ms"]) / (
        result["image_ms"] + result["plain_decode_ms"]
    )
    return result


def all_figures(repeats: int, rounds: int) -> dict[str, Any]:
    """Shares of both sizes: the median round, and all rounds."""
    sizes = {"demo": DEMO, "semlt3d_r50": read_config(MODELS / "semlt3d_r50.yaml")}
    figures: dict[str, Any] = {"target": TARGET, "published": PUBLISHED, "sizes": {}}
    for name, config in sizes.items():
        measured = sorted((measure(config, repeats) for _ in range(rounds)), key=lambda each: each["share"])
        figures["sizes"][name] = {**measured[rounds // 2], "shares": [each["share"] for each in measured]}
    figures["share"] = max(each["share"] for each in figures["sizes"].values())
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print figures for programs")
    parser.add_argument("--repeats", type=int, default=9, help="decodings of each student (default 9)")
    parser.add_argument("--rounds", type=int, default=3, help="times that all is measured anew (default 3)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = all_figures(options.repeats, options.rounds)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    table = Table("ms", *figures["sizes"], title="Routing by language against a plain network of the same width")
    rows = ("image_ms", "plain_decode_ms", "language_decode_ms", "plain_block_ms", "language_block_ms")
    for row in rows:
        table.add_row(row.removesuffix("_ms"), *(f"{each[row]:.2f}" for each in figures["sizes"].values()))
    table.add_row("share", *(f"{100 * each['share']:.2f} %" for each in figures["sizes"].values()))
    shares = ("  ".join(f"{100 * share:.2f}" for share in each["shares"]) for each in figures["sizes"].values())
    table.add_row("all rounds %", *shares)
    Console().print(table)


if __name__ == "__main__":
    main()
