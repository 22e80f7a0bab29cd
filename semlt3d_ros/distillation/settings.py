"""What a student learns from teachers; for recipes, which are read without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule, share


@dataclass(frozen=True)
class Cmkd(Checked):
    """CMKD's losses (Hong et al., ECCV 2022), on the map and on the queries of the last decoder layer.

    Attributes:
        frames: share of a step's frames, drawn by chance, whose maps are looked at; fewer are less work.
        features: mean squared error of the map's features.
        heat: quality focal loss of the map's classes.
        boxes: score-weighted loss of the map's boxes.
        query_classes: quality focal loss of the queries' classes.
        query_codes: score-weighted loss of the queries' boxes.
        first_stage: share of the run in which only ``features`` counts, as in the paper's first stage.
    """

    TITLE: ClassVar[str] = "cmkd"
    CHECKS: ClassVar[Checks] = (
        *not_negative("features", "heat", "boxes", "query_classes", "query_codes"),
        *share("first_stage"),
        rule(lambda c: 0 < c.frames <= 1, "frames must be above 0 and not above 1, not {0.frames}"),
    )

    frames: float = 0.5
    features: float = 1.0
    heat: float = 1.0
    boxes: float = 0.5
    query_classes: float = 1.0
    query_codes: float = 0.5
    first_stage: float = 0.0


@dataclass(frozen=True)
class PseudoLabels(Checked):
    """The teacher's boxes as labels of frames that have none.

    Attributes:
        score: least confidence of a box that is taken for an object.
        doubt: from this confidence on, up to ``score``, a box is neither an object nor background.
    """

    TITLE: ClassVar[str] = "pseudo_labels"
    CHECKS: ClassVar[Checks] = (
        *share("score", "doubt"),
        rule(lambda p: p.doubt <= p.score, "doubt ({0.doubt}) must not be above score ({0.score})"),
    )

    score: float = 0.3
    doubt: float = 0.1


def _something(settings: Distillation) -> Iterator[str]:
    kinds = [entry.name for entry in fields(settings) if entry.name not in ("teacher", "cache_gib")]
    if all(getattr(settings, name) is None for name in kinds):
        yield f"nothing is learnt from the teacher; give at least one of {', '.join(kinds)}"


@dataclass(frozen=True)
class Distillation(Checked):
    """Which teacher is followed, and how.

    Attributes:
        teacher: checkpoint of a LiDAR teacher, ``shipped`` for the one that comes with the package.
        cache_gib: what the teacher says of clouds is kept on disk up to this size.
        cmkd: CMKD's losses; None without.
        pseudo_labels: its boxes as labels where there are none; None without.
    """

    TITLE: ClassVar[str] = "distillation"
    CHECKS: ClassVar[Checks] = (*positive("cache_gib"), _something)

    teacher: Path = Path("shipped")
    cache_gib: float = 20.0
    cmkd: Cmkd | None = None
    pseudo_labels: PseudoLabels | None = None
