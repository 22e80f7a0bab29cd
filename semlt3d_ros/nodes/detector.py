"""The detector node: camera messages in, detections out, and nothing lost without being counted."""

from __future__ import annotations

from collections import Counter
from functools import partial

from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.inference.frame_detector import FrameDetector
from semlt3d_ros.messages import topics as names
from semlt3d_ros.messages.encode import encode_diagnostics
from semlt3d_ros.messages.typestore import deserialize
from semlt3d_ros.middleware.parameters import live_parameters
from semlt3d_ros.middleware.port import Answer, Middleware, Subscription, Timer
from semlt3d_ros.middleware.throttle import ThrottledLog
from semlt3d_ros.nodes import detector_report as report
from semlt3d_ros.nodes.configuration import device_of, frame_builder_of, input_qos, rig_of
from semlt3d_ros.nodes.detector_parameters import DetectorParameters
from semlt3d_ros.nodes.input_log import InputLog
from semlt3d_ros.nodes.lifecycle import Lifecycle
from semlt3d_ros.nodes.lockstep import ProgressReport
from semlt3d_ros.nodes.model_keeper import ModelKeeper, Place
from semlt3d_ros.nodes.model_loader import OpenDetector, set_vocabulary
from semlt3d_ros.nodes.outputs import Outputs
from semlt3d_ros.nodes.pipeline import DetectionJob, DetectionPipeline
from semlt3d_ros.nodes.statistics import NOBODY_LISTENS, SetCounters, StageLatencies
from semlt3d_ros.nodes.watchdog import Watchdog
from semlt3d_ros.sensing.frame_builder import Completeness

RESET_MEMORY = "~/reset_memory"
RELOAD_MODEL = "~/reload_model"
_POLL_PERIOD_S = 0.05
_SHUTDOWN_S = 1.5
_CLOCK_STEP_NS = 50_000_000
"""Clocks that are set right step back by less than this; those of a replay that starts anew by more."""


class DetectorNode:
    """Subscribes to a rig's cameras, detects, publishes. Driven through ``lifecycle``.

    Images are decoded and scaled as they arrive, on the executor's thread. Detection runs on a thread of its own, so
    that receiving goes on meanwhile; a set that is still waiting for it when a newer one is complete is dropped as
    ``superseded``. The latency of a set counts from the arrival of its last image to the end of publishing.

    Diagnostics are published from the beginning, whatever the state.

    Args:
        middleware: the graph.
        open_detector: loads a checkpoint.
    """

    def __init__(self, middleware: Middleware, open_detector: OpenDetector) -> None:
        self._middleware = middleware
        self._log = ThrottledLog(middleware.logger)
        self._input_log = InputLog(middleware.logger)
        self._clock: int | None = None
        self.lifecycle = Lifecycle(
            {
                "configure": self._configure,
                "activate": self._activate,
                "deactivate": self._deactivate,
                "cleanup": self._cleanup,
                "shutdown": self._shut_down,
            }
        )
        self._source = middleware.declare_parameters(DetectorParameters, self._accept)
        self._parameters = DetectorParameters()
        self._detector: FrameDetector | None = None
        self._pipeline: DetectionPipeline | None = None  # while the node is active
        self._device = ""
        self._vocabulary_rejected = ""
        self._models = ModelKeeper(middleware, open_detector, self._take_model, self._place_of_model)
        self._watchdog = Watchdog()
        self._start_counting()
        self._last_received = 0
        self._subscriptions: list[Subscription] = []
        self._timers: list[Timer] = []
        self._diagnostics = middleware.create_publisher(names.DIAGNOSTICS, names.DIAGNOSTIC_TYPE)
        middleware.create_trigger(RESET_MEMORY, self._on_reset_memory)
        middleware.create_trigger(RELOAD_MODEL, self._on_reload_model)
        self._report_timer = middleware.create_timer(self._parameters.diagnostics_period_s, self._report_and_follow)

    @property
    def autostart(self) -> bool:
        """Whether to configure and activate at once; also where parameters do not fit, so that starting says why."""
        try:
            return self._source.read().autostart
        except ConfigurationError:
            return True

    def close(self) -> bool:
        """Publish the last diagnostics and end the detection; returns whether it ended in time."""
        ended = self._stop_detection() if self._pipeline is not None else True
        self._models.end()
        self.publish_report()
        return ended

    def publish_report(self) -> None:
        """Publish diagnostics and progress, and log what was wrong with the input since the last time."""
        self._log_faults()
        stamp = self._middleware.stamp()
        self._diagnostics.publish(encode_diagnostics(self._report_entries(), stamp, types=self._middleware.types))
        if self._pipeline is not None and not self._pipeline.in_flight:
            self._progress.publish()

    def _report_and_follow(self) -> None:
        self.publish_report()
        if self._detector is not None:
            self._models.follow(self._detector)

    # Transitions

    def _configure(self) -> None:
        parameters = self._source.read()
        rig = rig_of(parameters)
        self._device = device_of(parameters)
        detector = self._models.load(Place(parameters, self._device, len(rig.cameras)))
        self._builder = frame_builder_of(parameters, rig, detector)
        self._input_log.forget()
        self._outputs = Outputs(self._middleware, rig, parameters, detector.class_names)
        self._rig, self._detector = rig, detector
        self._start_counting()
        self._use(parameters)
        self._report_timer.cancel()
        self._report_timer = self._middleware.create_timer(parameters.diagnostics_period_s, self._report_and_follow)
        self._tell_classes()
        self._middleware.logger.info(
            "model %s on %s, %d cameras", detector.model_version, self._device, len(rig.cameras)
        )

    def _activate(self) -> None:
        assert self._detector is not None
        self._detector.move_to(self._device)
        self._pipeline = DetectionPipeline(self._middleware, self._detector, self._finish)
        self._watchdog.reset()
        self._clock = None
        wanted = self._rig.topics()
        self._progress = ProgressReport(self._middleware, tuple(wanted))
        try:
            for topic, type_name in wanted.items():
                self._subscriptions.append(self._subscribe(topic, type_name))
        except Exception:
            self._stop_input()
            self._stop_detection()
            raise
        self._timers = [self._middleware.create_timer(_POLL_PERIOD_S, self._poll)]

    def _deactivate(self) -> None:
        self._stop_input()
        assert self._detector is not None
        if self._stop_detection():
            self._detector.reset()
            self._detector.move_to("cpu")
        else:
            # Its weights cannot be taken from under it.
            self._middleware.logger.warning(
                "the set under way did not end within %g s; the GPU stays in use", _SHUTDOWN_S
            )

    def _cleanup(self) -> None:
        self._outputs.close()
        self._models.end()
        self._detector = None

    def _shut_down(self) -> None:
        if self.lifecycle.state == "active":
            self._deactivate()
        self._middleware.call_soon(self._middleware.stop)

    def _stop_input(self) -> None:
        for timer in self._timers:
            timer.cancel()
        for subscription in self._subscriptions:
            self._rejected += subscription.dropped
            subscription.close()
        self._progress.close()
        self._timers, self._subscriptions = [], []

    def _stop_detection(self) -> bool:
        assert self._pipeline is not None
        pipeline, self._pipeline = self._pipeline, None  # it holds the model, which cleanup shall free
        ended = pipeline.close(_SHUTDOWN_S)
        self._counters.drop("stopped", pipeline.in_flight)
        return ended

    def _start_counting(self) -> None:
        self._memory_resets: Counter[str] = Counter()
        self._counters = SetCounters()
        self._latencies = StageLatencies()
        self._rejected: Counter[str] = Counter()
        self._completeness = Completeness()
        self._processed_rate, self._lost_rate, self._dropped_rate = (
            report.RateMeter(self._middleware.now()) for _ in range(3)
        )

    # Parameters and triggers

    def _accept(self, parameters: DetectorParameters, changed: frozenset[str]) -> None:
        if self._detector is None:
            return
        fixed = changed - live_parameters(DetectorParameters)
        if fixed:
            raise ConfigurationError(
                f"{', '.join(sorted(fixed))} can only be changed before the node is configured; these at any time: "
                f"{', '.join(sorted(live_parameters(DetectorParameters)))}"
            )
        self._outputs.use(parameters)
        if "vocabulary_file" in changed:
            try:
                set_vocabulary(self._detector, parameters.vocabulary_file)
            except ConfigurationError as error:
                self._vocabulary_rejected = str(error)
                self._outputs.use(self._parameters)
                raise
            self._vocabulary_rejected = ""
        self._use(parameters)
        if changed & {"vocabulary_file", "score_threshold", "class_thresholds"}:
            self._tell_classes()

    def _use(self, parameters: DetectorParameters) -> None:
        self._parameters = parameters
        self._watchdog.set_limits(parameters.latency_budget_ms, parameters.latency_patience_s)

    def _on_reset_memory(self, answer: Answer) -> None:
        if self._pipeline is None:
            answer(False, f"there is no memory while the node is {self.lifecycle.state}")
            return
        self._pipeline.forget()
        answer(True, "what was seen is forgotten before the next set")

    def _on_reload_model(self, answer: Answer) -> None:
        if self._detector is None:
            answer(False, "the node is not configured; what is configured next is loaded then")
            return
        self._models.reload(self._detector, answer)

    def _place_of_model(self) -> Place:
        return Place(self._parameters, self._device_now, len(self._rig.cameras))

    def _take_model(self, detector: FrameDetector) -> None:
        if self._detector is None:
            raise ConfigurationError("the node was cleaned up meanwhile")
        detector.move_to(self._device_now)
        former, self._detector = self._detector, detector
        if self._pipeline is not None:
            self._pipeline.detector = detector
        else:
            former.move_to("cpu")
        self._tell_classes()

    def _tell_classes(self) -> None:
        assert self._detector is not None
        self._outputs.publish_labels(self._detector.class_names)
        self._outputs.tell_unknown(self._detector.class_names)

    @property
    def _device_now(self) -> str:
        return self._device if self.lifecycle.state == "active" else "cpu"

    # Messages to sets, sets to detections

    def _subscribe(self, topic: str, type_name: str) -> Subscription:
        callback = partial(self._on_message, topic, type_name)
        # Raw: rosbags reads CDR faster than any middleware's own classes, and what it cannot read is counted here.
        qos = input_qos(self._parameters, self._rig, topic)
        return self._middleware.create_subscription(topic, type_name, callback, qos, raw=True)

    def _on_message(self, topic: str, type_name: str, data: bytes, received: int) -> None:
        taken_up = self._middleware.now()
        self._last_received = received
        frames = self._restarted()
        try:
            frames += self._builder.add(topic, type_name, deserialize(data, type_name))
        except InputRejected as error:
            self._rejected[error.reason] += 1
            self._builder.faults.reject(topic, error)
        for frame in frames:
            self._submit(frame, received, taken_up)
        self._progress.handled(topic)
        self._tell_progress()

    def _restarted(self) -> list[Frame]:
        """What waited for an end that will not come, if the graph's time has gone back."""
        former, self._clock = self._clock, self._middleware.stamp()
        return self._builder.restart() if former is not None and self._clock < former - _CLOCK_STEP_NS else []

    def _poll(self) -> None:
        # In lockstep, time stands still between two messages: a set is not late because the player waits for us.
        if not self._progress.followed:
            now = self._middleware.now()
            for frame in self._builder.poll(now):
                self._submit(frame, self._last_received, now)

    def _submit(self, frame: Frame, received: int, taken_up: int) -> None:
        assert self._pipeline is not None
        if self._builder.reset_before(frame):
            self._pipeline.forget()
        if not self._outputs.wanted:
            self._counters.drop(NOBODY_LISTENS)
            return
        job = DetectionJob(frame, received, taken_up, assembled=self._middleware.now())
        if self._pipeline.submit(job, keep_all=self._progress.followed) is not None:
            self._counters.drop("superseded")

    def _finish(self, job: DetectionJob) -> None:
        self._memory_resets = job.memory_resets
        if self._detector is not None:
            self._models.add(job, self._detector)
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

    def _publish(self, job: DetectionJob, detections: Detections) -> None:
        self._outputs.publish(job.frame, detections)
        published = self._middleware.now()
        self._counters.sets_processed += 1
        windows = {
            "receive": job.taken_up - job.received,
            "prepare": job.assembled - job.taken_up,
            "wait": job.started - job.assembled,
            "publish": published - job.detected,
        }
        total_ms = (published - job.received) * 1e-6
        self._latencies.add({**{name: value * 1e-6 for name, value in windows.items()}, **job.timings}, total_ms)
        self._watchdog.add(total_ms, published)

    def _tell_progress(self) -> None:
        if self._pipeline is not None and not self._pipeline.in_flight and self._progress.followed:
            self._progress.publish()

    def _log_faults(self) -> None:
        if self._detector is not None:
            cameras = self._builder.camera_status.values() if self.lifecycle.state == "active" else ()
            self._input_log.tell(self._builder.faults, cameras, self._middleware.now())

    def _report_entries(self) -> list[report.Entry]:
        lifecycle = report.lifecycle_entry(self.lifecycle.state, self.lifecycle.failure)
        if self._detector is None:
            return [lifecycle]
        now, counters, builder, detector = self._middleware.now(), self._counters, self._builder, self._detector
        drops = builder.drops + self._rejected
        for subscription in self._subscriptions:
            drops += subscription.dropped
        counted = SetCounters(builder.sets_in, counters.sets_processed, counters.drops + builder.dropped_sets)
        before, self._completeness = self._completeness, builder.completeness
        rates = {
            name: meter.read(now, count)
            for name, meter, count in (
                ("processed", self._processed_rate, counted.sets_processed),
                ("lost", self._lost_rate, counted.lost),
                ("dropped", self._dropped_rate, drops.total()),
            )
        }
        entries = [
            lifecycle,
            report.input_entry(self._completeness, before),
            report.sets_entry(counted, rates["processed"], rates["lost"]),
            report.latency_entry(self._latencies),
            self._watchdog.entry(now, self._pipeline.under_way_since if self._pipeline is not None else None),
            report.messages_entry(drops, builder.resets, builder.waiting, rates["dropped"], builder.faults),
            report.model_entry(
                detector.model_version,
                self._device_now,
                detector.class_names,
                self._parameters.vocabulary_file,
                self._vocabulary_rejected,
                self._models.failure,
                detector.accelerator_memory(),
                self._parameters.second_opinion,
            ),
            report.memory_entry(self._memory_resets),
        ]
        if (promotion := self._models.entry()) is not None:
            entries.append(promotion)
        if self.lifecycle.state == "active":
            entries += [report.camera_entry(status) for status in builder.camera_status.values()]
        return entries
