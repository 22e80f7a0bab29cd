"""Transitions, live parameters, triggers and outputs of the detector node, on a middleware without a network."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_long_tail
from semlt3d_ros.messages.typestore import message_class
from semlt3d_ros.middleware.topic_requests import PARAMETER_TYPE, parameter_value
from semlt3d_ros.nodes.lifecycle import TRANSITIONS, Lifecycle

LiveNode = Callable[..., Any]


def changed(node: Any, name: str, value: Any) -> tuple[bool, str]:
    message = message_class(PARAMETER_TYPE)(name=name, value=parameter_value(message_class, value))
    node.feed([("/semlt3d/set_parameter", PARAMETER_TYPE, message, 0)])
    answer = node.middleware.published["/semlt3d/set_parameter/result"][-1]
    return answer.successful, answer.reason


def boxes(node: Any) -> list[int]:
    return [len(message.detections) for message in node.middleware.published[topics.LONG_TAIL]]


def test_a_step_that_fails_leaves_the_state_and_is_remembered() -> None:
    broken = [True]

    def configure() -> None:
        if broken[0]:
            raise ConfigurationError("no such file")

    lifecycle = Lifecycle({name: configure if name == "configure" else lambda: None for name in TRANSITIONS})
    with pytest.raises(ConfigurationError):
        lifecycle.run("configure")
    assert (lifecycle.state, lifecycle.failure) == ("unconfigured", "configure failed: no such file")
    with pytest.raises(RuntimeError, match="'activate' does not start from the state 'unconfigured'"):
        lifecycle.run("activate")
    broken[0] = False
    states = []
    for name in ("configure", "activate", "deactivate", "cleanup", "shutdown"):
        lifecycle.run(name)
        states.append(lifecycle.state)
    assert states == ["inactive", "active", "inactive", "unconfigured", "finalized"] and not lifecycle.failure


def test_a_deactivated_node_hears_nothing_and_goes_on_afresh(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    node.feed(recording.static_messages() + recording.set_messages(0) + recording.set_messages(1))
    assert (node.detector.frames, node.detector.device) == (2, "cpu")
    node.node.lifecycle.run("deactivate")
    image = topics.camera_image_topic("CAM_FRONT")
    assert image not in node.middleware.subscriptions
    report = node.report()
    assert report["lifecycle"]["state"] == "inactive" and "camera CAM_FRONT" not in report
    assert report["sets"]["sets_processed"] == "2"
    node.node.lifecycle.run("activate")
    assert image in node.middleware.subscriptions
    node.feed(recording.set_messages(2))
    assert node.detector.frames == 1  # it was emptied in between
    assert node.answers == [recording.stamp_of_set(index) for index in range(3)]
    node.node.lifecycle.run("deactivate")
    node.node.lifecycle.run("cleanup")
    assert set(node.report()) == {"lifecycle"}


def test_a_set_under_way_is_accounted_for_when_the_node_is_deactivated(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    with node.held() as started:
        node.middleware.feed(recording.static_messages() + recording.set_messages(0))
        assert started.wait(60)
        ending = threading.Thread(target=node.node.lifecycle.run, args=("deactivate",))
        ending.start()
    ending.join(60)
    node.middleware.run(1)  # what it found comes too late
    sets = node.report()["sets"]
    assert (sets["sets_in"], sets["sets_processed"], sets["drops.stopped"]) == ("1", "0", "1")
    assert node.answers == []
    for transition in ("cleanup", "configure"):
        node.next_detectors = [node.detector]
        node.node.lifecycle.run(transition)
    assert node.report()["sets"]["sets_in"] == "0"


def test_cleanup_frees_the_model(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    node.feed(recording.static_messages() + recording.set_messages(0))
    for transition in ("deactivate", "cleanup"):
        node.node.lifecycle.run(transition)
    model = weakref.ref(node.detector)
    node.detector = None
    gc.collect()
    assert model() is None


def test_a_topic_that_cannot_be_subscribed_to_leaves_the_node_inactive(live_node: LiveNode) -> None:
    node = live_node(start=False)
    node.node.lifecycle.run("configure")
    create, made = node.middleware.create_subscription, []

    def create_two(topic: str, *arguments: Any, **options: Any) -> Any:
        if len(made) == 2:
            raise ConfigurationError("message type x/msg/Y is not installed here")
        made.append(topic)
        return create(topic, *arguments, **options)

    node.middleware.create_subscription = create_two
    with pytest.raises(ConfigurationError, match="not installed"):
        node.node.lifecycle.run("activate")
    assert node.node.lifecycle.state == "inactive"
    assert not set(made) & set(node.middleware.subscriptions)
    node.middleware.create_subscription = create
    node.node.lifecycle.run("activate")
    assert node.report()["camera CAM_FRONT"]["state"] == "never_seen"


def test_a_model_that_does_not_load_is_told_in_diagnostics_from_the_start(live_node: LiveNode) -> None:
    node = live_node(start=False)
    assert node.report()["lifecycle"] == {
        "level": "0", "message": "unconfigured", "state": "unconfigured", "failure": ""
    }  # fmt: skip
    detector = node.next_detectors[0]
    node.next_detectors.insert(0, ConfigurationError("the weights are damaged"))
    with pytest.raises(ConfigurationError):
        node.node.lifecycle.run("configure")
    lifecycle = node.report()["lifecycle"]
    assert lifecycle["level"] == "2" and lifecycle["failure"] == "configure failed: the weights are damaged"
    node.start()
    assert node.report()["lifecycle"]["level"] == "0" and node.node._detector is detector


def test_a_model_that_does_not_run_fails_at_configure(live_node: LiveNode) -> None:
    node = live_node(start=False)

    def fail(frame: Any) -> None:
        raise FloatingPointError("by design")

    node.detector.detect = fail
    with pytest.raises(ConfigurationError, match="model fake@0 does not run on cpu: by design"):
        node.node.lifecycle.run("configure")


def test_thresholds_change_what_is_published(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    node.feed(recording.static_messages() + recording.set_messages(0))
    scores = [box.score for box in node.middleware.published[topics.LONG_TAIL][0].detections]
    assert len(scores) == 2
    assert changed(node, "score_threshold", 1.0) == (True, "score_threshold = 1.0")
    node.feed(recording.set_messages(1))
    first = decode_long_tail(node.middleware.published[topics.LONG_TAIL][0])
    lower = first.class_names[first.class_ids[0]]
    assert changed(node, "class_thresholds", [f"{lower}=0.0"])[0]
    node.feed(recording.set_messages(2))
    assert boxes(node) == [2, 0, 1]
    successful, reason = changed(node, "class_thresholds", ["car", "child=2", "bus=0.1"])
    assert not successful and "'car' is not of the form" in reason and "'child=2' is not" in reason
    node.feed(recording.set_messages(3))
    assert boxes(node)[-1] == 1
    assert node.middleware.published[topics.LABEL_INFO][-1].threshold == 1.0


def test_faulty_thresholds_start_nothing(live_node: LiveNode) -> None:
    with pytest.raises(ConfigurationError, match="'car=x' is not of the form 'class=score'"):
        live_node(class_thresholds=["car=x"])


def test_names_that_are_no_class_of_the_model_are_told_once(
    live_node: LiveNode, recording: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Of another class list; a name may become a class later, so it is no error."""
    node = live_node(start=False, class_thresholds=["tram=0.2", "deer=0.0"])
    node.detector.trained = ("deer", "person", "car")
    node.start()
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 2
    assert "the model has no class tram; it has deer, person, car" in told[0]
    assert "deer, person become UNKNOWN; give objects_classes_file" in told[1]
    assert changed(node, "class_thresholds", ["tram=0.3", "stag=0.1"])[0]
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 3 and "no class stag;" in told[2]
    (named, again) = node.middleware.published[topics.LABEL_INFO]
    assert [each.class_name for each in named.class_map] == ["deer", "person", "car"]
    assert again.class_map == named.class_map
    node.feed(recording.static_messages() + recording.set_messages(0))
    (message,) = node.middleware.published[topics.LONG_TAIL]
    assert message.class_names == ["deer", "person", "car"]
    (objects,) = node.middleware.published[topics.OBJECTS]
    assert len(objects.objects) == len(message.detections) > 0


def test_memory_is_forgotten_when_asked(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    node.feed(recording.static_messages() + recording.set_messages(0) + recording.set_messages(1))
    assert node.middleware.ask("~/reset_memory") == (True, "what was seen is forgotten before the next set")
    node.feed(recording.set_messages(2))
    assert (node.detector.frames, node.detector.resets) == (1, 1)
    node.node.lifecycle.run("deactivate")
    assert node.middleware.ask("~/reset_memory") == (False, "there is no memory while the node is inactive")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder."""
    made = tmp_path / "models"
    made.mkdir()
    (made / "current.safetensors").touch()
    return made


def test_the_next_model_takes_over_between_two_sets(
    live_node: LiveNode, recording: Any, folder: Path, fake_node: ModuleType
) -> None:
    node = live_node(model_folder=str(folder))
    node.feed(recording.static_messages() + recording.set_messages(0))
    fresh = fake_node.FakeDetector()
    fresh.model_version = "fake@1"
    node.next_detectors.append(fresh)
    assert node.middleware.ask("~/reload_model") == (True, "model fake@1 in place of fake@0")
    node.feed(recording.set_messages(1))
    versions = [message.model_version for message in node.middleware.published[topics.LONG_TAIL]]
    assert versions == ["fake@0", "fake@1"]
    assert (node.detector.frames, fresh.frames) == (1, 1)
    assert node.opened == [(folder / "current.safetensors", "cpu")] * 2
    assert node.report()["model"]["version"] == "fake@1"
    assert len(node.middleware.published[topics.LABEL_INFO]) == 2


def test_a_model_that_fails_changes_nothing(
    live_node: LiveNode, recording: Any, folder: Path, fake_node: ModuleType
) -> None:
    node = live_node(model_folder=str(folder))
    other_size = fake_node.FakeDetector()
    other_size.image_spec, other_size.model_version = ImageSpec(64, 32), "large@0"
    node.next_detectors += [ConfigurationError("it is damaged"), OSError("disk"), other_size]
    for words in ("the model stays fake@0: it is damaged", "the model stays fake@0: disk", "to change that, clean up"):
        successful, text = node.middleware.ask("~/reload_model")
        assert not successful and words in text
        model = node.report()["model"]
        assert model["level"] == "1" and words in model["reload_failure"]
    node.feed(recording.static_messages() + recording.set_messages(0))
    assert [message.model_version for message in node.middleware.published[topics.LONG_TAIL]] == ["fake@0"]
    node.next_detectors.append(fake_node.FakeDetector())
    assert node.middleware.ask("~/reload_model")[0]
    assert node.report()["model"]["level"] == "0"


def test_models_come_from_their_folder_alone(live_node: LiveNode, folder: Path, tmp_path: Path) -> None:
    node = live_node(model_folder=str(folder))
    (tmp_path / "outside.safetensors").touch()
    (folder / "link.safetensors").symlink_to(tmp_path / "outside.safetensors")
    for name in ("../outside.safetensors", "link.safetensors", str(tmp_path / "outside.safetensors")):
        assert changed(node, "checkpoint", name)[0]
        successful, text = node.middleware.ask("~/reload_model")
        assert not successful and "is not in the model folder" in text
    (folder / "current.safetensors").unlink()
    (folder / "link.safetensors").unlink()
    folder.rmdir()
    assert "is not a folder; create it" in node.middleware.ask("~/reload_model")[1]
    assert len(node.opened) == 1


def test_nothing_is_reloaded_without_a_folder_or_a_model(live_node: LiveNode) -> None:
    assert "model_folder is empty" in live_node().middleware.ask("~/reload_model")[1]
    assert "not configured" in live_node(start=False).middleware.ask("~/reload_model")[1]


def test_without_listeners_nothing_is_detected(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    answers = (topics.LONG_TAIL, topics.DETECTIONS, topics.MARKERS, topics.OBJECTS)
    node.middleware.listeners.update(dict.fromkeys(answers, 0))
    node.middleware.feed(recording.static_messages() + recording.set_messages(0) + recording.set_messages(1))
    assert node.detector.frames == 0 and node.answers == []
    sets = node.report()["sets"]
    assert (sets["level"], sets["drops.nobody_listens"], sets["sets_in"]) == ("0", "2", "2")
    node.middleware.listeners[topics.MARKERS] = 1
    node.feed(recording.set_messages(2))
    assert node.detector.frames == 1 and node.answers == []
    assert len(node.middleware.published[topics.MARKERS]) == 1


def test_debug_images_are_made_for_those_who_look(live_node: LiveNode, recording: Any) -> None:
    node = live_node()
    node.feed(recording.static_messages() + recording.set_messages(0))
    front, back = (f"/semlt3d/debug/{name}/image" for name in recording.cameras)
    assert node.middleware.published[front] == []
    node.middleware.listeners[front] = 1
    node.feed(recording.set_messages(1))
    (image,) = node.middleware.published[front]
    assert node.middleware.published[back] == []
    assert (image.encoding, image.width, image.height) == ("rgb8", 448, 224)
    assert image.header.stamp == recording.image_message("CAM_FRONT", 1)[2].header.stamp


def test_names_of_the_classes_are_told_from_the_start(live_node: LiveNode) -> None:
    (labels,) = live_node().middleware.published[topics.LABEL_INFO]
    assert [entry.class_name for entry in labels.class_map][:3] == ["car", "truck", "trailer"]


def test_shutdown_ends_the_process_from_any_state(live_node: LiveNode) -> None:
    for start in (True, False):
        node = live_node(start=start)
        node.node.lifecycle.run("shutdown")
        node.middleware.run(1)
        assert node.middleware.stopped and node.node.lifecycle.state == "finalized"
