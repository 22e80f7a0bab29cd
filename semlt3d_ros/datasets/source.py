"""What training asks of labelled frames, wherever they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.datasets.shards import FrameRegions

Clips = list[list[range]]
"""Numbers of the frames of clips, by block: clips that become available together."""


@dataclass(frozen=True)
class Part:
    """Clips that are shuffled and played as one.

    Attributes:
        blocks: the clips, in the order in which they become available.
        share: of the frames played; None: by the number of its frames.
        weights: how often each clip is played in a pass, on average, in the order of the blocks; None: once.
    """

    blocks: Sequence[Sequence[range]]
    share: float | None = None
    weights: Sequence[float] | None = None


class FrameSource(Protocol):
    """Labelled frames by number, whose images are prepared for the student."""

    @property
    def label_lists(self) -> Sequence[tuple[str, ...]]:
        """Every list of class names that its labels are given in."""

    @property
    def provenance(self) -> dict[str, Any]:
        """What the frames are, for the header of a checkpoint that learnt from them."""

    def __len__(self) -> int:
        """Number of frames."""

    def clips(self, whole: bool = False) -> Clips:
        """Frames that follow each other, so that a memory may be carried through; ``whole``: as long as they are."""

    def wait(self, index: int, /) -> None:
        """Return once frame ``index`` can be read: for who reads in another process."""

    def frame(self, index: int, /) -> Frame:
        """Frame ``index``."""

    def labels(self, index: int, /) -> Labels | None:
        """The labels of frame ``index``, without touching its images."""

    def regions(self, index: int, /) -> FrameRegions:
        """Stored image regions of frame ``index``'s objects, possibly none."""

    def close(self) -> None:
        """End what goes on in the background."""
