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
class MonoStl(Checked):
    """MonoSTL's losses (Ding et al., IEEE TCSVT 2024), towards a student's architecture that sees depth.

    Attributes:
        teacher: checkpoint of a student with ``input: depth``, its width and strides those of the student.
        features: DASFD on the maps, in the objects' regions, weighted by how unsure the student is of their depth.
        relations: DASRD on the maps, between objects, weighted by how sure the teacher is of their depth.
        query_features, query_relations: both on the queries that answer to the objects.
    """

    TITLE: ClassVar[str] = "monostl"
    CHECKS: ClassVar[Checks] = not_negative("features", "relations", "query_features", "query_relations")

    teacher: Path
    features: float = 1.0
    relations: float = 1.0
    query_features: float = 1.0
    query_relations: float = 1.0


@dataclass(frozen=True)
class SamDistill(Checked):
    """SAMDistill's losses, after the abstract of Wang et al., Machine Intelligence Research 2026.

    Attributes:
        alignment: image features at places that stand still follow the LiDAR teacher's of now and of the frame before.
        context: which places of the frame before a place is like, by the LiDAR teacher's features.
        relations: likeness of objects, at several scales.
        classes, boxes: the queries' classes and boxes follow the LiDAR teacher's.
        hardness: by how much what the student finds hard counts more in those two: at its hardest 1 plus this.
        sam: a SAM image encoder: the name of one that timm has, such as ``samvit_base_patch16``, whose weights are
            fetched, or a folder that ``timm.models.save_for_hf`` has written. None without.
        sam_features: image features follow SAM's; without ``sam`` it is nothing.
        sam_stride: pixels of the student's images per patch of SAM, one of the student's strides. Images are scaled to
            that: smaller strides are more work, once.
    """

    TITLE: ClassVar[str] = "samdistill"
    CHECKS: ClassVar[Checks] = (
        *not_negative("alignment", "context", "relations", "classes", "boxes", "hardness", "sam_features"),
        *positive("sam_stride"),
    )

    alignment: float = 1.0
    context: float = 0.5
    relations: float = 1.0
    classes: float = 1.0
    boxes: float = 0.25
    hardness: float = 2.0
    sam: str | None = None
    sam_features: float = 1.0
    sam_stride: int = 16


@dataclass(frozen=True)
class Regions(Checked):
    """What a CLIP sees in image regions, learnt as whole embeddings, by the image encoder and by the queries.

    The regions are those of the labels and, in frames with and without labels, of what a student detects: what it is
    wrong about is told as well. The CLIP is the recipe's ``language``.

    Attributes:
        encoder: weight of the loss on the encoder's maps within the regions.
        queries: of that on the queries that lie in what the regions show.
        student: checkpoint of the student that detects; ``shipped`` for the one that comes with the package. None looks
            at labels alone.
        score: least confidence of what it detects.
        most: detections of a frame that are looked at, the most confident ones.
        reach_m: how far a query lies from what it answers to, at most.
        rarity: 0 lets all regions weigh alike, 1 all classes: a region weighs as the inverse frequency of the class
            whose name it is likest, to this power; at most ten times as much as the average.
    """

    TITLE: ClassVar[str] = "regions"
    CHECKS: ClassVar[Checks] = (
        *not_negative("encoder", "queries"), *share("score", "rarity"), *positive("most", "reach_m"),
    )  # fmt: skip

    encoder: float = 1.0
    queries: float = 1.0
    student: Path | None = Path("shipped")
    score: float = 0.1
    most: int = 40
    reach_m: float = 2.0
    rarity: float = 0.0


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
        monostl: MonoSTL's losses, which need a teacher of their own; None without.
        samdistill: SAMDistill's losses; None without.
        regions: what a CLIP sees in image regions; None without.
        pseudo_labels: its boxes as labels where there are none; None without.
    """

    TITLE: ClassVar[str] = "distillation"
    CHECKS: ClassVar[Checks] = (*positive("cache_gib"), _something)

    teacher: Path = Path("shipped")
    cache_gib: float = 20.0
    cmkd: Cmkd | None = None
    monostl: MonoStl | None = None
    samdistill: SamDistill | None = None
    regions: Regions | None = None
    pseudo_labels: PseudoLabels | None = None

    @property
    def follows_lidar(self) -> bool:
        """Whether anything is asked of the LiDAR teacher."""
        return self.cmkd is not None or self.samdistill is not None or self.pseudo_labels is not None

    @property
    def follows_images(self) -> bool:
        """Whether anything is asked of teachers that look at images."""
        follows_sam = self.samdistill is not None and self.samdistill.sam is not None
        return self.monostl is not None or follows_sam or self.regions is not None
