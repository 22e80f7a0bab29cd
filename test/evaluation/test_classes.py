"""Evaluation on any classes, and of drives that hold objects of none of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ABSENT, ClassInfo, ClassList, load_class_list
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.core.label_map import LabelMap
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.evaluation import NUSCENES, EvaluationSettings, evaluate, protocol_of
from semlt3d_ros.evaluation.bags import BagPairs
from semlt3d_ros.evaluation.plots import save_plots
from semlt3d_ros.evaluation.table import report_table
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import encode_detection3d, encode_label_info, encode_labels, encode_long_tail
from semlt3d_ros.messages.typestore import serialize

OWN = ClassList(
    "own", (ClassInfo("car", range_m=60.0), ClassInfo("person", superclass="people"), ClassInfo("cone", range_m=20.0))
)
TO_OWN = LabelMap("simulation", "own", {"car": "car", "adult": "person", "child": "person", "traffic_cone": "cone"})
BEHIND_ONE = 0.2525
"""AP of one true positive behind one false: precision rises from 0 to 1/2 over the recalls 0.01, 0.02 ... 1."""
OWN_SETTINGS = EvaluationSettings(protocol_of(OWN))


def boxes(places, size=(4.0, 2.0, 1.5), yaw=0.0):
    count = len(places)
    centers = np.array([(x, y, 0.0) for x, y in places]).reshape(count, 3)
    return Boxes3D(centers, np.tile(size, (count, 1)), np.full(count, yaw), np.zeros((count, 2)))


def detected(places, scores, name, names=OWN.names, stamp=0):
    confidences = np.zeros((len(places), len(names)))
    confidences[:, names.index(name)] = scores
    return Detections(stamp, boxes(places), confidences, names)


def labelled(places, ids, names=OWN.names, **changes):
    return Labels(boxes(places, **changes), np.array(ids), class_names=names)


def joined(*parts):
    centers, sizes, yaw, velocity = (
        np.concatenate([getattr(part.boxes, name) for part in parts])
        for name in ("centers", "sizes", "yaw", "velocity")
    )
    return Labels(
        Boxes3D(centers, sizes, yaw, velocity),
        np.concatenate([part.class_ids for part in parts]),
        class_names=parts[0].class_names,
    )


def of(report, name):
    return next(result for result in report.classes if result.name == name)


def test_what_is_near_an_ignored_object_is_neither_right_nor_wrong():
    """One car found, one detection on something of no class: precision stays 1, whatever class it says."""
    labels = labelled([(10.0, 0.0), (30.0, 0.0)], [0, ABSENT])
    for name in OWN.names:
        frames = [
            (detected([(10.0, 0.0)], [0.5], "car"), labels),
            (detected([(33.9, 0.0)], [0.9], name), labelled([(30.0, 0.0)], [ABSENT])),
        ]
        report = evaluate(frames, OWN_SETTINGS)
        assert of(report, "car").ap == pytest.approx(1.0)
        assert sum(each.predictions for each in report.classes) == 1
        assert (of(report, "car").truth, report.reliability.count.sum()) == (1, 1)
        assert report.confusions.sum() == report.confusions[0, 0] == 1
    beyond = [(detected([(34.1, 0.0), (10.0, 0.0)], [0.9, 0.5], "car"), labels)]
    assert of(evaluate(beyond, OWN_SETTINGS), "car").ap_by_distance[2.0] == pytest.approx(BEHIND_ONE)


def test_within_a_long_ignored_object_is_on_it():
    """A train of 40 m across the street: a detection 15 m from its centre, inside, does not count; beside it does."""
    train = labelled([(30.0, 0.0)], [ABSENT], size=(40.0, 3.0, 4.0), yaw=np.pi / 2)
    car = labelled([(10.0, 0.0)], [0])
    for place, ap in (((30.0, 15.0), 1.0), ((45.0, 0.0), BEHIND_ONE)):
        found = detected([place, (10.0, 0.0)], [0.9, 0.5], "car")
        assert of(evaluate([(found, joined(car, train))], OWN_SETTINGS), "car").ap == pytest.approx(ap), place


def test_what_matches_a_true_object_counts_beside_an_ignored_one():
    labels = labelled([(10.0, 0.0), (11.0, 0.0)], [0, ABSENT])
    report = evaluate([(detected([(10.1, 0.0)], [0.9], "car"), labels)], OWN_SETTINGS)
    assert of(report, "car").ap == pytest.approx(1.0) and of(report, "car").predictions == 1
    assert report.errors["ate"] == pytest.approx(0.1)


def test_ignored_objects_are_never_missed():
    report = evaluate([(detected([], [], "car"), labelled([(10.0, 0.0), (20.0, 0.0)], [ABSENT, 0]))], OWN_SETTINGS)
    assert [each.truth for each in report.classes] == [1, 0, 0]
    assert report.confusions.sum() == 1


def test_to_a_benchmark_what_it_has_no_class_for_is_nothing():
    labels = labelled([(10.0, 0.0), (30.0, 0.0)], [0, ABSENT])
    found = detected([(30.0, 0.0), (10.0, 0.0)], [0.9, 0.5], "car")
    strict = replace(OWN_SETTINGS, of_no_class="nothing")
    assert of(evaluate([(found, labels)], strict), "car").ap == pytest.approx(BEHIND_ONE)
    with pytest.raises(ConfigurationError, match="of_no_class"):
        replace(OWN_SETTINGS, of_no_class="forgotten")


def test_ranges_superclasses_and_groups_are_the_lists(tmp_path):
    places = [(25.0, 0.0), (55.0, 0.0)]
    found, labels = detected(places, [0.9, 0.8], "cone"), labelled(places, [2, 0])
    report = evaluate([(found, labels)], OWN_SETTINGS)
    assert [each.truth for each in report.classes] == [1, 0, 0]  # cones count up to 20 m, cars up to 60 m
    assert report.groups == {} and set(report.lca[1]) == {"all"}
    assert set(report.to_json()["map"]) == {"all"}
    # A cone is no car: classes without a super-class are each their own.
    near = [(detected([(10.0, 0.0), (10.0, 0.0)], [0.9, 0.8], "car"), labelled([(10.0, 0.0)], [2]))]
    assert near[0][0].confidences.any() and evaluate(near, OWN_SETTINGS).lca[1]["all"] == 0.0
    table = report_table(report)
    names = list(table.columns[0].cells)
    assert names == ["car", "person", "cone", "mean all"]
    written = save_plots(
        evaluate([(detected([(10.0, 0.0)], [0.9], "car"), labelled([(10.0, 0.0)], [0]))], OWN_SETTINGS), tmp_path
    )
    assert [path.name for path in written] == ["precision_recall.png", "confusion.png", "calibration.png"]


def test_the_default_is_the_benchmark_on_lt3ds_own_list():
    assert protocol_of(LT3D).to_json() == evaluate([]).settings.protocol.to_json()
    assert set(NUSCENES.known.names) == {*LT3D.names, "pedestrian"}


@pytest.fixture
def bags(tmp_path):
    """``bags(detections, labels, plain=...)``: two bags of one frame each."""

    def write(found, labels, plain=False, info=()):
        paths = tmp_path / "found.mcap", tmp_path / "truth.mcap"
        for path in paths:
            path.unlink(missing_ok=True)
        with BagSink(paths[0]) as bag:
            if plain:
                bag.write(topics.DETECTIONS, topics.DETECTION_3D_TYPE, encode_detection3d(found, "base_link"), 1)
            else:
                bag.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, encode_long_tail(found, "base_link"), 1)
            if info:
                message = serialize(encode_label_info(info, 0, "base_link", 0.1), topics.LABEL_INFO_TYPE)
                bag.write(topics.LABEL_INFO, topics.LABEL_INFO_TYPE, message, 1)
        with BagSink(paths[1]) as bag:
            bag.write(topics.TRUTH_LONG_TAIL, topics.LONG_TAIL_TYPE, encode_labels(labels, 0, "base_link"), 1)
        return paths

    return write


def simulated(*names):
    return labelled(
        [(10.0 * (n + 1), 0.0) for n in range(len(names))], [LT3D.index[name] for name in names], LT3D.names
    )


def test_labels_of_the_truth_become_the_detectors_classes(bags):
    paths = bags(detected([(10.0, 0.0), (20.0, 0.0)], [0.9, 0.8], "person"), simulated("adult", "bus", "child"))
    pairs = BagPairs(*paths, label_map=TO_OWN)
    ((found, labels),) = pairs
    assert pairs.classes.names == labels.class_names == OWN.names
    assert labels.class_ids.tolist() == [1, ABSENT, 1]
    report = evaluate([(found, labels)], EvaluationSettings(protocol_of(pairs.classes)))
    # What was called a person and is a bus is ignored: one of two found, nothing wrong.
    assert of(report, "person").ap == pytest.approx(0.5) and report.unknown_classes == ()


def test_categories_of_nuscenes_find_their_map(bags):
    labels = labelled([(10.0, 0.0), (20.0, 0.0)], [0, 1], ("vehicle.car", "animal"))
    for names in (LT3D.names, tuple(reversed(load_class_list("nuscenes").names))):
        pairs = BagPairs(*bags(detected([(10.0, 0.0)], [0.9], "car", names), labels))
        ((_, mapped),) = pairs
        assert pairs.classes.names == names
        assert [mapped.class_names[index] if index >= 0 else "" for index in mapped.class_ids] == ["car", ""]


def test_simulated_truth_serves_a_detector_of_nuscenes_classes(bags):
    names = load_class_list("nuscenes").names
    paths = bags(detected([(10.0, 0.0)], [0.9], "pedestrian", names), simulated("police_officer", "stroller"))
    ((_, labels),) = BagPairs(*paths)
    assert labels.class_ids.tolist() == [names.index("pedestrian"), ABSENT]


def test_a_frame_without_answer_is_in_the_detectors_classes(bags, tmp_path):
    paths = bags(detected([(10.0, 0.0)], [0.9], "car", stamp=10**9), simulated("car"))
    ((found, labels),) = BagPairs(*paths, label_map=TO_OWN)
    assert found.class_names == labels.class_names == OWN.names and len(found) == 0


def test_common_messages_name_what_was_found_only(bags):
    """Where nothing tells all classes of a detector, names of LT3D are taken for LT3D's."""
    found, truth = detected([(10.0, 0.0)], [0.9], "car"), simulated("car", "adult")
    for info, names in (((), (*OWN.names,)), (OWN.names, OWN.names)):
        pairs = BagPairs(*bags(found, truth, plain=True, info=info), label_map=TO_OWN)
        list(pairs)
        assert pairs.classes.names == names
    car = Detections(0, found.boxes, found.confidences[:, :1], ("car",))
    pairs = BagPairs(*bags(car, truth, plain=True))
    list(pairs)
    assert pairs.classes == LT3D


def test_labels_of_which_none_is_a_class_are_an_error_that_names_both_bags(bags):
    paths = bags(detected([(10.0, 0.0)], [0.9], "cone", ("cone", "tree")), simulated("car"))
    with pytest.raises(ConfigurationError, match=r"found\.mcap.*truth\.mcap.*none of the labels.*give a label map"):
        list(BagPairs(*paths))


def test_an_object_of_no_class_travels_as_one(bags):
    labels = labelled([(10.0, 0.0), (20.0, 0.0)], [0, ABSENT])
    ((_, back),) = BagPairs(*bags(detected([(10.0, 0.0)], [0.9], "car"), labels))
    assert back.class_ids.tolist() == [0, ABSENT]
