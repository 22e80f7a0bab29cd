"""Names of objects: what several views agree on, believed from where known objects are named right."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.adaptation.naming import Sighting, Threshold, fitted_threshold, named, sighted
from semlt3d_ros.adaptation.settings import NamingSettings
from semlt3d_ros.adaptation.views import Namer, write_named
from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode_detections import decode_labels
from semlt3d_ros.messages.encode_detections import encode_labels
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.simulate import simulate

SETTINGS = NamingSettings(least_views=3, least_known=10)
ANCHORS = LanguageAnchors(("car", "dog"), np.eye(2, dtype=np.float32), ("car", "dog"), "test@0")


def seen(name: str, confidence: float, known: str = "", views: int = 4, agreement: float = 1.0) -> Sighting:
    return Sighting(f"{name} {confidence}", known, name, confidence, agreement, views)


def test_views_vote_and_their_mean_is_the_confidence() -> None:
    views = np.array([[0, 1], [0, 1], [1, 0]], np.float32)
    said = sighted("7", "", views, ANCHORS, 10.0)
    assert (said.track, said.name, said.views) == ("7", "dog", 3)
    assert said.agreement == pytest.approx(2 / 3) and said.confidence == pytest.approx(2 / 3, abs=1e-3)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=10, max_size=60),
    st.floats(0.5, 1.0),
)
def test_names_above_the_threshold_are_right_often_enough(known: list[tuple[float, bool]], precision: float) -> None:
    settings = NamingSettings(least_known=10, precision=precision)
    sightings = [seen("car" if right else "dog", value, "car") for value, right in known]
    threshold = fitted_threshold(sightings, settings)
    assert threshold.calibrated
    if threshold.confidence is not None:
        believed = [each for each in sightings if each.confidence >= threshold.confidence]
        assert len(believed) >= 5 and np.mean([each.name == "car" for each in believed]) >= precision


def test_where_known_objects_are_never_named_right_no_name_is_believed() -> None:
    wrong = [seen("dog", 0.9, "car") for _ in range(30)]
    threshold = fitted_threshold(wrong, SETTINGS)
    assert threshold.confidence is None and "no name is believed" in threshold.told
    assert named([seen("dog", 0.99)], threshold, SETTINGS, ()) == {}


def test_too_few_known_objects_leave_the_threshold_that_was_given() -> None:
    threshold = fitted_threshold([seen("car", 0.9, "car")] * 9, SETTINGS)
    assert threshold.confidence == SETTINGS.threshold and not threshold.calibrated and "too few" in threshold.told


def test_what_the_teacher_knows_only_becomes_what_it_cannot_know() -> None:
    threshold = Threshold(0.5, True, "")
    sightings = [
        seen("dog", 0.9),
        seen("dog", 0.8, "adult"),
        seen("wheelchair", 0.7, "adult"),
        seen("dog", 0.4),
        seen("dog", 0.95, views=2),
        seen("dog", 0.96, agreement=0.5),
    ]
    believed = named(sightings, threshold, SETTINGS, ("wheelchair",))
    assert believed == {"dog 0.9": "dog", "wheelchair 0.7": "wheelchair"}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """A simulated drive whose ground truth is a teacher's labels, every other object of them in doubt."""
    folder = tmp_path_factory.mktemp("named")
    simulate(folder / "drive.mcap", DriveConfig(3, frames=3, interval_s=0.2, objects=(14, 16)), progress=False)
    with BagSource(folder / "drive.mcap") as source, BagSink(folder / "labelled.mcap") as sink:
        for entry in source.messages():
            if entry.topic == topics.TRUTH_LONG_TAIL:
                [(_, message)] = decoded([entry], FaultLog())
                labels, stamp = decode_labels(message)
                ids = np.where(np.arange(len(labels.boxes)) % 2, labels.class_ids, ABSENT)
                data = encode_labels(Labels(labels.boxes, ids, labels.track_ids), stamp, topics.BASE_FRAME)
                sink.write(topics.TEACHER_LABELS, topics.LONG_TAIL_TYPE, data, entry.stamp)
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
    return folder / "labelled.mcap"


def labels_in(bag: Path, topic: str) -> list[Labels]:
    with BagSource(bag) as source:
        return [decode_labels(message)[0] for _, message in decoded(source.messages(topics=[topic]), FaultLog())]


def test_the_tiny_clip_names_objects_of_the_simulated_world_and_labels_say_so(labelled, tmp_path) -> None:
    settings = NamingSettings(classes=("snow_plough=a plough for snow",), image_width=480, image_height=270)
    classes = LT3D.extended(["snow_plough"])
    namer = Namer.load(settings, classes, "cpu")
    sightings = namer.look(labelled, classes, None)
    truth = {
        track: name
        for labels in labels_in(labelled, topics.TRUTH_LONG_TAIL)
        for track, name in zip(labels.track_ids, labels.names, strict=True)
    }
    assert len(sightings) >= 5
    right = [each.name == truth[each.track] for each in sightings if each.views >= 3]
    assert np.mean(right) > 0.4  # of 19 classes, in small images
    assert {each.known for each in sightings} - {""} <= set(truth.values()) and any(not e.known for e in sightings)
    names = {sightings[0].track: "snow_plough"}
    write_named(labelled, tmp_path / "named.mcap", names, classes)
    found = labels_in(tmp_path / "named.mcap", topics.TEACHER_LABELS)
    before = labels_in(labelled, topics.TEACHER_LABELS)
    assert all(labels.class_names == classes.names for labels in found)
    for old, new in zip(before, found, strict=True):
        wanted = [
            "snow_plough" if track in names else name for track, name in zip(old.track_ids, old.names, strict=True)
        ]
        assert list(new.names) == wanted
    with BagSource(labelled) as old_bag, BagSource(tmp_path / "named.mcap") as new_bag:
        assert old_bag.topics == new_bag.topics
