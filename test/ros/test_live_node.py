"""The detector in a real graph: transitions, parameters, services and diagnostics, as people use them."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.checkpoints.shipped import default_checkpoint
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.decode import StampedTransform, decode_long_tail
from semlt3d_ros.middleware.port import QoS

Ros2 = Callable[..., str]
Start = Callable[..., Any]
NODE = "/semlt3d"


def lifecycle(ros2: Ros2, transition: str) -> str:
    return ros2("lifecycle", "set", NODE, transition)


def call(ros2: Ros2, service: str) -> str:
    return ros2("service", "call", f"{NODE}/{service}", "std_srvs/srv/Trigger")


def test_transitions_one_by_one(graph: Any, detector: Start, ros2: Ros2) -> None:
    process = detector("autostart:=false")
    graph.listen_to_answers()
    graph.until(lambda: graph.value("lifecycle", "state") == "unconfigured")
    assert "unconfigured" in ros2("lifecycle", "get", NODE)
    assert "Transitioning successful" in lifecycle(ros2, "configure")
    graph.until(lambda: graph.value("lifecycle", "state") == "inactive")
    assert graph.value("model", "version").startswith("demo@")
    assert "Transitioning successful" in lifecycle(ros2, "activate")
    graph.send(*graph.recording.static_messages())
    graph.drive(10)
    graph.until(lambda: graph.answers)
    assert "Transitioning successful" in lifecycle(ros2, "deactivate")
    graph.until(lambda: graph.value("lifecycle", "state") == "inactive")
    graph.middleware.spin(timeout_s=0.5)
    answered = len(graph.answers)
    graph.drive(5)
    assert len(graph.answers) == answered
    assert "Transitioning successful" in lifecycle(ros2, "activate")
    graph.send(*graph.recording.static_messages())
    graph.drive(10)
    graph.until(lambda: len(graph.answers) > answered)
    for transition in ("deactivate", "cleanup", "configure", "cleanup"):
        assert "Transitioning successful" in lifecycle(ros2, transition)
    lifecycle(ros2, "shutdown")
    assert process.wait(20) == 0


def test_a_transition_that_fails_says_why_and_can_be_tried_again(graph: Any, detector: Start, ros2: Ros2) -> None:
    process = detector("checkpoint:=/nowhere/city.safetensors", "top_k:=99", "image_reliability:=maybe")
    graph.until(lambda: graph.value("lifecycle", "failure"))
    failure = graph.value("lifecycle", "failure")
    assert "top_k = 99 is not from 1 to 64" in failure and "image_reliability = 'maybe'" in failure
    assert graph.value("lifecycle", "level") == "2"
    assert "configure failed" in process.log()
    for name, value in (("top_k", "3"), ("image_reliability", "best_effort")):
        assert "successful" in ros2("param", "set", NODE, name, value)
    assert "Transitioning failed" in lifecycle(ros2, "configure")
    graph.until(lambda: "'/nowhere/city.safetensors' does not exist" in graph.value("lifecycle", "failure"))
    assert "successful" in ros2("param", "set", NODE, "checkpoint", "''")
    assert "Transitioning successful" in lifecycle(ros2, "configure")
    graph.until(lambda: graph.value("lifecycle", "level") == "0")


def test_parameters_while_the_node_runs(graph: Any, detector: Start, ros2: Ros2) -> None:
    detector()
    graph.until(lambda: graph.value("lifecycle", "state") == "active")
    graph.listen_to_answers()
    graph.send(*graph.recording.static_messages())
    graph.drive(8)
    graph.until(lambda: graph.answers and graph.answers[-1].detections)
    assert "successful" in ros2("param", "set", NODE, "score_threshold", "0.999")
    graph.drive(8)
    graph.until(lambda: not graph.answers[-1].detections)
    assert "successful" in ros2("param", "set", NODE, "class_thresholds", "['car=0.0']")
    refused = ros2("param", "set", NODE, "class_thresholds", "['car=lots']")
    assert "'car=lots' is not of the form 'class=score'" in refused
    assert "can only be changed before the node is configured" in ros2("param", "set", NODE, "rig_file", "x.yaml")
    assert "Max: 1.0" in ros2("param", "set", NODE, "marker_threshold", "7.0")
    assert "do not exist" in ros2("param", "set", NODE, "vocabulary_file", "/nowhere.safetensors")
    graph.until(lambda: "do not exist" in graph.value("model", "vocabulary_rejected"))
    described = ros2("param", "describe", NODE, "marker_threshold")
    assert "least score of a box that is drawn" in described and "Max value: 1.0" in described


def test_memory_is_reset_and_models_are_swapped_by_service(
    graph: Any, detector: Start, ros2: Ros2, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(default_checkpoint(), folder / "current.safetensors")
    detector(f"model_folder:={folder}", "image_reliability:=best_effort")
    graph.until(lambda: graph.value("lifecycle", "state") == "active")
    graph.listen_to_answers()
    graph.send(*graph.recording.static_messages())
    graph.drive(10)
    graph.until(lambda: int(graph.value("memory", "resets.kept") or 0) >= 3)
    assert "success=True" in call(ros2, "reset_memory")
    starts = int(graph.value("memory", "resets.start"))
    graph.drive(5)
    graph.until(lambda: int(graph.value("memory", "resets.start")) == starts + 1)
    running = graph.value("model", "version")

    assert f"{running} in place of {running}" in call(ros2, "reload_model")
    graph.drive(5)
    (folder / "next.safetensors").write_bytes(default_checkpoint().read_bytes()[:5000])
    assert "successful" in ros2("param", "set", NODE, "checkpoint", "next.safetensors")
    answer = call(ros2, "reload_model")
    assert "success=False" in answer and f"the model stays {running}" in answer
    graph.until(lambda: "next.safetensors" in graph.value("model", "reload_failure"))
    assert "successful" in ros2("param", "set", NODE, "checkpoint", "../outside.safetensors")
    assert "is not in the model folder" in call(ros2, "reload_model")
    shutil.rmtree(folder)
    assert "is not a folder" in call(ros2, "reload_model")
    before = len(graph.answers)
    graph.drive(5)
    graph.until(lambda: len(graph.answers) > before)


def test_without_a_model_folder_nothing_is_reloaded(graph: Any, detector: Start, ros2: Ros2) -> None:
    detector()
    graph.until(lambda: graph.value("lifecycle", "state") == "active")
    answer = call(ros2, "reload_model")
    assert "success=False" in answer and "model_folder is empty" in answer


def test_diagnostics_tell_the_story_of_each_camera(graph: Any, detector: Start) -> None:
    detector()
    graph.listen_to_answers()
    front, back = graph.recording.cameras
    transforms, front_info, back_info = graph.recording.static_messages()

    def was(state: str) -> Callable[[], bool]:
        return lambda: all(state in graph.seen(name) for name in (front, back))

    graph.until(was("never_seen"))
    graph.drive(6)
    graph.until(was("waiting_camera_info"))
    graph.send(front_info, back_info)
    graph.drive(8)
    graph.until(was("waiting_tf"))
    graph.send(transforms)
    graph.drive(8)
    graph.until(was("ok"))
    graph.until(lambda: graph.answers)
    graph.drive(15, front)
    graph.until(lambda: "stopped" in graph.seen(back)[graph.seen(back).index("ok") :])
    missing = decode_long_tail(graph.answers[-1]).missing
    assert missing == (back,)
    before = len(graph.seen(back))
    graph.drive(50)
    graph.until(lambda: "ok" in graph.seen(back)[before:])
    for _ in range(12):
        graph.drive(4, front)
        graph.drive(1)
    graph.until(lambda: "slow" in graph.seen(back))
    topic, kind, image, stamp = graph.recording.image_message(back, 500)
    image.data = np.frombuffer(b"not an image", np.uint8)
    graph.send((topic, kind, image, stamp))
    graph.until(lambda: "rejected" in graph.seen(back))
    # a recording that starts again
    graph.drive(8, first=0)
    graph.until(lambda: graph.value("messages", "resets.time_jump") == "1")
    sets = {
        key: int(value) for key, value in graph.statuses["semlt3d: sets"].items() if key.startswith(("sets", "drops"))
    }
    assert sets["sets_in"] >= sets["sets_processed"] > 10


def test_nobody_listens_and_nothing_is_detected(graph: Any, detector: Start) -> None:
    detector()
    graph.until(lambda: graph.value("lifecycle", "state") == "active")
    graph.send(*graph.recording.static_messages())
    graph.drive(5)
    graph.until(lambda: int(graph.value("sets", "drops.nobody_listens") or 0) >= 4)
    assert graph.value("sets", "sets_processed") == "0" and graph.value("sets", "level") == "0"
    names: list[Any] = []
    graph.listen(topics.LABEL_INFO, topics.LABEL_INFO_TYPE, names.append, depth=1, transient_local=True)
    graph.until(lambda: names)
    assert [entry.class_name for entry in names[0].class_map][:1] == ["car"]
    images: list[Any] = []
    front = graph.recording.cameras[0]
    graph.listen(f"{NODE}/debug/{front}/image", topics.IMAGE_TYPE, images.append)
    graph.drive(8)
    graph.until(lambda: images)
    assert images[0].encoding == "rgb8" and images[0].header.frame_id == front


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_during_inference_end_it_within_two_seconds(
    graph: Any, detector: Start, number: signal.Signals
) -> None:
    process = detector()
    graph.listen_to_answers()
    graph.until(lambda: graph.value("lifecycle", "state") == "active")
    graph.send(*graph.recording.static_messages())
    graph.drive(10)
    graph.until(lambda: graph.answers)
    graph.drive(3, period_s=0.01)
    process.send_signal(number)
    begin = time.monotonic()
    assert process.wait(20) == 0, process.log()
    assert time.monotonic() - begin < 2.0
    assert "Traceback" not in process.log()


def test_endpoints_that_do_not_fit_are_named(graph: Any, detector: Start) -> None:
    front, back = graph.recording.cameras
    image, info = topics.camera_image_topic(front), topics.camera_info_topic(back)
    process = detector("image_reliability:=reliable")
    graph.middleware.create_publisher(image, topics.COMPRESSED_IMAGE_TYPE, QoS(reliable=False))
    graph.middleware.create_publisher(info, topics.IMAGE_TYPE)
    graph.until(lambda: f"topic {image}: the publisher offers (best_effort, volatile)" in process.log())
    graph.until(lambda: f"topic {info}: a publisher of type sensor_msgs/msg/Image (node /tester)" in process.log())
    assert "make the publisher's QoS (node /tester) fit ours" in process.log()


def test_calibration_of_another_size_is_told(graph: Any, detector: Start) -> None:
    detector()
    graph.until(lambda: graph.value("lifecycle", "state") == "active")
    graph.listen_to_answers()
    back = graph.recording.cameras[1]
    transforms, front_info, back_info = graph.recording.static_messages()
    back_info[2].width, back_info[2].height = 100, 100
    graph.send(transforms, front_info, back_info)
    graph.drive(8)
    graph.until(lambda: graph.state(back) == "rejected")
    assert "is for 100x100, the image is 64x48" in graph.statuses[f"semlt3d: camera {back}"]["message"]
    graph.until(lambda: graph.answers)


def test_tf_loops_and_leading_slashes_do_no_harm(graph: Any, detector: Start) -> None:
    detector()
    graph.listen_to_answers()
    back = graph.recording.cameras[1]
    transforms, *infos = graph.recording.static_messages()
    for item in transforms[2].transforms:
        item.header.frame_id = "/" + item.header.frame_id
        item.child_frame_id = "/" + item.child_frame_id
    loop = encode.encode_transforms([StampedTransform(back, topics.BASE_FRAME, graph.recording.start, np.eye(4))])
    graph.send(transforms, *infos)
    graph.drive(5)
    graph.until(lambda: graph.answers)
    graph.send((topics.TF_STATIC, topics.TF_TYPE, loop, 0))
    graph.drive(8)
    graph.until(lambda: "would close a loop" in " ".join(graph.statuses.get("semlt3d: messages", {}).values()))
    before = len(graph.answers)
    graph.drive(5)
    graph.until(lambda: len(graph.answers) > before)


def test_a_checkpoint_of_ones_own_classes(graph: Any, detector: Start, ros2: Ros2, tmp_path: Path) -> None:
    """Its list is what messages, LabelInfo and parameters speak of."""
    from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
    from semlt3d_ros.core.classes import ClassInfo, ClassList
    from semlt3d_ros.student.config import StudentConfig
    from semlt3d_ros.student.student import Student

    yard = ClassList("yard", (ClassInfo("car", group="few"), ClassInfo("person"), ClassInfo("cone")))
    config = StudentConfig(image_width=64, image_height=32, anchors=10, proposals=5, class_names=yard.names)
    save_checkpoint(tmp_path / "yard.safetensors", Student(config), "yard", {}, classes=yard)
    labels: list[Any] = []
    graph.listen(topics.LABEL_INFO, topics.LABEL_INFO_TYPE, labels.append, depth=1, transient_local=True)
    graph.listen_to_answers()
    process = detector(f"checkpoint:={tmp_path / 'yard.safetensors'}", "class_thresholds:=['tram=0.5']")
    graph.until(lambda: labels and graph.value("lifecycle", "state") == "active")
    assert [each.class_name for each in labels[-1].class_map] == list(yard.names)
    assert graph.value("model", "classes") == "car,person,cone"
    graph.send(*graph.recording.static_messages())
    graph.drive(8)
    graph.until(lambda: graph.answers and graph.answers[-1].detections)
    answer = graph.answers[-1]
    assert list(answer.class_names) == list(yard.names) and answer.model_version.startswith("yard@")
    for item in answer.detections:
        assert len(item.class_confidences) == 3 and item.group == ("few" if item.class_name == "car" else "")
    latched = ("--qos-durability", "transient_local", "--qos-reliability", "reliable")
    shown = ros2("topic", "echo", "--once", *latched, f"{NODE}/label_info")
    assert "class_name: cone" in shown and "class_name: truck" not in shown
    assert process.log().count("the model has no class tram; it has car, person, cone") == 1
    assert "successful" in ros2("param", "set", NODE, "class_thresholds", "['cone=0.9']")
