"""The gate: what is better gets through and nothing else; whatever speaks against a candidate is told in words."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from semlt3d_ros.adaptation import gate
from semlt3d_ros.adaptation.comparison import Compared, Side, times
from semlt3d_ros.adaptation.gate import GateSettings, groups_of, judge
from semlt3d_ros.adaptation.verdict import read_verdict, verdict_from_json
from semlt3d_ros.adaptation.verdict_page import CHANGES, page_of, write_page
from semlt3d_ros.checkpoints.checkpoint import load_student, save_checkpoint
from semlt3d_ros.core import taxonomy
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ClassInfo, ClassList
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.simulation.generation import GenerationRecipe
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student

SIMULATED = {"frames": 2, "drives_per_shard": 5, "image_size": (64, 43), "top_crop": 0.25}
SPEC = ImageSpec(64, 32, 0.25)
HELD_BACK = [DataSpec(simulate=GenerationRecipe(first_seed=100, drives=10, **SIMULATED))]
REGRESSION = [DataSpec(simulate=GenerationRecipe(first_seed=200, drives=10, **SIMULATED))]


class Told:
    """A detector that knows the truth and tells a share of it, by what it is told about each class."""

    image_spec = SPEC
    classes = taxonomy.LT3D

    def __init__(self, name: str, skill: float, worse_in: dict[str, float] | None = None, breaks: bool = False) -> None:
        self.model_version, self.skill, self.breaks = name, skill, breaks
        self.worse_in = worse_in or {}
        self.memory_resets: Counter[str] = Counter()
        self.ballast = 0

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes.names

    def reset(self) -> None:
        pass

    def detect(self, frame) -> Detections:
        if self.breaks:
            raise InputRejected("not_finite", "no output of the network is finite; check calibration and weights")
        torch.zeros(2**18 * (1 + self.ballast))
        labels = frame.labels
        random = np.random.default_rng(frame.stamp % 2**32)
        luck = random.random(len(labels.boxes))
        groups = [self.classes.group_of(name) for name in labels.names]
        skills = np.array([self.worse_in.get(group, self.skill) for group in groups])
        seen = np.flatnonzero(luck < skills)
        confidences = np.full((len(seen), len(self.class_names)), 0.001, np.float32)
        confidences[np.arange(len(seen)), labels.class_ids[seen]] = 0.5 + 0.4 * luck[seen]
        boxes = labels.boxes[seen]
        return Detections(frame.stamp, Boxes3D(boxes.centers, boxes.sizes, boxes.yaw, boxes.velocity), confidences)


@pytest.fixture(scope="session")
def settings(tmp_path_factory) -> GateSettings:
    return GateSettings(tmp_path_factory.mktemp("gate_data"), resamples=100, slower=1e6, pictures=1)


@pytest.fixture
def judged(settings, checkpoint, monkeypatch):
    """``judged(candidate, running)``: the verdict on two detectors, in place of those of two checkpoints."""

    def made(candidate: Told, running: Told, **changes):
        detectors = {checkpoint(1): running, checkpoint(2): candidate}
        monkeypatch.setattr(gate, "load_detector", lambda path, device: detectors[path])
        return judge(checkpoint(2), checkpoint(1), HELD_BACK, REGRESSION, replace(settings, **changes))

    return made


def test_what_is_better_beyond_chance_is_promoted_and_says_why(judged, tmp_path) -> None:
    verdict = judged(Told("new@1", 0.9), Told("old@1", 0.5))
    assert verdict.promoted and (verdict.candidate, verdict.running) == ("new@1", "old@1")
    everything = verdict.held_back.group("all")
    assert everything.gain > 0.1 and 0 < everything.low < everything.gain < everything.high
    assert [each.name for each in verdict.held_back.groups] == ["all", "many", "medium", "few"]
    assert (verdict.held_back.frames, verdict.held_back.drawn, verdict.held_back.units) == (20, 10, "drives")
    assert "all classes +" in verdict.reasons[0] and "beyond chance" in verdict.reasons[0]
    write_page(verdict, tmp_path / "verdict")
    assert verdict_from_json(verdict.to_json(), "it") == replace(verdict, pictures=())
    assert read_verdict(tmp_path / "verdict") == replace(verdict, pictures=())
    page = (tmp_path / "verdict" / "verdict.md").read_text()
    assert page.startswith("# new@1: promoted\n") and page == page_of(verdict)
    assert "found anew: " in page and any(each.name == "held_back_gain_1.jpg" for each in verdict.pictures)
    assert {CHANGES, "verdict.json", *(each.name for each in verdict.pictures)} <= {
        path.name for path in (tmp_path / "verdict").iterdir()
    }


def test_a_later_verdict_takes_the_place_of_an_earlier_one(judged, tmp_path) -> None:
    write_page(judged(Told("new@1", 0.9), Told("old@1", 0.5)), tmp_path / "v")
    (tmp_path / "v" / "notes.txt").write_text("mine")
    same = judged(Told("new@2", 0.5), Told("old@1", 0.5))
    write_page(same, tmp_path / "v")
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == [
        "changes.png",
        "notes.txt",
        "verdict.json",
        "verdict.md",
    ]
    assert read_verdict(tmp_path / "v").candidate == "new@2"


def test_the_same_is_not_better(judged) -> None:
    verdict = judged(Told("same@1", 0.6), Told("old@1", 0.6))
    assert not verdict.promoted
    assert verdict.reasons == (
        "held-back events: all classes +0.0 points of mAP (from +0.0 to +0.0) is not beyond chance",
    )


def test_what_is_worse_is_refused_for_all_reasons_at_once(judged) -> None:
    verdict = judged(Told("new@1", 0.4), Told("old@1", 0.9))
    text = "\n".join(verdict.reasons)
    assert not verdict.promoted and "is worse beyond chance" in text and "regression set: all classes -" in text
    assert "at most 1 points may be forgotten" in text
    assert any(each.name.startswith("held_back_loss") and "lost: " in each.text for each in verdict.pictures)


def test_what_forgets_one_group_is_refused_however_good_the_rest(judged) -> None:
    verdict = judged(Told("new@1", 0.95, {"medium": 0.3}), Told("old@1", 0.6))
    text = "\n".join(verdict.reasons)
    assert (
        not verdict.promoted and "regression set: group medium -" in text and "regression set: group many" not in text
    )
    assert judged(Told("new@1", 0.95, {"medium": 0.3}), Told("old@1", 0.6), forget=1.0).regression is not None


def test_too_little_is_no_evidence(judged) -> None:
    verdict = judged(Told("new@1", 0.9), Told("old@1", 0.4), least_drives=30)
    assert (
        not verdict.promoted
        and "10 clips with objects of all classes are too few to tell a gain from chance" in verdict.reasons[0]
    )
    cut = judged(Told("new@1", 0.9), Told("old@1", 0.4), least_drives=20, clip_frames=1)
    assert cut.promoted and cut.held_back.units == "clips" and "which are alike" in "".join(cut.notes)


def test_outputs_that_are_no_numbers_are_refused(judged) -> None:
    verdict = judged(Told("new@1", 0.9, breaks=True), Told("old@1", 0.5))
    assert not verdict.promoted and "40 frames got no answer from the candidate: no output" in verdict.reasons[0]


def test_what_takes_more_memory_is_refused(judged) -> None:
    heavy = Told("new@1", 0.9)
    heavy.ballast = 3
    verdict = judged(heavy, Told("old@1", 0.4))
    assert not verdict.promoted and len(verdict.reasons) == 1 and verdict.reasons[0].startswith("memory: ")
    assert verdict.cost.candidate_mib - verdict.cost.running_mib == pytest.approx(3.0, abs=0.1)
    assert judged(heavy, Told("old@1", 0.4), larger=10.0).promoted


def test_what_takes_longer_is_refused(judged, monkeypatch) -> None:
    monkeypatch.setattr(gate, "times", lambda compared: (10.0, 14.0, 1.4) if len(compared) == 2 else None)
    verdict = judged(Told("new@1", 0.9), Told("old@1", 0.4), slower=0.1)
    assert verdict.reasons == (
        "latency: 1.40 times that of the running model (median 14.0 ms against 10.0 ms); at most 1.10 times may it be",
    )
    assert judged(Told("new@1", 0.9), Told("old@1", 0.4), slower=0.5).promoted


def test_a_few_frames_that_something_else_delayed_decide_no_latency() -> None:
    few = Compared(Side(milliseconds=[90.0, 20.0, 10.0]), Side(milliseconds=[90.0, 20.0, 18.0]), [], 1, "clips")
    many = Compared(Side(milliseconds=[50.0] + [10.0] * 20), Side(milliseconds=[90.0] + [11.0] * 20), [], 9, "drives")
    assert times([few]) == pytest.approx((10.0, 18.0, 1.8))
    assert times([few, many]) == pytest.approx((10.0, 11.0, 1.1))
    single = Compared(Side(milliseconds=[4.0]), Side(milliseconds=[6.0]), [], 1, "clips")
    assert times([single]) == pytest.approx((4.0, 6.0, 1.5))


def test_a_group_that_nobody_saw_is_no_gain(judged) -> None:
    verdict = judged(Told("new@1", 0.9), Told("old@1", 0.4), range_limit_m=0.5)
    assert not verdict.promoted and "there is no object of all classes" in verdict.reasons[0]
    assert "nothing is known of it" in verdict.notes[0]


def test_interrupted_between_two_frames(settings, checkpoint) -> None:
    class Stop(Exception):
        pass

    calls = []

    def progress(what: str, done: float, of: int) -> None:
        calls.append((what, done, of))
        if what == "comparing models" and done == 3:
            raise Stop

    with pytest.raises(Stop):
        judge(checkpoint(2), checkpoint(1), HELD_BACK, REGRESSION, settings, progress)
    assert calls[-1] == ("comparing models", 3, 20)


def test_two_students_of_chance_are_not_promoted(settings, checkpoint, tmp_path) -> None:
    """The real parts together."""
    verdict = judge(checkpoint(2), checkpoint(1), HELD_BACK, REGRESSION, settings)
    assert not verdict.promoted and verdict.candidate.startswith("small2@") and verdict.running.startswith("small1@")
    assert (
        verdict.cost.running_mib == pytest.approx(verdict.cost.candidate_mib, rel=0.2) and verdict.cost.running_ms > 0
    )
    write_page(verdict, tmp_path / "verdict")


def changed(checkpoint, tmp_path, change, config=None, classes=None):
    student, _ = load_student(checkpoint(1))
    student = Student(config) if config else student
    change(student)
    path = tmp_path / "candidate.safetensors"
    save_checkpoint(path, student, "candidate", {}, classes=classes)
    return path


def test_weights_that_are_no_numbers_are_refused_before_anything_is_compared(settings, checkpoint, tmp_path) -> None:
    def spoil(student: Student) -> None:
        next(iter(student.parameters())).data[0] = float("nan")

    verdict = judge(changed(checkpoint, tmp_path, spoil), checkpoint(1), [], [], settings)
    assert not verdict.promoted and "has weights that are no numbers: " in verdict.reasons[0]
    assert verdict.held_back is None and page_of(verdict).startswith("# candidate.safetensors: refused")
    write_page(verdict, tmp_path / "v")
    assert read_verdict(tmp_path / "v") == verdict


def test_another_class_list_is_refused(settings, checkpoint, tmp_path) -> None:
    _, _, config = checkpoint(1), None, load_student(checkpoint(1))[0].config
    names = (*config.class_names[1:], "tram")
    other = replace(config, class_names=names)
    path = changed(checkpoint, tmp_path, lambda student: None, other)
    verdict = judge(path, checkpoint(1), [], [], settings)
    assert not verdict.promoted and "it lacks car; it has tram besides, which nobody asked for" in verdict.reasons[0]


def test_a_class_that_was_asked_for_may_be_new(settings, checkpoint, tmp_path) -> None:
    config: StudentConfig = load_student(checkpoint(1))[0].config
    more = ClassList("more", (*taxonomy.LT3D.classes, ClassInfo("tram", group="few")))
    path = changed(checkpoint, tmp_path, lambda student: None, replace(config, class_names=more.names), more)
    refused = judge(path, checkpoint(1), [], [], settings)
    assert "it has tram besides" in refused.reasons[0]
    verdict = judge(path, checkpoint(1), HELD_BACK, REGRESSION, replace(settings, new_classes=("tram",)))
    assert verdict.held_back is not None and not verdict.promoted


def test_other_images_are_refused(settings, checkpoint, tmp_path) -> None:
    config = load_student(checkpoint(1))[0].config
    path = changed(checkpoint, tmp_path, lambda student: None, replace(config, image_width=128))
    assert "takes images of" in judge(path, checkpoint(1), [], [], settings).reasons[0]


def test_what_is_cut_off_is_refused(settings, checkpoint, tmp_path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(checkpoint(2).read_bytes()[:-100])
    verdict = judge(path, checkpoint(1), [], [], settings)
    assert not verdict.promoted and "is not a readable safetensors file" in verdict.reasons[0]
    assert "cut.safetensors" in judge(tmp_path / "none" / "cut.safetensors", checkpoint(1), [], [], settings).reasons[0]


def test_what_runs_must_be_usable(settings, checkpoint, tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.safetensors"):
        judge(checkpoint(2), tmp_path / "nothing.safetensors", [], [], settings)


def test_groups_are_those_of_the_list() -> None:
    assert set(groups_of(taxonomy.LT3D)) == {"all", "many", "medium", "few"}
    own = ClassList("own", (ClassInfo("crate"), ClassInfo("robot", group="many")))
    assert {name: list(columns) for name, columns in groups_of(own).items()} == {
        "all": [0, 1],
        "many": [1],
        "ungrouped": [0],
    }
    assert set(groups_of(ClassList("own", (ClassInfo("crate"),)))) == {"all"}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"better_in": "rare"}, "better_in is 'rare'"),
        ({"confidence": 0.3}, "confidence must lie between"),
        ({"least_drives": 1}, "least_drives must be 2"),
        ({"forget": -0.1}, "forget"),
    ],
)
def test_settings_that_do_not_fit(values, text) -> None:
    with pytest.raises(ConfigurationError, match=text):
        GateSettings(**values)
