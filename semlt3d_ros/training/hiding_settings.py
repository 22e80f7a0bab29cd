"""Objects whose class training is not told: to ask what tells it instead, and how few examples are enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from semlt3d_ros.core.checks import Checked, Checks, not_negative, rule, share
from semlt3d_ros.core.classes import GROUPS


@dataclass(frozen=True)
class Hiding(Checked):
    """Which objects of the training recordings keep their class to themselves; all views of an object do, or none.

    Attributes:
        groups: frequency groups of the classes that hide objects.
        share: of their objects, drawn by lot, whose class is not told.
        told: at most this many objects of each of these classes are told, after ``share``; None for no limit. All
            labels have to be known before the first step then.
        boxes: learn the boxes of objects whose class is not told. Without, nothing is judged where they are.
        named: tell the class whose name the CLIP finds likest to the object's region in the frame, right or wrong.
        seed: of the lots.
    """

    TITLE: ClassVar[str] = "hidden"
    CHECKS: ClassVar[Checks] = (
        *share("share"),
        *not_negative("seed"),
        rule(
            lambda h: h.groups and set(h.groups) <= set(GROUPS),
            f"groups must be some of {', '.join(GROUPS)}, not {{0.groups}}",
        ),
        rule(lambda h: h.told is None or h.told >= 0, "told must not be negative, not {0.told}"),
        rule(lambda h: h.share > 0 or h.told is not None, "neither share nor told hides any object; give one of them"),
        rule(lambda h: not h.named or h.boxes, "named is about objects whose boxes are learnt: leave out boxes"),
    )

    groups: tuple[str, ...] = ("few",)
    share: float = 0.0
    told: int | None = None
    boxes: bool = True
    named: bool = False
    seed: int = 0
