"""``semlt3d model``: a student's parameters and floating-point operations, by part."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semlt3d_ros.commands.counting import CAMERAS, NOT_COUNTED, Parts, count_parameters, counting, six_cameras
from semlt3d_ros.commands.output import print_json, print_table
from semlt3d_ros.commands.places import to_read

if TYPE_CHECKING:
    from semlt3d_ros.student.batch import Batch
    from semlt3d_ros.student.config import StudentConfig
    from semlt3d_ros.student.published.config import PublishedConfig
    from semlt3d_ros.student.student import Student

HELP = "count a student's parameters and operations, part by part"
EXAMPLE = "semlt3d model config/models/streampetr_r50.yaml"

PARTS: dict[str, tuple[str, ...]] = {
    "backbone": ("features.backbone",),
    "pyramid": ("features.pyramid", "features.geometry"),
    "image head": ("image_head",),
    "queries": ("anchor_queries", "proposal_query"),
    "position encodings": ("decoder.position", "token_encoding"),
    "self-attention": ("decoder.layers.*.self_attention",),
    "cross-attention": ("decoder.layers.*.cross_attention",),
    "language projection": ("decoder.layers.*.language",),
    "feed-forward or experts": ("decoder.layers.*.feed_forward",),
    "norms": ("decoder.layers.*.norms",),
    "class and box heads": ("decoder.layers.*.classify", "decoder.layers.*.regress"),
    "memory alignment": ("alignment",),
}
"""Parts to the modules that make them up; ``*`` stands for the number of a decoder layer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("config", type=to_read, metavar="CONFIG", help="a model's YAML file, or a checkpoint")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the figures of a model with random weights, or of a published one."""
    config: StudentConfig | PublishedConfig
    from semlt3d_ros.checkpoints.shipped import TEACHER_FAMILY

    family = _family_of(options.config)
    if family == TEACHER_FAMILY:
        from semlt3d_ros.commands.teacher_model import measure_teacher, print_teacher

        figures = measure_teacher(options.config)
        if options.json:
            print_json({"model": options.config, **figures})
        else:
            print_teacher(figures)
        return 0
    if family:
        from semlt3d_ros.commands.published_model import PARTS as parts
        from semlt3d_ros.commands.published_model import measure_published

        config, figures = measure_published(options.config)
    else:
        parts, config = PARTS, read_config(options.config)
        figures = measure(config)
    if options.json:
        print_json({"model": options.config, **figures})
    else:
        _print_table(options.config, config, figures, parts)
    return 0


def _family_of(path: Path) -> str:
    """The family of a checkpoint: empty of the package's own students, and of what is no checkpoint."""
    if path.suffix != ".safetensors":
        return ""
    from semlt3d_ros.checkpoints.file import family_of

    return family_of(path)


def read_config(path: Path) -> StudentConfig:
    """The student config in a YAML file or in a checkpoint's header.

    Raises:
        ConfigurationError: the file cannot be read, or is no student config.
    """
    from semlt3d_ros.core.config import load
    from semlt3d_ros.student.config import StudentConfig

    if path.suffix == ".safetensors":
        from semlt3d_ros.checkpoints import checkpoint

        return checkpoint.read_config(path)
    return replace(load(StudentConfig, path, "model config"), pretrained=False)


def measure(config: StudentConfig) -> dict[str, Any]:
    """Parameters and operations by part, and what is published of such a model."""
    import torch

    from semlt3d_ros.student.student import Student

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = Student(config).eval()
        parameters = count_parameters(student, PARTS)
        operations = count_operations(student, six_cameras(config))
    return {
        "parameters": {**parameters, "total": sum(parameters.values())},
        "weights_mb": sum(value.numel() * value.element_size() for value in student.state_dict().values()) / 1e6,
        "flops_per_frame": {**operations, "total": sum(operations.values())},
        "cameras": CAMERAS,
        "classes": list(config.class_names),
        "not_counted": NOT_COUNTED,
        "published": published(config),
    }


def count_operations(student: Student, batch: Batch) -> dict[str, int]:
    """Floating-point operations of one frame by part, a multiply-add being two.

    The convolutions of backbone and pyramid are counted from the shapes alone, without computing them; all else is a
    real forward pass. Of sampled attention this counts what the queries of this very frame look at.
    """
    import copy

    import torch

    with torch.inference_mode():
        abstract = copy.deepcopy(student.features).to("meta")
        with counting(abstract, "features.", PARTS) as image_counts:
            shapes = [feature.shape for feature in abstract(batch.to("meta"))]
        features = [torch.randn(shape) for shape in shapes]
        with counting(student, "", PARTS) as counts:
            image = student.image_head(features[0]) if student.config.proposals else None
            student.decode(features, image, batch)
    total = Counter(image_counts) + Counter(counts)
    return {part: total[part] for part in PARTS if total[part]}


def published(config: StudentConfig) -> dict[str, str]:
    """What is published of StreamPETR with ResNet-50, for a student of its size; empty for others."""
    size = (config.backbone, config.image_width, config.image_height, config.cross_attention, config.layers)
    if size != ("resnet50", 704, 256, "global", 6) or config.anchors + config.propagated != 428:
        return {}
    figures = {
        "parameters": "37 to 40 million, as its weights alone, training-only 2D head included, fill about 150 MB "
        "(exiawsh/StreamPETR issue 185)",
        "flops_per_frame": "not published",
        "frames_per_second": "31.7 on an RTX 3090, batch 1, FP32, with data processing (README, R50 428q)",
    }
    if config.block == "language_experts":
        figures["experts"] = "SemLT3D takes 9.1 % more time than StreamPETR with R50 (arXiv 2604.18476)"
    return figures


def _print_table(path: Path, config: StudentConfig | PublishedConfig, figures: dict[str, Any], parts: Parts) -> None:
    from rich.table import Table

    size = f"{config.backbone}, {CAMERAS} cameras of {config.image_width}x{config.image_height}"
    size += f", {len(config.class_names)} classes"
    table = Table(title=f"{path.stem}: {size}", caption_justify="left")
    for heading in ("part", "parameters", "share", "GFLOPs per frame", "share"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    parameters, operations = figures["parameters"], figures["flops_per_frame"]
    for part in (*parts, "total"):
        if part in parameters or part in operations:
            table.add_row(
                part,
                f"{parameters.get(part, 0):,}",
                f"{100 * parameters.get(part, 0) / parameters['total']:.1f} %",
                f"{operations.get(part, 0) / 1e9:,.2f}",
                f"{100 * operations.get(part, 0) / operations['total']:.1f} %",
                end_section=part == list(parts)[-1],
            )
    lines = [f"weights: {figures['weights_mb']:.1f} MB; a multiply-add is two operations; not counted: {NOT_COUNTED}"]
    lines += [f"published {name.replace('_', ' ')}: {text}" for name, text in figures["published"].items()]
    table.caption = "\n".join(lines)
    print_table(table)
