"""The file that says what is recorded: read, with every fault at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.recording.settings import load_recording
from semlt3d_ros.recording.triggers import AllOf, Always, Topic


def written(folder: Path, text: str) -> Path:
    file = folder / "recording.yaml"
    file.write_text(text)
    return file


def test_names_are_kinds_unless_they_say_otherwise(tmp_path: Path) -> None:
    text = """
triggers:
  always:
  brake: {kind: topic, topic: /brake, worth: 7}
  button: {kind: topic, topic: /button, alone: false}
  both: {kind: all_of, of: [brake, button]}
topics: {/gps: sensor_msgs/msg/NavSatFix}
blur: my.faces:blur
"""
    recording = load_recording(written(tmp_path, text))
    assert recording.triggers == {
        "always": Always(),
        "brake": Topic(topic="/brake", worth=7.0),
        "button": Topic(topic="/button", alone=False),
        "both": AllOf(of=("brake", "button")),
    }
    assert (recording.topics, recording.blur) == ({"/gps": "sensor_msgs/msg/NavSatFix"}, "my.faces:blur")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("triggers: {}", "triggers: there is none"),
        ("triggers: {rar_class: {}}", "there is no kind 'rar_class', did you mean 'rare_class'?"),
        ("triggers: {rare_class: {lo: 0.1}}", "triggers.rare_class.unknown entry 'lo'"),
        ("triggers: {rare_class: {low: 0.9}}", "low 0.9 must be below high 0.5"),
        ("triggers: {rare_class: {groups: [fwe]}}", "groups ['fwe'] must be of many, medium, few"),
        ("triggers: {rare_class: 5}", "triggers.rare_class must be a mapping"),
        ("triggers: {always: {worth: 0}}", "worth must be positive"),
        ("triggers: {always: {pause_s: x}}", "pause_s must be a number"),
        ("triggers: {A/b: {kind: always}}", "names are of a-z, 0-9 and _"),
        ("triggers: {it: {kind: all_of, of: [a, b]}}", "of names a, b; the triggers above it are none"),
        ("triggers: {it: {kind: all_of}}", "must name two triggers or more"),
        ("triggers: {it: {kind: topic, topic: brake}}", "topic must be a topic that begins with '/'"),
        ("triggers: {it: {kind: new_place, type: x}}", "nav_msgs/msg/Odometry"),
        ("triggers: {always: }\ntopics: {gps: NavSatFix}", "is not of the form /topic: package/msg/Name"),
        ("triggers: {always: }\nblur: faces", "blur 'faces' is not of the form module:function"),
        ("triggers: [always]", "triggers must be a mapping"),
        ("triggers: {always: }\nblurr: null", "did you mean 'blur'?"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load_recording(file)
    assert says in str(caught.value) and str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_faults_of_all_parts_come_together(tmp_path: Path) -> None:
    text = "triggers: {always: {worth: no}, nobody: {}, flicker: {sets: 2.5}}\ntopics: 3\nblur: [x]"
    with pytest.raises(ConfigurationError) as caught:
        load_recording(written(tmp_path, text))
    for part in ("always.worth", "there is no kind 'nobody'", "flicker.sets", "topics must be", "blur must be"):
        assert part in str(caught.value)
