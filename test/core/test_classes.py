"""Class lists, label maps, and the region in which everything is labelled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.classes import ABSENT, ClassInfo, ClassList, class_list_from_json, list_of_names, load_class_list
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Labels, SampleInfo
from semlt3d_ros.core.label_map import LabelMap, columns_for, load_label_map
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.core.shipped_files import shipped_files
from semlt3d_ros.core.taxonomy import CLASS_NAMES, LT3D, class_list_of
from semlt3d_ros.messages.decode import decode_sample
from semlt3d_ros.messages.encode import encode_sample
from semlt3d_ros.messages.topics import SAMPLE_TYPE
from semlt3d_ros.messages.typestore import deserialize, serialize

OWN = ClassList("own", (ClassInfo("car"), ClassInfo("person", superclass="people"), ClassInfo("deer", range_m=80.0)))


def test_the_file_of_the_default_list_is_the_default_list():
    shipped = load_class_list("lt3d")
    assert shipped.names == LT3D.names
    assert [(c.superclass, c.range_m, c.group) for c in shipped.classes] == [
        (c.superclass, c.range_m, c.group) for c in LT3D.classes
    ]


def test_a_list_survives_json():
    assert class_list_from_json(OWN.to_json(), "here") == OWN
    assert [info.family for info in OWN.classes] == ["car", "people", "deer"] and OWN.group_of("deer") == ""


@pytest.mark.parametrize("names", [(), ("car", "car"), ("",), (" car",)])
def test_lists_that_are_none_are_refused(names):
    with pytest.raises(ConfigurationError):
        ClassList("odd", tuple(ClassInfo(name) for name in names))


def test_names_alone_are_known_by_the_list_that_has_them():
    nuscenes = load_class_list("nuscenes")
    turned = class_list_of(tuple(reversed(nuscenes.names)))
    assert turned.name == "nuscenes" and turned.classes == tuple(reversed(nuscenes.classes))
    assert class_list_of(("deer", "car")).classes == (ClassInfo("deer"), LT3D.classes[0])
    assert class_list_of(CLASS_NAMES) is LT3D and load_class_list("lt3d") == LT3D


def test_a_list_is_extended_by_what_it_lacks():
    assert OWN.extended(OWN.names) is OWN
    assert OWN.extended(("deer", "stag", "stag")).names == (*OWN.names, "stag")


def test_an_unknown_name_of_a_list_is_told_with_those_there_are():
    with pytest.raises(ConfigurationError, match=r"'lt4d'.*lt3d"):
        load_class_list("lt4d")


def test_columns_and_names():
    assert OWN.columns_from(["deer", "cow", "car"]) == (2, ABSENT, 0)
    assert list_of_names(["car", "cow"], LT3D).classes[0] == LT3D.classes[0]


@pytest.mark.parametrize("name", shipped_files("label_maps"))
def test_label_maps_lead_to_the_lists_they_name(name):
    labels = load_label_map(name)
    assert set(labels.classes.values()) <= set(load_class_list(labels.target).names)


def test_labels_become_classes_by_their_own_names_or_by_the_map_that_knows_them():
    assert columns_for(("car", "adult"), LT3D) == (0, LT3D.index["adult"])
    assert columns_for(("car", "zebra"), LT3D) == (0, ABSENT)
    raw = ("vehicle.car", "animal", "human.pedestrian.child")
    assert columns_for(raw, LT3D) == (0, ABSENT, LT3D.index["child"])
    own = LabelMap("zoo", "own", {"vehicle.car": "car", "animal": "deer"})
    assert columns_for(raw, OWN, own) == (0, 2, ABSENT)
    with pytest.raises(ConfigurationError, match=r"zebra.*'own'.*give a label map"):
        columns_for(("zebra",), OWN)


def test_names_that_a_label_map_gets_wrong_are_told():
    wrong = LabelMap("zoo", "own", {"vehicle.car": "car", "animal": "dear"}, ("rock",))
    with pytest.raises(ConfigurationError, match=r"'zoo' to 'own' leads to dear, but the classes of 'own' are .*deer"):
        columns_for(("vehicle.car", "animal"), OWN, wrong)
    assert columns_for(("vehicle.car", "animal"), LT3D, wrong) == (LT3D.index["car"], ABSENT)  # made for another list
    assert "the labels tree, bush of" in wrong.unnamed(("rock", "tree", "animal", "bush"))
    assert not wrong.unnamed(("rock", "animal"))


def test_labels_take_other_classes_and_keep_what_is_ignored():
    labels = Labels(Boxes3D.empty(), np.zeros(0, np.int64), class_names=("a", "b"))
    assert labels.as_classes((1, ABSENT), ("x", "y")).class_names == ("x", "y")
    boxes = Boxes3D(np.zeros((3, 3)), np.ones((3, 3)), np.zeros(3), np.zeros((3, 2)))
    mapped = Labels(boxes, np.array([0, 1, ABSENT]), class_names=("a", "b")).as_classes((1, ABSENT), ("x", "y"))
    assert mapped.class_ids.tolist() == [1, ABSENT, ABSENT] and mapped.names == ("y", "", "")
    assert mapped.own_names == ("a", "b", "") == mapped.as_classes((0, 1), ("x", "y")).own_names
    assert mapped[np.array([1, 0])].own_names == ("b", "a")
    with pytest.raises(ValueError, match="own_names has 1 entries for 3 boxes"):
        Labels(boxes, np.zeros(3), own_names=("a",))


FRONT = rigid.transform((1.0, 0.0, 1.5))
FRONT[:3, :3] = [[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]


@given(st.floats(-60, 60), st.floats(-60, 60), st.floats(-2, 4), st.floats(-3, 3))
def test_a_region_moves_with_its_world(x, y, z, turn):
    region = LabelledRegion(
        (ViewWindow(FRONT, -0.8, -0.4, 0.8, 0.4),), (ViewWindow(FRONT, 0.1, -0.1, 0.3, 0.2),), range_m=50.0
    )
    T = rigid.planar(0.0, 0.0, turn)
    point = np.array([[x, y, z]])
    away = rigid.apply(rigid.inverse(FRONT), point)[0]
    edges = [abs(away[0] / (away[2] or 1e-9) - bound) for bound in (-0.8, 0.8, 0.1, 0.3)]
    edges += [abs(away[1] / (away[2] or 1e-9) - bound) for bound in (-0.4, 0.4, -0.1, 0.2)]
    if min(edges) < 1e-6 or abs(away[2] - 0.1) < 1e-6 or abs(np.hypot(x, y) - 50.0) < 1e-6:
        return
    assert region.moved(T).contains(rigid.apply(T, point)) == region.contains(point)
    wanted = away[2] > 0.1 and abs(away[0] / away[2]) <= 0.8 and abs(away[1] / away[2]) <= 0.4 and np.hypot(x, y) <= 50
    hidden = away[2] > 0.1 and 0.1 <= away[0] / away[2] <= 0.3 and -0.1 <= away[1] / away[2] <= 0.2
    assert bool(region.contains(point)[0]) == (wanted and not hidden)


def test_a_sample_survives_its_message():
    sample = SampleInfo(
        "KITTI", "0009", "17", ("", "moving"), (0.5, 1.0), LabelledRegion((ViewWindow(FRONT, -0.5, -0.25, 0.5, 0.25),))
    )
    data = serialize(encode_sample(sample, 5, "base_link"), SAMPLE_TYPE)
    back = decode_sample(deserialize(data, SAMPLE_TYPE))
    assert (back.token, back.attributes, back.visibility) == ("17", ("", "moving"), (0.5, 1.0))
    assert back.region.range_m == float("inf") and back.region.left_out == ()
    np.testing.assert_allclose(back.region.windows[0].T_ego_camera, FRONT, atol=1e-12)
    assert (back.region.windows[0].left, back.region.windows[0].bottom) == (-0.5, 0.25)


def test_every_shipped_list_takes_the_labels_of_every_data_set():
    """Whatever is imported can be evaluated and trained on with each of the lists."""
    sources = {name.split("_to_")[0] for name in shipped_files("label_maps") if "_to_" in name}
    assert {"nuscenes", "kitti", "argoverse2"} <= sources
    for source in sources:
        known = {
            frozenset(load_label_map(name).labels)
            for name in shipped_files("label_maps")
            if name.startswith(f"{source}_to_")
        }
        assert len(known) == 1, f"the maps of {source} do not know the same labels"


def test_labels_of_the_heads_of_published_detectors():
    listed = load_class_list("argoverse2")
    assert len(listed) == 26 and list(listed.names) == sorted(listed.names)
    assert (listed.names[0], listed.names[15], listed.names[25]) == (
        "ARTICULATED_BUS",
        "REGULAR_VEHICLE",
        "WHEELED_RIDER",
    )
    kitti = load_class_list("kitti")
    assert columns_for(("Car", "Person (sitting)", "DontCare"), kitti) == (0, kitti.index["Person_sitting"], ABSENT)
    assert columns_for(("PEDESTRIAN", "BICYCLIST"), LT3D) == (LT3D.index["adult"], ABSENT)
