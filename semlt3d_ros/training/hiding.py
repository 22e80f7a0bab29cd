"""Objects whose class training is not told."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.classes import ABSENT, frequency_groups
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.losses.targets import SeenRegions, learnt
from semlt3d_ros.training.hiding_settings import Hiding
from semlt3d_ros.training.recipe import Recipe

_Object = tuple[int, str]
"""Number of the first frame of its drive, and its track there."""


class Hidden:
    """What is hidden of some frames.

    Args:
        settings: how much.
        frames: of the recordings, with all drives.
        recipe: says of which classes, and which objects are learnt.
    """

    def __init__(self, settings: Hiding, frames: Frames, recipe: Recipe) -> None:
        self.settings, self._frames, self._recipe = settings, frames, recipe
        groups = frequency_groups(recipe.class_list.classes)
        self._classes = [place for group in settings.groups for place in groups.get(group, ())]
        self._drive = {index: drive.start for drive in frames.drives() for index in drive}
        self._told = None if settings.told is None else self._first(settings.told)

    def told(self, index: int, labels: Labels) -> NDArray[np.bool_]:
        """(N,) whether the class of each label of frame ``index`` is told."""
        hiding = np.isin(labels.class_ids, self._classes)
        return np.array(
            [
                not hides or self._is_told((self._drive[index], track))
                for hides, track in zip(hiding, labels.track_ids, strict=True)
            ],
            np.bool_,
        )

    def applied(
        self, index: int, frame: Frame, seen: SeenRegions | None, anchors: LanguageAnchors | None
    ) -> tuple[Frame, NDArray[np.bool_] | None]:
        """A frame with the labels that are left of it, and (N,) whether their class is told; None where all are.

        Args:
            index: of the frame.
            frame: as it was recorded.
            seen: what a CLIP sees in the regions of its labels; needed where ``named``.
            anchors: the names of the classes, in that CLIP's space; needed where ``named``.
        """
        labels = frame.labels
        if labels is None or (told := self.told(index, labels)).all():
            return frame, None
        if not self.settings.boxes:
            return replace(frame, labels=_renamed(labels, ~told, np.int64(ABSENT))), None
        if not self.settings.named:
            return frame, told
        assert seen is not None and anchors is not None
        shown = ~told & np.isfinite(seen.embeddings).all(axis=1)
        likest = (seen.embeddings[shown] @ anchors.embeddings.T).argmax(axis=1)
        return replace(frame, labels=_renamed(labels, shown, likest)), told | shown

    def _is_told(self, thing: _Object) -> bool:
        if self._told is not None and thing not in self._told:
            return False
        return self._lot(thing) >= self.settings.share

    def _lot(self, thing: _Object) -> float:
        """In [0, 1), the same in every run and process."""
        text = f"{self.settings.seed} {thing[0]} {thing[1]}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big") / 2**48

    def _first(self, count: int) -> set[_Object]:
        """Those objects of each hiding class with the highest lots, of which any view is learnt."""
        range_m, least = self._recipe.student.range_m, self._recipe.min_visible_pixels
        there: defaultdict[int, set[_Object]] = defaultdict(set)
        for index, drive in self._drive.items():
            labels = self._frames.labels(index)
            if labels is not None:
                for place in np.flatnonzero(learnt(labels, range_m, least)):
                    there[int(labels.class_ids[place])].add((drive, labels.track_ids[place]))
        chosen = (sorted(there[kind], key=self._lot, reverse=True)[:count] for kind in self._classes)
        return set(itertools.chain.from_iterable(chosen))


def _renamed(labels: Labels, which: NDArray[np.bool_], kinds: NDArray[np.int64] | np.int64) -> Labels:
    class_ids = labels.class_ids.copy()
    class_ids[which] = kinds
    return replace(labels, class_ids=class_ids)
