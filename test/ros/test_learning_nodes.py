"""The nodes that learn, launched as on a vehicle: events are recorded and played back, a round is run while parked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.small_robot import write_robot
from semlt3d_ros.adaptation.models import ModelStore
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import stamp_of
from semlt3d_ros.messages.typestore import message_class
from semlt3d_ros.recording.event import events_of

TRIGGER = "std_srvs/srv/Trigger"
STATUS_TYPE = "semlt3d_ros/msg/DistillationStatus"


@pytest.fixture
def triggers(tmp_path: Path) -> Path:
    file = tmp_path / "triggers.yaml"
    file.write_text("triggers: {service: {}}\n", encoding="utf-8")
    return file


def test_the_recorder_beside_the_detector_has_its_namespace_rig_and_remaps(
    launch: Callable[..., Path], graph: Any, ros2: Callable[..., str], recording: Any, triggers: Path, tmp_path: Path
) -> None:
    vehicle = tmp_path / "vehicle.yaml"
    values = {
        "namespace": "front",
        "name": "eyes",
        "rig": {"cameras": [{"name": name} for name in recording.cameras]},
        "remaps": {"~/long_tail": "/perception/long_tail"},
        "parameters": {"min_cameras": 1, "diagnostics_period_s": 0.2},
        "model": {"device": "cpu", "threads": 1},
    }
    vehicle.write_text(yaml.safe_dump(values), encoding="utf-8")
    events = tmp_path / "events"
    words = (f"vehicle:={vehicle}", "recording:=true", f"events:={events}", f"triggers:={triggers}")
    log = launch("semlt3d_ros", "detector.launch.py", *words)
    graph.until(lambda: graph.state(recording.cameras[0]) == "never_seen", 120)
    answers: list[Any] = []
    graph.listen("/perception/long_tail", topics.LONG_TAIL_TYPE, answers.append)
    graph.send(*recording.static_messages())
    graph.drive(8)
    graph.until(lambda: answers)
    assert "is being recorded" in ros2("service", "call", "/front/semlt3d_recorder/record", TRIGGER)
    assert "semlt3d recorder: events" in graph.statuses
    graph.drive(3)
    graph.until(lambda: graph.statuses["semlt3d recorder: events"].get("events") == "1", 60)
    (event,), faults = events_of(events)
    assert not faults and event.triggers == ("service",) and event.model_version.startswith("demo@")
    with BagSource(event.folder) as source:
        assert topics.LONG_TAIL in source.topics, "under the usual name, wherever the vehicle has it"
        assert sum(entry.topic == topics.LONG_TAIL for entry in source.messages()) == len(answers)
        assert topics.camera_image_topic(recording.cameras[0]) in "".join(source.topics)
    assert "ERROR" not in log.read_text(encoding="utf-8")


def test_an_event_is_played_by_ros2_bag(
    launch: Callable[..., Path], graph: Any, ros2: Callable[..., str], recording: Any, triggers: Path, tmp_path: Path
) -> None:
    if "mcap" not in ros2("bag", "list", "storage"):
        pytest.skip("this graph has no rosbag2 that reads mcap")
    events = tmp_path / "events"
    rig = tmp_path / "rig.yaml"
    rig.write_text("cameras:\n" + "".join(f"  - name: {name}\n" for name in recording.cameras), encoding="utf-8")
    launch("semlt3d_ros", "record.launch.py", f"events:={events}", f"recording:={triggers}", f"rig:={rig}")
    graph.until(lambda: "semlt3d recorder: events" in graph.statuses)
    graph.send(*recording.static_messages())
    graph.drive(5)
    assert "is being recorded" in ros2("service", "call", "/semlt3d_recorder/record", TRIGGER)
    graph.until(lambda: graph.statuses["semlt3d recorder: events"].get("events") == "1", 60)
    (event,), _ = events_of(events)
    assert "mcap" in ros2("bag", "info", str(event.folder))
    graph.listen_to_answers()
    arguments = (f"bag:={event.folder}", "player:=rosbag2", f"rig:={rig}", "device:=cpu", "rate:=0.5", "delay:=45")
    log = launch("semlt3d_ros", "replay.launch.py", *arguments, "exit_when_played:=true")
    graph.until(lambda: log.read_text(encoding="utf-8").count("process has finished cleanly") == 2, 120)
    stamps = {stamp_of(answer) for answer in graph.answers}
    assert stamps and stamps <= {recording.stamp_of_set(index) for index in range(5)}


def test_a_round_is_run_while_the_vehicle_is_parked(
    launch: Callable[..., Path], graph: Any, ros2: Callable[..., str], tmp_path: Path
) -> None:
    settings = write_robot(tmp_path / "robot")
    before = ModelStore(tmp_path / "robot" / "models").current()
    heard: list[Any] = []
    graph.listen("/semlt3d_distiller/status", STATUS_TYPE, heard.append, depth=1, reliable=True, transient_local=True)
    log = launch("semlt3d_ros", "distill.launch.py", f"settings:={settings}", "parked_topic:=/vehicle/parked")
    status = "semlt3d distiller: loop"
    graph.until(lambda: status in graph.statuses)
    assert "does not say that it is parked" in graph.statuses[status]["message"]
    assert "success=True" in ros2("service", "call", "/semlt3d_distiller/forbid", TRIGGER)
    parked = graph.middleware.create_publisher("/vehicle/parked", "std_msgs/msg/Bool")
    graph.middleware.create_timer(0.5, lambda: parked.publish(message_class("std_msgs/msg/Bool")(data=True)))
    graph.until(lambda: graph.statuses[status]["message"].startswith("not allowed"))
    assert "success=True" in ros2("service", "call", "/semlt3d_distiller/allow", TRIGGER)
    kind = message_class(STATUS_TYPE)
    graph.until(lambda: heard and heard[-1].state in (kind.PROMOTED, kind.REJECTED), 300)
    assert {kind.REPLAYING, kind.TRAINING, kind.EVALUATING} <= {message.state for message in heard}
    store = ModelStore(tmp_path / "robot" / "models")
    assert (store.current() != before) == (heard[-1].state == kind.PROMOTED)
    assert "Traceback" not in log.read_text(encoding="utf-8")
