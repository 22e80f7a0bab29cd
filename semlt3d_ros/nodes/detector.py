"""The detector node: camera messages in, detections out, and nothing lost without being counted."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.messages import topics as names
from semlt3d_ros.messages.encode import encode_detection3d, encode_diagnostics, encode_long_tail, encode_markers
from semlt3d_ros.messages.typestore import deserialize
from semlt3d_ros.middleware.parameters import load_parameters
from semlt3d_ros.middleware.port import LATCHED, Middleware, QoS, Subscription
from semlt3d_ros.middleware.throttle import ThrottledLog
from semlt3d_ros.nodes import detector_report as report
from semlt3d_ros.nodes.detector_parameters import DetectorParameters
from semlt3d_ros.nodes.lockstep import ProgressReport
from semlt3d_ros.nodes.parameter_updates import ParameterUpdates
from semlt3d_ros.nodes.signals import ended_by_signals, stopped_by_signals
from semlt3d_ros.nodes.statistics import SetCounters, StageLatencies
from semlt3d_ros.nodes.worker import LatestWorker
from semlt3d_ros.semantics.anchors import load_anchors
from semlt3d_ros.sensing.assembler import AssemblerConfig
from semlt3d_ros.sensing.frame_builder import BuilderConfig, FrameBuilder
from semlt3d_ros.sensing.rig import CameraConfig, Rig, load_rig

NODE_NAME = "semlt3d_detector"
_GEOMETRY_QOS = QoS(depth=100)
_POLL_PERIOD_S = 0.02
_SHUTDOWN_S = 1.5


class FrameDetector(Protocol):
    """What the node needs of a detector; ``student.detector.Detector`` is one."""

    image_spec: ImageSpec
    model_version: str
    last_timings: dict[str, float]
    memory_resets: Counter[str]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the confidences' columns."""

    def detect(self, frame: Frame) -> Detections:
        """Detections of one frame; raises ``InputRejected`` where there is no answer that could be published."""

    def reset(self) -> None:
        """Forget past frames."""

    def set_vocabulary(self, anchors: LanguageAnchors | None) -> None:
        """Add and replace classes by language, from any thread; raises ``ConfigurationError`` and changes nothing."""


@dataclass
class _Job:
    """A set on its way through the node; times are nanoseconds of the middleware's clock."""

    frame: Frame
    epoch: int
    received: int
    taken_up: int
    assembled: int
    started: int = 0
    detected: int = 0
    result: Detections | Exception | None = None
    timings: dict[str, float] = field(default_factory=dict)
    memory_resets: Counter[str] = field(default_factory=Counter)


class DetectorNode:
    """Subscribes to a rig's cameras, detects, publishes.

    Images are decoded and scaled as they arrive, on the executor's thread. Detection runs on a thread of its own, so
    that receiving goes on meanwhile; a set that is still waiting for it when a newer one is complete is dropped as
    ``superseded``. The latency of a set counts from the arrival of its last image to the end of publishing.

    Args:
        middleware: the graph.
        detector: what detects.
        rig: the cameras.
        parameters: see ``DetectorParameters``.

    Raises:
        ConfigurationError: the vocabulary file cannot be used.
    """

    def __init__(
        self, middleware: Middleware, detector: FrameDetector, rig: Rig, parameters: DetectorParameters
    ) -> None:
        self._middleware = middleware
        self._detector = detector
        self._rig = rig
        self._parameters = parameters
        self._log = ThrottledLog(middleware.logger)
        self._vocabulary_file = self._vocabulary_rejected = ""
        if parameters.vocabulary_file:
            self._set_vocabulary(parameters.vocabulary_file)
        self._memory_resets: Counter[str] = Counter()
        self._builder = FrameBuilder(
            rig,
            detector.image_spec,
            _assembler_config(parameters),
            config=BuilderConfig(stopped_after_s=parameters.camera_timeout_s),
        )
        self._counters = SetCounters()
        self._latencies = StageLatencies()
        self._in_flight = 0
        # In lockstep nothing is superseded, and one message can complete two sets: the second waits here.
        self._backlog: deque[_Job] = deque()
        self._last_received = 0
        self._epoch = self._detector_epoch = 0
        self._rate = report.RateMeter(middleware.now())
        self._rejected: Counter[str] = Counter()
        self._worker = LatestWorker("detector", self._detect)
        self._detections = middleware.create_publisher(parameters.detections_topic, names.DETECTION_3D_TYPE)
        self._long_tail = middleware.create_publisher(parameters.long_tail_topic, names.LONG_TAIL_TYPE)
        self._markers = middleware.create_publisher(parameters.markers_topic, names.MARKER_TYPE)
        self._diagnostics = middleware.create_publisher(names.DIAGNOSTICS, names.DIAGNOSTIC_TYPE)
        self._updates = ParameterUpdates(middleware, NODE_NAME, {"vocabulary_file": self._update_vocabulary})
        topics = rig.topics()
        self._progress = ProgressReport(middleware, tuple(topics))
        self._subscriptions = [self._subscribe(topic, type_name) for topic, type_name in topics.items()]
        middleware.create_timer(_POLL_PERIOD_S, self._poll)
        middleware.create_timer(parameters.diagnostics_period_s, self.publish_report)

    def close(self) -> bool:
        """Publish the last diagnostics and end the detection; returns whether it ended in time."""
        ended = self._worker.close(_SHUTDOWN_S)
        self.publish_report()
        return ended

    def publish_report(self) -> None:
        """Publish diagnostics and progress."""
        stamp = self._middleware.now()
        self._diagnostics.publish(encode_diagnostics(self._report_entries(stamp), stamp, types=self._middleware.types))
        if not self._in_flight:
            self._progress.publish()

    def _set_vocabulary(self, file: str) -> None:
        self._detector.set_vocabulary(load_anchors(Path(file)) if file else None)
        self._vocabulary_file, self._vocabulary_rejected = file, ""

    def _update_vocabulary(self, file: str) -> None:
        try:
            self._set_vocabulary(file)
        except ConfigurationError as error:
            self._vocabulary_rejected = str(error)
            raise

    def _subscribe(self, topic: str, type_name: str) -> Subscription:
        callback = partial(self._on_message, topic, type_name)
        if topic == self._rig.tf_static_topic:
            qos = LATCHED
        elif type_name in (names.IMAGE_TYPE, names.COMPRESSED_IMAGE_TYPE):
            qos = QoS(self._parameters.image_depth, reliable=self._parameters.image_reliability == "reliable")
        else:
            qos = _GEOMETRY_QOS
        # Raw: rosbags reads CDR faster than any middleware's own classes, and what it cannot read is counted here.
        return self._middleware.create_subscription(topic, type_name, callback, qos, raw=True)

    def _on_message(self, topic: str, type_name: str, data: bytes, received: int) -> None:
        taken_up = self._middleware.now()
        self._last_received = received
        try:
            frames = self._builder.add(topic, type_name, deserialize(data, type_name))
        except InputRejected as error:
            self._rejected[error.reason] += 1
            self._log.warning(f"{topic} {error.reason}", f"topic {topic}: {error}")
            frames = []
        for frame in frames:
            self._submit(frame, received, taken_up)
        self._progress.handled(topic)
        self._tell_progress()

    def _poll(self) -> None:
        # In lockstep, time stands still between two messages: a set is not late because the player waits for us.
        if not self._progress.followed:
            now = self._middleware.now()
            for frame in self._builder.poll(now):
                self._submit(frame, self._last_received, now)

    def _submit(self, frame: Frame, received: int, taken_up: int) -> None:
        if self._builder.reset_before(frame):
            self._epoch += 1
        job = _Job(frame, self._epoch, received, taken_up, assembled=self._middleware.now())
        self._in_flight += 1
        if self._in_flight > 1 and self._progress.followed:
            self._backlog.append(job)
        elif self._worker.submit(job) is not None:
            self._in_flight -= 1
            self._counters.drop("superseded")

    def _detect(self, job: _Job) -> None:
        """On the worker's thread."""
        job.started = self._middleware.now()
        try:
            if job.epoch != self._detector_epoch:
                self._detector_epoch = job.epoch
                self._detector.reset()
            job.result = self._detector.detect(job.frame)
            job.timings = dict(self._detector.last_timings)
        except Exception as error:
            job.result = error
        job.memory_resets = Counter(self._detector.memory_resets)
        job.detected = self._middleware.now()
        self._middleware.call_soon(partial(self._finish, job))

    def _finish(self, job: _Job) -> None:
        self._in_flight -= 1
        if self._backlog:
            self._worker.submit(self._backlog.popleft())
        self._memory_resets = job.memory_resets
        try:
            if isinstance(job.result, Detections):
                self._publish(job, job.result)
            elif isinstance(job.result, InputRejected):
                self._counters.drop(job.result.reason)
                self._log.warning(job.result.reason, f"the set of {job.frame.stamp * 1e-9:.9f} s: {job.result}")
            else:
                self._counters.drop("inference_error")
                self._middleware.logger.error(
                    "the set of %.9f s failed in the detector; going on", job.frame.stamp * 1e-9, exc_info=job.result
                )
        finally:
            self._tell_progress()

    def _publish(self, job: _Job, detections: Detections) -> None:
        frame_id, types = self._rig.base_frame, self._middleware.types
        self._long_tail.publish(encode_long_tail(detections, frame_id, types))
        # The long-tail message is the node's answer; the others say the same in other words, to whom it may concern.
        if self._detections.matched:
            self._detections.publish(encode_detection3d(detections, frame_id, self._parameters.top_k, types))
        if self._markers.matched:
            threshold = self._parameters.marker_threshold
            self._markers.publish(encode_markers(detections, frame_id, threshold, types))
        published = self._middleware.now()
        self._counters.sets_processed += 1
        windows = {
            "receive": job.taken_up - job.received,
            "prepare": job.assembled - job.taken_up,
            "wait": job.started - job.assembled,
            "publish": published - job.detected,
        }
        stages_ms = {name: window * 1e-6 for name, window in windows.items()}
        self._latencies.add({**stages_ms, **job.timings}, (published - job.received) * 1e-6)

    def _tell_progress(self) -> None:
        if not self._in_flight and self._progress.followed:
            self._progress.publish()

    def _report_entries(self, now: int) -> list[report.Entry]:
        counters = self._counters
        drops = self._builder.drops + self._rejected
        for subscription in self._subscriptions:
            drops += subscription.dropped
        lost = counters.drops + self._builder.dropped_sets
        counted = SetCounters(self._builder.sets_in, counters.sets_processed, lost)
        return [
            report.sets_entry(counted, self._rate.read(now, counters.sets_processed)),
            report.latency_entry(self._latencies),
            report.messages_entry(drops, self._builder.resets, self._builder.waiting),
            report.model_entry(
                self._detector.model_version,
                self._parameters.device,
                self._detector.class_names,
                self._vocabulary_file,
                self._vocabulary_rejected,
            ),
            report.memory_entry(self._memory_resets),
            *(report.camera_entry(status) for status in self._builder.camera_status.values()),
        ]


def create_detector_node(middleware: Middleware, parameters: DetectorParameters) -> DetectorNode:
    """Load the checkpoint and the rig that the parameters name, and start the node.

    Raises:
        ConfigurationError: the checkpoint, the device or the rig cannot be used.
    """
    import torch

    from semlt3d_ros.student.detector import Detector, default_checkpoint

    if parameters.threads:
        torch.set_num_threads(parameters.threads)
    device = parameters.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    rig = load_rig(Path(parameters.rig_file)) if parameters.rig_file else _default_rig(parameters)
    detector = Detector.load(Path(parameters.checkpoint) if parameters.checkpoint else default_checkpoint(), device)
    middleware.logger.info("model %s on %s, %d cameras", detector.model_version, device, len(rig.cameras))
    return DetectorNode(middleware, detector, rig, replace(parameters, device=device))


def run_detector(
    parameters_file: Path | None = None, overrides: list[str] | None = None, domain_id: int | None = None
) -> int:
    """Run the detector node on DDS until SIGINT or SIGTERM.

    Args:
        parameters_file: ROS 2 parameter YAML; see ``config/detector.yaml``.
        overrides: ``name:=value`` texts.
        domain_id: the ROS domain; None takes ROS_DOMAIN_ID, or 0.

    Returns:
        0.

    Raises:
        ConfigurationError: nothing was started; the message names all faults of the parameters.
    """
    from semlt3d_ros.middleware.dds import DdsMiddleware

    parameters = load_parameters(DetectorParameters, NODE_NAME, parameters_file, overrides or ())
    middleware = DdsMiddleware(NODE_NAME, domain_id)
    try:
        with ended_by_signals():
            node = create_detector_node(middleware, parameters)
        with stopped_by_signals(middleware):
            middleware.logger.info("ready in ROS domain %d", middleware.domain_id)
            middleware.spin()
            node.close()
    finally:
        middleware.shutdown()
    return 0


def _default_rig(parameters: DetectorParameters) -> Rig:
    if not parameters.cameras:
        raise ConfigurationError("parameters: 'cameras' is empty and there is no rig_file; name at least one camera")
    compressed = parameters.compressed
    cameras = tuple(
        CameraConfig(name, names.camera_image_topic(name, compressed), names.camera_info_topic(name), compressed)
        for name in parameters.cameras
    )
    return Rig(cameras, anchor=parameters.cameras[0])


def _assembler_config(parameters: DetectorParameters) -> AssemblerConfig:
    return AssemblerConfig(
        completed_by="anchor" if parameters.completed_by == "anchor" else "all",
        tolerance_s=parameters.tolerance_s,
        deadline_s=parameters.deadline_s,
        min_cameras=parameters.min_cameras or None,
        stall_s=parameters.stall_s,
    )
