"""The event recorder: keeps the last seconds of a drive, and writes them down when something makes them worth it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.messages import topics as names
from semlt3d_ros.messages.encode import encode_diagnostics
from semlt3d_ros.messages.typestore import deserialize
from semlt3d_ros.middleware.port import LATCHED, Answer, Middleware, QoS, Subscription
from semlt3d_ros.nodes import event_recorder_report as report
from semlt3d_ros.nodes.configuration import input_qos, rig_of
from semlt3d_ros.nodes.detector_parameters import DetectorParameters
from semlt3d_ros.nodes.event_recorder_parameters import EventRecorderParameters
from semlt3d_ros.recording.blurring import load_blur
from semlt3d_ros.recording.places import Places, read_places
from semlt3d_ros.recording.quota import Quota
from semlt3d_ros.recording.recorder import Recorder, Spans
from semlt3d_ros.recording.ring import Ring
from semlt3d_ros.recording.settings import default_recording, load_recording
from semlt3d_ros.recording.triggers import Service
from semlt3d_ros.recording.watching import Watchers
from semlt3d_ros.recording.writer import EventWriter, WriterReport

RECORD = "~/record"
_TICK_S = 0.1
_SHUTDOWN_S = 5.0
_DEPTH = 200
_OUTPUTS = {
    names.LONG_TAIL: names.LONG_TAIL_TYPE,
    names.DETECTIONS: names.DETECTION_3D_TYPE,
    names.LABEL_INFO: names.LABEL_INFO_TYPE,
}
"""What is recorded of the detector, under these topics whatever its node is called: so events are all alike."""

_COUNTED = {
    "events": "recorded",
    "lost_events": "lost",
    "salvaged": "saved that a killed recorder left",
    "deleted": "deleted to make room",
}
"""Counts of events that the log tells of, in its words."""


class EventRecorder:
    """Subscribes to a rig's sensors and to a detector, and records events. At work from the moment it exists.

    Messages are kept as they came; only what a trigger looks at is decoded. Writing is done by a thread of its own
    (``recording.writer``). Receiving never waits for the disk.

    Args:
        middleware: the graph.
        steady: nanoseconds of a clock that nobody sets.

    Raises:
        ConfigurationError: parameters or the recording file do not fit, or the folder of the events cannot be made.
    """

    def __init__(self, middleware: Middleware, steady: Callable[[], int] = time.monotonic_ns) -> None:
        self._middleware, self._steady = middleware, steady
        parameters = middleware.declare_parameters(EventRecorderParameters, _refuse).read()
        if not parameters.events:
            raise ConfigurationError("the parameter 'events' is empty; name a folder, such as events:=/data/events")
        file = Path(parameters.recording_file) if parameters.recording_file else default_recording()
        recording = load_recording(file)
        blur = load_blur(recording.blur) if recording.blur else None
        spans = Spans(parameters.pre_roll_s, parameters.post_roll_s, parameters.longest_s)
        self._quota = Quota(
            round(parameters.quota_gb * 1e9),
            round(parameters.keep_free_gb * 1e9),
            parameters.half_life_days * 86400.0,
        )
        as_detector = _as_detector(parameters)
        rig = rig_of(as_detector)
        wanted = rig.topics(with_points=True) | _OUTPUTS | recording.topics
        last = {camera.info_topic for camera in rig.cameras} | {names.LABEL_INFO}
        self._ring = Ring(
            parameters.pre_roll_s,
            round(parameters.ring_mb * 1e6),
            all_latched=frozenset({rig.tf_static_topic}),
            last_latched=frozenset(last),
        )
        folder = Path(parameters.events)
        queue_bytes = round(parameters.queue_mb * 1e6)
        self._writer = EventWriter(folder, self._quota, queue_bytes, blur, middleware.now, parameters.niceness)
        self._recorder = Recorder(self._ring, self._writer, spans)
        self._watchers = Watchers(recording.triggers, Places(read_places(folder), self._writer.remember))
        self._by_hand = any(isinstance(trigger, Service) for trigger in recording.triggers.values())
        self._pre_roll_s = parameters.pre_roll_s
        self._told = WriterReport()
        self._received: Counter[str] = Counter()
        self._faults = FaultLog()
        self._diagnostics = middleware.create_publisher(names.DIAGNOSTICS, names.DIAGNOSTIC_TYPE)
        middleware.create_trigger(RECORD, self._on_record)
        middleware.create_timer(_TICK_S, self._tick)
        middleware.create_timer(parameters.diagnostics_period_s, self.publish_report)
        self._subscriptions: dict[str, Subscription] = {}
        for topic, type_name in {**self._watchers.topics, **wanted}.items():
            qos = LATCHED if topic == names.LABEL_INFO else input_qos(as_detector, rig, topic)
            if topic == rig.points_topic:
                qos = QoS(as_detector.image_depth, parameters.image_reliability == "reliable")
            place = topic.replace("/semlt3d", parameters.detector.rstrip("/"), 1) if topic in _OUTPUTS else topic
            callback = partial(self._on_message, topic, type_name, topic in wanted)
            self._subscriptions[topic] = middleware.create_subscription(place, type_name, callback, qos, raw=True)
        triggers = ", ".join(recording.triggers)
        middleware.logger.info("recording %d topics into %s when one fires of: %s", len(wanted), folder, triggers)

    def close(self) -> bool:
        """Finish the event that is open; returns whether that was done in time. The last diagnostics tell of it."""
        self._recorder.close()
        ended = self._writer.close(_SHUTDOWN_S)
        if not ended:
            self._middleware.logger.warning(
                "the disk did not take the last event within %g s; the next recorder saves what it has", _SHUTDOWN_S
            )
        self.publish_report()
        return ended

    def publish_report(self) -> None:
        """Publish diagnostics, and log what is new."""
        written = self._writer.report()
        self._log(written)
        silent = [topic for topic, subscription in self._subscriptions.items() if not self._received[topic]]
        dropped = sum((subscription.dropped for subscription in self._subscriptions.values()), Counter[str]())
        faults = FaultLog([*self._faults, *self._watchers.faults, *written.faults])
        entries = [
            report.input_entry(self._received, silent, dropped, [*self._faults, *self._watchers.faults]),
            report.ring_entry(self._ring, self._pre_roll_s),
            report.events_entry(self._recorder, self._watchers.fired, written),
            report.disk_entry(written, self._quota, faults),
        ]
        stamp = self._middleware.stamp()
        self._diagnostics.publish(encode_diagnostics(entries, stamp, types=self._middleware.types))

    def _on_message(self, topic: str, type_name: str, is_recorded: bool, data: bytes, received: int) -> None:
        at = self._steady()
        self._received[topic] += 1
        if is_recorded:
            self._recorder.add(topic, type_name, data, received, at)
        if topic in self._watchers.topics:
            try:
                message = deserialize(data, type_name)
            except InputRejected as error:
                self._faults.reject(topic, error)
                return
            self._recorder.fire(self._watchers.see(at, topic, message), received, at)

    def _tick(self) -> None:
        now, at = self._middleware.now(), self._steady()
        self._recorder.tick(now, at)
        self._recorder.fire(self._watchers.see(at), now, at)

    def _on_record(self, answer: Answer) -> None:
        if not self._by_hand:
            answer(False, "the recording file has no trigger of kind service")
            return
        at = self._steady()
        self._recorder.fire(self._watchers.ask(at), self._middleware.now(), at)
        recording = self._recorder.is_recording
        problem = self._writer.report().problem or "the disk is still at the events before"
        answer(recording, "this moment is being recorded" if recording else f"nothing is recorded: {problem}")

    def _log(self, written: WriterReport) -> None:
        told, self._told = self._told, written
        if written.problem and written.problem != told.problem:
            self._middleware.logger.error("%s", written.problem)
        counts = [
            f"{getattr(written, name) - getattr(told, name)} {words}"
            for name, words in _COUNTED.items()
            if getattr(written, name) > getattr(told, name)
        ]
        if counts:
            self._middleware.logger.info("%s", ", ".join(counts))


def _as_detector(parameters: EventRecorderParameters) -> DetectorParameters:
    """The detector's own parameters, as far as they say what it listens to."""
    shared = ("rig_file", "cameras", "compressed", "image_reliability")
    return DetectorParameters(**{name: getattr(parameters, name) for name in shared})


def _refuse(_: EventRecorderParameters, changed: frozenset[str]) -> None:
    raise ConfigurationError(f"{', '.join(sorted(changed))} cannot be changed while the recorder runs; start it anew")
