"""What objects are called: a CLIP looks at several views of each and says one of the class names, or nothing.

How sure it must be is not guessed: the teacher knows the classes of most objects, and the threshold is where the names
of these are right often enough. So nothing that the robot's cameras make of a CLIP is taken for granted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.adaptation.settings import NamingSettings
from semlt3d_ros.core.language import LanguageAnchors

_LEAST_ACCEPTED = 5
"""Names above a threshold that it takes to say how often they are right."""


@dataclass(frozen=True)
class Sighting:
    """What a CLIP says of an object.

    Attributes:
        track: its name in the labels.
        known: the class that the teacher gives it, empty where it is in doubt.
        name: the class name that fits its views best.
        confidence: of that, the mean over the views.
        agreement: share of the views that say it.
        views: how many were looked at.
    """

    track: str
    known: str
    name: str
    confidence: float
    agreement: float
    views: int


@dataclass(frozen=True)
class Threshold:
    """From which confidence on names are believed.

    Attributes:
        confidence: that; None believes none.
        calibrated: whether known objects say so.
        told: the same for people.
    """

    confidence: float | None
    calibrated: bool
    told: str


def sighted(
    track: str, known: str, embeddings: NDArray[np.float32], anchors: LanguageAnchors, logit_scale: float
) -> Sighting:
    """What views (V, d) of an object say together; V is 1 or more."""
    said = anchors.distribution(embeddings, logit_scale)
    mean = np.nan_to_num(said).mean(axis=0)
    best = int(mean.argmax())
    agreement = float((said.argmax(axis=1) == best).mean())
    return Sighting(track, known, anchors.names[best], float(mean[best]), agreement, len(embeddings))


def fitted_threshold(sightings: Sequence[Sighting], settings: NamingSettings) -> Threshold:
    """The least confidence from which on names of known objects are right often enough.

    Names of classes that the teacher does not know are wrong of what it does know, and count as that.
    """
    known = [each for each in sightings if each.known and is_agreed(each, settings)]
    if len(known) < settings.least_known:
        told = f"{len(known)} objects of known classes are too few to calibrate by; {settings.threshold:g} is taken"
        return Threshold(settings.threshold, False, told)
    known.sort(key=lambda each: -each.confidence)
    right = np.cumsum([each.name == each.known for each in known])
    precision = right / np.arange(1, len(known) + 1)
    confidences = np.array([each.confidence for each in known])
    last_of_equals = np.append(confidences[1:] < confidences[:-1], True)
    enough = np.arange(1, len(known) + 1) >= _LEAST_ACCEPTED
    good = np.flatnonzero((precision >= settings.precision) & enough & last_of_equals)
    if not len(good):
        told = (
            f"of {len(known)} objects of known classes {right[-1]} are named right, never {settings.precision:g} of "
            "the surest: no name is believed"
        )
        return Threshold(None, True, told)
    last = int(good[-1])
    told = (
        f"names are believed from {known[last].confidence:.3f} on, where {precision[last]:.2f} of {last + 1} are right"
    )
    return Threshold(known[last].confidence, True, told)


def is_agreed(sighting: Sighting, settings: NamingSettings) -> bool:
    """Whether enough views of an object say the same."""
    return sighting.views >= settings.least_views and sighting.agreement >= settings.agreement


def named(
    sightings: Sequence[Sighting], threshold: Threshold, settings: NamingSettings, confirmed: Sequence[str]
) -> dict[str, str]:
    """The names that are believed, by track.

    An object that the teacher is in doubt of gets any name; one whose class it knows only a name that it cannot know.

    Args:
        sightings: of a recording.
        threshold: from which confidence on.
        settings: how many views have to agree.
        confirmed: names that the teacher does not know, which are to be learnt.
    """
    if threshold.confidence is None:
        return {}
    return {
        each.track: each.name
        for each in sightings
        if each.confidence >= threshold.confidence
        and is_agreed(each, settings)
        and (not each.known or each.name in confirmed)
    }
