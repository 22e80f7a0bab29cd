"""``semlt3d model`` of a LiDAR teacher: what it is, and its parameters by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semlt3d_ros.commands.counting import count_parameters
from semlt3d_ros.commands.output import print_table

PARTS: dict[str, tuple[str, ...]] = {
    "pillars": ("pillars",),
    "trunk": ("trunk",),
    "heads": ("head",),
    "classes of points": ("points",),
}
"""Parts to the modules that make them up."""


def measure_teacher(path: Path) -> dict[str, Any]:
    """Parameters by part, what it looks at and tells apart, and where it comes from.

    Raises:
        ConfigurationError: the checkpoint cannot be used.
    """
    from semlt3d_ros.checkpoints.teacher import read_teacher

    checkpoint = read_teacher(path)
    teacher, config = checkpoint.teacher(), checkpoint.config
    parameters = count_parameters(teacher, PARTS)
    provenance = checkpoint.header.get("provenance", {})
    return {
        "version": checkpoint.version,
        "parameters": {**parameters, "total": sum(parameters.values())},
        "weights_mb": sum(value.numel() * value.element_size() for value in teacher.state_dict().values()) / 1e6,
        "range_m": list(config.point_range),
        "pillar_m": config.pillar_m,
        "cell_m": config.grid.cell_m,
        "sweeps": config.sweeps,
        "heads": [list(task) for task in config.tasks],
        "classes": list(config.class_names),
        "point_classes": list(config.point_classes),
        "provenance": {name: value for name, value in provenance.items() if name != "recipe_text"},
    }


def print_teacher(figures: dict[str, Any]) -> None:
    """For people."""
    from rich.table import Table

    table = Table(title=f"LiDAR teacher {figures['version']}", title_justify="left")
    table.add_column("part")
    table.add_column("parameters", justify="right")
    for name, count in figures["parameters"].items():
        table.add_row(name, f"{count:,}", end_section=name == list(PARTS)[-1])
    print_table(table)
    x0, y0, z0, x1, y1, z1 = figures["range_m"]
    print(f"looks at: {figures['sweeps']} sweeps, x {x0:g} to {x1:g}, y {y0:g} to {y1:g}, z {z0:g} to {z1:g} m")
    print(f"pillars of {figures['pillar_m']:g} m, maps of {figures['cell_m']:g} m")
    for number, names in enumerate(figures["heads"]):
        print(f"head {number}: {', '.join(names)}")
    if figures["point_classes"]:
        print(f"points: {', '.join(figures['point_classes'][len(figures['classes']) :])} besides these classes")
    for name, value in figures["provenance"].items():
        print(f"{name}: {value}")
