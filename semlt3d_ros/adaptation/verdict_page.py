"""A verdict as a page that a person can read, with figures and pictures beside it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from semlt3d_ros.adaptation.verdict import FIGURES, PAGE, Comparison, Verdict, points
from semlt3d_ros.core.outputs import whole
from semlt3d_ros.evaluation.bootstrap import Change

CHANGES = "changes.png"
_PICTURES = ("held_back_*.jpg", "regression_*.jpg")
_LINE_INCHES = 0.33


def write_page(verdict: Verdict, folder: Path) -> None:
    """Write ``verdict.json``, ``verdict.md`` and its pictures; all of them, or none.

    Args:
        verdict: of the gate.
        folder: an earlier verdict in it is replaced; it is made if need be.

    Raises:
        ConfigurationError: the place cannot be written, or the disk is full.
    """
    former = [folder / CHANGES, *(path for pattern in _PICTURES for path in folder.glob(pattern))]
    with whole(folder, folder=True, replaced=former) as draft:
        (draft / FIGURES).write_text(json.dumps(verdict.to_json(), indent=2) + "\n", encoding="utf-8")
        (draft / PAGE).write_text(page_of(verdict), encoding="utf-8")
        if verdict.held_back is not None and verdict.regression is not None:
            _figure(verdict.held_back, verdict.regression).savefig(draft / CHANGES, dpi=110)
        for picture in verdict.pictures:
            _, content = cv2.imencode(".jpg", np.ascontiguousarray(picture.image[..., ::-1]))
            (draft / picture.name).write_bytes(content.tobytes())


def page_of(verdict: Verdict) -> str:
    """The page as Markdown; pictures lie beside it."""
    return "\n".join(_lines(verdict)) + "\n"


def _lines(verdict: Verdict) -> Iterator[str]:
    yield f"# {verdict.candidate}: {'promoted' if verdict.promoted else 'refused'}"
    yield f"\nIt was to take the place of {verdict.running}.\n"
    yield from (f"- {reason}" for reason in verdict.reasons)
    if verdict.notes:
        yield "\nWhat the figures cannot tell:\n"
        yield from (f"- {note}" for note in verdict.notes)
    for title, what, figures in (
        ("Held-back events", "what the robot has seen and neither model learnt from", verdict.held_back),
        ("Regression set", "frames that are always the same; what is lost here is forgotten", verdict.regression),
    ):
        if figures is not None:
            yield f"\n## {title}\n\n{figures.frames} frames of {figures.drawn} {figures.units}: {what}.\n"
            yield from _table("group", figures.groups)
            yield ""
            yield from _table("class", figures.classes)
    if verdict.held_back is not None:
        confidence = verdict.settings.get("confidence")
        share = f" with {100 * confidence:g} % each" if isinstance(confidence, float) else ""
        yield (
            "\nAP in points, means over the classes that have objects. The last columns: bounds that hold"
            f"{share} where drives are drawn anew, and the share of draws in which the candidate is no better.\n"
        )
        yield f"![how AP changes, by group and class]({CHANGES})"
    if verdict.cost is not None:
        cost = verdict.cost
        yield "\n## Cost\n\nOn the same frames, in turns.\n\n| | running | candidate |\n|---|---:|---:|"
        yield f"| median of a detection, ms | {cost.running_ms:.1f} | {cost.candidate_ms:.1f} |"
        yield f"| weights and working memory, MiB | {cost.running_mib:.1f} | {cost.candidate_mib:.1f} |"
        yield f"\nFrame by frame the candidate takes {cost.slower:.2f} times as long (median)."
    if verdict.pictures:
        yield "\n## Gains and losses\n\nThe running model above, the candidate below; true boxes are thin and green."
        for picture in verdict.pictures:
            yield f"\n**{picture.text}**\n\n![{picture.text}]({picture.name})"
    if verdict.settings:
        yield "\n## Settings\n"
        yield from (f"- `{name}`: {value}" for name, value in verdict.settings.items())


def _table(what: str, figures: Sequence[Change]) -> Iterator[str]:
    yield f"| {what} | objects | drives | running | candidate | change | from | to | by chance |\n|---|{'---:|' * 8}"
    for each in figures:
        values = [*map(_share, (each.running, each.candidate)), *map(points, (each.gain, each.low, each.high))]
        chance = "-" if each.by_chance is None else f"{each.by_chance:.3f}"
        yield f"| {each.name} | {each.objects} | {each.drives} | {' | '.join(values)} | {chance} |"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _figure(held_back: Comparison, regression: Comparison) -> Figure:
    """Changes with their intervals, groups above classes; green and red are beyond chance."""
    most = max(len(each.groups) + len(each.classes) for each in (held_back, regression))
    figure = Figure(figsize=(10.5, 1.6 + _LINE_INCHES * most), layout="constrained")
    for axes, figures, title in zip(
        figure.subplots(1, 2), (held_back, regression), ("held-back events", "regression set"), strict=True
    ):
        _draw(axes, figures, f"{title}, {figures.drawn} {figures.units}")
    return figure


def _draw(axes: Axes, figures: Comparison, title: str) -> None:
    known = [each for each in (*figures.groups, *figures.classes) if each.gain is not None]
    for place, each in enumerate(known):
        better = each.low is not None and each.low > 0
        worse = each.high is not None and each.high < 0
        color = "tab:green" if better else "tab:red" if worse else "tab:gray"
        if each.low is not None and each.high is not None:
            axes.plot([100 * each.low, 100 * each.high], [place, place], color=color, linewidth=2)
        axes.plot([100 * (each.gain or 0.0)], [place], "o", color=color, markersize=6 if each in figures.groups else 4)
    names = [textwrap.shorten(each.name.replace("_", " "), 24, placeholder="...") for each in known]
    axes.set_yticks(range(len(known)), names, fontsize=8)
    groups = sum(each.gain is not None for each in figures.groups)
    axes.axhline(groups - 0.5, color="black", linewidth=0.6)
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("change of AP, points")
    axes.grid(axis="x", alpha=0.3)
