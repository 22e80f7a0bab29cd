"""When each trigger fires, and when it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.decode import StampedTransform
from semlt3d_ros.messages.typestore import deserialize, message_class
from semlt3d_ros.recording.places import NAV_SAT_TYPE, Places, keep_place, read_places
from semlt3d_ros.recording.trigger import Trigger
from semlt3d_ros.recording.triggers import (
    AllOf,
    Always,
    Disagree,
    Flicker,
    NewPlace,
    Opinion,
    RareClass,
    Service,
    Topic,
)
from semlt3d_ros.recording.watching import Watchers

SECOND = 1_000_000_000
CLASSES = ("car", "pedestrian", "stroller")
GROUPS = ("many", "many", "few")
TEACHER = topics.TEACHER_LABELS


def found(stamp: int, *boxes: tuple[str, float, float, float]) -> Any:
    """A message with boxes of (class, confidence, x, y)."""
    confidences = np.zeros((len(boxes), 3), np.float32)
    for row, (name, score, _, _) in enumerate(boxes):
        confidences[row, CLASSES.index(name)] = score
    centers = [(x, y, 1.0) for _, _, x, y in boxes]
    size = np.ones((len(boxes), 3))
    all_boxes = Boxes3D(np.array(centers).reshape(-1, 3), size, np.zeros(len(boxes)), np.zeros((len(boxes), 2)))
    detections = Detections(stamp, all_boxes, confidences, CLASSES, class_groups=GROUPS, model_version="m@1")
    return deserialize(encode.encode_long_tail(detections, topics.BASE_FRAME), topics.LONG_TAIL_TYPE)


class Drive:
    """One trigger, or several by name, that is shown a drive."""

    def __init__(self, *trigger: Trigger, places: Places | None = None, **more: Trigger) -> None:
        triggers = {**dict(zip(("it",), trigger, strict=False)), **more}
        self.watchers = Watchers(triggers, Places([], lambda line: None) if places is None else places)

    def shows(self, message: Any, topic: str = topics.LONG_TAIL, at: int | None = None) -> list[str]:
        at = self.at(message) if at is None else at
        return [firing.name for firing in self.watchers.see(at, topic, message)]

    @staticmethod
    def at(message: Any) -> int:
        return message.header.stamp.sec * SECOND + message.header.stamp.nanosec


def test_a_rare_class_fires_only_within_its_band_and_set_after_set() -> None:
    drive = Drive(RareClass(sets=2, pause_s=0.0))
    unsure = ("stroller", 0.3, 5.0, 0.0)
    steps = [
        ([unsure], []),
        ([unsure], ["it"]),
        ([("stroller", 0.9, 5.0, 0.0)], []),
        ([unsure], []),
        ([], []),
        ([("stroller", 0.05, 5.0, 0.0)], []),
        ([("car", 0.3, 5.0, 0.0)], []),
        ([("car", 0.3, 5.0, 0.0)], []),
        ([unsure, ("car", 0.9, 9.0, 0.0)], []),
        ([unsure], ["it"]),
    ]
    for number, (boxes, fired) in enumerate(steps):
        assert drive.shows(found(number * SECOND, *boxes)) == fired, number
    named = Drive(RareClass(groups=(), classes=("car",), sets=1))
    assert named.shows(found(0, ("car", 0.3, 5.0, 0.0))) == ["it"]


def test_pauses_mute_and_do_not_blind() -> None:
    drive = Drive(RareClass(sets=2, pause_s=3.0))
    fired = [drive.shows(found(second * SECOND, ("stroller", 0.3, 5.0, 0.0))) for second in range(8)]
    assert fired == [[], ["it"], [], [], ["it"], [], [], ["it"]]
    assert drive.watchers.fired == {"it": 3}


def test_two_that_see_different_things_disagree() -> None:
    def disagree(one: list, other: list, gap: int = 0, **options: Any) -> bool:
        drive = Drive(Disagree(**options))
        assert drive.shows(found(SECOND, *one)) == []
        return drive.shows(found(SECOND + gap, *other), TEACHER) == ["it"]

    car, far = ("car", 0.8, 5.0, 0.0), ("car", 0.8, 90.0, 0.0)
    assert not disagree([car], [car])
    assert not disagree([car], [("car", 0.3, 5.5, 0.5)]), "the other half believes it"
    assert disagree([car], [])
    assert disagree([], [car])
    assert disagree([car], [("car", 0.8, 5.0, 3.0)]), "elsewhere"
    assert disagree([car], [("stroller", 0.8, 5.0, 0.0)]), "another class"
    assert not disagree([far], [])
    assert not disagree([car], [], gap=SECOND), "of another moment"
    assert not disagree([("car", 0.4, 5.0, 0.0)], []), "nobody is sure"
    assert not disagree([car], [], boxes=2)
    assert disagree([car, ("car", 0.7, 9.0, 0.0)], [], boxes=2)


def test_a_class_that_the_other_does_not_know_is_found_under_another_name() -> None:
    drive = Drive(Disagree())
    drive.shows(found(SECOND, ("stroller", 0.8, 5.0, 0.0)))
    other = found(SECOND, ("car", 0.8, 5.0, 0.0))
    other.class_names = ["car", "pedestrian", "pushchair"]
    assert drive.shows(other, TEACHER) == ["it"], "it believes in a car that the first does not see"
    other.detections = []
    assert Drive(Disagree()).shows(other, TEACHER) == []


def test_language_that_calls_it_by_another_name() -> None:
    def told(own: list[float], share: list[float]) -> Any:
        message = found(SECOND, ("car", 0.5, 5.0, 0.0))
        (item,) = message.detections
        item.classifier_confidences = np.array(own, np.float32)
        item.second_opinion = np.array(share, np.float32)
        return Drive(Opinion()).shows(message) == ["it"]

    assert told([0.5, 0.1, 0.1], [0.1, 0.1, 0.8])
    assert not told([0.5, 0.1, 0.1], [0.8, 0.1, 0.1]), "the same name"
    assert not told([0.1, 0.1, 0.1], [0.1, 0.1, 0.8]), "hardly anything"
    assert not told([0.5, 0.1, 0.1], [0.3, 0.3, 0.4]), "not sure"
    assert not told([0.5, 0.1, 0.1], [0.0, 0.0, 0.0]), "was not asked about"
    assert Drive(Opinion()).shows(found(SECOND, ("car", 0.5, 5.0, 0.0))) == []


def test_what_comes_and_goes_flickers_and_what_drives_by_does_not() -> None:
    drive = Drive(Flicker(sets=8, changes=4, pause_s=0.0))
    fired = []
    for step in range(12):  # 15 m/s, seen at 10 Hz, all the time
        fired += drive.shows(found(step * SECOND // 10, ("car", 0.9, 30 - 1.5 * step, 3.0)))
    assert fired == []
    for step in range(12, 22):  # it disappears in every other set
        boxes = [("car", 0.9, 30 - 1.5 * step, 3.0)] if step % 2 else []
        fired += drive.shows(found(step * SECOND // 10, *boxes))
    assert fired
    switching, names = Drive(Flicker(sets=8, changes=4, pause_s=0.0)), []
    for step in range(6):
        names += switching.shows(found(step * SECOND // 10, (CLASSES[step % 2], 0.9, 20.0, 3.0)))
    assert names


def test_new_places_fire_once_also_in_the_next_drive(tmp_path: Any) -> None:
    def pose(x: float, y: float) -> Any:
        return encode.encode_odometry(rigid.planar(x, y, 0.0), 0, parent="map")

    def drive(start: int) -> list[int]:
        places = Places(read_places(tmp_path), lambda line: keep_place(tmp_path, line))
        shown = Drive(NewPlace(cell_m=50.0, pause_s=0.0), places=places)
        spots = [(1.0, 1.0), (2.0, 40.0), (-1.0, 1.0), (1.0, 1.0), (60.0, 1.0)]
        return [
            step for step, (x, y) in enumerate(spots) if shown.shows(pose(x, y), topics.ODOMETRY, start + step * SECOND)
        ]

    assert drive(0) == [0, 2, 4]
    assert drive(100 * SECOND) == []
    with (tmp_path / "visited_places.txt").open("a") as file:
        file.write("map 50 9")  # torn by a power cut
    keep_place(tmp_path, "map 50 7 7")
    assert drive(0) == [] and len(read_places(tmp_path)) == 4


def test_places_by_satellite_and_by_tf() -> None:
    fix = message_class(NAV_SAT_TYPE)

    def at(latitude: float, longitude: float, status: int = 0) -> Any:
        message = fix.__new__(fix)
        message.latitude, message.longitude = latitude, longitude
        message.status = message_class("sensor_msgs/msg/NavSatStatus")(status=status, service=1)
        return message

    drive = Drive(NewPlace(topic="/fix", type=NAV_SAT_TYPE, pause_s=0.0))
    spots = [at(48.1, 11.5), at(48.1, 11.50001), at(48.11, 11.5), at(48.2, 11.5, status=-1), at(float("nan"), 11.5)]
    assert [bool(drive.shows(spot, "/fix", step * SECOND)) for step, spot in enumerate(spots)] == [
        True,
        False,
        True,
        False,
        False,
    ]

    def transform(parent: str, child: str, x: float, stamp: int) -> Any:
        matrix = np.eye(4)
        matrix[0, 3] = x
        return encode.encode_transforms([StampedTransform(parent, child, stamp, matrix)])

    moving = Drive(NewPlace(topic="/tf", type=topics.TF_TYPE, fixed_frame="map", pause_s=0.0))
    assert moving.shows(transform("odom", "base_link", 0.0, SECOND), "/tf", SECOND) == [], "map is not connected yet"
    assert moving.shows(transform("map", "odom", 10.0, SECOND), "/tf_static", SECOND) == [], "tells nothing"
    assert moving.shows(transform("odom", "base_link", 1.0, SECOND + 1), "/tf", SECOND) == ["it"]
    assert moving.shows(transform("odom", "base_link", 30.0, SECOND + 2), "/tf", SECOND) == []
    assert moving.shows(transform("odom", "base_link", 45.0, SECOND + 3), "/tf", SECOND) == ["it"]


def test_topics_services_and_always() -> None:
    boolean, text = message_class("std_msgs/msg/Bool"), message_class("std_msgs/msg/String")
    drive = Drive(
        button=Topic(topic="/button", pause_s=0.0),
        note=Topic(topic="/note", type="std_msgs/msg/String", pause_s=0.0),
        always=Always(),
        asked=Service(),
    )
    assert drive.watchers.topics == {"/button": "std_msgs/msg/Bool", "/note": "std_msgs/msg/String"}
    assert drive.shows(boolean(data=False), "/button", 0) == []
    assert drive.shows(boolean(data=True), "/button", 0) == ["button"]
    assert drive.shows(text(data=""), "/note", 0) == ["note"]
    assert drive.shows(boolean(data=True), "/elsewhere", 0) == []
    assert drive.shows(None, "", 0) == ["always"]
    assert [firing.name for firing in drive.watchers.ask(0)] == ["asked"]


def test_several_together_make_an_event_that_none_makes_alone() -> None:
    drive = Drive(
        rare=RareClass(sets=1, alone=False, pause_s=0.0),
        button=Topic(topic="/button", alone=False),
        both=AllOf(of=("rare", "button"), within_s=2.0, pause_s=0.0),
    )
    press = message_class("std_msgs/msg/Bool")(data=True)
    rare = ("stroller", 0.3, 5.0, 0.0)
    assert drive.shows(press, "/button", 0) == []
    assert drive.shows(found(3 * SECOND, rare)) == []
    assert drive.shows(press, "/button", 4 * SECOND) == ["both"]
    assert drive.shows(found(5 * SECOND, rare)) == ["both"]
    assert drive.shows(found(9 * SECOND, rare)) == []


@given(data=st.data())
def test_nothing_that_comes_ends_a_trigger(data: st.DataObject) -> None:
    """Boxes of any class, confidence and place, stamps in any order."""
    drive = Drive(
        rare=RareClass(),
        flicker=Flicker(sets=3, changes=1),
        disagree=Disagree(),
        all=AllOf(of=("rare", "flicker")),
    )
    box = st.tuples(st.sampled_from(CLASSES), st.floats(0, 1, width=32), st.floats(-99, 99), st.floats(-99, 99))
    for _ in range(data.draw(st.integers(1, 6))):
        message = found(data.draw(st.integers(0, 10 * SECOND)), *data.draw(st.lists(box, max_size=5)))
        drive.shows(message, data.draw(st.sampled_from([topics.LONG_TAIL, TEACHER])))
    assert not list(drive.watchers.faults)


def test_a_trigger_that_fails_is_told_and_the_others_go_on() -> None:
    class Broken(Trigger):
        def watch(self, places: Places) -> Any:
            return lambda sight: 1 // 0

    drive = Drive(broken=Broken(), always=Always())
    assert drive.shows(None, "", 0) == ["always"]
    (fault,) = drive.watchers.faults
    assert fault.place == "trigger broken" and "ZeroDivisionError" in fault.text


@pytest.mark.parametrize(
    ("kind", "name"), [(RareClass, "low"), (Flicker, "score"), (Opinion, "share"), (Disagree, "score")]
)
def test_confidences_lie_in_their_range(kind: Any, name: str) -> None:
    with pytest.raises(Exception, match=f"{name} must lie in"):
        kind(**{name: 1.5})
