"""What the detector node publishes, each in its form and only while somebody listens."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.errors import ConfigurationError, TypeNotInstalledError
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import (
    MarkerOptions,
    encode_detection3d,
    encode_image,
    encode_label_info,
    encode_long_tail,
    encode_markers,
    encode_objects,
)
from semlt3d_ros.middleware.port import Middleware, Publisher, QoS
from semlt3d_ros.nodes.detector_parameters import DetectorParameters
from semlt3d_ros.nodes.objects_file import load_object_options
from semlt3d_ros.sensing.rig import Rig
from semlt3d_ros.viewing.annotate import annotate

DEBUG_IMAGE = "~/debug/{}/image"
_LATEST = QoS(depth=1, transient_local=True)


class Outputs:
    """The publishers of a detector node.

    Args:
        middleware: the graph.
        rig: names the frame and the cameras.
        parameters: topics, thresholds, options.
        class_names: the model's classes.

    Raises:
        ConfigurationError: a class threshold, or the file of Autoware's labels, cannot be read.
    """

    def __init__(
        self, middleware: Middleware, rig: Rig, parameters: DetectorParameters, class_names: tuple[str, ...]
    ) -> None:
        self._middleware = middleware
        self._frame_id = rig.base_frame
        self._optical_frames = {camera.name: camera.frame_id or camera.name for camera in rig.cameras}
        self._object_options = load_object_options(parameters.objects_classes_file, class_names)
        self._told: set[str] = set()
        self.use(parameters)
        self._detections = middleware.create_publisher(parameters.detections_topic, topics.DETECTION_3D_TYPE)
        self._long_tail = middleware.create_publisher(parameters.long_tail_topic, topics.LONG_TAIL_TYPE)
        self._markers = middleware.create_publisher(parameters.markers_topic, topics.MARKER_TYPE)
        self._label_info = middleware.create_publisher(parameters.label_info_topic, topics.LABEL_INFO_TYPE, _LATEST)
        self._objects = self._objects_publisher(parameters.objects_topic)
        self._images = {
            name: middleware.create_publisher(DEBUG_IMAGE.format(name), topics.IMAGE_TYPE) for name in rig.camera_names
        }
        self._rehearse(class_names)

    def _rehearse(self, class_names: tuple[str, ...]) -> None:
        """Write one box in every form: layouts are worked out at their first use, which a set shall not wait for."""
        box = Boxes3D(np.ones((1, 3)), np.ones((1, 3)), np.zeros(1), np.ones((1, 2)))
        found = Detections(0, box, np.ones((1, len(class_names)), np.float32), class_names)
        encode_long_tail(found, self._frame_id)
        encode_detection3d(found, self._frame_id, self._top_k)
        encode_markers(found, self._frame_id, self._marker_options)

    def use(self, parameters: DetectorParameters) -> None:
        """Publish by other thresholds and options from the next set on.

        Raises:
            ConfigurationError: a class threshold cannot be read; nothing has changed.
        """
        self._thresholds = read_thresholds(parameters.class_thresholds)
        self._threshold = parameters.score_threshold
        self._top_k = parameters.top_k
        self._marker_options = MarkerOptions(
            threshold=parameters.marker_threshold,
            text_classes=parameters.marker_classes,
            text_m=parameters.marker_text_m,
            velocities=parameters.marker_velocities,
            covariance=parameters.marker_covariance,
            lifetime_s=parameters.marker_lifetime_s,
        )

    @property
    def wanted(self) -> bool:
        """Whether anybody listens to what comes of a set."""
        return any(publisher.matched for publisher in self._of_sets)

    def publish(self, frame: Frame, detections: Detections) -> None:
        """Publish a set's detections in the forms that somebody listens to."""
        kept = self._above_thresholds(detections)
        if self._long_tail.matched:
            self._long_tail.publish(encode_long_tail(kept, self._frame_id))
        if self._detections.matched:
            self._detections.publish(encode_detection3d(kept, self._frame_id, self._top_k))
        if self._markers.matched:
            self._markers.publish(encode_markers(kept, self._frame_id, self._marker_options))
        if self._objects is not None and self._objects.matched:
            self._objects.publish(encode_objects(kept, self._frame_id, self._object_options))
        for view in frame.views:
            if self._images[view.name].matched:
                image = annotate(view, kept, self._marker_options.threshold)
                frame_id, types = self._optical_frames[view.name], self._middleware.types
                self._images[view.name].publish(encode_image(image, view.stamp, frame_id, types))

    def publish_labels(self, class_names: tuple[str, ...]) -> None:
        """Tell the names of the classes, also to whoever comes later."""
        stamp, types = self._middleware.stamp(), self._middleware.types
        self._label_info.publish(encode_label_info(class_names, stamp, self._frame_id, self._threshold, types))

    def tell_unknown(self, class_names: tuple[str, ...]) -> None:
        """Log, once each, the names in thresholds that are no class, and the classes that Autoware has no label for."""
        strange = set(self._thresholds) - set(class_names)
        unlabelled = set(class_names) - set(self._object_options.classes) if self._objects is not None else set()
        for names, text in (
            (strange, f"class_thresholds: the model has no class %s; it has {', '.join(class_names)}"),
            (unlabelled, "objects: %s become UNKNOWN; give objects_classes_file to have them otherwise"),
        ):
            if names - self._told:
                self._middleware.logger.warning(text, ", ".join(sorted(names - self._told)))
        self._told |= strange | unlabelled

    def close(self) -> None:
        """Leave the graph."""
        for publisher in (*self._of_sets, self._label_info):
            publisher.close()

    @property
    def _of_sets(self) -> tuple[Publisher, ...]:
        """The publishers of what comes of a set."""
        always = (self._long_tail, self._detections, self._markers, *self._images.values())
        return always if self._objects is None else (*always, self._objects)

    def _objects_publisher(self, topic: str) -> Publisher | None:
        try:
            return self._middleware.create_publisher(topic, topics.OBJECTS_TYPE)
        except TypeNotInstalledError:
            self._middleware.logger.info(
                "Autoware's objects are not offered on %s: the package autoware_perception_msgs is not installed here",
                topic,
            )
            return None

    def _above_thresholds(self, detections: Detections) -> Detections:
        if not self._threshold and not self._thresholds:
            return detections
        limits: NDArray[np.float32] = np.array(
            [self._thresholds.get(name, self._threshold) for name in detections.class_names], np.float32
        )
        return detections[detections.scores >= limits[detections.class_ids]]


def read_thresholds(texts: Iterable[str]) -> dict[str, float]:
    """Least scores by class, of texts such as ``"child=0.05"``.

    Raises:
        ConfigurationError: names every text that is not of this form, or whose score is not in [0, 1].
    """
    thresholds, faults = {}, []
    for text in texts:
        name, _, value = text.partition("=")
        try:
            threshold = float(value)
        except ValueError:
            threshold = float("nan")
        if not name or not 0 <= threshold <= 1:
            faults.append(f"'{text}' is not of the form 'class=score' with a score from 0 to 1")
        thresholds[name.strip()] = threshold
    if faults:
        raise ConfigurationError("class_thresholds: " + "; ".join(faults))
    return thresholds
