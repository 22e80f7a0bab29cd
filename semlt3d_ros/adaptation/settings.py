"""What the loop on the robot learns from, by what recipe, and what it may take of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from semlt3d_ros.adaptation.gate import GateSettings
from semlt3d_ros.core.checks import Checked, Checks, not_negative, positive, rule, share
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import resolved
from semlt3d_ros.datasets.specs import DataSpec, shared_seeds

SHIPPED = Path("shipped")


@dataclass(frozen=True)
class NamingSettings(Checked):
    """How the teacher's objects are named by a CLIP.

    Attributes:
        model: an open_clip model name, or ``tiny``, the one that comes with the package.
        pretrained: an open_clip tag or a path to weights; not needed for ``tiny``.
        classes: names of classes to learn that the running model does not have; ``NAME=WORDS`` calls one otherwise in
            prompts. What ``semlt3d anchors`` takes.
        templates: prompt templates with one ``{}``; none takes the default ones.
        image_width, image_height: pixels of the images that crops are cut from.
        crop: pixels of the sides of a crop.
        views: at most so many views of an object are looked at, the largest.
        least_views: an object seen in fewer is not named.
        agreement: share of the views that have to say the same name.
        precision: the threshold is where names of objects whose class the teacher knows are right this often.
        least_known: with fewer of those, ``threshold`` is taken.
        threshold: least mean confidence of a name where it cannot be calibrated.
    """

    TITLE: ClassVar[str] = "naming"
    CHECKS: ClassVar[Checks] = (
        *positive("image_width", "image_height", "crop", "views", "least_views", "least_known"),
        *share("agreement", "precision", "threshold"),
        rule(
            lambda n: n.least_views <= n.views, "least_views is {0.least_views}; it must not be above views ({0.views})"
        ),
        rule(
            lambda n: all(each.count("{}") == 1 for each in n.templates),
            "templates must each hold one {{}} where the name goes, not {0.templates}",
        ),
    )

    model: str = "tiny"
    pretrained: str | None = None
    classes: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    image_width: int = 960
    image_height: int = 540
    crop: int = 64
    views: int = 8
    least_views: int = 3
    agreement: float = 0.7
    precision: float = 0.9
    least_known: int = 20
    threshold: float = 0.6

    @property
    def words(self) -> dict[str, str]:
        """The classes to learn, by name; what to call each in prompts, empty for the name itself."""
        pairs = (each.partition("=") for each in self.classes)
        return {name.strip(): words.strip() for name, _, words in pairs}


def _places_apart(settings: LoopSettings) -> Iterator[str]:
    places = {name: resolved(getattr(settings, name)) for name in ("events", "models", "work")}
    for name, place in places.items():
        for other, holder in places.items():
            if name != other and (place == holder or holder in place.parents):
                yield f"{name} ({place}) lies within {other} ({holder}); give each a folder of its own"


@dataclass(frozen=True)
class LoopSettings(Checked):
    """One loop.

    Attributes:
        events: folder of the recordings to learn from, as the event recorder writes them.
        models: the model folder, as the detector's parameter ``model_folder`` names it.
        work: folder of everything that the loop makes: state, labels, training data, verdicts.
        recipe: by which a copy of the running model is trained; its ``train`` is what is replayed so that nothing is
            forgotten. Relative to the file of these settings.
        regression: labelled frames that are always the same, on which nothing may be forgotten.
        replay: share of the training frames that are replayed; the others are of events.
        held_back: share of the events that are never learnt from, and judged by; which ones, their names decide. Where
            these are fewer than the gate's ``least_drives``, more are, up to half of a round's events.
        least_new: events that have come since the last round before another one begins.
        most_events: at most so many are taken, the latest.
        calibration: share of each learnt event, at its end, by which confidences are calibrated instead of learnt.
        cloud_points: points kept of each cloud, for the terms of the recipe that follow the teacher.
        teacher: checkpoint of the LiDAR teacher; ``shipped`` is the one that comes with the package.
        score: least confidence of the teacher's boxes that are learnt as objects.
        doubt: from this confidence on, up to ``score``, a box is neither an object nor background.
        support: what is learnt as an object must have been seen by the model that ran too, in a fifth of its frames,
            with its class and this confidence; else it is in doubt. 0 takes the teacher's word, and so does an event
            without detections.
        naming: how objects are named by a CLIP; None leaves the teacher's classes.
        rig: rig file of the events; None finds cameras by the names of their topics.
        gate: what is asked of a candidate.
        device: where teacher and student are trained and run, ``cpu`` or ``cuda``.
        threads: of the processor.
        priority: ``idle`` takes what of the processor nobody else wants, ``low`` a small share of what others want too,
            ``normal`` as much as everybody.
        gpu_share: at most this share of a GPU's memory.
        free_gib: nothing begins while less of the disk of ``work`` is free.
        cache_gib: at most so much of what the teacher says is kept.
        data_gib: at most so much of other data, mostly decoded and rendered frames, is kept between two rounds.
    """

    TITLE: ClassVar[str] = "adaptation"
    CHECKS: ClassVar[Checks] = (
        *share("replay", "held_back", "calibration", "score", "doubt", "support", "gpu_share"),
        *positive("least_new", "most_events", "cloud_points", "threads", "cache_gib", "data_gib", "gpu_share"),
        *not_negative("free_gib"),
        rule(lambda s: s.regression, "regression needs at least one source"),
        rule(lambda s: all(spec.labelled for spec in s.regression), "regression needs labelled sources"),
        rule(lambda s: s.doubt <= s.score, "doubt ({0.doubt}) must not be above score ({0.score})"),
        rule(lambda s: 0 < s.held_back < 1, "held_back must lie between 0 and 1, not be {0.held_back}"),
        rule(lambda s: s.replay < 1, "replay is {0.replay}; something must be left for events"),
        rule(lambda s: s.calibration < 1, "calibration is {0.calibration}; something must be left to learn from"),
        lambda s: shared_seeds(s.regression),
        _places_apart,
    )

    events: Path
    models: Path
    work: Path
    recipe: Path
    regression: tuple[DataSpec, ...]
    replay: float = 0.5
    held_back: float = 0.3
    least_new: int = 8
    most_events: int = 200
    calibration: float = 0.2
    cloud_points: int = 200_000
    teacher: Path = SHIPPED
    score: float = 0.3
    doubt: float = 0.1
    support: float = 0.1
    naming: NamingSettings | None = None
    rig: Path | None = None
    gate: GateSettings = field(default_factory=GateSettings)
    device: str = "cpu"
    threads: int = 1
    priority: Literal["idle", "low", "normal"] = "idle"
    gpu_share: float = 0.3
    free_gib: float = 2.0
    cache_gib: float = 5.0
    data_gib: float = 20.0

    @property
    def data_folder(self) -> Path:
        """Where frames are kept, of training and of the gate."""
        return self.work.absolute() / "data"

    @property
    def new_classes(self) -> dict[str, str]:
        """As of ``NamingSettings.words``."""
        return {} if self.naming is None else self.naming.words


def load_settings(path: Path) -> LoopSettings:
    """Settings from a YAML file.

    Raises:
        ConfigurationError: it cannot be read, its entries do not fit (all are named), or its recipe is not there.
    """
    from semlt3d_ros.core.config import load

    settings = load(LoopSettings, path, "adaptation")
    recipe = settings.recipe if settings.recipe.is_absolute() else path.absolute().parent / settings.recipe
    if not recipe.is_file():
        raise ConfigurationError(f"adaptation '{path}': recipe '{recipe}' is not a file; give one, relative to {path}")
    return replace(settings, recipe=recipe)
